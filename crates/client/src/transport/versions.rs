//! Which versions of each request both sides speak, and which features the cluster has agreed on.

use std::collections::BTreeMap;
use std::fmt;

use milena_protocol::messages::ApiVersionsResponse;
use milena_protocol::{ApiKey, Request};

/// Versions from `oldest` to `newest`, both included; empty if `newest` is the smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The first version.
    pub oldest: i16,
    /// The last version.
    pub newest: i16,
}

impl VersionRange {
    /// No version at all.
    pub const EMPTY: VersionRange = VersionRange { oldest: 0, newest: -1 };

    /// The newest version in both ranges.
    pub fn newest_common(self, other: VersionRange) -> Option<i16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.newest < self.oldest {
            true => f.write_str("no version"),
            false => write!(f, "versions {} to {}", self.oldest, self.newest),
        }
    }
}

/// What a broker said that it speaks (ApiVersions, KIP-35).
#[derive(Debug, Clone, Default)]
pub struct ApiVersions {
    ranges: BTreeMap<i16, VersionRange>,
    /// Finalized features and their levels (KIP-584).
    features: BTreeMap<String, i16>,
}

impl ApiVersions {
    /// Reads the broker's answer.
    pub fn from_response(response: &ApiVersionsResponse) -> ApiVersions {
        let range = |min, max| VersionRange { oldest: min, newest: max };
        let ranges = response.api_keys.iter().map(|api| (api.api_key, range(api.min_version, api.max_version)));
        let features = response.finalized_features.iter();
        let features = features.map(|feature| (feature.name.clone(), feature.max_version_level));
        ApiVersions { ranges: ranges.collect(), features: features.collect() }
    }

    /// The level that the cluster has agreed on for a feature; 0 where it names none.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The broker's versions of one request.
    pub fn of(&self, key: ApiKey) -> VersionRange {
        self.ranges.get(&(key as i16)).copied().unwrap_or(VersionRange::EMPTY)
    }

    /// The newest version that both sides speak, and that is not above `newest`.
    pub fn newest_common<R: Request>(&self, newest: i16) -> Option<i16> {
        VersionRange { oldest: R::OLDEST, newest: R::NEWEST.min(newest) }.newest_common(self.of(R::KEY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_lies_in_both_ranges() {
        let range = |oldest, newest| VersionRange { oldest, newest };
        assert_eq!(range(0, 5).newest_common(range(3, 9)), Some(5));
        assert_eq!(range(3, 9).newest_common(range(0, 5)), Some(5));
        assert_eq!(range(0, 2).newest_common(range(3, 9)), None);
        assert_eq!(range(0, 2).newest_common(VersionRange::EMPTY), None);
    }
}
