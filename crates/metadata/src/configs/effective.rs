//! Which value is in force: the resource's own, then this broker's, all brokers', server.properties', the default.
//! Within one layer a synonym in milliseconds beats one in minutes, and that one in hours.

use super::check::{normalize, words};
use super::{Kind, Source, Values, find, synonyms};

/// The settings that may say something about a resource, strongest first.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Set on the topic, group or subscription; empty for a broker.
    pub own: &'a Values,
    /// Set on this broker at run time.
    pub broker: &'a Values,
    /// Set on all brokers at run time.
    pub all_brokers: &'a Values,
    /// server.properties.
    pub file: &'a Values,
}

impl<'a> Layers<'a> {
    /// The broker's layers, strongest first.
    fn of_broker(self) -> [(&'a Values, Source); 3] {
        [
            (self.broker, Source::DynamicBroker),
            (self.all_brokers, Source::DynamicDefaultBroker),
            (self.file, Source::StaticBroker),
        ]
    }
}

/// The value in force of one setting as Kafka would print it, or `None` for null. A stored value that does not pass
/// its check (it can only come from a newer release) counts as unset.
pub fn effective(kind: Kind, name: &str, layers: Layers) -> Option<String> {
    with_source(kind, name, layers).0
}

/// A broker's setting in force for one of its listeners: `listener.name.LISTENER.NAME` counts more than `NAME`, wherever
/// either was set. Listeners are written in small letters there.
pub fn effective_of_listener(listener: &str, name: &str, layers: Layers) -> Option<String> {
    let narrowed = synonyms::of_listener(listener, name);
    let setting = find(Kind::Broker, name)?;
    let mut values = layers.of_broker().into_iter().filter_map(|(layer, _)| layer.get(&narrowed));
    let own = values.find_map(|value| normalize(setting, value).ok());
    own.or_else(|| effective(Kind::Broker, name, layers))
}

/// The value in force, and whose it is.
pub(crate) fn with_source(kind: Kind, name: &str, layers: Layers) -> (Option<String>, Source) {
    let Some(setting) = find(kind, name) else { return (None, Source::Default) };
    let own = layers.own.get(name).and_then(|value| normalize(setting, value).ok());
    let default = setting.default.map(str::to_string);
    match (kind, own) {
        (Kind::Topic, Some(value)) => (Some(value), Source::Topic),
        (Kind::Group, Some(value)) => (Some(value), Source::Group),
        (Kind::ClientMetrics, Some(value)) => (Some(value), Source::ClientMetrics),
        (Kind::Topic, None) => match of_topic(name, layers) {
            Some((value, source)) => (Some(value), source),
            None => (default, Source::Default),
        },
        (Kind::Group, None) => match synonyms::of_group(name) {
            Some(broker) => with_source(Kind::Broker, &broker, layers),
            None => (default, Source::Default),
        },
        (Kind::Broker, _) => {
            let mut values =
                layers.of_broker().into_iter().filter_map(|(layer, source)| Some((layer.get(name)?, source)));
            match values.find_map(|(value, source)| Some((normalize(setting, value).ok()?, source))) {
                Some((value, source)) => (Some(value), source),
                None => (default, Source::Default),
            }
        }
        (Kind::ClientMetrics, None) => (default, Source::Default),
    }
}

fn of_topic(name: &str, layers: Layers) -> Option<(String, Source)> {
    let fallbacks = synonyms::of_topic(name);
    let mut found = layers.of_broker().into_iter().flat_map(|(layer, source)| {
        fallbacks.iter().filter_map(move |fallback| {
            let value = normalize(find(Kind::Broker, fallback.name)?, layer.get(fallback.name)?).ok()?;
            let value = match fallback.factor {
                1 => value,
                factor => value.parse::<i64>().ok()?.saturating_mul(factor).to_string(),
            };
            Some((value, source))
        })
    });
    found.next()
}

/// How a topic's old data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Expire by time and size.
    pub delete: bool,
    /// Keep the last record of each key.
    pub compact: bool,
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

/// The topic settings in force, as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `compression.gzip.level`; −1 is the codec's default.
    pub gzip_level: i32,
    /// `compression.lz4.level`
    pub lz4_level: i32,
    /// `compression.zstd.level`
    pub zstd_level: i32,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `flush.messages`; 1 means that acknowledgements wait for the flush.
    pub flush_records: i64,
    /// `flush.ms`
    pub flush_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: i32,
    /// `local.retention.bytes`; −2 follows `retention.bytes`.
    pub local_retention_bytes: i64,
    /// `local.retention.ms`; −2 follows `retention.ms`.
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
    /// `segment.bytes`, or `internal.segment.bytes` where that is set.
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

impl TopicConfig {
    /// What is in force.
    pub fn effective(layers: Layers) -> TopicConfig {
        let text = |name: &str| effective(Kind::Topic, name, layers).unwrap_or_default();
        let long = |name: &str| number::<i64>(&text(name), name);
        let int = |name: &str| number::<i32>(&text(name), name);
        let policy = text("cleanup.policy");
        let internal_segment_bytes = effective(Kind::Topic, "internal.segment.bytes", layers);
        TopicConfig {
            cleanup_policy: CleanupPolicy {
                delete: words(&policy).contains(&"delete"),
                compact: words(&policy).contains(&"compact"),
            },
            compression_type: CompressionType::from_name(&text("compression.type")),
            gzip_level: int("compression.gzip.level"),
            lz4_level: int("compression.lz4.level"),
            zstd_level: int("compression.zstd.level"),
            delete_retention_ms: long("delete.retention.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_records: long("flush.messages"),
            flush_ms: long("flush.ms"),
            index_interval_bytes: int("index.interval.bytes"),
            local_retention_bytes: long("local.retention.bytes"),
            local_retention_ms: long("local.retention.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            batch_bytes_max: int("max.message.bytes"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            min_cleanable_dirty_ratio: number::<f64>(&text("min.cleanable.dirty.ratio"), "min.cleanable.dirty.ratio"),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: text("preallocate") == "true",
            remote_storage: text("remote.storage.enable") == "true",
            retention_bytes: long("retention.bytes"),
            retention_ms: long("retention.ms"),
            segment_bytes: internal_segment_bytes
                .map_or_else(|| int("segment.bytes"), |size| number(&size, "internal.segment.bytes")),
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
            unclean_leader_election: text("unclean.leader.election.enable") == "true",
        }
    }
}

impl CompressionType {
    fn from_name(name: &str) -> CompressionType {
        match name {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            _ => CompressionType::Producer,
        }
    }
}

/// A value that [`effective`] gave is of its type; anything else is a wrong row in a table.
fn number<T: std::str::FromStr>(text: &str, name: &str) -> T {
    let Ok(number) = text.parse() else { panic!("the table's row {name} does not give a number: {text:?}") };
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn retention(own: &[(&str, &str)], broker: &[(&str, &str)], all: &[(&str, &str)], file: &[(&str, &str)]) -> i64 {
        let (own, broker, all_brokers, file) = (values(own), values(broker), values(all), values(file));
        let layers = Layers { own: &own, broker: &broker, all_brokers: &all_brokers, file: &file };
        TopicConfig::effective(layers).retention_ms
    }

    #[test]
    fn the_topic_beats_the_broker_beats_all_brokers_beats_the_file() {
        let topic = ("retention.ms", "1");
        let broker = ("log.retention.ms", "2");
        let all = ("log.retention.ms", "3");
        let file = ("log.retention.ms", "4");
        assert_eq!(retention(&[topic], &[broker], &[all], &[file]), 1);
        assert_eq!(retention(&[], &[broker], &[all], &[file]), 2);
        assert_eq!(retention(&[], &[], &[all], &[file]), 3);
        assert_eq!(retention(&[], &[], &[], &[file]), 4);
        assert_eq!(retention(&[], &[], &[], &[]), 604_800_000);
    }

    #[test]
    fn milliseconds_beat_minutes_beat_hours_within_a_layer() {
        let (ms, minutes, hours) =
            (("log.retention.ms", "5"), ("log.retention.minutes", "2"), ("log.retention.hours", "3"));
        assert_eq!(retention(&[], &[], &[], &[ms, minutes, hours]), 5);
        assert_eq!(retention(&[], &[], &[], &[minutes, hours]), 120_000);
        assert_eq!(retention(&[], &[], &[], &[hours]), 3 * 3_600_000);
        assert_eq!(retention(&[], &[], &[ms], &[hours]), 5);
    }

    #[test]
    fn what_is_said_of_a_listener_counts_more_than_what_is_said_of_all() {
        let (none, all) = (Values::new(), values(&[("max.connections", "7")]));
        let file = values(&[("listener.name.in.max.connections", "3"), ("listener.name.out.max.connections", "x")]);
        let layers = Layers { own: &none, broker: &none, all_brokers: &all, file: &file };
        let in_force = |listener| effective_of_listener(listener, "max.connections", layers);
        assert_eq!(in_force("IN").as_deref(), Some("3"));
        assert_eq!(in_force("OUT").as_deref(), Some("7"), "a value that cannot be read counts as unset");
        let broker = values(&[("listener.name.in.max.connections", "4")]);
        let layers = Layers { broker: &broker, ..layers };
        assert_eq!(effective_of_listener("IN", "max.connections", layers).as_deref(), Some("4"));
    }

    #[test]
    fn a_brokers_times_of_flushes_and_of_chance_are_its_topics_defaults() {
        let in_force = |file: &[(&str, &str)]| {
            let (none, file) = (Values::new(), values(file));
            let layers = Layers { own: &none, broker: &none, all_brokers: &none, file: &file };
            let config = TopicConfig::effective(layers);
            (config.flush_ms, config.segment_jitter_ms)
        };
        let (interval, scheduler) = (("log.flush.interval.ms", "5"), ("log.flush.scheduler.interval.ms", "6"));
        let (ms, hours) = (("log.roll.jitter.ms", "7"), ("log.roll.jitter.hours", "2"));
        assert_eq!(in_force(&[]), (i64::MAX, 0));
        assert_eq!(in_force(&[scheduler, hours]), (6, 2 * 3_600_000));
        assert_eq!(in_force(&[interval, scheduler, ms, hours]), (5, 7));
    }

    #[test]
    fn a_value_that_cannot_be_read_counts_as_unset() {
        assert_eq!(retention(&[("retention.ms", "x")], &[], &[], &[("log.retention.hours", "y")]), 604_800_000);
    }
}
