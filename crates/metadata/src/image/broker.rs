//! Registered nodes. Source: `BrokerRegistration`, `ControllerRegistration`.

use std::collections::BTreeMap;

use milena_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use milena_protocol::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};
use milena_protocol::messages::{RegisterBrokerRecord, RegisterControllerRecord};
use milena_protocol::{BrokerEpoch, NodeId, Uuid};

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

impl LevelRange {
    /// Whether the level lies within.
    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
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
    /// Whether it may neither lead nor be in sync.
    pub fenced: bool,
    /// Whether it wants to shut down and is giving its leaderships away.
    pub in_controlled_shutdown: bool,
    /// Its log directories that are online.
    pub log_dirs: Vec<Uuid>,
    /// Log directories that take no new replicas (KIP-1066); `None` while the broker has not said.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
    /// Only in logs of clusters that once ran with ZooKeeper.
    pub is_migrating: bool,
}

impl Broker {
    /// Whether it may lead and be in sync.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Where it listens under that name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    pub(crate) fn from_record(record: &RegisterBrokerRecord) -> Broker {
        let endpoint = |point: &BrokerEndpoint| Endpoint {
            listener: point.name.clone(),
            host: point.host.clone(),
            port: point.port,
            security_protocol: point.security_protocol,
        };
        let feature = |feature: &BrokerFeature| {
            let levels = LevelRange { min: feature.min_supported_version, max: feature.max_supported_version };
            (feature.name.clone(), levels)
        };
        Broker {
            id: NodeId(record.broker_id),
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
            is_migrating: record.is_migrating_zk_broker,
        }
    }

    pub(crate) fn to_record(&self) -> RegisterBrokerRecord {
        let endpoint = |point: &Endpoint| BrokerEndpoint {
            name: point.listener.clone(),
            host: point.host.clone(),
            port: point.port,
            security_protocol: point.security_protocol,
        };
        let feature = |(name, levels): (&String, &LevelRange)| BrokerFeature {
            name: name.clone(),
            min_supported_version: levels.min,
            max_supported_version: levels.max,
        };
        RegisterBrokerRecord {
            broker_id: self.id.0,
            is_migrating_zk_broker: self.is_migrating,
            incarnation_id: self.incarnation,
            broker_epoch: self.epoch.0,
            end_points: self.endpoints.iter().map(endpoint).collect(),
            features: self.features.iter().map(feature).collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
            cordoned_log_dirs: self.cordoned_log_dirs.clone(),
        }
    }
}

/// A registered controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Its id.
    pub id: NodeId,
    /// Drawn at each start of the process.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// Supported levels by feature.
    pub features: BTreeMap<String, LevelRange>,
    /// Only in logs of clusters that once ran with ZooKeeper.
    pub is_migration_ready: bool,
}

impl Controller {
    pub(crate) fn from_record(record: &RegisterControllerRecord) -> Controller {
        let endpoint = |point: &ControllerEndpoint| Endpoint {
            listener: point.name.clone(),
            host: point.host.clone(),
            port: point.port,
            security_protocol: point.security_protocol,
        };
        let feature = |feature: &ControllerFeature| {
            let levels = LevelRange { min: feature.min_supported_version, max: feature.max_supported_version };
            (feature.name.clone(), levels)
        };
        Controller {
            id: NodeId(record.controller_id),
            incarnation: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            is_migration_ready: record.zk_migration_ready,
        }
    }

    pub(crate) fn to_record(&self) -> RegisterControllerRecord {
        let endpoint = |point: &Endpoint| ControllerEndpoint {
            name: point.listener.clone(),
            host: point.host.clone(),
            port: point.port,
            security_protocol: point.security_protocol,
        };
        let feature = |(name, levels): (&String, &LevelRange)| ControllerFeature {
            name: name.clone(),
            min_supported_version: levels.min,
            max_supported_version: levels.max,
        };
        RegisterControllerRecord {
            controller_id: self.id.0,
            incarnation_id: self.incarnation,
            zk_migration_ready: self.is_migration_ready,
            end_points: self.endpoints.iter().map(endpoint).collect(),
            features: self.features.iter().map(feature).collect(),
        }
    }
}
