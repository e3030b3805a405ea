use super::*;

fn verify(world: &mut World, id: &str, producer: Identity, partitions: &[i32]) -> Vec<ErrorCode> {
    match world.ask(ADD, Request::Verify(participation(id, producer, partitions))) {
        Response::Verified(verified) => verified.into_iter().map(|(_, error)| error).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_partition_opens_a_transaction_and_further_ones_leave_its_time_alone() {
    let mut world = World::new();
    let producer = world.enter("a");
    world.wait(50);
    assert_eq!(world.add("a", producer, &[1], 0), ErrorCode::None);
    let began = world.now;
    world.wait(50);
    assert_eq!(world.add("a", producer, &[0], 0), ErrorCode::None);
    let described = world.describe("a");
    assert_eq!(described.transaction_start_time_ms, began.0);
    assert_eq!(described.topics[0].partitions, [0, 1]);
    assert_eq!(described.transaction_state, "Ongoing");
}

#[test]
fn trap_155_what_takes_part_already_is_not_written_again() {
    let mut world = World::new();
    let producer = world.enter("a");
    world.add("a", producer, &[0, 1], 0);
    let written = world.log.len();
    assert_eq!(world.add("a", producer, &[1], 2), ErrorCode::None);
    assert_eq!(world.log.len(), written);
}

#[test]
fn only_the_present_producer_adds() {
    let mut world = World::new();
    let (id, epoch) = world.enter("a");
    assert_eq!(world.add("x", (id, epoch), &[0], 0), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(world.add("a", (id + 1, epoch), &[0], 0), ErrorCode::InvalidProducerIdMapping);
    assert_eq!(world.add("a", (id, epoch + 1), &[0], 0), ErrorCode::ProducerFenced);
    assert_eq!(world.add("", (id, epoch), &[0], 0), ErrorCode::InvalidRequest);
}

#[test]
fn trap_150_nothing_is_added_while_markers_are_on_their_way() {
    let mut world = World::new();
    let producer = world.enter("a");
    world.add("a", producer, &[0], 0);
    assert_eq!(world.end_error(END_OLD, "a", producer, true), ErrorCode::None);
    assert_eq!(world.add("a", producer, &[1], 0), ErrorCode::ConcurrentTransactions);
    assert_eq!(verify(&mut world, "a", producer, &[0]), [ErrorCode::ConcurrentTransactions]);
    world.write_markers();
    assert_eq!(world.add("a", producer, &[1], 0), ErrorCode::None);
    assert_eq!(world.describe("a").topics[0].partitions, [1]);
}

#[test]
fn verification_names_what_takes_no_part() {
    let mut world = World::new();
    let (id, epoch) = world.enter("a");
    world.add("a", (id, epoch), &[0, 2], 0);
    let codes = verify(&mut world, "a", (id, epoch), &[0, 1, 2]);
    assert_eq!(codes, [ErrorCode::None, ErrorCode::TransactionAbortable, ErrorCode::None]);
    assert_eq!(verify(&mut world, "a", (id, epoch + 1), &[0]), [ErrorCode::ProducerFenced]);
    assert_eq!(verify(&mut world, "a", (id + 1, epoch), &[0]), [ErrorCode::InvalidProducerIdMapping]);
    assert_eq!(verify(&mut world, "x", (id, epoch), &[0, 1]), [ErrorCode::InvalidProducerIdMapping; 2]);
    assert_eq!(verify(&mut world, "", (id, epoch), &[0]), [ErrorCode::InvalidRequest]);
}

#[test]
fn records_before_transaction_versions_cannot_say_what_newer_clients_ask_for() {
    let mut world = World::with(Settings::default(), 0);
    let producer = world.enter("a");
    assert_eq!(world.add("a", producer, &[0], 2), ErrorCode::UnsupportedVersion);
    assert_eq!(world.add("a", producer, &[0], 0), ErrorCode::None);
    assert_eq!(world.end_error(END, "a", producer, true), ErrorCode::UnsupportedVersion);
    // The level may rise while transactions are open.
    world.tell(Event::Level(2));
    assert_eq!(world.end_error(END, "a", producer, true), ErrorCode::None);
}

#[test]
fn a_text_that_no_record_can_hold_is_refused() {
    let mut world = World::new();
    let producer = world.enter("a");
    let mut added = participation("a", producer, &[]);
    added.partitions.insert(TopicPartition::new("\u{fffd}".repeat(20_000), 0));
    let answer = world.ask(ADD, Request::AddPartitions { added, client_level: 0 });
    assert_eq!(answer, Response::Added(ErrorCode::InvalidRequest));
}
