use super::*;
use crate::ReplayError;

fn replay(key: &'static [u8], value: Option<&'static [u8]>) -> (GroupShard, Result<(), ReplayError>) {
    let mut shard = GroupShard::new(Settings::default());
    let record = CoordinatorRecord { key: Bytes::from_static(key), value: value.map(Bytes::from_static) };
    let result = shard.replay(Origin { offset: Offset(0), producer: None }, &Entry::Record(record));
    (shard, result)
}

#[test]
fn records_of_unknown_types_are_skipped_and_counted() {
    for key in [&b"\0\x0a\0\x01g"[..], b"\0\x0b\0\x01g\0\x01m", b"\0\x17\0\x01g"] {
        let (shard, result) = replay(key, Some(b"\0\0\0\0\0\x05\0"));
        assert_eq!((result, shard.counts().skipped_records, shard.counts().groups), (Ok(()), 1, 0));
    }
}

#[test]
fn damaged_records_are_errors_and_never_panics() {
    for (key, value) in [
        (&b""[..], None),
        (b"\0\x02\0\x09g", None),
        (b"\0\x02\0\x01g", Some(&b"\0\x04\x09"[..])),
        (b"\0\x02\0\x01g", Some(b"\0\x7f")),
        (b"\0\x01\0\x01g\0\x01t\0\0\0\0", Some(b"")),
    ] {
        assert!(matches!(replay(key, value).1, Err(ReplayError::Damaged { offset: 0, .. })), "{key:?}");
    }
}

#[test]
fn mutated_records_never_panic() {
    let mut world = World::new();
    world.stable(3);
    world.commit(9, "", -1, 1);
    let seed = 5;
    let mut random = Random::from_seed(seed);
    for round in 0..20_000 {
        let (at, Entry::Record(record)) = &world.log[random.below(world.log.len() as u64) as usize] else { continue };
        let mut key = record.key.to_vec();
        let mut value = record.value.as_ref().map(|value| value.to_vec()).unwrap_or_default();
        for _ in 0..=random.below(3) {
            let bytes = if random.below(4) == 0 { &mut key } else { &mut value };
            if !bytes.is_empty() {
                let place = random.below(bytes.len() as u64) as usize;
                bytes[place] = random.next_u64() as u8;
            }
        }
        let mut shard = GroupShard::new(Settings::default());
        let record = CoordinatorRecord { key: key.into(), value: Some(value.into()) };
        if shard.replay(*at, &Entry::Record(record)).is_ok() {
            // Whatever was accepted must also be good for work.
            let mut decision = shard.loaded(Millis(0));
            for step in 0..20 {
                for record in std::mem::take(&mut decision.records) {
                    let at = Origin { offset: Offset(1), producer: None };
                    shard
                        .replay(at, &Entry::Record(record))
                        .unwrap_or_else(|error| panic!("seed {seed} round {round}: {error}"));
                }
                decision = shard.tick(Millis(i64::from(step) * 100_000_000));
            }
        }
    }
}

#[test]
fn the_records_of_a_group_are_written_as_kafka_writes_them() {
    let mut world = World::new();
    let (_, records) = world.decide(3, Request::Join(join_request("")));
    assert_eq!(&records[0].key[..], b"\0\x02\0\x01g");
    // Version 3: protocolType "", generation 0, no protocol, no leader, the time, no members.
    let mut expected = b"\0\x03\0\0\0\0\0\0\xff\xff\xff\xff".to_vec();
    expected.extend_from_slice(&1_000_000i64.to_be_bytes());
    expected.extend_from_slice(b"\0\0\0\0");
    assert_eq!(records[0].value.as_deref(), Some(&expected[..]));
}

#[test]
fn a_group_comes_out_of_its_record_as_it_went_in() {
    let mut world = World::new();
    let ids = world.stable(3);
    let describe = || Request::DescribeGroups(vec!["g".into()]);
    let before = world.answer(6, describe());
    world.reload();
    assert_eq!(world.answer(6, describe()), before);
    for id in &ids {
        assert_eq!(world.heartbeat(id, 1), ErrorCode::None);
    }
}

#[test]
fn commits_are_lost_with_the_log_and_only_with_it() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    // Decided, but the append failed: the shard is loaded again from what the log holds.
    let context =
        Context { version: 9, client_id: String::new(), client_address: [10, 0, 0, 1].into(), random: [0; 16] };
    let request = Request::OffsetCommit(commit_request("", -1, 6));
    let decision = world.shard.handle(world.now, Event::Request { to: ReplyTo(9_999), context, request });
    assert_eq!(decision.records.len(), 1);
    assert_eq!(world.committed(), 5, "nothing durable changes before replay");
    world.reload();
    assert_eq!(world.committed(), 5);
}
