//! How the transactions of a log ended, told while one goes through its batches in order. Only decided ones are ever
//! compacted, so that the indexes of aborted transactions say beforehand which records to leave out.
//!
//! Source: `CleanedTransactionMetadata` in Kafka 4.3.1.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use milena_protocol::records::{Batch, BatchError, BatchHeader, ControlRecordType};
use milena_protocol::{Offset, ProducerId};

use crate::transactions::Aborted;

/// A control record is small; more is not inflated.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// The transactions that one is in the midst of.
pub(crate) struct Decided {
    /// Those that begin further on, by first offset.
    ahead: VecDeque<Aborted>,
    /// Those that will be aborted, and whether a batch of theirs was met.
    aborted: BTreeMap<ProducerId, (Aborted, bool)>,
    /// Those that a batch was met of and that will be committed.
    committed: BTreeSet<ProducerId>,
}

/// What becomes of a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// There is nothing left that it decides: it may go, in time.
    Idle,
    /// It committed something that is still there, or decides nothing that compaction knows of.
    Needed,
    /// It aborted something that was still there until now.
    NeededAbort(Aborted),
}

impl Decided {
    /// At the beginning of a walk; `aborted` are the transactions that reach into what is walked over, by first offset.
    pub(crate) fn new(aborted: Vec<Aborted>) -> Decided {
        Decided { ahead: aborted.into(), aborted: BTreeMap::new(), committed: BTreeSet::new() }
    }

    /// The next batch of records. Whether it belongs to an aborted transaction.
    pub(crate) fn pass(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, is_met)) => {
                *is_met = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// The next control batch.
    pub(crate) fn pass_marker(&mut self, batch: &Batch) -> Result<Marker, BatchError> {
        let header = batch.header();
        self.begin_up_to(header.last_offset());
        let Some(record) = batch.records(CONTROL_BYTES_MAX)?.next().transpose()? else {
            // It was emptied by an earlier compaction.
            return Ok(Marker::Idle);
        };
        let producer = header.producer_id;
        Ok(match ControlRecordType::parse(&record.key.unwrap_or_default())? {
            ControlRecordType::Abort => match self.aborted.remove(&producer) {
                Some((aborted, true)) => Marker::NeededAbort(aborted),
                _ => Marker::Idle,
            },
            ControlRecordType::Commit if self.committed.remove(&producer) => Marker::Needed,
            ControlRecordType::Commit => Marker::Idle,
            _ => Marker::Needed,
        })
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(aborted) = self.ahead.pop_front_if(|aborted| aborted.first_offset <= offset) {
            self.aborted.entry(aborted.producer_id).or_insert((aborted, false));
        }
    }
}
