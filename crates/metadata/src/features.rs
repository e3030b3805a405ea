//! The features that a cluster can finalize, with the levels that this program supports.

use crate::image::LevelRange;

/// One feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// Levels that a broker of this program supports (what ApiVersions shows).
    pub supported: LevelRange,
    /// Level of a new cluster at 4.3-IV0; 0 is not written.
    pub initial: i16,
}

/// Every feature but `kraft.version`, which lives in control records.
pub const FEATURES: &[Feature] = &[];
