//! The node's settings as typed values, read once from Kafka's keys (`server.properties`, flags, `-o`).

mod authorizer;
mod changeable;
mod groups;
mod listeners;
mod transactions;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::configs::{self, Kind, Layers};
use milena_metadata::quotas::Window;
use milena_metadata::retention::Retention;
use milena_protocol::NodeId;

pub use self::changeable::Changeable;
use crate::metadata_log::MetadataLogSettings;
use crate::verification::VerificationSettings;

/// Keys of our own: they never leave this node (no controller and no client sees them).
pub const OWN_KEYS: &[OwnKey] = &[
    OwnKey {
        name: "cluster.id",
        default: "a random one",
        doc: "The id that an empty directory is formatted with; a formatted directory must have it.",
    },
    OwnKey {
        name: "log.unflushed.bytes.max",
        default: "a sixteenth of the memory",
        doc: "Bytes that may be appended to the log directory and not be flushed; 0 is no bound. Flushes begin in the background at half of it; producers wait before it is reached. Unless set, a sixteenth of what the process may use, from 64 MiB to 1 GiB.",
    },
    OwnKey {
        name: "memory.request.bytes",
        default: "a quarter of the memory",
        doc: "Memory that requests may take together, in bytes: a half for frames above 64 KiB, and never less than one of socket.request.max.bytes, a quarter for answers, a quarter for work on compressed records. Unless set, a quarter of what the process may use (the limit of its control group, or the machine's memory), from 64 MiB to 4 GiB.",
    },
    OwnKey {
        name: "metrics.listen",
        default: "none",
        doc: "HOST:PORT of health and metrics over HTTP; port 0 picks a free one.",
    },
    OwnKey {
        name: "metrics.partitions.max",
        default: "1000",
        doc: "Partitions that are told one by one in the metrics; those of further topics are only counted.",
    },
    OwnKey {
        name: "telemetry.series.max",
        default: "10000",
        doc: "Series of metrics that clients pushed (KIP-714) and that are told with the node's own; one client has at most a tenth of them. Only with metrics.listen are clients told that they may push; 0 keeps them from it.",
    },
];
/// Where data goes if nobody says.
const DATA_DIR: &str = "milena-data";
/// Series of clients' metrics if nobody says.
const TELEMETRY_SERIES_MAX: usize = 10_000;
/// Partitions with metrics of their own if nobody says.
const METRICS_PARTITIONS_MAX: usize = 1000;

/// A key of our own.
#[derive(Debug, Clone, Copy)]
pub struct OwnKey {
    /// Its name.
    pub name: &'static str,
    /// What is in force if nobody sets it.
    pub default: &'static str,
    /// One line for people.
    pub doc: &'static str,
}

/// Why the node does not start with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value does not fit its key.
    #[error("{key}={value}: {reason}")]
    Value {
        /// Which key.
        key: String,
        /// What was given.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// Values that each fit their keys, but not each other.
    #[error("{0}")]
    Together(String),
    /// Something that Kafka can do and Milena cannot yet.
    #[error("{0} is not supported yet")]
    Unsupported(String),
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name.
    pub name: Arc<str>,
    /// Where to listen.
    pub bind: SocketAddr,
    /// What clients are told; the port is filled in when the bound one is 0. `None` is nothing: whoever asks here finds
    /// no broker.
    pub advertised: Option<(String, u16)>,
}

/// The settings of a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every key as given, for DescribeConfigs and the controller's defaults.
    pub file: BTreeMap<String, String>,
    /// Keys that neither Kafka nor Milena knows: worth a warning each.
    pub unknown: Vec<String>,
    /// `authorizer.class.name` names one, which would let everybody do everything: worth a warning.
    pub names_authorizer: bool,
    /// `node.id`
    pub node_id: NodeId,
    /// `cluster.id` (ours): formats an empty directory with this id.
    pub cluster_id: Option<String>,
    /// `log.dirs`: one directory for now.
    pub data_dir: PathBuf,
    /// `listeners` and `advertised.listeners`, without those of the controller.
    pub listeners: Vec<ListenerSettings>,
    /// `metrics.listen` (ours): health and metrics over HTTP.
    pub metrics_listen: Option<SocketAddr>,
    /// `metrics.partitions.max` (ours): partitions with metrics of their own.
    pub metrics_partitions_max: usize,
    /// `telemetry.series.max` (ours): series of metrics that clients pushed; 0 takes none.
    pub telemetry_series_max: usize,
    /// `telemetry.max.bytes`: what the metrics of one push may take, compressed or not.
    pub telemetry_bytes_max: usize,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`
    pub connection_idle_max: Duration,
    /// `quota.window.num` and `quota.window.size.seconds`
    pub quota_window: Window,
    /// `controller.quota.window.num` and `controller.quota.window.size.seconds`
    pub controller_quota_window: Window,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_sessions_max: usize,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `num.partitions`
    pub default_partitions: i32,
    /// `default.replication.factor`
    pub default_replication: i16,
    /// `offsets.topic.num.partitions`
    pub offsets_partitions: i32,
    /// `offsets.topic.replication.factor`
    pub offsets_replication: i16,
    /// `offsets.topic.segment.bytes`
    pub offsets_segment_bytes: i32,
    /// `transaction.state.log.num.partitions`
    pub transactions_partitions: i32,
    /// `transaction.state.log.replication.factor`
    pub transactions_replication: i16,
    /// `transaction.state.log.segment.bytes`
    pub transactions_segment_bytes: i32,
    /// `transaction.state.log.min.isr`
    pub transactions_min_isr: i32,
    /// `max.request.partition.size.limit`: partitions of one DescribeTopicPartitions answer.
    pub described_partitions_max: i32,
    /// `broker.heartbeat.interval.ms`
    pub heartbeat_ms: i64,
    /// `broker.session.timeout.ms`
    pub session_ms: i64,
    /// `controller.quorum.election.timeout.ms`
    pub election_timeout_ms: i64,
    /// `controller.quorum.fetch.timeout.ms`
    pub quorum_fetch_timeout_ms: i64,
    /// `controller.quorum.request.timeout.ms`
    pub quorum_request_timeout_ms: i64,
    /// `controller.quorum.retry.backoff.ms`
    pub quorum_backoff_ms: i64,
    /// `request.timeout.ms`: how long a request of another broker waits for its records to be safe.
    pub request_timeout: Duration,
    /// How transactions' coordinators are asked before a transaction begins in a partition.
    pub verification: VerificationSettings,
    /// Settings of the group coordinator.
    pub groups: milena_coordinators::group::Settings,
    /// Settings of the transaction coordinator.
    pub transactions: milena_coordinators::transaction::Settings,
    /// `group.coordinator.rebalance.protocols` names `consumer`.
    pub serves_consumer_groups: bool,
    /// `log.retention.check.interval.ms`
    pub retention_check: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub checkpoint: Duration,
    /// Settings of the metadata log.
    pub metadata: MetadataLogSettings,
    /// Bytes that may be appended and not flushed (ours: `log.unflushed.bytes.max`); 0 is no bound.
    pub unflushed_bytes: Option<u64>,
    /// Memory for requests, in bytes (ours: `memory.request.bytes`); a part of all there is if nobody says.
    pub memory_bytes: Option<usize>,
}

/// The values in force: what was given, else Kafka's default.
struct Values<'a> {
    file: &'a BTreeMap<String, String>,
}

impl Values<'_> {
    fn text(&self, key: &str) -> Option<String> {
        let given = self.file.get(key).cloned();
        given.or_else(|| configs::find(Kind::Broker, key)?.default.map(ToOwned::to_owned))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, SettingsError>
    where
        T::Err: Display,
    {
        let value = self.text(key).unwrap_or_default();
        value.trim().parse().map_err(|error: T::Err| wrong(key, &value, error))
    }

    /// A number of bytes, connections or milliseconds that must not be negative.
    fn count(&self, key: &str) -> Result<usize, SettingsError> {
        let value: i64 = self.number(key)?;
        usize::try_from(value).map_err(|_| wrong(key, &value.to_string(), "must not be negative"))
    }

    fn millis(&self, key: &str) -> Result<Duration, SettingsError> {
        Ok(Duration::from_millis(self.count(key)? as u64))
    }
}

fn wrong(key: &str, value: &str, reason: impl Display) -> SettingsError {
    SettingsError::Value { key: key.to_owned(), value: value.to_owned(), reason: reason.to_string() }
}

impl Settings {
    /// Reads Kafka's keys. Every known key is validated, also those that have no effect here.
    pub fn read(file: BTreeMap<String, String>) -> Result<Settings, SettingsError> {
        let names_authorizer = authorizer::lets_everybody_in(&file)?;
        let is_of_authorizer = |key: &str| names_authorizer && authorizer::KEYS.contains(&key);
        let mut unknown = Vec::new();
        for (key, value) in &file {
            if configs::find(Kind::Broker, key).is_some() {
                configs::validate(Kind::Broker, key, value).map_err(|error| wrong(key, value, error))?;
            } else if OWN_KEYS.iter().all(|own| own.name != key)
                && !is_of_authorizer(key)
                && !is_of_listener(key, value)?
            {
                unknown.push(key.clone());
            }
        }
        let values = Values { file: &file };
        let node_id = node_id(&file, &values)?;
        let settings = Settings {
            unknown,
            names_authorizer,
            node_id,
            cluster_id: file.get("cluster.id").cloned(),
            data_dir: data_dir(&file)?,
            listeners: listeners::listeners(&file, listeners::own_host)?,
            metrics_listen: file.get("metrics.listen").map(|value| address("metrics.listen", value)).transpose()?,
            metrics_partitions_max: own_number(&file, "metrics.partitions.max")?.unwrap_or(METRICS_PARTITIONS_MAX),
            telemetry_series_max: own_number(&file, "telemetry.series.max")?.unwrap_or(TELEMETRY_SERIES_MAX),
            telemetry_bytes_max: values.count("telemetry.max.bytes")?,
            rack: file.get("broker.rack").cloned(),
            request_bytes_max: values.count("socket.request.max.bytes")?,
            connection_idle_max: idle_max(&values)?,
            quota_window: quota_window(&values, "quota.window")?,
            controller_quota_window: quota_window(&values, "controller.quota.window")?,
            fetch_bytes_max: values.count("fetch.max.bytes")?,
            fetch_sessions_max: values.count("max.incremental.fetch.session.cache.slots")?,
            auto_create_topics: values.number("auto.create.topics.enable")?,
            default_partitions: values.number("num.partitions")?,
            default_replication: values.number("default.replication.factor")?,
            offsets_partitions: values.number("offsets.topic.num.partitions")?,
            offsets_replication: values.number("offsets.topic.replication.factor")?,
            described_partitions_max: values.number("max.request.partition.size.limit")?,
            offsets_segment_bytes: values.number("offsets.topic.segment.bytes")?,
            transactions_partitions: values.number("transaction.state.log.num.partitions")?,
            transactions_replication: values.number("transaction.state.log.replication.factor")?,
            transactions_segment_bytes: values.number("transaction.state.log.segment.bytes")?,
            transactions_min_isr: values.number("transaction.state.log.min.isr")?,
            heartbeat_ms: values.number("broker.heartbeat.interval.ms")?,
            session_ms: values.number("broker.session.timeout.ms")?,
            election_timeout_ms: values.number("controller.quorum.election.timeout.ms")?,
            quorum_fetch_timeout_ms: values.number("controller.quorum.fetch.timeout.ms")?,
            quorum_request_timeout_ms: values.number("controller.quorum.request.timeout.ms")?,
            quorum_backoff_ms: values.number("controller.quorum.retry.backoff.ms")?,
            request_timeout: values.millis("request.timeout.ms")?,
            verification: transactions::verification(&values)?,
            groups: groups::groups(&values)?,
            serves_consumer_groups: groups::serves_consumer_groups(&values)?,
            transactions: transactions::transactions(&values)?,
            retention_check: values.millis("log.retention.check.interval.ms")?,
            checkpoint: values.millis("log.flush.offset.checkpoint.interval.ms")?,
            metadata: metadata_log(&values)?,
            unflushed_bytes: own_number(&file, "log.unflushed.bytes.max")?.map(|bytes| bytes as u64),
            memory_bytes: own_number(&file, "memory.request.bytes")?,
            file: BTreeMap::new(),
        };
        let has_role = |roles: &String, wanted: &str| roles.split(',').any(|role| role.trim() == wanted);
        if file.get("process.roles").is_some_and(|roles| !has_role(roles, "broker") || !has_role(roles, "controller")) {
            let missing =
                "a node with only one role (process.roles): say process.roles=broker,controller, or leave it out";
            return Err(SettingsError::Unsupported(missing.to_owned()));
        }
        only_voter(&file, settings.node_id)?;
        configs::check_file_together(&file).map_err(|error| SettingsError::Together(error.message))?;
        known_hosts(&values)?;
        if file.get("metadata.log.dir").is_some_and(|dir| *settings.data_dir != *dir.trim()) {
            return Err(SettingsError::Unsupported(
                "a directory of its own for the metadata log (metadata.log.dir)".to_owned(),
            ));
        }
        // Shown by DescribeConfigs and counted by the controller like a value that was given.
        let mut file = file;
        file.entry("node.id".to_owned()).or_insert_with(|| settings.node_id.to_string());
        Ok(Settings { file, ..settings })
    }

    /// The settings of groups, with the interval that is in force now.
    pub(crate) fn groups_with(&self, assignment_interval_ms: i32) -> milena_coordinators::group::Settings {
        let mut groups = self.groups;
        groups.consumer.assignment_interval_ms = assignment_interval_ms;
        groups
    }

    /// What is in force of the settings that may change, as long as nobody changed any.
    pub(crate) fn at_start(&self) -> Changeable {
        let none = BTreeMap::new();
        let layers = Layers { own: &none, broker: &none, all_brokers: &none, file: &self.file };
        Changeable::in_force(layers, &self.listeners)
    }
}

/// A name that leads nowhere is a mistake; while the node runs, it may be one of a moment.
fn known_hosts(values: &Values<'_>) -> Result<(), SettingsError> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let text = values.text(KEY).unwrap_or_default();
    let hosts = configs::connections_by_host(&text).map_err(|reason| wrong(KEY, &text, reason))?;
    match hosts.into_keys().find(|host| (host.as_str(), 0).to_socket_addrs().is_err()) {
        Some(host) => Err(wrong(KEY, &text, format!("no address is known by the name {host}"))),
        None => Ok(()),
    }
}

/// Whether it is `listener.name.LISTENER.SETTING`, and then a value of that setting.
fn is_of_listener(key: &str, value: &str) -> Result<bool, SettingsError> {
    let setting = configs::listener_setting(key).and_then(|setting| configs::find(Kind::Broker, setting));
    let Some(setting) = setting else { return Ok(false) };
    configs::normalize(setting, value).map(|_| true).map_err(|error| wrong(key, value, error))
}

/// `broker.id` is the older name. Source: `KafkaConfig.validateValues`.
fn node_id(file: &BTreeMap<String, String>, values: &Values<'_>) -> Result<NodeId, SettingsError> {
    match (file.get("node.id"), file.get("broker.id")) {
        (None, None) => Ok(NodeId(1)),
        (None, Some(_)) => Ok(NodeId(values.number("broker.id")?)),
        (Some(id), Some(older)) if id.trim() != older.trim() => {
            Err(wrong("node.id", id, format!("broker.id, its older name, says {older}; leave one of them out")))
        }
        (Some(_), _) => Ok(NodeId(values.number("node.id")?)),
    }
}

/// A quorum that needs others would wait for them in vain.
fn only_voter(file: &BTreeMap<String, String>, own: NodeId) -> Result<(), SettingsError> {
    let Some(voters) = file.get("controller.quorum.voters").filter(|voters| !voters.trim().is_empty()) else {
        return Ok(());
    };
    match voters.trim().split_once('@') {
        Some((id, _)) if id.parse() == Ok(own.0) && !voters.contains(',') => Ok(()),
        _ => Err(SettingsError::Unsupported(format!(
            "a quorum of other voters than this node {own} (controller.quorum.voters={voters})"
        ))),
    }
}

fn metadata_log(values: &Values<'_>) -> Result<MetadataLogSettings, SettingsError> {
    let segment_bytes = match values.text("internal.metadata.log.segment.bytes") {
        Some(_) => values.number("internal.metadata.log.segment.bytes")?,
        None => values.number("metadata.log.segment.bytes")?,
    };
    Ok(MetadataLogSettings {
        snapshot_bytes_max: values.count("metadata.log.max.record.bytes.between.snapshots")? as u64,
        snapshot_interval_ms: values.number("metadata.log.max.snapshot.interval.ms")?,
        segment_bytes,
        segment_ms: values.number("metadata.log.segment.ms")?,
        retention: Retention {
            bytes: values.number("metadata.max.retention.bytes")?,
            ms: values.number("metadata.max.retention.ms")?,
        },
        delete_delay_ms: values.number("internal.metadata.delete.delay.millis")?,
    })
}

/// How the rates of quotas are measured; both keys are at least 1.
fn quota_window(values: &Values<'_>, prefix: &str) -> Result<Window, SettingsError> {
    let samples = values.count(&format!("{prefix}.num"))?;
    let size_seconds: i64 = values.number(&format!("{prefix}.size.seconds"))?;
    Ok(Window { samples, size_ms: size_seconds * 1000 })
}

/// Negative means for ever.
fn idle_max(values: &Values<'_>) -> Result<Duration, SettingsError> {
    let millis: i64 = values.number("connections.max.idle.ms")?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX / 1_000_000)))
}

fn data_dir(file: &BTreeMap<String, String>) -> Result<PathBuf, SettingsError> {
    let dirs = file.get("log.dirs").or_else(|| file.get("log.dir"));
    let Some(dirs) = dirs else { return Ok(PathBuf::from(DATA_DIR)) };
    match dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()).collect::<Vec<_>>().as_slice() {
        [] => Err(wrong("log.dirs", dirs, "name a directory")),
        [one] => Ok(PathBuf::from(one)),
        _ => Err(SettingsError::Unsupported(format!("more than one directory (log.dirs={dirs})"))),
    }
}

/// A number of our own, if it is given.
fn own_number(file: &BTreeMap<String, String>, key: &str) -> Result<Option<usize>, SettingsError> {
    let parsed = |value: &String| value.trim().parse().map_err(|error| wrong(key, value, error));
    file.get(key).map(parsed).transpose()
}

fn address(key: &str, text: &str) -> Result<SocketAddr, SettingsError> {
    let mut found = text.to_socket_addrs().map_err(|_| wrong(key, text, "no address is known by that name"))?;
    found.next().ok_or_else(|| wrong(key, text, "no address is known by that name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn nothing_given_is_a_node_on_loopback() {
        let settings = read(&[]).expect("defaults are valid");
        assert_eq!(settings.listeners[0].bind, SocketAddr::from(([127, 0, 0, 1], 9092)));
        assert_eq!(settings.request_bytes_max, 104_857_600);
        assert_eq!(settings.default_partitions, 1);
    }

    #[test]
    fn the_controllers_listener_is_not_for_clients() {
        let settings = read(&[
            ("listeners", "PLAINTEXT://127.0.0.1:9095,CONTROLLER://127.0.0.1:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("advertised.listeners", "PLAINTEXT://example.org:19092"),
        ])
        .expect("valid");
        assert_eq!(settings.listeners.len(), 1);
        assert_eq!(settings.listeners[0].advertised, Some(("example.org".to_owned(), 19092)));
    }

    #[test]
    fn a_listener_that_promises_encryption_does_not_come_up_without_it() {
        assert!(matches!(read(&[("listeners", "SSL://127.0.0.1:9095")]), Err(SettingsError::Unsupported(_))));
    }

    #[test]
    fn a_node_that_is_to_guard_access_does_not_start() {
        let class = ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
        assert!(matches!(read(&[class]), Err(SettingsError::Unsupported(_))));
        let open =
            read(&[class, ("allow.everyone.if.no.acl.found", "true"), ("super.users", "User:a")]).expect("valid");
        assert!(open.names_authorizer && open.unknown.is_empty());
    }

    #[test]
    fn the_metadata_log_lies_in_the_data_directory_or_the_node_does_not_start() {
        let there = ("log.dirs", "/data");
        assert!(read(&[there, ("metadata.log.dir", "/data")]).is_ok());
        assert!(matches!(read(&[there, ("metadata.log.dir", "/other")]), Err(SettingsError::Unsupported(_))));
    }

    #[test]
    fn a_node_has_both_roles_or_does_not_start() {
        for role in ["broker", "controller"] {
            assert!(matches!(read(&[("process.roles", role)]), Err(SettingsError::Unsupported(_))), "{role}");
        }
        assert!(read(&[("process.roles", "controller, broker")]).is_ok());
    }

    #[test]
    fn a_node_whose_quorum_is_not_itself_alone_does_not_start() {
        let voters = |text| read(&[("node.id", "7"), ("controller.quorum.voters", text)]);
        assert!(voters("7@localhost:9093").is_ok());
        for others in ["7@localhost:9093,8@localhost:9094", "8@localhost:9094"] {
            assert!(matches!(voters(others), Err(SettingsError::Unsupported(_))), "{others}");
        }
    }

    #[test]
    fn a_node_is_called_by_either_name_and_both_say_the_same() {
        assert_eq!(read(&[("broker.id", "7")]).expect("valid").node_id, NodeId(7));
        assert_eq!(read(&[("broker.id", "7"), ("node.id", "7")]).expect("valid").node_id, NodeId(7));
        let both = read(&[("broker.id", "7"), ("node.id", "8")]);
        assert!(matches!(both, Err(SettingsError::Value { key, .. }) if key == "node.id"));
    }

    #[test]
    fn data_goes_where_the_older_key_says_unless_the_newer_one_does() {
        let data_dir = |pairs: &[_]| read(pairs).expect("valid").data_dir;
        assert_eq!(data_dir(&[("log.dir", "/older")]), PathBuf::from("/older"));
        assert_eq!(data_dir(&[("log.dir", "/older"), ("log.dirs", "/newer")]), PathBuf::from("/newer"));
    }

    #[test]
    fn unknown_keys_are_named_and_bad_values_refused() {
        assert_eq!(read(&[("no.such.key", "1")]).expect("accepted").unknown, ["no.such.key"]);
        assert!(
            matches!(read(&[("num.partitions", "many")]), Err(SettingsError::Value { key, .. }) if key == "num.partitions")
        );
    }
}
