//! Leading: the first batch of the epoch, what the followers have, the high watermark, and whether a majority still
//! listens.
//!
//! Source: `LeaderState`.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::leader_change_message::Voter as VoterId;
use milena_protocol::messages::voters_record;
use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, KRaftVersionRecord, LeaderChangeMessage, VotersRecord,
};
use milena_protocol::{ErrorCode, NodeId, Offset, Uuid};

use super::links::Asked;
use super::roles::Role;
use super::serve::ParkedFetch;
use super::{Effect, Raft, ReplyTo, Request, Response, Voter, wire};
use crate::records::{Control, encode_control};

/// What only a leader keeps.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Offset of the epoch's first record. Once it is committed, so is everything of earlier epochs (Raft § 5.4.2).
    pub(crate) start: Offset,
    /// Whether that has happened.
    pub(crate) is_announced: bool,
    followers: Vec<Follower>,
    /// When those that do not fetch are told who leads.
    begin_at: Millis,
    /// By then a majority must have fetched; never in a quorum of one.
    pub(crate) check_at: Millis,
    /// Who fetched since a majority last had.
    heard: Vec<NodeId>,
    /// Fetches that wait for records.
    pub(crate) parked: Vec<ParkedFetch>,
}

/// What is known of another voter.
#[derive(Debug)]
struct Follower {
    id: NodeId,
    directory: Uuid,
    /// The offset that it last fetched from: everything below is on its disk.
    end: Offset,
    fetched_at: Millis,
}

impl Leader {
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let parked = self.parked.iter().map(|fetch| fetch.until);
        [self.begin_at, self.check_at].into_iter().chain(parked).min()
    }

    /// The voters that have fetched, the one with the most records first.
    pub(crate) fn by_progress(&self) -> Vec<(NodeId, Uuid)> {
        let mut followers: Vec<&Follower> = self.followers.iter().collect();
        followers.sort_by_key(|follower| std::cmp::Reverse(follower.end));
        followers.into_iter().map(|follower| (follower.id, follower.directory)).collect()
    }

    fn end_of(&self, voter: &Voter) -> Option<Offset> {
        self.followers.iter().find(|follower| voter.is(follower.id, follower.directory)).map(|follower| follower.end)
    }
}

impl Raft {
    /// The votes are enough.
    pub(crate) fn become_leader(&mut self, now: Millis) {
        let Role::Candidate(ballot) = &self.role else { return };
        let granting = ballot.granting();
        let has_others = !self.other_voters().is_empty();
        let leader = Leader {
            start: self.log.end,
            is_announced: false,
            followers: Vec::new(),
            begin_at: if has_others { now } else { Millis::MAX },
            check_at: if has_others { self.quorum_check_at(now) } else { Millis::MAX },
            heard: Vec::new(),
            parked: Vec::new(),
        };
        self.leave(Role::Leader(leader));
        self.leader = Some(self.own_voter());
        self.voted = None;
        self.persist();
        let batch = self.first_batch(now, &granting);
        self.effects.push(Effect::Append(batch));
    }

    /// Tells those that do not fetch who leads, and lets fetches go that waited long enough.
    pub(crate) fn look_after_followers(&mut self, now: Millis) {
        self.serve_parked(now);
        let Role::Leader(leader) = &self.role else { return };
        if leader.begin_at > now {
            return;
        }
        let pause = Millis(self.options.fetch_timeout_ms / 2);
        let is_silent = |voter: &Voter| {
            let known = leader.followers.iter().find(|follower| voter.is(follower.id, follower.directory));
            known.is_none_or(|follower| now - follower.fetched_at >= pause) && self.links.is_ready(voter.id, now)
        };
        let silent: Vec<Voter> = self.other_voters().into_iter().filter(is_silent).collect();
        for voter in silent {
            let request = wire::begin_request(&self.options, self.epoch, &voter);
            self.send(now, voter, Asked::BeginQuorumEpoch, Request::BeginQuorumEpoch(request));
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.begin_at = now + pause;
        }
    }

    pub(crate) fn begin_announced(&mut self, now: Millis, reply_to: ReplyTo, request: &BeginQuorumEpochRequest) {
        let outcome = match self.check_cluster(request.cluster_id.as_deref()) {
            Ok(()) => wire::parse_begin_request(request).ok_or(ErrorCode::InvalidRequest),
            Err(error) => Err(error),
        };
        let response = match outcome {
            Ok((news, voter)) => {
                let error = self.hear_leader(now, news.leader, news.epoch, news.endpoint);
                let error = if error.is_none() && !self.is_own_key(voter) { ErrorCode::InvalidVoterKey } else { error };
                wire::begin_response(&self.standing(), error)
            }
            Err(error) => {
                BeginQuorumEpochResponse { error_code: error.number(), ..BeginQuorumEpochResponse::default() }
            }
        };
        self.reply(reply_to, Response::BeginQuorumEpoch(response));
    }

    /// Returns whether the voter may be asked again at once.
    pub(crate) fn begin_answered(&mut self, now: Millis, response: &BeginQuorumEpochResponse) -> bool {
        let Some(answer) = wire::parse_begin_response(response) else { return false };
        self.heed(now, &answer).unwrap_or(answer.error.is_none())
    }

    /// A replica fetched from `end`: everything below is on its disk.
    pub(crate) fn replica_has(&mut self, now: Millis, replica: (NodeId, Uuid), end: Offset) {
        self.replica_lives(now, replica);
        let is_voter = self.is_voting(replica);
        let Role::Leader(leader) = &mut self.role else { return };
        if !is_voter {
            return;
        }
        let (id, directory) = replica;
        leader.followers.retain(|follower| follower.id != id);
        leader.followers.push(Follower { id, directory, end, fetched_at: now });
        self.advance_high_watermark();
    }

    /// A replica reads the log or a snapshot: a majority that does keeps this leader.
    pub(crate) fn replica_lives(&mut self, now: Millis, replica: (NodeId, Uuid)) {
        let (is_voter, check_at) = (self.is_voting(replica), self.quorum_check_at(now));
        let voters = self.voters.in_force().len();
        let others_needed = voters / 2 + 1 - usize::from(self.is_voter());
        let Role::Leader(leader) = &mut self.role else { return };
        if is_voter && !leader.heard.contains(&replica.0) {
            leader.heard.push(replica.0);
        }
        if leader.heard.len() >= others_needed && leader.check_at < Millis::MAX {
            leader.heard.clear();
            leader.check_at = check_at;
        }
    }

    /// What a majority of the voters has on disk is committed, once that reaches into this epoch.
    pub(crate) fn advance_high_watermark(&mut self) {
        let own = (self.options.node, self.options.directory);
        let Role::Leader(leader) = &mut self.role else { return };
        let voters = self.voters.in_force();
        let durable = |voter: &Voter| match voter.is(own.0, own.1) {
            true => Some(self.log.flushed),
            false => leader.end_of(voter),
        };
        let mut ends: Vec<Option<Offset>> = voters.iter().map(durable).collect();
        ends.sort_by_key(|end| std::cmp::Reverse(*end));
        let Some(Some(committed)) = ends.get(voters.len() / 2).copied() else { return };
        if committed <= leader.start || committed > self.log.end {
            return;
        }
        let is_first = !std::mem::replace(&mut leader.is_announced, true);
        self.raise_high_watermark(committed);
        if is_first {
            self.effects.push(Effect::BecameLeader { epoch: self.epoch });
        }
    }

    /// One and a half fetch timeouts, as Kafka gives a majority.
    fn quorum_check_at(&self, now: Millis) -> Millis {
        now + Millis(self.options.fetch_timeout_ms.saturating_mul(3) / 2)
    }

    /// LeaderChange; and the voters, where they were never in the log or say something else about this node.
    ///
    /// Source: `LeaderState.appendStartOfEpochControlRecords`.
    fn first_batch(&self, now: Millis, granting: &[NodeId]) -> Bytes {
        let id = |id: NodeId| VoterId { voter_id: id.0, ..VoterId::default() };
        let change = LeaderChangeMessage {
            version: 0,
            leader_id: self.options.node.0,
            voters: self.voters.in_force().iter().map(|voter| id(voter.id)).collect(),
            granting_voters: granting.iter().map(|voter| id(*voter)).collect(),
        };
        let mut controls = vec![Control::LeaderChange(change)];
        if let Some(voters) = self.voters_to_write() {
            controls.push(Control::KRaftVersion(KRaftVersionRecord { version: 0, kraft_version: 1 }));
            controls.push(Control::Voters(voters));
        }
        encode_control(self.log.end, self.epoch, now, &controls)
    }

    fn voters_to_write(&self) -> Option<VotersRecord> {
        let (offset, record) = self.voters.newest()?;
        let mut updated = record.clone();
        let endpoints: Vec<voters_record::Endpoint> =
            self.options.endpoints.iter().map(super::Endpoint::to_record).collect();
        // A node without a listener for other voters has nothing to say about where it is reached.
        if !endpoints.is_empty() {
            let own = updated.voters.iter_mut().find(|voter| voter.voter_id == self.options.node.0);
            own.into_iter().for_each(|own| own.endpoints = endpoints.clone());
        }
        (*offset == Offset(-1) || updated != *record).then_some(updated)
    }
}
