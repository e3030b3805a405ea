//! What a node does in its epoch, and how it gets from one role to another.
//!
//! ```text
//!                 timeout            majority would          majority voted
//! Unattached ──────────────► Prospective ──────► Candidate ──────────────► Leader ──► Resigned
//!      ▲  └─ leader heard ─► Follower ─┘ timeout     │ timeout: Prospective    (a later epoch: Unattached)
//!      └──────────────────────── a later epoch ──────┴──────────────────────────────────
//! ```
//! An observer (not a voter) is Unattached or Follower only. Whatever changes epoch, vote or leader is persisted
//! before anything that follows from it leaves this node.
//!
//! Source: `QuorumState`.

use milena_base::Millis;
use milena_protocol::LeaderEpoch;

use super::election::Ballot;
use super::follow::Follower;
use super::leader::Leader;
use super::resign::Resigned;
use super::{Effect, QuorumState, Raft, Voter};

#[derive(Debug)]
pub(crate) enum Role {
    /// It knows no leader that it could fetch from.
    Unattached {
        election_at: Millis,
    },
    /// It asks who would vote for it, and promises nothing yet (KIP-996).
    Prospective(Ballot),
    /// It voted for itself.
    Candidate(Ballot),
    Leader(Leader),
    Follower(Follower),
    /// It led this epoch and will not again: what it wrote last may be lost, and no offset is given twice in an epoch.
    Resigned(Resigned),
}

impl Raft {
    /// Everything that is due: changes of role first, then requests to others.
    pub(crate) fn poll(&mut self, now: Millis) {
        // No way leads through more roles than there are before one waits.
        for _ in 0..8 {
            if !self.advance(now) {
                break;
            }
        }
        match &self.role {
            Role::Unattached { .. } => self.fetch_from_any(now),
            Role::Prospective(_) | Role::Candidate(_) => self.ask_for_votes(now),
            Role::Follower(_) => self.fetch_from_leader(now),
            Role::Leader(_) => self.look_after_followers(now),
            Role::Resigned(_) => self.say_goodbye(now),
        }
    }

    /// Whether it took one step to another role.
    fn advance(&mut self, now: Millis) -> bool {
        let (is_won, is_lost, until) = match &self.role {
            Role::Prospective(ballot) | Role::Candidate(ballot) => (ballot.is_won(), ballot.is_lost(), ballot.until),
            _ => (false, false, Millis::MAX),
        };
        match &self.role {
            Role::Unattached { election_at } if *election_at <= now && self.may_campaign() => {
                self.become_prospective(now)
            }
            Role::Prospective(_) if is_won && self.may_campaign() => return self.become_candidate(now),
            Role::Prospective(_) if is_lost || until <= now => self.give_up(now),
            Role::Candidate(_) if is_won => self.become_leader(now),
            Role::Candidate(_) if until <= now && self.may_campaign() => self.become_prospective(now),
            Role::Follower(follower) if follower.fetch_by <= now && self.may_campaign() => self.become_prospective(now),
            Role::Leader(leader) if leader.check_at <= now => self.resign(now),
            Role::Resigned(resigned) if resigned.until <= now && !self.is_stopping => return self.leave_resigned(now),
            _ => return false,
        }
        true
    }

    /// A vote for itself speaks for its log, so that must be on disk.
    fn may_campaign(&self) -> bool {
        self.is_voter() && !self.is_stopping && self.log.is_settled()
    }

    /// The times at which [`Raft::poll`] may find something to do.
    pub(crate) fn next_deadline(&self, now: Millis) -> Option<Millis> {
        let own = match &self.role {
            Role::Unattached { election_at } => self.is_voter().then_some(*election_at),
            Role::Prospective(ballot) | Role::Candidate(ballot) => Some(ballot.until),
            Role::Follower(follower) => Some(follower.fetch_by),
            Role::Leader(leader) => leader.next_deadline(),
            Role::Resigned(resigned) => Some(resigned.until),
        };
        let links = self.links.next_ready(now).filter(|_| !matches!(self.role, Role::Leader(_)));
        own.into_iter().chain(links).filter(|at| *at > now && *at < Millis::MAX).min()
    }

    pub(crate) fn become_unattached(&mut self, now: Millis, epoch: LeaderEpoch, leader: Option<Voter>) {
        let election_at = match &self.role {
            Role::Unattached { election_at } => *election_at,
            Role::Candidate(ballot) => ballot.until,
            Role::Prospective(ballot) if !ballot.is_lost() => ballot.until,
            Role::Resigned(resigned) => resigned.until,
            _ => self.election_timeout(now),
        };
        self.leave(Role::Unattached { election_at });
        self.enter(epoch);
        self.leader = leader;
        self.persist();
    }

    pub(crate) fn become_follower(&mut self, now: Millis, epoch: LeaderEpoch, leader: Voter) {
        let fetch_by = now + Millis(self.options.fetch_timeout_ms);
        self.leave(Role::Follower(Follower::new(fetch_by)));
        self.enter(epoch);
        self.leader = Some(leader);
        self.persist();
    }

    fn become_prospective(&mut self, now: Millis) {
        let ballot = self.ballot(now);
        self.leave(Role::Prospective(ballot));
    }

    /// `false` where no later epoch exists.
    fn become_candidate(&mut self, now: Millis) -> bool {
        let Some(epoch) = self.epoch.0.checked_add(1) else { return false };
        let ballot = self.ballot(now);
        self.leave(Role::Candidate(ballot));
        self.enter(LeaderEpoch(epoch));
        self.voted = Some((self.options.node, self.options.directory));
        self.persist();
        true
    }

    /// Not enough would vote for this node.
    fn give_up(&mut self, now: Millis) {
        match self.leader.clone().filter(|leader| !leader.endpoints.is_empty()) {
            Some(leader) => self.become_follower(now, self.epoch, leader),
            None => self.become_unattached(now, self.epoch, self.leader.clone()),
        }
    }

    fn leave_resigned(&mut self, now: Millis) -> bool {
        let Some(epoch) = self.epoch.0.checked_add(1) else { return false };
        self.become_unattached(now, LeaderEpoch(epoch), None);
        true
    }

    /// Gives up what belongs to the role, and takes on the next.
    pub(crate) fn leave(&mut self, next: Role) {
        let left = std::mem::replace(&mut self.role, next);
        self.links.reset();
        if let Role::Leader(leader) = left {
            // Who resigned remembers that this epoch was its own.
            self.leader = self.leader.take().filter(|_| matches!(self.role, Role::Resigned(_)));
            self.effects.push(Effect::Resigned);
            self.refuse_parked(leader.parked);
        }
    }

    /// A vote holds for its epoch only.
    fn enter(&mut self, epoch: LeaderEpoch) {
        debug_assert!(epoch >= self.epoch, "epochs never go back");
        if epoch > self.epoch {
            (self.epoch, self.voted, self.leader) = (epoch, None, None);
        }
    }

    pub(crate) fn persist(&mut self) {
        let state = QuorumState {
            epoch: self.epoch,
            leader: self.leader.as_ref().map(|leader| leader.id),
            voted: self.voted,
            static_voters: self.voters.in_force().iter().map(|voter| voter.id).collect(),
        };
        // Nothing has left this node since the last one: one write does for both.
        match self.effects.last_mut() {
            Some(Effect::Persist(last)) => *last = state,
            _ => self.effects.push(Effect::Persist(state)),
        }
    }

    /// A random point between one and two election timeouts from now.
    pub(crate) fn election_timeout(&mut self, now: Millis) -> Millis {
        let timeout = self.options.election_timeout_ms.max(0);
        now + Millis(timeout + self.random.below(timeout as u64) as i64)
    }
}
