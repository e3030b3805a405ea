use milena_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use milena_protocol::messages::{AlterClientQuotasRequest, create_partitions_request};

use super::*;

/// A cluster where every client id may create or delete one partition a second: eleven at once, at first.
fn harness() -> Harness {
    let mut harness = Harness::with_brokers(1);
    let entity = vec![EntityData { entity_type: "client-id".to_owned(), entity_name: None }];
    let op = OpData { key: "controller_mutation_rate".to_owned(), value: 1.0, remove: false };
    let request = AlterClientQuotasRequest { entries: vec![EntryData { entity, ops: vec![op] }], validate_only: false };
    harness.ask(Request::AlterClientQuotas { request, unresolved: BTreeSet::new() });
    harness
}

fn caller(client_id: &str, is_strict: bool) -> Option<Caller> {
    Some(Caller { user: "u".to_owned(), client_id: client_id.to_owned(), is_strict })
}

impl Harness {
    /// The codes of topics of so many partitions each, and the throttle time.
    fn mutate(&mut self, by: Option<Caller>, topics: &[(&str, i32)]) -> (Vec<ErrorCode>, i32) {
        let topic = |(name, num_partitions): &(&str, i32)| CreatableTopic {
            name: (*name).to_owned(),
            num_partitions: *num_partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: topics.iter().map(topic).collect(), ..Default::default() };
        let asked = Request::CreateTopics { request, hidden: BTreeSet::new(), by };
        let Response::CreateTopics(response) = self.ask(asked) else { panic!("answer") };
        let codes = response.topics.iter().map(|topic| ErrorCode::from_number(topic.error_code)).collect();
        (codes, response.throttle_time_ms)
    }

    fn delete_by(&mut self, by: Option<Caller>, name: &str) -> (ErrorCode, i32) {
        let topics = vec![DeleteTopicState { name: Some(name.to_owned()), ..Default::default() }];
        let request = DeleteTopicsRequest { topics, ..Default::default() };
        let asked = Request::DeleteTopics { request, version: 6, by };
        let Response::DeleteTopics(response) = self.ask(asked) else { panic!("answer") };
        (ErrorCode::from_number(response.responses[0].error_code), response.throttle_time_ms)
    }

    fn grow_by(&mut self, by: Option<Caller>, name: &str, count: i32) -> (ErrorCode, i32) {
        let topic =
            create_partitions_request::CreatePartitionsTopic { name: name.to_owned(), count, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
        let Response::CreatePartitions(response) = self.ask(Request::CreatePartitions { request, by }) else {
            panic!("answer")
        };
        (ErrorCode::from_number(response.results[0].error_code), response.throttle_time_ms)
    }
}

use ErrorCode::{None as Done, ThrottlingQuotaExceeded as Exceeded};

#[test]
fn a_strict_caller_is_refused_what_comes_after_its_tokens_are_gone() {
    let mut harness = harness();
    let strict = || caller("c", true);
    assert_eq!(harness.mutate(strict(), &[("a", 11), ("b", 5), ("c", 1)]), (vec![Done, Done, Exceeded], 5000));
    assert_eq!(harness.mutate(caller("d", true), &[("d", 1)]), (vec![Done], 0), "another client");
    assert_eq!(harness.mutate(None, &[("e", 99)]), (vec![Done], 0), "what the cluster itself creates");
    assert_eq!(harness.delete_by(strict(), "a"), (Exceeded, 5000));
    assert_eq!(harness.grow_by(strict(), "b", 6), (Exceeded, 5000));
    harness.now = harness.now + Millis(5000);
    assert_eq!(harness.delete_by(strict(), "a"), (Done, 0));
    assert_eq!(harness.grow_by(strict(), "b", 6), (Exceeded, 11_000));
    assert_eq!(harness.image().topic("b").expect("there").partitions.len(), 5);
}

#[test]
fn a_permissive_caller_has_what_it_wants_and_is_throttled() {
    let mut harness = harness();
    let permissive = || caller("c", false);
    assert_eq!(harness.mutate(permissive(), &[("a", 11)]), (vec![Done], 0));
    assert_eq!(harness.mutate(permissive(), &[("b", 5)]), (vec![Done], 5000));
    assert_eq!(harness.grow_by(permissive(), "b", 6), (Done, 6000));
    assert_eq!(harness.delete_by(permissive(), "b"), (Done, 12_000));
}

#[test]
fn what_is_refused_for_another_reason_takes_no_token() {
    let mut harness = harness();
    let strict = || caller("c", true);
    assert_eq!(harness.mutate(strict(), &[("not a name", 50)]).1, 0);
    assert_eq!(harness.mutate(strict(), &[("a", 11)]), (vec![Done], 0));
    assert_eq!(harness.mutate(strict(), &[("b", 1)]), (vec![Done], 0), "no token is left, and none is missing");
    assert_eq!(harness.mutate(strict(), &[("c", 1)]), (vec![Exceeded], 1000));
}
