use super::*;

fn brief() -> Settings {
    Settings { id_expiration: Millis(100_000), expiry_interval: Millis(1_000), ..Settings::default() }
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_and_one_with_an_open_transaction_is_not() {
    let mut world = World::with(brief(), 2);
    world.enter("idle");
    let request = InitProducerIdRequest { transaction_timeout_ms: 900_000, ..init("open") };
    let entered = world.init(request);
    world.add("open", (entered.producer_id, entered.producer_epoch), &[0], 0);
    world.wait(99_000);
    assert_eq!(world.list(&ListTransactionsRequest::default()), ["idle", "open"]);
    world.wait(2_000);
    assert_eq!(world.list(&ListTransactionsRequest::default()), ["open"]);
    assert_eq!(error(world.describe("idle").error_code), ErrorCode::TransactionalIdNotFound);
    world.reload();
    assert_eq!(world.list(&ListTransactionsRequest::default()), ["open"]);
    assert_eq!(world.enter("idle").1, 0);
}

#[test]
fn an_answer_about_a_forgotten_id_waits_for_its_tombstone() {
    let mut world = World::with(brief(), 2);
    let producer = world.enter("a");
    world.wait(102_000);
    let tombstone = Offset(world.log.len() as i64 - 1);
    let added = participation("a", producer, &[0]);
    let request = Request::AddPartitions { added, client_level: 0 };
    let decision =
        world.shard.handle(world.now, Event::Request { to: ReplyTo(99), context: Context { version: ADD }, request });
    assert_eq!(decision.replies[0].response, Response::Added(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(decision.replies[0].written, Some(tombstone));
}

#[test]
fn many_ids_expire_in_batches_of_a_bounded_size() {
    let mut world = World::with(brief(), 2);
    for at in 0..3_000 {
        world.enter(&format!("{at:0100}"));
    }
    let batches = |world: &mut World| {
        let mut sizes = Vec::new();
        let end = world.now + Millis(102_000);
        while let Some(deadline) = world.shard.next_deadline().filter(|deadline| *deadline <= end) {
            world.now = deadline;
            let decision = world.shard.tick(deadline);
            sizes.push(world.apply(decision).len());
        }
        sizes
    };
    let sizes = batches(&mut world);
    assert_eq!(sizes.iter().sum::<usize>(), 3_000);
    assert!(sizes.iter().all(|size| *size < 600), "{sizes:?}");
}

#[test]
fn lists_are_filtered_by_state_producer_and_duration() {
    let mut world = World::new();
    let open = world.enter("open");
    world.enter("idle");
    world.add("open", open, &[0], 0);
    world.wait(1_000);
    let all = ListTransactionsRequest::default;
    let states = |name: &str| ListTransactionsRequest { state_filters: vec![name.to_owned()], ..all() };
    assert_eq!(world.list(&states("Ongoing")), ["open"]);
    assert_eq!(world.list(&states("nonsense")), [] as [&str; 0]);
    assert_eq!(world.list(&ListTransactionsRequest { producer_id_filters: vec![open.0], ..all() }), ["open"]);
    // What has not begun lasts for ever.
    assert_eq!(world.list(&ListTransactionsRequest { duration_filter: 1_000, ..all() }), ["idle"]);
    assert_eq!(world.list(&ListTransactionsRequest { duration_filter: 999, ..all() }), ["idle", "open"]);
    let (_, unknown) = Filters::of_request(&states("nonsense"));
    assert_eq!(unknown, ["nonsense"]);
}
