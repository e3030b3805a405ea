//! What goes into a shard from its log, and what comes out of one step: values that the shell carries around.

use core::convert::Infallible;

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::{Offset, ProducerEpoch, ProducerId};

/// Names the request that an answer belongs to. The shell chooses it; a shard never looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// A record of an internal topic, ready to be appended: the key starts with the record type, the value with its
/// version (`CoordinatorRecordSerde`). No value means a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// Record type (int16), then the key's fields.
    pub key: Bytes,
    /// Version (int16), then the value's fields; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<R> {
    /// Whose it is. Every request is answered exactly once.
    pub to: ReplyTo,
    /// The answer.
    pub response: R,
    /// The last record that this answer knows of: it must not leave before the high watermark has passed this
    /// offset and every record of its own decision. `None` where nothing was written yet.
    pub written: Option<Offset>,
}

/// What kind of batch a decision is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchKind {
    /// The coordinator's own records.
    #[default]
    Plain,
    /// Records of a transactional producer: they count once its transaction commits. Replayed with it as
    /// [`Origin::producer`].
    InTransaction {
        /// Whose transaction.
        producer_id: ProducerId,
        /// Its epoch.
        producer_epoch: ProducerEpoch,
    },
    /// No records, but the end of a transaction. Replayed as [`Entry::TransactionEnd`].
    Marker(Marker),
}

/// The end of a producer's transaction, as its coordinator decided it.
///
/// Source: `WritableTxnMarker`, `TxnMarkerEntry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The epoch it had; from transaction version 2 on the one that it has next.
    pub producer_epoch: ProducerEpoch,
    /// Epoch of the coordinator that decided: older ones are fenced.
    pub coordinator_epoch: i32,
    /// Whether it was committed; else aborted.
    pub committed: bool,
    /// By which rules the producer's epoch is checked.
    pub transaction_version: i8,
}

/// What follows from one event. The records are one batch, appended with [`Decision::timestamp`] and replayed
/// before the shard is asked anything else.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<R, E = Infallible> {
    /// To be appended together, in this order; often empty.
    pub records: Vec<CoordinatorRecord>,
    /// What kind of batch they are.
    pub kind: BatchKind,
    /// Answers to this request or to ones that were parked. Should the append fail, each gets its error instead.
    pub replies: Vec<Reply<R>>,
    /// To be carried out once the records are safe: see [`Shard::Effect`](crate::Shard::Effect). Should the append
    /// fail, they are dropped.
    pub effects: Vec<E>,
    /// The `now` that the decision was made with: the timestamp of its records.
    pub timestamp: Millis,
}

impl<R, E> Decision<R, E> {
    /// Nothing follows, yet.
    pub fn at(now: Millis) -> Decision<R, E> {
        Decision {
            records: Vec::new(),
            kind: BatchKind::Plain,
            replies: Vec::new(),
            effects: Vec::new(),
            timestamp: now,
        }
    }
}

/// Where an entry stands in the shard's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its offset.
    pub offset: Offset,
    /// The producer of a transactional batch or of a marker; `None` for all that the coordinator writes by itself.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}

/// What a shard's log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record.
    Record(CoordinatorRecord),
    /// The marker that ends the transaction of [`Origin::producer`].
    TransactionEnd {
        /// Whether it was committed; else aborted.
        committed: bool,
    },
}
