//! Runs the group coordinator's shards: one per partition of `__consumer_offsets` that this node leads, each on
//! one coordinator thread. The machines decide; here their records are appended and replayed, and answers are
//! held until the high watermark has passed what they know of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_coordinators::group::{Context, DeletedTopic, Event, GroupShard, Request, Response, partition_for};
use milena_coordinators::{CoordinatorRecord, Decision, Entry, Origin, Reply, ReplyTo};
use milena_metadata::image::Image;
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::{ErrorCode, LeaderEpoch, Offset};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, sleep};
use tracing::{debug, error, info, warn};

use crate::loading;
use crate::node::Node;
use crate::partitions::{Refused, Replica};
use crate::world::{Place, World};

/// The topic whose partitions the shards own.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";
/// Events that may wait for a coordinator thread; beyond it requests are answered COORDINATOR_NOT_AVAILABLE.
const MAILBOX: usize = 10_000;
/// Coordinator threads.
const THREADS: usize = 2;
/// Pause before a shard whose append failed is loaded again.
const RELOAD_AFTER: Duration = Duration::from_millis(500);

/// The partitions of the topic that this node leads, with their leader epochs.
pub(crate) type Led<D> = BTreeMap<i32, (Arc<Replica<D>>, LeaderEpoch)>;

/// What a coordinator thread is told.
pub(crate) enum Message<W: World> {
    /// This node leads the partition now: load it.
    Start { partition: i32, replica: Arc<Replica<W::Disk>>, epoch: LeaderEpoch },
    /// A part of the log of a shard that is loading; `load` tells loads of the same partition apart.
    Replay { partition: i32, load: u64, entries: Vec<(Origin, Entry)> },
    /// The whole log was sent, or could not be read.
    LoadEnded { partition: i32, load: u64, complete: bool },
    /// This node leads the partition no longer.
    Stop { partition: i32 },
    /// A request of a client.
    Ask { partition: i32, context: Context, request: Request, answer: oneshot::Sender<Response> },
    /// A newer image: what groups subscribe to, and their settings.
    MetadataChanged { image: Image, has_new_topics: bool, have_topics_changed: bool },
    /// Topics that are gone: their offsets go too.
    TopicsDeleted(Vec<DeletedTopic>),
    /// The high watermark of the partition may have moved.
    Advanced { partition: i32 },
}

/// The door to the coordinator threads.
pub struct Shards<W: World> {
    mailboxes: Vec<mpsc::Sender<Message<W>>>,
    /// The partitions that have a shard here, loading or loaded.
    led: RwLock<Led<W::Disk>>,
}

impl<W: World> Shards<W> {
    /// The door, and what the threads read from.
    pub(crate) fn new() -> (Shards<W>, Vec<mpsc::Receiver<Message<W>>>) {
        let (mailboxes, receivers) = (0..THREADS).map(|_| mpsc::channel(MAILBOX)).unzip();
        (Shards { mailboxes, led: RwLock::default() }, receivers)
    }

    fn mailbox(&self, partition: i32) -> &mpsc::Sender<Message<W>> {
        &self.mailboxes[partition as usize % self.mailboxes.len()]
    }

    /// Starts or stops shards so that they fit what this node leads now.
    pub(crate) async fn lead(&self, replicas: Led<W::Disk>) {
        let (gone, new) = {
            let mut led = self.led.write();
            let gone: Vec<i32> = led.keys().copied().filter(|partition| !replicas.contains_key(partition)).collect();
            let is_new = |partition: &i32, replica: &Arc<Replica<W::Disk>>, epoch: &LeaderEpoch| {
                led.get(partition).is_none_or(|(known, since)| !Arc::ptr_eq(known, replica) || since != epoch)
            };
            let new: Led<W::Disk> = replicas
                .iter()
                .filter(|(partition, (replica, epoch))| is_new(partition, replica, epoch))
                .map(|(partition, (replica, epoch))| (*partition, (Arc::clone(replica), *epoch)))
                .collect();
            *led = replicas;
            (gone, new)
        };
        for partition in gone {
            let _ = self.mailbox(partition).send(Message::Stop { partition }).await;
        }
        for (partition, (replica, epoch)) in new {
            let _ = self.mailbox(partition).send(Message::Start { partition, replica, epoch }).await;
        }
    }

    /// Whether a shard of exactly this replica is wanted here.
    fn still_leads(&self, partition: i32, replica: &Arc<Replica<W::Disk>>, epoch: LeaderEpoch) -> bool {
        let led = self.led.read();
        led.get(&partition).is_some_and(|(known, since)| Arc::ptr_eq(known, replica) && *since == epoch)
    }

    /// Hands every shard a newer image.
    pub(crate) async fn metadata_changed(&self, image: &Image, has_new_topics: bool, have_topics_changed: bool) {
        for mailbox in &self.mailboxes {
            let image = image.clone();
            let _ = mailbox.send(Message::MetadataChanged { image, has_new_topics, have_topics_changed }).await;
        }
    }

    /// Tells every shard about topics that are gone.
    pub(crate) async fn topics_deleted(&self, topics: Vec<DeletedTopic>) {
        for mailbox in &self.mailboxes {
            let _ = mailbox.send(Message::TopicsDeleted(topics.clone())).await;
        }
    }

    /// The partitions that have a shard here.
    pub fn led(&self) -> Vec<i32> {
        self.led.read().keys().copied().collect()
    }

    /// Asks the shard of a group.
    pub async fn ask_group(&self, groups: i32, group_id: &str, context: Context, request: Request) -> Response {
        self.ask(partition_for(group_id, groups), context, request).await
    }

    /// Asks the shard of a partition.
    pub async fn ask(&self, partition: i32, context: Context, request: Request) -> Response {
        let version = context.version;
        if !self.led.read().contains_key(&partition) {
            return request.failure(version, ErrorCode::NotCoordinator);
        }
        let (answer, answered) = oneshot::channel();
        let refusal = request.clone();
        match self.mailbox(partition).try_send(Message::Ask { partition, context, request, answer }) {
            Ok(()) => match answered.await {
                Ok(response) => response,
                Err(_) => refusal.failure(version, ErrorCode::NotCoordinator),
            },
            Err(_) => refusal.failure(version, ErrorCode::CoordinatorNotAvailable),
        }
    }
}

/// Runs one coordinator thread until the world stops.
pub(crate) async fn run<W: World>(node: Arc<Node<W>>, mut mailbox: mpsc::Receiver<Message<W>>) {
    let mut thread = Thread { node: Arc::clone(&node), shards: BTreeMap::new(), next_load: 0 };
    loop {
        let pause = thread.until_deadline().unwrap_or(Duration::MAX);
        tokio::select! {
            biased;
            message = mailbox.recv() => match message {
                Some(message) => thread.take(message),
                None => return,
            },
            () = sleep(pause) => {}
            () = node.stopping() => return,
        }
        thread.tick();
    }
}

/// The shards of one thread.
struct Thread<W: World> {
    node: Arc<Node<W>>,
    shards: BTreeMap<i32, Owned<W>>,
    next_load: u64,
}

/// One shard with what belongs to it here.
struct Owned<W: World> {
    shard: GroupShard,
    replica: Arc<Replica<W::Disk>>,
    epoch: LeaderEpoch,
    /// Which load fills it; `None` once it is loaded.
    loading: Option<u64>,
    next_reply: u64,
    /// Requests that the machine has not answered yet.
    asked: HashMap<ReplyTo, Asked>,
    /// Answers that wait for the high watermark to pass this offset.
    held: Vec<(Offset, Asked, Response)>,
}

struct Asked {
    version: i16,
    answer: oneshot::Sender<Response>,
}

impl<W: World> Thread<W> {
    fn until_deadline(&self) -> Option<Duration> {
        let loaded = self.shards.values().filter(|owned| owned.loading.is_none());
        let next = loaded.filter_map(|owned| owned.shard.next_deadline()).min()?;
        Some(Duration::from_millis((next - self.node.world.now()).0.max(0) as u64))
    }

    fn tick(&mut self) {
        let now = self.node.world.now();
        let due = |owned: &Owned<W>| owned.loading.is_none() && owned.shard.next_deadline().is_some_and(|at| at <= now);
        let partitions: Vec<i32> = self.shards.iter().filter(|(_, owned)| due(owned)).map(|(key, _)| *key).collect();
        for partition in partitions {
            while let Some(owned) = self.shards.get_mut(&partition).filter(|owned| due(owned)) {
                let decision = owned.shard.tick(now);
                self.follow(partition, decision);
            }
        }
    }

    fn take(&mut self, message: Message<W>) {
        match message {
            Message::Start { partition, replica, epoch } => self.start(partition, replica, epoch),
            Message::Replay { partition, load, entries } => self.replay(partition, load, &entries),
            Message::LoadEnded { partition, load, complete } => self.load_ended(partition, load, complete),
            Message::Stop { partition } => self.stop(partition),
            Message::Ask { partition, context, request, answer } => self.ask(partition, context, request, answer),
            Message::MetadataChanged { image, has_new_topics, have_topics_changed } => {
                let now = self.node.world.now();
                for partition in self.shards.keys().copied().collect::<Vec<_>>() {
                    let image = image.clone();
                    self.handle(partition, now, Event::Metadata { image, has_new_topics, have_topics_changed });
                }
            }
            Message::TopicsDeleted(topics) => {
                let now = self.node.world.now();
                for partition in self.shards.keys().copied().collect::<Vec<_>>() {
                    self.handle(partition, now, Event::TopicsDeleted(topics.clone()));
                }
            }
            Message::Advanced { partition } => self.release(partition),
        }
    }

    fn start(&mut self, partition: i32, replica: Arc<Replica<W::Disk>>, epoch: LeaderEpoch) {
        self.stop(partition);
        self.next_load += 1;
        let load = self.next_load;
        let owned = Owned {
            shard: GroupShard::new(self.node.settings.groups),
            replica: Arc::clone(&replica),
            epoch,
            loading: Some(load),
            next_reply: 0,
            asked: HashMap::new(),
            held: Vec::new(),
        };
        self.shards.insert(partition, owned);
        let node = Arc::clone(&self.node);
        let task = async move { load_shard(&node, partition, load, replica).await };
        self.node.world.spawn(Place::Background, Box::pin(task));
    }

    fn replay(&mut self, partition: i32, load: u64, entries: &[(Origin, Entry)]) {
        let Some(owned) = self.shards.get_mut(&partition).filter(|owned| owned.loading == Some(load)) else { return };
        for (at, entry) in entries {
            if let Err(damage) = owned.shard.replay(*at, entry) {
                error!(partition, %damage, "groups cannot be loaded; their partition stays without coordinator");
                self.stop(partition);
                return;
            }
        }
    }

    fn load_ended(&mut self, partition: i32, load: u64, complete: bool) {
        let Some(owned) = self.shards.get_mut(&partition).filter(|owned| owned.loading == Some(load)) else { return };
        if !complete {
            self.reload(partition);
            return;
        }
        owned.loading = None;
        let image = Image::clone(&self.node.image());
        owned.shard.set_image(image, false, true);
        let decision = owned.shard.loaded(self.node.world.now());
        let counts = owned.shard.counts();
        if counts.groups > 0 {
            info!(partition, groups = counts.groups, offsets = counts.offsets, "groups loaded");
        }
        self.follow(partition, decision);
    }

    fn stop(&mut self, partition: i32) {
        let Some(mut owned) = self.shards.remove(&partition) else { return };
        let replies = owned.shard.unloaded();
        for Reply { to, response, .. } in replies {
            if let Some(asked) = owned.asked.remove(&to) {
                let _ = asked.answer.send(response);
            }
        }
        for (_, asked, response) in owned.held {
            let _ = asked.answer.send(response.failed(asked.version, ErrorCode::NotLeaderOrFollower));
        }
    }

    /// Throws the shard away and loads it from its log again: nothing that was not written has happened.
    fn reload(&mut self, partition: i32) {
        let Some(owned) = self.shards.get(&partition) else { return };
        let (replica, epoch) = (Arc::clone(&owned.replica), owned.epoch);
        self.stop(partition);
        let node = Arc::clone(&self.node);
        let task = async move {
            sleep(RELOAD_AFTER).await;
            // Meanwhile the topic may have been deleted, and even created again with a shard of its own.
            if node.shards.still_leads(partition, &replica, epoch) {
                let _ = node.shards.mailbox(partition).send(Message::Start { partition, replica, epoch }).await;
            }
        };
        self.node.world.spawn(Place::Background, Box::pin(task));
    }

    fn ask(&mut self, partition: i32, context: Context, request: Request, answer: oneshot::Sender<Response>) {
        let version = context.version;
        let Some(owned) = self.shards.get_mut(&partition) else {
            let _ = answer.send(request.failure(version, ErrorCode::NotCoordinator));
            return;
        };
        if owned.loading.is_some() {
            let _ = answer.send(request.failure(version, ErrorCode::CoordinatorLoadInProgress));
            return;
        }
        let to = ReplyTo(owned.next_reply);
        owned.next_reply += 1;
        owned.asked.insert(to, Asked { version, answer });
        let now = self.node.world.now();
        self.handle(partition, now, Event::Request { to, context, request });
    }

    fn handle(&mut self, partition: i32, now: Millis, event: Event) {
        let Some(owned) = self.shards.get_mut(&partition).filter(|owned| owned.loading.is_none()) else { return };
        let decision = owned.shard.handle(now, event);
        self.follow(partition, decision);
    }

    /// Appends and replays what was decided, then lets the answers go as soon as they may.
    fn follow(&mut self, partition: i32, decision: Decision<Response>) {
        let Some(owned) = self.shards.get_mut(&partition) else { return };
        match owned.commit(&decision) {
            Ok(Committed { written, flush_due }) => {
                owned.hold(decision.replies, written);
                if flush_due {
                    self.flush(partition);
                }
                self.release(partition);
            }
            // Nothing was written, so only those fail who wanted it.
            Err(failure) if failure.left_nothing() => {
                debug!(partition, %failure, "a decision about groups does not fit its log");
                owned.fail(decision.replies, failure.code());
            }
            Err(failure) => {
                warn!(partition, %failure, "a decision about groups was not written; the shard is loaded again");
                owned.fail(decision.replies, failure.code());
                self.reload(partition);
            }
        }
    }

    /// Makes the shard's log durable beside the thread, then looks at its answers again.
    fn flush(&self, partition: i32) {
        let Some(owned) = self.shards.get(&partition) else { return };
        let (node, replica) = (Arc::clone(&self.node), Arc::clone(&owned.replica));
        let task = async move {
            if let Some(marks) = replica.marks()
                && let Err(failure) = replica.flush(&node.world, marks.log_end).wait().await
            {
                error!(partition, %failure, "groups cannot be made durable");
            }
            let _ = node.shards.mailbox(partition).send(Message::Advanced { partition }).await;
        };
        self.node.world.spawn(Place::Background, Box::pin(task));
    }

    fn release(&mut self, partition: i32) {
        let Some(owned) = self.shards.get_mut(&partition) else { return };
        let Some(marks) = owned.replica.marks() else {
            self.reload(partition);
            return;
        };
        let (ready, held): (Vec<_>, Vec<_>) =
            owned.held.drain(..).partition(|(written, ..)| *written < marks.high_watermark);
        owned.held = held;
        for (_, asked, response) in ready {
            // A client that went away needs no answer.
            let _ = asked.answer.send(response);
        }
    }
}

/// What became of a decision.
struct Committed {
    /// Its last record, if it has any.
    written: Option<Offset>,
    flush_due: bool,
}

impl<W: World> Owned<W> {
    /// One decision is one batch, appended at once, then replayed.
    fn commit(&mut self, decision: &Decision<Response>) -> Result<Committed, Refused> {
        if decision.records.is_empty() {
            return Ok(Committed { written: None, flush_due: false });
        }
        let batch = batch_of(&decision.records, decision.timestamp);
        let appended = self.replica.append_own(decision.timestamp, batch, self.epoch)?;
        for (record, delta) in decision.records.iter().zip(0..) {
            let at = Origin { offset: appended.base_offset + delta, producer: None };
            self.shard.replay(at, &Entry::Record(record.clone())).expect("the shard can read what it wrote");
        }
        Ok(Committed { written: Some(appended.last_offset), flush_due: appended.flush_due })
    }

    fn hold(&mut self, replies: Vec<Reply<Response>>, written: Option<Offset>) {
        for Reply { to, response, written: known } in replies {
            if let Some(asked) = self.asked.remove(&to) {
                self.held.push((known.max(written).unwrap_or(Offset::NONE), asked, response));
            }
        }
    }

    fn fail(&mut self, replies: Vec<Reply<Response>>, code: ErrorCode) {
        for Reply { to, response, .. } in replies {
            if let Some(asked) = self.asked.remove(&to) {
                let _ = asked.answer.send(response.failed(asked.version, code));
            }
        }
    }
}

fn batch_of(records: &[CoordinatorRecord], timestamp: Millis) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.add(timestamp, Some(&record.key), record.value.as_deref(), &[]);
    }
    builder.build(&BatchOptions::default()).expect("batches that are not compressed can be built")
}

/// Sends the whole log to the shard, piece by piece.
async fn load_shard<W: World>(node: &Arc<Node<W>>, partition: i32, load: u64, replica: Arc<Replica<W::Disk>>) {
    let mailbox = node.shards.mailbox(partition);
    let mut reader = loading::Reader::new(replica);
    let complete = loop {
        match reader.next(&*node.world).await {
            Ok(Some(entries)) => {
                if mailbox.send(Message::Replay { partition, load, entries }).await.is_err() {
                    return;
                }
            }
            Ok(None) => break true,
            Err(failure) => {
                error!(partition, %failure, "the log of groups cannot be read; trying again");
                break false;
            }
        }
    };
    let _ = mailbox.send(Message::LoadEnded { partition, load, complete }).await;
}
