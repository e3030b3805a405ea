//! What `kafka-storage format` writes into an empty directory, as values.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::VotersRecord;
use milena_protocol::{NodeId, Uuid};

/// `meta.properties`, version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id: 16 bytes in Kafka's text form by custom, any text by rule.
    pub cluster_id: String,
    /// This node.
    pub node: NodeId,
    /// This log directory.
    pub directory: Uuid,
}

/// Why a `meta.properties` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MetaError(pub String);

impl MetaProperties {
    /// The text of the file.
    pub fn to_text(&self) -> String {
        todo!()
    }
    /// Reads the text of a file (versions 0 and 1).
    pub fn parse(text: &str) -> Result<MetaProperties, MetaError> {
        todo!()
    }
}

/// The files that a fresh controller needs, by path below the metadata log directory.
///
/// `bootstrap.checkpoint` holds the features to finalize first; `voters` (a `--standalone` or
/// `--initial-controllers` format) become `__cluster_metadata-0/00000000000000000000-0000000000.checkpoint`.
pub fn controller_files(voters: Option<&VotersRecord>, now: Millis) -> BTreeMap<String, Bytes> {
    todo!()
}
