//! Between the machine's own values and the protocol's messages, which all speak of one partition of one topic.
//!
//! Source: `RaftUtil`.

use bytes::Bytes;
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Uuid};

use super::{Endpoint, Voter};

pub(crate) use fetch::{
    FetchAnswer, FetchedPartition, fetch_request, fetch_response, parse_fetch_request, parse_fetch_response,
};
pub(crate) use leadership::{
    begin_request, begin_response, end_request, end_response, parse_begin_request, parse_begin_response,
    parse_end_request, parse_end_response,
};
pub(crate) use snapshot::{
    SnapshotPiece, parse_snapshot_request, parse_snapshot_response, snapshot_request, snapshot_response,
};
pub(crate) use votes::{VoteAsk, parse_vote_request, parse_vote_response, vote_request, vote_response};

/// The metadata topic's id, one of those that Kafka reserves (`Uuid.METADATA_TOPIC_ID`).
const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// What every answer tells: the epoch, and who leads it.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) leader: Option<Voter>,
}

impl Standing {
    fn leader_id(&self) -> i32 {
        self.leader.as_ref().map_or(NodeId::NONE, |leader| leader.id).0
    }

    fn endpoint(&self) -> Option<(i32, &Endpoint)> {
        let leader = self.leader.as_ref()?;
        Some((leader.id.0, leader.endpoints.first()?))
    }
}

/// What every answer from another node tells.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) error: ErrorCode,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) leader: Option<NodeId>,
    pub(crate) endpoint: Option<Endpoint>,
}

/// The one element of a list that must have one.
fn only<T>(list: &[T]) -> Option<&T> {
    match list {
        [one] => Some(one),
        _ => None,
    }
}

/// The only partition of the only topic, if they are the metadata log's.
macro_rules! partition {
    ($topics:expr, $name:ident, $index:ident) => {{
        let topic = only($topics)?;
        let partition = only(&topic.partitions)?;
        (topic.$name == METADATA_TOPIC && partition.$index == 0).then_some(partition)?
    }};
}

/// The leader's endpoint as an answer's list of nodes.
macro_rules! node_endpoints {
    ($module:ident, $standing:expr $(, $field:ident: $value:expr)?) => {{
        let standing: &Standing = $standing;
        let endpoints = standing.endpoint().map(|(node_id, endpoint)| $module::NodeEndpoint {
            node_id,
            host: endpoint.host.clone(),
            port: endpoint.port.into(),
            $($field: $value,)?
        });
        endpoints.into_iter().collect()
    }};
}

/// What an answer says about the quorum: from a partition's error, leader and epoch, and the list of nodes.
macro_rules! answer {
    ($error:expr, $leader:expr, $epoch:expr, $endpoints:expr) => {{
        let leader = node($leader);
        let endpoint = $endpoints.iter().find(|endpoint| Some(NodeId(endpoint.node_id)) == leader);
        Answer {
            error: ErrorCode::from_number($error),
            epoch: LeaderEpoch($epoch),
            leader,
            endpoint: endpoint.and_then(|endpoint| {
                let port = u16::try_from(endpoint.port).ok()?;
                Some(Endpoint { listener: String::new(), host: endpoint.host.clone(), port })
            }),
        }
    }};
}

/// A request with one partition of one topic in it.
macro_rules! of_one_partition {
    ($partition:expr, $module:ident :: $topic:ident, $name:ident) => {
        vec![$module::$topic { $name: METADATA_TOPIC.to_string(), partitions: vec![$partition] }]
    };
}

fn node(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

fn bytes_of(records: &Records) -> Bytes {
    match records {
        Records::Bytes(bytes) => bytes.clone(),
        // What is somewhere else was never received.
        Records::Null | Records::External(_) => Bytes::new(),
    }
}

// Below the macros, which the modules use.
mod fetch;
mod leadership;
mod snapshot;
mod votes;
