//! What tests of this crate share: batches, a small partition on the memory disk, and reading it back.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use milena_base::{Disk, DiskFile, Millis};
use milena_disk::MemoryDisk;
use milena_protocol::records::{BatchBuilder, BatchOptions, batches};
use milena_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition, Uuid};

use crate::*;

/// The topic id of all tests.
pub(crate) const TOPIC_ID: Uuid = Uuid(*b"0123456789abcdef");

pub(crate) fn topic_partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

/// Small segments and dense indexes, so that a few batches meet every rule.
pub(crate) fn small() -> LogSettings {
    LogSettings { segment_bytes: 2_000, index_interval_bytes: 150, index_bytes_max: 1_200, ..LogSettings::default() }
}

/// One record of a test: its time and value.
pub(crate) type Plain = (i64, Vec<u8>);

/// A client's batch.
pub(crate) fn batch(records: &[Plain], options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (timestamp, value) in records {
        builder.add(Millis(*timestamp), Some(b"key"), Some(value), &[]);
    }
    builder.build(options).unwrap()
}

/// Options of an idempotent producer.
pub(crate) fn producer(id: i64, epoch: i16, sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(sequence),
        ..BatchOptions::default()
    }
}

/// Validates and appends.
pub(crate) fn append<D: Disk>(
    partition: &mut Partition<D>,
    now: i64,
    records: &[Plain],
    options: &BatchOptions,
) -> Result<Appended, AppendError> {
    let settings = LogSettings { timestamp_after_max_ms: i64::MAX, ..partition.settings().clone() };
    let name = partition.topic_partition().clone();
    let rules = Rules::new(&settings, &name, Origin::Client);
    let valid = validate(batch(records, options), &rules, Millis(now)).unwrap();
    partition.append(Millis(now), &valid, None, Voucher::NotNeeded)
}

/// Opens and leads.
pub(crate) fn open<D: Disk>(
    disk: &D,
    at: &Path,
    settings: LogSettings,
    hints: OpenHints,
    epoch: i32,
) -> (Partition<D>, Recovered) {
    let (mut partition, recovered) =
        Partition::open(disk.clone(), at.to_owned(), topic_partition(), TOPIC_ID, settings, hints, Millis(0)).unwrap();
    partition.lead(LeaderEpoch(epoch)).unwrap();
    (partition, recovered)
}

/// A partition on an empty memory disk.
pub(crate) fn fresh(settings: LogSettings) -> (MemoryDisk, Partition<MemoryDisk>) {
    let disk = MemoryDisk::new();
    let (partition, _) = open(&disk, &dir(), settings, OpenHints::default(), 0);
    (disk, partition)
}

pub(crate) fn request(offset: Offset, max_bytes: usize) -> ReadRequest {
    ReadRequest {
        offset,
        max_bytes,
        min_one_batch: true,
        isolation: Isolation::LogEnd,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        from_any_replica: false,
    }
}

/// The bytes of a slice.
pub(crate) fn contents<F: DiskFile>(slice: &Slice<F>) -> Bytes {
    match slice {
        Slice::Empty => Bytes::new(),
        Slice::File { file, position, size_bytes, .. } => {
            let mut bytes = vec![0; *size_bytes];
            assert_eq!(file.read_at(&mut bytes, *position).unwrap(), *size_bytes);
            Bytes::from(bytes)
        }
    }
}

/// All records from `from` on, read in pieces of `max_bytes`.
pub(crate) fn read_all<D: Disk>(partition: &mut Partition<D>, from: Offset, max_bytes: usize) -> Vec<(i64, Plain)> {
    let mut found = Vec::new();
    let mut offset = from;
    loop {
        let info = partition.read(&request(offset, max_bytes)).unwrap();
        let mut next = offset;
        for batch in batches(contents(&info.slice)).tolerate_cut() {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if record.offset >= offset {
                    found.push((record.offset.0, (record.timestamp.0, record.value.unwrap().to_vec())));
                }
            }
            next = batch.header().next_offset();
        }
        if next == offset {
            return found;
        }
        offset = next;
    }
}
