use milena_protocol::messages::elect_leaders_request::TopicPartitions;
use milena_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, PartitionChangeRecord};

use super::*;
use crate::image::{LEADER_UNCHANGED, RECOVERY_UNCHANGED};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Two brokers with one partition that both hold.
fn harness() -> Harness {
    let mut harness = Harness::with_brokers(2);
    harness.create(assigned("t", &[(0, &[1, 2])]));
    harness
}

impl Harness {
    /// As if the partition's leader had asked for it, or an election had gone so.
    fn change(&mut self, leader: Option<i32>, isr: &[i32]) {
        let record = PartitionChangeRecord {
            partition_id: 0,
            topic_id: self.image().topic("t").expect("there").id,
            leader: leader.unwrap_or(LEADER_UNCHANGED),
            isr: Some(isr.to_vec()),
            leader_recovery_state: RECOVERY_UNCHANGED,
            ..Default::default()
        };
        let at = Offset(self.records.len() as i64);
        self.controller.replay(at, &record.clone().into()).expect("it fits");
        self.records.push(record.into());
    }

    fn elect(&mut self, election_type: i8, topics: Option<&[(&str, i32)]>) -> ElectLeadersResponse {
        let named = |(topic, partition): &(&str, i32)| TopicPartitions {
            topic: (*topic).to_owned(),
            partitions: vec![*partition],
        };
        let topic_partitions = topics.map(|topics| topics.iter().map(named).collect());
        let request = ElectLeadersRequest { election_type, topic_partitions, ..Default::default() };
        let Response::ElectLeaders(response) = self.ask(Request::ElectLeaders(request)) else { panic!("answer") };
        response
    }

    /// The code of the only partition.
    fn elect_one(&mut self, election_type: i8) -> ErrorCode {
        let response = self.elect(election_type, Some(&[("t", 0)]));
        ErrorCode::from_number(response.replica_election_results[0].partition_result[0].error_code)
    }
}

#[test]
fn the_first_replica_leads_again_once_it_is_in_sync() {
    let mut harness = harness();
    assert_eq!(harness.elect_one(PREFERRED), ErrorCode::ElectionNotNeeded);
    harness.change(Some(2), &[2]);
    assert_eq!(harness.elect_one(PREFERRED), ErrorCode::PreferredLeaderNotAvailable);
    assert_eq!(harness.partition("t", 0).leader, NodeId(2));
    harness.change(None, &[2, 1]);
    assert_eq!(harness.elect_one(PREFERRED), ErrorCode::None);
    let partition = harness.partition("t", 0);
    assert_eq!((partition.leader, partition.isr), (NodeId(1), vec![NodeId(2), NodeId(1)]));
    assert_eq!(partition.leader_epoch, LeaderEpoch(2));
}

#[test]
fn whoever_is_there_leads_where_nobody_does_and_it_is_asked_for() {
    let mut harness = harness();
    assert_eq!(harness.elect_one(UNCLEAN), ErrorCode::ElectionNotNeeded);
    harness.change(Some(2), &[2]);
    harness.beat(2, |request| request.want_fence = true);
    assert_eq!(harness.partition("t", 0).leader, NodeId::NONE);
    assert_eq!(harness.elect_one(PREFERRED), ErrorCode::PreferredLeaderNotAvailable, "it may have lost records");
    assert_eq!(harness.elect_one(UNCLEAN), ErrorCode::None);
    let partition = harness.partition("t", 0);
    assert_eq!((partition.leader, partition.isr), (NodeId(1), vec![NodeId(1)]));
    assert!(partition.recovering && partition.elr.is_empty());
}

#[test]
fn where_all_are_asked_for_only_those_that_change_or_cannot_are_told() {
    let mut harness = harness();
    harness.create(assigned("u", &[(0, &[1]), (1, &[2])]));
    harness.change(Some(2), &[1, 2]);
    let told = |response: ElectLeadersResponse| -> Vec<(String, Vec<(i32, i16)>)> {
        let results = response.replica_election_results.into_iter();
        let partitions = |found: elect_leaders_response::ReplicaElectionResult| {
            found.partition_result.iter().map(|result| (result.partition_id, result.error_code)).collect()
        };
        results.map(|topic| (topic.topic.clone(), partitions(topic))).collect()
    };
    assert_eq!(told(harness.elect(PREFERRED, None)), [("t".to_owned(), vec![(0, 0)]), ("u".to_owned(), vec![])]);
    assert_eq!(told(harness.elect(PREFERRED, None)), [("t".to_owned(), vec![]), ("u".to_owned(), vec![])]);
}

#[test]
fn what_is_not_there_is_refused_alone_and_an_unknown_kind_all_together() {
    let mut harness = harness();
    harness.change(Some(2), &[1, 2]);
    let response = harness.elect(PREFERRED, Some(&[("t", 1), ("nowhere", 0), ("t", 0)]));
    let codes = response.replica_election_results.iter().map(|topic| topic.partition_result[0].error_code);
    let unknown = ErrorCode::UnknownTopicOrPartition.number();
    assert_eq!((codes.collect::<Vec<_>>(), response.error_code), (vec![unknown, unknown, 0], 0));
    let written = harness.records.len();
    let response = harness.elect(2, Some(&[("t", 0)]));
    assert_eq!(response.error_code, ErrorCode::InvalidRequest.number());
    assert_eq!(response.replica_election_results[0].partition_result[0].error_code, response.error_code);
    assert_eq!(harness.records.len(), written);
}
