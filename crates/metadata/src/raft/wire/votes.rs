//! Vote requests and responses.

use milena_protocol::messages::{VoteRequest, VoteResponse, vote_request, vote_response};
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

use super::{Answer, Standing, node, only};
use crate::METADATA_TOPIC;
use crate::raft::log::EpochEnd;
use crate::raft::{Endpoint, Voter};

/// A candidate's question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VoteAsk {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) candidate: (NodeId, Uuid),
    pub(crate) last: EpochEnd,
    pub(crate) is_pre_vote: bool,
}

pub(crate) fn vote_request(cluster: &str, voter: &Voter, ask: &VoteAsk) -> VoteRequest {
    let partition = vote_request::PartitionData {
        partition_index: 0,
        replica_epoch: ask.epoch.0,
        replica_id: ask.candidate.0.0,
        replica_directory_id: ask.candidate.1,
        voter_directory_id: voter.directory,
        last_offset_epoch: ask.last.epoch.0,
        last_offset: ask.last.end.0,
        pre_vote: ask.is_pre_vote,
    };
    let topics = of_one_partition!(partition, vote_request::TopicData, topic_name);
    VoteRequest { cluster_id: Some(cluster.to_string()), voter_id: voter.id.0, topics }
}

/// The question, and the voter that it is meant for.
pub(crate) fn parse_vote_request(request: &VoteRequest) -> Option<(VoteAsk, (i32, Uuid))> {
    let partition = partition!(&request.topics, topic_name, partition_index);
    let ask = VoteAsk {
        epoch: LeaderEpoch(partition.replica_epoch),
        candidate: (NodeId(partition.replica_id), partition.replica_directory_id),
        last: EpochEnd { epoch: LeaderEpoch(partition.last_offset_epoch), end: Offset(partition.last_offset) },
        is_pre_vote: partition.pre_vote,
    };
    Some((ask, (request.voter_id, partition.voter_directory_id)))
}

pub(crate) fn vote_response(standing: &Standing, outcome: Result<bool, ErrorCode>) -> VoteResponse {
    let partition = vote_response::PartitionData {
        partition_index: 0,
        error_code: outcome.err().unwrap_or(ErrorCode::None).number(),
        leader_id: standing.leader_id(),
        leader_epoch: standing.epoch.0,
        vote_granted: outcome.unwrap_or(false),
    };
    VoteResponse {
        error_code: 0,
        topics: of_one_partition!(partition, vote_response::TopicData, topic_name),
        node_endpoints: node_endpoints!(vote_response, standing),
    }
}

/// The answer, and whether the vote was given.
pub(crate) fn parse_vote_response(response: &VoteResponse) -> Option<(Answer, bool)> {
    let partition = partition!(&response.topics, topic_name, partition_index);
    let (error, leader, epoch) = (partition.error_code, partition.leader_id, partition.leader_epoch);
    Some((answer!(error, leader, epoch, response.node_endpoints), partition.vote_granted))
}
