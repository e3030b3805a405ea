//! What a partition remembers of its producers: enough to tell a repeated batch from a new one, to fence older
//! instances, and to know which transactions are open.
//!
//! ```text
//! last five batches of a producer       appended again: answered with the old offset
//! [0-9] [10-10] [11-40] [41-60] [61-70]   next must begin at 71, or with 0 in a higher epoch
//! ```
//! Source: `ProducerStateManager`, `ProducerAppendInfo`, `ProducerStateEntry` in Kafka 4.3.1; KIP-98, KIP-360.

pub(crate) mod snapshot;
mod verification;

use std::collections::BTreeMap;
use std::io;

use milena_base::Millis;
use milena_protocol::records::{Batch, BatchError, BatchHeader, ControlRecordType, EndTransactionMarker};
use milena_protocol::{Offset, ProducerEpoch, ProducerId, Sequence};

use crate::log::compaction::LastWritten;
use crate::transactions::Aborted;
use crate::{AppendError, Origin, ProducerInfo, Voucher};
pub use verification::{Beginning, Guard};
use verification::{Question, Questions};

/// Kafka's window: as many batches as a producer may have in flight.
const BATCHES_MAX: usize = 5;
/// A control batch holds one small record; more is not inflated.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// A batch that may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchMark {
    pub(crate) last_sequence: Sequence,
    pub(crate) last_offset: Offset,
    /// Last offset minus first offset; the sequences span as much.
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: Millis,
}

impl BatchMark {
    fn first_sequence(&self) -> Sequence {
        // Going back `n` is going on by 2³¹ − n, as sequences wrap after the maximum.
        let back = i64::from(self.last_sequence.0) - i64::from(self.offset_delta);
        Sequence((back & i64::from(i32::MAX)) as i32)
    }

    pub(crate) fn first_offset(&self) -> Offset {
        self.last_offset + -i64::from(self.offset_delta)
    }
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    /// The last ones, oldest first.
    batches: Vec<BatchMark>,
    pub(crate) coordinator_epoch: i32,
    pub(crate) last_timestamp: Millis,
    pub(crate) open_transaction: Option<Offset>,
}

impl Producer {
    pub(crate) fn new(epoch: ProducerEpoch) -> Producer {
        Producer {
            epoch,
            batches: Vec::new(),
            coordinator_epoch: -1,
            last_timestamp: Millis::NONE,
            open_transaction: None,
        }
    }

    pub(crate) fn last_batch(&self) -> Option<&BatchMark> {
        self.batches.last()
    }

    fn last_sequence(&self) -> Sequence {
        self.last_batch().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    pub(crate) fn add(&mut self, mark: BatchMark) {
        if self.batches.len() == BATCHES_MAX {
            self.batches.remove(0);
        }
        self.batches.push(mark);
        self.last_timestamp = mark.timestamp;
    }
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, Producer>,
    /// Undecided transactions by their first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Decided ones whose marker the high watermark has not passed: first offset → the marker's.
    unreplicated: BTreeMap<Offset, Offset>,
    /// What transactions' coordinators are being asked. Soft: a restart forgets it.
    questions: Questions,
    /// The batches before this are counted.
    end: Offset,
}

/// What a batch is to its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Not seen before, and in order.
    New,
    /// Here it went.
    Duplicate(BatchMark),
}

impl ProducerStates {
    /// Nobody known, as of `end`.
    pub fn starting_at(end: Offset) -> ProducerStates {
        ProducerStates { end, ..ProducerStates::default() }
    }

    /// Whether a data batch may be appended: transaction, epoch, sequence. A batch that would begin a transaction, and
    /// whose coordinator was not asked yet, opens a question.
    pub(crate) fn check(
        &mut self,
        now: Millis,
        header: &BatchHeader,
        origin: Origin,
        voucher: Voucher,
    ) -> Result<Known, AppendError> {
        let id = header.producer_id;
        if id.0 < 0 || origin == Origin::Replication {
            return Ok(Known::New);
        }
        if let Voucher::Wanted { bumps_epoch } = voucher
            && header.attributes.is_transactional()
            && let Some(guard) = self.question(now, &Beginning { bumps_epoch, ..Beginning::of(header) })?
        {
            return Err(AppendError::NeedsVerification(guard));
        }
        let producer = self.producers.get(&id);
        if origin == Origin::Client
            && let Some(mark) = producer.and_then(|producer| find_duplicate(producer, header))
        {
            return Ok(Known::Duplicate(mark));
        }
        self.check_epoch(id, header.producer_epoch)?;
        if let Voucher::Verified(guard) = voucher
            && header.attributes.is_transactional()
            && !self.is_open(id, header.producer_epoch)
            && !self.questions.is_open(id, guard)
        {
            return Err(AppendError::TransactionState(id));
        }
        if origin == Origin::Client {
            check_sequence(producer, self.questions.of(id), header)?;
        }
        let is_open = producer.is_some_and(|producer| producer.open_transaction.is_some());
        match is_open && !header.attributes.is_transactional() {
            true => Err(AppendError::TransactionState(id)),
            false => Ok(Known::New),
        }
    }

    /// What the coordinator has to be asked with before the transaction of a producer may begin here; `None` where it
    /// has begun already.
    pub(crate) fn question(&mut self, now: Millis, beginning: &Beginning) -> Result<Option<Guard>, AppendError> {
        self.check_epoch(beginning.producer, beginning.epoch)?;
        match self.is_open(beginning.producer, beginning.epoch) {
            true => Ok(None),
            false => Ok(Some(self.questions.ask(now, beginning))),
        }
    }

    fn check_epoch(&self, id: ProducerId, given: ProducerEpoch) -> Result<(), AppendError> {
        match self.producers.get(&id) {
            Some(Producer { epoch, .. }) if given < *epoch => {
                Err(AppendError::InvalidProducerEpoch { producer: id, given, current: *epoch })
            }
            _ => Ok(()),
        }
    }

    /// Whether the producer has a transaction of this epoch open here.
    fn is_open(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        let producer = self.producers.get(&id);
        producer.is_some_and(|producer| producer.open_transaction.is_some() && producer.epoch == epoch)
    }

    /// Whether a coordinator's marker may be appended. From transaction version 2 on the marker itself carries the
    /// epoch of the next transaction; an equal one can only be the same marker again (KAFKA-19999).
    pub(crate) fn check_marker(&self, batch: &Batch, transaction_version: i8) -> Result<(), AppendError> {
        let header = batch.header();
        let Some(producer) = self.producers.get(&header.producer_id) else { return Ok(()) };
        let (given, current) = (header.producer_epoch, producer.epoch);
        let is_repeated = given == current && (producer.open_transaction.is_none() || given.0 == i16::MAX);
        let is_stale = if transaction_version >= 2 { given <= current && !is_repeated } else { given < current };
        if is_stale {
            return Err(AppendError::InvalidProducerEpoch { producer: header.producer_id, given, current });
        }
        let given = read_marker(batch).map_err(io::Error::other)?.map_or(0, |(_, marker, _)| marker.coordinator_epoch);
        match given < producer.coordinator_epoch {
            true => Err(AppendError::CoordinatorFenced { given, current: producer.coordinator_epoch }),
            false => Ok(()),
        }
    }

    /// Counts a data batch that was appended.
    pub(crate) fn count(&mut self, header: &BatchHeader) {
        self.end = header.next_offset();
        if header.producer_id.0 < 0 {
            return;
        }
        let producer = self.producers.entry(header.producer_id).or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter(header.producer_epoch);
        producer.add(BatchMark {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.attributes.is_transactional() && producer.open_transaction.is_none() {
            producer.open_transaction = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
        if header.attributes.is_transactional() {
            self.questions.on_data(header.producer_id);
        }
    }

    /// Counts a batch of transaction markers. Answers the transaction if it was aborted.
    pub(crate) fn count_marker(&mut self, batch: &Batch) -> Result<Option<Aborted>, BatchError> {
        let header = batch.header();
        self.end = header.next_offset();
        let Some((is_abort, marker, timestamp)) = read_marker(batch)? else { return Ok(None) };
        self.questions.on_marker(header.producer_id, header.producer_epoch);
        let producer = self.producers.entry(header.producer_id).or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter(header.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = timestamp;
        // A marker without records before it decides nothing.
        let Some(first_offset) = producer.open_transaction.take() else { return Ok(None) };
        self.open.remove(&first_offset);
        let last_offset = header.last_offset();
        self.unreplicated.insert(first_offset, last_offset);
        let last_stable = self.open.keys().next().copied().unwrap_or(last_offset.next());
        let producer_id = header.producer_id;
        Ok(is_abort.then_some(Aborted { producer_id, first_offset, last_offset, last_stable }))
    }

    /// First offset of the oldest transaction that is open, or decided above the high watermark.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.keys().next().copied();
        let unreplicated = self.unreplicated.keys().next().copied();
        open.into_iter().chain(unreplicated).min()
    }

    /// Markers before the high watermark are decided for good.
    pub(crate) fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// Records before `log_start` are gone; their transactions are nobody's concern.
    pub(crate) fn on_log_start(&mut self, log_start: Offset) {
        self.on_high_watermark(log_start);
        self.end = self.end.max(log_start);
    }

    /// Forgets producers that were silent for `expiration_ms`, but for those with an open transaction.
    pub(crate) fn expire(&mut self, now: Millis, expiration_ms: i64) -> usize {
        self.questions.expire(now, expiration_ms);
        let before = self.producers.len();
        self.producers.retain(|_, producer| {
            producer.open_transaction.is_some() || (now - producer.last_timestamp).0 < expiration_ms
        });
        before - self.producers.len()
    }

    /// The batches before this are counted.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What each producer wrote last: compaction keeps that batch.
    pub(crate) fn last_written(&self) -> BTreeMap<ProducerId, LastWritten> {
        let last = |producer: &Producer| LastWritten {
            offset: producer.last_batch().map(|batch| batch.last_offset),
            epoch: producer.epoch,
        };
        self.producers.iter().map(|(id, producer)| (*id, last(producer))).collect()
    }

    pub(crate) fn infos(&self) -> Vec<ProducerInfo> {
        let info = |(producer_id, producer): (&ProducerId, &Producer)| ProducerInfo {
            producer_id: *producer_id,
            producer_epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            open_transaction: producer.open_transaction,
        };
        self.producers.iter().map(info).collect()
    }
}

fn find_duplicate(producer: &Producer, header: &BatchHeader) -> Option<BatchMark> {
    let (first, last) = (header.base_sequence, header.last_sequence());
    let same = |mark: &&BatchMark| mark.last_sequence == last && mark.first_sequence() == first;
    match producer.epoch == header.producer_epoch {
        true => producer.batches.iter().find(same).copied(),
        false => None,
    }
}

fn check_sequence(
    producer: Option<&Producer>,
    question: Option<&Question>,
    header: &BatchHeader,
) -> Result<(), AppendError> {
    let given = header.base_sequence;
    let last = producer.map_or(Sequence::NONE, Producer::last_sequence);
    let is_empty = producer.is_none_or(|producer| producer.batches.is_empty());
    let waits = question
        .is_some_and(|question| given > question.lowest_sequence || (question.bumps_epoch && given.0 != 0 && is_empty));
    let follows = match producer {
        // A producer whose records are all gone may go on with any sequence.
        None => true,
        Some(producer) if producer.epoch == ProducerEpoch::NONE => true,
        Some(producer) if header.producer_epoch != producer.epoch => given.0 == 0,
        Some(_) => i64::from(given.0) == i64::from(last.0) + 1 || (given.0 == 0 && last.0 == i32::MAX),
    };
    match follows && !waits {
        true => Ok(()),
        false => Err(AppendError::OutOfOrderSequence { producer: header.producer_id, given, last }),
    }
}

/// What a batch of transaction markers says: whether it aborts, the marker, and its time. `None` for control batches
/// that end no transaction.
fn read_marker(batch: &Batch) -> Result<Option<(bool, EndTransactionMarker, Millis)>, BatchError> {
    let Some(record) = batch.records(CONTROL_BYTES_MAX)?.next().transpose()? else { return Ok(None) };
    let is_abort = match ControlRecordType::parse(&record.key.unwrap_or_default())? {
        ControlRecordType::Abort => true,
        ControlRecordType::Commit => false,
        _ => return Ok(None),
    };
    if batch.header().producer_id.0 < 0 {
        return Ok(None);
    }
    let marker = EndTransactionMarker::parse(&record.value.unwrap_or_default())?;
    Ok(Some((is_abort, marker, record.timestamp)))
}

#[cfg(test)]
mod tests {
    use milena_protocol::records::{Attributes, BatchBuilder, BatchOptions, control_batch};

    use super::*;

    fn header(epoch: i16, first: i32, count: i32, base_offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new();
        for _ in 0..count {
            builder.add(Millis(7), None, None, &[]);
        }
        let options = BatchOptions {
            base_offset: Offset(base_offset),
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: Sequence(first),
            ..BatchOptions::default()
        };
        BatchHeader::decode(&builder.build(&options).unwrap()).unwrap()
    }

    /// Appends a client's batches one after the other, at growing offsets.
    fn append(states: &mut ProducerStates, epoch: i16, first: i32, count: i32) -> Result<Known, AppendError> {
        let header = header(epoch, first, count, states.end().0);
        let known = states.check(Millis(0), &header, Origin::Client, Voucher::NotNeeded)?;
        if known == Known::New {
            states.count(&header);
        }
        Ok(known)
    }

    #[test]
    fn a_batch_must_follow_the_last_one() {
        let mut states = ProducerStates::default();
        append(&mut states, 0, 5, 3).unwrap();
        append(&mut states, 0, 8, 1).unwrap();
        assert!(matches!(append(&mut states, 0, 10, 1), Err(AppendError::OutOfOrderSequence { .. })));
        assert!(matches!(append(&mut states, 0, 6, 2), Err(AppendError::OutOfOrderSequence { .. })));
    }

    #[test]
    fn the_last_five_batches_are_known_again_and_no_more() {
        let mut states = ProducerStates::default();
        for first in 0..6 {
            append(&mut states, 0, first * 2, 2).unwrap();
        }
        for first in 1..6 {
            let Known::Duplicate(mark) = append(&mut states, 0, first * 2, 2).unwrap() else { panic!("{first}") };
            assert_eq!(mark.first_offset(), Offset(i64::from(first) * 2));
        }
        assert!(matches!(append(&mut states, 0, 0, 2), Err(AppendError::OutOfOrderSequence { .. })));
        // The same first sequence with another count is not the same batch.
        assert!(matches!(append(&mut states, 0, 10, 1), Err(AppendError::OutOfOrderSequence { .. })));
    }

    #[test]
    fn sequences_go_on_at_zero_even_within_a_batch() {
        let mut states = ProducerStates::default();
        append(&mut states, 0, i32::MAX - 1, 4).unwrap();
        assert!(matches!(append(&mut states, 0, i32::MAX - 1, 4), Ok(Known::Duplicate(_))));
        assert_eq!(append(&mut states, 0, 2, 1).unwrap(), Known::New);
        let mut exact = ProducerStates::default();
        append(&mut exact, 0, i32::MAX, 1).unwrap();
        assert_eq!(append(&mut exact, 0, 0, 1).unwrap(), Known::New);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut states = ProducerStates::default();
        append(&mut states, 3, 0, 1).unwrap();
        assert!(matches!(append(&mut states, 4, 1, 1), Err(AppendError::OutOfOrderSequence { .. })));
        append(&mut states, 4, 0, 1).unwrap();
        assert!(matches!(append(&mut states, 3, 1, 1), Err(AppendError::InvalidProducerEpoch { .. })));
    }

    #[test]
    fn silent_producers_are_forgotten_and_may_then_go_on_anywhere() {
        let mut states = ProducerStates::default();
        append(&mut states, 0, 0, 1).unwrap();
        assert_eq!(states.expire(Millis(106), 100), 0);
        assert_eq!(states.expire(Millis(107), 100), 1);
        assert_eq!(append(&mut states, 0, 77, 1).unwrap(), Known::New);
    }

    #[test]
    fn a_transaction_is_unstable_until_the_high_watermark_passes_its_marker() {
        let mut states = ProducerStates::starting_at(Offset(10));
        let mut data = header(0, 0, 2, 10);
        data.attributes = Attributes::default().with_transactional(true);
        states.count(&data);
        assert_eq!(states.first_unstable(), Some(Offset(10)));
        let options = BatchOptions {
            base_offset: Offset(12),
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(0),
            is_transactional: true,
            ..BatchOptions::default()
        };
        let value = EndTransactionMarker { coordinator_epoch: 4 }.to_bytes();
        let marker = Batch::parse(control_batch(ControlRecordType::Abort, &value, Millis(8), &options)).unwrap();
        let aborted = states.count_marker(&marker).unwrap().unwrap();
        assert_eq!(
            (aborted.first_offset, aborted.last_offset, aborted.last_stable),
            (Offset(10), Offset(12), Offset(13))
        );
        assert_eq!(states.first_unstable(), Some(Offset(10)));
        states.on_high_watermark(Offset(13));
        assert_eq!(states.first_unstable(), None);
    }
}
