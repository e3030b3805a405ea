use super::*;

#[test]
fn trap_156_what_was_open_for_too_long_is_aborted_and_its_producer_fenced() {
    for level in [0, 2] {
        let mut world = World::with(Settings::default(), level);
        let producer = world.enter("a");
        world.add("a", producer, &[0], 0);
        world.wait(i64::from(TIMEOUT_MS));
        assert_eq!(world.state("a"), "Ongoing");
        world.wait(10_000);
        assert_eq!(world.state("a"), "PrepareAbort");
        let markers = world.write_markers();
        assert_eq!((markers[0].committed, markers[0].producer_epoch.0), (false, producer.1 + 1));
        assert_eq!(world.end_error(END_OLD, "a", producer, true), ErrorCode::ProducerFenced);
        // With an epoch for each transaction the abort might be its own, whose answer was lost.
        let expected = if level < 2 { ErrorCode::ProducerFenced } else { ErrorCode::InvalidTxnState };
        assert_eq!(world.end_error(END, "a", producer, true), expected);
        assert_eq!(world.add("a", producer, &[0], 0), ErrorCode::ProducerFenced);
    }
}

#[test]
fn a_transaction_whose_end_somebody_else_decides_has_no_timeout() {
    let mut world = World::with(Settings { timeout_max_ms: i32::MAX, ..Settings::default() }, 2);
    let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..init("a") };
    let entered = world.init(request);
    world.add("a", (entered.producer_id, entered.producer_epoch), &[0], 0);
    world.wait(i64::from(i32::MAX) * 2);
    assert_eq!(world.state("a"), "Ongoing");
}

#[test]
fn one_that_cannot_be_aborted_keeps_no_other_waiting() {
    let last = i16::MAX - 1;
    let mut world = World::new();
    world.write("a", &at_rest(5, last));
    world.add("a", (5, last), &[0], 0);
    let other = world.enter("b");
    world.add("b", other, &[0], 0);
    // The first one wants a producer id, and gets none.
    world.wait(i64::from(TIMEOUT_MS) + 20_000);
    assert_eq!(world.state("b"), "PrepareAbort");
    assert_eq!(world.state("a"), "Ongoing");
    world.tell(Event::ProducerId { transactional_id: "a".into(), id: Err(ErrorCode::CoordinatorLoadInProgress) });
    world.effects.clear();
    world.wait(20_000);
    assert_eq!(world.effects, [Effect::ProducerId { transactional_id: "a".into() }]);
    world.give_producer_ids();
    assert_eq!(world.state("a"), "PrepareAbort");
}

#[test]
fn a_transaction_that_is_loaded_keeps_its_deadline() {
    let mut world = World::new();
    let producer = world.enter("a");
    world.add("a", producer, &[0], 0);
    world.wait(50_000);
    world.reload();
    world.wait(25_000);
    assert_eq!(world.state("a"), "PrepareAbort");
}
