//! The features that a cluster can finalize, with the levels that this program supports.
//!
//! Source: `Feature`, `MetadataVersion`, `KRaftVersion`; the initial levels are those of a fresh Kafka 4.3.1.

use milena_protocol::messages::{FeatureLevelRecord, MetadataRecord};

use crate::image::LevelRange;

/// The feature that says which record versions are written.
pub const METADATA_VERSION: &str = "metadata.version";
/// 4.3-IV0.
pub const METADATA_VERSION_LEVEL: i16 = 30;
/// The quorum protocol's feature. Its level lives in control records, not among the features of the image.
pub const KRAFT_VERSION: &str = "kraft.version";
/// How producers and brokers treat transactions (KIP-890): at 2 each has a producer epoch of its own.
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// Eligible leader replicas (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
/// Consumer groups (KIP-848).
pub const GROUP_VERSION: &str = "group.version";

/// One feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// Levels that a broker of this program supports: what registration and ApiVersions say.
    pub supported: LevelRange,
    /// Level in a new cluster.
    pub initial: i16,
}

const fn feature(name: &'static str, min: i16, max: i16, initial: i16) -> Feature {
    Feature { name, supported: LevelRange { min, max }, initial }
}

/// Every feature that a metadata record finalizes, in the order in which a new cluster's records name them. Share
/// groups and streams groups are not among them as long as their requests are not served:
/// clients take a finalized feature for a promise.
pub const FEATURES: &[Feature] = &[
    feature(METADATA_VERSION, 7, METADATA_VERSION_LEVEL, METADATA_VERSION_LEVEL),
    feature(ELR_VERSION, 0, 1, 1),
    feature(TRANSACTION_VERSION, 0, 2, 2),
    feature(GROUP_VERSION, 0, 1, 1),
];

/// The feature whose level stands in the quorum's control records.
pub const KRAFT_FEATURE: Feature = feature(KRAFT_VERSION, 0, 1, 1);

/// What nodes register, and tell their clients that they support.
pub fn supported() -> impl Iterator<Item = &'static Feature> {
    FEATURES.iter().chain([&KRAFT_FEATURE])
}

/// Whether Kafka has a feature of this name, though it may not be served here.
pub(crate) fn is_known(name: &str) -> bool {
    supported().any(|feature| feature.name == name) || UNSERVED.contains(&name)
}

/// Share groups and streams groups: always at 0.
const UNSERVED: &[&str] = &["share.version", "streams.version"];

/// What `bootstrap.checkpoint` of a new cluster holds.
pub fn bootstrap_records() -> Vec<MetadataRecord> {
    let record = |feature: &Feature| {
        FeatureLevelRecord { name: feature.name.to_string(), feature_level: feature.initial }.into()
    };
    FEATURES.iter().map(record).collect()
}
