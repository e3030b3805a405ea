//! ApiVersions: what this broker speaks.

use milena_metadata::features::{self, KRAFT_VERSION};
use milena_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, ErrorCode};

use crate::dispatch::{Call, SERVED};
use crate::world::World;

/// Answers with every served API, those of telemetry only where metrics are taken, and with the features from version 3 on.
pub async fn api_versions<W: World>(call: &Call<'_, W>, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    if call.version() >= 3 && !named {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.number(), ..Default::default() };
    }
    call.peer.software.said(&request.client_software_name, &request.client_software_version);
    let image = call.node.image();
    // Trap 5: clients before version 4 cannot read a lowest level of 0.
    let supported = features::supported().filter(|feature| call.version() >= 4 || feature.supported.min > 0);
    let of_image = image.features().iter().map(|(name, level)| (name.as_str(), *level));
    let finalized = of_image.chain([(KRAFT_VERSION, call.node.kraft_version)]).filter(|(_, level)| *level > 0);
    // Trap 8: who asks all the same is answered, but nothing comes of it.
    let takes_metrics = call.node.telemetry.has_receiver();
    let served = SERVED.iter().filter(|key| takes_metrics || !is_telemetry(**key));
    ApiVersionsResponse {
        api_keys: served.map(|key| advertised(*key)).collect(),
        supported_features: supported
            .map(|feature| SupportedFeatureKey {
                name: feature.name.to_owned(),
                min_version: feature.supported.min,
                max_version: feature.supported.max,
            })
            .collect(),
        finalized_features_epoch: image.provenance().last.0,
        finalized_features: finalized
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.to_owned(),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    }
}

/// Trap 1: the answer, in version 0, to a version of ApiVersions that does not exist.
pub fn unsupported_version() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.number(),
        api_keys: vec![advertised(ApiKey::ApiVersions)],
        ..Default::default()
    }
}

/// Trap 10: Produce is advertised from 0, because older librdkafka looks there for what compression is known;
/// versions 0 to 2 are refused all the same.
fn advertised(key: ApiKey) -> ApiVersion {
    let min_version = if key == ApiKey::Produce { 0 } else { key.oldest() };
    ApiVersion { api_key: key as i16, min_version, max_version: key.newest() }
}

fn is_telemetry(key: ApiKey) -> bool {
    matches!(key, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry)
}

/// Letters and digits, with dashes and dots between them (`ApiVersionsRequest.isValid`).
fn is_software_name(name: &str) -> bool {
    let edge = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    let inner = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '.';
    edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_begin_and_end_with_a_letter_or_digit() {
        for good in ["a", "apache-kafka-java", "4.3.1", "x.y-z"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "é"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
