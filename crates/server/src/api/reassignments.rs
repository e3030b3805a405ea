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
            let Some(partition) = moving(topic, number) else { continue };
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

fn moving(topic: &Topic, number: i32) -> Option<&Partition> {
    topic.partitions.get(&number).map(|partition| &**partition).filter(|partition| partition.is_moving())
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

#[cfg(test)]
mod tests {
    use milena_metadata::delta::Delta;
    use milena_metadata::image::Provenance;
    use milena_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    use milena_protocol::messages::{MetadataRecord, PartitionRecord, TopicRecord};
    use milena_protocol::{Offset, Uuid};

    use super::*;

    /// Two partitions: the first stays, the second moves from broker 1 to broker 2.
    fn image() -> Image {
        let topic_id = Uuid([7; 16]);
        let stays = PartitionRecord {
            partition_id: 0,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            directories: vec![Uuid::ZERO],
            ..Default::default()
        };
        let moves = PartitionRecord {
            partition_id: 1,
            replicas: vec![2, 1],
            adding_replicas: vec![2],
            removing_replicas: vec![1],
            directories: vec![Uuid::ZERO; 2],
            ..stays.clone()
        };
        let topic = TopicRecord { name: "t".to_owned(), topic_id };
        let records: [MetadataRecord; 3] = [topic.into(), stays.into(), moves.into()];
        let mut delta = Delta::new(&Image::default());
        for (at, record) in records.iter().enumerate() {
            delta.replay(Offset(at as i64), record).expect("it fits");
        }
        delta.apply(Provenance::default()).0
    }

    fn listed(topics: Option<Vec<ListPartitionReassignmentsTopics>>) -> Vec<OngoingPartitionReassignment> {
        let (image, request) = (image(), ListPartitionReassignmentsRequest { topics, ..Default::default() });
        let moves = asked(&image, &request).flat_map(|(topic, numbers)| {
            numbers.filter_map(move |number| Some(ongoing(number, moving(topic, number)?)))
        });
        moves.collect()
    }

    #[test]
    fn only_what_moves_is_listed_of_all_topics_or_of_those_that_are_named() {
        let moving = [OngoingPartitionReassignment {
            partition_index: 1,
            replicas: vec![2, 1],
            adding_replicas: vec![2],
            removing_replicas: vec![1],
        }];
        let named = |name: &str, indexes: &[i32]| {
            let partition_indexes = indexes.to_vec();
            Some(vec![ListPartitionReassignmentsTopics { name: name.to_owned(), partition_indexes }])
        };
        assert_eq!(listed(None), moving);
        assert_eq!(listed(named("t", &[0, 1, 9])), moving);
        assert_eq!(listed(named("t", &[0])), []);
        assert_eq!(listed(named("u", &[1])), []);
    }
}
