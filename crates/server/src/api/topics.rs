//! CreateTopics, DeleteTopics, CreatePartitions: forwarded to the controller, answered when this node has
//! applied what was decided, so that the client finds the topic as the answer says it is.

use milena_metadata::controller::{Request, Response};
use milena_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse,
};

use crate::control::ask;
use crate::dispatch::Call;
use crate::world::World;

/// First version whose answer carries the configs.
const CONFIGS_SINCE: i16 = 5;

/// Creates topics.
pub async fn create_topics<W: World>(call: &Call<'_, W>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut response = ask!(call, Request::CreateTopics(request), Response::CreateTopics);
    if call.version() < CONFIGS_SINCE {
        for topic in &mut response.topics {
            topic.topic_config_error_code = 0;
        }
    }
    response
}

/// Deletes topics.
pub async fn delete_topics<W: World>(call: &Call<'_, W>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    ask!(call, Request::DeleteTopics(request), Response::DeleteTopics)
}

/// Adds partitions to topics.
pub async fn create_partitions<W: World>(
    call: &Call<'_, W>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    ask!(call, Request::CreatePartitions(request), Response::CreatePartitions)
}
