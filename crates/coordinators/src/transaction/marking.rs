//! How far the markers of a decided transaction are. Nothing of it is written down: after a reload every partition gets
//! its marker again, which does no harm.
//!
//! Source: `TransactionMarkerChannelManager`, `TransactionMarkerRequestCompletionHandler`.

use std::collections::BTreeSet;

use milena_base::Millis;
use milena_protocol::{ErrorCode, TopicPartition};

use super::event::Marked;

/// Pause before partitions that have no marker yet are tried again, and before a completion that could not be written
/// is written again.
pub(super) const RETRY_AFTER: Millis = Millis(100);
/// Transactions of one shard whose markers are being written at the same time; further ones wait their turn.
pub(super) const UNDER_WAY_MAX: usize = 1_000;

/// The markers of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marking {
    /// The partitions that have none yet.
    pub(super) left: BTreeSet<TopicPartition>,
    /// Whether the shell is at it.
    pub(super) is_under_way: bool,
    /// A newer coordinator, or a newer producer, has been there. Whoever loads the log next tries again.
    pub(super) is_given_up: bool,
}

impl Marking {
    pub(super) fn of(partitions: &BTreeSet<TopicPartition>) -> Marking {
        Marking { left: partitions.clone(), is_under_way: false, is_given_up: false }
    }

    /// The shell is back from writing markers.
    pub(super) fn came_back(&mut self, results: Vec<(TopicPartition, Marked)>) {
        self.is_under_way = false;
        for (partition, marked) in results {
            match marked {
                // Trap 160: a deleted topic must not keep a transaction open.
                Marked::Written | Marked::Deleted => drop(self.left.remove(&partition)),
                Marked::Refused(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => {
                    self.is_given_up = true;
                }
                Marked::Refused(_) => {}
            }
        }
    }
}
