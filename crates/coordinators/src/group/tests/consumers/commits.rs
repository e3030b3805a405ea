//! Commits of members of a consumer group, plain and in transactions: who is heard, and which words the others get.

use milena_protocol::messages::TxnOffsetCommitRequest;
use milena_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::*;

/// Whoever claims to send a commit.
#[derive(Clone, Copy)]
pub(in crate::group::tests) struct Sender<'a> {
    pub(in crate::group::tests) member: &'a str,
    pub(in crate::group::tests) epoch: i32,
    pub(in crate::group::tests) instance: Option<&'a str>,
}

pub(in crate::group::tests) fn sender(member: &str, epoch: i32) -> Sender<'_> {
    Sender { member, epoch, instance: None }
}

impl World {
    /// A plain commit of a partition of `t`: the error.
    pub(in crate::group::tests) fn commits(&mut self, version: i16, from: Sender<'_>, partition: i32) -> ErrorCode {
        let mut request = commit_request(from.member, from.epoch, 5);
        request.group_instance_id = from.instance.map(str::to_owned);
        request.topics[0].partitions[0].partition_index = partition;
        self.commit_request(version, request)
    }

    /// The same in a transaction.
    pub(in crate::group::tests) fn commits_in_transaction(&mut self, from: Sender<'_>, partition: i32) -> ErrorCode {
        self.sends_offsets(from, "t", partition)
    }

    fn sends_offsets(&mut self, from: Sender<'_>, topic: &str, partition: i32) -> ErrorCode {
        let partition =
            TxnOffsetCommitRequestPartition { partition_index: partition, committed_offset: 5, ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: "p".into(),
            group_id: "g".into(),
            producer_id: 77,
            generation_id: from.epoch,
            member_id: from.member.into(),
            group_instance_id: from.instance.map(str::to_owned),
            topics: vec![TxnOffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition] }],
            ..Default::default()
        };
        match self.answer(5, Request::TxnOffsetCommit(request)) {
            Response::TxnOffsetCommit(response) => error(response.topics[0].partitions[0].error_code),
            other => panic!("not a commit: {other:?}"),
        }
    }
}

/// Member `a` at epoch 3 with `t-0` and `t-1`, which it has had since epoch 2; `b` has `t-2` and `t-3` since epoch 3.
fn two_members() -> World {
    let mut world = World::new();
    world.create(T, "t", 0..4);
    world.beat(joins("a", &["t"]));
    world.now = world.now + Millis(1_000);
    world.beat(joins("b", &["t"]));
    world.beat(stays("a", 2, &of(T, &[0, 1, 2, 3])));
    assert_eq!(world.beat(stays("a", 2, &of(T, &[0, 1]))).member_epoch, 3);
    assert_eq!(owned(&world.beat(stays("b", 3, &Owned::new()))), of(T, &[2, 3]));
    world
}

#[test]
fn trap_137_a_stale_epoch_has_another_name_in_a_transaction() {
    use ErrorCode::{IllegalGeneration, None, StaleMemberEpoch, UnknownMemberId};
    let mut world = two_members();
    for (from, partition, plain, in_transaction) in [
        (sender("a", 3), 0, None, None),
        // At its own epoch a member is trusted with every partition.
        (sender("a", 3), 2, None, None),
        // At an older one with what it has had since then.
        (sender("a", 2), 0, None, None),
        (sender("a", 1), 0, StaleMemberEpoch, IllegalGeneration),
        (sender("a", 2), 2, StaleMemberEpoch, IllegalGeneration),
        (sender("b", 2), 2, StaleMemberEpoch, IllegalGeneration),
        (sender("a", 4), 0, StaleMemberEpoch, IllegalGeneration),
        (sender("a", -1), 0, StaleMemberEpoch, IllegalGeneration),
        (sender("c", 3), 0, UnknownMemberId, UnknownMemberId),
        (sender("", 3), 0, UnknownMemberId, UnknownMemberId),
        // Naming nobody is for transactions alone, and only with epoch −1.
        (sender("", -1), 0, UnknownMemberId, None),
        (sender("", -2), 0, UnknownMemberId, UnknownMemberId),
    ] {
        let Sender { member, epoch, .. } = from;
        for version in [9, 10] {
            assert_eq!(world.commits(version, from, partition), plain, "{member} at {epoch}, t-{partition}");
        }
        let answer = world.commits_in_transaction(from, partition);
        assert_eq!(answer, in_transaction, "{member} at {epoch}, t-{partition}, in a transaction");
    }
}

#[test]
fn trap_137_what_a_member_has_to_give_back_it_may_still_commit() {
    let mut world = World::new();
    world.create(T, "t", 0..4);
    world.beat(joins("a", &["t"]));
    world.now = world.now + Millis(1_000);
    world.beat(joins("b", &["t"]));
    assert_eq!(owned(&world.beat(stays("a", 2, &of(T, &[0, 1, 2, 3])))), of(T, &[0, 1]));
    // It is told to give the partition back, and works on it until it did.
    assert_eq!(world.commits(9, sender("a", 2), 3), ErrorCode::None);
    assert_eq!(world.commits_in_transaction(sender("a", 2), 3), ErrorCode::None);
    assert_eq!(world.beat(stays("a", 2, &of(T, &[0, 1]))).member_epoch, 3);
    assert_eq!(world.commits(9, sender("a", 2), 3), ErrorCode::StaleMemberEpoch, "given back");
    assert_eq!(world.commits_in_transaction(sender("a", 2), 3), ErrorCode::IllegalGeneration);
    world.reload();
    assert_eq!(world.commits(9, sender("a", 2), 1), ErrorCode::None, "since when it had them is not forgotten");
    assert_eq!(world.commits_in_transaction(sender("a", 1), 1), ErrorCode::IllegalGeneration);
}

#[test]
fn old_versions_are_refused_to_members_of_the_new_protocol_but_not_in_transactions() {
    let mut world = two_members();
    assert_eq!(world.commits(8, sender("a", 3), 0), ErrorCode::UnsupportedVersion);
    assert_eq!(world.commits(8, sender("c", 3), 0), ErrorCode::UnknownMemberId, "who it is counts first");
    assert_eq!(world.commits(2, sender("a", 1), 0), ErrorCode::UnsupportedVersion, "its epoch counts last");
    let request = TxnOffsetCommitRequest {
        group_id: "g".into(),
        producer_id: 77,
        generation_id: 3,
        member_id: "a".into(),
        topics: vec![TxnOffsetCommitRequestTopic { name: "t".into(), partitions: vec![Default::default()] }],
        ..Default::default()
    };
    let Response::TxnOffsetCommit(response) = world.answer(3, Request::TxnOffsetCommit(request)) else {
        panic!("not a commit")
    };
    assert_eq!(error(response.topics[0].partitions[0].error_code), ErrorCode::None);
}

#[test]
fn without_members_whoever_claims_no_epoch_may_commit() {
    let mut world = two_members();
    world.beat(stays("a", -1, &Owned::new()));
    world.beat(stays("b", -1, &Owned::new()));
    for from in [sender("", -1), sender("anybody", -1), sender("a", -7)] {
        for version in [2, 8, 9, 10] {
            assert_eq!(world.commits(version, from, 0), ErrorCode::None);
        }
        assert_eq!(world.commits_in_transaction(from, 0), ErrorCode::None);
    }
    for from in [sender("a", 3), sender("", 0)] {
        assert_eq!(world.commits(8, from, 0), ErrorCode::UnknownMemberId);
        assert_eq!(world.commits(9, from, 0), ErrorCode::UnknownMemberId);
        assert_eq!(world.commits_in_transaction(from, 0), ErrorCode::UnknownMemberId);
    }
}

#[test]
fn a_commit_to_a_consumer_group_is_not_held_against_its_instance_id() {
    let mut world = World::new();
    world.create(T, "t", 0..2);
    let as_static = |request| ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..request };
    let epoch = world.beat(as_static(joins("a", &["t"]))).member_epoch;
    for instance in [None, Some("i"), Some("another")] {
        let from = Sender { instance, ..sender("a", epoch) };
        assert_eq!(world.commits(9, from, 0), ErrorCode::None, "{instance:?}");
        assert_eq!(world.commits_in_transaction(from, 0), ErrorCode::None, "{instance:?}");
        // The instance alone is no member; but it is a name.
        let from = Sender { instance: Some("i"), ..sender("", -1) };
        assert_eq!(world.commits(9, from, 0), ErrorCode::UnknownMemberId);
        assert_eq!(world.commits_in_transaction(from, 0), ErrorCode::UnknownMemberId);
    }
    // While it is away it is at epoch −2, and commits there.
    world.beat(as_static(stays("a", -2, &Owned::new())));
    assert_eq!(world.commits(9, sender("a", epoch), 0), ErrorCode::StaleMemberEpoch);
    assert_eq!(world.commits(9, sender("a", -2), 0), ErrorCode::None);
    // Its successor has its partitions, the former id nothing.
    let next = world.beat(as_static(joins("b", &["t"]))).member_epoch;
    let former = Sender { instance: Some("i"), ..sender("a", next) };
    assert_eq!(world.commits(9, former, 0), ErrorCode::UnknownMemberId);
    assert_eq!(world.commits_in_transaction(former, 0), ErrorCode::UnknownMemberId);
    assert_eq!(world.commits_in_transaction(sender("b", next), 0), ErrorCode::None);
}

#[test]
fn a_topic_that_is_gone_belongs_to_nobody() {
    let mut world = two_members();
    assert_eq!(world.sends_offsets(sender("a", 3), "missing", 0), ErrorCode::None, "at its own epoch");
    assert_eq!(world.sends_offsets(sender("a", 2), "missing", 0), ErrorCode::IllegalGeneration);
}
