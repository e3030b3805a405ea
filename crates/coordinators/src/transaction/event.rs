//! What goes into a shard of transactions beside the log, and what comes out of it.

use milena_protocol::{ErrorCode, ProducerId, TopicPartition};

use super::{Context, Request};
use crate::{Marker, ReplyTo};

/// What a shard is asked or told.
#[derive(Debug, Clone)]
pub enum Event {
    /// A request that [`refuse`](super::refuse) let pass.
    Request {
        /// Where the answer goes.
        to: ReplyTo,
        /// In which version.
        context: Context,
        /// What is asked.
        request: Request,
    },
    /// What came of [`Effect::ProducerId`]: an id that nobody else has, or why there is none.
    ProducerId {
        /// For whom.
        transactional_id: String,
        /// The id.
        id: Result<ProducerId, ErrorCode>,
    },
    /// What came of [`Effect::WriteMarkers`].
    Marked {
        /// Whose markers.
        transactional_id: String,
        /// One result for each partition.
        results: Vec<(TopicPartition, Marked)>,
    },
    /// The finalized level of `transaction.version` is another one from now on.
    Level(i8),
}

/// What became of one marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It is written, and safe.
    Written,
    /// The metadata knows no such partition: nobody will ever read a marker there.
    Deleted,
    /// It is not written, or may not be safe. TRANSACTION_COORDINATOR_FENCED and INVALID_PRODUCER_EPOCH are final;
    /// after anything else it is tried again.
    Refused(ErrorCode),
}

/// What a shard wants done outside of it. For one transactional id at most one of them is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A producer id that nobody else has; answered by [`Event::ProducerId`].
    ProducerId {
        /// For whom.
        transactional_id: String,
    },
    /// The end of a transaction, in its partitions; answered by [`Event::Marked`].
    WriteMarkers {
        /// Whose transaction.
        transactional_id: String,
        /// What is written.
        marker: Marker,
        /// Where.
        partitions: Vec<TopicPartition>,
    },
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Transactional ids.
    pub ids: usize,
    /// Open transactions.
    pub ongoing: usize,
    /// Decided ones, whose markers are on their way.
    pub decided: usize,
    /// Records of types and versions that are not known here, skipped in replay.
    pub skipped_records: u64,
}
