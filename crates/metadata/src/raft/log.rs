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

/// The mirror.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// Everything below is on disk.
    pub(crate) flushed: Offset,
    /// Where each epoch begins, ascending.
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) snapshot: Option<SnapshotId>,
}

impl Log {
    pub(crate) fn new(start: &Start) -> Log {
        let mut log = Log {
            start: start.log_start,
            end: start.log_end,
            flushed: start.log_end,
            epochs: start.epochs.clone(),
            snapshot: start.snapshot,
        };
        // A log of which only the snapshot is left goes on where that ends.
        log.end = log.snapshot.map_or(log.end, |id| log.end.max(id.end));
        log.flushed = log.end;
        log
    }

    /// Epoch of the last record, or of the snapshot where the log behind it is empty; 0 if there is neither.
    pub(crate) fn last_epoch(&self) -> LeaderEpoch {
        let last = self.epochs.last().map(|epoch| epoch.epoch);
        last.max(self.snapshot.map(|id| id.epoch)).unwrap_or(LeaderEpoch(0))
    }

    /// # Panics
    /// If the batch does not continue the log: the shell confirms what it appended, in order.
    pub(crate) fn appended(&mut self, epoch: LeaderEpoch, base: Offset, end: Offset) {
        assert!(
            base == self.end && end > base,
            "a batch {base}..{end} was appended to a log that ends at {}",
            self.end
        );
        if self.epochs.last().is_none_or(|last| last.epoch < epoch) {
            self.epochs.push(EpochStart { epoch, start: base });
        }
        self.end = end;
    }

    pub(crate) fn truncated(&mut self, end: Offset) {
        self.epochs.retain(|epoch| epoch.start < end);
        self.end = self.end.min(end);
        self.flushed = self.flushed.min(end);
    }
}
