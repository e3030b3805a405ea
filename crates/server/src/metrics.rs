//! What the server counts about itself, in Prometheus' words. Handles are kept where the counting happens:
//! no label is looked up on the way of a request.

mod catalog;
pub(crate) mod groups;
pub(crate) mod topics;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

pub use catalog::{METRICS, MetricInfo, MetricKind};
use milena_protocol::ApiKey;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::dispatch::SERVED;
use crate::memory::Memory;
use crate::node::Node;
use crate::world::World;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShareLabel {
    share: &'static str,
}

/// The counters of one node.
pub struct Metrics {
    registry: Registry,
    requests: BTreeMap<ApiKey, (Counter, Histogram)>,
    /// Connections that are open now.
    connections: Gauge,
    /// Connections accepted so far.
    pub accepted: Counter,
    /// Bytes of records appended by clients.
    pub appended_bytes: Counter,
    /// Record batches appended by clients.
    pub appended_batches: Counter,
    /// Bytes of records sent to readers.
    pub fetched_bytes: Counter,
    /// Replicas on this node.
    pub partitions: Gauge,
    /// Those of them that cannot be used.
    pub partitions_offline: Gauge,
    /// Memory that requests take, in bytes.
    reserved_bytes: Family<ShareLabel, Gauge>,
    /// What is appended and not flushed, in bytes.
    unflushed_bytes: Gauge,
    /// Last offset of the metadata log that was applied.
    pub metadata_offset: Gauge<i64>,
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("milena");
        let counts = Family::<ApiLabel, Counter>::default();
        registry.register("requests", "Requests", counts.clone());
        let times = Family::<ApiLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(SHORTEST_SECONDS, 2.0, BUCKETS))
        });
        let help = "Time from a request's decoding to its answer, waits that it asked for included";
        registry.register_with_unit("request", help, Unit::Seconds, times.clone());
        let of = |key: &ApiKey| {
            let label = ApiLabel { api: key.name() };
            (*key, (counts.get_or_create(&label).clone(), times.get_or_create(&label).clone()))
        };
        let requests = SERVED.iter().map(of).collect();
        let metrics = Metrics {
            requests,
            connections: Gauge::default(),
            accepted: Counter::default(),
            appended_bytes: Counter::default(),
            appended_batches: Counter::default(),
            fetched_bytes: Counter::default(),
            partitions: Gauge::default(),
            partitions_offline: Gauge::default(),
            reserved_bytes: Family::default(),
            unflushed_bytes: Gauge::default(),
            metadata_offset: Gauge::default(),
            registry,
        };
        metrics.registered()
    }

    fn registered(mut self) -> Metrics {
        let registry = &mut self.registry;
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_accepted", "Connections accepted", self.accepted.clone());
        let bytes = Unit::Bytes;
        registry.register_with_unit("appended", "Records appended", bytes.clone(), self.appended_bytes.clone());
        registry.register("appended_batches", "Record batches appended", self.appended_batches.clone());
        registry.register_with_unit("fetched", "Records sent", bytes.clone(), self.fetched_bytes.clone());
        registry.register("partitions", "Replicas on this node", self.partitions.clone());
        registry.register("partitions_offline", "Replicas that cannot be used", self.partitions_offline.clone());
        registry.register_with_unit("reserved", "Memory for requests", bytes.clone(), self.reserved_bytes.clone());
        registry.register_with_unit("unflushed", "Appended, not flushed", bytes, self.unflushed_bytes.clone());
        registry.register("metadata_offset", "Last applied metadata offset", self.metadata_offset.clone());
        self
    }

    /// A request of one served API has come.
    pub fn requested(&self, key: ApiKey) {
        self.requests[&key].0.inc();
    }

    /// A request of one served API was answered after so long.
    pub fn answered(&self, key: ApiKey, after: Duration) {
        self.requests[&key].1.observe(after.as_secs_f64());
    }

    /// Everything that is kept here as OpenMetrics text, without its last line.
    fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            let _ = writeln!(text, "# {error}");
        }
        text.trim_end_matches(END).to_owned()
    }
}

/// All metrics of a node as OpenMetrics text. What is not counted all the time is looked up.
pub(crate) async fn told<W: World>(node: &Node<W>) -> String {
    let replicas = node.partitions.all();
    node.metrics.partitions.set(replicas.len() as i64);
    node.metrics.partitions_offline.set(replicas.iter().filter(|replica| replica.is_offline()).count() as i64);
    node.metrics.connections.set(node.connections.count() as i64);
    node.metrics.unflushed_bytes.set(node.unflushed.bytes() as i64);
    let Memory { frames, answers, work } = &node.memory;
    let shares =
        [("frames", frames.reserved_bytes()), ("answers", answers.held_bytes()), ("work", work.reserved_bytes())];
    for (share, bytes) in shares {
        node.metrics.reserved_bytes.get_or_create(&ShareLabel { share }).set(bytes as i64);
    }
    let mut text = node.metrics.text();
    topics::begin(&mut text, "milena_groups");
    for (state, count) in groups::count(node).await {
        let _ = writeln!(text, "milena_groups{{state=\"{state}\"}} {count}");
    }
    write_throttled(&mut text, node);
    let untold = topics::write(&mut text, &node.partitions, node.settings.metrics_partitions_max);
    topics::begin(&mut text, "milena_partitions_untold");
    let _ = writeln!(text, "milena_partitions_untold {untold}");
    write_telemetry(&mut text, node);
    text.push_str(END);
    text
}

/// What clients push, and what they push it with.
fn write_telemetry<W: World>(text: &mut String, node: &Node<W>) {
    let told = node.telemetry.told();
    let numbers = [
        ("milena_telemetry_instances", told.instances as u64),
        ("milena_telemetry_received_total", told.received),
        ("milena_telemetry_series", told.series as u64),
        ("milena_telemetry_untold_total", told.untold),
    ];
    for (name, number) in numbers {
        topics::begin(text, name);
        let _ = writeln!(text, "{name} {number}");
    }
    topics::begin(text, "milena_telemetry_refused_total");
    for (error, count) in told.refused {
        let _ = writeln!(text, "milena_telemetry_refused_total{{error=\"{error}\"}} {count}");
    }
    text.push_str(&told.text);
}

/// Who is over a quota.
fn write_throttled<W: World>(text: &mut String, node: &Node<W>) {
    let (times, seconds) = node.connections.throttled();
    let throttled = || node.quotas.throttled().chain([("max.connection.creation.rate", times, seconds)]);
    topics::begin(text, "milena_throttled_total");
    for (quota, times, _) in throttled() {
        let _ = writeln!(text, "milena_throttled_total{{quota=\"{quota}\"}} {times}");
    }
    topics::begin(text, "milena_throttled_seconds_total");
    for (quota, _, seconds) in throttled() {
        let _ = writeln!(text, "milena_throttled_seconds_total{{quota=\"{quota}\"}} {seconds}");
    }
}

/// The shortest time that a histogram tells apart, in seconds.
const SHORTEST_SECONDS: f64 = 0.000_05;
/// Each twice as long as the one before: up to 6.5 s.
const BUCKETS: u16 = 18;
/// The last line of OpenMetrics text.
const END: &str = "# EOF\n";

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_api_has_a_counter() {
        let metrics = Metrics::new();
        for key in SERVED {
            metrics.requested(*key);
            assert!(metrics.text().contains(&format!("milena_requests_total{{api=\"{}\"}} 1", key.name())));
        }
    }
}
