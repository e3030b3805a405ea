use bytes::Bytes;

use super::*;
use crate::transaction::state::Transaction;

fn full() -> Transaction {
    Transaction {
        producer_id: ProducerId(5),
        previous_producer_id: ProducerId(4),
        next_producer_id: ProducerId(6),
        producer_epoch: ProducerEpoch(3),
        timeout_ms: 60_000,
        state: State::PrepareCommit,
        partitions: [TopicPartition::new("t", 1), TopicPartition::new("t", 0)].into(),
        started_at: Millis(7),
        updated_at: Millis(8),
        client_level: 2,
    }
}

#[test]
fn a_transaction_is_written_as_kafka_writes_it() {
    let record = record::transaction("a", &full(), 2);
    assert_eq!(&record.key[..], b"\0\0\0\x01a");
    let expected = b"\0\x01\0\0\0\0\0\0\0\x05\0\x03\0\0\xea\x60\x02\x02\x02t\x03\0\0\0\0\0\0\0\x01\0\
        \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x07\
        \x03\0\x08\0\0\0\0\0\0\0\x04\x01\x08\0\0\0\0\0\0\0\x06\x02\x02\0\x02";
    assert_eq!(record.value.as_deref(), Some(&expected[..]));
    assert_eq!(record::parse(&record), Ok(Parsed::Transaction("a".into(), Some(full()))));
}

#[test]
fn before_transaction_versions_it_is_written_in_version_0() {
    let record = record::transaction("a", &full(), 0);
    let expected = b"\0\0\0\0\0\0\0\0\0\x05\0\x03\0\0\xea\x60\x02\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\
        \0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x07";
    assert_eq!(record.value.as_deref(), Some(&expected[..]));
    let Ok(Parsed::Transaction(_, Some(read))) = record::parse(&record) else { panic!("it can be read") };
    let none = ProducerId::NONE;
    let forgetful = Transaction { previous_producer_id: none, next_producer_id: none, client_level: 0, ..full() };
    assert_eq!(read, forgetful);
}

#[test]
fn an_id_without_a_transaction_has_no_list_of_partitions() {
    let record = record::transaction("a", &at_rest(5, 0), 0);
    let value = record.value.expect("no tombstone");
    assert_eq!(&value[16..21], b"\0\xff\xff\xff\xff");
}

#[test]
fn unknown_records_are_skipped_and_damaged_ones_named() {
    let record = |key: &'static [u8], value: &'static [u8]| CoordinatorRecord {
        key: Bytes::from_static(key),
        value: Some(Bytes::from_static(value)),
    };
    assert_eq!(record::parse(&record(b"\0\x07\0\x01a", b"")), Ok(Parsed::Unknown));
    assert_eq!(record::parse(&record(b"\0\0\0\x01a", b"\0\x02")), Ok(Parsed::Unknown));
    assert!(record::parse(&record(b"\0\0\0\x01a", b"\0\x01")).is_err());
    assert!(record::parse(&record(b"\0", b"")).is_err());
    let mut odd = record::transaction("a", &full(), 2).value.expect("no tombstone").to_vec();
    odd[16] = 9;
    let odd = CoordinatorRecord { key: Bytes::from_static(b"\0\0\0\x01a"), value: Some(odd.into()) };
    assert_eq!(record::parse(&odd).map_err(|damage| damage.to_string()), Err("a transaction has no state 9".into()));
}

#[test]
fn whatever_a_log_holds_nothing_panics() {
    let mut world = World::new();
    for state in State::ALL {
        for (epoch, level, time) in [(i16::MAX, 2, i64::MAX), (i16::MIN, 0, i64::MIN), (-1, 100, -1), (0, 1, 0)] {
            let id = format!("{state:?} {epoch}");
            let is = Transaction {
                state,
                producer_epoch: ProducerEpoch(epoch),
                producer_id: ProducerId(i64::from(epoch)),
                client_level: level,
                started_at: Millis(time),
                updated_at: Millis(time),
                partitions: Default::default(),
                ..full()
            };
            let at = Origin { offset: Offset(world.log.len() as i64), producer: None };
            let entry = Entry::Record(record::transaction(&id, &is, 2));
            world.shard.replay(at, &entry).expect("a sound record");
            world.log.push((at, entry));
            let producer = (i64::from(epoch), epoch);
            let (filters, _) =
                Filters::of_request(&ListTransactionsRequest { duration_filter: 1, ..Default::default() });
            let requests = [
                Request::InitProducerId(init(&id)),
                Request::InitProducerId(claim(&id, producer)),
                Request::AddPartitions { added: participation(&id, producer, &[0]), client_level: 2 },
                Request::EndTxn(end(&id, producer, false)),
                Request::EndTxn(end(&id, producer, true)),
                Request::Describe(vec![id.clone()]),
                Request::List { filters: Arc::new(filters.clone()), after: None },
            ];
            for request in requests {
                world.asked += 1;
                let (to, context) = (ReplyTo(world.asked), Context { version: 5 });
                drop(world.shard.handle(world.now, Event::Request { to, context, request }));
            }
        }
    }
    for _ in 0..1_000 {
        let Some(deadline) = world.shard.next_deadline() else { break };
        drop(world.shard.tick(deadline));
    }
}
