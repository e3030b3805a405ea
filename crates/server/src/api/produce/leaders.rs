//! Who leads the partitions that were asked for at the wrong node (KIP-951).

use milena_metadata::image::Image;
use milena_protocol::messages::ProduceResponse;
use milena_protocol::messages::produce_response::{LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse};
use milena_protocol::{ErrorCode, Uuid};

use crate::api::metadata::View;
use crate::dispatch::Call;
use crate::world::World;

/// Trap 56: a producer that asked the wrong node is told the right one.
pub(super) fn add_leader_hints<W: World>(call: &Call<'_, W>, response: &mut ProduceResponse) {
    let image = call.node.image();
    let view = View { image: &image, listener: &call.peer.listener, version: call.version() };
    for topic in &mut response.responses {
        for answer in &mut topic.partition_responses {
            if answer.error_code == ErrorCode::NotLeaderOrFollower.number() {
                hint(&image, &view, &topic.name, topic.topic_id, answer, &mut response.node_endpoints);
            }
        }
    }
}

fn hint(
    image: &Image,
    view: &View<'_>,
    name: &str,
    id: Uuid,
    answer: &mut PartitionProduceResponse,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let topic = if id == Uuid::ZERO { image.topic(name) } else { image.topic_by_id(id) };
    let Some(partition) = topic.and_then(|topic| topic.partitions.get(&answer.index)) else { return };
    answer.current_leader = LeaderIdAndEpoch { leader_id: partition.leader.0, leader_epoch: partition.leader_epoch.0 };
    let Some(broker) = image.broker(partition.leader) else { return };
    let Some((host, port)) = view.address(broker) else { return };
    if endpoints.iter().all(|endpoint| endpoint.node_id != broker.id.0) {
        endpoints.push(NodeEndpoint { node_id: broker.id.0, host, port, rack: broker.rack.clone() });
    }
}
