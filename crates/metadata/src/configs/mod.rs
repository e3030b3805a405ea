//! Kafka 4.3.1's settings: one table per kind of resource, validation, and what is in force and why.

mod broker;
mod check;
mod client_metrics;
mod describe;
mod effective;
mod group;
mod limits;
mod listeners;
mod resource;
mod synonyms;
mod table;
mod together;
mod topic;

use std::collections::BTreeMap;

pub use check::normalize;
pub(crate) use check::words;
pub use describe::{Described, Synonym, describe, describe_all_brokers};
pub(crate) use effective::with_source;
pub use effective::{CleanupPolicy, CompressionType, Layers, TopicConfig, effective, effective_of_listener};
pub use limits::connections_by_host;
pub use listeners::{NamedAddress, named_addresses, security_protocols};
use milena_protocol::{ErrorCode, NodeId};
pub use resource::{check_file, validate_resource};
pub use synonyms::listener_setting;
pub use table::{Check, Importance, Setting, Visibility};
pub use together::{check_file_together, check_together};

/// Whose settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A topic (number 2 on the wire).
    Topic,
    /// A broker, or with an empty name all brokers (4).
    Broker,
    /// A subscription for client metrics (16).
    ClientMetrics,
    /// A group (32).
    Group,
}

/// A kind and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Whose settings.
    pub kind: Kind,
    /// Topic, broker id, group or subscription; empty for all brokers.
    pub name: String,
}

/// How a value is read; numbers are those of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Type {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    Text = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// Floating point.
    Double = 6,
    /// Values between commas.
    List = 7,
    /// Name of a Java class.
    Class = 8,
    /// A secret: never shown.
    Password = 9,
}

/// Where a value comes from; numbers are those of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set on this broker at run time.
    DynamicBroker = 2,
    /// Set on all brokers at run time.
    DynamicDefaultBroker = 3,
    /// From server.properties.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
    /// Set on the client-metrics subscription.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
}

/// Whether a broker setting can change at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    /// Only by a restart.
    ReadOnly,
    /// On one broker.
    PerBroker,
    /// On one broker or on all.
    ClusterWide,
}

/// What a setting does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is obeyed.
    Acts,
    /// One value is built in; others are accepted and change nothing.
    Fixed,
    /// Accepted, so that Kafka's files work, and without effect.
    NoEffect,
}

/// Why values were refused, as clients are told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// INVALID_CONFIG or INVALID_REQUEST.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl ConfigError {
    fn invalid(message: impl Into<String>) -> ConfigError {
        ConfigError { code: ErrorCode::InvalidConfig, message: message.into() }
    }

    fn request(message: impl Into<String>) -> ConfigError {
        ConfigError { code: ErrorCode::InvalidRequest, message: message.into() }
    }
}

/// Settings by name.
pub type Values = BTreeMap<String, String>;

/// Every setting of a kind, sorted by name.
pub fn table(kind: Kind) -> &'static [Setting] {
    match kind {
        Kind::Topic => topic::TOPIC,
        Kind::Broker => broker::BROKER,
        Kind::ClientMetrics => client_metrics::CLIENT_METRICS,
        Kind::Group => group::GROUP,
    }
}

/// The row of that name.
pub fn find(kind: Kind, name: &str) -> Option<&'static Setting> {
    let rows = table(kind);
    rows.binary_search_by(|row| row.name.cmp(name)).ok().map(|at| &rows[at])
}

/// Checks one value as Kafka's ConfigDef does. Names without a row pass for brokers and fail for the rest.
pub fn validate(kind: Kind, name: &str, value: &str) -> Result<(), ConfigError> {
    match find(kind, name) {
        Some(setting) => normalize(setting, value).map(|_| ()),
        None if kind == Kind::Broker => Ok(()),
        None => Err(resource::unknown(kind, name)),
    }
}

impl Kind {
    /// The kind with that number on the wire; `None` for others (broker loggers among them).
    pub fn from_number(number: i8) -> Option<Kind> {
        match number {
            2 => Some(Kind::Topic),
            4 => Some(Kind::Broker),
            16 => Some(Kind::ClientMetrics),
            32 => Some(Kind::Group),
            _ => None,
        }
    }

    /// The number on the wire.
    pub fn number(self) -> i8 {
        match self {
            Kind::Topic => 2,
            Kind::Broker => 4,
            Kind::ClientMetrics => 16,
            Kind::Group => 32,
        }
    }
}

impl Resource {
    /// The topic of that name.
    pub fn topic(name: impl Into<String>) -> Resource {
        Resource { kind: Kind::Topic, name: name.into() }
    }

    /// One broker.
    pub fn broker(id: NodeId) -> Resource {
        Resource { kind: Kind::Broker, name: id.to_string() }
    }

    /// All brokers.
    pub fn all_brokers() -> Resource {
        Resource { kind: Kind::Broker, name: String::new() }
    }

    /// The group of that id.
    pub fn group(id: impl Into<String>) -> Resource {
        Resource { kind: Kind::Group, name: id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Topic, Kind::Broker, Kind::ClientMetrics, Kind::Group];

    #[test]
    fn tables_are_sorted_without_repeats() {
        for kind in KINDS {
            assert!(table(kind).windows(2).all(|pair| pair[0].name < pair[1].name), "{kind:?}");
        }
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for setting in KINDS.into_iter().flat_map(table) {
            let Some(default) = setting.default else { continue };
            // Kafka never checks a default; these two are empty and may not be set so.
            if matches!(setting.check, Check::HostPorts | Check::Voters) {
                continue;
            }
            assert_eq!(normalize(setting, default).as_deref(), Ok(default), "{}", setting.name);
        }
    }

    #[test]
    fn tables_have_as_many_rows_as_kafka_4_3_1() {
        assert_eq!(KINDS.map(|kind| table(kind).len()), [34, 360, 3, 17]);
    }
}
