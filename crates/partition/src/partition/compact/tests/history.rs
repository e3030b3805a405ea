//! A partition to which things happen, by hand or by chance, and what stands in its files.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_base::disk::read_file;
use milena_base::{Millis, Random};
use milena_disk::MemoryDisk;
use milena_protocol::compression::Codec;
use milena_protocol::records::{
    Batch, BatchBuilder, BatchOptions, ControlRecordType, EndTransactionMarker, batches, control_batch,
};
use milena_protocol::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::{AMPLE, compacted, reopen};
use crate::fixture::{contents, dir, request, topic_partition};
use crate::log::compaction::{Limits, MapLimits};
use crate::{
    CleanupPolicy, Isolation, LogSettings, OpenHints, Origin, Partition, ReadRequest, Rules, Voucher, names, validate,
};

/// One record; of a marker, its type is the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: i64,
    pub(super) value: Option<i64>,
}

impl Record {
    /// Stands for no key.
    pub(super) const KEYLESS: i64 = i64::MIN;

    pub(super) fn new(key: i64, value: i64) -> Record {
        Record { offset: -1, timestamp: 0, key, value: Some(value) }
    }
}

/// A batch as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) base: i64,
    pub(super) last: i64,
    pub(super) leader_epoch: i32,
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) codec: Codec,
    pub(super) is_transactional: bool,
    pub(super) is_control: bool,
    pub(super) horizon: Option<i64>,
    pub(super) max_timestamp: i64,
    pub(super) records: Vec<Record>,
}

impl Stored {
    pub(super) fn timestamps(&self) -> Vec<i64> {
        self.records.iter().map(|record| record.timestamp).collect()
    }

    fn of(batch: &Batch) -> Stored {
        batch.verify_crc().unwrap();
        let header = batch.header();
        let is_control = header.attributes.is_control();
        let records = batch.records(1 << 20).unwrap().map(|record| {
            let record = record.unwrap();
            let number = |bytes: &Bytes| i64::from_be_bytes(bytes[..8].try_into().unwrap());
            Record {
                offset: record.offset.0,
                timestamp: record.timestamp.0,
                key: match &record.key {
                    None => Record::KEYLESS,
                    Some(key) if is_control => i64::from(*key.last().unwrap()),
                    Some(key) => number(key),
                },
                value: record.value.as_ref().filter(|_| !is_control).map(number),
            }
        });
        Stored {
            base: header.base_offset.0,
            last: header.last_offset().0,
            leader_epoch: header.partition_leader_epoch.0,
            producer: header.producer_id.0,
            epoch: header.producer_epoch.0,
            base_sequence: header.base_sequence.0,
            codec: header.attributes.compression().unwrap(),
            is_transactional: header.attributes.is_transactional(),
            is_control,
            horizon: header.delete_horizon().map(|horizon| horizon.0),
            max_timestamp: header.max_timestamp.0,
            records: records.collect(),
        }
    }
}

/// All batches in the files of a log's segments.
pub(super) fn batches_of(partition: &Partition<MemoryDisk>) -> Vec<Stored> {
    let mut found = Vec::new();
    for base in partition.log().segment_bases() {
        let path = names::file(partition.dir(), base, names::LOG);
        let bytes = Bytes::from(read_file(partition.log().disk(), &path).unwrap());
        found.extend(batches(bytes).map(|batch| Stored::of(&batch.unwrap())));
    }
    found
}

/// Everything that a consumer of all records reads.
pub(super) fn records_of(partition: &mut Partition<MemoryDisk>) -> Vec<Record> {
    consume(partition, Isolation::ReadUncommitted)
}

/// Everything that a consumer of committed records reads.
pub(super) fn committed_of(partition: &mut Partition<MemoryDisk>) -> Vec<Record> {
    consume(partition, Isolation::ReadCommitted)
}

fn consume(partition: &mut Partition<MemoryDisk>, isolation: Isolation) -> Vec<Record> {
    let mut found = Vec::new();
    let mut offset = partition.marks().log_start;
    loop {
        let asked = ReadRequest { isolation, ..request(offset, 400) };
        let info = partition.read(&asked).unwrap();
        let mut ahead = info.aborted.unwrap_or_default();
        let mut aborted = Vec::new();
        let before = offset;
        for batch in batches(contents(&info.slice)).tolerate_cut() {
            let batch = Stored::of(&batch.unwrap());
            offset = Offset(batch.last + 1);
            let begun: Vec<_> = ahead.extract_if(.., |aborted| aborted.first_offset.0 <= batch.last).collect();
            aborted.extend(begun.into_iter().map(|aborted| aborted.producer_id.0));
            if batch.is_control {
                aborted.retain(|producer| *producer != batch.producer);
            } else if !batch.is_transactional || !aborted.contains(&batch.producer) {
                found.extend(batch.records.into_iter().filter(|record| record.offset >= before.0));
            }
        }
        if offset == before {
            return found;
        }
    }
}

/// What the records come to: the last value of each key, without those that were deleted.
pub(super) fn values(records: &[Record]) -> BTreeMap<i64, i64> {
    let mut values = BTreeMap::new();
    for record in records.iter().filter(|record| record.key != Record::KEYLESS) {
        match record.value {
            Some(value) => values.insert(record.key, value),
            None => values.remove(&record.key),
        };
    }
    values
}

/// How many keys fit.
pub(super) fn keys_max(limits: Limits) -> usize {
    let slots = limits.map.size_bytes / 24;
    ((slots as f64 * limits.map.load_factor) as usize).clamp(1, slots as usize - 1)
}

/// A batch that was appended, and which transaction it belongs to or ends, with whether that was aborted.
pub(super) type Appended = (Stored, Option<i64>);

#[derive(Debug, Clone, Copy, Default)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// The transaction that it has open, by its first offset.
    open: Option<i64>,
    last_offset: Option<i64>,
}

pub(super) struct History {
    pub(super) disk: MemoryDisk,
    pub(super) partition: Partition<MemoryDisk>,
    pub(super) now: i64,
    random: Random,
    producers: BTreeMap<i64, Producer>,
    appended: Vec<Appended>,
    /// First offsets of aborted transactions.
    pub(super) aborted: Vec<i64>,
}

impl History {
    pub(super) fn new(settings: LogSettings) -> History {
        let (disk, partition) = crate::fixture::fresh(settings);
        History {
            disk,
            partition,
            now: 1_000,
            random: Random::from_seed(0),
            producers: BTreeMap::new(),
            appended: Vec::new(),
            aborted: Vec::new(),
        }
    }

    pub(super) fn random(seed: u64, settings: LogSettings) -> History {
        History { random: Random::from_seed(seed), ..History::new(settings) }
    }

    pub(super) fn active_base(&self) -> Offset {
        self.partition.log().segment_bases().last().unwrap()
    }

    /// Begins a new segment; answers where.
    pub(super) fn roll(&mut self) -> Offset {
        let end = self.partition.marks().log_end;
        if self.active_base() < end {
            self.partition.log.roll(Millis(self.now), end).unwrap();
            self.partition.write_snapshot(end).unwrap();
        }
        end
    }

    /// What nobody in particular writes.
    pub(super) fn append(&mut self, records: &[Record]) {
        self.write(records, &BatchOptions::default(), None);
    }

    /// What a producer writes, at its next sequence.
    pub(super) fn append_by(&mut self, id: i64, is_transactional: bool, records: &[Record]) {
        let codec = Codec::ALL[self.random.below(5) as usize];
        let log_end = self.partition.marks().log_end.0;
        let producer = self.producers.entry(id).or_default();
        let options = BatchOptions {
            codec,
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(producer.epoch),
            base_sequence: Sequence(producer.next_sequence),
            is_transactional,
            ..BatchOptions::default()
        };
        producer.next_sequence += records.len() as i32;
        producer.last_offset = Some(log_end + records.len() as i64 - 1);
        let transaction = is_transactional.then(|| *producer.open.get_or_insert(log_end));
        self.write(records, &options, transaction);
    }

    /// Ends a producer's transaction; answers the marker's offset. Every second time the producer gets a new epoch with it.
    pub(super) fn end(&mut self, id: i64, commits: bool) -> i64 {
        let offset = self.partition.marks().log_end.0;
        let producer = self.producers.get_mut(&id).unwrap();
        let transaction = producer.open.take();
        let bumps = self.random.below(2) == 1;
        if bumps {
            (producer.epoch, producer.next_sequence, producer.last_offset) = (producer.epoch + 1, 0, None);
        }
        if !commits {
            self.aborted.extend(transaction);
        }
        let kind = if commits { ControlRecordType::Commit } else { ControlRecordType::Abort };
        let options = BatchOptions {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(producer.epoch),
            is_transactional: true,
            ..BatchOptions::default()
        };
        let value = EndTransactionMarker { coordinator_epoch: 3 }.to_bytes();
        let bytes = control_batch(kind, &value, Millis(self.now), &options);
        let voucher = Voucher::Marker { transaction_version: if bumps { 2 } else { 0 } };
        self.hand_in(bytes, Origin::Coordinator, voucher, transaction);
        offset
    }

    fn write(&mut self, records: &[Record], options: &BatchOptions, transaction: Option<i64>) {
        let mut builder = BatchBuilder::new();
        for record in records {
            let key = (record.key != Record::KEYLESS).then(|| record.key.to_be_bytes());
            let value = record.value.map(|value| [value.to_be_bytes(), [7; 8], [8; 8]].concat());
            let timestamp = Millis(record.timestamp);
            builder.add(timestamp, key.as_ref().map(|key| &key[..]), value.as_deref(), &[]);
        }
        self.hand_in(builder.build(options).unwrap(), Origin::Client, Voucher::NotNeeded, transaction);
    }

    fn hand_in(&mut self, bytes: Bytes, origin: Origin, voucher: Voucher, transaction: Option<i64>) {
        let now = Millis(self.now);
        // Records without key, too: they may come from a time when the topic was not compacted.
        let cleanup = CleanupPolicy { delete: true, compact: false };
        let settings = LogSettings { cleanup, timestamp_after_max_ms: i64::MAX, ..compacted() };
        let name = topic_partition();
        let valid = validate(bytes, &Rules::new(&settings, &name, origin), now).unwrap();
        let appended = self.partition.append(now, &valid, None, voucher).unwrap();
        let mut stored = Stored::of(valid.batch());
        let shift = appended.base_offset.0 - stored.base;
        (stored.base, stored.last) = (stored.base + shift, stored.last + shift);
        stored.records.iter_mut().for_each(|record| record.offset += shift);
        stored.leader_epoch = self.partition.leader_epoch().unwrap().0;
        self.appended.push((stored, transaction));
    }

    /// What was appended since this was asked last.
    pub(super) fn take_appended(&mut self) -> (Vec<Appended>, Vec<i64>) {
        (std::mem::take(&mut self.appended), self.aborted.clone())
    }

    /// By producer: the end of its last batch of records in its epoch, and that epoch.
    pub(super) fn last_written(&self) -> BTreeMap<i64, (Option<i64>, i16)> {
        self.producers.iter().map(|(id, producer)| (*id, (producer.last_offset, producer.epoch))).collect()
    }

    /// So many things happen.
    pub(super) fn go_on(&mut self, count: usize) {
        for _ in 0..count {
            self.now += self.random.below(50) as i64;
            let producer = 1 + self.random.below(3) as i64;
            let in_transaction = 4 + self.random.below(3) as i64;
            let is_open = self.producers.get(&in_transaction).is_some_and(|producer| producer.open.is_some());
            match self.random.below(20) {
                0..8 => {
                    let codec = Codec::ALL[self.random.below(5) as usize];
                    let records = self.random_records();
                    self.write(&records, &BatchOptions { codec, ..BatchOptions::default() }, None);
                }
                8..12 => {
                    let records = self.random_records();
                    self.append_by(producer, false, &records);
                }
                12..16 => {
                    let records = self.random_records();
                    self.append_by(in_transaction, true, &records);
                }
                16..19 if is_open => {
                    let commits = self.random.below(2) == 0;
                    self.end(in_transaction, commits);
                }
                16..19 => {}
                _ => drop(self.roll()),
            }
        }
    }

    /// Ends every transaction that is open.
    pub(super) fn end_all(&mut self) {
        let open = self.producers.iter().filter(|(_, producer)| producer.open.is_some());
        for producer in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            let commits = self.random.below(2) == 0;
            self.end(producer, commits);
        }
    }

    fn random_records(&mut self) -> Vec<Record> {
        let count = 1 + self.random.below(5);
        let record = |_| Record {
            offset: -1,
            timestamp: self.now + self.random.below(20) as i64,
            key: if self.random.below(30) == 0 { Record::KEYLESS } else { self.random.below(12) as i64 },
            value: (self.random.below(5) > 0).then(|| self.random.below(1_000_000) as i64),
        };
        (0..count).map(record).collect()
    }

    /// Mostly enough for all keys, sometimes for few.
    pub(super) fn random_limits(&mut self) -> Limits {
        let chunk_bytes = 1 + self.random.below(1_500);
        match self.random.below(3) {
            0 => Limits { map: MapLimits { size_bytes: 24 * 8, load_factor: 0.9 }, chunk_bytes },
            _ => Limits { chunk_bytes, ..AMPLE },
        }
    }

    /// Perhaps the machine stops, and comes back with all, with what was flushed, or cleanly.
    pub(super) fn maybe_reopen(&mut self) {
        let settings = self.partition.settings().clone();
        let marks = self.partition.marks();
        let hints = OpenHints { high_watermark: marks.high_watermark, ..OpenHints::default() };
        let before = self.partition.producers();
        let hints = match self.random.below(4) {
            0 => return,
            1 => hints,
            2 => {
                self.partition.flush(Millis(self.now)).unwrap();
                self.disk.crash();
                OpenHints { recovery_point: marks.log_end, ..hints }
            }
            _ => {
                let disk = MemoryDisk::new();
                let placeholder = crate::fixture::open(&disk, &dir(), compacted(), OpenHints::default(), 0).0;
                let recovery_point = std::mem::replace(&mut self.partition, placeholder).close().unwrap();
                OpenHints { recovery_point, clean: true, ..hints }
            }
        };
        self.partition = reopen(&self.disk, settings, hints);
        assert_eq!(self.partition.marks(), marks);
        let sequences = |producers: &[crate::ProducerInfo]| -> Vec<_> {
            let told = producers.iter();
            told.map(|told| (told.producer_id, told.producer_epoch, told.last_sequence, told.open_transaction))
                .collect()
        };
        assert_eq!(sequences(&self.partition.producers()), sequences(&before));
    }
}
