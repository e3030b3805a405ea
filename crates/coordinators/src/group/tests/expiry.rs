use milena_protocol::messages::OffsetCommitKey;

use super::super::expiry::{GROUPS_PER_STEP, TOMBSTONES_PER_STEP};
use super::super::{DeletedTopic, record};
use super::*;

const DAY: i64 = 24 * 60 * 60 * 1_000;

#[test]
fn trap_126_offsets_of_a_simple_group_age_from_their_commit() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    world.wait(4 * DAY);
    world.commit(9, "", -1, 6);
    world.wait(6 * DAY);
    assert_eq!(world.committed(), 6);
    world.wait(2 * DAY);
    assert_eq!(world.committed(), -1);
    assert_eq!(world.state("g"), "Dead", "nothing is left of the group");
}

#[test]
fn trap_126_offsets_of_a_group_age_from_the_moment_it_became_empty() {
    let mut world = World::new();
    let id = world.stable(1).remove(0);
    world.commit(9, &id, 1, 5);
    for _ in 0..(8 * DAY / 9_000) {
        world.wait(9_000);
        assert_eq!(world.heartbeat(&id, 1), ErrorCode::None);
    }
    assert_eq!(world.committed(), 5, "the member is subscribed to the topic");
    world.leave(5, &[(&id, None)]);
    world.reload();
    world.wait(6 * DAY);
    assert_eq!(world.committed(), 5, "though committed long ago");
    world.wait(2 * DAY);
    assert_eq!(world.committed(), -1);
}

#[test]
fn trap_126_a_live_group_loses_offsets_of_topics_that_it_left() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    let mut other = commit_request("", -1, 7);
    other.topics[0].name = "left".into();
    world.commit_request(9, other);
    let id = world.stable(1).remove(0);
    for _ in 0..(8 * DAY / 9_000) {
        world.wait(9_000);
        world.heartbeat(&id, 1);
    }
    assert_eq!(world.committed(), 5);
    assert_eq!(world.fetch("left", Uuid::ZERO, false).committed_offset, -1);
}

#[test]
fn trap_126_explicit_retention_of_old_requests_counts_instead() {
    let mut world = World::new();
    let request = OffsetCommitRequest { retention_time_ms: DAY, ..commit_request("", -1, 5) };
    world.commit_request(4, request);
    world.wait(DAY - 600_001);
    assert_eq!(world.committed(), 5);
    world.wait(1_200_001);
    assert_eq!(world.committed(), -1);
}

#[test]
fn trap_126_and_130_open_transactions_keep_offsets_and_group() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 0 };
    let value = milena_protocol::messages::OffsetCommitValue { offset: 6, ..Default::default() };
    world.append(Entry::Record(record::offset(&key, &value)), Some(77));
    world.wait(10 * DAY);
    assert_eq!((world.committed(), world.state("g").as_str()), (5, "Empty"));
    world.append(Entry::TransactionEnd { committed: false }, Some(77));
    world.wait(DAY);
    assert_eq!((world.committed(), world.state("g").as_str()), (-1, "Dead"));
}

#[test]
fn trap_130_a_group_with_members_or_offsets_does_not_die() {
    let mut world = World::new();
    let id = world.stable(1).remove(0);
    world.commit(9, &id, 1, 5);
    world.leave(5, &[(&id, None)]);
    world.wait(DAY);
    assert_eq!(world.state("g"), "Empty");
    let mut world = World::new();
    let id = world.stable(1).remove(0);
    world.leave(5, &[(&id, None)]);
    world.wait(DAY);
    assert_eq!(world.state("g"), "Dead", "empty and without offsets");
    assert_eq!(world.log.last().map(|(_, entry)| entry), Some(&Entry::Record(record::group_tombstone("g"))));
}

#[test]
fn expiry_goes_in_bounded_steps() {
    let mut world = World::new();
    for partition in 0..(TOMBSTONES_PER_STEP as i32 * 2 + 5) {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition };
        let value = milena_protocol::messages::OffsetCommitValue { commit_timestamp: 0, ..Default::default() };
        world.append(Entry::Record(record::offset(&key, &value)), None);
    }
    for group in 0..GROUPS_PER_STEP {
        let record = record::group(&format!("h{group}"), &Default::default());
        world.append(Entry::Record(record), None);
    }
    world.now = Millis(10 * DAY);
    let mut steps = 0;
    while world.shard.next_deadline().is_some_and(|deadline| deadline <= world.now) {
        let decision = world.shard.tick(world.now);
        assert!(decision.records.len() <= TOMBSTONES_PER_STEP + GROUPS_PER_STEP);
        world.apply(decision);
        world.now = world.now + Millis(1);
        steps += 1;
    }
    assert!(steps >= 3);
    assert_eq!((world.shard.counts().offsets, world.shard.counts().groups), (0, 0));
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_but_not_those_of_its_successor() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    let event = |id| Event::TopicsDeleted(vec![DeletedTopic { id: Uuid([id; 16]), name: "t".into() }]);
    let decision = world.shard.handle(world.now, event(2));
    world.apply(decision);
    world.wait(10);
    assert_eq!(world.committed(), 5, "another topic of the same name");
    let decision = world.shard.handle(world.now, event(1));
    world.apply(decision);
    world.wait(10);
    assert_eq!(world.committed(), -1);
}
