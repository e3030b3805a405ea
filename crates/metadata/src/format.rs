//! What `kafka-storage format` writes into an empty directory, as values.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::voters_record::{Endpoint, KRaftVersionFeature, Voter};
use milena_protocol::messages::{MetadataRecord, VotersRecord};
use milena_protocol::{LeaderEpoch, NodeId, Offset, Uuid};

use crate::features::KRAFT_FEATURE;
use crate::records::RecordsError;
use crate::snapshot::SnapshotId;
use crate::{METADATA_TOPIC, features, properties, snapshot};

/// Name of the file with a new cluster's first records, at the top of the metadata log directory.
pub const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";
/// Name of the file that says whose a log directory is, at its top.
pub const META_FILE: &str = "meta.properties";

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
        let values = [
            ("cluster.id", self.cluster_id.clone()),
            ("directory.id", self.directory.to_string()),
            ("node.id", self.node.to_string()),
            ("version", "1".to_string()),
        ];
        properties::write(&BTreeMap::from(values.map(|(key, value)| (key.to_string(), value))))
    }

    /// Reads the text of a file of version 1.
    pub fn parse(text: &str) -> Result<MetaProperties, MetaError> {
        let values = properties::parse(text).map_err(|error| MetaError(error.to_string()))?;
        let value = |key: &str| values.get(key).ok_or_else(|| MetaError(format!("{key} is missing")));
        let version = value("version")?;
        if version != "1" {
            return Err(MetaError(format!("version {version} is not supported")));
        }
        let (node, directory) = (value("node.id")?, value("directory.id")?);
        Ok(MetaProperties {
            cluster_id: value("cluster.id")?.clone(),
            node: NodeId(node.parse().map_err(|_| MetaError(format!("node.id is {node:?}")))?),
            directory: Uuid::parse(directory).ok_or_else(|| MetaError(format!("directory.id is {directory:?}")))?,
        })
    }
}

/// The only voter of a `--standalone` quorum.
pub fn standalone_voters(node: NodeId, directory: Uuid, listener: &str, host: &str, port: u16) -> VotersRecord {
    let endpoint = Endpoint { name: listener.to_string(), host: host.to_string(), port };
    let levels = KRAFT_FEATURE.supported;
    let voter = Voter {
        voter_id: node.0,
        voter_directory_id: directory,
        endpoints: vec![endpoint],
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: levels.min,
            max_supported_version: levels.max,
        },
    };
    VotersRecord { version: 0, voters: vec![voter] }
}

/// The files that a fresh controller needs, by path below the metadata log directory.
///
/// `bootstrap.checkpoint` holds the features to finalize first; `voters` (of a `--standalone` or
/// `--initial-controllers` format) go into `__cluster_metadata-0/00000000000000000000-0000000000.checkpoint`.
pub fn controller_files(voters: Option<&VotersRecord>, now: Millis) -> BTreeMap<String, Bytes> {
    let epoch = LeaderEpoch(0);
    let bootstrap = snapshot::contents(&features::bootstrap_records(), None, epoch, Millis(0), now);
    let mut files = BTreeMap::from([(BOOTSTRAP_FILE.to_string(), bootstrap)]);
    if let Some(voters) = voters {
        let first = SnapshotId { end: Offset(0), epoch };
        let path = format!("{METADATA_TOPIC}-0/{}", first.file_name());
        files.insert(path, snapshot::contents(&[], Some(voters), epoch, now, now));
    }
    files
}

/// Reads `bootstrap.checkpoint`.
pub fn read_bootstrap(bytes: &Bytes) -> Result<Vec<MetadataRecord>, RecordsError> {
    let id = SnapshotId { end: Offset(0), epoch: LeaderEpoch(0) };
    snapshot::read(id, bytes).map(|snapshot| snapshot.records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_properties_that_kafka_wrote_is_read() {
        let text = "#\n#Sat Nov 21 00:20:22 UTC 2026\nnode.id=1\ndirectory.id=ZrxAheY7TRqn9MSaU8Rctw\nversion=1\n\
                    cluster.id=4L6g3nShT-eMCtK--X86sw\n";
        let meta = MetaProperties::parse(text).expect("well formed");
        assert_eq!((meta.cluster_id.as_str(), meta.node), ("4L6g3nShT-eMCtK--X86sw", NodeId(1)));
        assert_eq!(MetaProperties::parse(&meta.to_text()), Ok(meta));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = MetaProperties::parse("version=1\nnode.id=1\n").expect_err("incomplete");
        assert_eq!(error.to_string(), "directory.id is missing");
    }

    #[test]
    fn a_standalone_format_gives_features_and_one_voter() {
        let voters = standalone_voters(NodeId(1), Uuid([7; 16]), "CONTROLLER", "localhost", 9093);
        let files = controller_files(Some(&voters), Millis(5));
        assert_eq!(read_bootstrap(&files[BOOTSTRAP_FILE]), Ok(features::bootstrap_records()));
        let (path, bytes) = files.iter().find(|(path, _)| path.contains('/')).expect("two files");
        let id = path.rsplit('/').next().and_then(SnapshotId::parse).expect("a snapshot's name");
        let snapshot = snapshot::read(id, bytes).expect("well formed");
        assert_eq!((snapshot.kraft_version, snapshot.voters), (1, Some(voters)));
        assert_eq!(files.len(), 2);
    }
}
