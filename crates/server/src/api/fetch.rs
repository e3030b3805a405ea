//! Fetch: sessions, limits, long poll. What is read are ranges of files; bytes move when the answer is sent.
//!
//! Source: `KafkaApis.handleFetchRequest`, `ReplicaManager.readFromLog`, `DelayedFetch`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_partition::{Isolation, ReadError, ReadInfo, ReadRequest, Slice};
use milena_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use milena_protocol::messages::{FetchRequest, FetchResponse};
use milena_protocol::wire::{External, Records};
use milena_protocol::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::answer::FileRange;
use crate::dispatch::{Call, Outcome};
use crate::partitions::{Hosted, Replica};
use crate::sessions::{Context, NO_SESSION, TopicKey, Wanted};
use crate::world::World;

/// First version that names topics by id.
const BY_ID: i16 = 13;
/// First version that may carry zstd.
const ZSTD_SINCE: i16 = 10;
/// Longest wait, whatever is asked for: a quarter of an hour, above every client's own limit.
const WAIT_MS_MAX: i32 = 15 * 60 * 1000;

/// One partition of the answer, with the range that its records stand for.
struct Read<W: World> {
    wanted: Wanted,
    data: PartitionData,
    range: Option<FileRange<W::Disk>>,
}

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
    let reads = read_or_wait(call, &request, wanted).await;
    answer(call, &context, by_id, reads)
}

/// Trap 63: answers at once where nothing is asked for, enough is there, or something is wrong.
async fn read_or_wait<W: World>(call: &Call<'_, W>, request: &FetchRequest, wanted: Vec<Wanted>) -> Vec<Read<W>> {
    let mut reads = read_all(call, request, wanted);
    if request.max_wait_ms <= 0 || is_enough(&reads, request.min_bytes) {
        return reads;
    }
    let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.min(WAIT_MS_MAX) as u64);
    let notify = Arc::new(Notify::new());
    let by_id = call.version() >= BY_ID;
    let waiting: Vec<_> = reads
        .iter()
        .filter_map(|read| replica_of(call, &read.wanted, by_id).ok())
        .map(|replica| replica.wait(&notify))
        .collect();
    loop {
        // Whoever appended between the first read and `wait` did not notify us: look before sleeping.
        reads = read_all(call, request, reads.into_iter().map(|read| read.wanted).collect());
        if is_enough(&reads, request.min_bytes) {
            break;
        }
        tokio::select! {
            biased;
            () = notify.notified() => {}
            () = sleep_until(deadline) => break,
        }
    }
    drop(waiting);
    reads
}

fn is_enough<W: World>(reads: &[Read<W>], min_bytes: i32) -> bool {
    let size: usize = reads.iter().map(|read| read.data.records.size_bytes()).sum();
    let special = |read: &Read<W>| read.data.error_code != 0 || read.data.diverging_epoch.epoch >= 0;
    reads.is_empty() || size as i64 >= i64::from(min_bytes) || reads.iter().any(special)
}

/// One pass over all partitions, in their order, within the limits of the request.
fn read_all<W: World>(call: &Call<'_, W>, request: &FetchRequest, wanted: Vec<Wanted>) -> Vec<Read<W>> {
    let limit = usize::try_from(request.max_bytes).unwrap_or(0).min(call.node.settings.fetch_bytes_max);
    let mut budget = Budget { left: limit, nothing_yet: true };
    wanted.into_iter().map(|wanted| read_one(call, request, wanted, &mut budget)).collect()
}

/// What an answer may still hold.
struct Budget {
    left: usize,
    /// Trap 59: the first partition that has something returns a whole batch, however large.
    nothing_yet: bool,
}

fn read_one<W: World>(call: &Call<'_, W>, request: &FetchRequest, wanted: Wanted, budget: &mut Budget) -> Read<W> {
    let partition = &wanted.partition;
    let replica = match replica_of(call, &wanted, call.version() >= BY_ID) {
        Ok(replica) => replica,
        Err(error) => return refused(wanted, error),
    };
    if call.version() < ZSTD_SINCE
        && matches!(replica.settings().compression, milena_partition::CompressionType::Zstd(_))
    {
        return refused(wanted, ErrorCode::UnsupportedCompressionType);
    }
    let read = ReadRequest {
        offset: Offset(partition.fetch_offset),
        max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0).min(budget.left),
        min_one_batch: budget.nothing_yet,
        isolation: isolation(request),
        current_leader_epoch: known_epoch(partition.current_leader_epoch),
        last_fetched_epoch: known_epoch(partition.last_fetched_epoch),
    };
    match replica.read(&read) {
        None => refused(wanted, ErrorCode::KafkaStorageError),
        Some(Err(error)) => refused(wanted, code(&error)),
        Some(Ok(info)) => {
            let size = info.slice.size_bytes();
            budget.left = budget.left.saturating_sub(size);
            budget.nothing_yet &= size == 0;
            found(wanted, info)
        }
    }
}

fn isolation(request: &FetchRequest) -> Isolation {
    let follower = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
    match request.isolation_level {
        _ if follower => Isolation::LogEnd,
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

/// −1 means that the client does not know.
pub(crate) fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

fn replica_of<W: World>(call: &Call<'_, W>, wanted: &Wanted, by_id: bool) -> Result<Arc<Replica<W::Disk>>, ErrorCode> {
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
        ReadError::NotLeader => ErrorCode::NotLeaderOrFollower,
        ReadError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ReadError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
        ReadError::Disk(_) => ErrorCode::KafkaStorageError,
    }
}

fn refused<W: World>(wanted: Wanted, error: ErrorCode) -> Read<W> {
    let data = PartitionData {
        partition_index: wanted.partition.partition,
        error_code: error.number(),
        high_watermark: -1,
        records: Records::Bytes(Bytes::new()),
        ..Default::default()
    };
    Read { wanted, data, range: None }
}

fn found<W: World>(wanted: Wanted, info: ReadInfo<<W::Disk as milena_base::Disk>::File>) -> Read<W> {
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
            Some(FileRange { file, position, size_bytes })
        }
    };
    Read { wanted, data, range }
}

/// Keeps what the session has not told yet, and sends it.
fn answer<W: World>(call: &Call<'_, W>, context: &Context, by_id: bool, reads: Vec<Read<W>>) -> Outcome<W::Disk> {
    let node = call.node;
    let mut ranges = Vec::new();
    let mut told = Vec::with_capacity(reads.len());
    for mut read in reads {
        if let (Some(range), Records::External(external)) = (read.range, &mut read.data.records) {
            external.id = ranges.len();
            ranges.push(range);
        }
        told.push((read.wanted, read.data));
    }
    let session_id = match context {
        Context::Sessionless => NO_SESSION,
        Context::Full => node.sessions.grant(&told, by_id, fresh_id(&*node.world), node.world.now()),
        Context::Incremental { id } => {
            told = node.sessions.news(*id, told);
            *id
        }
    };
    let size: usize = told.iter().map(|(_, data)| data.records.size_bytes()).sum();
    node.metrics.fetched_bytes.inc_by(size as u64);
    let response = FetchResponse { session_id, responses: by_topic(told), ..Default::default() };
    call.answer_with(&response, ranges)
}

/// A positive number that nobody can guess.
fn fresh_id<W: World>(world: &W) -> i32 {
    let random = world.random();
    (i32::from_be_bytes([random[0], random[1], random[2], random[3]]) & i32::MAX).max(1)
}

/// Neighbours of the same topic share an entry, as in Kafka's answers.
fn by_topic(told: Vec<(Wanted, PartitionData)>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for (Wanted { topic, .. }, data) in told {
        match topics.last_mut() {
            Some(last) if last.topic == topic.name && last.topic_id == topic.id => last.partitions.push(data),
            _ => topics.push(FetchableTopicResponse { topic: topic.name, topic_id: topic.id, partitions: vec![data] }),
        }
    }
    topics
}
