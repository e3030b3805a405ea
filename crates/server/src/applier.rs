//! Makes this node fit the committed metadata: opens new replicas, closes and removes deleted ones, takes over
//! settings, starts and stops shards. Then the new image becomes visible to requests.

mod offline;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_coordinators::group::{DeletedTopic, GroupShard};
use milena_coordinators::transaction::{self, TransactionShard};
use milena_metadata::configs::{self, Kind, Layers, Resource, TopicConfig};
use milena_metadata::delta::{ChangedTopic, Changes, TopicChange};
use milena_metadata::features::TRANSACTION_VERSION;
use milena_metadata::image::{Image, Partition as PartitionState, Topic};
use milena_metadata::telemetry::Subscriptions;
use milena_partition::{CleanupPolicy, CompressionType, LogSettings, OpenError, Partition, TimestampType};
use milena_protocol::{LeaderEpoch, TopicPartition, Uuid};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use self::offline::Offline;
use crate::directory;
use crate::node::{Node, in_parts};
use crate::partitions::Replica;
use crate::settings::Changeable;
use crate::shards::transactions::level;
use crate::shards::{self, GROUPS_TOPIC, Led, TRANSACTIONS_TOPIC};
use crate::startup::fresh_id;
use crate::world::{Place, World, on_pool};

/// Replicas that could not be opened, and are named each, at one change of the metadata.
const OFFLINE_TOLD_MAX: usize = 10;

/// Applies committed changes in order until the node stops.
pub(crate) async fn run<W: World>(node: Arc<Node<W>>, mut changes: mpsc::Receiver<(Image, Changes)>) {
    let mut first = true;
    let mut offline = Offline::default();
    loop {
        let changed = tokio::select! {
            biased;
            changed = changes.recv() => changed,
            () = offline.next_due() => {
                try_again(&node, &mut offline).await;
                continue;
            }
        };
        let Some((image, changes)) = changed else { return };
        if std::mem::take(&mut first) {
            set_strays_aside(&node, &image).await;
        }
        apply(&node, image, &changes, &mut offline).await;
    }
}

async fn apply<W: World>(node: &Arc<Node<W>>, image: Image, changes: &Changes, offline: &mut Offline) {
    let mut wanted = Vec::new();
    let mut deleted = Vec::new();
    for (id, changed) in &changes.topics {
        match changed.change {
            TopicChange::Deleted => deleted.push((*id, changed.clone())),
            TopicChange::Created | TopicChange::Changed => wanted.extend(missing(node, &image, *id, changed)),
        }
    }
    remove(node, &deleted).await;
    open(node, &image, wanted, offline).await;
    take_over_settings(node, &image, changes);
    take_over_changeable(node, &image, changes).await;
    let changed = |topic: &str| changes.topics.values().any(|changed| changed.name == topic);
    let end = image.provenance().last.next();
    let groups = changed(GROUPS_TOPIC).then(|| led::<W, GroupShard>(node, &image));
    let transactions = changed(TRANSACTIONS_TOPIC).then(|| led::<W, TransactionShard>(node, &image));
    if changes.quotas {
        take_over_quotas(node, &image);
    }
    if changes.configs.iter().any(|resource| resource.kind == Kind::ClientMetrics) {
        take_over_subscriptions(node, &image).await;
    }
    node.set_image(image);
    if let Some(groups) = groups {
        node.shards.lead(groups).await;
    }
    if let Some(transactions) = transactions {
        node.transactions.lead(transactions).await;
    }
    if changes.features.contains(TRANSACTION_VERSION) {
        node.transactions.tell(transaction::Event::Level(level(node))).await;
    }
    if !deleted.is_empty() {
        let topics = deleted.into_iter().map(|(id, changed)| DeletedTopic { id, name: changed.name });
        node.shards.topics_deleted(topics.collect()).await;
    }
    let has_new_topics = changes.topics.values().any(|changed| changed.change == TopicChange::Created);
    node.shards.metadata_changed(Image::clone(&node.image()), has_new_topics, !changes.topics.is_empty()).await;
    node.metrics.metadata_offset.set(end.0 - 1);
    node.control.applied(end);
}

/// Quotas act from now on; those of hosts by name once somebody said who is meant, for which nothing else waits.
fn take_over_quotas<W: World>(node: &Arc<Node<W>>, image: &Image) {
    let unknown = node.quotas.set(image);
    let warning = "a quota of a host without an address has no effect until quotas change again";
    node.look_up_beside(unknown, warning, |node, host, address| node.quotas.found(host, address));
}

/// Clients are asked for what the subscriptions say now. Their expressions are compiled first.
async fn take_over_subscriptions<W: World>(node: &Arc<Node<W>>, image: &Image) {
    let image = image.clone();
    let subscriptions = on_pool(&*node.world, move || Subscriptions::new(&image)).await;
    node.telemetry.set_subscriptions(subscriptions);
}

/// Looks once, at the start, for directories that the metadata does not know.
async fn set_strays_aside<W: World>(node: &Arc<Node<W>>, image: &Image) {
    let (job_node, image) = (Arc::clone(node), image.clone());
    let id = fresh_id(&*node.world).to_string();
    on_pool(&*node.world, move || {
        let own = |partition: &TopicPartition, id: Option<Uuid>| {
            let topic = image.topic(&partition.topic).filter(|topic| id.is_none_or(|id| id == topic.id));
            let state = topic.and_then(|topic| topic.partitions.get(&partition.partition));
            state.is_some_and(|state| state.replicas.contains(&job_node.settings.node_id))
        };
        directory::set_strays_aside(&job_node.world.disk(), &job_node.settings.data_dir, own, &id);
    })
    .await;
}

/// A replica to be opened.
struct Wanted {
    topic: String,
    id: Uuid,
    partition: i32,
    epoch: LeaderEpoch,
    settings: LogSettings,
}

/// The partitions of a topic that this node holds and has not opened yet.
fn missing<W: World>(node: &Node<W>, image: &Image, id: Uuid, changed: &ChangedTopic) -> Vec<Wanted> {
    let Some(topic) = image.topic_by_id(id) else { return Vec::new() };
    let hosted = node.partitions.topic_by_id(id);
    let is_open = |partition: i32| hosted.as_ref().is_some_and(|hosted| hosted.replicas.contains_key(&partition));
    let settings = log_settings(node, image, &topic.name);
    let mut missing = Vec::new();
    for partition in changed.partitions.iter().copied() {
        let Some(state) = own_partition(node, topic, partition) else { continue };
        match is_open(partition) {
            true => lead_or_resign(node, topic, partition, state),
            false => missing.push(wanted(topic, partition, state, settings.clone())),
        }
    }
    missing
}

/// A partition of which a replica belongs here.
fn own_partition<'a, W: World>(node: &Node<W>, topic: &'a Topic, partition: i32) -> Option<&'a PartitionState> {
    let state: &PartitionState = topic.partitions.get(&partition)?;
    Some(state).filter(|state| state.replicas.contains(&node.settings.node_id))
}

fn wanted(topic: &Topic, partition: i32, state: &PartitionState, settings: LogSettings) -> Wanted {
    Wanted { topic: topic.name.to_string(), id: topic.id, partition, epoch: state.leader_epoch, settings }
}

/// An open replica whose leader epoch moved on.
/// Where nobody leads, also this node does not: it goes, or was unregistered.
fn lead_or_resign<W: World>(node: &Node<W>, topic: &Topic, partition: i32, state: &PartitionState) {
    let Some(replica) = node.partitions.replica(&topic.name, partition) else { return };
    if state.leader != node.settings.node_id {
        replica.with(|partition| partition.resign(state.leader_epoch));
        return;
    }
    if let Some(Err(failure)) = replica.with(|partition| partition.lead(state.leader_epoch)) {
        error!(partition = %replica.topic_partition(), %failure, "cannot lead");
    }
}

/// Opens replicas in several jobs at once and makes them findable. One that cannot be opened is offline: its clients
/// are told so, the others are served.
async fn open<W: World>(node: &Arc<Node<W>>, image: &Image, wanted: Vec<Wanted>, offline: &mut Offline) {
    if wanted.is_empty() {
        return;
    }
    let job_node = Arc::clone(node);
    let opened = in_parts(node, wanted, move |wanted| (open_one(&job_node, &wanted), wanted)).await;
    let mut by_topic: BTreeMap<Uuid, Vec<Arc<Replica<W::Disk>>>> = BTreeMap::new();
    let mut failures = Vec::new();
    for (opened, wanted) in opened {
        let replica = opened.unwrap_or_else(|failure| {
            failures.push(((wanted.id, wanted.partition), failure));
            let partition = TopicPartition::new(wanted.topic, wanted.partition);
            Replica::offline(partition, wanted.id, wanted.settings, &node.memory.work, &node.unflushed)
        });
        by_topic.entry(replica.topic_id()).or_default().push(replica);
    }
    for (id, replicas) in by_topic {
        if let Some(topic) = image.topic_by_id(id) {
            node.partitions.add(&topic.name, id, replicas);
        }
    }
    note_offline(node, image, failures, offline);
}

/// Says once of each which is offline and why; of very many, the first ones.
fn note_offline<W: World>(
    node: &Node<W>,
    image: &Image,
    failures: Vec<(offline::Key, OpenError)>,
    offline: &mut Offline,
) {
    let mut untold = 0;
    for (at, ((id, partition), failure)) in failures.into_iter().enumerate() {
        let name = image.topic_by_id(id).map_or_else(String::new, |topic| topic.name.to_string());
        let topic_partition = TopicPartition::new(name, partition);
        let is_new = offline.failed((id, partition), Instant::now());
        match is_new && at < OFFLINE_TOLD_MAX {
            true => error!(partition = %topic_partition, %failure, "replica is offline; it is tried again"),
            false => debug!(partition = %topic_partition, %failure, "replica is offline"),
        }
        untold += usize::from(is_new && at >= OFFLINE_TOLD_MAX);
        node.directory.keep(topic_partition);
    }
    if untold > 0 {
        error!(replicas = untold, "so many more replicas are offline; they are tried again");
    }
}

/// Opens replicas whose time has come. Where that succeeds, they take the places of those that only refused.
async fn try_again<W: World>(node: &Arc<Node<W>>, offline: &mut Offline) {
    let image = node.image();
    let mut again = Vec::new();
    for (id, partition) in offline.due(Instant::now()) {
        let topic = image.topic_by_id(id);
        match topic.and_then(|topic| Some((topic, own_partition(node, topic, partition)?))) {
            Some((topic, state)) => {
                again.push(wanted(topic, partition, state, log_settings(node, &image, &topic.name)));
            }
            None => offline.forget((id, partition)),
        }
    }
    let job_node = Arc::clone(node);
    let opened = in_parts(node, again, move |wanted| (open_one(&job_node, &wanted), wanted)).await;
    let mut failures = Vec::new();
    let mut back = BTreeSet::new();
    for (opened, wanted) in opened {
        let key = (wanted.id, wanted.partition);
        match opened {
            Ok(replica) => {
                info!(partition = %replica.topic_partition(), "replica is online again");
                offline.forget(key);
                node.directory.opened(replica.topic_partition());
                let refusing = node.partitions.replica(&wanted.topic, wanted.partition);
                node.partitions.add(&wanted.topic, wanted.id, vec![replica]);
                // Its long polls look again, and find the other.
                refusing.inspect(|refusing| drop(refusing.close()));
                back.insert(wanted.topic);
            }
            Err(failure) => failures.push((key, failure)),
        }
    }
    note_offline(node, &image, failures, offline);
    if back.contains(GROUPS_TOPIC) {
        node.shards.lead(led::<W, GroupShard>(node, &image)).await;
    }
    if back.contains(TRANSACTIONS_TOPIC) {
        node.transactions.lead(led::<W, TransactionShard>(node, &image)).await;
    }
}

fn open_one<W: World>(node: &Node<W>, wanted: &Wanted) -> Result<Arc<Replica<W::Disk>>, OpenError> {
    let topic_partition = TopicPartition::new(wanted.topic.clone(), wanted.partition);
    let dir = node.settings.data_dir.join(topic_partition.to_string());
    let hints = node.directory.hints(&topic_partition, node.world.random());
    let now = node.world.now();
    let opened = Partition::open(
        node.world.disk(),
        dir,
        topic_partition.clone(),
        wanted.id,
        wanted.settings.clone(),
        hints,
        now,
    );
    let (mut partition, recovered) = opened?;
    let failed = |path: &Path, source| OpenError::Disk { path: path.to_owned(), source };
    let dir = partition.dir().to_owned();
    partition.lead(wanted.epoch).map_err(|failure| failed(&dir, io::Error::other(failure)))?;
    // What recovery found is only readable once it is as durable as the topic promises.
    if partition.flush_due(now) {
        partition.flush(now).map_err(|source| failed(&dir, source))?;
    }
    if let Some(offset) = recovered.lost_below_recovery_point {
        error!(partition = %topic_partition, %offset, "records that were flushed are gone from here on");
    }
    if recovered.truncated_bytes > 0 {
        warn!(partition = %topic_partition, bytes = recovered.truncated_bytes, "torn end of the log cut off");
    }
    node.directory.unlink_later(recovered.unlinks);
    Ok(Replica::new(partition, &node.memory.work, &node.unflushed))
}

/// Closes replicas of deleted topics and moves their directories out of the way; the files go later.
async fn remove<W: World>(node: &Arc<Node<W>>, deleted: &[(Uuid, ChangedTopic)]) {
    deleted.iter().for_each(|(_, changed)| node.directory.forget(&changed.name));
    let hosted: Vec<_> = deleted.iter().filter_map(|(id, _)| node.partitions.remove(*id)).collect();
    if hosted.is_empty() {
        return;
    }
    let job_node = Arc::clone(node);
    let dirs: Vec<PathBuf> = on_pool(&*node.world, move || {
        let replicas = hosted.iter().flat_map(|hosted| hosted.replicas.values());
        replicas.filter_map(|replica| directory::set_aside(&job_node, replica)).collect()
    })
    .await;
    info!(directories = dirs.len(), "topics deleted");
    let task_node = Arc::clone(node);
    let delay = std::time::Duration::from_millis(LogSettings::default().file_delete_delay_ms as u64);
    let task = async move {
        tokio::time::sleep(delay).await;
        let disk = task_node.world.disk();
        on_pool(&*task_node.world, move || directory::remove_dirs(&disk, &dirs)).await;
    };
    node.world.spawn(Place::Background, Box::pin(task));
}

/// The partitions of the internal topic of one kind of shard that this node leads.
fn led<W: World, S: shards::Kind<W>>(node: &Node<W>, image: &Image) -> Led<W::Disk> {
    let Some(topic) = image.topic(S::TOPIC) else { return BTreeMap::new() };
    let led = topic.partitions.iter().filter(|(_, state)| state.leader == node.settings.node_id);
    led.filter_map(|(partition, state)| {
        let replica = node.partitions.replica(S::TOPIC, *partition).filter(|replica| !replica.is_offline())?;
        Some((*partition, (replica, state.leader_epoch)))
    })
    .collect()
}

/// New settings of topics, or of brokers, on which topics' defaults rest.
fn take_over_settings<W: World>(node: &Node<W>, image: &Image, changes: &Changes) {
    let all = changes.configs.iter().any(|resource| resource.kind == Kind::Broker);
    for replica in node.partitions.all() {
        let topic = &replica.topic_partition().topic;
        let own = Resource { kind: Kind::Topic, name: topic.clone() };
        if all || changes.configs.contains(&own) {
            replica.set_settings(log_settings(node, image, topic));
            // A topic that promises more from now on promises it for what is there already.
            if let Some(marks) = replica.marks().filter(|_| replica.settings().acknowledges_after_flush()) {
                let _beside = replica.flush(&node.world, marks.log_end);
            }
        }
    }
}

/// New settings of this broker, or of all.
async fn take_over_changeable<W: World>(node: &Arc<Node<W>>, image: &Image, changes: &Changes) {
    let own = Resource::broker(node.settings.node_id);
    if !changes.configs.contains(&own) && !changes.configs.contains(&Resource::all_brokers()) {
        return;
    }
    let (job_node, image) = (Arc::clone(node), image.clone());
    let changeable = on_pool(&*node.world, move || {
        let layers = layers(&job_node, &image, None);
        Changeable::in_force(layers, &job_node.settings.listeners)
    })
    .await;
    let groups = node.settings.groups_with(changeable.assignment_interval_ms);
    node.set_changeable(changeable);
    node.shards.settings_changed(groups).await;
}

/// What bears on this broker, or on a topic's logs here.
fn layers<'a, W: World>(node: &'a Node<W>, image: &'a Image, topic: Option<&str>) -> Layers<'a> {
    static NONE: configs::Values = configs::Values::new();
    Layers {
        own: topic.map_or(&NONE, |topic| image.config(&Resource::topic(topic))),
        broker: image.config(&Resource::broker(node.settings.node_id)),
        all_brokers: image.config(&Resource::all_brokers()),
        file: &node.settings.file,
    }
}

/// What is in force for a topic's logs.
fn log_settings<W: World>(node: &Node<W>, image: &Image, topic: &str) -> LogSettings {
    let layers = layers(node, image, Some(topic));
    let config = TopicConfig::effective(layers);
    let producer_expiration = configs::effective(Kind::Broker, "producer.id.expiration.ms", layers);
    LogSettings {
        segment_bytes: config.segment_bytes as u32,
        segment_ms: config.segment_ms,
        segment_jitter_ms: config.segment_jitter_ms,
        index_interval_bytes: config.index_interval_bytes as u32,
        index_bytes_max: config.segment_index_bytes as u32,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        cleanup: CleanupPolicy { delete: config.cleanup_policy.delete, compact: config.cleanup_policy.compact },
        compaction_lag_min_ms: config.min_compaction_lag_ms,
        compaction_lag_max_ms: config.max_compaction_lag_ms,
        dirty_ratio_min: config.min_cleanable_dirty_ratio,
        delete_retention_ms: config.delete_retention_ms,
        max_message_bytes: config.batch_bytes_max as u32,
        timestamp_type: if config.log_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
        compression: compression(&config),
        flush_messages: config.flush_records,
        flush_ms: config.flush_ms,
        file_delete_delay_ms: config.file_delete_delay_ms,
        preallocate: config.preallocate,
        producer_expiration_ms: producer_expiration.and_then(|ms| ms.parse().ok()).unwrap_or(i64::MAX),
    }
}

fn compression(config: &TopicConfig) -> CompressionType {
    match config.compression_type {
        configs::CompressionType::Producer => CompressionType::Producer,
        configs::CompressionType::Uncompressed => CompressionType::Uncompressed,
        configs::CompressionType::Gzip => CompressionType::Gzip(config.gzip_level),
        configs::CompressionType::Snappy => CompressionType::Snappy,
        configs::CompressionType::Lz4 => CompressionType::Lz4(config.lz4_level),
        configs::CompressionType::Zstd => CompressionType::Zstd(config.zstd_level),
    }
}
