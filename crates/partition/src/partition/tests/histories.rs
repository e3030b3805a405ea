//! Random histories of appends, transactions, rolls, flushes, retention, restarts and crashes on the memory disk, held
//! against a plain list of what was appended.

use std::collections::BTreeMap;

use milena_disk::MemoryDisk;

use super::transactions::{Part, Transactional};
use super::*;

/// A batch as the list remembers it.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) base: i64,
    pub(super) records: Vec<(i64, Vec<u8>)>,
    producer: Option<(i64, i32)>,
    pub(super) part: Option<Part>,
}

pub(super) struct History {
    pub(super) random: Random,
    disk: MemoryDisk,
    partition: Option<Partition<MemoryDisk>>,
    settings: LogSettings,
    pub(super) kept: Vec<Kept>,
    hints: OpenHints,
    /// Nothing before may be lost.
    flushed_end: Offset,
    /// Next sequence by producer.
    sequences: BTreeMap<i64, i32>,
    pub(super) transactional: BTreeMap<i64, Transactional>,
    pub(super) coordinator_epoch: i32,
    pub(super) now: i64,
    epoch: i32,
}

impl History {
    fn new(seed: u64) -> History {
        let mut random = Random::from_seed(seed);
        let settings = LogSettings {
            segment_bytes: 800 + random.below(3_000) as u32,
            index_interval_bytes: random.below(400) as u32,
            index_bytes_max: 60 + random.below(400) as u32,
            retention_ms: if random.below(2) == 0 { -1 } else { 30_000 },
            flush_messages: if random.below(3) == 0 { 1 } else { i64::MAX },
            producer_expiration_ms: i64::MAX,
            segment_ms: 20_000,
            segment_jitter_ms: random.below(10_000) as i64,
            ..LogSettings::default()
        };
        let disk = MemoryDisk::new();
        let (partition, _) = open(&disk, &dir(), settings.clone(), OpenHints::default(), 0);
        History {
            random,
            disk,
            partition: Some(partition),
            settings,
            kept: Vec::new(),
            hints: OpenHints::default(),
            flushed_end: Offset(0),
            sequences: BTreeMap::new(),
            transactional: BTreeMap::new(),
            coordinator_epoch: 0,
            now: 0,
            epoch: 0,
        }
    }

    pub(super) fn partition(&mut self) -> &mut Partition<MemoryDisk> {
        self.partition.as_mut().unwrap()
    }

    fn step(&mut self) {
        self.now += self.random.below(300) as i64;
        match self.random.below(54) {
            0..=22 => self.append(),
            23..=25 => self.repeat(),
            26..=28 => self.flush(),
            29 => self.tick(),
            30 => self.delete(),
            31 => self.restart(),
            32 => self.crash(false),
            33 => self.crash(true),
            34..=36 => self.look_up_time(),
            37..=39 => self.read_somewhere(),
            40..=43 => self.read_committed(),
            _ => self.transact(),
        }
        self.check_marks();
        self.check_last_stable();
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(5) as usize;
        let stamp = self.now + self.random.below(2_000) as i64;
        let size = self.random.below(90) as usize;
        let records: Vec<(i64, Vec<u8>)> = (0..count)
            .map(|_| (stamp - self.random.below(50) as i64, vec![self.random.next_u64() as u8; size]))
            .collect();
        let producer_id = self.random.below(4) as i64;
        let sequence = *self.sequences.entry(producer_id).or_insert(i32::MAX - 10);
        let options = match producer_id {
            0 => BatchOptions::default(),
            _ => producer(producer_id, 0, sequence),
        };
        let now = self.now;
        let appended = append(self.partition(), now, &records, &options).unwrap();
        assert!(!appended.duplicate);
        if producer_id > 0 {
            let next = Sequence(sequence).plus(count as i32).0;
            self.sequences.insert(producer_id, next);
        }
        let producer = (producer_id > 0).then_some((producer_id, sequence));
        self.keep(appended.base_offset, records, producer, None);
    }

    pub(super) fn keep(
        &mut self,
        base: Offset,
        records: Vec<(i64, Vec<u8>)>,
        producer: Option<(i64, i32)>,
        part: Option<Part>,
    ) {
        self.kept.push(Kept { base: base.0, records, producer, part });
    }

    /// The last batch of every producer is known again.
    fn repeat(&mut self) {
        let log_start = self.partition().marks().log_start.0;
        for id in 1..4 {
            let last = self.kept.iter().rev().find(|kept| kept.producer.is_some_and(|(of, _)| of == id)).cloned();
            let Some(Kept { base, records, producer: Some((_, sequence)), .. }) = last else { continue };
            if base >= log_start {
                let now = self.now;
                let again = append(self.partition(), now, &records, &producer(id, 0, sequence)).unwrap();
                assert_eq!((again.duplicate, again.base_offset), (true, Offset(base)));
            }
        }
    }

    fn flush(&mut self) {
        let now = Millis(self.now);
        let flushed = self.partition().flush(now).unwrap();
        assert_eq!(flushed.recovery_point, self.partition().marks().log_end);
        self.flushed_end = flushed.recovery_point;
        self.hints.recovery_point = flushed.recovery_point;
    }

    fn tick(&mut self) {
        let now = Millis(self.now);
        for unlink in self.partition().tick(now).unwrap().unlinks {
            self.disk.remove_file(&unlink.path).unwrap();
        }
        self.hints.log_start = self.partition().marks().log_start;
    }

    fn delete(&mut self) {
        let marks = self.partition().marks();
        let span = (marks.high_watermark - marks.log_start) as u64;
        let to = marks.log_start + self.random.below(span / 3 + 1) as i64;
        self.partition().delete_records(Some(to)).unwrap();
        self.hints.log_start = self.partition().marks().log_start;
    }

    fn restart(&mut self) {
        let partition = self.partition.take().unwrap();
        let marks = partition.marks();
        self.hints.recovery_point = partition.close().unwrap();
        self.flushed_end = marks.log_end;
        // A clean end survives even a loss of power.
        self.disk.crash();
        self.reopen(OpenHints { clean: true, high_watermark: marks.high_watermark, ..self.hints });
        assert_eq!(self.partition().marks().log_end, marks.log_end);
        self.recall_transactional();
    }

    fn crash(&mut self, randomly: bool) {
        self.partition = None;
        match randomly {
            true => self.disk.crash_randomly(&mut self.random),
            false => self.disk.crash(),
        }
        let hints = OpenHints { clean: false, ..self.hints };
        self.reopen(hints);
        let log_end = self.partition().marks().log_end;
        let flushed = self.flushed_end;
        assert!(log_end >= flushed, "{log_end} after a flush up to {flushed}");
        self.kept.retain(|kept| kept.base + kept.records.len() as i64 <= log_end.0);
        self.sequences.clear();
        for kept in &self.kept {
            if let Some((id, sequence)) = kept.producer {
                self.sequences.insert(id, Sequence(sequence).plus(kept.records.len() as i32).0);
            }
        }
        self.read_everything();
        self.recall_transactional();
    }

    fn reopen(&mut self, hints: OpenHints) {
        self.epoch += 1;
        let (partition, recovered) = open(&self.disk, &dir(), self.settings.clone(), hints, self.epoch);
        assert_eq!(recovered.lost_below_recovery_point, None);
        assert!(!hints.clean || recovered.segments_scanned == 0);
        for unlink in recovered.unlinks {
            self.disk.remove_file(&unlink.path).unwrap();
        }
        self.partition = Some(partition);
    }

    fn expected(&self, from: Offset) -> Vec<(i64, (i64, Vec<u8>))> {
        let flat = self.kept.iter().flat_map(|kept| (kept.base..).zip(kept.records.iter().cloned()));
        flat.filter(|(offset, _)| *offset >= from.0).collect()
    }

    fn read_everything(&mut self) {
        let from = self.partition().marks().log_start;
        let expected = self.expected(from);
        same(read_all(self.partition(), from, 700), expected);
    }

    fn read_somewhere(&mut self) {
        let marks = self.partition().marks();
        let from = marks.log_start + self.random.below((marks.log_end - marks.log_start) as u64 + 1) as i64;
        let max_bytes = 1 + self.random.below(2_000) as usize;
        let expected = self.expected(from);
        same(read_all(self.partition(), from, max_bytes), expected);
    }

    fn look_up_time(&mut self) {
        let time = self.now - self.random.below(20_000) as i64;
        let marks = self.partition().marks();
        let expected = self.expected(marks.log_start);
        let expected = expected.iter().find(|(_, (stamp, _))| *stamp >= time.max(0)).map(|(offset, _)| *offset);
        let spec = OffsetSpec::Timestamp(Millis(time.max(0)));
        let found = self.partition().offset_for(spec, Isolation::LogEnd, None).unwrap();
        assert_eq!(found.map(|found| found.offset.0), expected);
    }

    fn check_marks(&mut self) {
        let after_flush = self.settings.acknowledges_after_flush();
        let Marks { log_start, last_stable, high_watermark, log_end } = self.partition().marks();
        assert!(log_start <= last_stable && last_stable <= high_watermark && high_watermark <= log_end);
        assert!(after_flush || high_watermark == log_end);
    }
}

/// Says the first difference, not thousands of records.
pub(super) fn same(found: Vec<(i64, (i64, Vec<u8>))>, expected: Vec<(i64, (i64, Vec<u8>))>) {
    let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert!(differs.is_none(), "{differs:?}");
    assert_eq!(found.len(), expected.len());
}

#[test]
fn no_history_loses_renumbers_or_invents_a_record() {
    for seed in 0..60 {
        // Said when a step fails, so that the history can be repeated.
        let said = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..250 {
                history.step();
            }
            history.read_everything();
        });
        assert!(said.is_ok(), "seed {seed}");
    }
}
