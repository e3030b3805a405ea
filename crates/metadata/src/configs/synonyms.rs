//! Which broker settings stand behind a topic's or a group's, and behind each other.
//!
//! Source: `ServerTopicConfigSynonyms`, `GroupConfig`, `DynamicBrokerConfig.brokerConfigSynonyms`.

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A broker setting, and by how much its value is multiplied to become the topic's.
pub(super) struct Fallback {
    pub(super) name: &'static str,
    pub(super) factor: i64,
}

const fn same(name: &'static str) -> Fallback {
    Fallback { name, factor: 1 }
}

const fn times(name: &'static str, factor: i64) -> Fallback {
    Fallback { name, factor }
}

/// Broker settings that give a topic setting its default, the finest unit first.
pub(super) fn of_topic(name: &str) -> &'static [Fallback] {
    match name {
        "segment.bytes" => const { &[same("log.segment.bytes")] },
        "segment.ms" => const { &[same("log.roll.ms"), times("log.roll.hours", HOUR_MS)] },
        "segment.jitter.ms" => const { &[same("log.roll.jitter.ms"), times("log.roll.jitter.hours", HOUR_MS)] },
        "segment.index.bytes" => const { &[same("log.index.size.max.bytes")] },
        "flush.messages" => const { &[same("log.flush.interval.messages")] },
        "flush.ms" => const { &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")] },
        "retention.bytes" => const { &[same("log.retention.bytes")] },
        "retention.ms" => {
            const {
                &[
                    same("log.retention.ms"),
                    times("log.retention.minutes", MINUTE_MS),
                    times("log.retention.hours", HOUR_MS),
                ]
            }
        }
        "max.message.bytes" => const { &[same("message.max.bytes")] },
        "index.interval.bytes" => const { &[same("log.index.interval.bytes")] },
        "delete.retention.ms" => const { &[same("log.cleaner.delete.retention.ms")] },
        "min.compaction.lag.ms" => const { &[same("log.cleaner.min.compaction.lag.ms")] },
        "max.compaction.lag.ms" => const { &[same("log.cleaner.max.compaction.lag.ms")] },
        "file.delete.delay.ms" => const { &[same("log.segment.delete.delay.ms")] },
        "min.cleanable.dirty.ratio" => const { &[same("log.cleaner.min.cleanable.ratio")] },
        "cleanup.policy" => const { &[same("log.cleanup.policy")] },
        "unclean.leader.election.enable" => const { &[same("unclean.leader.election.enable")] },
        "min.insync.replicas" => const { &[same("min.insync.replicas")] },
        "compression.type" => const { &[same("compression.type")] },
        "compression.gzip.level" => const { &[same("compression.gzip.level")] },
        "compression.lz4.level" => const { &[same("compression.lz4.level")] },
        "compression.zstd.level" => const { &[same("compression.zstd.level")] },
        "preallocate" => const { &[same("log.preallocate")] },
        "message.timestamp.type" => const { &[same("log.message.timestamp.type")] },
        "message.timestamp.before.max.ms" => const { &[same("log.message.timestamp.before.max.ms")] },
        "message.timestamp.after.max.ms" => const { &[same("log.message.timestamp.after.max.ms")] },
        "local.retention.ms" => const { &[same("log.local.retention.ms")] },
        "local.retention.bytes" => const { &[same("log.local.retention.bytes")] },
        _ => &[],
    }
}

/// The broker setting that gives a group setting its default: the same name behind `group.`.
pub(super) fn of_group(name: &str) -> Option<String> {
    match name {
        "share.auto.offset.reset" | "share.isolation.level" | "share.renew.acknowledge.enable" => None,
        _ => Some(format!("group.{name}")),
    }
}

/// The broker settings that are read in place of each other, the strongest first; a setting of its own stands alone.
pub(super) fn of_broker(name: &str) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => vec!["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => match listener_setting(name) {
            Some(base) => vec![name, base],
            None => vec![name],
        },
    }
}

/// The setting that `listener.name.LISTENER.SETTING` narrows to one listener.
pub fn listener_setting(name: &str) -> Option<&str> {
    name.strip_prefix("listener.name.")?.split_once('.').map(|(_, setting)| setting)
}

/// What [`listener_setting`] takes apart.
pub(super) fn of_listener(listener: &str, setting: &str) -> String {
    format!("listener.name.{}.{setting}", listener.to_lowercase())
}
