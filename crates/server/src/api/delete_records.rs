//! DeleteRecords: moves the log start forward.
//!
//! Source: `ReplicaManager.deleteRecords`, `Partition.deleteRecordsOnLeader`.

use std::collections::BTreeMap;

use milena_partition::DeleteRecordsError;
use milena_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use milena_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use milena_protocol::{ErrorCode, Offset};

use crate::dispatch::Call;
use crate::share;
use crate::world::World;
use milena_metadata::topic_name::is_internal;

/// The wire's word for "up to the high watermark".
const TO_HIGH_WATERMARK: i64 = -1;

/// Answers each partition by itself (trap 86), and once: of several offsets for it, the last counts.
pub async fn delete_records<W: World>(call: &Call<'_, W>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut asked: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let offsets = topic.partitions.iter().map(|partition| (partition.partition_index, partition.offset));
        asked.entry(&topic.name).or_default().extend(offsets);
    }
    let mut topics = Vec::with_capacity(asked.len());
    for (topic, partitions) in asked {
        let mut results = Vec::with_capacity(partitions.len());
        for (partition, to) in partitions {
            share::unit().await;
            results.push(match delete(call, topic, partition, to) {
                Ok(log_start) => result(partition, log_start, ErrorCode::None),
                Err(error) => result(partition, Offset::NONE, error),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.to_owned(), partitions: results });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn result(partition_index: i32, low_watermark: Offset, error: ErrorCode) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult { partition_index, low_watermark: low_watermark.0, error_code: error.number() }
}

fn delete<W: World>(call: &Call<'_, W>, topic: &str, partition: i32, to: i64) -> Result<Offset, ErrorCode> {
    let replica = call.node.partitions.replica(topic, partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let to = (to != TO_HIGH_WATERMARK).then_some(Offset(to));
    let deleted = replica.delete_records(to).ok_or(ErrorCode::KafkaStorageError)?;
    deleted.map_err(|error| match error {
        DeleteRecordsError::NotLeader => ErrorCode::NotLeaderOrFollower,
        DeleteRecordsError::CompactedOnly => ErrorCode::PolicyViolation,
        DeleteRecordsError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        DeleteRecordsError::Disk(_) => ErrorCode::KafkaStorageError,
    })
}
