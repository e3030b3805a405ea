//! Fetch: sessions, limits, long poll. What is read are ranges of files; bytes move when the answer is sent.
//!
//! Source: `KafkaApis.handleFetchRequest`, `ReplicaManager.readFromLog`, `DelayedFetch`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_partition::{CompressionType, Isolation, ReadError, ReadInfo, ReadRequest, Slice};
use milena_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use milena_protocol::messages::{FetchRequest, FetchResponse};
use milena_protocol::wire::{External, Records};
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset};
use tokio::time::{Instant, sleep_until};

use crate::answer::FileRange;
use crate::api::metadata::View;
use crate::dispatch::{Call, Outcome};
use crate::partitions::{Hosted, Replica, Waiting, leadership_code};
use crate::sessions::{Context, NO_SESSION, Told, TopicKey, Wanted};
use crate::share::{Lookups, collected};
use crate::watch::Watch;
use crate::world::World;

/// First version that names topics by id.
const BY_ID: i16 = 13;
/// First version that may carry zstd.
const ZSTD_SINCE: i16 = 10;
/// From here on consumers say where they are, and may be answered by a replica that does not lead (KIP-392).
const ANY_REPLICA_SINCE: i16 = 11;
/// First version that may be told who leads (KIP-951).
const LEADER_HINTS: i16 = 16;
/// Partitions that are registered before others have a turn, under the sessions' lock.
const REGISTERED_MAX: usize = 128;
/// What the read of one partition takes, in look-ups: its log is looked into.
const READ_LOOKUPS: usize = 2;
/// Longest wait, whatever is asked for: a quarter of an hour, above every client's own limit.
const WAIT_MS_MAX: i32 = 15 * 60 * 1000;

/// One partition of the answer, with the range that its records stand for.
struct Read<W: World> {
    wanted: Wanted,
    data: PartitionData,
    range: Option<Range<W>>,
    /// Nothing more can be read until the partition has news.
    is_at_end: bool,
}

/// What the records of a partition stand for.
struct Range<W: World> {
    replica: Arc<Replica<W::Disk>>,
    file: FileRange<W::Disk>,
}

/// What was read so far, by the partitions' places in the answer.
type Reads<W> = BTreeMap<u64, Read<W>>;

/// Reads until there is enough, something is wrong, or time is up.
pub async fn fetch<W: World>(call: &Call<'_, W>, request: FetchRequest) -> Outcome<W::Disk> {
    let by_id = call.version() >= BY_ID;
    let begun = call.node.sessions.begin(&request, by_id, call.node.world.now());
    let (context, wanted) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let response = FetchResponse { error_code: error.number(), ..Default::default() };
            return call.answer(&response);
        }
    };
    let Some(isolation) = isolation(&request) else {
        return call.answer(&refused_request(&request, by_id, ErrorCode::UnknownServerError));
    };
    let asked = Asked { request, isolation };
    let reads = match &context {
        Context::Incremental { id, watch } => read_session(call, &asked, wanted, *id, watch).await,
        Context::Full | Context::Sessionless => read_once(call, &asked, wanted).await,
    };
    answer(call, &asked, &context, reads)
}

/// A request whose isolation level exists.
struct Asked {
    request: FetchRequest,
    isolation: Isolation,
}

impl Asked {
    /// Until when to wait for more; `None` where nothing is to be waited for.
    fn deadline(&self) -> Option<Instant> {
        let wait_ms = self.request.max_wait_ms.min(WAIT_MS_MAX);
        (wait_ms > 0).then(|| Instant::now() + Duration::from_millis(wait_ms as u64))
    }

    /// Most bytes of the answer; negative where the client says so.
    fn max_bytes<W: World>(&self, call: &Call<'_, W>) -> i64 {
        let own = i64::try_from(call.node.settings.fetch_bytes_max).unwrap_or(i64::MAX);
        i64::from(self.request.max_bytes).min(own)
    }
}

/// A fetch that looks at all of its partitions, and registers with each of them only if it has to wait.
async fn read_once<W: World>(call: &Call<'_, W>, asked: &Asked, wanted: Vec<Wanted>) -> Reads<W> {
    let mut reads = Reads::new();
    read_all(call, asked, &mut reads, wanted.clone()).await;
    let Some(deadline) = asked.deadline().filter(|_| !wanted.is_empty() && !is_enough(call, asked, &reads)) else {
        return reads;
    };
    let watch = Arc::new(Watch::default());
    let replicas = wanted.iter().filter_map(|wanted| Some((replica_of(call, wanted).ok()?, wanted.slot)));
    let _waiting = collected(replicas.map(|(replica, slot)| replica.wait(&watch, slot))).await;
    // Whoever appended between the first read and `wait` did not mark anything: look before sleeping.
    read_all(call, asked, &mut reads, wanted).await;
    while !is_enough(call, asked, &reads) && marked_before(deadline, &watch).await {
        let marked = watch.take().iter().filter_map(|slot| reads.get(slot)).map(|read| read.wanted.clone()).collect();
        read_all(call, asked, &mut reads, marked).await;
    }
    reads
}

/// A fetch of a session looks at the partitions that have news. They stay registered from request to request.
async fn read_session<W: World>(
    call: &Call<'_, W>,
    asked: &Asked,
    wanted: Vec<Wanted>,
    id: i32,
    watch: &Arc<Watch>,
) -> Reads<W> {
    let mut reads = Reads::new();
    register(call, id, watch, &wanted).await;
    read_all(call, asked, &mut reads, wanted).await;
    let Some(deadline) = asked.deadline() else { return reads };
    while !is_enough(call, asked, &reads) && marked_before(deadline, watch).await {
        let marked = call.node.sessions.marked(id);
        register(call, id, watch, &marked).await;
        read_all(call, asked, &mut reads, marked).await;
    }
    reads
}

/// Waits for a mark; false where time is up first.
async fn marked_before(deadline: Instant, watch: &Watch) -> bool {
    tokio::select! {
        biased;
        // First, or appends without pause would keep a reader that wants very many bytes for ever.
        () = sleep_until(deadline) => false,
        () = watch.is_marked() => true,
    }
}

/// Before they are read, so that nothing is appended unseen: has the replicas of partitions mark them. A topic that was
/// deleted and created again has other replicas.
async fn register<W: World>(call: &Call<'_, W>, id: i32, watch: &Arc<Watch>, wanted: &[Wanted]) {
    let mut lookups = Lookups::default();
    for some in wanted.chunks(REGISTERED_MAX) {
        call.node.sessions.register(id, some, |wanted, registration| {
            let held = registration.as_ref().and_then(|held| held.downcast_ref::<Waiting<W::Disk>>());
            match replica_of(call, wanted) {
                Ok(replica) if held.is_some_and(|held| held.is_for(&replica)) => {}
                Ok(replica) => *registration = Some(Box::new(replica.wait(watch, wanted.slot))),
                Err(_) => *registration = None,
            }
        });
        lookups.done(some.len()).await;
    }
}

/// Trap 63: an answer goes at once where enough is there, or something is wrong.
fn is_enough<W: World>(call: &Call<'_, W>, asked: &Asked, reads: &Reads<W>) -> bool {
    let min_bytes = i64::from(asked.request.min_bytes).min(asked.max_bytes(call));
    let special = |read: &Read<W>| read.data.error_code != 0 || read.data.diverging_epoch.epoch >= 0;
    size_bytes(reads) >= min_bytes || reads.values().any(special)
}

fn size_bytes<W: World>(reads: &Reads<W>) -> i64 {
    reads.values().map(|read| read.data.records.size_bytes() as i64).sum()
}

/// One pass over partitions, in their order, within the limits of the request and beside what else was read.
async fn read_all<W: World>(call: &Call<'_, W>, asked: &Asked, reads: &mut Reads<W>, wanted: Vec<Wanted>) {
    for wanted in &wanted {
        reads.remove(&wanted.place);
    }
    let (max_bytes, held) = (asked.max_bytes(call), size_bytes(reads));
    let left = if max_bytes < 0 { max_bytes } else { (max_bytes - held).max(0) };
    let mut budget = Budget { left, nothing_yet: held == 0 };
    let mut lookups = Lookups::default();
    for wanted in wanted {
        reads.insert(wanted.place, read_one(call, asked, wanted, &mut budget));
        lookups.done(READ_LOOKUPS).await;
    }
}

/// What an answer may still hold.
struct Budget {
    /// Negative at first where the client says so.
    left: i64,
    /// Trap 59: the first partition that has something returns a whole batch, however large.
    nothing_yet: bool,
}

fn read_one<W: World>(call: &Call<'_, W>, asked: &Asked, wanted: Wanted, budget: &mut Budget) -> Read<W> {
    let partition = &wanted.partition;
    let replica = match replica_of(call, &wanted) {
        Ok(replica) => replica,
        Err(error) => return refused(wanted, error),
    };
    let compression = replica.settings().compression;
    if call.version() < ZSTD_SINCE && matches!(compression, CompressionType::Zstd(_)) {
        return refused(wanted, ErrorCode::UnsupportedCompressionType);
    }
    if follower(&asked.request).is_some_and(|node| !follows(call, &replica, node)) {
        return unread(wanted, ErrorCode::NotLeaderOrFollower);
    }
    let max_bytes = i64::from(partition.partition_max_bytes).min(budget.left);
    let read = ReadRequest {
        offset: Offset(partition.fetch_offset),
        max_bytes: usize::try_from(max_bytes).unwrap_or(0),
        min_one_batch: budget.nothing_yet,
        isolation: asked.isolation,
        current_leader_epoch: known_epoch(partition.current_leader_epoch),
        last_fetched_epoch: known_epoch(partition.last_fetched_epoch),
        from_any_replica: call.version() >= ANY_REPLICA_SINCE && follower(&asked.request).is_none(),
    };
    match replica.read(&read) {
        None => unread(wanted, ErrorCode::KafkaStorageError),
        Some(Err(error)) => unread(wanted, code(&error)),
        // A negative limit is refused where there is something that it could limit.
        Some(Ok(info)) if max_bytes < 0 && read.offset < info.marks.high_watermark => {
            unread(wanted, ErrorCode::UnknownServerError)
        }
        Some(Ok(info)) => {
            let size = info.slice.size_bytes();
            budget.left = (budget.left - size as i64).max(0);
            budget.nothing_yet &= size == 0;
            found(wanted, replica, asked.isolation, info)
        }
    }
}

/// `None` for isolation levels that do not exist.
fn isolation(request: &FetchRequest) -> Option<Isolation> {
    match (follower(request), request.isolation_level) {
        (Some(_), 0 | 1) => Some(Isolation::LogEnd),
        (None, 0) => Some(Isolation::ReadUncommitted),
        (None, 1) => Some(Isolation::ReadCommitted),
        _ => None,
    }
}

/// The node that fetches in order to replicate.
fn follower(request: &FetchRequest) -> Option<NodeId> {
    Some(NodeId(request.replica_id.max(request.replica_state.replica_id))).filter(|node| node.0 >= 0)
}

/// Whether `node` keeps another replica of the partition.
fn follows<W: World>(call: &Call<'_, W>, replica: &Replica<W::Disk>, node: NodeId) -> bool {
    let image = call.node.image();
    let topic = image.topic_by_id(replica.topic_id());
    let partition = topic.and_then(|topic| topic.partitions.get(&replica.topic_partition().partition));
    node != call.node.settings.node_id && partition.is_some_and(|partition| partition.replicas.contains(&node))
}

/// In Fetch a negative epoch means that the client does not know.
fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// In ListOffsets and OffsetForLeaderEpoch only −1 means that: other negative epochs are older than ours.
pub(crate) fn claimed_epoch(epoch: i32) -> Option<LeaderEpoch> {
    Some(LeaderEpoch(epoch)).filter(|epoch| *epoch != LeaderEpoch::NONE)
}

fn replica_of<W: World>(call: &Call<'_, W>, wanted: &Wanted) -> Result<Arc<Replica<W::Disk>>, ErrorCode> {
    let by_id = call.version() >= BY_ID;
    let TopicKey { name, id } = &wanted.topic;
    let partitions = &call.node.partitions;
    let hosted: Option<Arc<Hosted<W::Disk>>> = if by_id { partitions.topic_by_id(*id) } else { partitions.topic(name) };
    let unknown = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let hosted = hosted.ok_or(unknown)?;
    let replica = hosted.replicas.get(&wanted.partition.partition);
    replica.cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// The code that a reader is told.
pub(crate) fn code(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Leadership(error) => leadership_code(*error),
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
        ReadError::Disk(_) => ErrorCode::KafkaStorageError,
    }
}

/// The whole request is refused; before version 13 each of its partitions says so too.
fn refused_request(request: &FetchRequest, by_id: bool, error: ErrorCode) -> FetchResponse {
    let topics = request.topics.iter().filter(|_| !by_id).map(|topic| FetchableTopicResponse {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|asked| failed(asked.partition, error)).collect(),
    });
    let (error_code, session_id) = (error.number(), request.session_id);
    FetchResponse { error_code, session_id, responses: topics.collect(), ..Default::default() }
}

/// Refused before the log was asked.
fn refused<W: World>(wanted: Wanted, error: ErrorCode) -> Read<W> {
    Read { data: failed(wanted.partition.partition, error), wanted, range: None, is_at_end: false }
}

/// Refused by the log: Kafka's list of aborted transactions is null then, not empty.
fn unread<W: World>(wanted: Wanted, error: ErrorCode) -> Read<W> {
    let data = PartitionData { aborted_transactions: None, ..failed(wanted.partition.partition, error) };
    Read { wanted, data, range: None, is_at_end: false }
}

fn failed(partition: i32, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: partition,
        error_code: error.number(),
        high_watermark: -1,
        records: Records::Bytes(Bytes::new()),
        ..Default::default()
    }
}

fn found<W: World>(
    wanted: Wanted,
    replica: Arc<Replica<W::Disk>>,
    isolation: Isolation,
    info: ReadInfo<<W::Disk as milena_base::Disk>::File>,
) -> Read<W> {
    let end = match isolation {
        Isolation::ReadUncommitted => Some(info.marks.high_watermark),
        Isolation::ReadCommitted => Some(info.marks.last_stable),
        // The log end of a follower's leader moves without a word.
        Isolation::LogEnd => None,
    };
    let is_at_end = info.diverging.is_none() && end.is_some_and(|end| Offset(wanted.partition.fetch_offset) >= end);
    let aborted = info.aborted.map(|aborted| {
        let each = aborted.iter();
        each.map(|one| AbortedTransaction { producer_id: one.producer_id.0, first_offset: one.first_offset.0 })
            .collect()
    });
    let mut data = PartitionData {
        partition_index: wanted.partition.partition,
        high_watermark: info.marks.high_watermark.0,
        last_stable_offset: info.marks.last_stable.0,
        log_start_offset: info.marks.log_start.0,
        aborted_transactions: aborted,
        records: Records::Bytes(Bytes::new()),
        ..Default::default()
    };
    if let Some(end) = info.diverging {
        data.diverging_epoch = EpochEndOffset { epoch: end.epoch.0, end_offset: end.end_offset.0 };
    }
    let range = match info.slice {
        Slice::Empty => None,
        Slice::File { file, position, size_bytes, .. } => {
            data.records = Records::External(External { size_bytes, id: 0 });
            Some(Range { replica, file: FileRange { file, position, size_bytes } })
        }
    };
    Read { wanted, data, range, is_at_end }
}

/// Keeps what the session has not told yet, and sends it.
fn answer<W: World>(call: &Call<'_, W>, asked: &Asked, context: &Context, reads: Reads<W>) -> Outcome<W::Disk> {
    let (node, by_id) = (call.node, call.version() >= BY_ID);
    let mut ranges = Vec::new();
    let mut told = Vec::with_capacity(reads.len());
    for mut read in reads.into_values() {
        if let (Some(range), Records::External(external)) = (read.range, &mut read.data.records) {
            external.id = ranges.len();
            range.replica.count_fetched(external.size_bytes);
            ranges.push(range.file);
        }
        told.push(Told { wanted: read.wanted, data: read.data, is_at_end: read.is_at_end });
    }
    let session_id = match context {
        Context::Sessionless => NO_SESSION,
        Context::Full => node.sessions.grant(&told, &asked.request, by_id, fresh_id(&*node.world), node.world.now()),
        Context::Incremental { id, .. } => {
            told = node.sessions.news(*id, told);
            *id
        }
    };
    let size: usize = told.iter().map(|told| told.data.records.size_bytes()).sum();
    node.metrics.fetched_bytes.inc_by(size as u64);
    let mut node_endpoints = add_leader_hints(call, &mut told);
    if follower(&asked.request).is_some() {
        // Followers hear of leaders from the controller, and know every address.
        node_endpoints.clear();
    }
    let response = FetchResponse { session_id, responses: by_topic(told), node_endpoints, ..Default::default() };
    call.answer_with(&response, ranges)
}

/// KIP-951: a reader that asked the wrong node, or in an old epoch, is told who leads.
fn add_leader_hints<W: World>(call: &Call<'_, W>, told: &mut [Told]) -> Vec<NodeEndpoint> {
    let mut endpoints: Vec<NodeEndpoint> = Vec::new();
    if call.version() < LEADER_HINTS {
        return endpoints;
    }
    let image = call.node.image();
    let view = View { image: &image, listener: &call.peer.listener, version: call.version() };
    let wrong_leader = [ErrorCode::NotLeaderOrFollower.number(), ErrorCode::FencedLeaderEpoch.number()];
    for Told { wanted, data, .. } in told.iter_mut().filter(|told| wrong_leader.contains(&told.data.error_code)) {
        let topic = image.topic_by_id(wanted.topic.id);
        let Some(partition) = topic.and_then(|topic| topic.partitions.get(&data.partition_index)) else { continue };
        data.current_leader =
            LeaderIdAndEpoch { leader_id: partition.leader.0, leader_epoch: partition.leader_epoch.0 };
        let Some(broker) = image.broker(partition.leader) else { continue };
        let Some((host, port)) = view.address(broker) else { continue };
        if endpoints.iter().all(|endpoint| endpoint.node_id != broker.id.0) {
            endpoints.push(NodeEndpoint { node_id: broker.id.0, host, port, rack: broker.rack.clone() });
        }
    }
    endpoints
}

/// A positive number that nobody can guess.
fn fresh_id<W: World>(world: &W) -> i32 {
    let random = world.random();
    (i32::from_be_bytes([random[0], random[1], random[2], random[3]]) & i32::MAX).max(1)
}

/// Neighbours of the same topic share an entry, as in Kafka's answers.
fn by_topic(told: Vec<Told>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for Told { wanted: Wanted { topic, .. }, data, .. } in told {
        match topics.last_mut() {
            Some(last) if last.topic == topic.name && last.topic_id == topic.id => last.partitions.push(data),
            _ => topics.push(FetchableTopicResponse { topic: topic.name, topic_id: topic.id, partitions: vec![data] }),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_that_is_up_ends_the_wait_whatever_is_marked() {
        let watch = Watch::default();
        watch.mark(1);
        let deadline = Instant::now() + Duration::from_millis(5);
        assert!(marked_before(deadline, &watch).await);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(!marked_before(deadline, &watch).await);
    }
}
