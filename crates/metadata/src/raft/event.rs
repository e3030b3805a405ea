//! What a quorum's machine is told.

use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, VoteRequest, VoteResponse, VotersRecord,
};
use milena_protocol::{ErrorCode, LeaderEpoch, Offset};

use super::{EpochStart, QuorumState, Voter};
use crate::snapshot::SnapshotId;

/// What was found on disk.
#[derive(Debug, Clone)]
pub struct Start {
    /// `quorum-state`; `None` if there is no file.
    pub state: Option<QuorumState>,
    /// First offset of the log.
    pub log_start: Offset,
    /// Next offset of the log; everything below is on disk.
    pub log_end: Offset,
    /// Where each epoch of the log begins.
    pub epochs: Vec<EpochStart>,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotId>,
    /// `controller.quorum.voters`; empty for a dynamic quorum.
    pub static_voters: Vec<Voter>,
    /// Voters of the snapshot, and of each VotersRecord in the log with its offset, oldest first.
    pub voters: Vec<(Offset, VotersRecord)>,
}

/// A request from another node.
#[derive(Debug, Clone)]
pub enum Request {
    /// Asks for a vote or a pre-vote.
    Vote(VoteRequest),
    /// A leader announces itself.
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    /// A leader steps down.
    EndQuorumEpoch(EndQuorumEpochRequest),
    /// A follower or observer reads the log.
    Fetch(FetchRequest),
    /// A follower or observer reads a snapshot.
    FetchSnapshot(FetchSnapshotRequest),
}

/// An answer to another node, or from one.
#[derive(Debug, Clone)]
pub enum Response {
    /// See [`Request::Vote`].
    Vote(VoteResponse),
    /// See [`Request::BeginQuorumEpoch`].
    BeginQuorumEpoch(BeginQuorumEpochResponse),
    /// See [`Request::EndQuorumEpoch`].
    EndQuorumEpoch(EndQuorumEpochResponse),
    /// See [`Request::Fetch`].
    Fetch(FetchResponse),
    /// See [`Request::FetchSnapshot`].
    FetchSnapshot(FetchSnapshotResponse),
}

/// Whom an answer belongs to: a token of the shell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What happens to the machine.
#[derive(Debug, Clone)]
pub enum Event {
    /// First of all.
    Started(Start),
    /// The armed timer.
    Tick,
    /// One batch is in the log (not yet on disk): the leader's own, control batches and fetched ones alike.
    Appended {
        /// Epoch of the batch.
        epoch: LeaderEpoch,
        /// Its first offset.
        base: Offset,
        /// The offset after it.
        end: Offset,
        /// The voters that it names, if it holds a VotersRecord.
        voters: Option<VotersRecord>,
    },
    /// The log was cut back.
    Truncated {
        /// Its new end.
        end: Offset,
    },
    /// Everything below is on disk.
    Flushed {
        /// The offset after the last durable record.
        end: Offset,
    },
    /// A snapshot is on disk; older segments may be gone.
    SnapshotSaved {
        /// Which.
        id: SnapshotId,
        /// First offset of the log now.
        log_start: Offset,
    },
    /// A request of another node.
    Request {
        /// Whom to answer.
        reply_to: ReplyTo,
        /// What it asks.
        request: Request,
    },
    /// The answer to an [`Effect::Send`](super::Effect::Send).
    Response {
        /// Number of the sent request.
        correlation: u64,
        /// What came back; an error for no answer at all (disconnected, timed out).
        response: Result<Response, ErrorCode>,
    },
    /// This node is to stop leading (it shuts down).
    Resign,
}
