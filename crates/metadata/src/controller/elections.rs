//! What becomes of partitions when a broker goes or comes: in-sync replicas, eligible leaders, and who leads.
//!
//! Source: `PartitionChangeBuilder`, `ReplicationControlManager.generateLeaderAndIsrUpdates`; KIP-966; traps 200, 201.

use std::sync::Arc;

use milena_protocol::messages::{MetadataRecord, PartitionChangeRecord};
use milena_protocol::{NodeId, Uuid};

use super::activation::MIN_ISR;
use super::placement::default_directory;
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

/// Where a partition's replicas are to be: `replicas` holds those on their way out too, behind the others.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) replicas: Vec<NodeId>,
    pub(super) removing: Vec<NodeId>,
    pub(super) adding: Vec<NodeId>,
}

/// What a partition is to be, before anybody is elected.
struct Change<'a> {
    partition: &'a Partition,
    assignment: Assignment,
    isr: Vec<NodeId>,
    min_isr: usize,
    /// Who may have lost records, and so is not eligible.
    unclean_shutdown: Option<NodeId>,
    prefers_first: bool,
    unclean_allowed: bool,
}

/// What is decided on for one partition.
struct Wanted<'a> {
    change: Change<'a>,
    elr: Vec<NodeId>,
    has_elr: bool,
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
            let unclean_allowed = self.allows_unclean(options, topic);
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

    /// The change record of one partition whose replicas are to be `assignment`, and of these `isr` in sync; `None` where
    /// that is how it is.
    pub(super) fn reassigned(
        &self,
        options: &Options,
        topic: &Arc<Topic>,
        (number, partition): (i32, &Partition),
        assignment: Assignment,
        isr: Vec<NodeId>,
        unclean_allowed: bool,
    ) -> Option<MetadataRecord> {
        let change = Change {
            partition,
            assignment,
            isr,
            min_isr: self.min_isr(options, topic),
            unclean_shutdown: None,
            prefers_first: false,
            unclean_allowed,
        };
        let record = self.decide_change(change, |replica| self.may_lead(partition, replica))?;
        Some(PartitionChangeRecord { partition_id: number, topic_id: topic.id, ..record }.into())
    }

    /// Whether a topic's replicas that may have lost records may lead.
    pub(super) fn allows_unclean(&self, options: &Options, topic: &Topic) -> bool {
        let unclean = self.topic_setting(options, &topic.name, "unclean.leader.election.enable");
        unclean.is_some_and(|value| value == "true")
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
            let is_back = cause == Cause::Back(replica) && self.has_online_directory(partition, replica);
            leaves != Some(replica) && (is_back || self.may_lead(partition, replica))
        };
        let change = Change {
            partition,
            assignment: Assignment::of(partition),
            isr: partition.isr.iter().copied().filter(|replica| leaves != Some(*replica)).collect(),
            min_isr,
            unclean_shutdown,
            prefers_first: cause == Cause::Asked(Election::Preferred),
            unclean_allowed,
        };
        self.decide_change(change, acceptable)
    }

    /// The record of what changes; `None` if nothing does. Topic and partition are left to the caller.
    fn decide_change(
        &self,
        mut change: Change<'_>,
        acceptable: impl Fn(NodeId) -> bool,
    ) -> Option<PartitionChangeRecord> {
        if let Some((replicas, isr)) = change.assignment.completed(&change.isr) {
            change.assignment = Assignment { replicas, removing: Vec::new(), adding: Vec::new() };
            change.isr = isr;
        }
        let has_elr = self.image.feature(ELR_VERSION) > 0;
        let elr = match has_elr && change.isr.len() < change.min_isr {
            true => eligible(change.partition, &change.isr, change.unclean_shutdown),
            false if has_elr => Vec::new(),
            false => change.partition.elr.clone(),
        };
        let directories = self.directories(change.partition, &change.assignment.replicas);
        Wanted { change, elr, has_elr }.record(directories, acceptable)
    }

    /// Where each of these replicas lies, or will.
    fn directories(&self, partition: &Partition, replicas: &[NodeId]) -> Vec<Uuid> {
        let of_one = |replica: &NodeId| {
            let place = partition.replicas.iter().position(|known| known == replica);
            let known = place.and_then(|place| partition.directories.get(place)).copied();
            known.unwrap_or_else(|| default_directory(&self.image, *replica))
        };
        replicas.iter().map(of_one).collect()
    }

    fn may_lead(&self, partition: &Partition, replica: NodeId) -> bool {
        let is_active = self.image.broker(replica).is_some_and(|broker| broker.is_active());
        is_active && self.has_online_directory(partition, replica)
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

impl Assignment {
    /// As it is.
    fn of(partition: &Partition) -> Assignment {
        Assignment {
            replicas: partition.replicas.clone(),
            removing: partition.removing.clone(),
            adding: partition.adding.clone(),
        }
    }

    /// Replicas and in-sync replicas once those that come are in sync, and so the others can go; `None` until then.
    fn completed(&self, isr: &[NodeId]) -> Option<(Vec<NodeId>, Vec<NodeId>)> {
        if self.removing.is_empty() && self.adding.is_empty() {
            return None;
        }
        let stay = |nodes: &[NodeId]| -> Vec<NodeId> {
            nodes.iter().copied().filter(|node| !self.removing.contains(node)).collect()
        };
        let (replicas, isr) = (stay(&self.replicas), stay(isr));
        let holds = |wanted: &[NodeId]| wanted.iter().all(|node| isr.contains(node));
        // Fewer replicas than before: none of those that stay may be missing, or there were fewer in sync than without it.
        let shrinks = self.adding.len() < self.removing.len();
        let is_done = !replicas.is_empty() && !isr.is_empty() && holds(&self.adding) && (!shrinks || holds(&replicas));
        is_done.then_some((replicas, isr))
    }
}

impl Wanted<'_> {
    fn record(mut self, directories: Vec<Uuid>, acceptable: impl Fn(NodeId) -> bool) -> Option<PartitionChangeRecord> {
        let unchanged = PartitionChangeRecord {
            leader: LEADER_UNCHANGED,
            leader_recovery_state: RECOVERY_UNCHANGED,
            ..PartitionChangeRecord::default()
        };
        let mut record = unchanged.clone();
        let (leader, is_unclean) = self.elect(&acceptable);
        if leader != self.change.partition.leader {
            record.leader = leader.0;
            if self.elr.contains(&leader) {
                self.change.isr = vec![leader];
                self.elr.retain(|replica| *replica != leader);
            }
            if is_unclean {
                record.isr = Some(vec![leader.0]);
                if !self.change.partition.recovering {
                    record.leader_recovery_state = RECOVERING;
                }
            }
        }
        let goes = |replica: &NodeId| !self.change.assignment.replicas.contains(replica);
        if record.leader == LEADER_UNCHANGED && self.change.partition.replicas.iter().any(goes) {
            // Whoever still follows there must notice that it does not any more.
            record.leader = self.change.partition.leader.0;
        }
        if is_unclean || !self.has_elr {
            self.elr.clear();
        }
        if self.elr != self.change.partition.elr {
            record.eligible_leader_replicas = Some(numbers(&self.elr));
        }
        // Without eligible leader replicas the last in-sync replica stays in place while it is away.
        if record.isr.is_none()
            && (!self.change.isr.is_empty() || self.has_elr)
            && self.change.isr != self.change.partition.isr
        {
            record.isr = Some(numbers(&self.change.isr));
        }
        if self.has_elr {
            let known = &self.change.partition.last_known_elr;
            if record.leader == NodeId::NONE.0 && known.is_empty() {
                record.last_known_elr = Some(vec![self.change.partition.leader.0]);
            } else if record.leader >= 0 && !known.is_empty() {
                record.last_known_elr = Some(Vec::new());
            }
        }
        self.assign(directories, &mut record);
        (record != unchanged).then_some(record)
    }

    /// Says where the replicas are to be, as far as that is new.
    fn assign(&self, directories: Vec<Uuid>, record: &mut PartitionChangeRecord) {
        let (now, wanted) = (self.change.partition, &self.change.assignment);
        let new = |wanted: &[NodeId], now: &[NodeId]| (wanted != now).then(|| numbers(wanted));
        record.directories = (directories != now.directories).then_some(directories);
        record.replicas = new(&wanted.replicas, &now.replicas);
        record.removing_replicas = new(&wanted.removing, &now.removing);
        record.adding_replicas = new(&wanted.adding, &now.adding);
    }

    /// Who leads, and whether records may be lost by it: the first replica if it is preferred and may, else the current
    /// leader if it may, else the first replica that may,
    /// else the last leader once nothing better can come, else (where allowed) any replica that is there.
    fn elect(&self, acceptable: &impl Fn(NodeId) -> bool) -> (NodeId, bool) {
        let valid = |replica: NodeId| {
            let eligible =
                self.change.isr.contains(&replica) || (self.change.isr.is_empty() && self.elr.contains(&replica));
            eligible && acceptable(replica)
        };
        let replicas = &self.change.assignment.replicas;
        let first = replicas.first().copied().filter(|_| self.change.prefers_first);
        if let Some(leader) = first.into_iter().chain([self.change.partition.leader]).find(|replica| valid(*replica)) {
            return (leader, false);
        }
        if let Some(replica) = replicas.iter().copied().find(|replica| valid(*replica)) {
            return (replica, false);
        }
        if let [last] = self.change.partition.last_known_elr[..]
            && self.has_elr
            && self.change.isr.is_empty()
            && self.elr.is_empty()
            && acceptable(last)
        {
            return (last, true);
        }
        let any = replicas.iter().copied().find(|replica| self.change.unclean_allowed && acceptable(*replica));
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
