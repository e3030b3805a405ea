//! FetchSnapshot requests and responses.

use bytes::Bytes;
use milena_protocol::messages::{
    FetchSnapshotRequest, FetchSnapshotResponse, fetch_snapshot_request, fetch_snapshot_response,
};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset};

use super::{Answer, Standing, bytes_of, node, only};
use crate::METADATA_TOPIC;
use crate::raft::serve::{FETCH_BYTES_MAX, SnapshotAsk};
use crate::raft::{Endpoint, Options};
use crate::snapshot::SnapshotId;

pub(crate) fn snapshot_request(
    options: &Options,
    epoch: LeaderEpoch,
    id: SnapshotId,
    position: u64,
) -> FetchSnapshotRequest {
    let partition = fetch_snapshot_request::PartitionSnapshot {
        partition: 0,
        current_leader_epoch: epoch.0,
        snapshot_id: fetch_snapshot_request::SnapshotId { end_offset: id.end.0, epoch: id.epoch.0 },
        position: i64::try_from(position).unwrap_or(i64::MAX),
        replica_directory_id: options.directory,
    };
    FetchSnapshotRequest {
        cluster_id: Some(options.cluster_id.clone()),
        replica_id: options.node.0,
        max_bytes: FETCH_BYTES_MAX,
        topics: of_one_partition!(partition, fetch_snapshot_request::TopicSnapshot, name),
    }
}

pub(crate) fn parse_snapshot_request(request: &FetchSnapshotRequest) -> Option<SnapshotAsk> {
    let partition = partition!(&request.topics, name, partition);
    let id = &partition.snapshot_id;
    Some(SnapshotAsk {
        replica: (NodeId(request.replica_id), partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        id: SnapshotId { end: Offset(id.end_offset), epoch: LeaderEpoch(id.epoch) },
        position: partition.position,
        bytes_max: request.max_bytes,
    })
}

pub(crate) fn snapshot_response(standing: &Standing, error: ErrorCode, ask: &SnapshotAsk) -> FetchSnapshotResponse {
    let mut partition = fetch_snapshot_response::PartitionSnapshot {
        index: 0,
        error_code: error.number(),
        current_leader: fetch_snapshot_response::LeaderIdAndEpoch {
            leader_id: standing.leader_id(),
            leader_epoch: standing.epoch.0,
        },
        unaligned_records: Records::Bytes(Bytes::new()),
        ..fetch_snapshot_response::PartitionSnapshot::default()
    };
    if error.is_none() {
        partition.snapshot_id = fetch_snapshot_response::SnapshotId { end_offset: ask.id.end.0, epoch: ask.id.epoch.0 };
        partition.position = ask.position;
    }
    FetchSnapshotResponse {
        topics: of_one_partition!(partition, fetch_snapshot_response::TopicSnapshot, name),
        node_endpoints: node_endpoints!(fetch_snapshot_response, standing),
        ..FetchSnapshotResponse::default()
    }
}

/// A piece of a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotPiece {
    pub(crate) id: SnapshotId,
    /// Bytes of the whole snapshot.
    pub(crate) size: u64,
    pub(crate) position: u64,
    pub(crate) bytes: Bytes,
}

pub(crate) fn parse_snapshot_response(response: FetchSnapshotResponse) -> Option<(Answer, SnapshotPiece)> {
    if response.error_code != 0 {
        return None;
    }
    let partition = partition!(&response.topics, name, index);
    let current = &partition.current_leader;
    let answer = answer!(partition.error_code, current.leader_id, current.leader_epoch, response.node_endpoints);
    let id = &partition.snapshot_id;
    let piece = SnapshotPiece {
        id: SnapshotId { end: Offset(id.end_offset), epoch: LeaderEpoch(id.epoch) },
        size: u64::try_from(partition.size).ok()?,
        position: u64::try_from(partition.position).ok()?,
        bytes: bytes_of(&partition.unaligned_records),
    };
    Some((answer, piece))
}
