//! Consumer groups of KIP-848: their heartbeat and their description.
//!
//! Source: `KafkaApis.handleConsumerGroupHeartbeat`, `handleConsumerGroupDescribe`.

use milena_coordinators::group::{CheckedHeartbeat, Request, Response};
use milena_metadata::features::GROUP_VERSION;
use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_describe_response::DescribedGroup;
use milena_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
};

use crate::api::groups::{ask, context, partitions};
use crate::api::operations;
use crate::api::repeated::bounded;
use crate::dispatch::Call;
use crate::growing::Growing;
use crate::shards::by_shard;
use crate::world::{World, on_pool};

/// Trap 139: the protocol needs the cluster's consent (group.version) and the node's
/// (group.coordinator.rebalance.protocols).
fn is_enabled<W: World>(call: &Call<'_, W>) -> bool {
    call.node.settings.serves_consumer_groups && call.node.image().feature(GROUP_VERSION) >= 1
}

/// A member's sign of life, with what changed about it.
pub async fn consumer_group_heartbeat<W: World>(
    call: &Call<'_, W>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !is_enabled(call) {
        let error_code = ErrorCode::UnsupportedVersion.number();
        return ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
    }
    let group_id = request.group_id.clone();
    let heartbeat = checked(call, request).await;
    match ask(call, &group_id, Request::ConsumerHeartbeat(heartbeat)).await {
        Response::ConsumerHeartbeat(response) => response,
        other => unreachable!("the shard answered {other:?}"),
    }
}

/// Compiles the expression of a request that brings one, on the pool: it may take some ms.
async fn checked<W: World>(call: &Call<'_, W>, request: ConsumerGroupHeartbeatRequest) -> CheckedHeartbeat {
    if !CheckedHeartbeat::brings_expression(&request) {
        return CheckedHeartbeat::of(request);
    }
    let _turn = call.node.memory.work.pattern_turn().await;
    on_pool(&*call.node.world, move || CheckedHeartbeat::of(request)).await
}

/// State, epochs and members of consumer groups.
pub async fn consumer_group_describe<W: World>(
    call: &Call<'_, W>,
    request: ConsumerGroupDescribeRequest,
    growing: &mut Growing<'_>,
) -> ConsumerGroupDescribeResponse {
    let refused = |group_id: &String, error: ErrorCode| DescribedGroup {
        group_id: group_id.clone(),
        error_code: error.number(),
        ..Default::default()
    };
    if !is_enabled(call) {
        let groups = request.group_ids.iter().map(|id| refused(id, ErrorCode::UnsupportedVersion));
        return ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() };
    }
    let (nameless, named): (Vec<String>, Vec<String>) =
        bounded(&request.group_ids).into_iter().partition(String::is_empty);
    let mut groups: Vec<DescribedGroup> = nameless.iter().map(|id| refused(id, ErrorCode::InvalidGroupId)).collect();
    let described = |response| expect!(response, Response::ConsumerDescribe);
    for asked in by_shard(partitions(call.node), &named) {
        let shards = &call.node.shards;
        groups.extend(shards.ask_names(asked, &context(call), growing, Request::ConsumerDescribe, described).await);
    }
    for group in groups.iter_mut().filter(|group| request.include_authorized_operations && group.error_code == 0) {
        group.authorized_operations = operations::GROUP;
    }
    ConsumerGroupDescribeResponse { groups, ..Default::default() }
}
