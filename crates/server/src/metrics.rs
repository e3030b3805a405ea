//! What the server counts about itself, in Prometheus' words. Handles are kept where the counting happens:
//! no label is looked up on the way of a request.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;

use milena_protocol::ApiKey;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::dispatch::SERVED;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

/// The counters of one node.
pub struct Metrics {
    registry: Registry,
    requests: BTreeMap<ApiKey, Counter>,
    /// Connections that are open now.
    pub connections: Gauge,
    /// Connections accepted so far.
    pub accepted: Counter,
    /// Bytes of records appended by clients.
    pub appended_bytes: Counter,
    /// Record batches appended by clients.
    pub appended_batches: Counter,
    /// Bytes of records sent to readers.
    pub fetched_bytes: Counter,
    /// Seconds from a produce request's decoding to its answer.
    pub produce_seconds: Histogram,
    /// Partitions that this node leads.
    pub partitions: Gauge,
    /// Memory reserved for request frames, in bytes.
    pub reserved_bytes: Gauge<i64>,
    /// Last offset of the metadata log that was applied.
    pub metadata_offset: Gauge<i64>,
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("milena");
        let requests = Family::<ApiLabel, Counter>::default();
        registry.register("requests", "Requests by API", requests.clone());
        let requests =
            SERVED.iter().map(|key| (*key, requests.get_or_create(&ApiLabel { api: key.name() }).clone())).collect();
        let metrics = Metrics {
            requests,
            connections: Gauge::default(),
            accepted: Counter::default(),
            appended_bytes: Counter::default(),
            appended_batches: Counter::default(),
            fetched_bytes: Counter::default(),
            produce_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            partitions: Gauge::default(),
            reserved_bytes: Gauge::default(),
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
        let seconds = Unit::Seconds;
        registry.register_with_unit("produce", "Time of produce requests", seconds, self.produce_seconds.clone());
        registry.register("partitions", "Partitions led by this node", self.partitions.clone());
        registry.register_with_unit("reserved", "Memory for request frames", bytes, self.reserved_bytes.clone());
        registry.register("metadata_offset", "Last applied metadata offset", self.metadata_offset.clone());
        self
    }

    /// The counter of one served API.
    pub fn requests(&self, key: ApiKey) -> &Counter<u64, AtomicU64> {
        &self.requests[&key]
    }

    /// Everything as Prometheus text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            let _ = write!(text, "# {error}");
        }
        text
    }
}

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
            metrics.requests(*key).inc();
            assert!(metrics.text().contains(&format!("milena_requests_total{{api=\"{}\"}} 1", key.name())));
        }
    }
}
