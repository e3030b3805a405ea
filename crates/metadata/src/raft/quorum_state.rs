//! The file `quorum-state`: what this node has promised (JSON, versions 0 and 1).

use milena_protocol::{LeaderEpoch, NodeId, Uuid};

/// The promises of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumState {
    /// The current epoch.
    pub epoch: LeaderEpoch,
    /// Its leader, if known.
    pub leader: Option<NodeId>,
    /// Whom this node voted for in the epoch, with the directory (zero where not known).
    pub voted: Option<(NodeId, Uuid)>,
    /// Voters, in version 0 only.
    pub static_voters: Vec<NodeId>,
}

/// Why the file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quorum-state cannot be read: {0}")]
pub struct QuorumStateError(pub String);

impl QuorumState {
    /// The file's contents: version 1 where `kraft_version` is 1, else 0.
    pub fn to_json(&self, kraft_version: i16) -> String {
        todo!()
    }
    /// Reads the file's contents.
    pub fn parse(text: &str) -> Result<QuorumState, QuorumStateError> {
        todo!()
    }
}
