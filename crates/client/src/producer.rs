//! Sends records. Records of a partition gather in a batch; a task sends batches to the partitions' leaders, up to
//! five requests at a time, and sends them again where that can help. With idempotence (the default) a partition
//! gets every record once and in the order of [`Producer::send`], however often a request is repeated (KIP-98).

mod accumulator;
mod batch;
mod delivery;
mod partitioner;
mod sender;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use milena_base::Millis;
use milena_protocol::compression::Codec;
use milena_protocol::records::record_size_bytes;
use milena_protocol::{Offset, TopicPartition};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

pub(crate) use batch::Identity;
pub use delivery::{Delivered, Delivery};
pub use partitioner::partition_of_key;

use crate::transaction::Scope;
use crate::{Cluster, Error, ProducedRecord, clock};
use accumulator::Accumulator;
use partitioner::Partitioner;

/// Who must have a record before it counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the offset stays unknown, and a loss unnoticed.
    None,
    /// The leader.
    Leader,
    /// All in-sync replicas.
    All,
}

/// How a producer behaves. The names in brackets are Kafka's.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// Who must have a record (`acks`). Idempotence needs [`Acks::All`].
    pub acks: Acks,
    /// Whether retries can neither duplicate nor reorder (`enable.idempotence`).
    pub is_idempotent: bool,
    /// A batch that has reached this size in bytes leaves at once (`batch.size`).
    pub batch_bytes: usize,
    /// How long a batch waits for more records (`linger.ms`).
    pub linger: Duration,
    /// How batches are compressed (`compression.type`).
    pub codec: Codec,
    /// How hard; `None` is the codec's default (`compression.gzip.level` and its siblings).
    pub codec_level: Option<i32>,
    /// What all records that are not delivered yet may take (`buffer.memory`). Beyond it [`Producer::send`] waits.
    pub buffer_bytes: usize,
    /// How long [`Producer::send`] may wait for memory (`max.block.ms`).
    pub send_timeout: Duration,
    /// The largest record in bytes (`max.request.size`); a larger one is refused.
    pub record_bytes_max: usize,
    /// How long a record may take, retries included (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// How long the broker may wait for its replicas (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How many requests may be under way to one broker (`max.in.flight.requests.per.connection`); at most 5 if
    /// idempotent, since brokers remember five batches.
    pub requests_in_flight_max: usize,
}

impl Default for ProducerSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        ProducerSettings {
            acks: Acks::All,
            is_idempotent: true,
            batch_bytes: 16 * 1024,
            linger: Duration::from_millis(5),
            codec: Codec::None,
            codec_level: None,
            buffer_bytes: 32 * 1024 * 1024,
            send_timeout: Duration::from_secs(60),
            record_bytes_max: 1024 * 1024,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            requests_in_flight_max: 5,
        }
    }
}

impl ProducerSettings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_idempotent && self.acks != Acks::All {
            return Err(Error::Misuse("an idempotent producer needs the acknowledgement of all in-sync replicas"));
        }
        if self.is_idempotent && self.requests_in_flight_max > 5 {
            return Err(Error::Misuse("an idempotent producer may have at most 5 requests in flight"));
        }
        if self.requests_in_flight_max == 0 || self.buffer_bytes < self.record_bytes_max + RECORD_OVERHEAD_BYTES {
            return Err(Error::Misuse("a producer needs a request in flight and memory for its largest record"));
        }
        Ok(())
    }
}

/// Sends records to a cluster. Clones share everything. Dropping the last one sends what is left in the background;
/// [`Producer::close`] waits for it.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Tells the sender that nobody will send any more.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.accumulator().close();
        self.shared.wake.notify_one();
    }
}

/// What the users' side and the sender share.
struct Shared {
    cluster: Cluster,
    settings: ProducerSettings,
    accumulator: Mutex<Accumulator>,
    partitioner: Mutex<Partitioner>,
    /// Bytes of memory that are free.
    memory: Semaphore,
    /// The transactions that all records belong to.
    transaction: Option<Arc<Scope>>,
    /// There may be something to send.
    wake: Notify,
    /// The number of the oldest batch whose outcome is not known.
    unresolved: watch::Sender<u64>,
}

impl Shared {
    fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Producer {
    /// A producer on the runtime that this is called from. The cluster is first asked at the first record.
    pub fn open(cluster: &Cluster, settings: ProducerSettings) -> Result<Producer, Error> {
        Producer::open_in(cluster, settings, None)
    }

    /// A producer whose records all belong to the transactions of one transactional id.
    pub(crate) fn open_in(
        cluster: &Cluster,
        settings: ProducerSettings,
        transaction: Option<Arc<Scope>>,
    ) -> Result<Producer, Error> {
        settings.check()?;
        let seed = clock::now().0 as u64;
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            accumulator: Mutex::new(Accumulator::new(settings.batch_bytes, settings.linger, settings.delivery_timeout)),
            partitioner: Mutex::new(Partitioner::new(settings.batch_bytes, seed)),
            memory: Semaphore::new(settings.buffer_bytes.min(Semaphore::MAX_PERMITS)),
            transaction,
            wake: Notify::new(),
            unresolved: watch::channel(0).0,
            settings,
        });
        tokio::spawn(sender::run(Arc::clone(&shared)));
        Ok(Producer { handle: Arc::new(Handle { shared }) })
    }

    /// Takes a record in. Waits where memory is short or the topic not known yet; the returned [`Delivery`] tells
    /// what became of the record. Records of one partition are delivered in the order in which this returned.
    pub async fn send(&self, record: ProducedRecord) -> Result<Delivery, Error> {
        let shared = &self.handle.shared;
        let topic = shared.cluster.topic(&record.topic).await?;
        let size_bytes = self.size_of(&record)?;
        self.reserve(size_bytes).await?;
        let choice = {
            let mut partitioner = shared.partitioner.lock().unwrap_or_else(PoisonError::into_inner);
            partitioner.choose(&record, &topic, size_bytes)
        };
        let Some(partition) = choice else {
            shared.memory.add_permits(size_bytes);
            let partition = record.partition.unwrap_or_default();
            return Err(Error::NoSuchPartition { topic: record.topic, partition });
        };
        let timestamp = record.timestamp.unwrap_or_else(clock::now);
        let partition = TopicPartition::new(record.topic.clone(), partition);
        if let Some(transaction) = &shared.transaction
            && let Err(error) = transaction.include(&partition).await
        {
            shared.memory.add_permits(size_bytes);
            return Err(error);
        }
        let taken = shared.accumulator().add(Instant::now(), partition, record, timestamp, size_bytes);
        let Some(taken) = taken else {
            shared.memory.add_permits(size_bytes);
            return Err(Error::Closed);
        };
        if taken.wakes_sender {
            shared.wake.notify_one();
        }
        Ok(taken.delivery)
    }

    /// What the record takes in memory and, almost, in its batch.
    fn size_of(&self, record: &ProducedRecord) -> Result<usize, Error> {
        let bytes = record_size_bytes(0, 0, record.key.as_deref(), record.value.as_deref(), &record.headers);
        let limit_bytes = self.handle.shared.settings.record_bytes_max;
        match bytes <= limit_bytes {
            true => Ok(bytes + RECORD_OVERHEAD_BYTES),
            false => Err(Error::RecordTooLarge { size_bytes: bytes, limit_bytes }),
        }
    }

    /// Takes memory; where there is none, lets waiting batches go at once and waits for their answers.
    async fn reserve(&self, size_bytes: usize) -> Result<(), Error> {
        let shared = &self.handle.shared;
        let permits = u32::try_from(size_bytes).map_err(|_| Error::Misuse("a record is larger than 4 GiB"))?;
        if let Ok(permit) = shared.memory.try_acquire_many(permits) {
            permit.forget();
            return Ok(());
        }
        shared.accumulator().finish_open();
        shared.wake.notify_one();
        let limit = shared.settings.send_timeout;
        match timeout(limit, shared.memory.acquire_many(permits)).await {
            Ok(permit) => permit.map_err(|_| Error::Closed)?.forget(),
            Err(_) => {
                let last = Box::new(Error::Misuse("the producer's memory is full of records that wait for delivery"));
                return Err(Error::Deadline { after: limit, last });
            }
        }
        Ok(())
    }

    /// Sends every record taken in so far without lingering, and waits until the outcome of each is known. The
    /// outcomes themselves are told by the deliveries.
    pub async fn flush(&self) {
        let shared = &self.handle.shared;
        let last = shared.accumulator().finish_open();
        shared.wake.notify_one();
        let mut unresolved = shared.unresolved.subscribe();
        // The sender side of the channel lives in `shared`.
        unresolved.wait_for(|oldest| *oldest >= last).await.ok();
    }

    /// Takes no more records and waits for those taken in.
    pub async fn close(self) {
        self.handle.shared.accumulator().close();
        self.flush().await;
    }
}

/// Where a record is, once delivered.
impl Delivered {
    fn at(base: Offset, index: i32, partition: TopicPartition, timestamp: Option<Millis>) -> Delivered {
        let offset = Some(base).filter(|base| *base != Offset::NONE).map(|base| base + i64::from(index));
        Delivered { partition, offset, append_time: timestamp }
    }
}

/// Counted for each record besides its bytes.
const RECORD_OVERHEAD_BYTES: usize = 64;
