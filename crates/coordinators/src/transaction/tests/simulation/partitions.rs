//! Partitions, as far as transactions go: who has records there that no marker has ended, and which epochs are stale.
//!
//! Source: `ProducerAppendInfo`.

use super::producers::Current;
use super::*;

/// What one partition remembers of one producer id.
#[derive(Debug)]
struct Kept {
    epoch: i16,
    markers: usize,
    /// The transactions whose records have no marker yet.
    open: Vec<u64>,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { epoch: -1, markers: 0, open: Vec::new() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Partitions {
    kept: BTreeMap<(i32, i64), Kept>,
}

impl Partitions {
    /// How many markers of the producer the partition has, where `current` is about a record of it.
    pub(super) fn markers(&self, current: &Current, producer_id: i64) -> usize {
        match current.operation {
            Operation::Write { partition, .. } => {
                self.kept.get(&(partition, producer_id)).map_or(0, |kept| kept.markers)
            }
            _ => 0,
        }
    }

    /// A record that the coordinator has vouched for, unless a marker has come between.
    pub(super) fn write(&mut self, instance: u64, partition: i32, (id, epoch): Identity, guard: usize) {
        let kept = self.kept.entry((partition, id)).or_default();
        if epoch >= kept.epoch && guard == kept.markers {
            kept.epoch = epoch;
            kept.open.push(instance);
        }
    }

    pub(super) fn mark(&mut self, history: &mut History, partition: i32, marker: &Marker) -> Marked {
        let kept = self.kept.entry((partition, marker.producer_id.0)).or_default();
        let given = marker.producer_epoch.0;
        let is_repeated = given == kept.epoch && (kept.open.is_empty() || given == i16::MAX);
        let is_stale = match marker.transaction_version {
            2 => given <= kept.epoch && !is_repeated,
            _ => given < kept.epoch,
        };
        if is_stale {
            return Marked::Refused(ErrorCode::InvalidProducerEpoch);
        }
        kept.epoch = given;
        kept.markers += 1;
        for instance in kept.open.drain(..) {
            history.ended(instance, marker.committed);
        }
        Marked::Written
    }

    /// Nobody's records wait for a marker.
    pub(super) fn check_settled(&self) {
        for (at, kept) in &self.kept {
            assert!(kept.open.is_empty(), "{:?} at {at:?} never end", kept.open);
        }
    }
}
