//! Client telemetry (KIP-714): which clients are to report which of their metrics, and whether what a client sends is in
//! order. What becomes of the metrics is not decided here.
//!
//! ```text
//!   client                                  node
//!     │ GetTelemetrySubscriptions ─────────► Instances::subscribe: matches it, remembers it
//!     │ ◄──────────── its id, subscription id, metrics, interval
//!     │ PushTelemetry ─────────────────────► Instances::push: in time? the same subscriptions? not too large?
//!     │ ◄──────────── or the error          and then Instances::received: what came of the metrics
//!     │           once an interval
//! ```
//!
//! Source: `org.apache.kafka.server.ClientMetricsManager` and `org.apache.kafka.server.metrics`.

mod instances;
mod selectors;
mod subscriptions;

pub use instances::{Accepted, Instances, Push, Subscribed};
pub(crate) use selectors::Selectors;
pub use subscriptions::Subscriptions;

use core::net::SocketAddr;

use milena_protocol::Uuid;

/// A client as its requests show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The id that it was given with its subscriptions.
    pub instance: Uuid,
    /// The client id of its request.
    pub id: Option<String>,
    /// What its ApiVersions request says that it is.
    pub software_name: String,
    /// In which version.
    pub software_version: String,
    /// Where its connection comes from.
    pub address: SocketAddr,
}
