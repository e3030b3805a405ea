//! The replicas of this node: which there are, and the only doors to their logs, [`Replica::append`] and
//! [`Replica::read`].
//!
//! A partition is a short lock with the append inline; whatever waits (flush, opening, cold reads) goes to the
//! pool. Wake-ups happen after the lock is released.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use milena_base::{Disk, Millis};
use milena_partition::{
    AppendError, Appended, CompressionType, DeleteRecordsError, EpochEnd, FoundOffset, InvalidBatch, Isolation,
    LOOKUP_BYTES_MAX, LeadershipError, LogSettings, Marks, OffsetSpec, Origin, Partition, ReadError, ReadInfo,
    ReadRequest, Rules, ValidBatch, Voucher, is_disk_full, validate, working_bytes,
};
use milena_protocol::{ErrorCode, LeaderEpoch, Offset, TopicPartition, Uuid};
use parking_lot::{Mutex, RwLock};

use crate::durability::{Durability, Flushes};
use crate::unflushed::{Charge, Part, Unflushed};
use crate::watch::Watch;
use crate::work::Work;
use crate::world::{World, on_pool};

/// Byte of a batch's header that holds the low attribute bits; the lowest three name the codec.
const ATTRIBUTES_BYTE: usize = 22;

/// Why an append was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The batch is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The log does not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The replica is closed, or its directory is offline.
    #[error("the replica is offline")]
    Offline,
}

impl Refused {
    /// Whether the log is as it was before: the caller may go on with what it knows.
    pub fn left_nothing(&self) -> bool {
        match self {
            Refused::Invalid(_) | Refused::Append(AppendError::LargerThanSegment { .. }) => true,
            Refused::Append(AppendError::Disk(error)) => is_disk_full(error),
            // A producer's epoch or transaction is not what it should be: that is between it and its coordinator.
            Refused::Append(
                AppendError::InvalidProducerEpoch { .. }
                | AppendError::TransactionState(_)
                | AppendError::CoordinatorFenced { .. }
                | AppendError::NeedsVerification(_),
            ) => true,
            Refused::Append(_) | Refused::Offline => false,
        }
    }

    /// The code that the producer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refused::Invalid(invalid) => invalid.code,
            Refused::Append(error) => match error {
                AppendError::Leadership(error) => leadership_code(*error),
                AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
                AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                AppendError::TransactionState(_) | AppendError::NeedsVerification(_) => ErrorCode::InvalidTxnState,
                AppendError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
                AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
                AppendError::Full | AppendError::UnexpectedOffset { .. } => ErrorCode::UnknownServerError,
                AppendError::Disk(_) => ErrorCode::KafkaStorageError,
            },
            Refused::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

/// The code for a caller that means another leader.
pub(crate) fn leadership_code(error: LeadershipError) -> ErrorCode {
    match error {
        LeadershipError::NotLeader => ErrorCode::NotLeaderOrFollower,
        LeadershipError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        LeadershipError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
    }
}

/// One replica of one partition on this node.
pub struct Replica<D: Disk> {
    topic_partition: TopicPartition,
    topic_id: Uuid,
    /// What validation needs, without the lock.
    settings: ArcSwap<LogSettings>,
    /// `None` once it is closed or its disk failed.
    partition: Mutex<Option<Partition<D>>>,
    waiters: Mutex<Waiters>,
    /// The last append failed at the disk, and that was said.
    refuses: AtomicBool,
    /// Shared by all replicas.
    work: Arc<Work>,
    flushes: Flushes,
    /// What of it is appended and not flushed.
    unflushed: Part,
    /// Bytes sent to readers.
    fetched_bytes: AtomicU64,
}

/// A batch that a log took.
pub struct Written {
    /// Where it stands.
    pub appended: Appended,
    /// To be waited for before it is acknowledged, where the topic promises a flush.
    pub durability: Option<Durability>,
}

/// Readers that want to know when there is news, each with the slot that stands for this replica there.
#[derive(Default)]
struct Waiters {
    next: u64,
    waiting: BTreeMap<u64, (Arc<Watch>, u64)>,
}

/// Takes a reader off a replica's list when it ends.
pub struct Waiting<D: Disk> {
    replica: Arc<Replica<D>>,
    id: u64,
}

impl<D: Disk> Waiting<D> {
    /// Whether this is the replica that marks the reader's slot.
    pub fn is_for(&self, replica: &Arc<Replica<D>>) -> bool {
        Arc::ptr_eq(&self.replica, replica)
    }
}

impl<D: Disk> Drop for Waiting<D> {
    fn drop(&mut self) {
        self.replica.waiters.lock().waiting.remove(&self.id);
    }
}

impl<D: Disk> Replica<D> {
    /// Around an opened partition. Whatever has to be inflated waits for its turn in `work`, and whatever a client
    /// appends for its room in `unflushed`.
    pub fn new(partition: Partition<D>, work: &Arc<Work>, unflushed: &Arc<Unflushed>) -> Arc<Replica<D>> {
        let unflushed = unflushed.part();
        unflushed.recount(partition.unflushed_bytes(), None);
        Arc::new(Replica {
            unflushed,
            topic_partition: partition.topic_partition().clone(),
            topic_id: partition.topic_id(),
            settings: ArcSwap::from_pointee(partition.settings().clone()),
            flushes: Flushes::new(partition.recovery_point()),
            partition: Mutex::new(Some(partition)),
            waiters: Mutex::default(),
            refuses: AtomicBool::new(false),
            work: Arc::clone(work),
            fetched_bytes: AtomicU64::new(0),
        })
    }

    /// In the place of a partition that could not be opened: whoever asks it is told so.
    pub fn offline(
        topic_partition: TopicPartition,
        topic_id: Uuid,
        settings: LogSettings,
        work: &Arc<Work>,
        unflushed: &Arc<Unflushed>,
    ) -> Arc<Replica<D>> {
        let flushes = Flushes::new(Offset(0));
        flushes.fail();
        Arc::new(Replica {
            topic_partition,
            topic_id,
            settings: ArcSwap::from_pointee(settings),
            flushes,
            partition: Mutex::new(None),
            waiters: Mutex::default(),
            refuses: AtomicBool::new(true),
            unflushed: unflushed.part(),
            work: Arc::clone(work),
            fetched_bytes: AtomicU64::new(0),
        })
    }

    /// Whether it refuses everything.
    pub fn is_offline(&self) -> bool {
        self.partition.lock().is_none()
    }

    /// Which partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Of which topic.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<LogSettings> {
        self.settings.load_full()
    }

    /// Takes other settings from now on.
    pub fn set_settings(&self, settings: LogSettings) {
        self.with(|partition| partition.set_settings(settings.clone()));
        self.settings.store(Arc::new(settings));
        self.wake();
    }

    /// Runs `call` under the lock; `None` where the replica is offline.
    pub fn with<T>(&self, call: impl FnOnce(&mut Partition<D>) -> T) -> Option<T> {
        self.with_charge(None, call)
    }

    /// The same, where `call` appends what was charged. Whatever it does to the log is counted before the lock is free.
    fn with_charge<T>(&self, charge: Option<Charge>, call: impl FnOnce(&mut Partition<D>) -> T) -> Option<T> {
        let mut locked = self.partition.lock();
        let partition = locked.as_mut()?;
        let called = call(partition);
        self.unflushed.recount(partition.unflushed_bytes(), charge);
        Some(called)
    }

    /// Takes the partition out, for good.
    pub fn close(&self) -> Option<Partition<D>> {
        let partition = {
            let mut locked = self.partition.lock();
            self.unflushed.close();
            locked.take()
        };
        self.flushes.fail();
        self.wake();
        partition
    }

    /// Appends a batch of a client that was checked, when there is room for it among what is not flushed. It is acknowledged
    /// once [`Written::durability`] was waited for.
    pub async fn append<W: World<Disk = D>>(
        self: &Arc<Self>,
        world: &Arc<W>,
        batch: &ValidBatch,
        voucher: Voucher,
    ) -> Result<Written, Refused> {
        let charge = self.unflushed.charged(batch.size_bytes() as u64, || self.is_offline()).await;
        let charge = charge.ok_or(Refused::Offline)?;
        let appended = self.append_valid(world.now(), batch, None, voucher, Some(charge))?;
        let is_promised = self.settings.load().acknowledges_after_flush();
        let is_due = is_promised || appended.flush_due || appended.rolled;
        let durability = is_due.then(|| self.flush(world, appended.last_offset.next()));
        // A flush that nobody was promised goes on beside: recovery after a kill will have less to read.
        Ok(Written { appended, durability: durability.filter(|_| is_promised) })
    }

    /// Appends what a coordinator wrote: its records, made in the leader epoch `epoch`, or a marker, which has none.
    /// Long polls are woken.
    pub fn append_own(
        &self,
        now: Millis,
        bytes: Bytes,
        epoch: Option<LeaderEpoch>,
        voucher: Voucher,
    ) -> Result<Appended, Refused> {
        let settings = self.settings.load();
        let rules = Rules::new(&settings, &self.topic_partition, Origin::Coordinator);
        let batch = validate(bytes, &rules, now)?;
        self.append_valid(now, &batch, epoch, voucher, None)
    }

    /// Waits until the high watermark has passed `offset`, which is true at once or after a flush where nobody follows.
    pub async fn committed<W: World<Disk = D>>(
        self: &Arc<Self>,
        world: &Arc<W>,
        offset: Offset,
    ) -> Result<(), Refused> {
        let watch = Arc::new(Watch::default());
        let _waiting = self.wait(&watch, 0);
        if self.settings.load().acknowledges_after_flush() {
            self.flush(world, offset.next()).wait().await?;
        }
        while self.marks().ok_or(Refused::Offline)?.high_watermark <= offset {
            watch.is_marked().await;
            watch.take();
        }
        Ok(())
    }

    /// Checks a batch of a client by the topic's rules, off the data cores where that may take long.
    pub async fn validated<W: World<Disk = D>>(
        self: &Arc<Self>,
        world: &W,
        bytes: Bytes,
        produce_version: i16,
    ) -> Result<ValidBatch, Refused> {
        let now = world.now();
        let replica = Arc::clone(self);
        let compressed = bytes.get(ATTRIBUTES_BYTE).is_some_and(|attributes| attributes & 7 != 0);
        let compression = self.settings.load().compression;
        let working_bytes = working_bytes(&bytes, compression);
        let check = move || {
            let settings = replica.settings.load();
            let rules = Rules {
                produce_version: Some(produce_version),
                ..Rules::new(&settings, &replica.topic_partition, Origin::Client)
            };
            validate(bytes, &rules, now)
        };
        if !compressed && compression == CompressionType::Producer {
            return Ok(check()?);
        }
        let _turn = self.work.turn(working_bytes).await;
        Ok(on_pool(world, check).await?)
    }

    fn append_valid(
        &self,
        now: Millis,
        batch: &ValidBatch,
        expected: Option<LeaderEpoch>,
        voucher: Voucher,
        charge: Option<Charge>,
    ) -> Result<Appended, Refused> {
        let appended = self.with_charge(charge, |partition| partition.append(now, batch, expected, voucher));
        let appended = appended.ok_or(Refused::Offline)?;
        self.report(appended.as_ref().err());
        let appended = appended?;
        if appended.high_watermark_moved {
            self.wake();
        }
        Ok(appended)
    }

    /// Says once that the disk refuses appends, and once that it takes them again.
    fn report(&self, failure: Option<&AppendError>) {
        match failure {
            Some(AppendError::Disk(error)) if !self.refuses.swap(true, Ordering::Relaxed) => {
                let offline = self.with(|partition| partition.is_offline()).unwrap_or(true);
                tracing::error!(partition = %self.topic_partition, %error, offline, "the disk takes no records");
            }
            None if self.refuses.load(Ordering::Relaxed) => {
                self.refuses.store(false, Ordering::Relaxed);
                tracing::info!(partition = %self.topic_partition, "the disk takes records again");
            }
            _ => {}
        }
    }

    /// Whether the last append failed at the disk, or the replica is closed.
    pub fn is_refusing(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Has the pool make every record before `end` durable, together with whatever else was appended by then.
    /// `end` is at most the log end.
    pub fn flush<W: World<Disk = D>>(self: &Arc<Self>, world: &Arc<W>, end: Offset) -> Durability {
        let durability = self.flushes.durability(end);
        if self.flushes.ask(end) {
            self.start_flush(world);
        }
        durability
    }

    /// One job a flush, so that a replica whose flushes never end takes turns with all others in the pool.
    fn start_flush<W: World<Disk = D>>(self: &Arc<Self>, world: &Arc<W>) {
        let (replica, job_world) = (Arc::clone(self), Arc::clone(world));
        world.run(Box::new(move || {
            let follows = match replica.flush_once(&*job_world) {
                Some(Ok((end, log_end))) => replica.flushes.done(end, log_end),
                Some(Err(error)) => {
                    // What the device holds now is unknown: nothing more may be promised from this log.
                    tracing::error!(partition = %replica.topic_partition, %error, "flush failed; the replica is offline");
                    replica.close();
                    false
                }
                None => false,
            };
            if follows {
                replica.start_flush(&job_world);
            }
        }));
    }

    /// Flushes what is appended now. Answers the offset before which every record is durable, and the log's end; `None` once
    /// closed.
    fn flush_once<W: World<Disk = D>>(&self, world: &W) -> Option<io::Result<(Offset, Offset)>> {
        let flush = match self.with(Partition::prepare_flush)? {
            Ok(Some(flush)) => flush,
            Ok(None) => return self.with(|partition| Ok((partition.recovery_point(), partition.marks().log_end))),
            Err(error) => return Some(Err(error)),
        };
        let token = match flush.run(&world.disk()) {
            Ok(token) => token,
            Err(error) => return Some(Err(error)),
        };
        let now = world.now();
        let (flushed, log_end) = self.with(|partition| (partition.flushed(now, token), partition.marks().log_end))?;
        if flushed.high_watermark_moved {
            self.wake();
        }
        Some(Ok((flushed.recovery_point, log_end)))
    }

    /// Finds the batches from an offset on.
    pub fn read(&self, request: &ReadRequest) -> Option<Result<ReadInfo<D::File>, ReadError>> {
        self.with(|partition| partition.read(request))
    }

    /// The four offsets that bound the partition.
    pub fn marks(&self) -> Option<Marks> {
        self.with(|partition| partition.marks())
    }

    /// Where an epoch ends.
    pub fn end_offset_for_epoch(
        &self,
        epoch: LeaderEpoch,
        current: Option<LeaderEpoch>,
    ) -> Option<Result<Option<EpochEnd>, ReadError>> {
        self.with(|partition| partition.end_offset_for_epoch(epoch, current))
    }

    /// The offset that ListOffsets asks for. Looks into batches on the pool, not on a data core.
    pub async fn offset_for<W: World<Disk = D>>(
        self: &Arc<Self>,
        world: &W,
        spec: OffsetSpec,
        isolation: Isolation,
        current: Option<LeaderEpoch>,
    ) -> Option<Result<Option<FoundOffset>, ReadError>> {
        let replica = Arc::clone(self);
        let find = move || replica.with(|partition| partition.offset_for(spec, isolation, current));
        match spec {
            OffsetSpec::Timestamp(_) | OffsetSpec::MaxTimestamp => {
                let _memory = self.work.memory(LOOKUP_BYTES_MAX).await;
                on_pool(world, find).await
            }
            _ => find(),
        }
    }

    /// Bytes appended and not flushed.
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed.bytes()
    }

    /// So many bytes of it are sent to a reader.
    pub fn count_fetched(&self, bytes: usize) {
        self.fetched_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes sent to readers since it was opened.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    /// Moves the log start.
    pub fn delete_records(&self, to: Option<Offset>) -> Option<Result<Offset, DeleteRecordsError>> {
        let deleted = self.with(|partition| partition.delete_records(to));
        self.wake();
        deleted
    }

    /// Registers a reader: until the guard is dropped, `slot` is marked in its watch whenever there is news, so at each
    /// move of the high watermark or of the log start, with other settings, and when the replica is closed.
    pub fn wait(self: &Arc<Self>, watch: &Arc<Watch>, slot: u64) -> Waiting<D> {
        let mut waiters = self.waiters.lock();
        let id = waiters.next;
        waiters.next += 1;
        waiters.waiting.insert(id, (Arc::clone(watch), slot));
        Waiting { replica: Arc::clone(self), id }
    }

    /// Marks this replica for everybody who reads it.
    pub(crate) fn wake(&self) {
        self.waiters.lock().waiting.values().for_each(|(watch, slot)| watch.mark(*slot));
    }
}

/// A topic as far as it is hosted here.
pub struct Hosted<D: Disk> {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// The replicas on this node, by partition.
    pub replicas: BTreeMap<i32, Arc<Replica<D>>>,
}

/// Every replica of this node.
pub struct Partitions<D: Disk> {
    index: RwLock<Index<D>>,
}

struct Index<D: Disk> {
    by_name: HashMap<String, Arc<Hosted<D>>>,
    by_id: HashMap<Uuid, Arc<Hosted<D>>>,
}

impl<D: Disk> Partitions<D> {
    /// None yet.
    pub fn new() -> Partitions<D> {
        Partitions { index: RwLock::new(Index { by_name: HashMap::new(), by_id: HashMap::new() }) }
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<Arc<Hosted<D>>> {
        self.index.read().by_name.get(name).cloned()
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<Hosted<D>>> {
        self.index.read().by_id.get(&id).cloned()
    }

    /// A replica by the name of its topic.
    pub fn replica(&self, topic: &str, partition: i32) -> Option<Arc<Replica<D>>> {
        self.topic(topic)?.replicas.get(&partition).cloned()
    }

    /// Adds replicas to their topic.
    pub fn add(&self, name: &str, id: Uuid, replicas: Vec<Arc<Replica<D>>>) {
        let mut index = self.index.write();
        let known = index.by_id.get(&id).map(|hosted| hosted.replicas.clone());
        let mut all = known.unwrap_or_default();
        all.extend(replicas.into_iter().map(|replica| (replica.topic_partition.partition, replica)));
        let hosted = Arc::new(Hosted { name: name.to_owned(), id, replicas: all });
        index.by_name.insert(name.to_owned(), Arc::clone(&hosted));
        index.by_id.insert(id, hosted);
    }

    /// Takes a topic out; its replicas are the caller's to close.
    pub fn remove(&self, id: Uuid) -> Option<Arc<Hosted<D>>> {
        let mut index = self.index.write();
        let hosted = index.by_id.remove(&id)?;
        // A topic of the same name may have been created since.
        if index.by_name.get(&hosted.name).is_some_and(|named| named.id == id) {
            index.by_name.remove(&hosted.name);
        }
        Some(hosted)
    }

    /// Every replica there is now.
    pub fn all(&self) -> Vec<Arc<Replica<D>>> {
        let index = self.index.read();
        index.by_id.values().flat_map(|hosted| hosted.replicas.values().cloned()).collect()
    }
}

impl<D: Disk> Default for Partitions<D> {
    fn default() -> Partitions<D> {
        Partitions::new()
    }
}
