//! What compaction does, told once more with lists and maps instead of segments, indexes and codecs.

use std::collections::BTreeMap;

use milena_protocol::compression::Codec;

use super::history::{Appended, Record, Stored};

/// Every batch that is left, and the transaction that it belongs to or ends.
#[derive(Default)]
pub(super) struct Model {
    left: Vec<Appended>,
    /// Every record that was ever appended, with its transaction.
    ever: Vec<(Record, Option<i64>)>,
    aborted: Vec<i64>,
}

/// One round.
pub(super) struct Round {
    pub(super) now: i64,
    pub(super) first_dirty: i64,
    pub(super) first_uncleanable: i64,
    pub(super) delete_retention_ms: i64,
    /// First offsets of the segments there were.
    pub(super) segments: Vec<i64>,
    pub(super) keys_max: usize,
    pub(super) last_written: BTreeMap<i64, (Option<i64>, i16)>,
}

impl Model {
    pub(super) fn append(&mut self, (appended, aborted): (Vec<Appended>, Vec<i64>)) {
        for (batch, transaction) in &appended {
            let records = batch.records.iter().filter(|_| !batch.is_control);
            self.ever.extend(records.map(|record| (record.clone(), *transaction)));
        }
        self.left.extend(appended);
        self.aborted = aborted;
    }

    pub(super) fn batches(&self) -> Vec<Stored> {
        self.left.iter().map(|(batch, _)| batch.clone()).collect()
    }

    /// What is left of records that are committed, before an offset.
    pub(super) fn committed(&self, end: i64) -> Vec<Record> {
        let visible =
            self.left.iter().filter(|(batch, transaction)| !batch.is_control && !self.is_aborted(*transaction));
        visible.flat_map(|(batch, _)| batch.records.clone()).filter(|record| record.offset < end).collect()
    }

    /// What was ever committed before an offset.
    pub(super) fn ever_committed(&self, end: i64) -> Vec<Record> {
        let committed = self.ever.iter().filter(|(record, of)| record.offset < end && !self.is_aborted(*of));
        committed.map(|(record, _)| record.clone()).collect()
    }

    fn is_aborted(&self, transaction: Option<i64>) -> bool {
        transaction.is_some_and(|transaction| self.aborted.contains(&transaction))
    }

    /// Answers up to where the log is clean.
    pub(super) fn compact(&mut self, round: &Round) -> i64 {
        let (latest, keys) = self.last_offsets(round);
        let is_reached = |batch: &Stored| {
            let segment = round.segments.iter().rev().find(|base| **base <= batch.base);
            *segment.unwrap() <= latest
        };
        let before = std::mem::take(&mut self.left);
        let holds_records = |of: Option<i64>| before.iter().any(|(batch, its)| !batch.is_control && *its == of);
        for (batch, transaction) in &before {
            let rest = match is_reached(batch) {
                false => Some(batch.clone()),
                true => {
                    let is_idle = batch.is_control && (batch.records.is_empty() || !holds_records(*transaction));
                    let goes = match batch.is_control {
                        true => is_idle && batch.horizon.is_some_and(|horizon| horizon <= round.now),
                        false => self.is_aborted(*transaction),
                    };
                    rest(batch, goes, is_idle, latest, &keys, round)
                }
            };
            self.left.extend(rest.map(|rest| (rest, *transaction)));
        }
        latest + 1
    }

    /// The last offset of each dirty key, and how far that was read.
    fn last_offsets(&self, round: &Round) -> (i64, BTreeMap<i64, i64>) {
        let mut keys = BTreeMap::new();
        let mut latest = -1;
        let dirty = |batch: &Stored| batch.last >= round.first_dirty && batch.base < round.first_uncleanable;
        for (batch, transaction) in self.left.iter().filter(|(batch, _)| dirty(batch)) {
            if !batch.is_control && !self.is_aborted(*transaction) {
                let keyed = batch.records.iter().filter(|record| record.key != Record::KEYLESS);
                for record in keyed.filter(|record| record.offset >= round.first_dirty) {
                    if keys.len() == round.keys_max {
                        return (latest, keys);
                    }
                    keys.insert(record.key, record.offset);
                    latest = record.offset;
                }
            }
            // With what is missing up to the next batch or segment, if that begins first.
            latest = batch.last;
            let next_segment = round.segments.iter().find(|base| **base > batch.base);
            let next_batch = self.left.iter().map(|(batch, _)| batch.base).find(|base| *base > batch.base);
            if let (Some(segment), Some(next)) = (next_segment, next_batch)
                && *segment <= next
            {
                // All empty segments on the way are passed, too.
                let passed =
                    round.segments.iter().rev().find(|base| **base <= next && **base <= round.first_uncleanable);
                latest = passed.unwrap_or(segment) - 1;
            }
        }
        (round.first_uncleanable - 1, keys)
    }
}

fn rest(
    batch: &Stored,
    goes: bool,
    is_idle: bool,
    latest: i64,
    keys: &BTreeMap<i64, i64>,
    round: &Round,
) -> Option<Stored> {
    let is_expired = batch.horizon.is_some_and(|horizon| horizon <= round.now);
    let stays = |record: &&Record| {
        let is_last = || keys.get(&record.key).is_none_or(|last| record.offset >= *last);
        let is_kept = || record.key != Record::KEYLESS && is_last() && (record.value.is_some() || !is_expired);
        !goes && (batch.is_control || record.offset > latest || is_kept())
    };
    let records: Vec<Record> = batch.records.iter().filter(stays).cloned().collect();
    let is_producers_last = match round.last_written.get(&batch.producer) {
        Some((Some(last), _)) => batch.last == *last,
        Some((None, epoch)) => batch.is_control && batch.epoch == *epoch,
        None => false,
    };
    if records.is_empty() {
        let stays_empty = is_producers_last || batch.last + 1 == round.first_uncleanable;
        return stays_empty.then(|| Stored { codec: Codec::None, horizon: None, records, ..batch.clone() });
    }
    let is_new = batch.horizon.is_none() && (is_idle || !batch.is_control && has_tombstone(&records));
    let horizon = if is_new { Some(round.now + round.delete_retention_ms) } else { batch.horizon };
    let max_timestamp = match records.len() == batch.records.len() {
        true => batch.max_timestamp,
        false => records.iter().map(|record| record.timestamp).max().unwrap(),
    };
    Some(Stored { horizon, max_timestamp, records, ..batch.clone() })
}

fn has_tombstone(records: &[Record]) -> bool {
    records.iter().any(|record| record.value.is_none())
}
