//! A cluster that was made when there were fewer features: no groups that the broker assigns, and producers that keep
//! their epoch from one transaction to the next.

use milena_protocol::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, ConsumerGroupDescribeRequest, ListGroupsRequest, ProduceRequest,
};

use super::Scenario;
use super::consumer_groups::{beats, joins};
use super::exhausted_epochs::{LAST, aged};
use super::groups::{described, join, stable_group};
use super::requests::produce;
use super::transactional_ids::{describe, enter, init};
use crate::batch::Batch;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "former/trap_139_without_group_version",
        shows: "the new group protocol is refused, whatever is asked in it; classic groups are what they were",
        traps: &[139],
        play: without_group_version,
    },
    Scenario {
        name: "former/trap_152_without_transaction_version",
        shows: "the version of the request decides how a transaction ends, the cluster how a producer is fenced",
        traps: &[152, 146],
        play: without_transaction_version,
    },
    Scenario {
        name: "former/trap_147_used_up_by_fencing",
        shows: "a transaction of the last epoch is aborted with the one that is never given out",
        traps: &[147],
        play: used_up_by_fencing,
    },
];

fn without_group_version(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    let asked = ApiVersionsRequest { client_software_name: "twin".into(), client_software_version: "1".into() };
    let answer = x.quietly(4, &asked).unwrap_or_default();
    let level = |name: &str| {
        let found = answer.finalized_features.iter().find(|feature| feature.name == name);
        found.map_or(0, |feature| feature.max_version_level)
    };
    let (group_version, transaction_version) = (level("group.version"), level("transaction.version"));
    x.found(&format!("finalized: group.version {group_version}, transaction.version {transaction_version}"));
    let describing =
        ConsumerGroupDescribeRequest { group_ids: vec![group.clone(), String::new()], ..Default::default() };
    for request in [joins(&group, "m", &[&topic]), beats(&group, "m", 1), beats(&group, "m", -1), joins("", "", &[])] {
        x.ask_ends(&request);
    }
    x.ask_ends(&describing);
    let (classic, joined) = stable_group(x, "classic");
    x.ask_ends(&joins(&classic, &joined.member_id, &[&topic]));
    x.ask_ends(&ConsumerGroupDescribeRequest { group_ids: vec![classic.clone()], ..describing });
    x.ask(9, &join(&classic, ""));
    described(x, &classic);
    x.only_mine();
    for kind in ["classic", "consumer"] {
        x.ask(5, &ListGroupsRequest { types_filter: vec![kind.to_owned()], ..Default::default() });
    }
}

fn without_transaction_version(x: &mut Exchange) {
    const TIMEOUT_MS: i32 = 60_000;
    let topic = x.topic("a", 2, &[]);
    let producer = enter(x, "t", TIMEOUT_MS);
    let state = describe(&[&producer.transactional_id]);
    let written = |at: i32, sequence| {
        let batch = Batch { attributes: 0x10, ..Batch::of(&["a"]).by(producer.id, producer.epoch, sequence) };
        let transactional_id = Some(producer.transactional_id.clone());
        ProduceRequest { transactional_id, ..super::requests::produce_bytes(&topic, &[(at, batch.records())]) }
    };
    // Added by a request, by a batch, and not at all.
    x.ask(3, &producer.add(&[(&topic, &[0])]));
    x.ask(11, &written(0, 0));
    x.ask(11, &written(1, 0));
    x.ask(12, &written(1, 0));
    x.ask(0, &state);
    x.ask(4, &producer.end(true));
    producer.at_rest(x);
    x.ask(0, &state);
    // Its epoch stays, until it ends a transaction as later producers do.
    let transactions = vec![producer.part(&[(&topic, &[0])], false)];
    x.ask(5, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
    x.ask(5, &producer.end(true));
    producer.at_rest(x);
    x.ask(5, &producer.end(true));
    x.ask(0, &state);
    x.ask(5, &producer.end(false));
    // What is open is aborted for the next one, in the older way.
    let other = enter(x, "u", TIMEOUT_MS);
    x.ask(3, &other.add(&[(&topic, &[0])]));
    x.ask(4, &init(&other.transactional_id));
    other.at_rest(x);
    x.ask(0, &describe(&[&other.transactional_id]));
    x.ask(4, &other.end(true));
    x.ask(4, &init(&other.transactional_id));
    x.ask(0, &describe(&[&other.transactional_id]));
    x.ask(9, &produce(&topic, &Batch::of(&["plain"])));
}

fn used_up_by_fencing(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let last = aged(x, "t", LAST);
    let state = describe(&[&last.transactional_id]);
    x.ask(3, &last.add(&[(&topic, &[0])]));
    x.ask(4, &init(&last.transactional_id));
    last.at_rest(x);
    x.ask(0, &state);
    x.ask(4, &last.end(true));
    x.ask(4, &last.claim());
    x.ask(4, &init(&last.transactional_id));
    x.ask(0, &state);
}
