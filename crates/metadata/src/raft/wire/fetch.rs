//! Fetch, as the quorum uses it: no sessions, one partition, epochs always given.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::{FetchRequest, FetchResponse, fetch_request, fetch_response};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset};

use super::{Answer, METADATA_TOPIC_ID, Standing, bytes_of, node, only};
use crate::METADATA_TOPIC;
use crate::raft::log::{EpochEnd, Fit};
use crate::raft::serve::{FETCH_BYTES_MAX, FetchAsk};
use crate::raft::{Endpoint, Options};
use crate::snapshot::SnapshotId;

/// How long a leader without news may let a follower wait (`KafkaRaftClient`).
const FETCH_WAIT_MS: i32 = 500;

pub(crate) fn fetch_request(
    options: &Options,
    epoch: LeaderEpoch,
    last: EpochEnd,
    high_watermark: Option<Offset>,
) -> FetchRequest {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: epoch.0,
        fetch_offset: last.end.0,
        last_fetched_epoch: last.epoch.0,
        replica_directory_id: options.directory,
        high_watermark: high_watermark.unwrap_or(Offset::NONE).0,
        ..fetch_request::FetchPartition::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: METADATA_TOPIC.to_string(),
        topic_id: METADATA_TOPIC_ID,
        partitions: vec![partition],
    };
    FetchRequest {
        cluster_id: Some(options.cluster_id.clone()),
        replica_state: fetch_request::ReplicaState { replica_id: options.node.0, ..Default::default() },
        max_wait_ms: FETCH_WAIT_MS,
        max_bytes: FETCH_BYTES_MAX,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

pub(crate) fn parse_fetch_request(request: &FetchRequest) -> Option<FetchAsk> {
    let topic = only(&request.topics)?;
    let partition = only(&topic.partitions)?;
    // Versions up to 12 name the topic, later ones give its id.
    let is_metadata = topic.topic_id == METADATA_TOPIC_ID || topic.topic == METADATA_TOPIC;
    if !is_metadata || partition.partition != 0 {
        return None;
    }
    let replica = request.replica_id.max(request.replica_state.replica_id);
    Some(FetchAsk {
        replica: (NodeId(replica), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        offset: Offset(partition.fetch_offset),
        last_epoch: LeaderEpoch(partition.last_fetched_epoch),
        high_watermark: Offset(partition.high_watermark),
        wait: Millis(request.max_wait_ms.into()),
        bytes_max: request.max_bytes,
    })
}

/// What a fetch is told, but for the records.
#[derive(Debug)]
pub(crate) struct FetchAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start: Offset,
    pub(crate) fit: Fit,
}

pub(crate) fn fetch_response(standing: &Standing, answer: &FetchAnswer) -> FetchResponse {
    let mut partition = fetch_response::PartitionData {
        partition_index: 0,
        error_code: answer.error.number(),
        high_watermark: answer.high_watermark.unwrap_or(Offset::NONE).0,
        log_start_offset: answer.log_start.0,
        records: Records::Bytes(Bytes::new()),
        ..fetch_response::PartitionData::default()
    };
    partition.current_leader.leader_id = standing.leader_id();
    partition.current_leader.leader_epoch = standing.epoch.0;
    match answer.fit {
        Fit::Prefix => {}
        Fit::Diverging(EpochEnd { epoch, end }) => {
            partition.diverging_epoch.epoch = epoch.0;
            partition.diverging_epoch.end_offset = end.0;
        }
        Fit::Snapshot(SnapshotId { end, epoch }) => {
            partition.snapshot_id.end_offset = end.0;
            partition.snapshot_id.epoch = epoch.0;
        }
    }
    let topic = fetch_response::FetchableTopicResponse {
        topic: METADATA_TOPIC.to_string(),
        topic_id: METADATA_TOPIC_ID,
        partitions: vec![partition],
    };
    FetchResponse {
        responses: vec![topic],
        node_endpoints: node_endpoints!(fetch_response, standing, rack: None),
        ..FetchResponse::default()
    }
}

/// What a leader sends.
#[derive(Debug)]
pub(crate) enum FetchedPartition {
    Records { bytes: Bytes, high_watermark: Option<Offset> },
    Diverging(EpochEnd),
    Snapshot(SnapshotId),
}

pub(crate) fn parse_fetch_response(response: FetchResponse) -> Option<(Answer, FetchedPartition)> {
    if response.error_code != 0 {
        return None;
    }
    let topic = only(&response.responses)?;
    let partition = only(&topic.partitions)?;
    let is_metadata = topic.topic_id == METADATA_TOPIC_ID || topic.topic == METADATA_TOPIC;
    if !is_metadata || partition.partition_index != 0 {
        return None;
    }
    let current = &partition.current_leader;
    let answer = answer!(partition.error_code, current.leader_id, current.leader_epoch, response.node_endpoints);
    let (diverging, snapshot) = (&partition.diverging_epoch, &partition.snapshot_id);
    let what = if diverging.epoch >= 0 && diverging.end_offset >= 0 {
        FetchedPartition::Diverging(EpochEnd { epoch: LeaderEpoch(diverging.epoch), end: Offset(diverging.end_offset) })
    } else if snapshot.epoch >= 0 && snapshot.end_offset >= 0 {
        FetchedPartition::Snapshot(SnapshotId { end: Offset(snapshot.end_offset), epoch: LeaderEpoch(snapshot.epoch) })
    } else {
        let high_watermark = (partition.high_watermark >= 0).then_some(Offset(partition.high_watermark));
        FetchedPartition::Records { bytes: bytes_of(&partition.records), high_watermark }
    };
    Some((answer, what))
}
