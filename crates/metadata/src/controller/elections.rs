//! What becomes of partitions when a broker goes or comes: in-sync replicas, eligible leaders, and who leads.
//!
//! Source: `PartitionChangeBuilder`, `ReplicationControlManager.generateLeaderAndIsrUpdates`; KIP-966; traps 200, 201.

use std::sync::Arc;

use milena_protocol::messages::{MetadataRecord, PartitionChangeRecord};
use milena_protocol::{NodeId, Uuid};

use super::activation::MIN_ISR;
use super::{Active, Options};
use crate::features::ELR_VERSION;
use crate::image::{LEADER_UNCHANGED, Partition, RECOVERING, RECOVERY_UNCHANGED, Topic, numbers};

/// Why partitions are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The broker leaves the in-sync replicas and leads no more.
    Gone(NodeId),
    /// The broker may lead again.
    Back(NodeId),
    /// The broker came back without having stopped cleanly: it may have lost what it had acknowledged.
    UncleanShutdown(NodeId),
    /// Somebody asks for it.
    Asked(Election),
}

/// Which leader is asked for (`ElectionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any that is there, where none leads.
    Unclean,
}

/// What is decided on for one partition.
struct Wanted<'a> {
    partition: &'a Partition,
    isr: Vec<NodeId>,
    elr: Vec<NodeId>,
    has_elr: bool,
    prefers_first: bool,
    unclean_allowed: bool,
}

impl Active {
    /// The change records of all partitions that `concerns` picks and that change.
    ///
    /// Walks all partitions of the cluster: brokers come and go seldom.
    pub(super) fn leader_changes(
        &self,
        options: &Options,
        cause: Cause,
        concerns: impl Fn(&Partition) -> bool,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for topic in self.image.topics() {
            let mut concerned = topic.partitions.iter().filter(|(_, partition)| concerns(partition)).peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let min_isr = self.min_isr(options, topic);
            let unclean = self.topic_setting(options, &topic.name, "unclean.leader.election.enable");
            let unclean_allowed = unclean.is_some_and(|value| value == "true");
            for (number, partition) in concerned {
                let change = self.partition_change(cause, partition, min_isr, unclean_allowed);
                records.extend(change.map(|change| -> MetadataRecord {
                    PartitionChangeRecord { partition_id: *number, topic_id: topic.id, ..change }.into()
                }));
            }
        }
        records
    }

    /// The change record of one partition whose leader is asked for; `None` where no other can lead.
    pub(super) fn elected(
        &self,
        options: &Options,
        topic: &Arc<Topic>,
        (number, partition): (i32, &Partition),
        election: Election,
    ) -> Option<MetadataRecord> {
        let min_isr = self.min_isr(options, topic);
        let unclean_allowed = election == Election::Unclean;
        let change = self.partition_change(Cause::Asked(election), partition, min_isr, unclean_allowed)?;
        Some(PartitionChangeRecord { partition_id: number, topic_id: topic.id, ..change }.into())
    }

    fn min_isr(&self, options: &Options, topic: &Arc<Topic>) -> usize {
        let wanted = self.topic_setting(options, &topic.name, MIN_ISR).and_then(|value| value.parse().ok());
        let replicas = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
        wanted.unwrap_or(1).min(replicas)
    }

    fn partition_change(
        &self,
        cause: Cause,
        partition: &Partition,
        min_isr: usize,
        unclean_allowed: bool,
    ) -> Option<PartitionChangeRecord> {
        let (leaves, unclean_shutdown) = match cause {
            Cause::Gone(id) => (Some(id), None),
            Cause::Back(_) | Cause::Asked(_) => (None, None),
            Cause::UncleanShutdown(id) => (Some(id), Some(id)),
        };
        let acceptable = |replica: NodeId| {
            let may_lead = cause == Cause::Back(replica) || self.image.broker(replica).is_some_and(|it| it.is_active());
            leaves != Some(replica) && may_lead && self.has_online_directory(partition, replica)
        };
        let isr: Vec<NodeId> = partition.isr.iter().copied().filter(|replica| leaves != Some(*replica)).collect();
        let has_elr = self.image.feature(ELR_VERSION) > 0;
        let elr = match has_elr && isr.len() < min_isr {
            true => eligible(partition, &isr, unclean_shutdown),
            false if has_elr => Vec::new(),
            false => partition.elr.clone(),
        };
        let prefers_first = cause == Cause::Asked(Election::Preferred);
        Wanted { partition, isr, elr, has_elr, prefers_first, unclean_allowed }.record(acceptable)
    }

    fn has_online_directory(&self, partition: &Partition, replica: NodeId) -> bool {
        let place = partition.replicas.iter().position(|known| *known == replica);
        let directory = place.and_then(|place| partition.directories.get(place));
        let Some((directory, broker)) = directory.zip(self.image.broker(replica)) else { return false };
        match *directory {
            MIGRATING | UNASSIGNED => true,
            LOST => false,
            directory => broker.log_dirs.is_empty() || broker.log_dirs.contains(&directory),
        }
    }
}

impl Wanted<'_> {
    /// The record of what changes; `None` if nothing does. Topic and partition are left to the caller.
    fn record(mut self, acceptable: impl Fn(NodeId) -> bool) -> Option<PartitionChangeRecord> {
        let mut record = PartitionChangeRecord {
            leader: LEADER_UNCHANGED,
            leader_recovery_state: RECOVERY_UNCHANGED,
            ..PartitionChangeRecord::default()
        };
        let (leader, is_unclean) = self.elect(&acceptable);
        if leader != self.partition.leader {
            record.leader = leader.0;
            if self.elr.contains(&leader) {
                self.isr = vec![leader];
                self.elr.retain(|replica| *replica != leader);
            }
            if is_unclean {
                record.isr = Some(vec![leader.0]);
                if !self.partition.recovering {
                    record.leader_recovery_state = RECOVERING;
                }
            }
        }
        if is_unclean || !self.has_elr {
            self.elr.clear();
        }
        if self.elr != self.partition.elr {
            record.eligible_leader_replicas = Some(numbers(&self.elr));
        }
        // Without eligible leader replicas the last in-sync replica stays in place while it is away.
        if record.isr.is_none() && (!self.isr.is_empty() || self.has_elr) && self.isr != self.partition.isr {
            record.isr = Some(numbers(&self.isr));
        }
        if self.has_elr {
            let known = &self.partition.last_known_elr;
            if record.leader == NodeId::NONE.0 && known.is_empty() {
                record.last_known_elr = Some(vec![self.partition.leader.0]);
            } else if record.leader >= 0 && !known.is_empty() {
                record.last_known_elr = Some(Vec::new());
            }
        }
        let changes = record.leader != LEADER_UNCHANGED
            || record.isr.is_some()
            || record.eligible_leader_replicas.is_some()
            || record.last_known_elr.is_some();
        changes.then_some(record)
    }

    /// Who leads, and whether records may be lost by it: the first replica if it is preferred and may, else the current
    /// leader if it may, else the first replica that may,
    /// else the last leader once nothing better can come, else (where allowed) any replica that is there.
    fn elect(&self, acceptable: &impl Fn(NodeId) -> bool) -> (NodeId, bool) {
        let valid = |replica: NodeId| {
            let eligible = self.isr.contains(&replica) || (self.isr.is_empty() && self.elr.contains(&replica));
            eligible && acceptable(replica)
        };
        let replicas = &self.partition.replicas;
        let first = replicas.first().copied().filter(|_| self.prefers_first);
        if let Some(leader) = first.into_iter().chain([self.partition.leader]).find(|replica| valid(*replica)) {
            return (leader, false);
        }
        if let Some(replica) = replicas.iter().copied().find(|replica| valid(*replica)) {
            return (replica, false);
        }
        if let [last] = self.partition.last_known_elr[..]
            && self.has_elr
            && self.isr.is_empty()
            && self.elr.is_empty()
            && acceptable(last)
        {
            return (last, true);
        }
        let any = replicas.iter().copied().find(|replica| self.unclean_allowed && acceptable(*replica));
        any.map_or((NodeId::NONE, false), |replica| (replica, true))
    }
}

/// Who was in sync or eligible, is not in sync any more, and has lost nothing: in order of their ids.
fn eligible(partition: &Partition, isr: &[NodeId], unclean_shutdown: Option<NodeId>) -> Vec<NodeId> {
    let mut eligible: Vec<NodeId> = partition.elr.iter().chain(&partition.isr).copied().collect();
    eligible.retain(|replica| !isr.contains(replica) && Some(*replica) != unclean_shutdown);
    eligible.sort();
    eligible.dedup();
    eligible
}

/// A record from before directories were assigned (`DirectoryId`).
const MIGRATING: Uuid = Uuid::ZERO;
/// The broker has not said where.
pub(super) const UNASSIGNED: Uuid = reserved(1);
/// The directory has failed.
const LOST: Uuid = reserved(2);

const fn reserved(number: u8) -> Uuid {
    let mut bytes = [0; 16];
    bytes[15] = number;
    Uuid(bytes)
}
