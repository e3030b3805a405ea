//! What a shard says of the size of an answer before it makes it. Every test of this room that asks a shard checks it too.

use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::{
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest, DescribeGroupsResponse, OffsetFetchResponse,
};

use super::consumers::{T, joins};
use super::*;

/// What an answer takes on the wire in the version that takes most, if it has been weighed.
fn size_of(response: &Response) -> Option<usize> {
    let bytes = match response.clone() {
        Response::OffsetFetch(group) => OffsetFetchResponse { groups: vec![group], ..Default::default() }.to_bytes(9),
        Response::DescribeGroups(groups) => DescribeGroupsResponse { groups, ..Default::default() }.to_bytes(6),
        Response::ConsumerDescribe(groups) => {
            ConsumerGroupDescribeResponse { groups, ..Default::default() }.to_bytes(1)
        }
        _ => return None,
    };
    Some(bytes.expect("fits").len())
}

/// An answer never takes more than was said.
pub(super) fn check(weight: usize, response: &Response) {
    // What every answer has but for its groups.
    const FRAME: usize = 16;
    if let Some(size) = size_of(response) {
        assert!(size <= weight + FRAME, "{size} bytes, and {weight} were said: {response:?}");
    }
}

/// What was said of an answer, and what it takes.
fn weigh(world: &mut World, version: i16, request: Request) -> (usize, usize) {
    let weight = world.shard.weigh(&request);
    let response = world.answer(version, request);
    (weight, size_of(&response).expect("it is weighed"))
}

fn all_offsets() -> Request {
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    Request::OffsetFetch { group, require_stable: false }
}

#[test]
fn offsets_weigh_a_little_more_than_they_take() {
    let mut world = World::new();
    for number in 0..100 {
        let mut request = commit_request("", -1, 1);
        request.topics[0].partitions[0].partition_index = number;
        request.topics[0].partitions[0].committed_metadata = Some("m".repeat(number as usize));
        world.commit_request(9, request);
    }
    let (weight, size) = weigh(&mut world, 9, all_offsets());
    assert!(size > 100 * 60 && weight < size + size / 4, "{weight} for {size}");
    let topics = vec![OffsetFetchRequestTopics {
        name: "t".into(),
        topic_id: Uuid::ZERO,
        partition_indexes: (0..1000).collect(),
    }];
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
    let (weight, size) = weigh(&mut world, 9, Request::OffsetFetch { group, require_stable: false });
    assert!(size > 100 * 60 + 900 * 20 && weight < size + size / 4, "{weight} for {size}");
}

#[test]
fn members_weigh_a_little_more_than_they_take() {
    let mut world = World::new();
    world.stable(20);
    let (weight, size) = weigh(&mut world, 6, Request::DescribeGroups(vec!["g".into(), "missing".into()]));
    assert!(size > 20 * 80 && weight < 2 * size, "{weight} for {size}");
}

#[test]
fn consumers_weigh_a_little_more_than_they_take() {
    let mut world = World::new();
    world.create(T, "a-topic-with-a-name", 0..300);
    for member in ["a", "b", "c"] {
        let joins = joins(member, &["a-topic-with-a-name"]);
        world.beat(ConsumerGroupHeartbeatRequest { rack_id: Some("rack".into()), ..joins });
    }
    let (weight, size) = weigh(&mut world, 1, Request::ConsumerDescribe(vec!["g".into(), "missing".into()]));
    assert!(size > 300 * 8 && weight < 2 * size, "{weight} for {size}");
}
