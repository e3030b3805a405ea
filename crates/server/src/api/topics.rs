//! CreateTopics, DeleteTopics, CreatePartitions, ElectLeaders: forwarded to the controller, answered when this node has
//! applied what was decided, so that the client finds the topic as the answer says it is.

use std::collections::BTreeSet;

use milena_metadata::controller::{Caller, Request, Response};
use milena_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse,
};

use crate::control::ask;
use crate::dispatch::Call;
use crate::world::World;

/// First versions whose clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const CREATE_STRICT: i16 = 6;
/// See [`CREATE_STRICT`].
const DELETE_STRICT: i16 = 5;
/// See [`CREATE_STRICT`].
const GROW_STRICT: i16 = 3;

/// Creates topics.
pub async fn create_topics<W: World>(call: &Call<'_, W>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let (hidden, by) = (BTreeSet::new(), caller(call, CREATE_STRICT));
    ask!(call, Request::CreateTopics { request, hidden, by }, Response::CreateTopics)
}

/// Deletes topics.
pub async fn delete_topics<W: World>(call: &Call<'_, W>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let (version, by) = (call.version(), caller(call, DELETE_STRICT));
    ask!(call, Request::DeleteTopics { request, version, by }, Response::DeleteTopics)
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
    let by = caller(call, GROW_STRICT);
    ask!(call, Request::CreatePartitions { request, by }, Response::CreatePartitions)
}

/// Whose quota counts. Clients of older versions than `strict_since` do not know the refusal.
fn caller<W: World>(call: &Call<'_, W>, strict_since: i16) -> Option<Caller> {
    Some(call.caller(call.version() >= strict_since))
}
