//! FindCoordinator: which broker leads the internal partition that a group or a transactional id belongs to.
//!
//! Source: `KafkaApis.getCoordinator`.

use milena_coordinators::group::partition_for;
use milena_protocol::messages::find_coordinator_response::Coordinator;
use milena_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use milena_protocol::{ErrorCode, Uuid};

use crate::api::metadata::View;
use crate::auto_create;
use crate::dispatch::Call;
use crate::shards::{GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use crate::share::collected;
use crate::world::World;

/// Key type of a group.
const GROUP: i8 = 0;
/// Key type of a transactional id.
const TRANSACTION: i8 = 1;
/// Key type of a share partition.
const SHARE: i8 = 2;
/// First version that asks for several keys.
const BATCH_SINCE: i16 = 4;
/// First version that knows share partitions.
const SHARE_SINCE: i16 = 6;

/// Finds coordinators; creates the internal topic when it is needed for the first time (trap 24).
pub async fn find_coordinator<W: World>(
    call: &Call<'_, W>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if call.version() >= BATCH_SINCE {
        let keys = request.coordinator_keys.into_iter();
        let coordinators = collected(keys.map(|key| find(call, request.key_type, key))).await;
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(call, request.key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message.map(|message| older_message(found.error_code, message)),
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

/// Before several keys could be asked for, every answer had a message.
fn older_message(error_code: i16, message: String) -> String {
    match ErrorCode::from_number(error_code) {
        ErrorCode::None => "NONE".to_owned(),
        error if message.is_empty() => error.about().to_owned(),
        _ => message,
    }
}

fn find<W: World>(call: &Call<'_, W>, key_type: i8, key: String) -> Coordinator {
    match leader(call, key_type, &key) {
        Ok((node_id, host, port)) => {
            Coordinator { key, node_id, host, port, error_message: Some(String::new()), ..Default::default() }
        }
        Err((error, message)) => Coordinator {
            key,
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: error.number(),
            error_message: Some(message.to_owned()),
        },
    }
}

fn leader<W: World>(
    call: &Call<'_, W>,
    key_type: i8,
    key: &str,
) -> Result<(i32, String, i32), (ErrorCode, &'static str)> {
    let internal = match key_type {
        GROUP => GROUPS_TOPIC,
        TRANSACTION => TRANSACTIONS_TOPIC,
        SHARE if call.version() < SHARE_SINCE || !is_share_key(key) => return Err((ErrorCode::InvalidRequest, "")),
        SHARE => {
            return Err((ErrorCode::CoordinatorNotAvailable, "this broker serves no share groups yet"));
        }
        _ => return Err((ErrorCode::InvalidRequest, "no such type of coordinator")),
    };
    let unavailable = (ErrorCode::CoordinatorNotAvailable, "");
    let image = call.node.image();
    let Some(topic) = image.topic(internal) else {
        auto_create::start(call.node, std::iter::once(&internal.to_owned()), None);
        return Err(unavailable);
    };
    let view = View { image: &image, listener: &call.peer.listener, version: call.version() };
    let partition = topic.partitions.get(&partition_for(key, topic.partitions.len() as i32)).ok_or(unavailable)?;
    let broker = image.broker(partition.leader).filter(|broker| !broker.fenced).ok_or(unavailable)?;
    let (host, port) = view.address(broker).ok_or(unavailable)?;
    Ok((broker.id.0, host, port))
}

/// `group:topic id:partition`, where the group's id may have colons too (`SharePartitionKey.validate`).
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let (partition, topic, group) = (parts.next(), parts.next(), parts.next());
    partition.is_some_and(|partition| partition.parse::<i32>().is_ok())
        && topic.is_some_and(|topic| Uuid::parse(topic).is_some())
        && group.is_some_and(|group| !group.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_partition_is_named_by_group_topic_id_and_partition() {
        for good in ["g:AAAAAAAAAAAAAAAAAAAAAQ:0", "a:b:AAAAAAAAAAAAAAAAAAAAAQ:7"] {
            assert!(is_share_key(good), "{good}");
        }
        for bad in ["", "g", "g:0", " :AAAAAAAAAAAAAAAAAAAAAQ:0", "g:t:0", "g:AAAAAAAAAAAAAAAAAAAAAQ:x"] {
            assert!(!is_share_key(bad), "{bad}");
        }
    }
}
