//! Leading: the first batch of the epoch, the high watermark, and the end of it.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::leader_change_message::Voter as VoterId;
use milena_protocol::messages::voters_record;
use milena_protocol::messages::{KRaftVersionRecord, LeaderChangeMessage, VotersRecord};
use milena_protocol::{NodeId, Offset};

use super::{Effect, Raft, Role};
use crate::records::{Control, encode_control};

/// What only a leader keeps.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Offset of the epoch's first record. Once it is committed, so is everything of earlier epochs (Raft § 5.4.2).
    start: Offset,
    announced: bool,
}

impl Raft {
    /// Begins to lead the epoch that `granting` voted for.
    pub(crate) fn lead(&mut self, now: Millis, granting: &[NodeId]) {
        self.leader = Some(self.options.node);
        self.voted = None;
        self.persist();
        self.role = Role::Leader(Leader { start: self.log.end, announced: false });
        self.effects.push(Effect::LeaderChanged { leader: self.leader, epoch: self.epoch });
        let batch = self.first_batch(now, granting);
        self.effects.push(Effect::Append(batch));
    }

    /// Steps down without a successor.
    pub(crate) fn resign(&mut self) {
        if let Role::Leader(_) = self.role {
            self.role = Role::Resigned;
            self.effects.push(Effect::Resigned);
        }
    }

    /// A leader may count its own flushed records as one vote; commits those of its own epoch, and with them all
    /// before.
    pub(crate) fn advance_high_watermark(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let committed = self.log.flushed;
        if committed <= leader.start || self.high_watermark >= Some(committed) {
            return;
        }
        self.high_watermark = Some(committed);
        self.effects.push(Effect::HighWatermark(committed));
        if !std::mem::replace(&mut leader.announced, true) {
            self.effects.push(Effect::BecameLeader { epoch: self.epoch });
        }
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
