//! OffsetForLeaderEpoch: where an epoch ended.
//!
//! Source: `ReplicaManager.lastOffsetForLeaderEpoch`.

use milena_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use milena_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use milena_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use milena_protocol::{ErrorCode, LeaderEpoch};

use crate::api::fetch::{claimed_epoch, code};
use crate::dispatch::Call;
use crate::share::{Lookups, collected};
use crate::world::World;

/// Answers each partition by itself.
pub async fn offset_for_leader_epoch<W: World>(
    call: &Call<'_, W>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut lookups = Lookups::default();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        lookups.done(1).await;
        let partitions = collected(topic.partitions.iter().map(|asked| find(call, &topic.topic, asked))).await;
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

fn find<W: World>(call: &Call<'_, W>, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let refused = |error: ErrorCode| EpochEndOffset {
        error_code: error.number(),
        partition: asked.partition,
        leader_epoch: -1,
        end_offset: -1,
    };
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
