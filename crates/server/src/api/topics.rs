//! CreateTopics, DeleteTopics, CreatePartitions, ElectLeaders: forwarded to the controller, answered when this node has
//! applied what was decided, so that the client finds the topic as the answer says it is.

use std::collections::BTreeSet;

use milena_metadata::controller::{Request, Response};
use milena_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse,
};

use crate::control::ask;
use crate::dispatch::Call;
use crate::world::World;

/// Creates topics.
pub async fn create_topics<W: World>(call: &Call<'_, W>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    ask!(call, Request::CreateTopics { request, hidden: BTreeSet::new() }, Response::CreateTopics)
}

/// Deletes topics.
pub async fn delete_topics<W: World>(call: &Call<'_, W>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    ask!(call, Request::DeleteTopics { request, version: call.version() }, Response::DeleteTopics)
}

/// Gives partitions the leader that is asked for.
pub async fn elect_leaders<W: World>(call: &Call<'_, W>, request: ElectLeadersRequest) -> ElectLeadersResponse {
    ask!(call, Request::ElectLeaders(request), Response::ElectLeaders)
}

/// Adds partitions to topics.
pub async fn create_partitions<W: World>(
    call: &Call<'_, W>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    ask!(call, Request::CreatePartitions(request), Response::CreatePartitions)
}
