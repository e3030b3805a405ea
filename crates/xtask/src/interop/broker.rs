//! What clients are run against: a node that is started for them, or any broker.

use super::lanes::Said;
use crate::node::{Node, Plan};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

/// Tells a client that the node is ours: it may be killed.
const MAY_BE_KILLED: &str = "BROKER_MAY_BE_KILLED";
/// Tells a client where our node tells its metrics.
const METRICS: &str = "BROKER_METRICS";

/// Below it the nodes keep their data, each in a folder of its own.
fn nodes() -> PathBuf {
    super::cache().join("nodes")
}

/// The data directories that the nodes of the last run left.
pub(super) fn data_directories() -> Result<Vec<PathBuf>, String> {
    let nodes = nodes();
    let entries = std::fs::read_dir(&nodes).map_err(|error| format!("{}: {error}", nodes.display()))?;
    let mut directories: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path().join("data"))).collect();
    directories.sort();
    Ok(directories)
}

/// Forgets what earlier runs left.
pub(super) fn clear() -> Result<(), String> {
    let nodes = nodes();
    match std::fs::remove_dir_all(&nodes) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", nodes.display())),
        _ => Ok(()),
    }
}

pub(super) enum Broker {
    Given(String),
    /// Started here; `None` after a restart that failed.
    Own {
        plan: Plan,
        node: Option<Node>,
        /// Where it tells its metrics.
        metrics: SocketAddr,
    },
}

impl Broker {
    /// A node with these settings, which keeps its data in a folder of that name.
    pub(super) fn start(name: &str, settings: Vec<String>) -> Result<Broker, String> {
        let metrics = free_address().map_err(|error| format!("no free port: {error}"))?;
        let plan = Plan::fresh(&nodes().join(name))?.option(format!("metrics.listen={metrics}"));
        let mut plan = settings.into_iter().fold(plan, Plan::option);
        let node = Node::start(&plan)?;
        // Clients know the address, so that whoever takes the node's place must have it too.
        plan.listen.clone_from(&node.address);
        Ok(Broker::Own { plan, node: Some(node), metrics })
    }

    pub(super) fn address(&self) -> &str {
        match self {
            Broker::Given(address) => address,
            Broker::Own { plan, .. } => &plan.listen,
        }
    }

    /// Tells a client what it may do to this broker.
    pub(super) fn introduce(&self, client: &mut Command) {
        if let Broker::Own { metrics, .. } = self {
            client.env(MAY_BE_KILLED, "yes").env(METRICS, metrics.to_string());
        }
    }

    /// kill -9, and another one in its place: the same port, the same data.
    pub(super) fn restart(&mut self, said: &mut Said) -> Result<(), String> {
        let Broker::Own { plan, node, .. } = self else { return Err("only our own node can be killed".to_owned()) };
        node.take().ok_or("the server did not come back")?.kill()?;
        let started = Node::start(plan)?;
        said.line(&format!("the server was killed, and is ready again after {} ms", started.ready_after.as_millis()));
        *node = Some(started);
        Ok(())
    }

    /// A clean shutdown is part of what is checked: `dump-log` reads what it leaves.
    pub(super) fn stop(self) -> Result<(), String> {
        match self {
            Broker::Own { node: Some(node), .. } => node.stop(),
            Broker::Own { node: None, .. } | Broker::Given(_) => Ok(()),
        }
    }
}

/// An address that nobody listens on. The node has it for good, also when it is killed and comes back.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
