//! Votes and pre-votes, from both sides.
//!
//! Source: `KafkaRaftClient.handleVoteRequest`, `handleVoteResponse`, `EpochElection`; pre-votes: KIP-996.

use milena_base::Millis;
use milena_protocol::messages::{VoteRequest, VoteResponse};
use milena_protocol::{ErrorCode, NodeId, Uuid};

use super::links::Asked;
use super::log::EpochEnd;
use super::roles::Role;
use super::wire::{self, VoteAsk};
use super::{Raft, ReplyTo, Request, Response, Voter};

/// Votes that wait for the log to be flushed; beyond it they are refused, and asked for again.
const WAITING_VOTES_MAX: usize = 64;

/// An election, or the question how one would end.
#[derive(Debug)]
pub(crate) struct Ballot {
    voters: Vec<(Voter, Option<bool>)>,
    pub(crate) until: Millis,
}

impl Ballot {
    pub(crate) fn is_won(&self) -> bool {
        self.count(Some(true)) >= self.majority()
    }

    /// Whether those who have not answered cannot turn it any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.count(Some(true)) + self.count(None) < self.majority()
    }

    pub(crate) fn granting(&self) -> Vec<NodeId> {
        self.voters.iter().filter(|(_, vote)| *vote == Some(true)).map(|(voter, _)| voter.id).collect()
    }

    fn count(&self, vote: Option<bool>) -> usize {
        self.voters.iter().filter(|(_, cast)| *cast == vote).count()
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

impl Raft {
    /// A new ballot with this node's own vote.
    pub(crate) fn ballot(&mut self, now: Millis) -> Ballot {
        let until = self.election_timeout(now);
        let own = (self.options.node, self.options.directory);
        let vote = |voter: &Voter| voter.is(own.0, own.1).then_some(true);
        Ballot { voters: self.voters.in_force().iter().map(|voter| (voter.clone(), vote(voter))).collect(), until }
    }

    pub(crate) fn ask_for_votes(&mut self, now: Millis) {
        let (Role::Prospective(ballot) | Role::Candidate(ballot)) = &self.role else { return };
        if ballot.is_lost() {
            return;
        }
        let open = ballot.voters.iter().filter(|(_, vote)| vote.is_none()).map(|(voter, _)| voter);
        let open: Vec<Voter> = open.filter(|voter| self.links.is_ready(voter.id, now)).cloned().collect();
        for voter in open {
            let ask = VoteAsk {
                epoch: self.epoch,
                candidate: (self.options.node, self.options.directory),
                last: EpochEnd { epoch: self.log.last_epoch(), end: self.log.end },
                is_pre_vote: matches!(self.role, Role::Prospective(_)),
            };
            let request = wire::vote_request(&self.options.cluster_id, &voter, &ask);
            self.send(now, voter, Asked::Vote, Request::Vote(request));
        }
    }

    pub(crate) fn vote_asked(&mut self, now: Millis, reply_to: ReplyTo, request: VoteRequest) {
        let answer = match self.decide_vote(now, &request) {
            // The vote compares logs: what this one holds must not be lost once it is given.
            Ok((ask, true)) if !ask.is_pre_vote && !self.log.is_settled() => {
                if self.waiting_votes.len() < WAITING_VOTES_MAX {
                    self.waiting_votes.push((reply_to, request));
                    return;
                }
                Ok(false)
            }
            Ok((ask, true)) if !ask.is_pre_vote => {
                self.vote_for(now, ask.candidate);
                Ok(true)
            }
            Ok((_, is_granted)) => Ok(is_granted),
            Err(Refusal::Request(error)) => {
                let response = VoteResponse { error_code: error.number(), ..VoteResponse::default() };
                return self.reply(reply_to, Response::Vote(response));
            }
            Err(Refusal::Partition(error)) => Err(error),
        };
        let response = wire::vote_response(&self.standing(), answer);
        self.reply(reply_to, Response::Vote(response));
    }

    /// The log is on disk: those who waited for it get their answer.
    pub(crate) fn answer_waiting_votes(&mut self, now: Millis) {
        if self.log.is_settled() {
            for (reply_to, request) in std::mem::take(&mut self.waiting_votes) {
                self.vote_asked(now, reply_to, request);
            }
        }
    }

    fn decide_vote(&mut self, now: Millis, request: &VoteRequest) -> Result<(VoteAsk, bool), Refusal> {
        self.check_cluster(request.cluster_id.as_deref()).map_err(Refusal::Request)?;
        let (ask, voter) = wire::parse_vote_request(request).ok_or(Refusal::Request(ErrorCode::InvalidRequest))?;
        let refuse = |error| Err(Refusal::Partition(error));
        let is_possible = match ask.is_pre_vote {
            true => ask.last.epoch <= ask.epoch,
            // Nobody can have records of an epoch in which it still asks for votes.
            false => ask.last.epoch < ask.epoch,
        };
        if !is_possible || ask.last.epoch.0 < 0 || ask.last.end.0 < 0 || ask.candidate.0.0 < 0 {
            return refuse(ErrorCode::InvalidRequest);
        }
        if ask.epoch < self.epoch {
            return refuse(ErrorCode::FencedLeaderEpoch);
        }
        if ask.epoch > self.epoch {
            self.become_unattached(now, ask.epoch, None);
        }
        if !self.is_own_key(voter) {
            return refuse(ErrorCode::InvalidVoterKey);
        }
        let is_granted = self.would_grant(&ask);
        Ok((ask, is_granted))
    }

    fn would_grant(&self, ask: &VoteAsk) -> bool {
        let is_covered = self.log.is_covered_by(ask.last);
        match &self.role {
            Role::Leader(_) => false,
            // Who hears from a leader does not help to replace it.
            Role::Follower(follower) => ask.is_pre_vote && is_covered && !follower.has_fetched,
            _ if ask.is_pre_vote => is_covered,
            Role::Candidate(_) | Role::Resigned(_) => false,
            Role::Unattached { .. } | Role::Prospective(_) => match self.voted {
                Some((id, directory)) => {
                    id == ask.candidate.0 && (directory == Uuid::ZERO || directory == ask.candidate.1)
                }
                None => self.leader.is_none() && is_covered,
            },
        }
    }

    fn vote_for(&mut self, now: Millis, candidate: (NodeId, Uuid)) {
        if self.voted.is_some() {
            return;
        }
        self.voted = Some(candidate);
        self.persist();
        // The candidate has as good a log as this node: it gets the time that an election takes.
        let until = self.election_timeout(now);
        match &mut self.role {
            Role::Unattached { election_at } => *election_at = until,
            Role::Prospective(ballot) => ballot.until = until,
            _ => {}
        }
    }

    /// Returns whether the voter may be asked again at once.
    pub(crate) fn vote_answered(&mut self, now: Millis, from: NodeId, response: &VoteResponse) -> bool {
        if ErrorCode::from_number(response.error_code) == ErrorCode::UnsupportedVersion {
            return self.skip_pre_vote();
        }
        let Some((answer, is_granted)) = wire::parse_vote_response(response) else { return false };
        if let Some(is_handled) = self.heed(now, &answer) {
            return is_handled;
        }
        if !answer.error.is_none() {
            return false;
        }
        if let Role::Prospective(ballot) | Role::Candidate(ballot) = &mut self.role {
            let vote = ballot.voters.iter_mut().find(|(voter, _)| voter.id == from);
            vote.into_iter().for_each(|(_, vote)| *vote = Some(is_granted));
        }
        true
    }
}

impl Raft {
    /// A voter knows no pre-votes: do without.
    pub(crate) fn skip_pre_vote(&mut self) -> bool {
        let Role::Prospective(ballot) = &mut self.role else { return false };
        ballot.voters.iter_mut().for_each(|(_, vote)| *vote = Some(true));
        true
    }
}

enum Refusal {
    /// The whole request.
    Request(ErrorCode),
    /// What it says about the metadata log.
    Partition(ErrorCode),
}
