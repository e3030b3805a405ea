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

use crate::api::fetch::{code, known_epoch};
use crate::dispatch::Call;
use crate::world::World;

/// Replica id of a consumer.
const CONSUMER: i32 = -1;

/// Answers each partition by itself.
pub async fn list_offsets<W: World>(call: &Call<'_, W>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let times = times_asked(&request);
    let isolation = isolation(&request);
    let mut response = ListOffsetsResponse::default();
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = match times[&(topic.name.as_str(), asked.partition_index)] {
                1 => find(call, &topic.name, asked, isolation).await,
                _ => refused(asked, ErrorCode::InvalidRequest),
            };
            partitions.push(answer);
        }
        response.topics.push(ListOffsetsTopicResponse { name: topic.name.clone(), partitions });
    }
    response
}

/// How often each partition stands in the request: twice is refused.
fn times_asked(request: &ListOffsetsRequest) -> BTreeMap<(&str, i32), usize> {
    let mut times = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times.entry((topic.name.as_str(), partition.partition_index)).or_insert(0) += 1;
        }
    }
    times
}

/// Trap 80: what "latest" means depends on who asks.
fn isolation(request: &ListOffsetsRequest) -> Isolation {
    match (request.replica_id, request.isolation_level) {
        (CONSUMER, 1) => Isolation::ReadCommitted,
        (CONSUMER, _) => Isolation::ReadUncommitted,
        _ => Isolation::LogEnd,
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
    let epoch = known_epoch(asked.current_leader_epoch);
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

fn refused(asked: &ListOffsetsPartition, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: error.number(),
        timestamp: Millis::NONE.0,
        offset: Offset::NONE.0,
        ..Default::default()
    }
}
