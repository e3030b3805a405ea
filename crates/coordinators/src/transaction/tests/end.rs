use super::*;

#[test]
fn trap_150_the_verdict_is_answered_before_its_markers() {
    let mut world = World::new();
    let producer = world.enter("a");
    world.add("a", producer, &[0, 1], 0);
    assert_eq!(world.end_error(END_OLD, "a", producer, true), ErrorCode::None);
    assert_eq!(world.state("a"), "PrepareCommit");
    let markers = world.write_markers();
    let expected = Marker {
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        coordinator_epoch: 7,
        committed: true,
        transaction_version: 0,
    };
    assert_eq!(markers, [expected]);
    assert_eq!(world.state("a"), "CompleteCommit");
}

#[test]
fn trap_151_the_same_verdict_again_is_good_and_the_opposite_is_not() {
    for committed in [true, false] {
        let mut world = World::new();
        let producer = world.enter("a");
        world.add("a", producer, &[0], 0);
        assert_eq!(world.end_error(END_OLD, "a", producer, committed), ErrorCode::None);
        assert_eq!(world.end_error(END_OLD, "a", producer, committed), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.end_error(END_OLD, "a", producer, !committed), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.end_error(END_OLD, "a", (producer.0, 7), committed), ErrorCode::ProducerFenced);
        world.write_markers();
        assert_eq!(world.end_error(END_OLD, "a", producer, committed), ErrorCode::None);
        assert_eq!(world.end_error(END_OLD, "a", producer, !committed), ErrorCode::InvalidTxnState);
    }
}

#[test]
fn trap_152_each_verdict_gives_the_next_epoch_and_a_retry_the_same() {
    for committed in [true, false] {
        let mut world = World::new();
        let (id, epoch) = world.enter("a");
        world.add("a", (id, epoch), &[0], 2);
        let given = world.end(END, "a", (id, epoch), committed);
        assert_eq!(
            (error(given.error_code), given.producer_id, given.producer_epoch),
            (ErrorCode::None, id, epoch + 1)
        );
        // Its markers are on their way.
        assert_eq!(world.end_error(END, "a", (id, epoch), committed), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.end_error(END, "a", (id, epoch), !committed), ErrorCode::ConcurrentTransactions);
        let markers = world.write_markers();
        assert_eq!((markers[0].producer_epoch.0, markers[0].transaction_version), (epoch + 1, 2));
        let again = world.end(END, "a", (id, epoch), committed);
        assert_eq!((again.producer_id, again.producer_epoch), (id, epoch + 1));
        assert_eq!(world.end_error(END, "a", (id, epoch), !committed), ErrorCode::InvalidTxnState);
        assert_eq!(world.end_error(END, "a", (id, epoch - 1), committed), ErrorCode::ProducerFenced);
    }
}

#[test]
fn trap_152_a_retry_is_answered_the_same_across_a_reload() {
    let mut world = World::new();
    let (id, epoch) = world.enter("a");
    world.add("a", (id, epoch), &[0], 2);
    world.end(END, "a", (id, epoch), true);
    world.reload();
    world.write_markers();
    let again = world.end(END, "a", (id, epoch), true);
    assert_eq!((again.error_code, again.producer_id, again.producer_epoch), (0, id, epoch + 1));
}

#[test]
fn trap_152_the_last_epoch_leads_to_a_new_producer_id() {
    let last = i16::MAX - 1;
    let mut world = World::new();
    world.write("a", &at_rest(5, last));
    world.add("a", (5, last), &[0], 2);
    let given = world.end(END, "a", (5, last), true);
    assert_eq!((given.error_code, given.producer_id, given.producer_epoch), (0, 101, 0));
    let markers = world.write_markers();
    assert_eq!((markers[0].producer_id.0, markers[0].producer_epoch.0), (5, i16::MAX));
    let again = world.end(END, "a", (5, last), true);
    assert_eq!((again.error_code, again.producer_id, again.producer_epoch), (0, 101, 0));
    assert_eq!(world.end_error(END, "a", (5, last), false), ErrorCode::InvalidTxnState);
    assert_eq!(world.add("a", (101, 0), &[0], 2), ErrorCode::None);
    // Nobody retries what happened before this transaction.
    assert_eq!(world.end_error(END, "a", (5, last), true), ErrorCode::InvalidProducerIdMapping);
}

#[test]
fn while_a_verdict_waits_for_a_producer_id_nothing_else_is_decided() {
    let last = i16::MAX - 1;
    let mut world = World::new();
    world.write("a", &at_rest(5, last));
    world.add("a", (5, last), &[0], 2);
    let waiting = world.begin(END, Request::EndTxn(end("a", (5, last), true)));
    assert_eq!(world.effects, [Effect::ProducerId { transactional_id: "a".into() }]);
    world.effects.clear();
    assert_eq!(world.add("a", (5, last), &[1], 2), ErrorCode::ConcurrentTransactions);
    assert_eq!(world.end_error(END, "a", (5, last), false), ErrorCode::ConcurrentTransactions);
    assert_eq!(world.end_error(END_OLD, "a", (5, last), false), ErrorCode::ConcurrentTransactions);
    assert_eq!(world.end_error(END_OLD, "a", (5, 1), false), ErrorCode::ProducerFenced);
    assert_eq!(error(world.init(init("a")).error_code), ErrorCode::ConcurrentTransactions);
    world.wait(i64::from(TIMEOUT_MS) * 2);
    assert_eq!(world.state("a"), "Ongoing");
    world.tell(Event::ProducerId { transactional_id: "a".into(), id: Ok(ProducerId(77)) });
    let Response::EndTxn(answer) = world.answer(waiting) else { panic!("its answer") };
    assert_eq!((answer.producer_id, answer.producer_epoch), (77, 0));
}

#[test]
fn trap_153_an_abort_of_nothing_is_a_verdict_too() {
    let mut world = World::new();
    let (id, epoch) = world.enter("a");
    assert_eq!(world.end_error(END, "a", (id, epoch), true), ErrorCode::InvalidTxnState);
    assert_eq!(world.end_error(END_OLD, "a", (id, epoch), true), ErrorCode::InvalidTxnState);
    assert_eq!(world.end_error(END_OLD, "a", (id, epoch), false), ErrorCode::InvalidTxnState);
    let given = world.end(END, "a", (id, epoch), false);
    assert_eq!((given.error_code, given.producer_epoch), (0, epoch + 1));
    assert_eq!(world.state("a"), "CompleteAbort");
    // Again, and after a commit.
    assert_eq!(world.end(END, "a", (id, epoch + 1), false).producer_epoch, epoch + 2);
    world.add("a", (id, epoch + 2), &[0], 2);
    assert_eq!(world.end(END, "a", (id, epoch + 2), true).producer_epoch, epoch + 3);
    world.write_markers();
    assert_eq!(world.end_error(END, "a", (id, epoch + 3), true), ErrorCode::InvalidTxnState);
    assert_eq!(world.end(END, "a", (id, epoch + 3), false).producer_epoch, epoch + 4);
    assert!(world.effects.is_empty());
}

#[test]
fn only_the_present_producer_ends() {
    let mut world = World::new();
    let (id, epoch) = world.enter("a");
    world.add("a", (id, epoch), &[0], 0);
    for version in [END_OLD, END] {
        assert_eq!(world.end_error(version, "x", (id, epoch), true), ErrorCode::InvalidProducerIdMapping);
        assert_eq!(world.end_error(version, "a", (id + 1, epoch), true), ErrorCode::InvalidProducerIdMapping);
        assert_eq!(world.end_error(version, "a", (id, epoch + 1), true), ErrorCode::ProducerFenced);
        assert_eq!(world.end_error(version, "a", (id, -1), true), ErrorCode::ProducerFenced);
        assert_eq!(world.end_error(version, "a", (id, i16::MAX), true), ErrorCode::ProducerFenced);
        assert_eq!(world.end_error(version, "a", (id, i16::MIN), true), ErrorCode::ProducerFenced);
        assert_eq!(world.end_error(version, "", (id, epoch), true), ErrorCode::InvalidRequest);
    }
    assert_eq!(world.state("a"), "Ongoing");
}

#[test]
fn a_fenced_producer_does_not_get_the_identity_of_one_with_a_single_epoch() {
    let mut world = World::new();
    let former = world.enter("a");
    let present = world.enter("a");
    world.add("a", present, &[0], 0);
    assert_eq!(world.end_error(END_OLD, "a", present, false), ErrorCode::None);
    world.write_markers();
    assert_eq!(world.end_error(END, "a", former, false), ErrorCode::ProducerFenced);
}

#[test]
fn whoever_has_the_next_identity_waits_for_the_markers_of_the_last_transaction() {
    for last in [0, i16::MAX - 1] {
        let mut world = World::new();
        world.write("a", &at_rest(5, last));
        world.add("a", (5, last), &[0], 2);
        let given = world.end(END, "a", (5, last), true);
        let next = (given.producer_id, given.producer_epoch);
        assert_eq!(world.end_error(END, "a", next, false), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.add("a", next, &[0], 2), ErrorCode::ConcurrentTransactions);
        assert_eq!(error(world.init(claim("a", next)).error_code), ErrorCode::ConcurrentTransactions);
        world.write_markers();
        assert_eq!(world.add("a", next, &[0], 2), ErrorCode::None);
    }
}
