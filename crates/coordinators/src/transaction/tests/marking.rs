use super::*;
use crate::transaction::marking::RETRY_AFTER;

fn decided() -> (World, Identity) {
    let mut world = World::new();
    let producer = world.enter("a");
    world.add("a", producer, &[0, 1, 2], 0);
    assert_eq!(world.end_error(END_OLD, "a", producer, true), ErrorCode::None);
    (world, producer)
}

fn wanted(world: &World) -> Vec<i32> {
    let wanted = world.effects.iter().flat_map(|effect| match effect {
        Effect::WriteMarkers { partitions, .. } => partitions.iter().map(|at| at.partition).collect(),
        Effect::ProducerId { .. } => Vec::new(),
    });
    wanted.collect()
}

#[test]
fn partitions_without_marker_are_tried_again_after_a_pause() {
    let (mut world, _) = decided();
    assert_eq!(wanted(&world), [0, 1, 2]);
    world.write_markers_as(|at| match at.partition {
        0 => Marked::Written,
        _ => Marked::Refused(ErrorCode::NotLeaderOrFollower),
    });
    assert_eq!(wanted(&world), [] as [i32; 0]);
    assert_eq!(world.describe("a").topics[0].partitions, [1, 2]);
    world.wait(RETRY_AFTER.0);
    assert_eq!(wanted(&world), [1, 2]);
    world.write_markers();
    assert_eq!(world.state("a"), "CompleteCommit");
}

#[test]
fn trap_160_a_deleted_topic_keeps_no_transaction_open() {
    let (mut world, _) = decided();
    world.write_markers_as(|_| Marked::Deleted);
    assert_eq!(world.state("a"), "CompleteCommit");
}

#[test]
fn trap_157_whoever_was_fenced_gives_up_until_it_is_loaded_again() {
    for code in [ErrorCode::TransactionCoordinatorFenced, ErrorCode::InvalidProducerEpoch] {
        let (mut world, _) = decided();
        world.write_markers_as(|at| if at.partition == 1 { Marked::Refused(code) } else { Marked::Written });
        world.wait(100_000);
        assert!(world.effects.is_empty());
        assert_eq!(world.state("a"), "PrepareCommit");
        world.reload();
        assert_eq!(wanted(&world), [0, 1, 2]);
    }
}

#[test]
fn every_marker_is_written_again_after_a_reload() {
    let (mut world, _) = decided();
    world.write_markers_as(|at| match at.partition {
        0 => Marked::Written,
        _ => Marked::Refused(ErrorCode::RequestTimedOut),
    });
    world.reload();
    assert_eq!(wanted(&world), [0, 1, 2]);
    let markers = world.write_markers();
    assert!(markers[0].committed);
    assert_eq!(world.state("a"), "CompleteCommit");
    world.reload();
    assert!(world.effects.is_empty());
}

#[test]
fn a_completion_that_was_not_written_is_written_later() {
    let (mut world, _) = decided();
    let Some(Effect::WriteMarkers { transactional_id, partitions, .. }) = world.effects.pop() else {
        panic!("markers are wanted")
    };
    let results = partitions.into_iter().map(|partition| (partition, Marked::Written)).collect();
    // The append fails, and leaves nothing.
    let lost = world.shard.handle(world.now, Event::Marked { transactional_id, results });
    assert_eq!(lost.records.len(), 1);
    assert_eq!(world.state("a"), "PrepareCommit");
    world.wait(RETRY_AFTER.0);
    assert_eq!(world.state("a"), "CompleteCommit");
}

#[test]
fn a_verdict_that_was_not_written_wants_no_markers() {
    let mut world = World::new();
    let producer = world.enter("a");
    world.add("a", producer, &[0], 0);
    let context = Context { version: END_OLD };
    let request = Request::EndTxn(end("a", producer, true));
    drop(world.shard.handle(world.now, Event::Request { to: ReplyTo(999), context, request }));
    world.wait(1_000);
    assert!(world.effects.is_empty());
    assert_eq!(world.state("a"), "Ongoing");
}
