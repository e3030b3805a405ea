//! Every metric by the name under which it is read, for the documentation. A test holds it against what a node tells.

/// How a metric is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Grows from 0 since the start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size: `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl MetricKind {
    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricInfo {
    /// As it is read; a histogram without its endings.
    pub name: &'static str,
    /// How it is read.
    pub kind: MetricKind,
    /// By what it is divided.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub doc: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    doc: &'static str,
) -> MetricInfo {
    MetricInfo { name, kind, labels, doc }
}

/// By name.
pub const METRICS: &[MetricInfo] = {
    use MetricKind::{Counter, Gauge, Histogram};
    const PARTITION: &[&str] = &["topic", "partition"];
    &[
        metric("milena_appended_batches_total", Counter, &[], "Record batches appended by clients."),
        metric("milena_appended_bytes_total", Counter, &[], "Bytes of batches appended by clients."),
        metric("milena_connections", Gauge, &[], "Connections open now."),
        metric("milena_connections_accepted_total", Counter, &[], "Connections accepted."),
        metric("milena_fetched_bytes_total", Counter, &[], "Bytes of batches sent to readers."),
        metric(
            "milena_groups",
            Gauge,
            &["state"],
            "Groups coordinated here, by state; one that is loading is not counted.",
        ),
        metric("milena_metadata_offset", Gauge, &[], "Last offset of the metadata log that was applied."),
        metric(
            "milena_partition_high_watermark",
            Gauge,
            PARTITION,
            "First offset that is not yet safe on every in-sync replica.",
        ),
        metric("milena_partition_log_end_offset", Gauge, PARTITION, "Next offset to be written."),
        metric("milena_partition_log_start_offset", Gauge, PARTITION, "First readable offset."),
        metric("milena_partition_size_bytes", Gauge, PARTITION, "Bytes of the log's segments."),
        metric("milena_partitions", Gauge, &[], "Replicas on this node."),
        metric("milena_partitions_offline", Gauge, &[], "Replicas that cannot be used; the log says why."),
        metric(
            "milena_partitions_untold",
            Gauge,
            &[],
            "Partitions whose own metrics are left out, beyond metrics.partitions.max.",
        ),
        metric(
            "milena_request_seconds",
            Histogram,
            &["api"],
            "Time from a request's decoding to its answer, waits that it asked for included.",
        ),
        metric("milena_requests_total", Counter, &["api"], "Requests."),
        metric(
            "milena_reserved_bytes",
            Gauge,
            &["share"],
            "Memory that requests take, by share of memory.request.bytes: frames, answers, work.",
        ),
        metric("milena_telemetry_instances", Gauge, &[], "Clients that asked which of their metrics are wanted."),
        metric("milena_telemetry_received_total", Counter, &[], "Pushes of clients whose metrics were received."),
        metric(
            "milena_telemetry_refused_total",
            Counter,
            &["error"],
            "Requests about clients' metrics that were refused, by error.",
        ),
        metric("milena_telemetry_series", Gauge, &[], "Series of clients' metrics that are told here."),
        metric(
            "milena_telemetry_untold_total",
            Counter,
            &[],
            "Values in them that are not told: no room (telemetry.series.max), no sound name, or a histogram.",
        ),
        metric(
            "milena_throttled_seconds_total",
            Counter,
            &["quota"],
            "Time for which clients were throttled, by the quota that they were over.",
        ),
        metric("milena_throttled_total", Counter, &["quota"], "Requests and connections that were throttled for it."),
        metric(
            "milena_topic_appended_bytes_total",
            Counter,
            &["topic"],
            "Bytes of batches appended since the replica was opened.",
        ),
        metric("milena_topic_appended_records_total", Counter, &["topic"], "Records in them."),
        metric(
            "milena_topic_fetched_bytes_total",
            Counter,
            &["topic"],
            "Bytes of batches sent to readers since the replica was opened.",
        ),
        metric("milena_topic_size_bytes", Gauge, &["topic"], "Bytes of the logs' segments on this node."),
        metric(
            "milena_unflushed_bytes",
            Gauge,
            &[],
            "Bytes appended to the log directory and not flushed; the kernel may have written them by itself.",
        ),
    ]
};
