//! Batches of Kafka's own making, round trips of ours, and damage.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_base::Millis;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::compression::{Codec, CompressionError};
use crate::messages::{KRaftVersionRecord, LeaderChangeMessage, SnapshotHeaderRecord};
use crate::{LeaderEpoch, Message, Offset, ProducerEpoch, ProducerId, Sequence};

const PLENTY: usize = 1 << 20;

fn golden() -> BTreeMap<&'static str, Bytes> {
    let lines = include_str!("../../golden/batches.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').expect("a name and bytes")).map(|(name, hex)| (name, unhex(hex))).collect()
}

fn unhex(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// A record as tests write it down.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Plain {
    fn new(timestamp: i64, key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> Plain {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let headers = headers.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
        Plain { timestamp, key: key.map(bytes), value: value.map(bytes), headers }
    }

    fn of(record: &RecordView) -> Plain {
        let bytes = |part: &Option<Bytes>| part.as_ref().map(|bytes| bytes.to_vec());
        let headers = record.headers.iter().map(|header| (header.key.to_vec(), bytes(&header.value))).collect();
        Plain { timestamp: record.timestamp.0, key: bytes(&record.key), value: bytes(&record.value), headers }
    }
}

fn build(records: &[Plain], options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new();
    for Plain { timestamp, key, value, headers } in records {
        let header = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| Header {
            key: key.clone().into(),
            value: value.clone().map(Bytes::from),
        };
        let headers: Vec<Header> = headers.iter().map(header).collect();
        builder.add(Millis(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.build(options).expect("levels are right")
}

fn read(batch: &Batch) -> Vec<Plain> {
    let views = batch.records(PLENTY).expect("inflates");
    views.map(|record| Plain::of(&record.expect("sound"))).collect()
}

/// The four records of the golden batches.
fn four() -> Vec<Plain> {
    vec![
        Plain::new(1_700_000_000_000, Some("key"), Some("value"), &[]),
        Plain::new(1_700_000_000_123, None, Some("no key"), &[("h1", Some("one")), ("h2", None)]),
        Plain::new(1_699_999_999_999, Some("tombstone"), None, &[]),
        Plain::new(1_700_000_000_001, Some(""), Some(""), &[("", Some(""))]),
    ]
}

/// Where the golden batches stand.
fn placed() -> BatchOptions {
    BatchOptions { base_offset: Offset(42), leader_epoch: LeaderEpoch(7), ..BatchOptions::default() }
}

#[test]
fn batches_of_every_codec_from_kafka_are_read() {
    for codec in Codec::ALL {
        let batch = Batch::parse(golden()[format!("four-{codec}").as_str()].clone()).expect("parses");
        batch.verify_crc().expect("CRC");
        assert_eq!(batch.header().attributes.compression(), Ok(codec));
        assert_eq!(read(&batch), four(), "{codec}");
        let offsets: Vec<i64> = batch.records(PLENTY).unwrap().map(|record| record.unwrap().offset.0).collect();
        assert_eq!(offsets, [42, 43, 44, 45]);
        assert_eq!(batch.header().next_offset(), Offset(46));
    }
}

#[test]
fn streams_of_several_blocks_from_kafka_are_read() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = Batch::parse(golden()[format!("big-{codec}").as_str()].clone()).expect("parses");
        let value: Vec<u8> = (0..40_000).map(|at| b'a' + (at / 2000) as u8).collect();
        let records = read(&batch);
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|record| record.value.as_ref() == Some(&value)), "{codec}");
    }
}

#[test]
fn what_is_built_without_compression_is_what_kafka_builds() {
    let golden = golden();
    assert_eq!(build(&four(), &placed()), golden["four-none"]);
    let append_time = BatchOptions { log_append_time: Some(Millis(1_700_000_009_999)), ..placed() };
    assert_eq!(build(&four(), &append_time), golden["append-time"]);
    let transactional = BatchOptions {
        producer_id: ProducerId(4711),
        producer_epoch: ProducerEpoch(3),
        base_sequence: Sequence(i32::MAX - 1),
        is_transactional: true,
        ..placed()
    };
    assert_eq!(build(&four(), &transactional), golden["transactional"]);
    let header = *Batch::parse(golden["transactional"].clone()).unwrap().header();
    assert_eq!(header.last_sequence(), Sequence(1));
}

#[test]
fn a_bare_header_is_what_kafka_leaves_of_a_compacted_batch() {
    let options = BatchOptions {
        producer_id: ProducerId(4711),
        producer_epoch: ProducerEpoch(3),
        base_sequence: Sequence(5),
        last_offset_delta: Some(3),
        codec: Codec::Zstd,
        ..placed()
    };
    let golden = golden()["empty"].clone();
    // The cleaner keeps the batch's max timestamp, which a builder without records cannot know.
    let mut built = bytes::BytesMut::from(&BatchBuilder::new().build(&options).unwrap()[..]);
    stamp_timestamp(&mut built, TimestampType::CreateTime, Millis(1_700_000_000_123));
    assert_eq!(built.freeze(), golden);
    assert_eq!(Batch::parse(golden).unwrap().records(0).unwrap().count(), 0);
}

#[test]
fn log_append_time_is_the_timestamp_of_all_records() {
    let batch = Batch::parse(golden()["append-time"].clone()).unwrap();
    assert!(read(&batch).iter().all(|record| record.timestamp == 1_700_000_009_999));
}

#[test]
fn stamping_log_append_time_gives_what_kafka_builds_with_it() {
    let mut batch = bytes::BytesMut::from(&golden()["four-none"][..]);
    stamp_timestamp(&mut batch, TimestampType::LogAppendTime, Millis(1_700_000_009_999));
    assert_eq!(batch.freeze(), golden()["append-time"]);
}

#[test]
fn stamping_offset_and_epoch_leaves_the_crc_right() {
    let mut batch = bytes::BytesMut::from(&golden()["four-lz4"][..]);
    stamp_offsets(&mut batch, Offset(1 << 40), LeaderEpoch(99));
    let batch = Batch::parse(batch.freeze()).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header().base_offset, Offset(1 << 40));
    assert_eq!(batch.header().partition_leader_epoch, LeaderEpoch(99));
}

#[test]
fn end_transaction_markers_are_kafkas() {
    let options = BatchOptions {
        producer_id: ProducerId(4711),
        producer_epoch: ProducerEpoch(3),
        is_transactional: true,
        codec: Codec::Gzip,
        ..placed()
    };
    let marker = EndTransactionMarker { coordinator_epoch: 9 };
    for (name, kind) in [("commit", ControlRecordType::Commit), ("abort", ControlRecordType::Abort)] {
        let batch = control_batch(kind, &marker.to_bytes(), Millis(1_700_000_000_000), &options);
        assert_eq!(batch, golden()[name], "{name}");
        let record = Batch::parse(batch).unwrap().records(PLENTY).unwrap().next().unwrap().unwrap();
        assert_eq!(ControlRecordType::parse(&record.key.unwrap()), Ok(kind));
        assert_eq!(EndTransactionMarker::parse(&record.value.unwrap()), Ok(marker));
    }
}

#[test]
fn control_records_of_the_metadata_quorum_are_kafkas() {
    let control = |kind, value: Bytes, base_offset| {
        control_batch(kind, &value, Millis(1_700_000_000_000), &BatchOptions { base_offset, ..placed() })
    };
    let voter = crate::messages::leader_change_message::Voter { voter_id: 1, ..Default::default() };
    let change = LeaderChangeMessage { leader_id: 1, voters: vec![voter], ..Default::default() };
    let header = SnapshotHeaderRecord { last_contained_log_timestamp: 1_699_999_999_999, ..Default::default() };
    let version = KRaftVersionRecord { kraft_version: 1, ..Default::default() };
    let golden = golden();
    let change = change.to_bytes(0).unwrap();
    assert_eq!(control(ControlRecordType::LeaderChange, change, Offset(42)), golden["leader-change"]);
    let header = header.to_bytes(0).unwrap();
    assert_eq!(control(ControlRecordType::SnapshotHeader, header, Offset(0)), golden["snapshot-header"]);
    let version = version.to_bytes(0).unwrap();
    assert_eq!(control(ControlRecordType::KRaftVersion, version, Offset(42)), golden["kraft-version"]);
}

#[test]
fn control_types_keep_their_numbers() {
    for number in -3..10 {
        let kind = ControlRecordType::from_number(number);
        assert_eq!(kind.number(), number);
        assert_eq!(ControlRecordType::parse(&Bytes::copy_from_slice(&kind.key())), Ok(kind));
    }
    assert!(ControlRecordType::parse(&Bytes::from_static(&[0, 0, 1])).is_err());
    assert!(ControlRecordType::parse(&Bytes::from_static(&[0xff, 0xff, 0, 1])).is_err());
}

#[test]
fn batches_in_a_row_are_told_apart_and_a_cut_one_is_tolerated_where_asked() {
    let one = golden()["four-gzip"].clone();
    let other = golden()["commit"].clone();
    let whole = Bytes::from([&one[..], &other[..]].concat());
    let read: Vec<Bytes> = batches(whole.clone()).map(|batch| batch.unwrap().bytes().clone()).collect();
    assert_eq!(read, [one.clone(), other]);
    for cut in one.len()..whole.len() {
        let mut tolerant = batches(whole.slice(..cut)).tolerate_cut();
        assert_eq!(tolerant.by_ref().map(Result::unwrap).count(), 1, "cut at {cut}");
        assert_eq!(tolerant.rest().len(), cut - one.len());
        let strict: Vec<bool> = batches(whole.slice(..cut)).map(|batch| batch.is_ok()).collect();
        assert_eq!(strict, if cut == one.len() { vec![true] } else { vec![true, false] });
    }
}

#[test]
fn a_batch_that_is_not_exactly_itself_is_refused() {
    let batch = golden()["four-none"].clone();
    let with = |at: usize, byte: u8| {
        let mut changed = batch.to_vec();
        changed[at] = byte;
        Batch::parse(changed.into())
    };
    assert_eq!(Batch::parse(batch.slice(..60)), Err(BatchError::Truncated { missing: 1 }));
    assert_eq!(Batch::parse(batch.slice(..100)), Err(BatchError::Truncated { missing: batch.len() - 100 }));
    assert_eq!(Batch::parse([&batch[..], b"x"].concat().into()), Err(BatchError::Trailing(1)));
    assert_eq!(with(at::MAGIC, 1), Err(BatchError::Magic(1)));
    assert_eq!(with(at::BATCH_LENGTH, 0x80).map(|_| ()), Err(BatchError::Length(i32::MIN + 0x72)));
    assert_eq!(with(at::BATCH_LENGTH + 3, 48).map(|_| ()), Err(BatchError::Length(48)));
    assert!(matches!(with(100, 0).unwrap().verify_crc(), Err(BatchError::Crc { .. })));
}

/// A batch whose contents are `records` as they stand, with a count of `count`.
fn raw(records: &[u8], count: i32, attributes: u16) -> Batch {
    let header = BatchHeader {
        batch_length: (HEADER_BYTES - LOG_OVERHEAD_BYTES + records.len()) as i32,
        record_count: count,
        attributes: Attributes(attributes),
        ..*Batch::parse(golden()["four-none"].clone()).unwrap().header()
    };
    Batch::parse([&header.to_bytes()[..], records].concat().into()).expect("the header is sound")
}

/// What both readers say about a batch of raw records, which must be the same.
fn verdict(records: &[u8], count: i32) -> Option<BatchError> {
    let batch = raw(records, count, 0);
    let walked = batch.walk(PLENTY).and_then(|walk| walk.collect::<Result<Vec<_>, _>>()).err();
    let read = batch.records(PLENTY).and_then(|records| records.collect::<Result<Vec<_>, _>>()).err();
    assert_eq!(walked.is_some(), read.is_some(), "the walk says {walked:?}, the reader {read:?}");
    read
}

#[test]
fn records_that_do_not_fill_their_length_or_their_batch_are_refused() {
    use crate::wire::DecodeError::{Length, Trailing, Truncated, Varint};
    let sound = [14, 0, 0, 0, 1, 1, 0];
    let sound = [&[12][..], &sound[1..]].concat();
    assert_eq!(verdict(&sound, 1), None);
    let bad = |cause| Some(BatchError::Record { index: 0, cause });
    assert_eq!(verdict(&[14, 0, 0, 0, 1, 1, 0, 0], 1), bad(Trailing(1)), "one byte behind the headers");
    assert_eq!(verdict(&[10, 0, 0, 0, 1, 1, 0], 1), bad(Truncated { missing: 1 }), "the header count is outside");
    assert_eq!(verdict(&[12, 0, 0, 0, 1, 1, 1], 1), bad(Length(-1)), "header count -1");
    assert_eq!(verdict(&[16, 0, 0, 0, 1, 1, 2, 1, 1], 1), bad(Length(-1)), "a header without key");
    assert_eq!(verdict(&[1, 0, 0, 0, 1, 1, 0], 1), bad(Length(-1)), "record length -1");
    assert_eq!(verdict(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 1), bad(Varint), "a length without end");
    assert_eq!(verdict(&[12, 0, 0, 0, 40, 1, 0], 1), bad(Truncated { missing: 18 }), "a key longer than the record");
    assert_eq!(verdict(&sound, 0), Some(BatchError::AfterRecords { count: 0 }));
    assert_eq!(verdict(&sound, -1), Some(BatchError::RecordCount { count: -1, bytes: 7 }));
    assert_eq!(verdict(&sound, i32::MAX), Some(BatchError::RecordCount { count: i32::MAX, bytes: 7 }));
    assert_eq!(verdict(&[&sound[..], &[0; 7]].concat(), 1), Some(BatchError::AfterRecords { count: 1 }));
}

#[test]
fn a_batch_of_no_records_needs_no_compressed_stream() {
    for codec in Codec::ALL {
        let batch = raw(&[], 0, codec.id().into());
        assert_eq!(batch.records(0).map(|records| records.count()), Ok(0), "{codec}");
        assert_eq!(batch.walk(0).map(|walk| walk.count()), Ok(0), "{codec}");
    }
}

#[test]
fn numbers_without_a_codec_are_refused() {
    for id in 5..8u8 {
        let batch = raw(&[], 0, id.into());
        assert_eq!(batch.records(PLENTY).map(|_| ()), Err(BatchError::Codec(id)));
        assert_eq!(batch.walk(PLENTY).map(|_| ()), Err(BatchError::Codec(id)));
    }
}

#[test]
fn a_compressed_batch_is_not_inflated_beyond_the_bound() {
    let records = [Plain::new(0, None, Some(&"a".repeat(1_000_000)), &[])];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = Batch::parse(build(&records, &BatchOptions { codec, ..placed() })).unwrap();
        let refused = BatchError::Compression(CompressionError::TooLarge { limit_bytes: 999_999 });
        assert_eq!(batch.records(999_999).map(|_| ()), Err(refused.clone()), "{codec}");
        let walked: Result<Vec<_>, _> = batch.walk(999_999).unwrap().collect();
        assert_eq!(walked, Err(refused), "{codec}");
        assert_eq!(batch.walk(PLENTY).unwrap().count(), 1);
    }
}

#[test]
fn compaction_may_leave_holes_and_set_a_delete_horizon() {
    let mut builder = BatchBuilder::with_delete_horizon(Millis(5000));
    builder.add_at(3, Millis(4000), Some(b"a"), None, &[]);
    builder.add_at(7, Millis(6000), Some(b"b"), Some(b"c"), &[]);
    let bytes = builder.build(&BatchOptions { last_offset_delta: Some(9), ..placed() }).unwrap();
    let batch = Batch::parse(bytes).unwrap();
    assert_eq!(batch.header().delete_horizon(), Some(Millis(5000)));
    assert_eq!(batch.header().last_offset(), Offset(51));
    assert_eq!(batch.header().max_timestamp, Millis(6000));
    let records: Vec<RecordView> = batch.records(PLENTY).unwrap().map(Result::unwrap).collect();
    let seen: Vec<(i64, i64)> = records.iter().map(|record| (record.offset.0, record.timestamp.0)).collect();
    assert_eq!(seen, [(45, 4000), (49, 6000)]);
}

fn bytes_of(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn some_records() -> impl Strategy<Value = Vec<Plain>> {
    let nullable = |max| proptest::option::of(bytes_of(max));
    let record = (any::<i64>(), nullable(40), nullable(300), vec((bytes_of(10), nullable(10)), 0..4))
        .prop_map(|(timestamp, key, value, headers)| Plain { timestamp, key, value, headers });
    vec(record, 1..20)
}

fn some_codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_built_is_read_back(records in some_records(), codec in some_codec()) {
        let bytes = build(&records, &BatchOptions { codec, ..placed() });
        let batch = Batch::parse(bytes).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!(BatchHeader::decode(&batch.header().to_bytes()), Ok(*batch.header()));
        prop_assert_eq!(batch.header().max_timestamp.0, records.iter().map(|record| record.timestamp).max().unwrap());
        prop_assert_eq!(read(&batch), records);
    }

    #[test]
    fn the_walk_sees_the_shapes_of_the_records(records in some_records(), codec in some_codec()) {
        let batch = Batch::parse(build(&records, &BatchOptions { codec, ..placed() })).unwrap();
        let shapes: Vec<RecordShape> = batch.walk(PLENTY).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(shapes.len(), records.len());
        for (at, (shape, record)) in shapes.iter().zip(&records).enumerate() {
            prop_assert_eq!(shape.offset_delta, at as i32);
            prop_assert_eq!(shape.timestamp_delta, record.timestamp.wrapping_sub(records[0].timestamp));
            prop_assert_eq!(shape.key_bytes, record.key.as_ref().map(Vec::len));
            prop_assert_eq!(shape.value_bytes, record.value.as_ref().map(Vec::len));
        }
        let plain = build(&records, &placed());
        let sizes: usize = shapes.iter().map(|shape| shape.size_bytes).sum();
        prop_assert_eq!(sizes, plain.len() - HEADER_BYTES);
    }

    #[test]
    fn sizes_are_known_before_a_record_is_added(records in some_records()) {
        let mut builder = BatchBuilder::new();
        for (at, Plain { timestamp, key, value, .. }) in records.iter().enumerate() {
            let before = builder.size_bytes();
            let delta = timestamp.wrapping_sub(records[0].timestamp);
            let size = record_size_bytes(at as i32, delta, key.as_deref(), value.as_deref(), &[]);
            let after = builder.add(Millis(*timestamp), key.as_deref(), value.as_deref(), &[]);
            prop_assert_eq!(after, before + size);
        }
        let size = builder.size_bytes();
        prop_assert_eq!(builder.build(&placed()).unwrap().len(), size);
    }

    #[test]
    fn damaged_batches_never_panic_and_both_readers_agree(
        records in some_records(),
        codec in some_codec(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = build(&records, &BatchOptions { codec, ..placed() }).to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for batch in batches(bytes.into()).flatten() {
            let walked = batch.walk(PLENTY).and_then(|walk| walk.collect::<Result<Vec<_>, _>>());
            let read = batch.records(PLENTY).and_then(|records| records.collect::<Result<Vec<_>, _>>());
            prop_assert_eq!(walked.is_ok(), read.is_ok(), "the walk says {:?}, the reader {:?}", walked, read);
        }
    }

    #[test]
    fn random_contents_never_panic_and_both_readers_agree(contents in bytes_of(400), count in -1..50i32, attributes in any::<u16>()) {
        let batch = raw(&contents, count, attributes);
        let walked = batch.walk(PLENTY).and_then(|walk| walk.collect::<Result<Vec<_>, _>>());
        let read = batch.records(PLENTY).and_then(|records| records.collect::<Result<Vec<_>, _>>());
        prop_assert_eq!(walked.is_ok(), read.is_ok(), "the walk says {:?}, the reader {:?}", walked, read);
        for record in read.unwrap_or_default() {
            prop_assert_eq!(record.headers.iter().count(), record.headers.len());
        }
        prop_assert!(batches(contents.into()).count() <= 7);
    }
}
