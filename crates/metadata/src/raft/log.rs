//! What the quorum knows of the metadata log without reading it: a mirror, kept right by the events that confirm what
//! the shell did.

use milena_protocol::{LeaderEpoch, Offset};

use super::Start;
use crate::snapshot::SnapshotId;

/// The first epoch's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start: Offset,
}

/// How a fetch fits the leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The follower's log is a prefix of this one.
    Prefix,
    /// The logs agree at most up to the end of this epoch.
    Diverging(EpochEnd),
    /// What the follower needs is only in a snapshot.
    Snapshot(SnapshotId),
}

/// An epoch and the offset after its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) end: Offset,
}

/// The mirror.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// Everything below is on disk.
    pub(crate) flushed: Offset,
    /// The end once everything is done that the shell was asked for.
    expected: Offset,
    /// Where each epoch begins, ascending.
    epochs: Vec<EpochStart>,
    pub(crate) snapshot: Option<SnapshotId>,
    /// A fetched snapshot that the log is about to be replaced by.
    installing: Option<SnapshotId>,
}

impl Log {
    pub(crate) fn new(start: &Start) -> Log {
        // A log of which only the snapshot is left goes on where that ends.
        let end = start.snapshot.map_or(start.log_end, |id| start.log_end.max(id.end));
        Log {
            start: start.log_start,
            end,
            flushed: end,
            expected: end,
            epochs: start.epochs.clone(),
            snapshot: start.snapshot,
            installing: None,
        }
    }

    /// Epoch of the last record, or of the snapshot where there is none behind it; 0 if there is neither.
    pub(crate) fn last_epoch(&self) -> LeaderEpoch {
        let last = self.epochs.last().map(|epoch| epoch.epoch);
        last.max(self.snapshot.map(|id| id.epoch)).unwrap_or(LeaderEpoch(0))
    }

    /// Whether everything asked for is done, and on disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.end == self.expected && self.flushed == self.end && self.installing.is_none()
    }

    /// Whether a log with that end has everything that this one has.
    pub(crate) fn is_covered_by(&self, last: EpochEnd) -> bool {
        (last.epoch, last.end) >= (self.last_epoch(), self.end)
    }

    /// Records up to `end` were asked for.
    pub(crate) fn expect(&mut self, end: Offset) {
        self.expected = end;
    }

    /// # Panics
    /// If the batch does not continue the log: the shell confirms what it appended, in order.
    pub(crate) fn appended(&mut self, epoch: LeaderEpoch, base: Offset, end: Offset) {
        assert!(base == self.end && end > base, "a batch {base}..{end} on a log that ends at {}", self.end);
        if self.epochs.last().is_none_or(|last| last.epoch < epoch) {
            self.epochs.push(EpochStart { epoch, start: base });
        }
        self.end = end;
        self.expected = self.expected.max(end);
    }

    pub(crate) fn truncated(&mut self, end: Offset) {
        self.epochs.retain(|epoch| epoch.start < end);
        self.end = self.end.min(end);
        self.expected = self.end;
        self.flushed = self.flushed.min(end);
    }

    pub(crate) fn flushed(&mut self, end: Offset) {
        self.flushed = self.flushed.max(end.min(self.end));
    }

    pub(crate) fn install(&mut self, id: SnapshotId) {
        self.installing = Some(id);
    }

    /// A snapshot is on disk. Returns whether it took the place of the log.
    pub(crate) fn snapshot_saved(&mut self, id: SnapshotId, start: Offset) -> bool {
        self.snapshot = self.snapshot.max(Some(id));
        if self.installing == Some(id) {
            let (epochs, end) = (Vec::new(), id.end);
            *self = Log { start, end, flushed: end, expected: end, epochs, snapshot: Some(id), installing: None };
            return true;
        }
        self.start = self.start.max(start);
        let gone = self.epochs.iter().take_while(|epoch| epoch.start <= self.start).count();
        if let Some(first) = gone.checked_sub(1) {
            self.epochs.drain(..first);
            self.epochs[0].start = self.start;
        }
        false
    }

    /// How a log that ends at `offset`, its last record of `epoch`, fits this one.
    ///
    /// Source: `RaftLog.validateOffsetAndEpoch`; a follower with nothing gets the newest snapshot if there is one.
    pub(crate) fn fit(&self, offset: Offset, epoch: LeaderEpoch) -> Fit {
        let newest = self.snapshot.filter(|id| id.end > Offset(0));
        if offset == Offset(0) && self.start == Offset(0) {
            return newest.map_or(Fit::Prefix, Fit::Snapshot);
        }
        if let Some(id) = newest
            && (offset < self.start
                || offset == self.start && epoch != self.base_epoch(id)
                || epoch < self.base_epoch(id))
        {
            return Fit::Snapshot(id);
        }
        match self.end_of(epoch) {
            end if end.epoch == epoch && offset <= end.end => Fit::Prefix,
            end => Fit::Diverging(end),
        }
    }

    /// The last epoch up to `epoch` and its end; the log's own end if all epochs are later or it is not known.
    ///
    /// Source: `LeaderEpochFileCache.endOffsetFor`, `KafkaRaftLog.endOffsetForEpoch`.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch) -> EpochEnd {
        let later = self.epochs.partition_point(|start| start.epoch <= epoch);
        match (later.checked_sub(1).map(|at| self.epochs[at]), self.epochs.get(later)) {
            (Some(own), None) if own.epoch == epoch => EpochEnd { epoch, end: self.end },
            (_, None) => EpochEnd { epoch: self.last_epoch(), end: self.end },
            (Some(own), Some(next)) => EpochEnd { epoch: own.epoch, end: next.start },
            (None, Some(next)) => EpochEnd { epoch, end: next.start },
        }
    }

    /// Where to cut this log so that it agrees with a leader's that says where `epoch` ends.
    ///
    /// Source: `RaftLog.truncateToEndOffset`.
    pub(crate) fn agreed_end(&self, leader: EpochEnd) -> Offset {
        let own = self.end_of(leader.epoch);
        match leader.epoch {
            LeaderEpoch(0) => leader.end.min(self.end),
            epoch if own.epoch == epoch => own.end.min(leader.end),
            _ => own.end,
        }
    }

    /// Epoch of the record before the log's first, as far as that is known.
    fn base_epoch(&self, newest: SnapshotId) -> LeaderEpoch {
        match newest.end == self.start {
            true => newest.epoch,
            false => self.epochs.first().map_or(newest.epoch, |first| first.epoch),
        }
    }

    /// # Panics
    /// If the mirror contradicts itself.
    pub(crate) fn check(&self) {
        assert!(self.start <= self.end, "{self:?}");
        assert!(self.flushed <= self.end, "{self:?}");
        assert!(self.epochs.is_sorted_by(|one, two| one.epoch < two.epoch && one.start <= two.start), "{self:?}");
        assert!(self.epochs.last().is_none_or(|last| last.start <= self.end), "{self:?}");
    }
}
