//! Kafka 4.3.1's settings: one table per kind of resource, validation, and what is in force and why.

use std::collections::BTreeMap;

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
    String = 2,
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

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// How its value is read.
    pub kind: Type,
    /// Kafka's default as text; `None` for null.
    pub default: Option<&'static str>,
    /// When it may change (topics and groups: always).
    pub dynamic: Dynamic,
    /// What it does here.
    pub effect: Effect,
    /// One line for people.
    pub doc: &'static str,
}

/// Why a value was refused. The text goes to clients with INVALID_CONFIG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Every setting of a kind, sorted by name.
pub fn table(kind: Kind) -> &'static [Setting] {
    todo!()
}

/// The row of that name.
pub fn find(kind: Kind, name: &str) -> Option<&'static Setting> {
    todo!()
}

/// Checks one value as Kafka's ConfigDef does.
pub fn validate(kind: Kind, name: &str, value: &str) -> Result<(), ConfigError> {
    todo!()
}

/// The settings that may say something about a resource, strongest first.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Set on the topic, group or subscription.
    pub own: &'a BTreeMap<String, String>,
    /// Set on this broker at run time.
    pub broker: &'a BTreeMap<String, String>,
    /// Set on all brokers at run time.
    pub all_brokers: &'a BTreeMap<String, String>,
    /// server.properties.
    pub file: &'a BTreeMap<String, String>,
}

/// One origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key there.
    pub name: String,
    /// The value; `None` if null or secret.
    pub value: Option<String>,
    /// Where.
    pub source: Source,
}

/// A setting as DescribeConfigs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// What is in force; `None` if null or secret.
    pub value: Option<String>,
    /// Where that comes from: the source of the first synonym.
    pub source: Source,
    /// All origins, strongest first.
    pub synonyms: Vec<Synonym>,
    /// Whether it cannot be changed at run time.
    pub read_only: bool,
    /// Whether its value is secret.
    pub sensitive: bool,
    /// How its value is read.
    pub kind: Type,
    /// One line for people.
    pub doc: String,
}

/// Every setting of the resource with its origins, sorted by name.
pub fn describe(kind: Kind, layers: Layers) -> Vec<Described> {
    todo!()
}

/// How a topic's old data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Expire by time and size.
    pub delete: bool,
    /// Keep the last record of each key.
    pub compact: bool,
}

/// The topic settings in force, as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`: `producer` or a codec.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`
    pub gzip_level: i32,
    /// `compression.lz4.level`
    pub lz4_level: i32,
    /// `compression.zstd.level`
    pub zstd_level: i32,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `flush.messages`
    pub flush_records: i64,
    /// `flush.ms`
    pub flush_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: i32,
    /// `local.retention.bytes`
    pub local_retention_bytes: i64,
    /// `local.retention.ms`
    pub local_retention_ms: i64,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`
    pub batch_bytes_max: i32,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `preallocate`
    pub preallocate: bool,
    /// `remote.storage.enable`
    pub remote_storage: bool,
    /// `retention.bytes`; −1 is unlimited.
    pub retention_bytes: i64,
    /// `retention.ms`; −1 is unlimited.
    pub retention_ms: i64,
    /// `segment.bytes`
    pub segment_bytes: i32,
    /// `segment.index.bytes`
    pub segment_index_bytes: i32,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election: bool,
}

/// Which codec a topic's batches are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip
    Gzip,
    /// snappy
    Snappy,
    /// lz4
    Lz4,
    /// zstd
    Zstd,
}

impl TopicConfig {
    /// What is in force. Values that do not validate (they cannot be written through the controller) count as unset.
    pub fn effective(layers: Layers) -> TopicConfig {
        todo!()
    }
}

/// The value in force of one setting as text, or `None` for null.
pub fn effective(kind: Kind, name: &str, layers: Layers) -> Option<String> {
    todo!()
}
