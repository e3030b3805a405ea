//! AlterPartitionReassignments, forwarded to the controller, and ListPartitionReassignments.
//!
//! Source: `ReplicationControlManager.listPartitionReassignments`.

use milena_metadata::controller::{Request, Response};
use milena_metadata::image::{Image, Partition, Topic};
use milena_protocol::ErrorCode;
use milena_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use milena_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};

use crate::api::metadata::ids;
use crate::control::ask;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::share::Lookups;
use crate::world::World;

/// A topic on the wire without its name and partitions.
const TOPIC_BYTES: usize = 5 + 4 + 1;
/// A partition without its lists of brokers.
const PARTITION_BYTES: usize = 4 + 3 * 5 + 1;

/// Moves replicas to other brokers, or calls it off.
pub async fn alter_partition_reassignments<W: World>(
    call: &Call<'_, W>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    ask!(call, Request::AlterPartitionReassignments(request), Response::AlterPartitionReassignments)
}

/// The moves that are under way, of all topics or of those that are named.
pub async fn list_partition_reassignments<W: World>(
    call: &Call<'_, W>,
    request: &ListPartitionReassignmentsRequest,
    growing: &mut Growing<'_>,
) -> Result<ListPartitionReassignmentsResponse, NoRoom> {
    let image = call.node.image();
    let mut lookups = Lookups::default();
    let mut topics = Vec::new();
    for (topic, numbers) in asked(&image, request) {
        let mut partitions = Vec::new();
        for number in numbers {
            lookups.done(1).await;
            let Some(partition) = topic.partitions.get(&number).filter(|partition| partition.is_moving()) else {
                continue;
            };
            let brokers = partition.replicas.len() + partition.adding.len() + partition.removing.len();
            if !growing.part(PARTITION_BYTES + 4 * brokers).await? {
                return Ok(too_large());
            }
            partitions.push(ongoing(number, partition));
        }
        if partitions.is_empty() {
            continue;
        }
        if !growing.part(TOPIC_BYTES + topic.name.len()).await? {
            return Ok(too_large());
        }
        topics.push(OngoingTopicReassignment { name: topic.name.to_string(), partitions });
    }
    Ok(ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() })
}

/// Numbers of partitions, one after the other.
type Numbers<'a> = Box<dyn Iterator<Item = i32> + Send + 'a>;

/// Topics that are there, with the partitions that are asked about: of all topics if none is named.
fn asked<'a>(
    image: &'a Image,
    request: &'a ListPartitionReassignmentsRequest,
) -> Box<dyn Iterator<Item = (&'a Topic, Numbers<'a>)> + Send + 'a> {
    let all = |topic: &'a Topic| (topic, Box::new(topic.partitions.keys().copied()) as Numbers<'a>);
    match &request.topics {
        None => Box::new(image.topics().map(move |topic| all(topic))),
        Some(named) => Box::new(named.iter().filter_map(|named| {
            let topic = image.topic(&named.name)?;
            Some((&**topic, Box::new(named.partition_indexes.iter().copied()) as Numbers<'a>))
        })),
    }
}

fn ongoing(partition_index: i32, partition: &Partition) -> OngoingPartitionReassignment {
    OngoingPartitionReassignment {
        partition_index,
        replicas: ids(&partition.replicas),
        adding_replicas: ids(&partition.adding),
        removing_replicas: ids(&partition.removing),
    }
}

fn too_large() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { error_code: ErrorCode::InvalidRequest.number(), ..Default::default() }
}
