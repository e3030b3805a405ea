//! ListOffsets: the ends of a partition, and where a point in time lies.
//!
//! Source: `ReplicaManager.fetchOffset`, `Partition.fetchOffsetForTimestamp`.

use std::collections::BTreeMap;

use milena_base::Millis;
use milena_partition::{Isolation, OffsetSpec};
use milena_protocol::messages::list_offsets_request::ListOffsetsPartition;
use milena_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use milena_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use milena_protocol::{ErrorCode, Offset};

use crate::api::fetch::{claimed_epoch, code};
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::share::Lookups;
use crate::world::World;

/// Replica id of a consumer.
const CONSUMER: i32 = -1;
/// A partition on the wire: index, error, time, offset, epoch.
const PARTITION_BYTES: usize = 4 + 2 + 8 + 8 + 4 + 1;

/// The partitions of a request, and how often each stands there.
type Asked<'a> = BTreeMap<&'a str, BTreeMap<i32, (&'a ListOffsetsPartition, usize)>>;

/// Answers each partition by itself, and once; one that was asked for twice is refused.
pub async fn list_offsets<W: World>(
    call: &Call<'_, W>,
    request: &ListOffsetsRequest,
    growing: &mut Growing<'_>,
) -> Result<ListOffsetsResponse, NoRoom> {
    let size_bytes =
        request.topics.iter().map(|topic| topic.name.len() + 16 + PARTITION_BYTES * topic.partitions.len());
    if !growing.part(size_bytes.sum()).await? {
        return Ok(refused_request(request, ErrorCode::InvalidRequest));
    }
    let Some(isolation) = isolation(request) else {
        return Ok(refused_request(request, ErrorCode::UnknownServerError));
    };
    let mut response = ListOffsetsResponse::default();
    let mut lookups = Lookups::default();
    for (topic, partitions) in asked(request) {
        let mut answers = Vec::with_capacity(partitions.len());
        for (partition, times) in partitions.into_values() {
            lookups.done(1).await;
            answers.push(match times {
                1 => find(call, topic, partition, isolation).await,
                _ => refused(partition, ErrorCode::InvalidRequest),
            });
        }
        response.topics.push(ListOffsetsTopicResponse { name: topic.to_owned(), partitions: answers });
    }
    Ok(response)
}

fn asked(request: &ListOffsetsRequest) -> Asked<'_> {
    let mut asked = Asked::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let partitions = asked.entry(topic.name.as_str()).or_default();
        for partition in &topic.partitions {
            partitions.entry(partition.partition_index).or_insert((partition, 0)).1 += 1;
        }
    }
    asked
}

/// Trap 80: what "latest" means depends on who asks. `None` for isolation levels that do not exist.
fn isolation(request: &ListOffsetsRequest) -> Option<Isolation> {
    match (request.replica_id, request.isolation_level) {
        (CONSUMER, 0) => Some(Isolation::ReadUncommitted),
        (CONSUMER, 1) => Some(Isolation::ReadCommitted),
        (_, 0 | 1) => Some(Isolation::LogEnd),
        _ => None,
    }
}

/// Which specification needs which version of the API.
fn known_since(spec: OffsetSpec) -> i16 {
    match spec {
        OffsetSpec::MaxTimestamp => 7,
        OffsetSpec::EarliestLocal => 8,
        OffsetSpec::LatestTiered => 9,
        OffsetSpec::EarliestPendingUpload => 11,
        OffsetSpec::Earliest | OffsetSpec::Latest | OffsetSpec::Timestamp(_) => 1,
    }
}

async fn find<W: World>(
    call: &Call<'_, W>,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let spec = OffsetSpec::from_wire(asked.timestamp).filter(|spec| known_since(*spec) <= call.version());
    let Some(spec) = spec else { return refused(asked, ErrorCode::UnsupportedVersion) };
    let Some(replica) = call.node.partitions.replica(topic, asked.partition_index) else {
        return refused(asked, ErrorCode::UnknownTopicOrPartition);
    };
    let epoch = claimed_epoch(asked.current_leader_epoch);
    match replica.offset_for(&*call.node.world, spec, isolation, epoch).await {
        None => refused(asked, ErrorCode::KafkaStorageError),
        Some(Err(error)) => refused(asked, code(&error)),
        Some(Ok(None)) => refused(asked, ErrorCode::None),
        Some(Ok(Some(found))) => ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            timestamp: found.timestamp.0,
            offset: found.offset.0,
            leader_epoch: if call.version() >= 4 { found.leader_epoch.0 } else { -1 },
            ..Default::default()
        },
    }
}

fn refused_request(request: &ListOffsetsRequest, error: ErrorCode) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|asked| refused(asked, error)).collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn refused(asked: &ListOffsetsPartition, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: error.number(),
        timestamp: Millis::NONE.0,
        offset: Offset::NONE.0,
        ..Default::default()
    }
}
