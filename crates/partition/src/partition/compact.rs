//! What compaction asks of a partition, each under the lock and for a moment only.
//!
//! ```text
//! dirt ─► compact ─► Compaction::step .. Ready ─► stand by │ swap_in │ flush names │ settle ─► step .. Done ─► compacted
//! ```

use std::io;

use milena_base::{Disk, Millis};
use milena_protocol::Offset;

use super::{Partition, offline};
use crate::Unlink;
use crate::log::compaction::{Compaction, Dirt, Limits};

impl<D: Disk> Partition<D> {
    /// What compaction would find, where it came to `compacted_to` before (`cleaner-offset-checkpoint`). May read from the disk.
    pub fn dirt(&mut self, now: Millis, compacted_to: Option<Offset>) -> io::Result<Dirt> {
        let last_stable = self.marks().last_stable;
        self.log.dirt(now, compacted_to, last_stable)
    }

    /// Begins a compaction of what `dirt` has just found; `None` where there is nothing to do, or one is under way. Until
    /// [`Partition::compacted`] retention takes no segments away. May read from the disk.
    pub fn compact(&mut self, now: Millis, dirt: &Dirt, limits: Limits) -> io::Result<Option<Compaction<D>>> {
        if self.offline {
            return Err(offline());
        }
        if self.compacting || dirt.first_uncleanable <= dirt.first_dirty {
            return Ok(None);
        }
        let compaction = self.log.begin_compaction(now, dirt, self.producers.last_written(), limits)?;
        self.compacting = true;
        Ok(Some(compaction))
    }

    /// Whether a compaction may go on: the log was not cut since it began, and takes changes.
    pub fn is_compacting(&self, compaction: &Compaction<D>) -> bool {
        self.compacting && !self.offline && !compaction.is_overtaken(self.log.truncations())
    }

    /// Puts the segment that stands by into its place. Answers the files to be removed later, or `None` where the log is not
    /// any more what was compacted: then the compaction is to be discarded. After an error the partition is offline.
    pub fn swap_in(&mut self, now: Millis, compaction: &mut Compaction<D>) -> io::Result<Option<Vec<Unlink>>> {
        if !self.is_compacting(compaction) {
            return Ok(None);
        }
        let swapped = self.log.swap_in(now, compaction);
        self.offline |= swapped.is_err();
        swapped
    }

    /// Gives the segment that was swapped in its names, once those of the old ones are durably gone. After an error the
    /// partition is offline.
    pub fn settle(&mut self) -> io::Result<()> {
        let settled = self.log.settle();
        self.offline |= settled.is_err();
        settled
    }

    /// The compaction under way has ended, well or not.
    pub fn compacted(&mut self) {
        self.compacting = false;
    }
}

#[cfg(test)]
mod tests;
