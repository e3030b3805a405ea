use super::*;

#[test]
fn a_new_id_waits_for_its_producer_id_and_takes_nobody_else_meanwhile() {
    let mut world = World::new();
    let first = world.begin(INIT, Request::InitProducerId(init("a")));
    assert!(world.answers.is_empty());
    assert_eq!(world.effects, [Effect::ProducerId { transactional_id: "a".into() }]);
    assert_eq!(error(world.init(init("b")).error_code), ErrorCode::None);
    let mut world = World::new();
    let one = world.begin(INIT, Request::InitProducerId(init("a")));
    let two = world.begin(INIT, Request::InitProducerId(init("a")));
    let Response::InitProducerId(refused) = world.answer(two) else { panic!("its answer") };
    assert_eq!(error(refused.error_code), ErrorCode::ConcurrentTransactions);
    world.give_producer_ids();
    let Response::InitProducerId(given) = world.answer(one) else { panic!("its answer") };
    assert_eq!((given.producer_id, given.producer_epoch), (101, 0));
    assert_eq!(first, one);
}

#[test]
fn without_a_producer_id_the_asker_is_told_so_and_nothing_is_kept() {
    let mut world = World::new();
    let to = world.begin(INIT, Request::InitProducerId(init("a")));
    world.effects.clear();
    world.tell(Event::ProducerId { transactional_id: "a".into(), id: Err(ErrorCode::CoordinatorLoadInProgress) });
    let Response::InitProducerId(answer) = world.answer(to) else { panic!("its answer") };
    assert_eq!((error(answer.error_code), answer.producer_id), (ErrorCode::CoordinatorLoadInProgress, -1));
    assert!(world.log.is_empty());
    assert_eq!(error(world.describe("a").error_code), ErrorCode::TransactionalIdNotFound);
    assert_eq!(world.enter("a"), (101, 0));
}

#[test]
fn whoever_waits_is_told_when_the_shard_goes() {
    let mut world = World::new();
    world.begin(INIT, Request::InitProducerId(init("a")));
    let dismissed = world.shard.unloaded();
    let Response::InitProducerId(answer) = &dismissed[0].response else { panic!("its answer") };
    assert_eq!((dismissed.len(), error(answer.error_code)), (1, ErrorCode::NotCoordinator));
}

#[test]
fn trap_145_a_claim_names_both_id_and_epoch_and_a_stale_one_is_fenced() {
    let mut world = World::new();
    let (id, epoch) = world.enter("a");
    assert_eq!(error(world.init(claim("a", (id, -1))).error_code), ErrorCode::InvalidRequest);
    assert_eq!(error(world.init(claim("a", (-1, 0))).error_code), ErrorCode::InvalidRequest);
    assert_eq!(world.init(claim("a", (id, epoch))).producer_epoch, 1);
    world.enter("a");
    assert_eq!(error(world.init(claim("a", (id, epoch))).error_code), ErrorCode::ProducerFenced);
    assert_eq!(error(world.init(claim("a", (id + 50, 2))).error_code), ErrorCode::ProducerFenced);
}

#[test]
fn trap_146_an_open_transaction_is_aborted_before_the_next_producer_enters() {
    for (level, epoch_of_marker) in [(0, 1), (1, 1), (2, 1)] {
        let mut world = World::with(Settings::default(), level);
        let producer = world.enter("a");
        assert_eq!(world.add("a", producer, &[0, 1], 0), ErrorCode::None);
        assert_eq!(error(world.init(init("a")).error_code), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.state("a"), "PrepareAbort");
        assert_eq!(error(world.init(init("a")).error_code), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.add("a", producer, &[0], 0), ErrorCode::ConcurrentTransactions);
        let markers = world.write_markers();
        assert_eq!(markers.len(), 1);
        assert!(!markers[0].committed);
        assert_eq!(markers[0].producer_epoch.0, epoch_of_marker);
        assert_eq!(markers[0].transaction_version, if level < 2 { 0 } else { 2 });
        assert_eq!(markers[0].coordinator_epoch, 7);
        assert_eq!(world.state("a"), "CompleteAbort");
        assert_eq!(world.enter("a"), (producer.0, 2));
    }
}

#[test]
fn trap_147_a_producer_id_whose_epochs_are_used_up_is_replaced() {
    let mut world = World::new();
    world.write("a", &at_rest(5, i16::MAX - 2));
    assert_eq!(world.enter("a"), (5, i16::MAX - 1));
    assert_eq!(world.enter("a"), (101, 0));
    let (_, record) = world.last_record();
    assert_eq!(record.expect("no tombstone").previous_producer_id, ProducerId(5));
    // The producer that had the last epoch has not heard of it.
    let mut world = World::new();
    world.write("a", &at_rest(5, i16::MAX - 1));
    let rotated = world.init(claim("a", (5, i16::MAX - 1)));
    assert_eq!((rotated.producer_id, rotated.producer_epoch), (101, 0));
    let again = world.init(claim("a", (5, i16::MAX - 1)));
    assert_eq!((again.producer_id, again.producer_epoch), (101, 0));
    assert_eq!(error(world.init(claim("a", (5, i16::MAX - 2))).error_code), ErrorCode::ProducerFenced);
}

#[test]
fn an_epoch_that_fences_the_last_one_is_nobodys() {
    for level in [0, 2] {
        let mut world = World::with(Settings::default(), level);
        world.write("a", &at_rest(5, i16::MAX - 1));
        let producer = (5, i16::MAX - 1);
        assert_eq!(world.add("a", producer, &[0], 0), ErrorCode::None);
        assert_eq!(error(world.init(init("a")).error_code), ErrorCode::ConcurrentTransactions);
        let markers = world.write_markers();
        assert_eq!(markers[0].producer_epoch.0, i16::MAX);
        let next = world.enter("a");
        assert_ne!(next.0, 5);
        // At level 2 the abort itself has brought the new id with epoch 0.
        assert_eq!(next.1, if level < 2 { 0 } else { 1 });
    }
}

#[test]
fn trap_148_the_same_claim_again_is_answered_as_before() {
    let mut world = World::new();
    let first = world.enter("a");
    let second = world.init(claim("a", first));
    let again = world.init(claim("a", first));
    assert_eq!(again, second);
    // Another producer has entered between.
    world.enter("a");
    assert_eq!(error(world.init(claim("a", first)).error_code), ErrorCode::ProducerFenced);
}

#[test]
fn a_repeated_claim_does_not_outlive_a_reload() {
    let mut world = World::new();
    let first = world.enter("a");
    assert_eq!(world.init(claim("a", first)).producer_epoch, 1);
    world.reload();
    assert_eq!(error(world.init(claim("a", first)).error_code), ErrorCode::ProducerFenced);
}

#[test]
fn a_claim_that_was_not_written_is_not_remembered() {
    let mut world = World::new();
    let first = world.enter("a");
    let context = Context { version: INIT };
    let request = Request::InitProducerId(claim("a", first));
    // The append fails, and leaves nothing.
    drop(world.shard.handle(world.now, Event::Request { to: ReplyTo(999), context, request }));
    assert_eq!(world.enter("a").1, 1);
    assert_eq!(error(world.init(claim("a", first)).error_code), ErrorCode::ProducerFenced);
}

#[test]
fn trap_149_older_clients_hear_of_a_stale_epoch_instead_of_a_fence() {
    let mut world = World::new();
    let first = world.enter("a");
    world.enter("a");
    for (version, expected) in [(3, ErrorCode::InvalidProducerEpoch), (4, ErrorCode::ProducerFenced)] {
        let Response::InitProducerId(answer) = world.ask(version, Request::InitProducerId(claim("a", first))) else {
            panic!("its answer")
        };
        assert_eq!(error(answer.error_code), expected);
    }
    for (version, expected) in [(1, ErrorCode::InvalidProducerEpoch), (2, ErrorCode::ProducerFenced)] {
        let added = participation("a", first, &[0]);
        let answer = world.ask(version, Request::AddPartitions { added, client_level: 0 });
        assert_eq!(answer, Response::Added(expected));
        assert_eq!(world.end_error(version, "a", first, true), expected);
    }
}

#[test]
fn timeouts_are_positive_and_bounded() {
    let mut world = World::with(Settings { timeout_max_ms: 100, ..Settings::default() }, 2);
    for timeout in [0, -1, 101, i32::MAX] {
        let request = InitProducerIdRequest { transaction_timeout_ms: timeout, ..init("a") };
        assert_eq!(error(world.init(request).error_code), ErrorCode::InvalidTransactionTimeout);
    }
    let request = InitProducerIdRequest { transaction_timeout_ms: 100, ..init("a") };
    assert_eq!(error(world.init(request).error_code), ErrorCode::None);
}

#[test]
fn there_is_a_bound_of_ids() {
    let mut world = World::with(Settings { ids_max: 2, ..Settings::default() }, 2);
    world.enter("a");
    world.enter("b");
    assert_eq!(error(world.init(init("c")).error_code), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(world.enter("a").1, 1);
}
