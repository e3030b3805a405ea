use milena_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use milena_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::*;

/// Brokers 1 to 3, and a partition on the first two.
fn harness() -> Harness {
    let mut harness = Harness::with_brokers(3);
    harness.create(assigned("t", &[(0, &[1, 2])]));
    harness
}

fn request(topic: &str, partition_index: i32, replicas: Option<&[i32]>) -> AlterPartitionReassignmentsRequest {
    let partition = ReassignablePartition { partition_index, replicas: replicas.map(<[i32]>::to_vec) };
    let topic = ReassignableTopic { name: topic.to_owned(), partitions: vec![partition] };
    AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() }
}

impl Harness {
    fn alter_reassignments(
        &mut self,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let request = Request::AlterPartitionReassignments(request);
        let Response::AlterPartitionReassignments(response) = self.ask(request) else { panic!("answer") };
        response
    }

    /// Code and text for the only partition.
    fn reassign(&mut self, request: AlterPartitionReassignmentsRequest) -> (ErrorCode, Option<String>) {
        let result = self.alter_reassignments(request).responses.remove(0).partitions.remove(0);
        (ErrorCode::from_number(result.error_code), result.error_message)
    }

    fn done(&mut self, replicas: Option<&[i32]>) {
        assert_eq!(self.reassign(request("t", 0, replicas)), (ErrorCode::None, None));
    }

    fn t(&self) -> Partition {
        self.partition("t", 0)
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

#[test]
fn the_same_replicas_change_nothing_and_another_order_is_there_at_once() {
    let mut harness = harness();
    let before = harness.records.len();
    harness.done(Some(&[1, 2]));
    assert_eq!(harness.records.len(), before);
    harness.done(Some(&[2, 1]));
    let partition = harness.t();
    assert_eq!((partition.replicas.clone(), partition.leader), (nodes(&[2, 1]), NodeId(1)));
    assert!(!partition.is_moving());
    let directory = |id| harness.image().broker(NodeId(id)).expect("there").log_dirs[0];
    assert_eq!(partition.directories, [directory(2), directory(1)]);
}

#[test]
fn new_replicas_come_beside_the_old_ones_and_a_move_can_be_called_off() {
    let mut harness = harness();
    harness.done(Some(&[3, 1]));
    let moving = harness.t();
    assert_eq!((moving.replicas, moving.adding, moving.removing), (nodes(&[3, 1, 2]), nodes(&[3]), nodes(&[2])));
    assert_eq!((moving.leader, moving.isr), (NodeId(1), nodes(&[1, 2])));
    harness.done(None);
    let former = harness.t();
    assert_eq!((former.replicas.clone(), former.isr.clone()), (nodes(&[1, 2]), nodes(&[1, 2])));
    assert!(!former.is_moving());
    let refused = harness.reassign(request("t", 0, None));
    assert_eq!(refused, (ErrorCode::NoReassignmentInProgress, None));
}

#[test]
fn replicas_that_only_go_are_gone_at_once_and_the_leader_with_them() {
    let mut harness = harness();
    let epoch = harness.t().leader_epoch;
    harness.done(Some(&[2]));
    let partition = harness.t();
    assert_eq!((partition.replicas, partition.isr, partition.leader), (nodes(&[2]), nodes(&[2]), NodeId(2)));
    assert_eq!(partition.leader_epoch, LeaderEpoch(epoch.0 + 1));
    let mut harness = self::harness();
    harness.done(Some(&[1]));
    assert_eq!(harness.t().leader, NodeId(1));
    assert_eq!(harness.t().leader_epoch, LeaderEpoch(epoch.0 + 1), "the one that goes must notice it");
}

#[test]
fn a_move_is_complete_when_the_new_replicas_are_in_sync() {
    let mut harness = harness();
    harness.done(Some(&[3, 1]));
    let record = PartitionChangeRecord {
        partition_id: 0,
        topic_id: harness.image().topic("t").expect("there").id,
        leader: crate::image::LEADER_UNCHANGED,
        isr: Some(vec![1, 2, 3]),
        leader_recovery_state: crate::image::RECOVERY_UNCHANGED,
        ..Default::default()
    };
    harness.write(record.into());
    // Whatever is decided next completes it.
    harness.beat(2, |request| request.want_fence = true);
    let partition = harness.t();
    assert_eq!((partition.replicas.clone(), partition.isr.clone()), (nodes(&[3, 1]), nodes(&[1, 3])));
    assert!(!partition.is_moving());
}

#[test]
fn what_cannot_be_is_refused_in_kafkas_words() {
    let mut harness = harness();
    let before = harness.records.len();
    let cases: &[(&str, i32, &[i32], ErrorCode, &str)] = &[
        (
            "t",
            0,
            &[],
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            "t",
            0,
            &[1, 7],
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 7, but no such broker is registered.",
        ),
        (
            "t",
            0,
            &[1, 1],
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        ("u", 0, &[1], ErrorCode::UnknownTopicOrPartition, "Unable to find a topic named u."),
        ("t", 9, &[1], ErrorCode::UnknownTopicOrPartition, "Unable to find partition t:9."),
    ];
    for (topic, partition, replicas, code, text) in cases {
        let refused = harness.reassign(request(topic, *partition, Some(replicas)));
        assert_eq!(refused, (*code, Some((*text).to_owned())));
    }
    let strict = |replicas: &[i32]| AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: false,
        ..request("t", 0, Some(replicas))
    };
    let refused = harness.reassign(strict(&[1]));
    let text = Some("The replication factor is changed from 2 to 1".to_owned());
    assert_eq!(refused, (ErrorCode::InvalidReplicationFactor, text));
    assert_eq!(harness.records.len(), before);
    assert_eq!(harness.reassign(strict(&[3, 1])), (ErrorCode::None, None));
    assert_eq!(harness.reassign(strict(&[3, 2])), (ErrorCode::None, None), "those on their way out do not count");
}
