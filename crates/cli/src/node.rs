//! The door to the server: starts, formats and stops a node. The only file of this crate that knows how.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_server::cores::Machine;
use milena_server::{Running, Settings, startup};

use crate::failure::Failure;

/// A node that serves requests in this process, with threads of its own.
pub(crate) struct Node {
    running: Running<Machine>,
    /// Its threads end when this goes.
    machine: Arc<Machine>,
}

/// Starts a node with settings under Kafka's names, and waits until it serves requests.
pub(crate) async fn start(settings: BTreeMap<String, String>) -> Result<Node, Failure> {
    let settings = read(settings)?;
    let machine = start_machine()?;
    let running = milena_server::start(Arc::clone(&machine), settings).await.map_err(Failure::failed)?;
    Ok(Node { running, machine })
}

/// Formats a node's directory. Answers the cluster's id.
pub(crate) async fn format(
    mut settings: BTreeMap<String, String>,
    cluster_id: Option<String>,
) -> Result<String, Failure> {
    settings.extend(cluster_id.map(|id| ("cluster.id".to_owned(), id)));
    let settings = read(settings)?;
    startup::format(&*start_machine()?, &settings).map_err(Failure::failed)
}

/// What Kafka's keys say; keys that nobody knows are worth a warning each, and so is an authorizer.
fn read(settings: BTreeMap<String, String>) -> Result<Settings, Failure> {
    let settings = Settings::read(settings).map_err(Failure::usage)?;
    for key in &settings.unknown {
        tracing::warn!(key, "unknown setting, ignored");
    }
    if settings.names_authorizer {
        tracing::warn!(
            "every client may do everything, as these settings let them until there are rules; none can be made here"
        );
    }
    Ok(settings)
}

fn start_machine() -> Result<Arc<Machine>, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Machine::start(cores).map_err(|error| Failure::io("threads cannot be started", &error))
}

impl Node {
    /// Where clients connect, as HOST:PORT.
    pub(crate) fn address(&self) -> String {
        self.running.addresses()[0].to_string()
    }

    /// Waits until the node cannot go on by itself.
    pub(crate) async fn failed(&mut self) -> Failure {
        Failure::failed(self.running.failed().await)
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.running.stop().await;
        drop(self.machine);
        Ok(())
    }
}
