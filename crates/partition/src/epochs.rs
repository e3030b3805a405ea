//! Which leader epoch wrote which offsets. It answers where two logs part: the end of an epoch here, compared with
//! a reader's own, tells where to cut.
//!
//! ```text
//! epoch 0        epoch 3          epoch 4
//! |0 ........... |1500 .......... |1720 ....... log end
//! ```
//! Source: `LeaderEpochFileCache` in Kafka 4.3.1, KIP-101, KIP-279.

use milena_protocol::{LeaderEpoch, Offset};

use crate::EpochEnd;

/// Epochs with their first offsets; both grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    starts: Vec<(LeaderEpoch, Offset)>,
    /// What its file says.
    stored: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// From a file's entries, where later ones win over earlier ones that they contradict.
    pub fn from_entries(entries: impl IntoIterator<Item = (LeaderEpoch, Offset)>) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs.stored.clone_from(&epochs.starts);
        epochs
    }

    /// `epoch` begins at `start`, unless that is known. Entries that contradict it go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        let news = match self.starts.last() {
            _ if epoch.0 < 0 || start.0 < 0 => false,
            None => true,
            Some((last, last_start)) => epoch != *last || start < *last_start,
        };
        if news {
            while self.starts.last().is_some_and(|(last, last_start)| *last >= epoch || *last_start >= start) {
                self.starts.pop();
            }
            self.starts.push((epoch, start));
        }
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// First offset of the newest epoch.
    pub fn latest_start(&self) -> Option<Offset> {
        self.starts.last().map(|(_, start)| *start)
    }

    /// All epochs with their first offsets.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.starts
    }

    /// The epoch that wrote `offset`.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let later = self.starts.partition_point(|(_, start)| *start <= offset);
        later.checked_sub(1).map(|at| self.starts[at].0)
    }

    /// Where `epoch` ends: the latest one at the log end, an older one where the next begins. An epoch that is not
    /// there is answered by the largest one below it, one older than all by itself; `None` if it is newer than all,
    /// or none.
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if epoch == LeaderEpoch::NONE {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let higher = self.starts.partition_point(|(known, _)| *known <= epoch);
        let (_, end_offset) = *self.starts.get(higher)?;
        let floor = higher.checked_sub(1).map_or(epoch, |at| self.starts[at].0);
        Some(EpochEnd { epoch: floor, end_offset })
    }

    /// Forgets epochs that begin at or behind `end`.
    pub fn truncate_end(&mut self, end: Offset) {
        self.starts.truncate(self.below(end));
    }

    /// Forgets epochs that end at or before `start`; the one that spans it begins there now.
    pub fn truncate_start(&mut self, start: Offset) {
        let gone = self.starts.partition_point(|(_, begin)| *begin <= start);
        if let Some(last) = gone.checked_sub(1) {
            self.starts[last].1 = start;
            self.starts.drain(..last);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.starts.clear();
    }

    /// What the file is to say, if it says something else; it counts as written from now on. An epoch without a batch
    /// stays out: whoever opens the log cuts it off, and a node that restarts begins one in each of its partitions.
    pub(crate) fn take_unsaved(&mut self, log_end: Offset) -> Option<&[(LeaderEpoch, Offset)]> {
        let worth = &self.starts[..self.below(log_end)];
        if worth == self.stored {
            return None;
        }
        self.stored = worth.to_vec();
        Some(&self.stored)
    }

    /// How many epochs begin below `end`.
    fn below(&self, end: Offset) -> usize {
        self.starts.partition_point(|(_, start)| *start < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs::from_entries(entries.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))))
    }

    fn end(of: &LeaderEpochs, epoch: i32) -> Option<(i32, i64)> {
        of.end_of(LeaderEpoch(epoch), Offset(100)).map(|end| (end.epoch.0, end.end_offset.0))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = epochs(&[(2, 10), (4, 30), (7, 60)]);
        assert_eq!(end(&epochs, 7), Some((7, 100)));
        assert_eq!(end(&epochs, 4), Some((4, 60)));
        assert_eq!(end(&epochs, 5), Some((4, 60)));
        // Older than all: the first offset that is still there.
        assert_eq!(end(&epochs, 1), Some((1, 10)));
        assert_eq!(end(&epochs, 8), None);
        assert_eq!(end(&epochs, -1), None);
    }

    #[test]
    fn a_new_entry_removes_those_it_contradicts() {
        let mut epochs = epochs(&[(2, 10), (4, 30), (7, 60)]);
        epochs.assign(LeaderEpoch(8), Offset(30));
        assert_eq!(epochs.entries(), [(LeaderEpoch(2), Offset(10)), (LeaderEpoch(8), Offset(30))]);
        epochs.assign(LeaderEpoch(8), Offset(40));
        assert_eq!(epochs.latest_start(), Some(Offset(30)));
    }

    #[test]
    fn an_epoch_is_worth_a_write_once_it_has_a_batch() {
        let mut epochs = epochs(&[(2, 10), (4, 30)]);
        epochs.assign(LeaderEpoch(5), Offset(60));
        assert_eq!(epochs.take_unsaved(Offset(60)), None);
        let written = [(LeaderEpoch(2), Offset(10)), (LeaderEpoch(4), Offset(30)), (LeaderEpoch(5), Offset(60))];
        assert_eq!(epochs.take_unsaved(Offset(61)), Some(&written[..]));
        assert_eq!(epochs.take_unsaved(Offset(61)), None);
        epochs.truncate_end(Offset(30));
        assert_eq!(epochs.take_unsaved(Offset(30)), Some(&written[..1]));
    }

    #[test]
    fn truncation_keeps_what_overlaps() {
        let mut epochs = epochs(&[(2, 10), (4, 30), (7, 60)]);
        epochs.truncate_end(Offset(60));
        epochs.truncate_start(Offset(35));
        assert_eq!(epochs.entries(), [(LeaderEpoch(4), Offset(35))]);
        assert_eq!(epochs.epoch_of(Offset(36)), Some(LeaderEpoch(4)));
        assert_eq!(epochs.epoch_of(Offset(34)), None);
    }
}
