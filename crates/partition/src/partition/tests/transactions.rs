//! Transactions of a partition: the rules one by one, and their part in the random histories.

use bytes::Bytes;
use milena_protocol::records::{BatchOptions, ControlRecordType, EndTransactionMarker, batches, control_batch};
use milena_protocol::{ProducerEpoch, ProducerId, Sequence};

use super::histories::{History, same};
use super::*;
use crate::{Guard, Voucher};

/// What a batch is in its producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Records.
    Data { id: i64, epoch: i16, next_sequence: i32 },
    /// A marker.
    End { id: i64, epoch: i16, is_commit: bool },
}

impl Part {
    fn id(self) -> i64 {
        match self {
            Part::Data { id, .. } | Part::End { id, .. } => id,
        }
    }
}

/// What a transactional producer knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Transactional {
    epoch: i16,
    sequence: i32,
    is_open: bool,
}

/// As the list tells it: whose, its first offset, and its marker with the verdict.
type Told = (i64, i64, Option<(i64, bool)>);

/// Producers below raise no epochs (transaction version 1), the others do.
const FIRST_BUMPING: i64 = 7;

fn transactional(id: i64, epoch: i16, sequence: i32) -> BatchOptions {
    BatchOptions { is_transactional: true, ..producer(id, epoch, sequence) }
}

fn write<D: Disk>(
    partition: &mut Partition<D>,
    now: i64,
    bytes: Bytes,
    origin: Origin,
    voucher: Voucher,
) -> Result<Appended, AppendError> {
    let settings = LogSettings { timestamp_after_max_ms: i64::MAX, ..partition.settings().clone() };
    let name = partition.topic_partition().clone();
    let valid = validate(bytes, &Rules::new(&settings, &name, origin), Millis(now)).unwrap();
    partition.append(Millis(now), &valid, None, voucher)
}

fn marker_bytes(now: i64, id: i64, epoch: i16, coordinator_epoch: i32, is_commit: bool) -> Bytes {
    let kind = if is_commit { ControlRecordType::Commit } else { ControlRecordType::Abort };
    let value = EndTransactionMarker { coordinator_epoch }.to_bytes();
    control_batch(kind, &value, Millis(now), &transactional(id, epoch, -1))
}

/// Appends what a producer sends in a transaction, without asking anybody if need be.
fn send<D: Disk>(partition: &mut Partition<D>, id: i64, epoch: i16, sequence: i32) -> Result<Appended, AppendError> {
    let bytes = || batch(&records(2, 1_000), &transactional(id, epoch, sequence));
    match write(partition, 0, bytes(), Origin::Client, Voucher::Wanted { bumps_epoch: id >= FIRST_BUMPING }) {
        Err(AppendError::NeedsVerification(guard)) => {
            write(partition, 0, bytes(), Origin::Client, Voucher::Verified(guard))
        }
        other => other,
    }
}

fn ask<D: Disk>(partition: &mut Partition<D>, id: i64, epoch: i16, sequence: i32) -> Guard {
    let bytes = batch(&records(2, 1_000), &transactional(id, epoch, sequence));
    let asked = write(partition, 0, bytes, Origin::Client, Voucher::Wanted { bumps_epoch: id >= FIRST_BUMPING });
    match asked {
        Err(AppendError::NeedsVerification(guard)) => guard,
        other => panic!("{other:?}"),
    }
}

fn verified<D: Disk>(
    partition: &mut Partition<D>,
    (id, epoch, sequence): (i64, i16, i32),
    guard: Guard,
) -> Result<Appended, AppendError> {
    let bytes = batch(&records(2, 1_000), &transactional(id, epoch, sequence));
    write(partition, 0, bytes, Origin::Client, Voucher::Verified(guard))
}

fn end<D: Disk>(
    partition: &mut Partition<D>,
    (id, epoch, coordinator_epoch): (i64, i16, i32),
    is_commit: bool,
) -> Result<Appended, AppendError> {
    let transaction_version = if id >= FIRST_BUMPING { 2 } else { 1 };
    let bytes = marker_bytes(0, id, epoch, coordinator_epoch, is_commit);
    write(partition, 0, bytes, Origin::Coordinator, Voucher::Marker { transaction_version })
}

#[test]
fn only_the_first_batch_of_a_transaction_needs_the_coordinators_word() {
    let (_, mut partition) = fresh(small());
    let guard = ask(&mut partition, 1, 0, 0);
    assert_eq!(ask(&mut partition, 1, 0, 0), guard, "asking again is the same question");
    verified(&mut partition, (1, 0, 0), guard).unwrap();
    let more = batch(&records(2, 1_000), &transactional(1, 0, 2));
    write(&mut partition, 0, more, Origin::Client, Voucher::Wanted { bumps_epoch: false }).unwrap();
    end(&mut partition, (1, 0, 0), true).unwrap();
    assert!(ask(&mut partition, 1, 0, 4) != guard);
}

#[test]
fn an_answer_that_a_marker_has_overtaken_opens_no_transaction() {
    for (id, marker_epoch) in [(1, 0), (7, 1)] {
        let (_, mut partition) = fresh(small());
        let guard = ask(&mut partition, id, 0, 0);
        end(&mut partition, (id, marker_epoch, 0), false).unwrap();
        let late = verified(&mut partition, (id, 0, 0), guard);
        let is_refused =
            matches!(late, Err(AppendError::TransactionState(_) | AppendError::InvalidProducerEpoch { .. }));
        assert!(is_refused, "{late:?}");
        assert_eq!(partition.marks().last_stable, Offset(1));
    }
}

#[test]
fn a_successor_does_not_overtake_a_batch_that_waits_for_verification() {
    let (_, mut partition) = fresh(small());
    let guard = ask(&mut partition, 1, 0, 0);
    assert!(matches!(verified(&mut partition, (1, 0, 2), guard), Err(AppendError::OutOfOrderSequence { .. })));
    verified(&mut partition, (1, 0, 0), guard).unwrap();
    // A producer whose epoch rises begins each transaction with 0.
    let guard = ask(&mut partition, 7, 0, 3);
    assert!(matches!(verified(&mut partition, (7, 0, 3), guard), Err(AppendError::OutOfOrderSequence { .. })));
}

#[test]
fn markers_of_older_epochs_and_coordinators_are_refused() {
    let (_, mut partition) = fresh(small());
    for id in [1, 7] {
        send(&mut partition, id, 5, 0).unwrap();
    }
    assert!(matches!(end(&mut partition, (1, 4, 3), true), Err(AppendError::InvalidProducerEpoch { .. })));
    end(&mut partition, (1, 5, 3), true).unwrap();
    assert!(matches!(
        end(&mut partition, (1, 5, 2), true),
        Err(AppendError::CoordinatorFenced { given: 2, current: 3 })
    ));
    // With an epoch for each transaction, the marker brings the next one.
    assert!(matches!(end(&mut partition, (7, 5, 3), true), Err(AppendError::InvalidProducerEpoch { .. })));
    end(&mut partition, (7, 6, 3), true).unwrap();
    end(&mut partition, (7, 6, 3), true).unwrap();
    assert!(matches!(end(&mut partition, (7, 5, 3), true), Err(AppendError::InvalidProducerEpoch { .. })));
    assert!(matches!(send(&mut partition, 7, 5, 2), Err(AppendError::InvalidProducerEpoch { .. })));
}

#[test]
fn a_plain_batch_of_a_producer_with_an_open_transaction_is_refused() {
    let (_, mut partition) = fresh(small());
    send(&mut partition, 1, 0, 0).unwrap();
    let plain = append(&mut partition, 0, &records(1, 0), &producer(1, 0, 2));
    assert!(matches!(plain, Err(AppendError::TransactionState(ProducerId(1)))));
}

#[test]
fn a_marker_without_records_leaves_no_trace_among_the_aborted() {
    let (_, mut partition) = fresh(small());
    end(&mut partition, (1, 0, 0), false).unwrap();
    send(&mut partition, 2, 0, 0).unwrap();
    let read = |partition: &mut Partition<_>| {
        let request = ReadRequest { isolation: Isolation::ReadCommitted, ..request(Offset(0), 10_000) };
        let info = partition.read(&request).unwrap();
        (info.aborted.unwrap().len(), info.marks.last_stable)
    };
    assert_eq!(read(&mut partition), (0, Offset(1)));
    end(&mut partition, (2, 0, 0), false).unwrap();
    assert_eq!(read(&mut partition), (1, Offset(4)));
}

impl History {
    /// One transactional producer does one thing.
    pub(super) fn transact(&mut self) {
        let id = 5 + self.random.below(4) as i64;
        let state = *self.transactional.entry(id).or_default();
        match self.random.below(10) {
            0..=2 if state.is_open => self.end(id),
            3 => self.repeat_marker(id),
            4 if state.is_open => self.plain_batch_is_refused(id),
            5 if !state.is_open => self.overtake(id),
            _ => self.send(id),
        }
    }

    fn bytes(&mut self, id: i64) -> (Vec<(i64, Vec<u8>)>, Bytes) {
        let Transactional { epoch, sequence, .. } = self.transactional[&id];
        let records = records(1 + self.random.below(4) as usize, self.now);
        let bytes = batch(&records, &transactional(id, epoch, sequence));
        (records, bytes)
    }

    fn send(&mut self, id: i64) {
        let (records, bytes) = self.bytes(id);
        let state = self.transactional[&id];
        let (now, wanted) = (self.now, Voucher::Wanted { bumps_epoch: id >= FIRST_BUMPING });
        let appended = match write(self.partition(), now, bytes.clone(), Origin::Client, wanted) {
            Err(AppendError::NeedsVerification(guard)) => {
                assert!(!state.is_open);
                write(self.partition(), now, bytes, Origin::Client, Voucher::Verified(guard))
            }
            other => {
                assert!(state.is_open, "a transaction begins unasked");
                other
            }
        };
        let next_sequence = Sequence(state.sequence).plus(records.len() as i32).0;
        let part = Part::Data { id, epoch: state.epoch, next_sequence };
        self.keep(appended.unwrap().base_offset, records, None, Some(part));
        self.transactional.insert(id, Transactional { sequence: next_sequence, is_open: true, ..state });
    }

    fn write_marker(&mut self, id: i64, epoch: i16, is_commit: bool) -> Result<Appended, AppendError> {
        let (now, transaction_version) = (self.now, if id >= FIRST_BUMPING { 2 } else { 1 });
        let bytes = marker_bytes(now, id, epoch, self.coordinator_epoch, is_commit);
        let appended =
            write(self.partition(), now, bytes, Origin::Coordinator, Voucher::Marker { transaction_version })?;
        let value = EndTransactionMarker { coordinator_epoch: self.coordinator_epoch }.to_bytes();
        self.keep(appended.base_offset, vec![(now, value.to_vec())], None, Some(Part::End { id, epoch, is_commit }));
        Ok(appended)
    }

    fn end(&mut self, id: i64) {
        let state = self.transactional[&id];
        let bumps = id >= FIRST_BUMPING;
        let epoch = state.epoch + i16::from(bumps);
        self.coordinator_epoch += i32::from(self.random.below(10) == 0);
        let is_commit = self.random.below(2) == 0;
        self.write_marker(id, epoch, is_commit).unwrap();
        let sequence = if bumps { 0 } else { state.sequence };
        self.transactional.insert(id, Transactional { epoch, sequence, is_open: false });
        if bumps {
            // The same marker again, told by an older message.
            let late = self.write_marker(id, epoch - 1, is_commit);
            assert!(matches!(late, Err(AppendError::InvalidProducerEpoch { .. })), "{late:?}");
        }
    }

    /// A marker that comes again decides nothing: unless the transaction is open, it may.
    fn repeat_marker(&mut self, id: i64) {
        let Transactional { epoch, is_open, .. } = self.transactional[&id];
        let is_known = self.kept.iter().any(|kept| kept.part.is_some_and(|part| part.id() == id));
        if is_open || !is_known {
            return;
        }
        self.write_marker(id, epoch, true).unwrap();
    }

    fn plain_batch_is_refused(&mut self, id: i64) {
        let Transactional { epoch, sequence, .. } = self.transactional[&id];
        let (now, records) = (self.now, records(1, self.now));
        let refused = append(self.partition(), now, &records, &producer(id, epoch, sequence));
        assert!(matches!(refused, Err(AppendError::TransactionState(_))), "{refused:?}");
    }

    /// The transaction is aborted while its coordinator's answer is on the way.
    fn overtake(&mut self, id: i64) {
        let (_, bytes) = self.bytes(id);
        let (now, wanted) = (self.now, Voucher::Wanted { bumps_epoch: id >= FIRST_BUMPING });
        let Err(AppendError::NeedsVerification(guard)) =
            write(self.partition(), now, bytes.clone(), Origin::Client, wanted)
        else {
            panic!("a transaction begins unasked");
        };
        self.end(id);
        let late = write(self.partition(), now, bytes, Origin::Client, Voucher::Verified(guard));
        let is_refused =
            matches!(late, Err(AppendError::TransactionState(_) | AppendError::InvalidProducerEpoch { .. }));
        assert!(is_refused, "{late:?}");
    }

    /// After a start: what the partition knows of each producer whose records are still there is what was written.
    pub(super) fn recall_transactional(&mut self) {
        let log_start = self.partition().marks().log_start.0;
        let infos = self.partition().producers();
        self.coordinator_epoch += 1;
        for id in 5..9 {
            let parts = self.kept.iter().filter(|kept| kept.base >= log_start).filter_map(|kept| kept.part);
            let mut expected = None;
            for part in parts.filter(|part| part.id() == id) {
                expected = Some(match part {
                    Part::Data { epoch, next_sequence, .. } => {
                        Transactional { epoch, sequence: next_sequence, is_open: true }
                    }
                    Part::End { epoch, .. } => {
                        let before = expected.filter(|before: &Transactional| before.epoch == epoch);
                        Transactional { epoch, sequence: before.map_or(0, |before| before.sequence), is_open: false }
                    }
                });
            }
            let info = infos.iter().find(|info| info.producer_id == ProducerId(id));
            let found = info.map(|info| Transactional {
                epoch: info.producer_epoch.0,
                sequence: if info.last_sequence == Sequence::NONE { 0 } else { info.last_sequence.plus(1).0 },
                is_open: info.open_transaction.is_some(),
            });
            if let Some(expected) = expected {
                let found = found.expect("a producer with records is known");
                assert_eq!((found.epoch, found.is_open), (expected.epoch, expected.is_open), "producer {id}");
                assert!(found.sequence == expected.sequence || expected.sequence == 0, "producer {id}");
            }
            // What it does not know of any more are records before the log start.
            let known_from = info.and_then(|info| info.open_transaction).unwrap_or(Offset(i64::MAX));
            let is_gone = |kept: &super::histories::Kept| kept.base + kept.records.len() as i64 <= log_start;
            for kept in self.kept.iter_mut().filter(|kept| is_gone(kept) && kept.base < known_from.0) {
                kept.part = kept.part.filter(|part| part.id() != id);
            }
            // Who is forgotten with its records begins anew.
            let forgotten = self.transactional.get(&id).map_or(0, |state| state.epoch + 1);
            let anew = Transactional { epoch: forgotten, ..Transactional::default() };
            self.transactional.insert(id, found.unwrap_or(anew));
        }
    }

    /// First offset, marker and verdict of every transaction, as the list tells; those without records are none.
    fn transactions(&self) -> Vec<Told> {
        let mut all: Vec<Told> = Vec::new();
        for kept in &self.kept {
            let open = |all: &[Told], id: i64| all.iter().position(|(of, _, end)| *of == id && end.is_none());
            match kept.part {
                Some(Part::Data { id, .. }) if open(&all, id).is_none() => all.push((id, kept.base, None)),
                Some(Part::End { id, is_commit, .. }) => {
                    if let Some(at) = open(&all, id) {
                        all[at].2 = Some((kept.base, is_commit));
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// No decision is shown before its marker is safe, and none is held back behind it.
    pub(super) fn check_last_stable(&mut self) {
        let marks = self.partition().marks();
        let (hw, start) = (marks.high_watermark.0, marks.log_start.0);
        let all = self.transactions();
        let open = all.iter().filter(|(.., end)| end.is_none()).map(|(_, first, _)| *first);
        let latest = open.min().map_or(hw, |first| first.min(hw)).max(start);
        // Where the transaction of an unsafe marker began may be gone from the list, but not from the partition.
        let is_end = |kept: &super::histories::Kept| matches!(kept.part, Some(Part::End { .. }));
        let is_undecided = self.kept.iter().any(|kept| kept.base >= hw && is_end(kept));
        // A start by an older snapshot may recall a beginning before the log start that the list has dropped.
        let begins_earlier = |info: &ProducerInfo| info.open_transaction.is_some_and(|first| first.0 < start);
        let is_recalled = self.partition().producers().iter().any(begins_earlier);
        let earliest = if is_undecided || is_recalled { start } else { latest };
        let found = marks.last_stable.0;
        assert!(earliest <= found && found <= latest, "{earliest} <= {found} <= {latest}");
    }

    /// Reads as a read_committed consumer does, and finds what was committed and nothing else.
    pub(super) fn read_committed(&mut self) {
        let marks = self.partition().marks();
        let from = marks.log_start + self.random.below((marks.log_end - marks.log_start) as u64 + 1) as i64;
        let max_bytes = 1 + self.random.below(2_000) as usize;
        let all = self.transactions();
        let is_shown = |kept: &super::histories::Kept| match kept.part {
            None => true,
            Some(Part::End { .. }) => false,
            Some(Part::Data { id, .. }) => all.iter().any(|(of, first, end)| {
                let inside = |marker: i64| *first <= kept.base && kept.base < marker;
                *of == id && end.is_some_and(|(marker, is_commit)| is_commit && inside(marker))
            }),
        };
        let shown = self.kept.iter().filter(|kept| is_shown(kept));
        let flat = shown.flat_map(|kept| (kept.base..).zip(kept.records.iter().cloned()));
        let expected = flat.filter(|(at, _)| *at >= from.0 && *at < marks.last_stable.0).collect();
        same(consume(self.partition(), from, max_bytes), expected);
    }
}

/// What `consumer.isolation.level=read_committed` shows, by the list of aborted transactions of each answer.
fn consume<D: Disk>(partition: &mut Partition<D>, from: Offset, max_bytes: usize) -> Vec<(i64, (i64, Vec<u8>))> {
    let (mut found, mut offset) = (Vec::new(), from);
    loop {
        let asked = ReadRequest { isolation: Isolation::ReadCommitted, ..request(offset, max_bytes) };
        let info = partition.read(&asked).unwrap();
        let aborted = info.aborted.unwrap();
        assert!(aborted.is_sorted_by_key(|aborted| aborted.first_offset));
        let (mut waiting, mut skipped) = (aborted.iter().peekable(), Vec::new());
        let mut next = offset;
        for batch in batches(contents(&info.slice)).tolerate_cut() {
            let batch = batch.unwrap();
            let header = batch.header();
            next = header.next_offset();
            while let Some(aborted) = waiting.next_if(|aborted| aborted.first_offset <= header.last_offset()) {
                skipped.push(aborted.producer_id);
            }
            if header.attributes.is_control() {
                skipped.retain(|id| *id != header.producer_id);
                continue;
            }
            if header.attributes.is_transactional() && skipped.contains(&header.producer_id) {
                continue;
            }
            for record in batch.records(1 << 20).unwrap().map(Result::unwrap).filter(|record| record.offset >= offset) {
                found.push((record.offset.0, (record.timestamp.0, record.value.unwrap().to_vec())));
            }
        }
        if next == offset {
            return found;
        }
        offset = next;
    }
}

#[test]
fn a_new_epoch_within_an_open_transaction_begins_at_zero() {
    let (_, mut partition) = fresh(small());
    send(&mut partition, 1, 0, 0).unwrap();
    let guard = ask(&mut partition, 1, 1, 0);
    verified(&mut partition, (1, 1, 0), guard).unwrap();
    let [info] = partition.producers()[..] else { panic!("one producer") };
    assert_eq!((info.producer_epoch, info.open_transaction), (ProducerEpoch(1), Some(Offset(0))));
}
