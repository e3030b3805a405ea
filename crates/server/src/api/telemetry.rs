//! GetTelemetrySubscriptions and PushTelemetry (KIP-714). Everybody may ask: no right is needed for it.

use std::sync::Arc;

use milena_metadata::telemetry::{Client, Push};
use milena_protocol::compression::Codec;
use milena_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest, PushTelemetryResponse,
};
use milena_protocol::{ErrorCode, Uuid};
use tracing::debug;

use crate::dispatch::Call;
use crate::node::Node;
use crate::startup::fresh_id;
use crate::world::{World, on_pool};

/// The codecs that clients may use, the best first.
const CODECS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];

/// Answers which metrics a client is asked for, and gives it an id if it has none.
pub async fn get_telemetry_subscriptions<W: World>(
    call: &Call<'_, W>,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let telemetry = &call.node.telemetry;
    let client_instance_id = match request.client_instance_id {
        Uuid::ZERO => unused_id(call.node),
        given => given,
    };
    match telemetry.subscribe(client(call, client_instance_id)) {
        Ok(subscribed) => GetTelemetrySubscriptionsResponse {
            client_instance_id,
            subscription_id: subscribed.subscription_id,
            accepted_compression_types: CODECS.map(|codec| codec.id() as i8).to_vec(),
            push_interval_ms: subscribed.interval_ms,
            telemetry_max_bytes: i32::try_from(telemetry.payload_bytes_max()).unwrap_or(i32::MAX),
            delta_temporality: true,
            requested_metrics: subscribed.metrics,
            ..Default::default()
        },
        Err(error) => GetTelemetrySubscriptionsResponse { error_code: error.number(), ..Default::default() },
    }
}

/// Takes the metrics of a client.
pub async fn push_telemetry<W: World>(call: &Call<'_, W>, request: PushTelemetryRequest) -> PushTelemetryResponse {
    let error = take(call, request).await.err().unwrap_or(ErrorCode::None);
    PushTelemetryResponse { error_code: error.number(), ..Default::default() }
}

async fn take<W: World>(call: &Call<'_, W>, request: PushTelemetryRequest) -> Result<(), ErrorCode> {
    let node = call.node;
    let client = client(call, request.client_instance_id);
    let push = Push {
        subscription_id: request.subscription_id,
        is_terminating: request.terminating,
        codec: request.compression_type,
        size_bytes: request.metrics.len(),
    };
    let accepted = node.telemetry.push(client.clone(), push)?;
    if !node.telemetry.has_receiver() || request.metrics.is_empty() {
        return Ok(());
    }
    let _turn = node.memory.work.turn(node.telemetry.work_bytes(accepted.codec, &request.metrics)).await;
    let (job_node, instance) = (Arc::clone(node), client.instance);
    let received = on_pool(&*node.world, move || job_node.telemetry.receive(&client, accepted, &request.metrics)).await;
    received.map_err(|error| {
        debug!(client = %instance, peer = %call.peer.address, %error, "metrics of a client not received");
        node.telemetry.not_received(instance)
    })
}

/// Who asks.
fn client<W: World>(call: &Call<'_, W>, instance: Uuid) -> Client {
    let software = call.peer.software.known();
    Client {
        instance,
        id: call.header.client_id.clone(),
        software_name: software.name,
        software_version: software.version,
        address: call.peer.address,
    }
}

/// A new id that no client has.
fn unused_id<W: World>(node: &Node<W>) -> Uuid {
    loop {
        let id = fresh_id(&*node.world);
        if !node.telemetry.is_known(id) {
            return id;
        }
    }
}
