//! The door to the server: starts, formats and stops a node. The only file of this crate that knows how.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// A node that serves requests in this process.
pub(crate) struct Node {
    address: String,
}

/// Starts a node with settings under Kafka's names, and waits until it serves requests.
pub(crate) async fn start(settings: BTreeMap<String, String>) -> Result<Node, Failure> {
    let _ = settings;
    Err(Failure::failed("this build has no server yet"))
}

/// Formats a node's directory. Answers the cluster's id.
pub(crate) async fn format(settings: BTreeMap<String, String>, cluster_id: Option<String>) -> Result<String, Failure> {
    let _ = (settings, cluster_id);
    Err(Failure::failed("this build has no server yet"))
}

impl Node {
    /// Where clients connect, as HOST:PORT.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        Ok(())
    }
}
