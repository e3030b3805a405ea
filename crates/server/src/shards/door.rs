//! The door to the shards of one kind: requests go in, shards start and stop with the leadership of their partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_coordinators::{Entry, Origin};
use milena_partition::Voucher;
use milena_protocol::{ErrorCode, LeaderEpoch};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use super::{Kind, MAILBOX, THREADS};
use crate::partitions::Replica;
use crate::world::World;

/// The partitions of the topic that this node leads, with their leader epochs.
pub(crate) type Led<D> = BTreeMap<i32, (Arc<Replica<D>>, LeaderEpoch)>;

/// What the threads read from.
pub(crate) type Mailboxes<W, S> = Vec<mpsc::Receiver<Message<W, S>>>;

/// What a coordinator thread is told.
pub(crate) enum Message<W: World, S: Kind<W>> {
    /// This node leads the partition now: load it.
    Start { partition: i32, replica: Arc<Replica<W::Disk>>, epoch: LeaderEpoch },
    /// A part of the log of a shard that is loading; `load` tells loads of the same partition apart.
    Replay { partition: i32, load: u64, entries: Vec<(Origin, Entry)> },
    /// The whole log was sent, or could not be read.
    LoadEnded { partition: i32, load: u64, complete: bool },
    /// This node leads the partition no longer.
    Stop { partition: i32 },
    /// A request of a client.
    Ask { partition: i32, question: Question<S>, answer: oneshot::Sender<S::Response> },
    /// Something that every shard has to know.
    Tell(S::Event),
    /// What came of an effect of the shard that was loaded as `load`; each effect has exactly one.
    Done { partition: i32, load: u64, event: S::Event },
    /// The high watermark of the partition may have moved.
    Advanced { partition: i32 },
}

/// A request of a client, and who answers for the transaction that it belongs to.
pub(crate) struct Question<S: milena_coordinators::Shard> {
    pub(super) context: S::Context,
    pub(super) request: S::Request,
    pub(super) voucher: Voucher,
    /// Of a request that only reads.
    pub(super) bound: Option<Bound>,
}

impl<S: milena_coordinators::Shard> Question<S> {
    /// A question that needs no voucher and has no bound.
    pub(super) fn new(context: S::Context, request: S::Request) -> Question<S> {
        Question { context, request, voucher: Voucher::NotNeeded, bound: None }
    }
}

/// An answer is made only if it takes so little on the wire.
pub(crate) struct Bound {
    pub(super) within_bytes: usize,
    /// Told before the answer: what it takes, or would take.
    pub(super) weighed: oneshot::Sender<usize>,
}

/// The door to the shards of one kind.
pub struct Shards<W: World, S: Kind<W>> {
    mailboxes: Vec<mpsc::Sender<Message<W, S>>>,
    /// The partitions that have a shard here, loading or loaded.
    led: RwLock<Led<W::Disk>>,
}

impl<W: World, S: Kind<W>> Shards<W, S> {
    /// The door, and what the threads read from.
    pub(crate) fn new() -> (Shards<W, S>, Mailboxes<W, S>) {
        let (mailboxes, receivers) = (0..THREADS).map(|_| mpsc::channel(MAILBOX)).unzip();
        (Shards { mailboxes, led: RwLock::default() }, receivers)
    }

    pub(super) fn mailbox(&self, partition: i32) -> &mpsc::Sender<Message<W, S>> {
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
    pub(super) fn still_leads(&self, partition: i32, replica: &Arc<Replica<W::Disk>>, epoch: LeaderEpoch) -> bool {
        let led = self.led.read();
        led.get(&partition).is_some_and(|(known, since)| Arc::ptr_eq(known, replica) && *since == epoch)
    }

    /// Tells every shard something.
    pub(crate) async fn tell(&self, event: S::Event) {
        for mailbox in &self.mailboxes {
            let _ = mailbox.send(Message::Tell(event.clone())).await;
        }
    }

    /// The partitions that have a shard here.
    pub fn led(&self) -> Vec<i32> {
        self.led.read().keys().copied().collect()
    }

    /// Asks the shard of a partition.
    pub async fn ask(&self, partition: i32, context: S::Context, request: S::Request) -> S::Response {
        self.ask_vouched(partition, context, request, Voucher::NotNeeded).await
    }

    /// Asks the shard of a partition for something that is written in a transaction.
    pub async fn ask_vouched(
        &self,
        partition: i32,
        context: S::Context,
        request: S::Request,
        voucher: Voucher,
    ) -> S::Response {
        let version = S::version(&context);
        let refused = request.clone();
        let answer = self.put(partition, Question { voucher, ..Question::new(context, request) }).await;
        answer.unwrap_or_else(|error| S::failure(&refused, version, error))
    }

    /// Puts a question into the mailbox of its thread, and waits for what is answered.
    pub(super) async fn put(&self, partition: i32, question: Question<S>) -> Result<S::Response, ErrorCode> {
        if !self.led.read().contains_key(&partition) {
            return Err(ErrorCode::NotCoordinator);
        }
        let (answer, answered) = oneshot::channel();
        match self.mailbox(partition).try_send(Message::Ask { partition, question, answer }) {
            Ok(()) => answered.await.map_err(|_| ErrorCode::NotCoordinator),
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }
}
