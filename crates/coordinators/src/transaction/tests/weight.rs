//! What a shard says of the size of a description before it makes it. Every test that describes checks it too.

use super::*;

#[test]
fn a_transaction_weighs_a_little_more_than_it_takes() {
    let mut world = World::new();
    let producer = world.enter("x");
    let partitions: Vec<i32> = (0..500).collect();
    assert_eq!(world.add("x", producer, &partitions, 2), ErrorCode::None);
    let request = Request::Describe(vec!["x".into(), "missing".into()]);
    let weight = world.shard.weigh(&request);
    let Response::Described(states) = world.ask(0, request) else { panic!("described") };
    let size = size_of(&states);
    assert!(size > 500 * 4 && weight < size + size / 4, "{weight} for {size}");
}
