//! Topics and partitions in the metadata. Source: `TopicImage`, `PartitionRegistration`.

use std::sync::Arc;

use milena_protocol::messages::{PartitionChangeRecord, PartitionRecord};
use milena_protocol::{LeaderEpoch, NodeId, PartitionEpoch, Uuid};

use crate::sorted::Sorted;

/// In a change record: the leader stays.
pub(crate) const LEADER_UNCHANGED: i32 = -2;
/// In a change record: the recovery state stays.
pub(crate) const RECOVERY_UNCHANGED: i8 = -1;
/// The recovery state of a leader that was elected uncleanly.
pub(crate) const RECOVERING: i8 = 1;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// By number; dense from 0 after a whole log.
    pub partitions: Sorted<i32, Arc<Partition>>,
}

/// A partition's state in the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Brokers that hold it; the first is preferred as leader.
    pub replicas: Vec<NodeId>,
    /// The directory on each broker, in the order of `replicas`; zero where not known.
    pub directories: Vec<Uuid>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Replicas on their way out.
    pub removing: Vec<NodeId>,
    /// Replicas on their way in.
    pub adding: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last leader, while there is none (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    /// The leader; [`NodeId::NONE`] for none.
    pub leader: NodeId,
    /// Whether the leader was elected uncleanly and has not said yet that it is done.
    pub recovering: bool,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes.
    pub partition_epoch: PartitionEpoch,
}

impl Partition {
    /// Reads a record. `Err` says what does not fit.
    pub(crate) fn from_record(record: &PartitionRecord) -> Result<Partition, String> {
        let partition = Partition {
            replicas: nodes(&record.replicas),
            directories: directories(&record.directories, record.replicas.len()),
            isr: nodes(&record.isr),
            removing: nodes(&record.removing_replicas),
            adding: nodes(&record.adding_replicas),
            elr: nodes(record.eligible_leader_replicas.as_deref().unwrap_or_default()),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or_default()),
            leader: NodeId(record.leader),
            recovering: record.leader_recovery_state == RECOVERING,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
        };
        partition.check_directories().map(|()| partition)
    }

    /// The state after a change. `Err` says what does not fit.
    pub(crate) fn changed(&self, record: &PartitionChangeRecord) -> Result<Partition, String> {
        let or = |change: &Option<Vec<i32>>, now: &Vec<NodeId>| change.as_deref().map_or_else(|| now.clone(), nodes);
        let replicas = or(&record.replicas, &self.replicas);
        let new_leader = record.leader != LEADER_UNCHANGED;
        let partition = Partition {
            directories: match &record.directories {
                Some(changed) => directories(changed, replicas.len()),
                None if record.replicas.is_none() => self.directories.clone(),
                None => directories(&[], replicas.len()),
            },
            replicas,
            isr: or(&record.isr, &self.isr),
            removing: or(&record.removing_replicas, &self.removing),
            adding: or(&record.adding_replicas, &self.adding),
            elr: or(&record.eligible_leader_replicas, &self.elr),
            last_known_elr: or(&record.last_known_elr, &self.last_known_elr),
            leader: if new_leader { NodeId(record.leader) } else { self.leader },
            recovering: match record.leader_recovery_state {
                RECOVERY_UNCHANGED => self.recovering,
                state => state == RECOVERING,
            },
            leader_epoch: LeaderEpoch(self.leader_epoch.0.wrapping_add(i32::from(new_leader))),
            partition_epoch: PartitionEpoch(self.partition_epoch.0.wrapping_add(1)),
        };
        partition.check_directories().map(|()| partition)
    }

    /// Whether its replicas are on their way to other brokers.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The record that gives this state.
    pub(crate) fn to_record(&self, topic: Uuid, partition: i32) -> PartitionRecord {
        let tagged = |ids: &[NodeId]| (!ids.is_empty()).then(|| numbers(ids));
        PartitionRecord {
            partition_id: partition,
            topic_id: topic,
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            removing_replicas: numbers(&self.removing),
            adding_replicas: numbers(&self.adding),
            leader: self.leader.0,
            leader_recovery_state: if self.recovering { RECOVERING } else { 0 },
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch.0,
            directories: self.directories.clone(),
            eligible_leader_replicas: tagged(&self.elr),
            last_known_elr: tagged(&self.last_known_elr),
        }
    }

    fn check_directories(&self) -> Result<(), String> {
        match self.directories.len() == self.replicas.len() {
            true => Ok(()),
            false => Err(format!("{} directories for {} replicas", self.directories.len(), self.replicas.len())),
        }
    }
}

/// Ids as the wire has them.
pub(crate) fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn nodes(numbers: &[i32]) -> Vec<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

/// The directories of a record; one from before directories were assigned has none.
fn directories(given: &[Uuid], replicas: usize) -> Vec<Uuid> {
    if given.is_empty() { vec![Uuid::ZERO; replicas] } else { given.to_vec() }
}
