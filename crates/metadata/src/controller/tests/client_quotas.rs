use milena_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use milena_protocol::messages::{AlterClientQuotasRequest, ClientQuotaRecord};

use super::*;

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

const USER: Entity = &[("user", Some("u"))];

fn set(key: &str, value: f64) -> OpData {
    OpData { key: key.to_owned(), value, remove: false }
}

fn remove(key: &str) -> OpData {
    OpData { key: key.to_owned(), value: 7.0, remove: true }
}

fn entry(entity: Entity, ops: &[OpData]) -> EntryData {
    let part = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: (*kind).to_owned(),
        entity_name: name.map(ToOwned::to_owned),
    };
    EntryData { entity: entity.iter().map(part).collect(), ops: ops.to_vec() }
}

impl Harness {
    /// The code and text for each entity.
    fn alter_quotas(&mut self, entries: Vec<EntryData>, validate_only: bool) -> Vec<(i16, Option<String>)> {
        let request = AlterClientQuotasRequest { entries, validate_only };
        let unresolved = BTreeSet::from(["nowhere".to_owned()]);
        let asked = Request::AlterClientQuotas { request, unresolved };
        let Response::AlterClientQuotas(response) = self.ask(asked) else { panic!("answer") };
        response.entries.into_iter().map(|entry| (entry.error_code, entry.error_message)).collect()
    }

    /// The text of the only refusal.
    fn refused(&mut self, entity: Entity, ops: &[OpData]) -> String {
        let mut results = self.alter_quotas(vec![entry(entity, ops)], false);
        assert_eq!(results.len(), 1);
        let (code, message) = results.remove(0);
        assert_eq!(code, ErrorCode::InvalidRequest.number());
        message.expect("a text")
    }
}

#[test]
fn only_what_changes_is_written() {
    let mut harness = Harness::new();
    let before = harness.records.len();
    let rate = |value| vec![entry(USER, &[set("producer_byte_rate", value)])];
    assert_eq!(harness.alter_quotas(rate(5.0), true), [(0, None)]);
    assert_eq!(harness.records.len(), before, "only validated");
    assert_eq!(harness.alter_quotas(rate(5.0), false), [(0, None)]);
    assert_eq!(harness.alter_quotas(rate(5.0), false), [(0, None)]);
    assert_eq!(harness.records.len(), before + 1);
    assert_eq!(harness.alter_quotas(vec![entry(USER, &[remove("consumer_byte_rate")])], false), [(0, None)]);
    assert_eq!(harness.records.len(), before + 1, "nothing was there to be removed");
    assert_eq!(harness.alter_quotas(vec![entry(USER, &[remove("producer_byte_rate")])], false), [(0, None)]);
    let Some(MetadataRecord::ClientQuota(record)) = harness.records.last() else { panic!("a quota") };
    let key = "producer_byte_rate".to_owned();
    let expected = ClientQuotaRecord { entity: record.entity.clone(), key, value: 0.0, remove: true };
    assert_eq!(*record, expected);
    assert!(harness.image().quotas().is_empty());
}

#[test]
fn an_entity_that_stands_twice_is_refused_but_what_came_first_is_done() {
    let mut harness = Harness::new();
    let both = vec![entry(USER, &[set("producer_byte_rate", 5.0)]), entry(USER, &[set("consumer_byte_rate", 6.0)])];
    let text = "Ignoring duplicate entity ClientQuotaEntity(entries={user=u})".to_owned();
    assert_eq!(harness.alter_quotas(both, false), [(42, Some(text))]);
    let values: Vec<_> = harness.image().quotas().values().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(values, ["producer_byte_rate"]);
    let pair: Entity = &[("user", None), ("client-id", Some("c"))];
    let twice = [set("request_percentage", 1.0), remove("request_percentage")];
    let text = "Ignoring duplicate entity ClientQuotaEntity(entries={client-id=c, user=null})";
    assert_eq!(harness.refused(pair, &twice), text);
}

#[test]
fn values_have_bounds() {
    let mut harness = Harness::new();
    let mut refused = |key: &str, value| harness.refused(USER, &[set(key, value)]);
    assert_eq!(refused("producer_byte_rate", 0.0), "Quota producer_byte_rate must be greater than 0");
    assert_eq!(refused("consumer_byte_rate", 1.5), "consumer_byte_rate cannot be a fractional value.");
    assert_eq!(refused("consumer_byte_rate", 1e19), "Proposed value for consumer_byte_rate is too large for a LONG.");
    assert_eq!(refused("connection_creation_rate", 1.0), "Invalid configuration key connection_creation_rate");
    let allowed = [set("consumer_byte_rate", 1.000_000_1), set("request_percentage", 0.01)];
    assert_eq!(harness.alter_quotas(vec![entry(USER, &allowed)], false), [(0, None)]);
    let ip: Entity = &[("ip", Some("10.0.0.1"))];
    let large = harness.refused(ip, &[set("connection_creation_rate", 2_147_483_648.0)]);
    assert_eq!(large, "Proposed value for connection_creation_rate is too large for an INT.");
    assert_eq!(harness.refused(ip, &[set("producer_byte_rate", 1.0)]), "Invalid configuration key producer_byte_rate");
}

#[test]
fn entities_are_checked() {
    let mut harness = Harness::new();
    let mut refused = |entity: Entity| harness.refused(entity, &[]);
    assert_eq!(refused(&[]), "Invalid empty client quota entity");
    assert_eq!(refused(&[("group", Some("g"))]), "Unhandled client quota entity type: group");
    assert_eq!(refused(&[("client-id", Some(""))]), "Empty client-id not supported");
    assert_eq!(refused(&[("ip", Some("nowhere"))]), "nowhere is not a valid IP or resolvable host.");
    let mixed = refused(&[("ip", None), ("user", None)]);
    assert_eq!(mixed, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId");
}

#[test]
fn a_request_of_too_many_records_does_nothing() {
    let mut harness = Harness::new();
    let before = harness.records.len();
    let one = |at: usize| {
        let name = at.to_string();
        let all = ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
        entry(&[("user", Some(&name))], &all.map(|key| set(key, 1.0)))
    };
    let results = harness.alter_quotas((0..=RECORDS_MAX / 4).map(one).collect(), false);
    assert!(results.iter().all(|(code, _)| *code == ErrorCode::PolicyViolation.number()));
    assert_eq!(harness.records.len(), before);
}
