//! The quorum that agrees on the metadata log: KRaft (KIP-595) with a voter set in the log (KIP-853) and pre-votes
//! (KIP-996), as a pure machine.
//!
//! The shell does the effects **in their order**, each finished before the next; [`Effect::Append`],
//! [`Effect::AppendFetched`], [`Effect::Truncate`] and [`Effect::Flush`] are confirmed by the events of the same names.

mod effect;
mod election;
mod event;
mod follow;
mod leader;
mod links;
mod log;
pub mod quorum_state;
mod resign;
mod roles;
mod serve;
mod voters;
mod wire;

use milena_base::{Millis, Random};
use milena_protocol::messages::VoteRequest;
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

pub use effect::{Effect, Effects, ReadRange, SnapshotRange};
pub use event::{Event, ReplyTo, Request, Response, Start};
pub use log::EpochStart;
pub use quorum_state::QuorumState;
pub use voters::{Endpoint, Voter};

use links::{Asked, Links};
use log::Log;
use roles::Role;
use voters::Voters;
use wire::{Answer, Standing};

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
    random: Random,
    epoch: LeaderEpoch,
    /// Whom this node voted for in this epoch.
    voted: Option<(NodeId, Uuid)>,
    /// Who leads this epoch. Where it is reached may be unknown.
    leader: Option<Voter>,
    role: Role,
    log: Log,
    voters: Voters,
    high_watermark: Option<Offset>,
    links: Links,
    /// Who asked for a vote while the log was not on disk.
    waiting_votes: Vec<(ReplyTo, VoteRequest)>,
    is_stopping: bool,
    /// The leader and epoch that were told last.
    told: (Option<NodeId>, LeaderEpoch),
    armed: Option<Millis>,
    /// What the running step wants done.
    effects: Effects,
}

impl Raft {
    /// Not started.
    pub fn new(options: Options) -> Raft {
        Raft {
            random: Random::from_seed(options.seed),
            options,
            epoch: LeaderEpoch(0),
            voted: None,
            leader: None,
            role: Role::Unattached { election_at: Millis::MAX },
            log: Log::default(),
            voters: Voters::new(Vec::new(), Vec::new()),
            high_watermark: None,
            links: Links::default(),
            waiting_votes: Vec::new(),
            is_stopping: false,
            told: (None, LeaderEpoch(0)),
            armed: None,
            effects: Effects::new(),
        }
    }

    /// Decides what follows from an event.
    pub fn step(&mut self, now: Millis, event: Event) -> Effects {
        match event {
            Event::Started(start) => self.started(now, start),
            Event::Tick => self.armed = None,
            Event::Appended { epoch, base, end, voters } => {
                self.log.appended(epoch, base, end);
                if let Some(voters) = voters {
                    // Nobody reads the batch again: its last record is close enough.
                    self.voters.add(Offset(end.0 - 1), voters);
                }
                self.follow_high_watermark();
                self.effects.push(Effect::Flush);
            }
            Event::Truncated { end } => {
                self.log.truncated(end);
                self.voters.truncate(end);
            }
            Event::Flushed { end } => {
                self.log.flushed(end);
                self.advance_high_watermark();
                self.answer_waiting_votes(now);
            }
            Event::SnapshotSaved { id, log_start } => self.snapshot_saved(id, log_start),
            Event::Request { reply_to, request } => self.asked(now, reply_to, request),
            Event::Response { correlation, response } => self.answered(now, correlation, response),
            Event::Resign => {
                self.is_stopping = true;
                self.resign(now);
            }
        }
        self.poll(now);
        self.tell_leader();
        self.arm(now);
        std::mem::take(&mut self.effects)
    }

    /// The epoch of the leadership; `None` where this node does not lead. A leader's shell may append data batches
    /// with this epoch at the log end, and confirms them with [`Event::Appended`].
    pub fn leading(&self) -> Option<LeaderEpoch> {
        matches!(self.role, Role::Leader(_)).then_some(self.epoch)
    }

    /// The leader, if known.
    pub fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Resigned(_) => None,
            _ => self.leader.as_ref().map(|leader| leader.id),
        }
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

    /// What must hold between any two steps.
    ///
    /// # Panics
    /// If it does not: a mistake of ours.
    pub fn check(&self) {
        self.log.check();
        assert!(self.high_watermark <= Some(self.log.end), "committed beyond the log: {self:?}");
        let is_own = self.leader.as_ref().is_some_and(|leader| leader.id == self.options.node);
        match &self.role {
            Role::Leader(leader) => assert!(is_own && leader.start < self.log.end.next(), "{self:?}"),
            Role::Follower(_) => assert!(self.leader.is_some() && !is_own, "{self:?}"),
            Role::Candidate(_) => assert_eq!(self.voted, Some((self.options.node, self.options.directory))),
            Role::Unattached { .. } | Role::Prospective(_) => assert!(!is_own, "{self:?}"),
            Role::Resigned(_) => {}
        }
    }

    fn started(&mut self, now: Millis, start: Start) {
        self.log = Log::new(&start);
        self.voters = Voters::new(start.static_voters, start.voters);
        let last = self.log.last_epoch();
        let mut leader = None;
        match start.state {
            Some(state) if state.epoch >= last => {
                (self.epoch, self.voted, leader) = (state.epoch, state.voted, state.leader);
            }
            // Records of an epoch that was never promised: the file is older than the log.
            _ => self.epoch = last,
        }
        let own = (self.options.node, self.options.directory);
        if let [voter] = self.voters.in_force()
            && voter.is(own.0, own.1)
        {
            // Nobody to wait for.
            self.role = Role::Unattached { election_at: now };
        } else if leader == Some(own.0) {
            self.leader = Some(self.own_voter());
            self.rest(now, Vec::new());
        } else if let Some(leader) = leader.and_then(|leader| self.locate(leader, None)) {
            self.become_follower(now, self.epoch, leader);
        } else {
            self.leader = leader.map(|id| Voter { id, directory: Uuid::ZERO, endpoints: Vec::new() });
            self.role = Role::Unattached { election_at: self.election_timeout(now) };
        }
    }

    fn asked(&mut self, now: Millis, reply_to: ReplyTo, request: Request) {
        match request {
            Request::Vote(request) => self.vote_asked(now, reply_to, request),
            Request::BeginQuorumEpoch(request) => self.begin_announced(now, reply_to, &request),
            Request::EndQuorumEpoch(request) => self.end_announced(now, reply_to, &request),
            Request::Fetch(request) => self.fetch_asked(now, reply_to, &request),
            Request::FetchSnapshot(request) => self.snapshot_asked(now, reply_to, &request),
        }
    }

    fn answered(&mut self, now: Millis, correlation: u64, response: Result<Response, ErrorCode>) {
        let Some((from, asked)) = self.links.answered(correlation) else { return };
        let is_fine = match (asked, response) {
            (Asked::Vote, Ok(Response::Vote(response))) => self.vote_answered(now, from, &response),
            (Asked::Vote, Err(ErrorCode::UnsupportedVersion)) => self.skip_pre_vote(),
            (Asked::BeginQuorumEpoch, Ok(Response::BeginQuorumEpoch(response))) => self.begin_answered(now, &response),
            (Asked::EndQuorumEpoch, Ok(Response::EndQuorumEpoch(response))) => self.end_answered(now, from, &response),
            (Asked::Fetch, Ok(Response::Fetch(response))) => self.fetch_answered(now, from, response),
            (Asked::FetchSnapshot, Ok(Response::FetchSnapshot(response))) => self.snapshot_answered(now, response),
            _ => false,
        };
        if !is_fine {
            self.links.back_off(from, now + Millis(self.options.retry_backoff_ms));
        }
    }

    /// What any answer says about epoch and leader. `Some` if that is all there is to it: whether the node may be
    /// asked again at once.
    ///
    /// Source: `KafkaRaftClient.maybeHandleCommonResponse`.
    fn heed(&mut self, now: Millis, answer: &Answer) -> Option<bool> {
        if answer.epoch < self.epoch || answer.error == ErrorCode::UnknownLeaderEpoch {
            // It will learn of this epoch, but not from us.
            return Some(false);
        }
        let is_stale = matches!(answer.error, ErrorCode::FencedLeaderEpoch | ErrorCode::NotLeaderOrFollower);
        if answer.epoch > self.epoch || is_stale {
            let before = (self.epoch, self.leader());
            self.hear(now, answer.leader, answer.epoch, answer.endpoint.clone());
            return Some(before != (self.epoch, self.leader()));
        }
        if answer.leader.is_some() && self.leader.is_none() {
            self.hear(now, answer.leader, answer.epoch, answer.endpoint.clone());
        }
        None
    }

    /// A leader's own words.
    fn hear_leader(
        &mut self,
        now: Millis,
        leader: NodeId,
        epoch: LeaderEpoch,
        endpoint: Option<Endpoint>,
    ) -> ErrorCode {
        if epoch < self.epoch {
            return ErrorCode::FencedLeaderEpoch;
        }
        if leader.0 < 0 || !self.hear(now, Some(leader), epoch, endpoint) {
            return ErrorCode::InvalidRequest;
        }
        ErrorCode::None
    }

    /// Somebody says who leads an epoch that is not earlier than ours. `false` if that cannot be.
    fn hear(&mut self, now: Millis, leader: Option<NodeId>, epoch: LeaderEpoch, endpoint: Option<Endpoint>) -> bool {
        let known = self.leader.as_ref().map(|leader| leader.id);
        let is_possible = match leader {
            Some(leader) if leader == self.options.node => return matches!(self.role, Role::Leader(_)),
            Some(_) if epoch == self.epoch && known.is_some() => leader == known,
            _ => true,
        };
        let is_follower = matches!(self.role, Role::Follower(_));
        match leader.map(|id| (id, self.locate(id, endpoint))) {
            _ if !is_possible => {}
            None if epoch > self.epoch => self.become_unattached(now, epoch, None),
            None => {}
            Some((_, Some(leader))) if epoch > self.epoch || known.is_none() || !is_follower && known.is_some() => {
                self.become_follower(now, epoch, leader);
            }
            Some((id, None)) if epoch > self.epoch => {
                let leader = Voter { id, directory: Uuid::ZERO, endpoints: Vec::new() };
                self.become_unattached(now, epoch, Some(leader));
            }
            Some(_) => {}
        }
        is_possible
    }

    /// Where a leader is reached: as it was just said, or as the voters say.
    fn locate(&self, id: NodeId, endpoint: Option<Endpoint>) -> Option<Voter> {
        let known = self.voters.in_force().iter().find(|voter| voter.id == id).cloned();
        match (known, endpoint) {
            (Some(voter), endpoint) if endpoint.is_none() || !voter.endpoints.is_empty() => Some(voter),
            (known, Some(endpoint)) => {
                let directory = known.map_or(Uuid::ZERO, |voter| voter.directory);
                Some(Voter { id, directory, endpoints: vec![endpoint] })
            }
            (_, None) => None,
        }
    }

    fn check_cluster(&self, cluster: Option<&str>) -> Result<(), ErrorCode> {
        match cluster {
            Some(cluster) if cluster != self.options.cluster_id => Err(ErrorCode::InconsistentClusterId),
            _ => Ok(()),
        }
    }

    /// Whether a request is meant for this node; those of early versions do not say.
    fn is_own_key(&self, (id, directory): (i32, Uuid)) -> bool {
        id < 0 || id == self.options.node.0 && (directory == Uuid::ZERO || directory == self.options.directory)
    }

    fn is_voter(&self) -> bool {
        self.is_voting((self.options.node, self.options.directory))
    }

    fn is_voting(&self, (id, directory): (NodeId, Uuid)) -> bool {
        self.voters.in_force().iter().any(|voter| voter.is(id, directory))
    }

    fn other_voters(&self) -> Vec<Voter> {
        self.voters.in_force().iter().filter(|voter| voter.id != self.options.node).cloned().collect()
    }

    fn own_voter(&self) -> Voter {
        let known = self.voters.in_force().iter().find(|voter| voter.id == self.options.node);
        let endpoints = match self.options.endpoints.is_empty() {
            true => known.map_or_else(Vec::new, |voter| voter.endpoints.clone()),
            false => self.options.endpoints.clone(),
        };
        Voter { id: self.options.node, directory: self.options.directory, endpoints }
    }

    fn standing(&self) -> Standing {
        let leader = self.leader.clone().filter(|_| !matches!(self.role, Role::Resigned(_)));
        Standing { epoch: self.epoch, leader }
    }

    fn raise_high_watermark(&mut self, to: Offset) {
        if self.high_watermark.unwrap_or(Offset(0)) < to {
            self.high_watermark = Some(to);
            self.effects.push(Effect::HighWatermark(to));
        }
    }

    fn send(&mut self, now: Millis, to: Voter, asked: Asked, request: Request) {
        let correlation = self.links.sent(to.id, asked, now + Millis(self.options.request_timeout_ms));
        self.effects.push(Effect::Send { to, correlation, request });
    }

    fn reply(&mut self, to: ReplyTo, response: Response) {
        self.effects.push(Effect::Reply { to, response, records: None, snapshot: None });
    }

    fn tell_leader(&mut self) {
        let (leader, epoch) = (self.leader(), self.epoch);
        if self.told != (leader, epoch) {
            self.told = (leader, epoch);
            self.effects.push(Effect::LeaderChanged { leader, epoch });
        }
    }

    fn arm(&mut self, now: Millis) {
        let next = self.next_deadline(now);
        if let Some(at) = next.filter(|_| next != self.armed) {
            self.armed = next;
            self.effects.push(Effect::Timer(at));
        }
    }
}

#[cfg(test)]
mod tests;
