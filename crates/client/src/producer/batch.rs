//! A batch on its way: filled, sealed, sent, perhaps sent again.

use bytes::{Bytes, BytesMut};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions, HEADER_BYTES, recompute_crc};
use milena_protocol::{ProducerEpoch, ProducerId, Sequence, TopicPartition};
use tokio::sync::watch;
use tokio::time::Instant;

use super::delivery::{Appended, Outcome};
use crate::Error;

/// Who the broker thinks we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

impl Identity {
    /// A producer without idempotence, or one that has no id yet.
    pub(crate) const NONE: Identity = Identity { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
}

/// Records of one partition that succeed or fail together.
pub(super) struct Batch {
    /// Counts the batches of the producer; gives the order within a partition.
    pub(super) number: u64,
    pub(super) partition: TopicPartition,
    pub(super) contents: Contents,
    pub(super) record_count: i32,
    /// Given when it is sent first, and kept over retries.
    pub(super) sequence: Option<Sequence>,
    /// How often it was sent.
    pub(super) attempts: u32,
    pub(super) opened: Instant,
    /// Not to be sent again before.
    pub(super) not_before: Instant,
    /// Memory to be given back.
    pub(super) reserved_bytes: usize,
    pub(super) outcome: watch::Sender<Outcome>,
}

/// A batch's records.
pub(super) enum Contents {
    Open(BatchBuilder),
    /// Encoded for nobody; [`Batch::encode`] stamps who sends it.
    Sealed(Bytes),
}

impl Batch {
    /// The batch as it goes over the wire, compressed once.
    pub(super) fn encode(&mut self, options: &BatchOptions, identity: Identity) -> Result<Bytes, Error> {
        if let Contents::Open(builder) = &mut self.contents {
            let sealed = std::mem::take(builder).build(options).map_err(|error| Error::Batch {
                what: format!("a batch for {}", self.partition),
                reason: error.to_string(),
            })?;
            self.contents = Contents::Sealed(sealed);
        }
        let Contents::Sealed(sealed) = &self.contents else { unreachable!("sealed just now") };
        match self.sequence {
            None => Ok(sealed.clone()),
            Some(sequence) => Ok(stamped(sealed, identity, sequence)),
        }
    }

    /// Tells every record's delivery. That nobody listens is no concern of ours.
    pub(super) fn resolve(&self, result: Result<Appended, Error>) {
        self.outcome.send_replace(Some(result));
    }
}

/// The same batch with a producer and a sequence in its header, and the checksum that follows from it.
fn stamped(batch: &Bytes, identity: Identity, sequence: Sequence) -> Bytes {
    let header = BatchHeader::decode(batch).expect("we built it");
    let header =
        BatchHeader { producer_id: identity.id, producer_epoch: identity.epoch, base_sequence: sequence, ..header };
    let mut copy = BytesMut::from(&batch[..]);
    copy[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    recompute_crc(&mut copy);
    copy.freeze()
}
