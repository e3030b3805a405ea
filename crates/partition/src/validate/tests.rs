//! One fault per test; the answers are those of Kafka's `LogValidator`.

use milena_protocol::records::{ControlRecordType, control_batch, recompute_crc};
use milena_protocol::{LeaderEpoch, Offset};

use super::*;
use crate::fixture::{batch, producer, topic_partition};

const NOW: i64 = 1_000_000;

fn check_with(bytes: Bytes, change: impl FnOnce(&mut Rules<'_>)) -> Result<ValidBatch, InvalidBatch> {
    let name = topic_partition();
    let mut rules = Rules::new(&LogSettings::default(), &name, Origin::Client);
    change(&mut rules);
    validate(bytes, &rules, Millis(NOW))
}

fn code(bytes: Bytes) -> ErrorCode {
    check_with(bytes, |_| {}).unwrap_err().code
}

fn good() -> Bytes {
    batch(&[(NOW - 5, b"a".to_vec()), (NOW - 9, b"b".to_vec())], &BatchOptions::default())
}

/// The good batch with bytes changed and the CRC made right again.
fn changed(at: usize, with: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(&good()[..]);
    bytes[at..at + with.len()].copy_from_slice(with);
    recompute_crc(&mut bytes);
    bytes.freeze()
}

#[test]
fn a_good_batch_is_taken_as_it_is() {
    let valid = check_with(good(), |_| {}).unwrap();
    assert_eq!(valid.batch().bytes(), &good());
    assert_eq!((valid.record_count(), valid.log_append_time()), (2, Millis::NONE));
}

#[test]
fn exactly_one_whole_batch_must_be_there() {
    let two = [&good()[..], &good()[..]].concat();
    assert_eq!(code(Bytes::new()), ErrorCode::InvalidRecord);
    assert_eq!(code(good().slice(..40)), ErrorCode::InvalidRecord);
    assert_eq!(code(Bytes::from(two)), ErrorCode::InvalidRecord);
    // A piece behind it that cannot be a batch is nobody's.
    let with_rest = [&good()[..], b"rest"].concat();
    assert_eq!(check_with(Bytes::from(with_rest), |_| {}).unwrap().batch().bytes(), &good());
}

#[test]
fn older_formats_are_invalid_and_unknown_ones_corrupt() {
    assert_eq!(code(changed(16, &[1])), ErrorCode::InvalidRecord);
    assert_eq!(code(changed(16, &[3])), ErrorCode::CorruptMessage);
    assert_eq!(code(changed(8, &[0, 0, 0, 5])), ErrorCode::CorruptMessage);
}

#[test]
fn a_flipped_byte_is_corrupt() {
    for at in 21..good().len() {
        let mut bytes = BytesMut::from(&good()[..]);
        bytes[at] ^= 1;
        assert_eq!(code(bytes.freeze()), ErrorCode::CorruptMessage, "byte {at}");
    }
}

#[test]
fn the_size_is_checked_before_the_contents() {
    let refused = check_with(changed(23, &[0, 0, 0, 9]), |rules| rules.max_message_bytes = 80).unwrap_err();
    assert_eq!((refused.code, refused.with_log_start), (ErrorCode::MessageTooLarge, false));
    let exact = good().len() as u32;
    assert!(check_with(good(), |rules| rules.max_message_bytes = exact).is_ok());
    assert!(check_with(good(), |rules| rules.max_message_bytes = exact - 1).is_err());
}

#[test]
fn headers_must_not_lie() {
    for (at, with) in [
        (0, &[0, 0, 0, 0, 0, 0, 0, 1][..]), // a base offset that is not 0
        (23, &[0, 0, 0, 9]),                // a last offset that does not fit the count
        (23, &[0xff, 0xff, 0xff, 0xff]),    // no offsets at all
        (57, &[0, 0, 0, 3]),                // more records than there are
        (57, &[0, 0, 0, 0]),                // none
        (22, &[0x20]),                      // a control batch
        (43, &[0, 0, 0, 0, 0, 0, 0, 7]),    // a producer without a sequence
    ] {
        let refused = check_with(changed(at, with), |_| {}).unwrap_err();
        assert_eq!((refused.code, refused.message), (ErrorCode::InvalidRecord, None), "byte {at}");
    }
}

#[test]
fn zstd_needs_version_seven() {
    let bytes = batch(&[(NOW, vec![0; 100])], &BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
    let refused = check_with(bytes.clone(), |rules| rules.produce_version = Some(6)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnsupportedCompressionType);
    assert!(check_with(bytes, |rules| rules.produce_version = Some(7)).is_ok());
}

#[test]
fn records_of_a_compacted_topic_need_keys() {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(NOW), Some(b"k"), Some(b"v"), &[]);
    builder.add(Millis(NOW), None, Some(b"v"), &[]);
    let bytes = builder.build(&BatchOptions::default()).unwrap();
    let refused = check_with(bytes, |rules| rules.compacted = true).unwrap_err();
    let message = "Compacted topic cannot accept message without key in topic partition t-0";
    assert_eq!(refused.code, ErrorCode::InvalidRecord);
    assert_eq!(refused.record_errors, [RecordError { index: 1, message: message.into() }]);
    assert_eq!(
        refused.message.unwrap(),
        format!(
            "One or more records have been rejected due to 1 record errors in total, and only showing the first three \
             errors at most: [RecordError(batchIndex=1, message='{message}')]"
        )
    );
}

#[test]
fn times_out_of_range_are_named_one_by_one() {
    let records = [(NOW - 11, vec![]), (NOW, vec![]), (NOW + 21, vec![]), (-1, vec![])];
    let refused = check_with(batch(&records, &BatchOptions::default()), |rules| {
        rules.timestamp_before_max_ms = 10;
        rules.timestamp_after_max_ms = 20;
    })
    .unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidTimestamp);
    assert_eq!(refused.message.unwrap(), "One or more records have been rejected due to invalid timestamp");
    assert_eq!(refused.record_errors.iter().map(|error| error.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        refused.record_errors[0].message,
        "Timestamp 999989 of message with offset 0 is out of range. The timestamp should be within [999990, 1000020]"
    );
}

#[test]
fn the_largest_time_is_computed_from_the_records() {
    let wrong = changed(35, &7i64.to_be_bytes());
    let valid = check_with(wrong, |_| {}).unwrap();
    assert_eq!(valid.header().max_timestamp, Millis(NOW - 5));
    valid.batch().verify_crc().unwrap();
}

#[test]
fn the_brokers_time_replaces_the_producers() {
    let valid = check_with(good(), |rules| rules.timestamp_type = TimestampType::LogAppendTime).unwrap();
    assert_eq!((valid.header().max_timestamp, valid.log_append_time()), (Millis(NOW), Millis(NOW)));
    assert_eq!(valid.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    valid.batch().verify_crc().unwrap();
}

#[test]
fn a_producer_must_not_claim_the_brokers_time() {
    let options = BatchOptions { log_append_time: Some(Millis(NOW)), ..BatchOptions::default() };
    let claimed = batch(&[(NOW, b"v".to_vec())], &options);
    let refused = check_with(claimed, |rules| rules.timestamp_type = TimestampType::LogAppendTime).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidTimestamp);
    assert_eq!(
        refused.record_errors[0].message,
        "Invalid timestamp type in message DefaultRecord(offset=0, timestamp=1000000, key=3 bytes, value=1 bytes). \
         Producer should not set timestamp type to LogAppendTime."
    );
}

#[test]
fn batches_are_compressed_anew_where_the_topic_says_so() {
    for source in Codec::ALL {
        for (compression, target) in [
            (CompressionType::Producer, source),
            (CompressionType::Uncompressed, Codec::None),
            (CompressionType::Gzip(9), Codec::Gzip),
            (CompressionType::Snappy, Codec::Snappy),
            (CompressionType::Lz4(9), Codec::Lz4),
            (CompressionType::Zstd(3), Codec::Zstd),
        ] {
            let options = BatchOptions { codec: source, ..producer(7, 1, 40) };
            let bytes = batch(&[(NOW, vec![1; 500]), (NOW + 1, vec![2; 500])], &options);
            let valid = check_with(bytes, |rules| rules.compression = compression).unwrap();
            valid.batch().verify_crc().unwrap();
            assert_eq!(valid.header().attributes.compression(), Ok(target));
            assert_eq!((valid.header().producer_id.0, valid.header().base_sequence.0), (7, 40));
            let values = valid.batch().records(1 << 20).unwrap().map(|record| record.unwrap().value.unwrap()[0]);
            assert_eq!(values.collect::<Vec<_>>(), [1, 2], "{source:?} to {target:?}");
        }
    }
}

#[test]
fn inner_offsets_with_gaps_are_put_right_only_where_the_codec_changes() {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(NOW), None, Some(b"a"), &[]);
    builder.add_at(4, Millis(NOW), None, Some(b"b"), &[]);
    let options = BatchOptions { codec: Codec::Gzip, last_offset_delta: Some(4), ..BatchOptions::default() };
    let mut bytes = BytesMut::from(&builder.build(&options).unwrap()[..]);
    bytes[23..27].copy_from_slice(&1i32.to_be_bytes());
    recompute_crc(&mut bytes);
    let bytes = bytes.freeze();
    assert_eq!(code(bytes.clone()), ErrorCode::UnknownServerError);
    let valid = check_with(bytes, |rules| rules.compression = CompressionType::Zstd(3)).unwrap();
    let offsets: Vec<Offset> = valid.batch().records(1 << 20).unwrap().map(|record| record.unwrap().offset).collect();
    assert_eq!(offsets, [Offset(0), Offset(1)]);
}

#[test]
fn the_first_batch_says_whether_a_transaction_begins() {
    let begins = |bytes: &[u8]| first_header(bytes).map(|header| header.map(|it| it.attributes.is_transactional()));
    assert_eq!(begins(&good()), Ok(Some(false)));
    let transactional = batch(&[(NOW, vec![1])], &BatchOptions { is_transactional: true, ..producer(7, 0, 0) });
    assert_eq!(begins(&transactional), Ok(Some(true)));
    assert_eq!(begins(&transactional[..transactional.len() - 1]), Ok(None), "cut off");
    assert_eq!(begins(&[]), Ok(None));
    let refused = begins(&changed(8, &3i32.to_be_bytes())).unwrap_err();
    assert_eq!(refused.code, ErrorCode::CorruptMessage);
}

#[test]
fn brokers_may_write_control_batches() {
    let options = BatchOptions { leader_epoch: LeaderEpoch(3), ..BatchOptions::default() };
    let marker = control_batch(ControlRecordType::Commit, &[0, 0, 0, 0, 0, 1], Millis(NOW), &options);
    assert_eq!(code(marker.clone()), ErrorCode::InvalidRecord);
    let valid = check_with(marker, |rules| {
        rules.origin = Origin::Coordinator;
        rules.compression = CompressionType::Gzip(6);
    });
    assert_eq!(valid.unwrap().header().attributes.compression(), Ok(Codec::None));
}

#[test]
fn nothing_that_is_sent_makes_it_panic() {
    let mut random = milena_base::Random::from_seed(11);
    for codec in Codec::ALL {
        let sound = batch(&[(NOW, vec![1; 200]), (NOW, vec![2; 50])], &BatchOptions { codec, ..producer(7, 0, 0) });
        for _ in 0..3_000 {
            let mut bytes = BytesMut::from(&sound[..]);
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next_u64() as u8;
            }
            bytes.truncate(random.below(2 * sound.len() as u64) as usize);
            if bytes.len() >= 61 && random.below(2) == 0 {
                recompute_crc(&mut bytes);
            }
            let settled = check_with(bytes.freeze(), |rules| rules.compression = CompressionType::Lz4(1));
            if let Ok(valid) = settled {
                valid.batch().verify_crc().unwrap();
            }
        }
    }
}

#[test]
fn what_a_batch_will_take_is_known_before() {
    let records = vec![(NOW, vec![7; 100_000])];
    let options = |codec| BatchOptions { codec, ..BatchOptions::default() };
    let (plain, zstd) = (batch(&records, &options(Codec::None)), batch(&records, &options(Codec::Zstd)));
    assert_eq!(working_bytes(&plain, CompressionType::Producer), 0, "it is looked at where it lies");
    assert_eq!(working_bytes(&plain, CompressionType::Zstd(3)), 3 * (plain.len() - HEADER_BYTES));
    let walked = working_bytes(&zstd, CompressionType::Producer);
    assert!((100_000..1 << 20).contains(&walked), "the frame's window: {walked}");
    assert_eq!(working_bytes(&zstd, CompressionType::Uncompressed), walked + 3 * REBUILT_BYTES_MAX);
    assert_eq!(working_bytes(&zstd[..HEADER_BYTES - 1], CompressionType::Producer), 0);
}
