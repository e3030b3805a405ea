//! How a leadership begins and ends: BeginQuorumEpoch and EndQuorumEpoch.

use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse,
    begin_quorum_epoch_request, begin_quorum_epoch_response, end_quorum_epoch_request, end_quorum_epoch_response,
};
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Uuid};

use super::{Answer, Standing, node, only};
use crate::METADATA_TOPIC;
use crate::raft::{Endpoint, Options, Voter};

/// A leader's own words about its beginning or end.
#[derive(Debug)]
pub(crate) struct LeaderNews {
    pub(crate) leader: NodeId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) endpoint: Option<Endpoint>,
    /// Empty where it begins.
    pub(crate) successors: Vec<(NodeId, Uuid)>,
}

pub(crate) fn begin_request(options: &Options, epoch: LeaderEpoch, voter: &Voter) -> BeginQuorumEpochRequest {
    let partition = begin_quorum_epoch_request::PartitionData {
        partition_index: 0,
        voter_directory_id: voter.directory,
        leader_id: options.node.0,
        leader_epoch: epoch.0,
    };
    let endpoint = |endpoint: &Endpoint| begin_quorum_epoch_request::LeaderEndpoint {
        name: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    BeginQuorumEpochRequest {
        cluster_id: Some(options.cluster_id.clone()),
        voter_id: voter.id.0,
        topics: of_one_partition!(partition, begin_quorum_epoch_request::TopicData, topic_name),
        leader_endpoints: options.endpoints.iter().map(endpoint).collect(),
    }
}

/// The news, and the voter that they are meant for.
pub(crate) fn parse_begin_request(request: &BeginQuorumEpochRequest) -> Option<(LeaderNews, (i32, Uuid))> {
    let partition = partition!(&request.topics, topic_name, partition_index);
    let endpoint = request.leader_endpoints.first().map(|endpoint| Endpoint {
        listener: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    let (leader, epoch) = (NodeId(partition.leader_id), LeaderEpoch(partition.leader_epoch));
    let news = LeaderNews { leader, epoch, endpoint, successors: Vec::new() };
    Some((news, (request.voter_id, partition.voter_directory_id)))
}

pub(crate) fn begin_response(standing: &Standing, error: ErrorCode) -> BeginQuorumEpochResponse {
    let partition = begin_quorum_epoch_response::PartitionData {
        partition_index: 0,
        error_code: error.number(),
        leader_id: standing.leader_id(),
        leader_epoch: standing.epoch.0,
    };
    BeginQuorumEpochResponse {
        error_code: 0,
        topics: of_one_partition!(partition, begin_quorum_epoch_response::TopicData, topic_name),
        node_endpoints: node_endpoints!(begin_quorum_epoch_response, standing),
    }
}

pub(crate) fn parse_begin_response(response: &BeginQuorumEpochResponse) -> Option<Answer> {
    let partition = partition!(&response.topics, topic_name, partition_index);
    let (error, leader, epoch) = (partition.error_code, partition.leader_id, partition.leader_epoch);
    Some(answer!(error, leader, epoch, response.node_endpoints))
}

pub(crate) fn end_request(
    cluster: &str,
    (epoch, leader): (LeaderEpoch, NodeId),
    successors: &[(NodeId, Uuid)],
) -> EndQuorumEpochRequest {
    let candidate = |successor: &(NodeId, Uuid)| end_quorum_epoch_request::ReplicaInfo {
        candidate_id: successor.0.0,
        candidate_directory_id: successor.1,
    };
    let partition = end_quorum_epoch_request::PartitionData {
        partition_index: 0,
        leader_id: leader.0,
        leader_epoch: epoch.0,
        preferred_successors: successors.iter().map(|(id, _)| id.0).collect(),
        preferred_candidates: successors.iter().map(candidate).collect(),
    };
    EndQuorumEpochRequest {
        cluster_id: Some(cluster.to_string()),
        topics: of_one_partition!(partition, end_quorum_epoch_request::TopicData, topic_name),
        leader_endpoints: Vec::new(),
    }
}

pub(crate) fn parse_end_request(request: &EndQuorumEpochRequest) -> Option<LeaderNews> {
    let partition = partition!(&request.topics, topic_name, partition_index);
    let endpoint = request.leader_endpoints.first().map(|endpoint| Endpoint {
        listener: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    });
    let candidates = partition.preferred_candidates.iter();
    let mut successors: Vec<(NodeId, Uuid)> =
        candidates.map(|info| (NodeId(info.candidate_id), info.candidate_directory_id)).collect();
    if successors.is_empty() {
        successors = partition.preferred_successors.iter().map(|id| (NodeId(*id), Uuid::ZERO)).collect();
    }
    let (leader, epoch) = (NodeId(partition.leader_id), LeaderEpoch(partition.leader_epoch));
    Some(LeaderNews { leader, epoch, endpoint, successors })
}

pub(crate) fn end_response(standing: &Standing, error: ErrorCode) -> EndQuorumEpochResponse {
    let partition = end_quorum_epoch_response::PartitionData {
        partition_index: 0,
        error_code: error.number(),
        leader_id: standing.leader_id(),
        leader_epoch: standing.epoch.0,
    };
    EndQuorumEpochResponse {
        error_code: 0,
        topics: of_one_partition!(partition, end_quorum_epoch_response::TopicData, topic_name),
        node_endpoints: node_endpoints!(end_quorum_epoch_response, standing),
    }
}

pub(crate) fn parse_end_response(response: &EndQuorumEpochResponse) -> Option<Answer> {
    let partition = partition!(&response.topics, topic_name, partition_index);
    let (error, leader, epoch) = (partition.error_code, partition.leader_id, partition.leader_epoch);
    Some(answer!(error, leader, epoch, response.node_endpoints))
}
