//! Quotas of users, client ids and addresses: what may be set, and how it is found. None of them is so small that it would
//! act on another scenario.

use milena_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use milena_protocol::messages::describe_client_quotas_request::ComponentData;
use milena_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use super::Scenario;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "client_quotas/set_and_find",
        shows: "quotas of each kind of entity, found exactly, by default, by type, strictly or not, at both versions",
        traps: &[],
        play: set_and_find,
    },
    Scenario {
        name: "client_quotas/refused",
        shows: "entities, keys and values that are not allowed, with the words of each refusal",
        traps: &[],
        play: refused,
    },
    Scenario { name: "client_quotas/filters", shows: "filters that make no sense", traps: &[], play: filters },
];

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

fn entry(entity: Entity, ops: &[(&str, Option<f64>)]) -> EntryData {
    let part = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: (*kind).to_owned(),
        entity_name: name.map(ToOwned::to_owned),
    };
    let op = |(key, value): &(&str, Option<f64>)| OpData {
        key: (*key).to_owned(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
    };
    EntryData { entity: entity.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
}

fn alter(x: &mut Exchange, version: i16, entries: Vec<EntryData>) {
    x.ask(version, &AlterClientQuotasRequest { entries, validate_only: false });
}

/// Kafka answers when a change is written, and finds it once the broker has heard of it.
const APPLIED_MS: u64 = 200;

fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
    ComponentData { entity_type: kind.to_owned(), match_type, match_: name.map(ToOwned::to_owned) }
}

fn describe(x: &mut Exchange, version: i16, components: &[ComponentData], strict: bool) {
    x.ask(version, &DescribeClientQuotasRequest { components: components.to_vec(), strict });
}

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

fn set_and_find(x: &mut Exchange) {
    let (user, client) = (x.name("u"), x.name("c"));
    let (user, client) = (user.as_str(), client.as_str());
    let pair: Entity = &[("user", Some(user)), ("client-id", Some(client))];
    let of_user: Entity = &[("user", Some(user))];
    let user_default: Entity = &[("user", Some(user)), ("client-id", None)];
    for version in 0..=1 {
        let rates = [("producer_byte_rate", Some(1e9)), ("consumer_byte_rate", Some(2e9))];
        let more = [("request_percentage", Some(1234.5)), ("controller_mutation_rate", Some(1e6 + 0.25))];
        alter(x, version, vec![entry(of_user, &rates), entry(pair, &more), entry(user_default, &rates[..1])]);
        alter(x, version, vec![entry(&[("ip", Some("127.0.0.77"))], &[("connection_creation_rate", Some(1e5))])]);
        x.pause(APPLIED_MS);
        let exact = component("user", EXACT, Some(user));
        for strict in [false, true] {
            describe(x, version, std::slice::from_ref(&exact), strict);
            describe(x, version, &[exact.clone(), component("client-id", SPECIFIED, None)], strict);
        }
        describe(x, version, &[exact.clone(), component("client-id", DEFAULT, None)], true);
        describe(x, version, &[exact.clone(), component("client-id", EXACT, Some(client))], false);
        describe(x, version, &[component("ip", EXACT, Some("127.0.0.77"))], true);
        describe(x, version, &[component("client-id", EXACT, Some(client))], true);
        let entries = vec![entry(pair, &[("request_percentage", Some(1.0))])];
        x.ask(version, &AlterClientQuotasRequest { entries, validate_only: true });
        alter(x, version, vec![entry(pair, &[("request_percentage", None), ("producer_byte_rate", None)])]);
        x.pause(APPLIED_MS);
        describe(x, version, &[component("client-id", EXACT, Some(client))], false);
        let gone = |keys: [&'static str; 2]| keys.map(|key| (key, None));
        let rates = gone(["producer_byte_rate", "consumer_byte_rate"]);
        alter(x, version, vec![entry(of_user, &rates), entry(user_default, &rates)]);
        alter(x, version, vec![entry(pair, &[("controller_mutation_rate", None)])]);
        alter(x, version, vec![entry(&[("ip", Some("127.0.0.77"))], &[("connection_creation_rate", None)])]);
        x.pause(APPLIED_MS);
        describe(x, version, &[exact], false);
        describe(x, version, &[component("ip", SPECIFIED, None)], false);
    }
}

fn refused(x: &mut Exchange) {
    let name = x.name("u");
    let user: Entity = &[("user", Some(&name))];
    let fine = [("request_percentage", Some(4321.0))];
    let ip: Entity = &[("ip", Some("127.0.0.78"))];
    for version in 0..=1 {
        let entities: [Entity; 8] = [
            &[],
            &[("user", Some(""))],
            &[("client-id", Some(""))],
            &[("ip", Some(""))],
            &[("group", Some("g"))],
            &[("ip", Some("127.0.0.78")), ("user", Some(&name))],
            &[("ip", None), ("client-id", None)],
            &[("ip", Some("no.such.host.invalid"))],
        ];
        for entity in entities {
            alter(x, version, vec![entry(entity, &fine)]);
        }
        for (key, value) in [
            ("producer_byte_rate", 0.0),
            ("producer_byte_rate", -1.0),
            ("producer_byte_rate", 1.5),
            ("consumer_byte_rate", 1e19),
            ("request_percentage", 0.0),
            ("request_percentage", -0.5),
            ("controller_mutation_rate", 0.0),
            ("connection_creation_rate", 1e5),
            ("no_such_rate", 1.0),
            ("", 1.0),
        ] {
            alter(x, version, vec![entry(user, &[(key, Some(value))])]);
        }
        for (key, value) in
            [("connection_creation_rate", 0.0), ("connection_creation_rate", 3e9), ("request_percentage", 1.0)]
        {
            alter(x, version, vec![entry(ip, &[(key, Some(value))])]);
        }
        alter(x, version, vec![entry(user, &[("no_such_rate", None)])]);
        alter(x, version, vec![entry(user, &fine), entry(user, &[("producer_byte_rate", Some(1e9))])]);
        let both: Entity = &[("user", None), ("client-id", Some(&name))];
        alter(x, version, vec![entry(both, &[fine[0], fine[0]])]);
        alter(x, version, vec![entry(&[("user", Some("first")), ("user", Some(&name))], &fine)]);
        alter(x, version, vec![entry(user, &[]), entry(&[("group", Some("g"))], &[])]);
        alter(x, version, vec![]);
        x.pause(APPLIED_MS);
        describe(x, version, &[component("user", EXACT, Some(&name))], false);
        alter(x, version, vec![entry(user, &[("request_percentage", None)])]);
    }
}

fn filters(x: &mut Exchange) {
    let name = x.name("u");
    for version in 0..=1 {
        let mut ask = |components: &[ComponentData]| describe(x, version, components, false);
        ask(&[component("", EXACT, Some(&name))]);
        ask(&[component("group", EXACT, Some(&name))]);
        ask(&[component("user", EXACT, None)]);
        ask(&[component("user", DEFAULT, Some(&name))]);
        ask(&[component("user", SPECIFIED, Some(&name))]);
        ask(&[component("user", 3, Some(&name))]);
        ask(&[component("user", -1, None)]);
        ask(&[component("user", EXACT, Some(&name)), component("user", DEFAULT, None)]);
        ask(&[component("user", SPECIFIED, None), component("user", SPECIFIED, None)]);
        ask(&[component("ip", SPECIFIED, None), component("user", SPECIFIED, None)]);
        ask(&[component("client-id", EXACT, Some(&name)), component("ip", DEFAULT, None)]);
        ask(&[component("user", EXACT, Some(&name))]);
    }
}
