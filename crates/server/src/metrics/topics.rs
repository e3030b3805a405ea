//! The metrics of topics and partitions. They are read from the logs when somebody asks, so that no request pays for
//! them; at most `metrics.partitions.max` partitions are told, whole topics in the order of their names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use milena_base::Disk;
use milena_protocol::Offset;

use super::catalog::{METRICS, MetricKind};
use crate::partitions::{Partitions, Replica};

/// A topic in numbers.
#[derive(Default)]
struct Topic {
    appended_bytes: u64,
    appended_records: u64,
    fetched_bytes: u64,
    size_bytes: u64,
    partitions: BTreeMap<i32, Partition>,
}

struct Partition {
    log_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
    size_bytes: u64,
}

/// Adds OpenMetrics text. Answers how many partitions are left out.
pub(crate) fn write<D: Disk>(text: &mut String, partitions: &Partitions<D>, partitions_max: usize) -> usize {
    let mut by_topic: BTreeMap<String, Vec<Arc<Replica<D>>>> = BTreeMap::new();
    for replica in partitions.all() {
        by_topic.entry(replica.topic_partition().topic.clone()).or_default().push(replica);
    }
    let (mut told, mut untold) = (0, 0);
    let mut topics: Vec<(String, Topic)> = Vec::new();
    for (name, replicas) in by_topic {
        if told + replicas.len() > partitions_max {
            untold += replicas.len();
            continue;
        }
        told += replicas.len();
        topics.push((name, measured(&replicas)));
    }
    write_topics(text, &topics);
    write_partitions(text, &topics);
    untold
}

/// An offline replica has nothing to tell.
fn measured<D: Disk>(replicas: &[Arc<Replica<D>>]) -> Topic {
    let mut topic = Topic::default();
    for replica in replicas {
        let figures = replica.with(|partition| (partition.figures(), partition.marks().high_watermark));
        let Some((figures, high_watermark)) = figures else { continue };
        topic.appended_bytes += figures.appended_bytes;
        topic.appended_records += figures.appended_records;
        topic.fetched_bytes += replica.fetched_bytes();
        topic.size_bytes += figures.size_bytes;
        let (log_start, log_end, size_bytes) = (figures.log_start, figures.log_end, figures.size_bytes);
        let partition = Partition { log_start, log_end, high_watermark, size_bytes };
        topic.partitions.insert(replica.topic_partition().partition, partition);
    }
    topic
}

/// A value of each topic.
type TopicValue = fn(&Topic) -> u64;
/// A value of each partition.
type PartitionValue = fn(&Partition) -> i64;

fn write_topics(text: &mut String, topics: &[(String, Topic)]) {
    let families: [(&str, TopicValue); 4] = [
        ("milena_topic_appended_bytes_total", |topic| topic.appended_bytes),
        ("milena_topic_appended_records_total", |topic| topic.appended_records),
        ("milena_topic_fetched_bytes_total", |topic| topic.fetched_bytes),
        ("milena_topic_size_bytes", |topic| topic.size_bytes),
    ];
    for (name, value) in families {
        begin(text, name);
        for (topic, numbers) in topics {
            let _ = writeln!(text, "{name}{{topic=\"{topic}\"}} {}", value(numbers));
        }
    }
}

fn write_partitions(text: &mut String, topics: &[(String, Topic)]) {
    let families: [(&str, PartitionValue); 4] = [
        ("milena_partition_high_watermark", |partition| partition.high_watermark.0),
        ("milena_partition_log_end_offset", |partition| partition.log_end.0),
        ("milena_partition_log_start_offset", |partition| partition.log_start.0),
        ("milena_partition_size_bytes", |partition| partition.size_bytes as i64),
    ];
    for (name, value) in families {
        begin(text, name);
        for (topic, numbers) in topics {
            for (partition, numbers) in &numbers.partitions {
                let _ = writeln!(text, "{name}{{topic=\"{topic}\",partition=\"{partition}\"}} {}", value(numbers));
            }
        }
    }
}

/// What stands before the values of a family. A counter's family is called without its ending.
pub(super) fn begin(text: &mut String, name: &str) {
    let Some(info) = METRICS.iter().find(|info| info.name == name) else { return };
    let family = match info.kind {
        MetricKind::Counter => name.trim_end_matches("_total"),
        _ => name,
    };
    let _ = writeln!(text, "# HELP {family} {}\n# TYPE {family} {}", info.doc, info.kind.name());
}
