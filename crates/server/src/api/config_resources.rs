//! ListConfigResources: what has settings, or may have them (KIP-714, KIP-1142).
//!
//! Source: `KafkaApis.handleListConfigResources`.

use milena_metadata::configs::Kind;
use milena_metadata::image::Image;
use milena_protocol::ErrorCode;
use milena_protocol::messages::list_config_resources_response::ConfigResource;
use milena_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::configs::{BROKER, CLIENT_METRICS, GROUP, TOPIC};
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::share::Lookups;
use crate::world::World;

/// Number of the loggers of a broker on the wire: they have names, and nothing to set.
const BROKER_LOGGER: i8 = 8;
/// What version 1 may name, in the order of the answer.
const TYPES: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];
/// The first version that names types; before, a list is of subscriptions for client metrics.
const FIRST_WITH_TYPES: i16 = 1;

/// A name on the wire, without its bytes.
const RESOURCE_BYTES: usize = 5;

/// Names of the types that are asked for; of all types if none is.
pub async fn list_config_resources<W: World>(
    call: &Call<'_, W>,
    request: &ListConfigResourcesRequest,
    growing: &mut Growing<'_>,
) -> Result<ListConfigResourcesResponse, NoRoom> {
    let supported: &[i8] = if call.version() < FIRST_WITH_TYPES { &[CLIENT_METRICS] } else { &TYPES };
    let asked = &request.resource_types;
    if asked.iter().any(|kind| !supported.contains(kind)) {
        return Ok(refused(ErrorCode::UnsupportedVersion));
    }
    let image = call.node.image();
    let mut lookups = Lookups::default();
    let mut config_resources = Vec::new();
    for resource_type in supported.iter().copied().filter(|kind| asked.is_empty() || asked.contains(kind)) {
        for resource_name in names(&image, &call.peer.listener, resource_type) {
            lookups.done(1).await;
            if !growing.part(RESOURCE_BYTES + resource_name.len()).await? {
                return Ok(refused(ErrorCode::InvalidRequest));
            }
            config_resources.push(ConfigResource { resource_name, resource_type });
        }
    }
    Ok(ListConfigResourcesResponse { config_resources, ..Default::default() })
}

fn refused(error: ErrorCode) -> ListConfigResourcesResponse {
    ListConfigResourcesResponse { error_code: error.number(), ..Default::default() }
}

/// One after the other: a cluster may have very many topics.
fn names<'a>(image: &'a Image, listener: &'a str, resource_type: i8) -> Box<dyn Iterator<Item = String> + Send + 'a> {
    let with_settings = |kind| {
        let resources = image.configs().map(|(resource, _)| resource).filter(move |resource| resource.kind == kind);
        Box::new(resources.map(|resource| resource.name.clone()))
    };
    match resource_type {
        GROUP => with_settings(Kind::Group),
        CLIENT_METRICS => with_settings(Kind::ClientMetrics),
        TOPIC => Box::new(image.topics().map(|topic| topic.name.to_string())),
        // A broker and its loggers have the same name; fenced brokers count, as they can be set up, too.
        _ => {
            let reached = image.brokers().filter(move |broker| broker.endpoint(listener).is_some());
            Box::new(reached.map(|broker| broker.id.to_string()))
        }
    }
}
