//! DescribeQuorum: who agrees on the metadata log, and how far each is (KIP-595, KIP-853).
//!
//! Source: `KafkaRaftClient.handleDescribeQuorumRequest`, `RaftUtil.singletonDescribeQuorumResponse`.

use milena_base::Millis;
use milena_metadata::METADATA_TOPIC;
use milena_metadata::raft::{Endpoint, Voter};
use milena_protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use milena_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use milena_protocol::{ErrorCode, Offset};

use crate::control::Quorum;
use crate::dispatch::Call;
use crate::world::World;

/// First version with directories, addresses and texts for errors.
const FIRST_WITH_NODES: i16 = 2;

/// Partition 0 of the metadata topic is the only one that has a quorum.
pub async fn describe_quorum<W: World>(call: &Call<'_, W>, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let is_known = match request.topics.as_slice() {
        [topic] => {
            topic.topic_name == METADATA_TOPIC && matches!(&*topic.partitions, [one] if one.partition_index == 0)
        }
        _ => false,
    };
    if !is_known {
        return refused(request, ErrorCode::UnknownTopicOrPartition);
    }
    match call.node.control.quorum().await {
        None => refused(request, ErrorCode::NotLeaderOrFollower),
        Some(quorum) => described(quorum, call.node.world.now(), call.version()),
    }
}

fn described(quorum: Quorum, now: Millis, version: i16) -> DescribeQuorumResponse {
    let partition = PartitionData {
        leader_id: quorum.leader.0,
        leader_epoch: quorum.epoch.0,
        high_watermark: quorum.high_watermark.unwrap_or(Offset::NONE).0,
        current_voters: quorum.voters.iter().map(|voter| standing(&quorum, voter, now, version)).collect(),
        ..Default::default()
    };
    let nodes = if version < FIRST_WITH_NODES { Vec::new() } else { quorum.voters.iter().map(node).collect() };
    let topics = vec![TopicData { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition] }];
    DescribeQuorumResponse { topics, nodes, ..Default::default() }
}

/// Of a voter. What another one than the leader has is not known: with several voters a node does not start.
fn standing(quorum: &Quorum, voter: &Voter, now: Millis, version: i16) -> ReplicaState {
    let state = ReplicaState { replica_id: voter.id.0, ..Default::default() };
    let state = match version {
        FIRST_WITH_NODES.. => ReplicaState { replica_directory_id: voter.directory, ..state },
        _ => state,
    };
    if voter.id != quorum.leader {
        return ReplicaState { log_end_offset: Offset::NONE.0, ..state };
    }
    ReplicaState {
        log_end_offset: quorum.log_end.0,
        last_fetch_timestamp: now.0,
        last_caught_up_timestamp: now.0,
        ..state
    }
}

fn node(voter: &Voter) -> Node {
    let listener = |endpoint: &Endpoint| Listener {
        name: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    Node { node_id: voter.id.0, listeners: voter.endpoints.iter().map(listener).collect() }
}

/// Everything that was asked for, with an error.
fn refused(request: DescribeQuorumRequest, error: ErrorCode) -> DescribeQuorumResponse {
    let text = || match error {
        ErrorCode::UnknownTopicOrPartition => {
            format!("only {METADATA_TOPIC}-0 has a quorum, and it is asked for alone")
        }
        _ => "this node does not lead the quorum".to_owned(),
    };
    let topics = request.topics.into_iter().map(|topic| TopicData {
        topic_name: topic.topic_name,
        partitions: (topic.partitions.into_iter())
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: error.number(),
                error_message: Some(text()),
                ..Default::default()
            })
            .collect(),
    });
    DescribeQuorumResponse { topics: topics.collect(), ..Default::default() }
}
