//! The state of the cluster after a prefix of the metadata log: immutable, cheap to clone, shared by all threads.

use std::collections::BTreeMap;

use milena_base::Millis;
use milena_protocol::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerId, Uuid};

use crate::configs::Resource;

/// How far the log had been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// Offset of the last record that is contained; −1 for none.
    pub last: Offset,
    /// Epoch of its batch.
    pub epoch: LeaderEpoch,
    /// Time of its batch.
    pub timestamp: Millis,
}

/// The state of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Image {}

impl Image {
    /// How far the log had been read.
    pub fn provenance(&self) -> Provenance {
        todo!()
    }
    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        todo!()
    }
    /// The topic of that id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Topic> {
        todo!()
    }
    /// All topics by name, from the first name that is not below `from`.
    pub fn topics_from<'a>(&'a self, from: &'a str) -> impl Iterator<Item = &'a Topic> {
        std::iter::empty()
    }
    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        std::iter::empty()
    }
    /// A partition's state.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        todo!()
    }
    /// The settings written for a resource; `None` if there are none.
    pub fn config(&self, resource: &Resource) -> Option<&BTreeMap<String, String>> {
        todo!()
    }
    /// A registered broker.
    pub fn broker(&self, id: NodeId) -> Option<&Broker> {
        todo!()
    }
    /// All registered brokers by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        std::iter::empty()
    }
    /// A feature's finalized level; 0 if it is not finalized.
    pub fn feature(&self, name: &str) -> i16 {
        todo!()
    }
    /// All finalized features with their levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        todo!()
    }
    /// First producer id that no block contains.
    pub fn next_producer_id(&self) -> ProducerId {
        todo!()
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// By number. Dense from 0 in every image that a whole log gives.
    pub partitions: BTreeMap<i32, std::sync::Arc<Partition>>,
}

/// A partition's state in the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Brokers that hold it; the first is preferred as leader.
    pub replicas: Vec<NodeId>,
    /// The directory on each broker, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Replicas on their way out.
    pub removing: Vec<NodeId>,
    /// Replicas on their way in.
    pub adding: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last eligible leader that is known.
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

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// Number of the security protocol (0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL).
    pub security_protocol: i16,
}

/// Levels that a node supports of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelRange {
    /// Lowest.
    pub min: i16,
    /// Highest.
    pub max: i16,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// Given at this registration: the offset of its record.
    pub epoch: BrokerEpoch,
    /// Drawn at each start of the process.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// Supported levels by feature.
    pub features: BTreeMap<String, LevelRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it may not lead nor be in sync.
    pub fenced: bool,
    /// Whether it wants to shut down and is giving its leaderships away.
    pub in_controlled_shutdown: bool,
    /// Its log directories that are online.
    pub log_dirs: Vec<Uuid>,
    /// Log directories that take no new replicas (KIP-1066).
    pub cordoned_log_dirs: Vec<Uuid>,
}
