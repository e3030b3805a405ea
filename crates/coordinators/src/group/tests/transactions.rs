//! TxnOffsetCommit and the markers that decide over it.

use milena_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use milena_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use milena_protocol::{ProducerEpoch, ProducerId};

use super::*;
use crate::Marker;

fn request(offset: i64) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    TxnOffsetCommitRequest {
        transactional_id: "t".into(),
        group_id: "g".into(),
        producer_id: 77,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }],
        ..Default::default()
    }
}

fn sent(world: &mut World, request: TxnOffsetCommitRequest) -> ErrorCode {
    match world.answer(5, Request::TxnOffsetCommit(request)) {
        Response::TxnOffsetCommit(TxnOffsetCommitResponse { topics, .. }) => error(topics[0].partitions[0].error_code),
        other => panic!("not a commit: {other:?}"),
    }
}

fn end(world: &mut World, committed: bool) {
    let marker = Marker {
        producer_id: ProducerId(77),
        producer_epoch: ProducerEpoch(0),
        coordinator_epoch: 0,
        committed,
        transaction_version: 2,
    };
    assert_eq!(world.answer(0, Request::EndTransaction(marker)), Response::EndTransaction(ErrorCode::None));
}

#[test]
fn trap_127_what_a_transaction_commits_is_seen_after_its_marker_and_after_a_load() {
    for reloads in [false, true] {
        let mut world = World::new();
        assert_eq!(sent(&mut world, request(9)), ErrorCode::None);
        assert_eq!(world.committed(), -1);
        if reloads {
            world.reload();
        }
        end(&mut world, true);
        assert_eq!(world.committed(), 9);
        assert_eq!(sent(&mut world, request(11)), ErrorCode::None);
        end(&mut world, false);
        if reloads {
            world.reload();
        }
        assert_eq!(world.committed(), 9);
    }
}

#[test]
fn kip_447_a_member_is_fenced_by_generation_member_and_instance() {
    let mut world = World::new();
    let ids = world.stable(1);
    let of = |generation_id, member_id: &str, instance: Option<&str>| TxnOffsetCommitRequest {
        generation_id,
        member_id: member_id.into(),
        group_instance_id: instance.map(str::to_owned),
        ..request(5)
    };
    assert_eq!(sent(&mut world, of(1, &ids[0], None)), ErrorCode::None);
    assert_eq!(sent(&mut world, of(0, &ids[0], None)), ErrorCode::IllegalGeneration);
    assert_eq!(sent(&mut world, of(1, "stranger", None)), ErrorCode::UnknownMemberId);
    assert_eq!(sent(&mut world, of(1, &ids[0], Some("nobody"))), ErrorCode::UnknownMemberId);
    // Those who name nobody are trusted, whatever the group does.
    assert_eq!(sent(&mut world, of(-1, "", None)), ErrorCode::None);
}

#[test]
fn a_generation_in_a_group_that_does_not_exist_is_refused() {
    let mut world = World::new();
    let asked = TxnOffsetCommitRequest { generation_id: 0, ..request(5) };
    assert_eq!(sent(&mut world, asked), ErrorCode::IllegalGeneration);
    assert_eq!(world.shard.counts().groups, 0);
}

#[test]
fn trap_121_too_much_metadata_refuses_its_partition_alone() {
    let mut world = World::new();
    let mut asked = request(5);
    asked.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000));
    assert_eq!(sent(&mut world, asked), ErrorCode::OffsetMetadataTooLarge);
    end(&mut world, true);
    assert_eq!(world.committed(), -1);
}
