//! The quorum that agrees on the metadata log: KRaft (KIP-595) with a voter set in the log (KIP-853) and pre-votes
//! (KIP-996), as a pure machine.
//!
//! The shell does the effects **in their order**, each finished before the next; [`Effect::Append`],
//! [`Effect::AppendFetched`], [`Effect::Truncate`] and [`Effect::Flush`] are confirmed by the events of the same names.

pub mod quorum_state;

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, VoteRequest, VoteResponse, VotersRecord,
};
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

pub use quorum_state::QuorumState;

use crate::snapshot::SnapshotId;

/// What the machine is told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node.
    pub node: NodeId,
    /// Its metadata log directory.
    pub directory: Uuid,
    /// Where voters reach this node, as written into a VotersRecord.
    pub endpoints: Vec<Endpoint>,
    /// `controller.quorum.election.timeout.ms`
    pub election_timeout_ms: i64,
    /// `controller.quorum.fetch.timeout.ms`
    pub fetch_timeout_ms: i64,
    /// `controller.quorum.request.timeout.ms`
    pub request_timeout_ms: i64,
    /// `controller.quorum.retry.backoff.ms`
    pub retry_backoff_ms: i64,
    /// For the spread of election timeouts.
    pub seed: u64,
}

/// Where a voter is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its id.
    pub id: NodeId,
    /// Its directory; zero where not known (static quorums).
    pub directory: Uuid,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
}

/// The first epoch's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start: Offset,
}

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
    /// The answer to an [`Effect::Send`].
    Response {
        /// Number of the sent request.
        correlation: u64,
        /// What came back; an error for no answer at all (disconnected, timed out).
        response: Result<Response, ErrorCode>,
    },
    /// This node is to stop leading (it shuts down).
    Resign,
}

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
        /// For the [`Event::Response`].
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

/// One node's part in the quorum.
#[derive(Debug)]
pub struct Raft {
    options: Options,
}

impl Raft {
    /// Not started.
    pub fn new(options: Options) -> Raft {
        Raft { options }
    }

    /// Decides what follows from an event.
    pub fn step(&mut self, now: Millis, event: Event) -> Effects {
        todo!()
    }

    /// The epoch of the leadership; `None` where this node does not lead. A leader's shell may append data batches
    /// with this epoch at the log end, and confirms them with [`Event::Appended`].
    pub fn leading(&self) -> Option<LeaderEpoch> {
        todo!()
    }

    /// The leader, if known.
    pub fn leader(&self) -> Option<NodeId> {
        todo!()
    }

    /// The current epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        todo!()
    }

    /// Next offset of the log.
    pub fn log_end(&self) -> Offset {
        todo!()
    }

    /// Everything below is committed; `None` while that is not known.
    pub fn high_watermark(&self) -> Option<Offset> {
        todo!()
    }

    /// The voters in force.
    pub fn voters(&self) -> &[Voter] {
        todo!()
    }
}
