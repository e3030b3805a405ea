//! The end of a leadership: the leader says goodbye, and names who should follow it.
//!
//! Source: `ResignedState`, `KafkaRaftClient.handleEndQuorumEpochRequest`.

use milena_base::Millis;
use milena_protocol::messages::{EndQuorumEpochRequest, EndQuorumEpochResponse};
use milena_protocol::{ErrorCode, NodeId, Uuid};

use super::links::Asked;
use super::roles::Role;
use super::{Raft, ReplyTo, Request, Response, Voter, wire};

/// What only a resigned leader keeps.
#[derive(Debug)]
pub(crate) struct Resigned {
    /// Then it may take part in a later epoch.
    pub(crate) until: Millis,
    /// Who has not heard of it yet.
    unaware: Vec<Voter>,
    /// The other voters, the one with the most records first.
    successors: Vec<(NodeId, Uuid)>,
}

impl Raft {
    /// Stops to lead, and says so to the others.
    pub(crate) fn resign(&mut self, now: Millis) {
        let Role::Leader(leader) = &self.role else { return };
        let successors = leader.by_progress();
        self.rest(now, successors);
    }

    /// Waits out an epoch that this node led.
    pub(crate) fn rest(&mut self, now: Millis, successors: Vec<(NodeId, Uuid)>) {
        let until = self.election_timeout(now);
        let unaware = self.other_voters();
        self.leave(Role::Resigned(Resigned { until, unaware, successors }));
    }

    pub(crate) fn say_goodbye(&mut self, now: Millis) {
        let Role::Resigned(resigned) = &self.role else { return };
        let standing = (self.epoch, self.options.node);
        let request = wire::end_request(&self.options.cluster_id, standing, &resigned.successors);
        let ready = resigned.unaware.iter().filter(|voter| self.links.is_ready(voter.id, now));
        for voter in ready.cloned().collect::<Vec<_>>() {
            self.send(now, voter, Asked::EndQuorumEpoch, Request::EndQuorumEpoch(request.clone()));
        }
    }

    pub(crate) fn end_announced(&mut self, now: Millis, reply_to: ReplyTo, request: &EndQuorumEpochRequest) {
        let outcome = match self.check_cluster(request.cluster_id.as_deref()) {
            Ok(()) => wire::parse_end_request(request).ok_or(ErrorCode::InvalidRequest),
            Err(error) => Err(error),
        };
        let response = match outcome {
            Ok(news) => {
                let error = self.hear_leader(now, news.leader, news.epoch, news.endpoint.clone());
                if error.is_none() && self.leader.as_ref().is_some_and(|leader| leader.id == news.leader) {
                    self.hurry(now, &news.successors);
                }
                wire::end_response(&self.standing(), error)
            }
            Err(error) => EndQuorumEpochResponse { error_code: error.number(), ..EndQuorumEpochResponse::default() },
        };
        self.reply(reply_to, Response::EndQuorumEpoch(response));
    }

    /// Campaigns earlier: the first successor at once, each later one after twice the time of the one before it.
    fn hurry(&mut self, now: Millis, successors: &[(NodeId, Uuid)]) {
        let Role::Follower(follower) = &mut self.role else { return };
        let own = (self.options.node, self.options.directory);
        let place = successors
            .iter()
            .position(|(id, directory)| *id == own.0 && (*directory == Uuid::ZERO || *directory == own.1));
        let longest = self.options.election_timeout_ms;
        let wait = match place {
            Some(0) => 0,
            Some(place) => {
                let shortest = longest >> (successors.len() - 1).min(62);
                longest.min(shortest.saturating_mul(1 << (place - 1).min(62)))
            }
            None => longest,
        };
        follower.fetch_by = now + Millis(wait);
    }

    /// Returns whether the voter may be asked again at once.
    pub(crate) fn end_answered(&mut self, now: Millis, from: NodeId, response: &EndQuorumEpochResponse) -> bool {
        let Some(answer) = wire::parse_end_response(response) else { return false };
        if let Some(is_handled) = self.heed(now, &answer) {
            return is_handled;
        }
        if let Role::Resigned(resigned) = &mut self.role
            && answer.error.is_none()
        {
            resigned.unaware.retain(|voter| voter.id != from);
        }
        answer.error.is_none()
    }
}
