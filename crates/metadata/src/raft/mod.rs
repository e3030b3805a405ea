//! The quorum that agrees on the metadata log: KRaft (KIP-595) with a voter set in the log (KIP-853) and pre-votes
//! (KIP-996), as a pure machine.
//!
//! The shell does the effects **in their order**, each finished before the next; [`Effect::Append`],
//! [`Effect::AppendFetched`], [`Effect::Truncate`] and [`Effect::Flush`] are confirmed by the events of the same names.

mod effect;
mod event;
mod leader;
mod log;
pub mod quorum_state;
mod voters;

use milena_base::Millis;
use milena_protocol::{LeaderEpoch, NodeId, Offset, Uuid};

pub use effect::{Effect, Effects, ReadRange, SnapshotRange};
pub use event::{Event, ReplyTo, Request, Response, Start};
pub use log::EpochStart;
pub use quorum_state::QuorumState;
pub use voters::{Endpoint, Voter};

use leader::Leader;
use log::Log;
use voters::Voters;

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

/// One node's part in the quorum.
#[derive(Debug)]
pub struct Raft {
    options: Options,
    epoch: LeaderEpoch,
    /// Whom this node voted for in this epoch.
    voted: Option<(NodeId, Uuid)>,
    leader: Option<NodeId>,
    role: Role,
    log: Log,
    voters: Voters,
    high_watermark: Option<Offset>,
    /// What the running step wants done.
    effects: Effects,
}

/// What this node does in its epoch.
#[derive(Debug)]
enum Role {
    /// It knows no leader, or is not started.
    Unattached,
    Leader(Leader),
    /// It led this epoch and will not again.
    Resigned,
}

impl Raft {
    /// Not started.
    pub fn new(options: Options) -> Raft {
        Raft {
            options,
            epoch: LeaderEpoch(0),
            voted: None,
            leader: None,
            role: Role::Unattached,
            log: Log::default(),
            voters: Voters::new(Vec::new(), Vec::new()),
            high_watermark: None,
            effects: Effects::new(),
        }
    }

    /// Decides what follows from an event.
    pub fn step(&mut self, now: Millis, event: Event) -> Effects {
        match event {
            Event::Started(start) => self.started(now, start),
            Event::Appended { epoch, base, end, voters } => {
                self.log.appended(epoch, base, end);
                if let Some(voters) = voters {
                    // Nobody reads the batch again: its last record is close enough.
                    self.voters.add(Offset(end.0 - 1), voters);
                }
                self.effects.push(Effect::Flush);
            }
            Event::Truncated { end } => {
                self.log.truncated(end);
                self.voters.truncate(end);
            }
            Event::Flushed { end } => {
                self.log.flushed = self.log.flushed.max(end.min(self.log.end));
                self.advance_high_watermark();
            }
            Event::SnapshotSaved { id, log_start } => {
                self.log.snapshot = self.log.snapshot.max(Some(id));
                self.log.start = log_start;
            }
            Event::Resign => self.resign(),
            Event::Tick | Event::Request { .. } | Event::Response { .. } => {}
        }
        std::mem::take(&mut self.effects)
    }

    /// The epoch of the leadership; `None` where this node does not lead. A leader's shell may append data batches
    /// with this epoch at the log end, and confirms them with [`Event::Appended`].
    pub fn leading(&self) -> Option<LeaderEpoch> {
        matches!(self.role, Role::Leader(_)).then_some(self.epoch)
    }

    /// The leader, if known.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The current epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Next offset of the log.
    pub fn log_end(&self) -> Offset {
        self.log.end
    }

    /// Everything below is committed; `None` while that is not known.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The voters in force.
    pub fn voters(&self) -> &[Voter] {
        self.voters.in_force()
    }

    fn started(&mut self, now: Millis, start: Start) {
        self.log = Log::new(&start);
        self.voters = Voters::new(start.static_voters, start.voters);
        let last = self.log.last_epoch();
        match start.state {
            Some(state) if state.epoch >= last => {
                (self.epoch, self.voted, self.leader) = (state.epoch, state.voted, state.leader);
            }
            // Records of an epoch that was never promised: the file is older than the log.
            _ => self.epoch = last,
        }
        if self.is_only_voter() {
            self.epoch = LeaderEpoch(self.epoch.0 + 1);
            self.voted = Some((self.options.node, self.options.directory));
            self.leader = None;
            self.persist();
            self.lead(now, &[self.options.node]);
        }
    }

    fn is_only_voter(&self) -> bool {
        matches!(self.voters.in_force(), [voter] if voter.is(self.options.node, self.options.directory))
    }

    fn persist(&mut self) {
        let voters = self.voters.in_force().iter().map(|voter| voter.id).collect();
        let state = QuorumState { epoch: self.epoch, leader: self.leader, voted: self.voted, static_voters: voters };
        self.effects.push(Effect::Persist(state));
    }
}

#[cfg(test)]
mod tests;
