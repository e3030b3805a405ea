//! What a quorum's machine wants done.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::{LeaderEpoch, NodeId, Offset};

use super::{QuorumState, ReplyTo, Request, Response, Voter};
use crate::snapshot::SnapshotId;

/// What the shell is to do, in this order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write `quorum-state`, durably.
    Persist(QuorumState),
    /// Append this control batch (offset and epoch are final), then confirm.
    Append(Bytes),
    /// Append these fetched batches as they are (epochs are in them), then confirm each.
    AppendFetched(Bytes),
    /// Flush the log, then confirm. Other events may come in between.
    Flush,
    /// Cut the log back, then confirm.
    Truncate {
        /// New end.
        end: Offset,
    },
    /// Send a request to a voter.
    Send {
        /// To whom.
        to: Voter,
        /// For the [`Event::Response`](super::Event::Response).
        correlation: u64,
        /// What.
        request: Request,
    },
    /// Answer a request.
    Reply {
        /// Whom.
        to: ReplyTo,
        /// What.
        response: Response,
        /// For a Fetch: read this from the log and put it into the response's only partition.
        records: Option<ReadRange>,
        /// For a FetchSnapshot: read this from the snapshot's file and put it into the response.
        snapshot: Option<SnapshotRange>,
    },
    /// Call `step(Tick)` at this time; replaces an earlier timer.
    Timer(Millis),
    /// Everything below is committed; grows only.
    HighWatermark(Offset),
    /// This node leads, and every record of earlier epochs is committed: the controller may be activated.
    BecameLeader {
        /// Its epoch.
        epoch: LeaderEpoch,
    },
    /// This node leads no more; what it appended without commit may be cut off.
    Resigned,
    /// The leader (or its absence) is known.
    LeaderChanged {
        /// Who, if any.
        leader: Option<NodeId>,
        /// Epoch.
        epoch: LeaderEpoch,
    },
    /// A snapshot is to be fetched to disk and loaded instead of the log: append these bytes of it.
    SnapshotChunk {
        /// Which.
        id: SnapshotId,
        /// Byte position of the chunk.
        position: u64,
        /// The bytes.
        bytes: Bytes,
        /// Whether it is the last: then rename, start the log at `id.end`, load it, confirm with `SnapshotSaved`.
        last: bool,
    },
}

/// Records to be read for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// From this offset.
    pub from: Offset,
    /// To before this one.
    pub end: Offset,
    /// At most so many bytes (but at least one batch).
    pub bytes_max: usize,
}

/// Bytes of a snapshot to be read for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRange {
    /// Which snapshot.
    pub id: SnapshotId,
    /// From this byte.
    pub position: u64,
    /// At most so many.
    pub bytes_max: usize,
}

/// All effects of a step.
pub type Effects = Vec<Effect>;
