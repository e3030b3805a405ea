//! The state of the cluster after a prefix of the metadata log: immutable, cheap to clone, shared by all threads.
//!
//! A clone costs a dozen reference counts. What a record changes is copied, the rest is shared ([`crate::sorted`]).

mod broker;
mod replay;
mod topic;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use broker::{Broker, Controller, Endpoint, LevelRange};
use milena_base::Millis;
use milena_protocol::messages::{AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord};
use milena_protocol::{LeaderEpoch, NodeId, Offset, ProducerId, Uuid};
pub(crate) use topic::{LEADER_UNCHANGED, RECOVERING, RECOVERY_UNCHANGED, numbers};
pub use topic::{Partition, Topic};

use crate::configs::{Resource, Values};
use crate::sorted::Sorted;

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

impl Default for Provenance {
    /// Nothing read.
    fn default() -> Provenance {
        Provenance { last: Offset::NONE, epoch: LeaderEpoch(0), timestamp: Millis(0) }
    }
}

/// Whose quota: pairs of entity type (`user`, `client-id`, `ip`) and name, `None` for the default of that type.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// The state of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    provenance: Provenance,
    features: Arc<BTreeMap<String, i16>>,
    brokers: Arc<BTreeMap<NodeId, Arc<Broker>>>,
    controllers: Arc<BTreeMap<NodeId, Arc<Controller>>>,
    topics_by_name: Sorted<Arc<str>, Arc<Topic>>,
    topics_by_id: Sorted<Uuid, Arc<Topic>>,
    configs: Sorted<Resource, Arc<Values>>,
    next_producer_id: Option<ProducerId>,
    quotas: Arc<BTreeMap<QuotaEntity, BTreeMap<String, f64>>>,
    acls: Arc<BTreeMap<Uuid, AccessControlEntryRecord>>,
    /// By mechanism number and user.
    scram: Arc<BTreeMap<(i8, String), UserScramCredentialRecord>>,
    tokens: Arc<BTreeMap<String, DelegationTokenRecord>>,
}

impl Image {
    /// How far the log had been read.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics_by_name.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics_by_id.get(&id)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics_by_id.len()
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics_by_name.iter().map(|(_, topic)| topic)
    }

    /// The topics by name, from the first that is not below `name`.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics_by_name.range_from(name).map(|(_, topic)| topic)
    }

    /// A partition's state.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Arc<Partition>> {
        self.topic(topic)?.partitions.get(&partition)
    }

    /// What is set on a resource; empty if nothing is.
    pub fn config(&self, resource: &Resource) -> &Values {
        const NOTHING: &Values = &Values::new();
        self.configs.get(resource).map_or(NOTHING, |values| values)
    }

    /// All resources with settings, sorted.
    pub fn configs(&self) -> impl Iterator<Item = (&Resource, &Values)> {
        self.configs.iter().map(|(resource, values)| (resource, &**values))
    }

    /// A registered broker.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All registered brokers by id, fenced ones too.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// All registered controllers by id.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<Controller>> {
        self.controllers.values()
    }

    /// A feature's finalized level; 0 if it is not finalized. (`kraft.version` is not here but in control records.)
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// All finalized features with their levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// First producer id that no block contains.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id.unwrap_or(ProducerId(0))
    }

    /// All quotas.
    pub fn quotas(&self) -> &BTreeMap<QuotaEntity, BTreeMap<String, f64>> {
        &self.quotas
    }

    /// All ACL entries by id.
    pub fn acls(&self) -> &BTreeMap<Uuid, AccessControlEntryRecord> {
        &self.acls
    }

    /// All SCRAM credentials by mechanism number and user.
    pub fn scram(&self) -> &BTreeMap<(i8, String), UserScramCredentialRecord> {
        &self.scram
    }

    /// All delegation tokens by id.
    pub fn tokens(&self) -> &BTreeMap<String, DelegationTokenRecord> {
        &self.tokens
    }

    /// The same state at another place of the log.
    pub(crate) fn at(self, provenance: Provenance) -> Image {
        Image { provenance, ..self }
    }

    /// Whether both say the same about the cluster, wherever in the log they are.
    pub fn same_state(&self, other: &Image) -> bool {
        self.clone().at(other.provenance) == *other
    }
}
