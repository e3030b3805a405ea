//! Settings that can change while the node runs, but for those of topics, which their logs are told.
//!
//! What is in force is looked up anew with each change of a broker's settings. Listeners may be bound to names, and to find
//! those takes as long as a name server likes: that is for the pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_metadata::configs::{self, Kind, Layers, connections_by_host, effective, effective_of_listener};
use tracing::warn;

use super::{ListenerSettings, listeners};
use crate::connections::{ConnectionLimits, Limit};

/// What is in force now.
#[derive(Debug, Clone, PartialEq)]
pub struct Changeable {
    /// `listeners` and `listener.security.protocol.map`, without the controller's.
    pub listeners: Vec<ListenerSettings>,
    /// `max.connections` and its kin.
    pub connections: ConnectionLimits,
    /// `transaction.partition.verification.enable`: also for producers that add partitions by a request of its own.
    pub verifies: bool,
    /// `group.consumer.assignment.interval.ms`
    pub assignment_interval_ms: i32,
}

impl Changeable {
    /// Of the layers of this broker; what was let in is valid, and whatever is not counts as unset.
    pub fn in_force(layers: Layers<'_>, at_start: &[ListenerSettings]) -> Changeable {
        let listeners = listening(layers, at_start);
        let overrides = text("max.connections.per.ip.overrides", layers).unwrap_or_default();
        let inter_broker = text("inter.broker.listener.name", layers).unwrap_or_else(|| "PLAINTEXT".to_owned());
        let limit = |name: &str| Limit {
            connections_max: number_of_listener(name, "max.connections", layers),
            rate_max: number_of_listener(name, "max.connection.creation.rate", layers) as f64,
        };
        let connections = ConnectionLimits {
            broker: Limit {
                connections_max: number("max.connections", layers),
                rate_max: number("max.connection.creation.rate", layers) as f64,
            },
            listeners: listeners.iter().map(|listener| (Arc::clone(&listener.name), limit(&listener.name))).collect(),
            per_address_max: number("max.connections.per.ip", layers),
            by_host: connections_by_host(&overrides).unwrap_or_default(),
            inter_broker: Arc::from(inter_broker.to_uppercase()),
        };
        let verifies = text("transaction.partition.verification.enable", layers).is_some_and(|value| value == "true");
        Changeable { listeners, connections, verifies, assignment_interval_ms: assignment_interval_ms(layers) }
    }
}

/// Whatever was set is brought within the bounds of the file, which may be other ones since.
fn assignment_interval_ms(layers: Layers<'_>) -> i32 {
    let [interval, min, max] =
        ["", "min.", "max."].map(|bound| number(&format!("group.consumer.{bound}assignment.interval.ms"), layers));
    i32::try_from(interval.min(max).max(min)).unwrap_or(i32::MAX)
}

/// A listener of the start keeps its address and what is advertised of it: only others come and go.
fn listening(layers: Layers<'_>, at_start: &[ListenerSettings]) -> Vec<ListenerSettings> {
    let values: BTreeMap<String, String> = ["listeners", "listener.security.protocol.map", "controller.listener.names"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), layers.broker.get(name).or_else(|| layers.file.get(name))?.clone())))
        .collect();
    match layers.broker.contains_key("listeners") {
        false => at_start.to_vec(),
        true => match listeners::unadvertised(&values) {
            Ok(wanted) => {
                let known = |wanted: &ListenerSettings| at_start.iter().find(|listener| listener.name == wanted.name);
                wanted.into_iter().map(|wanted| known(&wanted).cloned().unwrap_or(wanted)).collect()
            }
            Err(error) => {
                warn!(%error, "listeners stay as they are");
                at_start.to_vec()
            }
        },
    }
}

fn text(name: &str, layers: Layers<'_>) -> Option<String> {
    effective(Kind::Broker, name, layers)
}

fn number(name: &str, layers: Layers<'_>) -> usize {
    as_count(name, text(name, layers))
}

fn number_of_listener(listener: &str, name: &str, layers: Layers<'_>) -> usize {
    as_count(name, effective_of_listener(listener, name, layers))
}

/// Every count has a default, and none is below 0.
fn as_count(name: &str, value: Option<String>) -> usize {
    let default = || configs::find(Kind::Broker, name)?.default?.parse().ok();
    value.and_then(|value| value.parse().ok()).or_else(default).unwrap_or(usize::MAX)
}
