//! DescribeLogDirs: the one log directory, its room, and how large the replicas in it are.
//!
//! Source: `ReplicaManager.describeLogDirs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use milena_base::Disk;
use milena_base::disk::Space;
use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use milena_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use milena_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::partitions::Replica;
use crate::share::Lookups;
use crate::world::{World, on_pool};

/// A partition on the wire, and a topic without its name.
const PARTITION_BYTES: usize = 4 + 8 + 8 + 1 + 1;
const TOPIC_BYTES: usize = 8;

/// The replicas that are asked for, or all; what is not here is left out.
pub async fn describe_log_dirs<W: World>(
    call: &Call<'_, W>,
    request: &DescribeLogDirsRequest,
    growing: &mut Growing<'_>,
) -> Result<DescribeLogDirsResponse, NoRoom> {
    let replicas = match &request.topics {
        None => call.node.partitions.all(),
        Some(topics) => named(call, topics).await,
    };
    let mut lookups = Lookups::default();
    let mut topics = BTreeMap::<&str, Vec<DescribeLogDirsPartition>>::new();
    for replica in &replicas {
        lookups.done(1).await;
        let name = replica.topic_partition().topic.as_str();
        let topic_bytes = if topics.contains_key(name) { 0 } else { TOPIC_BYTES + name.len() };
        if !growing.part(topic_bytes + PARTITION_BYTES).await? {
            let error_code = ErrorCode::InvalidRequest.number();
            return Ok(DescribeLogDirsResponse { error_code, ..Default::default() });
        }
        topics.entry(name).or_default().extend(describe(replica));
    }
    let topics = topics.into_iter().filter(|(_, partitions)| !partitions.is_empty());
    let topics = topics.map(|(name, partitions)| DescribeLogDirsTopic { name: name.to_owned(), partitions }).collect();
    Ok(DescribeLogDirsResponse { results: vec![directory(call, topics).await], ..Default::default() })
}

/// The log directory with those replicas in it.
async fn directory<W: World>(call: &Call<'_, W>, topics: Vec<DescribeLogDirsTopic>) -> DescribeLogDirsResult {
    let path = call.node.settings.data_dir.clone();
    let log_dir = log_dir(&path);
    let disk = call.node.world.disk();
    match on_pool(&*call.node.world, move || disk.space(&path)).await {
        Ok(space) => found(log_dir, topics, space),
        Err(failure) => failed(log_dir, &failure),
    }
}

/// Kafka names directories by their absolute paths, as given otherwise.
pub(super) fn log_dir(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// Each once, however often it is named.
async fn named<W: World>(call: &Call<'_, W>, topics: &[DescribableLogDirTopic]) -> Vec<Arc<Replica<W::Disk>>> {
    let mut seen = BTreeSet::new();
    let mut lookups = Lookups::default();
    let mut replicas = Vec::new();
    for topic in topics {
        for index in topic.partitions.iter().copied() {
            lookups.done(1).await;
            if seen.insert((topic.topic.as_str(), index)) {
                replicas.extend(call.node.partitions.replica(&topic.topic, index));
            }
        }
    }
    replicas
}

/// `None` for a replica that is offline: nobody knows what is in it.
fn describe<D: Disk>(replica: &Replica<D>) -> Option<DescribeLogDirsPartition> {
    let partition_size = replica.with(|partition| partition.size_bytes())? as i64;
    let partition_index = replica.topic_partition().partition;
    // Nothing lags behind here: there is one replica of each partition, and it is not on its way to another directory.
    Some(DescribeLogDirsPartition { partition_index, partition_size, offset_lag: 0, is_future_key: false })
}

fn found(log_dir: String, topics: Vec<DescribeLogDirsTopic>, space: Space) -> DescribeLogDirsResult {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        log_dir,
        topics,
        total_bytes: bytes(space.total_bytes),
        usable_bytes: bytes(space.usable_bytes),
        ..Default::default()
    }
}

fn failed(log_dir: String, failure: &io::Error) -> DescribeLogDirsResult {
    tracing::warn!(log_dir, %failure, "the log directory cannot be described");
    DescribeLogDirsResult { error_code: ErrorCode::KafkaStorageError.number(), log_dir, ..Default::default() }
}
