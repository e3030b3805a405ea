//! DescribeConfigs from the applied image; AlterConfigs and IncrementalAlterConfigs by the controller.
//!
//! Source: `ConfigHelper`, `ConfigAdminManager`.

use std::collections::BTreeMap;

use milena_metadata::configs::{self, Described, Kind, Layers, Resource};
use milena_metadata::controller::{Request, Response};
use milena_metadata::image::Image;
use milena_metadata::topic_name;
use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as LegacyResult;
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use milena_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResult;
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::repeated::Repeated;
use crate::control::ask;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom, TOO_LARGE};
use crate::share::Lookups;
use crate::world::World;

/// Numbers of resource kinds on the wire (`ConfigResource.Type`).
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// What the settings of one resource take, in look-ups.
const RESOURCE_LOOKUPS: usize = 32;

/// Sets, deletes, appends to and subtracts from single settings.
pub async fn incremental_alter_configs<W: World>(
    call: &Call<'_, W>,
    mut request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let all = std::mem::take(&mut request.resources).into_iter();
    let (ours, others): (Vec<_>, Vec<_>) =
        all.partition(|resource| is_ours(call, resource.resource_type, &resource.resource_name));
    request.resources = ours;
    let mut response = ask!(call, Request::IncrementalAlterConfigs(request), Response::IncrementalAlterConfigs);
    response.responses.extend(others.into_iter().map(|resource| IncrementalResult {
        error_code: ErrorCode::InvalidRequest.number(),
        error_message: Some(ask_elsewhere(call, &resource.resource_name)),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    }));
    response
}

/// Replaces all settings of resources (trap 168).
pub async fn alter_configs<W: World>(call: &Call<'_, W>, mut request: AlterConfigsRequest) -> AlterConfigsResponse {
    let all = std::mem::take(&mut request.resources).into_iter();
    let (ours, others): (Vec<_>, Vec<_>) =
        all.partition(|resource| is_ours(call, resource.resource_type, &resource.resource_name));
    request.resources = ours;
    let mut response = ask!(call, Request::AlterConfigs(request), Response::AlterConfigs);
    response.responses.extend(others.into_iter().map(|resource| LegacyResult {
        error_code: ErrorCode::InvalidRequest.number(),
        error_message: Some(ask_elsewhere(call, &resource.resource_name)),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    }));
    response
}

/// Trap 163: a broker speaks for itself, or with an empty name for all.
fn is_ours<W: World>(call: &Call<'_, W>, resource_type: i8, name: &str) -> bool {
    resource_type != BROKER || name.is_empty() || name.parse() == Ok(call.node.settings.node_id.0)
}

fn ask_elsewhere<W: World>(call: &Call<'_, W>, name: &str) -> String {
    format!("this is broker {}; ask broker {name} itself", call.node.settings.node_id)
}

/// Settings in force with where they come from. Those of one resource are few, so they are read before they are weighed.
pub async fn describe_configs<W: World>(
    call: &Call<'_, W>,
    request: &DescribeConfigsRequest,
    growing: &mut Growing<'_>,
) -> Result<DescribeConfigsResponse, NoRoom> {
    let image = call.node.image();
    let mut repeated = Repeated::new();
    let bounded = request
        .resources
        .iter()
        .filter(|resource| repeated.lets_pass((resource.resource_type, resource.resource_name.as_str())));
    let too_large =
        |resource| result_of(Err((ErrorCode::InvalidRequest, TOO_LARGE.to_owned())), resource, request, call.version());
    let (mut results, mut is_full) = (Vec::new(), false);
    let mut lookups = Lookups::default();
    for resource in bounded {
        if is_full {
            results.push(too_large(resource));
            continue;
        }
        lookups.done(RESOURCE_LOOKUPS).await;
        let result = result_of(described(call, &image, resource), resource, request, call.version());
        is_full = !growing.part(result.configs.iter().map(size_bytes_of).sum()).await?;
        results.push(if is_full { too_large(resource) } else { result });
    }
    Ok(DescribeConfigsResponse { results, ..Default::default() })
}

fn result_of(
    described: Result<Vec<Described>, (ErrorCode, String)>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        // Not null: Kafka leaves the field's default, the empty text.
        error_message: Some(String::new()),
        ..Default::default()
    };
    match described {
        Ok(described) => {
            let wanted = described.into_iter().filter(|entry| is_wanted(resource, &entry.name));
            result.configs = wanted.map(|entry| entry_of(entry, request, version)).collect();
        }
        Err((error, message)) => {
            result.error_code = error.number();
            result.error_message = Some(message);
        }
    }
    result
}

/// What an entry takes on the wire, but for a few bytes.
fn size_bytes_of(entry: &DescribeConfigsResourceResult) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let synonyms = entry.synonyms.iter().map(|synonym| synonym.name.len() + text(&synonym.value) + 8);
    entry.name.len() + text(&entry.value) + text(&entry.documentation) + synonyms.sum::<usize>() + 16
}

/// Trap 164: no keys means all; unknown keys find nothing.
fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    }
}

fn described<W: World>(
    call: &Call<'_, W>,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    let name = &resource.resource_name;
    let kind = match resource.resource_type {
        TOPIC => {
            topic_name::validate(name).map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
            let known = image.topic(name).is_some();
            known.then_some(Kind::Topic).ok_or((ErrorCode::UnknownTopicOrPartition, String::new()))?
        }
        BROKER => Kind::Broker,
        CLIENT_METRICS => Kind::ClientMetrics,
        GROUP if name.is_empty() => {
            return Err((ErrorCode::InvalidRequest, "a group's name must not be empty".to_owned()));
        }
        GROUP => Kind::Group,
        other => return Err((ErrorCode::InvalidRequest, format!("resources of type {other} have no configs"))),
    };
    if !is_ours(call, resource.resource_type, name) {
        return Err((ErrorCode::InvalidRequest, ask_elsewhere(call, name)));
    }
    let set = Set::read(call, image, &Resource { kind, name: name.clone() });
    if kind == Kind::Broker && name.is_empty() {
        return Ok(configs::describe_all_brokers(&set.all_brokers));
    }
    Ok(configs::describe(kind, set.layers()))
}

/// The settings that bear on a resource, by where they were set.
pub(crate) struct Set<'a> {
    own: BTreeMap<String, String>,
    broker: BTreeMap<String, String>,
    all_brokers: BTreeMap<String, String>,
    file: &'a BTreeMap<String, String>,
}

impl<'a> Set<'a> {
    fn read<W: World>(call: &'a Call<'_, W>, image: &Image, resource: &Resource) -> Set<'a> {
        let of = |resource: &Resource| image.config(resource).clone();
        let broker = |name: String| of(&Resource { kind: Kind::Broker, name });
        Set {
            own: if resource.kind == Kind::Broker { BTreeMap::new() } else { of(resource) },
            broker: broker(call.node.settings.node_id.to_string()),
            all_brokers: broker(String::new()),
            file: &call.node.settings.file,
        }
    }

    fn layers(&self) -> Layers<'_> {
        Layers { own: &self.own, broker: &self.broker, all_brokers: &self.all_brokers, file: self.file }
    }
}

fn entry_of(entry: Described, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| request.include_synonyms).map(|synonym| {
        DescribeConfigsSynonym { name: synonym.name, value: synonym.value, source: synonym.source as i8 }
    });
    let documented = version >= 3 && request.include_documentation;
    DescribeConfigsResourceResult {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonyms.collect(),
        config_type: entry.kind.map_or(0, |kind| kind as i8),
        documentation: documented.then_some(entry.doc),
    }
}
