//! OffsetForLeaderEpoch: where an epoch ended.
//!
//! Source: `ReplicaManager.lastOffsetForLeaderEpoch`.

use milena_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use milena_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use milena_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use milena_protocol::{ErrorCode, LeaderEpoch};

use crate::api::fetch::{claimed_epoch, code};
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::share::{Lookups, collected};
use crate::world::World;

/// A partition on the wire: error, index, epoch, offset.
const PARTITION_BYTES: usize = 2 + 4 + 4 + 8 + 1;

/// Answers each partition by itself.
pub async fn offset_for_leader_epoch<W: World>(
    call: &Call<'_, W>,
    request: &OffsetForLeaderEpochRequest,
    growing: &mut Growing<'_>,
) -> Result<OffsetForLeaderEpochResponse, NoRoom> {
    let size_bytes =
        request.topics.iter().map(|topic| topic.topic.len() + 16 + PARTITION_BYTES * topic.partitions.len());
    let is_small = growing.part(size_bytes.sum()).await?;
    let mut lookups = Lookups::default();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        lookups.done(1).await;
        let found = topic.partitions.iter().map(|asked| match is_small {
            true => find(call, &topic.topic, asked),
            false => refused(asked, ErrorCode::InvalidRequest),
        });
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic.clone(), partitions: collected(found).await });
    }
    Ok(OffsetForLeaderEpochResponse { topics, ..Default::default() })
}

fn refused(asked: &OffsetForLeaderPartition, error: ErrorCode) -> EpochEndOffset {
    EpochEndOffset { error_code: error.number(), partition: asked.partition, leader_epoch: -1, end_offset: -1 }
}

fn find<W: World>(call: &Call<'_, W>, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let refused = |error: ErrorCode| refused(asked, error);
    let Some(replica) = call.node.partitions.replica(topic, asked.partition) else {
        return refused(ErrorCode::UnknownTopicOrPartition);
    };
    let current = claimed_epoch(asked.current_leader_epoch);
    match replica.end_offset_for_epoch(LeaderEpoch(asked.leader_epoch), current) {
        None => refused(ErrorCode::KafkaStorageError),
        Some(Err(error)) => refused(code(&error)),
        // Trap 85: an epoch that nobody knows is undefined, not an error.
        Some(Ok(None)) => refused(ErrorCode::None),
        Some(Ok(Some(end))) => EpochEndOffset {
            error_code: 0,
            partition: asked.partition,
            leader_epoch: end.epoch.0,
            end_offset: end.end_offset.0,
        },
    }
}
