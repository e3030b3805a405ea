//! DescribeProducers: what the leader of a partition remembers of its producers (trap 162).
//!
//! Source: `KafkaApis.handleDescribeProducersRequest`, `Partition.activeProducerState`.

use milena_metadata::topic_name::validate;
use milena_partition::ProducerInfo;
use milena_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use milena_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use milena_protocol::{ErrorCode, Offset};

use super::repeated::Repeated;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom, TOO_LARGE};
use crate::share::Lookups;
use crate::world::World;

/// A partition without its producers, on the wire.
const PARTITION_BYTES: usize = 4 + 2 + 3 + 5 + 1;
/// A producer: id, epoch, sequence, time, the coordinator's epoch, the start of its transaction.
const PRODUCER_BYTES: usize = 8 + 4 + 4 + 8 + 4 + 8 + 1;

/// Answers every partition by itself.
pub async fn describe_producers<W: World>(
    call: &Call<'_, W>,
    request: &DescribeProducersRequest,
    growing: &mut Growing<'_>,
) -> Result<DescribeProducersResponse, NoRoom> {
    let image = call.node.image();
    let mut repeated = Repeated::new();
    let mut lookups = Lookups::default();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        lookups.done(1).await;
        let error = match validate(&topic.name) {
            Err(invalid) => Some((ErrorCode::InvalidTopicException, Some(invalid))),
            Ok(()) if image.topic(&topic.name).is_none() => {
                Some((ErrorCode::UnknownTopicOrPartition, Some(format!("there is no topic {}", topic.name))))
            }
            Ok(()) => None,
        };
        let mut partitions = Vec::new();
        for index in topic.partition_indexes.iter().copied() {
            if !repeated.lets_pass((topic.name.as_str(), index)) {
                continue;
            }
            let is_small = growing.part(PARTITION_BYTES + PRODUCER_BYTES * count(call, &topic.name, index)).await?;
            let described = match &error {
                Some((code, message)) => failed(index, *code, message.clone()),
                None if is_small => describe(call, &topic.name, index),
                None => failed(index, ErrorCode::InvalidRequest, Some(TOO_LARGE.to_owned())),
            };
            lookups.done(1 + described.active_producers.len()).await;
            partitions.push(described);
        }
        topics.push(TopicResponse { name: topic.name.clone(), partitions });
    }
    Ok(DescribeProducersResponse { topics, ..Default::default() })
}

/// How many producers a description would name.
fn count<W: World>(call: &Call<'_, W>, topic: &str, partition_index: i32) -> usize {
    let replica = call.node.partitions.replica(topic, partition_index);
    replica.and_then(|replica| replica.with(|partition| partition.producer_count())).unwrap_or(0)
}

fn describe<W: World>(call: &Call<'_, W>, topic: &str, partition_index: i32) -> PartitionResponse {
    let failed = |error: ErrorCode| failed(partition_index, error, None);
    let Some(replica) = call.node.partitions.replica(topic, partition_index) else {
        return failed(ErrorCode::UnknownTopicOrPartition);
    };
    let producers = replica.with(|partition| partition.leader_epoch().map(|_| partition.producers()));
    match producers {
        None => failed(ErrorCode::KafkaStorageError),
        Some(None) => failed(ErrorCode::NotLeaderOrFollower),
        Some(Some(producers)) => PartitionResponse {
            partition_index,
            active_producers: producers.into_iter().map(state).collect(),
            ..Default::default()
        },
    }
}

fn failed(partition_index: i32, error: ErrorCode, error_message: Option<String>) -> PartitionResponse {
    PartitionResponse { partition_index, error_code: error.number(), error_message, ..Default::default() }
}

fn state(info: ProducerInfo) -> ProducerState {
    ProducerState {
        producer_id: info.producer_id.0,
        producer_epoch: info.producer_epoch.0.into(),
        last_sequence: info.last_sequence.0,
        last_timestamp: info.last_timestamp.0,
        coordinator_epoch: info.coordinator_epoch,
        current_txn_start_offset: info.open_transaction.unwrap_or(Offset::NONE).0,
    }
}
