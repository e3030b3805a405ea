//! The loop of one kind of shard on one coordinator thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_base::Millis;
use milena_coordinators::{Decision, Entry, Origin};
use milena_partition::Voucher;
use milena_protocol::{ErrorCode, LeaderEpoch};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, sleep};
use tracing::{debug, error, info, warn};

use super::door::{Bound, Message, Question};
use super::load::load;
use super::owned::{Asked, Committed, Owned};
use super::{Kind, RELOAD_AFTER};
use crate::node::Node;
use crate::partitions::Replica;
use crate::world::{Place, World};

/// Runs until the world stops.
pub(super) async fn run<W: World, S: Kind<W>>(node: Arc<Node<W>>, mut mailbox: mpsc::Receiver<Message<W, S>>) {
    let mut thread = Thread {
        node: Arc::clone(&node),
        shards: BTreeMap::<i32, Owned<W, S>>::new(),
        under_way: BTreeMap::new(),
        next_load: 0,
    };
    loop {
        let pause = thread.until_deadline().unwrap_or(Duration::MAX);
        let message = tokio::select! {
            biased;
            message = mailbox.recv() => match message {
                Some(message) => Some(message),
                None => return,
            },
            () = sleep(pause) => None,
            () = node.stopping() => return,
        };
        // What was due before a message came happens before it, also where this thread wakes late: a session that is over
        // does not keep its group from being deleted.
        thread.tick();
        if let Some(message) = message {
            thread.take(message);
        }
    }
}

/// The shards of one kind on one thread.
struct Thread<W: World, S: Kind<W>> {
    node: Arc<Node<W>>,
    shards: BTreeMap<i32, Owned<W, S>>,
    /// Effects by partition that have not ended yet, also those of shards that are gone.
    under_way: BTreeMap<i32, usize>,
    next_load: u64,
}

impl<W: World, S: Kind<W>> Thread<W, S> {
    fn until_deadline(&self) -> Option<Duration> {
        let loaded = self.shards.values().filter(|owned| owned.is_loaded);
        let next = loaded.filter_map(|owned| owned.shard.next_deadline()).min()?;
        Some(Duration::from_millis((next - self.node.world.now()).0.max(0) as u64))
    }

    fn tick(&mut self) {
        let now = self.node.world.now();
        let due = |owned: &Owned<W, S>| owned.is_loaded && owned.shard.next_deadline().is_some_and(|at| at <= now);
        let partitions: Vec<i32> = self.shards.iter().filter(|(_, owned)| due(owned)).map(|(key, _)| *key).collect();
        for partition in partitions {
            while let Some(owned) = self.shards.get_mut(&partition).filter(|owned| due(owned)) {
                let decision = owned.shard.tick(now);
                self.follow(partition, decision, Voucher::NotNeeded);
            }
        }
    }

    fn take(&mut self, message: Message<W, S>) {
        match message {
            Message::Start { partition, replica, epoch } => self.start(partition, replica, epoch),
            Message::Replay { partition, load, entries } => self.replay(partition, load, &entries),
            Message::LoadEnded { partition, load, complete } => self.load_ended(partition, load, complete),
            Message::Stop { partition } => self.stop(partition),
            Message::Ask { partition, question, answer } => self.ask(partition, question, answer),
            Message::Tell(event) => self.tell(&event),
            Message::Done { partition, load, event } => self.done(partition, load, event),
            Message::Advanced { partition } => self.release(partition),
        }
    }

    fn start(&mut self, partition: i32, replica: Arc<Replica<W::Disk>>, epoch: LeaderEpoch) {
        self.stop(partition);
        self.next_load += 1;
        let number = self.next_load;
        let shard = S::empty(&self.node, epoch);
        self.shards.insert(partition, Owned::new(shard, Arc::clone(&replica), epoch, number));
        let node = Arc::clone(&self.node);
        let task = async move { load::<W, S>(&node, partition, number, replica).await };
        self.node.world.spawn(Place::Background, Box::pin(task));
    }

    fn loading(&mut self, partition: i32, load: u64) -> Option<&mut Owned<W, S>> {
        self.shards.get_mut(&partition).filter(|owned| owned.load == load && !owned.is_loaded)
    }

    fn replay(&mut self, partition: i32, load: u64, entries: &[(Origin, Entry)]) {
        let Some(owned) = self.loading(partition, load) else { return };
        if let Err(damage) = owned.replay(entries) {
            error!(topic = S::TOPIC, partition, %damage, "a log cannot be loaded; it stays without coordinator");
            self.stop(partition);
        }
    }

    fn load_ended(&mut self, partition: i32, load: u64, complete: bool) {
        let Some(owned) = self.loading(partition, load) else { return };
        if !complete {
            self.reload(partition);
            return;
        }
        owned.is_read = true;
        self.begin(partition);
    }

    /// Lets a shard begin that has read its log. Effects of the one that was here before it have to end first: they
    /// would do to its next transactions what was meant for the last ones.
    fn begin(&mut self, partition: i32) {
        let (now, node) = (self.node.world.now(), Arc::clone(&self.node));
        let Some(owned) = self.shards.get_mut(&partition).filter(|owned| owned.is_read && !owned.is_loaded) else {
            return;
        };
        if self.under_way.contains_key(&partition) {
            return;
        }
        owned.is_loaded = true;
        owned.shard.begin(&node);
        let decision = owned.shard.loaded(now);
        let counts = owned.shard.counts();
        if counts != S::Counts::default() {
            info!(topic = S::TOPIC, partition, ?counts, "coordinator loaded");
        }
        let told = std::mem::take(&mut owned.told);
        self.follow(partition, decision, Voucher::NotNeeded);
        for event in told {
            self.handle(partition, now, event, Voucher::NotNeeded);
        }
    }

    /// Those that are loading hear of it when they begin.
    fn tell(&mut self, event: &S::Event) {
        let now = self.node.world.now();
        for partition in self.shards.keys().copied().collect::<Vec<_>>() {
            match self.shards.get_mut(&partition).filter(|owned| !owned.is_loaded) {
                Some(loading) => loading.told.push(event.clone()),
                None => self.handle(partition, now, event.clone(), Voucher::NotNeeded),
            }
        }
    }

    /// An effect has ended. If its shard was loaded again since, that one repeats it.
    fn done(&mut self, partition: i32, load: u64, event: S::Event) {
        if let Some(count) = self.under_way.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&partition);
            }
        }
        match self.shards.get(&partition) {
            Some(owned) if owned.load == load => {
                self.handle(partition, self.node.world.now(), event, Voucher::NotNeeded);
            }
            _ => self.begin(partition),
        }
    }

    fn stop(&mut self, partition: i32) {
        if let Some(owned) = self.shards.remove(&partition) {
            owned.stop();
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
            let door = S::door(&node);
            // Meanwhile the topic may have been deleted, and even created again with a shard of its own.
            if door.still_leads(partition, &replica, epoch) {
                let _ = door.mailbox(partition).send(Message::Start { partition, replica, epoch }).await;
            }
        };
        self.node.world.spawn(Place::Background, Box::pin(task));
    }

    fn ask(&mut self, partition: i32, question: Question<S>, answer: oneshot::Sender<S::Response>) {
        let Question { context, request, voucher, bound } = question;
        let version = S::version(&context);
        let refusal = match self.shards.get_mut(&partition) {
            None => ErrorCode::NotCoordinator,
            Some(owned) if !owned.is_loaded => ErrorCode::CoordinatorLoadInProgress,
            Some(owned) => {
                if let Some(Bound { within_bytes, weighed }) = bound {
                    let bytes = owned.shard.weigh(&request);
                    if weighed.send(bytes).is_err() || bytes > within_bytes {
                        // Nobody waits for it any more, or whoever does comes again with more room.
                        return;
                    }
                }
                let to = owned.expect(Asked { version, answer });
                let now = self.node.world.now();
                return self.handle(partition, now, S::asked(to, context, request), voucher);
            }
        };
        let _ = answer.send(S::failure(&request, version, refusal));
    }

    fn handle(&mut self, partition: i32, now: Millis, event: S::Event, voucher: Voucher) {
        let Some(owned) = self.shards.get_mut(&partition).filter(|owned| owned.is_loaded) else { return };
        let decision = owned.shard.handle(now, event);
        self.follow(partition, decision, voucher);
    }

    /// Appends and replays what was decided, then lets answers and effects go as soon as they may.
    fn follow(&mut self, partition: i32, decision: Decision<S::Response, S::Effect>, voucher: Voucher) {
        let Some(owned) = self.shards.get_mut(&partition) else { return };
        match owned.commit(&decision, voucher) {
            Ok(Committed { written, flush_due }) => {
                owned.hold(decision, written);
                if flush_due {
                    self.flush(partition);
                }
                self.release(partition);
            }
            // Nothing was written, so only those fail who wanted it. Who wants an effect has nobody to ask again.
            Err(failure) if failure.left_nothing() && decision.effects.is_empty() => {
                debug!(topic = S::TOPIC, partition, %failure, "a decision does not fit its coordinator's log");
                owned.fail(decision.replies, failure.code());
            }
            Err(failure) => {
                warn!(topic = S::TOPIC, partition, %failure, "a decision was not written; its shard is loaded again");
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
                error!(topic = S::TOPIC, partition, %failure, "a coordinator's log cannot be made durable");
            }
            let _ = S::door(&node).mailbox(partition).send(Message::Advanced { partition }).await;
        };
        self.node.world.spawn(Place::Background, Box::pin(task));
    }

    fn release(&mut self, partition: i32) {
        let Some(owned) = self.shards.get_mut(&partition) else { return };
        let Some(marks) = owned.replica.marks() else {
            self.reload(partition);
            return;
        };
        let (effects, load) = (owned.release(marks.high_watermark), owned.load);
        for effect in effects {
            *self.under_way.entry(partition).or_default() += 1;
            let node = Arc::clone(&self.node);
            let task = async move {
                let event = S::carry_out(&node, effect).await;
                let _ = S::door(&node).mailbox(partition).send(Message::Done { partition, load, event }).await;
            };
            self.node.world.spawn(Place::Background, Box::pin(task));
        }
    }
}
