//! AlterReplicaLogDirs: a replica moves to another log directory. There is one, so that a replica is where it shall be
//! or there is no such place.
//!
//! Source: `ReplicaManager.alterReplicaLogDirs`.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use milena_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use crate::api::log_dirs::log_dir;
use crate::dispatch::Call;
use crate::share::Lookups;
use crate::world::World;

/// Answers for each partition once, and what is asked last counts.
pub async fn alter_replica_log_dirs<W: World>(
    call: &Call<'_, W>,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let own = log_dir(&call.node.settings.data_dir);
    let mut lookups = Lookups::default();
    let mut topics = BTreeMap::<&str, BTreeMap<i32, ErrorCode>>::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for index in &topic.partitions {
                lookups.done(1).await;
                let error = match dir.path == own {
                    _ if is_too_long(&topic.name, *index) => ErrorCode::InvalidTopicException,
                    true => place(call, &topic.name, *index),
                    false => ErrorCode::LogDirNotFound,
                };
                topics.entry(&topic.name).or_default().insert(*index, error);
            }
        }
    }
    let result = |(partition_index, error): (i32, ErrorCode)| AlterReplicaLogDirPartitionResult {
        partition_index,
        error_code: error.number(),
    };
    let results = topics.into_iter().map(|(name, partitions)| AlterReplicaLogDirTopicResult {
        topic_name: name.to_owned(),
        partitions: partitions.into_iter().map(result).collect(),
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
}

/// In Kafka the copy has a directory whose name is longer than the replica's, wherever it would be.
fn is_too_long(topic: &str, index: i32) -> bool {
    let suffix = format!("-{index}.").len() + UNIQUE_LEN + "-future".len();
    topic.encode_utf16().count() + suffix > DIRECTORY_NAME_LEN_MAX
}

/// Whether the replica is in the one directory.
fn place<W: World>(call: &Call<'_, W>, topic: &str, index: i32) -> ErrorCode {
    match call.node.partitions.replica(topic, index) {
        Some(replica) if replica.is_offline() => ErrorCode::KafkaStorageError,
        Some(_) => ErrorCode::None,
        None if call.node.image().partition(topic, index).is_some() => ErrorCode::ReplicaNotAvailable,
        None => ErrorCode::UnknownTopicOrPartition,
    }
}

/// A random id without its dashes, in the name of a directory that is to be copied into.
const UNIQUE_LEN: usize = 32;
/// What file systems take.
const DIRECTORY_NAME_LEN_MAX: usize = 255;
