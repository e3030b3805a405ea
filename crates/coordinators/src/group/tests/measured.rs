//! What one rebalance of a large group costs the coordinator's thread. The usual run takes small groups and looks at
//! nothing but that it works; only large ones in an optimized build are worth looking at:
//!
//! `MILENA_MEASURE=1 cargo test --release -p milena-coordinators --lib measured -- --nocapture`

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures")]

use std::time::{Duration, Instant};

use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, MetadataRecord, PartitionRecord, TopicRecord};

use super::consumers::{Owned, joins, stays};
use super::*;
use crate::group::{Assignor, ConsumerSettings};

/// Members and topics. Which ones is decided when the tests are built: this crate looks at no environment.
const SIZES: [(usize, usize); 2] = match option_env!("MILENA_MEASURE") {
    Some(_) => [(1_000, 100), (5_000, 1_000)],
    None => [(8, 2), (10, 5)],
};
const PARTITIONS_PER_TOPIC: i32 = 10;
/// Members that leave, one after another.
const LEAVE: usize = 5;

/// To decide, to follow the records, and how many they are.
type Took = (Duration, Duration, usize);

/// A group of so many members that subscribe to all of so many topics: the last join, a heartbeat of a member at rest, the
/// first assignment after all have joined, and the one after one of them has left (the median of some). One of them
/// may subscribe in other words.
fn rebalances(assignors: &'static [Assignor], members: usize, topics: usize, is_of_one_mind: bool) -> [Took; 4] {
    let consumer = ConsumerSettings { assignors, size_max: members, ..ConsumerSettings::default() };
    let mut world = World::with(Settings { consumer, ..Settings::default() });
    let names: Vec<String> = (0..topics).map(|at| format!("topic-{at}")).collect();
    world.metadata(topic_records(&names));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut joined = (Duration::ZERO, Duration::ZERO, 0);
    for at in 0..members {
        // All within one assignment interval: nobody but the first is assigned anything yet.
        joined = timed(&mut world, joins(&format!("member-{at}"), &names));
    }
    if !is_of_one_mind {
        let others = [&names[..], &["not there"]].concat();
        timed(&mut world, joins("member-1", &others));
    }
    let stayer = format!("member-{}", members - 1);
    let at_rest = beats(&mut world, &stayer);
    world.now = world.now + Millis(2_000);
    let from_nothing = beats(&mut world, &stayer);
    let mut after_one_left: Vec<Took> = Vec::new();
    for at in 2..2 + LEAVE {
        timed(&mut world, stays(&format!("member-{at}"), -1, &Owned::new()));
        world.now = world.now + Millis(2_000);
        after_one_left.push(beats(&mut world, &stayer));
    }
    after_one_left.sort();
    assert!(from_nothing.2 > members / 2, "nearly all get something: {from_nothing:?}");
    assert!(after_one_left.iter().all(|(.., records)| *records > 1), "what it had is given to others");
    [joined, at_rest, from_nothing, after_one_left[LEAVE / 2]]
}

/// A member says that it is there.
fn beats(world: &mut World, member: &str) -> Took {
    let group = world.describe_consumer();
    let known = group.members.iter().find(|known| known.member_id == member);
    let epoch = known.map_or(0, |known| known.member_epoch);
    timed(world, ConsumerGroupHeartbeatRequest { topic_partitions: None, ..stays(member, epoch, &Owned::new()) })
}

fn topic_records(names: &[String]) -> Vec<MetadataRecord> {
    let of_topic = |(at, name): (usize, &String)| {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&(at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let topic_id = Uuid(id);
        let topic: MetadataRecord = TopicRecord { topic_id, name: name.clone() }.into();
        let partition = move |partition_id| {
            PartitionRecord { partition_id, topic_id, replicas: vec![1], isr: vec![1], ..Default::default() }.into()
        };
        std::iter::once(topic).chain((0..PARTITIONS_PER_TOPIC).map(partition))
    };
    names.iter().enumerate().flat_map(of_topic).collect()
}

/// Asks as the shell does, without the looking after of other tests: how long it took to decide and to follow, and how
/// many records there were.
fn timed(world: &mut World, request: ConsumerGroupHeartbeatRequest) -> Took {
    let context = Context { version: 1, client_id: "c".into(), client_address: [10, 0, 0, 1].into(), random: [9; 16] };
    let request = Request::ConsumerHeartbeat(CheckedHeartbeat::of(request));
    let begun = Instant::now();
    let decision = world.shard.handle(world.now, Event::Request { to: ReplyTo(0), context, request });
    let decided = begun.elapsed();
    let Response::ConsumerHeartbeat(answer) = &decision.replies[0].response else { panic!("not a heartbeat") };
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let count = decision.records.len();
    let entries: Vec<Entry> = decision.records.into_iter().map(Entry::Record).collect();
    let begun = Instant::now();
    entries.into_iter().for_each(|entry| world.append(entry, None));
    (decided, begun.elapsed(), count)
}

#[test]
fn measured_rebalances_of_large_groups() {
    const UNIFORM: &[Assignor] = &[Assignor::Uniform];
    const RANGE: &[Assignor] = &[Assignor::Range];
    for (members, topics) in SIZES {
        for (assignors, is_of_one_mind) in [(UNIFORM, true), (RANGE, true), (UNIFORM, false), (RANGE, false)] {
            let took = rebalances(assignors, members, topics, is_of_one_mind);
            println!("{members} members, {topics} topics, {}, of one mind {is_of_one_mind}:", assignors[0].name());
            let what = ["the last one joins", "a heartbeat", "all are assigned", "one has left"];
            for (what, (decided, followed, records)) in what.into_iter().zip(took) {
                println!("  {what}: decided in {decided:?}, followed in {followed:?}, {records} records");
            }
        }
    }
}
