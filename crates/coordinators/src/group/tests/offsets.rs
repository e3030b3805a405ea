use milena_protocol::messages::OffsetDeleteRequest;
use milena_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};

use super::super::request::{offset_fetch_error, offset_fetch_groups, offset_fetch_response};
use super::*;

fn delete(world: &mut World, topic: &str) -> (ErrorCode, Option<ErrorCode>) {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
    let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions }];
    match world.answer(0, Request::OffsetDelete(OffsetDeleteRequest { group_id: "g".into(), topics })) {
        Response::OffsetDelete(response) => {
            let partition = response.topics.first().map(|topic| error(topic.partitions[0].error_code));
            (error(response.error_code), partition)
        }
        other => panic!("not a deletion: {other:?}"),
    }
}

/// Appends what a transactional producer commits.
fn commit_in_transaction(world: &mut World, producer: i64, offset: i64) {
    let (_, records) = {
        let mut scratch = World::new();
        scratch.decide(9, Request::OffsetCommit(commit_request("", -1, offset)))
    };
    for record in records {
        world.append(Entry::Record(record), Some(producer));
    }
    world.shard.check();
}

fn end_transaction(world: &mut World, producer: i64, committed: bool) {
    world.append(Entry::TransactionEnd { committed }, Some(producer));
    world.shard.check();
}

#[test]
fn trap_119_without_a_generation_offsets_go_only_into_an_empty_group() {
    let mut world = World::new();
    assert_eq!(world.commit(9, "", -1, 7), ErrorCode::None);
    assert_eq!(world.committed(), 7);
    world.stable(1);
    assert_eq!(world.commit(9, "", -1, 8), ErrorCode::UnknownMemberId);
    assert_eq!(world.committed(), 7);
}

#[test]
fn trap_119_a_member_commits_in_its_generation_and_not_while_it_does_not_know_its_part() {
    let mut world = World::new();
    let (id, to) = world.enter();
    world.wait(3_000);
    world.joined(to);
    assert_eq!(world.commit(9, &id, 1, 1), ErrorCode::RebalanceInProgress);
    world.sync(&id, 1, &[]);
    assert_eq!(world.commit(9, &id, 1, 2), ErrorCode::None);
    assert_eq!(world.commit(9, &id, 0, 3), ErrorCode::IllegalGeneration);
    assert_eq!(world.commit(9, &id, -1, 3), ErrorCode::IllegalGeneration);
    assert_eq!(world.commit(9, "stranger", 1, 3), ErrorCode::UnknownMemberId);
    assert_eq!(world.committed(), 2);
}

#[test]
fn trap_119_a_commit_keeps_the_session_alive_also_while_a_rebalance_is_prepared() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.join(9, &ids[0]);
    for offset in 0..5 {
        world.wait(i64::from(SESSION_MS) - 1);
        assert_eq!(world.commit(9, &ids[1], 1, offset), ErrorCode::None);
    }
}

#[test]
fn trap_120_a_generation_in_a_group_that_does_not_exist_is_refused_by_version() {
    let mut world = World::new();
    assert_eq!(world.commit(8, "m", 1, 1), ErrorCode::IllegalGeneration);
    assert_eq!(world.commit(9, "m", 1, 1), ErrorCode::GroupIdNotFound);
    assert_eq!(world.shard.counts().groups, 0);
}

#[test]
fn trap_121_too_much_metadata_refuses_its_partition_alone() {
    let mut world = World::new();
    let mut request = commit_request("", -1, 1);
    let partition = |partition_index, characters| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        committed_metadata: Some("ä".repeat(characters)),
        ..Default::default()
    };
    request.topics[0].partitions = vec![partition(0, 4_096), partition(1, 4_097)];
    let Response::OffsetCommit(response) = world.answer(9, Request::OffsetCommit(request)) else { panic!() };
    let codes: Vec<ErrorCode> =
        response.topics[0].partitions.iter().map(|partition| error(partition.error_code)).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::OffsetMetadataTooLarge]);
    assert_eq!(world.shard.counts().offsets, 1);
}

#[test]
fn trap_122_no_topics_means_all_and_what_is_unknown_is_no_error() {
    let mut world = World::new();
    let all = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let fetch = |group: &OffsetFetchRequestGroup| Request::OffsetFetch { group: group.clone(), require_stable: false };
    let Response::OffsetFetch(response) = world.answer(8, fetch(&all)) else { panic!() };
    assert_eq!((response.error_code, response.topics.len()), (0, 0), "an unknown group has no offsets");
    let unknown = world.fetch("t", Uuid::ZERO, false);
    assert_eq!((unknown.committed_offset, unknown.committed_leader_epoch, unknown.error_code), (-1, -1, 0));
    assert_eq!(unknown.metadata.as_deref(), Some(""));
    world.commit(9, "", -1, 5);
    let Response::OffsetFetch(response) = world.answer(8, fetch(&all)) else { panic!() };
    assert_eq!((response.topics[0].name.as_str(), response.topics[0].partitions[0].committed_offset), ("t", 5));
    assert_eq!(world.fetch("u", Uuid::ZERO, false).committed_offset, -1);
}

#[test]
fn offsets_of_a_topic_of_the_same_name_but_another_id_are_unknown() {
    let mut world = World::new();
    world.commit(10, "", -1, 5);
    assert_eq!(world.fetch("t", Uuid([1; 16]), false).committed_offset, 5);
    assert_eq!(world.fetch("t", Uuid([2; 16]), false).committed_offset, -1);
    assert_eq!(world.fetch("t", Uuid::ZERO, false).committed_offset, 5);
}

#[test]
fn trap_123_an_open_transaction_makes_offsets_unstable() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    commit_in_transaction(&mut world, 77, 9);
    assert_eq!(world.committed(), 5, "whoever does not care sees the former one");
    let unstable = world.fetch("t", Uuid::ZERO, true);
    assert_eq!((error(unstable.error_code), unstable.committed_offset), (ErrorCode::UnstableOffsetCommit, -1));
    end_transaction(&mut world, 77, true);
    assert_eq!(world.fetch("t", Uuid::ZERO, true).committed_offset, 9);
}

#[test]
fn trap_127_transactional_offsets_appear_at_the_marker() {
    let mut world = World::new();
    commit_in_transaction(&mut world, 77, 9);
    commit_in_transaction(&mut world, 78, 4);
    assert_eq!(world.committed(), -1);
    end_transaction(&mut world, 78, false);
    assert_eq!(world.committed(), -1, "aborted");
    end_transaction(&mut world, 77, true);
    assert_eq!(world.committed(), 9);
    world.reload();
    assert_eq!(world.committed(), 9);
}

#[test]
fn trap_127_a_newer_plain_commit_is_not_overtaken_by_the_marker() {
    let mut world = World::new();
    commit_in_transaction(&mut world, 77, 9);
    world.commit(9, "", -1, 20);
    end_transaction(&mut world, 77, true);
    assert_eq!(world.committed(), 20);
}

#[test]
fn offsets_deleted_while_a_transaction_is_open_do_not_come_back_with_its_marker() {
    let mut world = World::new();
    commit_in_transaction(&mut world, 77, 9);
    assert_eq!(delete(&mut world, "t"), (ErrorCode::None, Some(ErrorCode::None)));
    end_transaction(&mut world, 77, true);
    assert_eq!(world.committed(), -1);
    commit_in_transaction(&mut world, 78, 9);
    world.answer(2, Request::DeleteGroups(vec!["g".into()]));
    end_transaction(&mut world, 78, true);
    assert_eq!((world.committed(), world.shard.counts()), (-1, Default::default()));
}

#[test]
fn trap_124_and_128_every_answer_names_the_last_record_that_it_knows_of() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    let context =
        Context { version: 8, client_id: String::new(), client_address: [10, 0, 0, 1].into(), random: [0; 16] };
    let mut written = |request| {
        let event = Event::Request { to: ReplyTo(1_000), context: context.clone(), request };
        world.shard.handle(world.now, event).replies[0].written
    };
    let group = |id: &str| OffsetFetchRequestGroup { group_id: id.into(), topics: None, ..Default::default() };
    assert_eq!(written(Request::OffsetFetch { group: group("g"), require_stable: false }), Some(Offset(0)));
    assert_eq!(written(Request::OffsetFetch { group: group("h"), require_stable: false }), None);
    assert_eq!(written(Request::DescribeGroups(vec!["g".into()])), Some(Offset(0)));
    assert_eq!(written(Request::ListGroups { filters: Default::default(), after: None }), Some(Offset(0)));
    // A group that is gone is known from its tombstone.
    world.answer(2, Request::DeleteGroups(vec!["g".into()]));
    let event = Event::Request {
        to: ReplyTo(1_000),
        context,
        request: Request::OffsetFetch { group: group("g"), require_stable: true },
    };
    assert_eq!(world.shard.handle(world.now, event).replies[0].written, Some(Offset(2)));
}

#[test]
fn trap_125_offsets_of_subscribed_topics_are_not_deleted() {
    let mut world = World::new();
    assert_eq!(delete(&mut world, "t"), (ErrorCode::GroupIdNotFound, None));
    world.commit(9, "", -1, 5);
    world.stable(1);
    assert_eq!(delete(&mut world, "t"), (ErrorCode::None, Some(ErrorCode::GroupSubscribedToTopic)));
    assert_eq!(delete(&mut world, "u"), (ErrorCode::None, Some(ErrorCode::None)));
    assert_eq!(world.committed(), 5);
}

#[test]
fn trap_125_in_an_empty_group_they_are() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    assert_eq!(delete(&mut world, "t"), (ErrorCode::None, Some(ErrorCode::None)));
    assert_eq!((world.committed(), world.shard.counts().offsets), (-1, 0));
}

#[test]
fn offsets_of_a_group_with_members_of_another_protocol_are_not_deleted() {
    let mut world = World::new();
    let connect = JoinGroupRequest { protocol_type: "connect".into(), ..join_request("") };
    world.ask(3, Request::Join(connect));
    assert_eq!(delete(&mut world, "t"), (ErrorCode::NonEmptyGroup, None));
}

#[test]
fn explicit_retention_of_old_versions_is_written() {
    let mut world = World::new();
    let request = OffsetCommitRequest { retention_time_ms: 1_000, ..commit_request("", -1, 5) };
    let (_, records) = world.decide(2, Request::OffsetCommit(request));
    assert_eq!(&records[0].value.as_ref().expect("a value")[..2], [0, 1], "in version 1 of the value");
}

#[test]
fn before_version_8_one_group_is_asked_for_and_answered() {
    let old =
        milena_protocol::messages::OffsetFetchRequest { group_id: "g".into(), topics: None, ..Default::default() };
    let (groups, _) = offset_fetch_groups(old, 7);
    assert_eq!((groups.len(), groups[0].group_id.as_str(), &groups[0].topics), (1, "g", &None));
    let failed = offset_fetch_error(&groups[0], 7, ErrorCode::NotCoordinator);
    let response = offset_fetch_response(vec![failed], 7);
    assert_eq!(error(response.error_code), ErrorCode::NotCoordinator);
    assert!(response.to_bytes(7).is_ok());
}

#[test]
fn version_1_says_the_groups_error_in_each_partition() {
    let topics = vec![OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![3], ..Default::default() }];
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
    let response = offset_fetch_response(vec![offset_fetch_error(&group, 1, ErrorCode::NotCoordinator)], 1);
    assert_eq!(error(response.topics[0].partitions[0].error_code), ErrorCode::NotCoordinator);
    assert!(response.to_bytes(1).is_ok());
}

#[test]
fn a_failed_append_is_told_in_the_words_of_each_api() {
    let mut world = World::new();
    let committed = world.answer(9, Request::OffsetCommit(commit_request("", -1, 1)));
    let Response::OffsetCommit(failed) = committed.failed(9, ErrorCode::RequestTimedOut) else { panic!() };
    assert_eq!(error(failed.topics[0].partitions[0].error_code), ErrorCode::CoordinatorNotAvailable);
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let fetched = world.answer(9, Request::OffsetFetch { group, require_stable: true });
    let Response::OffsetFetch(failed) = fetched.failed(9, ErrorCode::RequestTimedOut) else { panic!() };
    assert_eq!((error(failed.error_code), failed.topics.len()), (ErrorCode::NotCoordinator, 0));
    let joined = Response::Join(JoinGroupResponse { member_id: "m".into(), generation_id: 3, ..Default::default() });
    let Response::Join(failed) = joined.failed(9, ErrorCode::NotLeaderOrFollower) else { panic!() };
    assert_eq!((error(failed.error_code), failed.generation_id), (ErrorCode::NotCoordinator, -1));
}
