//! What of a log can be compacted, and whether it is worth it.
//!
//! ```text
//! |clean ......|dirty, cleanable ......|too young, or undecided ..|active ...|
//! ^ log start  ^ first dirty           ^ first uncleanable                   ^ log end
//! ```
//! A log is due when its cleanable bytes are more than `min.cleanable.dirty.ratio` of it, or when something in it has
//! waited for longer than `max.compaction.lag.ms`. The one with the largest part of cleanable bytes comes first.
//!
//! Source: `LogCleanerManager.cleanableOffsets`, `maxCompactionDelay`, `grabFilthiestCompactedLog` and `LogToClean` in
//! Kafka 4.3.1.

use std::io;
use std::ops::Range;

use milena_base::{Disk, Millis};
use milena_protocol::Offset;

use crate::{Log, LogSettings};

/// What compaction would find in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirt {
    /// Everything before was compacted already.
    pub first_dirty: Offset,
    /// Where the first segment begins that has to wait.
    pub first_uncleanable: Offset,
    /// Bytes of the segments that begin before `first_dirty`.
    pub clean_bytes: u64,
    /// Bytes of the segments from `first_dirty` to `first_uncleanable`.
    pub cleanable_bytes: u64,
    /// For how long something has been due by `max.compaction.lag.ms`, in milliseconds; 0 where nothing is.
    pub delay_ms: i64,
    /// What was known of an earlier compaction does not fit the log any more.
    pub reset: Option<Reset>,
}

/// Why a log counts as dirty from its start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// It was compacted up to an offset before its start.
    BeforeLogStart,
    /// It was compacted beyond its end: records were lost.
    BehindLogEnd,
}

impl Dirt {
    /// The part that could be compacted; 0 in an empty log.
    pub fn ratio(&self) -> f64 {
        match self.clean_bytes + self.cleanable_bytes {
            0 => 0.0,
            bytes => self.cleanable_bytes as f64 / bytes as f64,
        }
    }

    /// Whether it is to be compacted now.
    pub fn is_due(&self, settings: &LogSettings) -> bool {
        let is_late = self.delay_ms > 0 && self.cleanable_bytes > 0;
        is_late || self.ratio() > settings.dirty_ratio_min
    }
}

/// The dirtiest of those logs that are due.
pub fn dirtiest<K>(due: impl IntoIterator<Item = (K, Dirt)>) -> Option<(K, Dirt)> {
    due.into_iter().max_by(|(_, one), (_, other)| one.ratio().total_cmp(&other.ratio()))
}

impl<D: Disk> Log<D> {
    /// What compaction would find now, where it came to `compacted_to` before. Nothing from `last_stable` on is
    /// touched: it is not decided yet.
    pub(crate) fn dirt(&mut self, now: Millis, compacted_to: Option<Offset>, last_stable: Offset) -> io::Result<Dirt> {
        let (first_dirty, reset) = first_dirty(compacted_to, self.log_start, self.log_end);
        let young = self.first_young(now, first_dirty)?;
        let decided = young.into_iter().fold(last_stable, Offset::min);
        let first_uncleanable = self.first_base(self.inactive_from(decided.max(first_dirty)));
        Ok(Dirt {
            first_dirty,
            first_uncleanable,
            clean_bytes: self.bytes_of(0..self.begun_before(first_dirty)),
            cleanable_bytes: match first_dirty < first_uncleanable {
                true => self.bytes_of(self.segment_at(first_dirty)..self.begun_before(first_uncleanable)),
                false => 0,
            },
            delay_ms: self.compaction_delay_ms(now, first_dirty)?,
            reset,
        })
    }

    /// Where the first segment begins that holds a record younger than `min.compaction.lag.ms`.
    fn first_young(&mut self, now: Millis, first_dirty: Offset) -> io::Result<Option<Offset>> {
        let lag_ms = self.settings.compaction_lag_min_ms;
        if lag_ms <= 0 {
            return Ok(None);
        }
        for at in self.inactive_from(first_dirty) {
            let newest = self.segments[at].retention_timestamp(&self.disk)?;
            let base_offset = self.segments[at].base_offset;
            self.note_open(base_offset);
            if newest > now - Millis(lag_ms) {
                return Ok(Some(base_offset));
            }
        }
        Ok(None)
    }

    /// How long ago the oldest dirty segment would have had to be compacted.
    fn compaction_delay_ms(&mut self, now: Millis, first_dirty: Offset) -> io::Result<i64> {
        let due = now - Millis(self.settings.compaction_lag_max_ms.max(0));
        // Without a bound nothing is ever due: no segment has to be opened for it.
        if due.0 <= 0 {
            return Ok(0);
        }
        let mut oldest = Millis::MAX;
        for at in self.inactive_from(first_dirty) {
            let first = self.segments[at].first_timestamp(&self.disk)?;
            let base_offset = self.segments[at].base_offset;
            self.note_open(base_offset);
            oldest = first.filter(|first| first.0 > 0).map_or(oldest, |first| oldest.min(first));
        }
        Ok((due - oldest).0.max(0))
    }

    /// The segments from the one that holds `offset` on, but for the active one.
    fn inactive_from(&self, offset: Offset) -> Range<usize> {
        let active = self.segments.len() - 1;
        match offset > self.segments[active].base_offset {
            true => active..active,
            false => self.segment_at(offset)..active,
        }
    }

    /// Where the first of these segments begins; where there is none, the active one.
    fn first_base(&self, segments: Range<usize>) -> Offset {
        self.segments[segments.start].base_offset
    }

    /// How many segments begin before `offset`.
    pub(super) fn begun_before(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset < offset)
    }

    fn bytes_of(&self, segments: Range<usize>) -> u64 {
        self.segments.range(segments).map(|segment| segment.size_bytes).sum()
    }
}

fn first_dirty(compacted_to: Option<Offset>, log_start: Offset, log_end: Offset) -> (Offset, Option<Reset>) {
    match compacted_to {
        Some(offset) if offset < log_start => (log_start, Some(Reset::BeforeLogStart)),
        Some(offset) if offset > log_end => (log_start, Some(Reset::BehindLogEnd)),
        Some(offset) => (offset, None),
        None => (log_start, None),
    }
}
