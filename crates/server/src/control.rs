//! The control thread: it drives the quorum and the controller, owns the metadata log, and hands every committed
//! change on to be applied. It touches no data log.
//!
//! ```text
//! ask ─► Controller::handle ─► append ─► Raft::step ─► flush (pool) ─► high watermark
//!                                                                          │
//!                       answers leave ◄── applied ◄── Applier ◄── Loader ◄─┘
//! ```

mod housekeeping;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use milena_base::{Millis, Random};
use milena_metadata::controller::{self, Controller, Decision, Request, Response};
use milena_metadata::delta::{Changes, ReplayError};
use milena_metadata::image::Image;
use milena_metadata::loader::Loader;
use milena_metadata::raft::{Effect, Event, Raft, Voter};
use milena_metadata::records::{self, Batch, Control, Entry, RecordsError};
use milena_metadata::retention::SnapshotSchedule;
use milena_partition::FlushToken;
use milena_protocol::messages::{MetadataRecord, VotersRecord};
use milena_protocol::{LeaderEpoch, NodeId, Offset};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tracing::{error, info};

use self::housekeeping::Housekeeping;
use crate::metadata_log::MetadataLog;
use crate::world::{Place, World, on_pool};

/// Requests that may wait for the controller; beyond it the asker waits.
const MAILBOX: usize = 1_000;
/// Committed changes that may wait to be applied; beyond it the controller waits.
const CHANGES: usize = 1_000;

/// Pause before a request is sent again to a controller that is not active.
const NO_CONTROLLER_PAUSE: Duration = Duration::from_millis(5);

/// Sends a request to the controller and takes its answer out of the enum.
macro_rules! ask {
    ($call:ident, $request:expr, $variant:path) => {
        match $call.node.control.ask($request).await {
            Some($variant(response)) => response,
            Some(other) => unreachable!("the controller answered {other:?}"),
            // The node stops; its connections end with it.
            None => std::future::pending().await,
        }
    };
}
pub(crate) use ask;

/// What the control thread is told.
enum Message {
    Ask {
        request: Box<Request>,
        answer: oneshot::Sender<Response>,
    },
    /// Where the quorum is.
    DescribeQuorum(oneshot::Sender<Option<Quorum>>),
    /// The node stops: make the log durable and end.
    Stop(oneshot::Sender<()>),
}

/// The quorum as its leader sees it.
#[derive(Debug)]
pub struct Quorum {
    /// Who leads: this node.
    pub leader: NodeId,
    /// Since which epoch.
    pub epoch: LeaderEpoch,
    /// Everything below is committed; `None` while that is not known.
    pub high_watermark: Option<Offset>,
    /// Where the leader's log ends.
    pub log_end: Offset,
    /// The voters in force.
    pub voters: Vec<Voter>,
}

/// The door to the control thread.
#[derive(Clone)]
pub struct ControlHandle {
    mailbox: mpsc::Sender<Message>,
    /// Beside the mailbox: the applier must never wait for the controller, which may be waiting for the applier.
    applied: watch::Sender<Offset>,
}

impl ControlHandle {
    /// Asks the controller. The answer comes when what it decided is committed, and, unless it is part of the
    /// broker's own life cycle, applied on this node. `None` when the node stops.
    pub async fn ask(&self, request: Request) -> Option<Response> {
        loop {
            let (answer, answered) = oneshot::channel();
            self.mailbox.send(Message::Ask { request: Box::new(request.clone()), answer }).await.ok()?;
            match answered.await.ok()? {
                // Between two leaderships: it will be one again, or the node stops.
                Response::NotController => sleep(NO_CONTROLLER_PAUSE).await,
                response => return Some(response),
            }
        }
    }

    /// The quorum; `None` where this node does not lead it, or stops.
    pub async fn quorum(&self) -> Option<Quorum> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.send(Message::DescribeQuorum(answer)).await.ok()?;
        answered.await.ok()?
    }

    /// Ends the control thread once its log is durable.
    pub async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.mailbox.send(Message::Stop(done)).await.is_ok() {
            let _ = ended.await;
        }
    }

    /// Tells that everything up to `offset` is applied.
    pub fn applied(&self, offset: Offset) {
        self.applied.send_replace(offset);
    }
}

/// Why the control thread cannot go on. The node stops: without its metadata log it is nobody.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The metadata log cannot be written or read.
    #[error("the metadata log failed: {0}")]
    Log(#[from] io::Error),
    /// The metadata log holds something that is none of our records.
    #[error("the metadata log is damaged: {0}")]
    Records(#[from] RecordsError),
    /// The records do not add up.
    #[error("the metadata log is damaged: {0}")]
    Replay(#[from] ReplayError),
}

/// An answer that waits.
struct Held {
    /// Committed at this log end.
    until: Offset,
    /// Also applied.
    applied: bool,
    answer: oneshot::Sender<Response>,
    response: Response,
}

/// The state of the control thread.
pub(crate) struct ControlThread<W: World> {
    world: Arc<W>,
    log: MetadataLog<W::Disk>,
    raft: Raft,
    controller: Controller,
    loader: Loader,
    bootstrap: Vec<MetadataRecord>,
    mailbox: mpsc::Receiver<Message>,
    changes: mpsc::Sender<(Image, Changes)>,
    /// Appended, not yet committed, in order.
    uncommitted: VecDeque<Batch>,
    /// Requests that the controller has not answered yet.
    asked: VecDeque<(controller::ReplyTo, oneshot::Sender<Response>, bool)>,
    held: Vec<Held>,
    applied: watch::Receiver<Offset>,
    committed: Offset,
    raft_timer: Option<Millis>,
    controller_timer: Option<Millis>,
    flush: Flush,
    next_reply: u64,
    voters: Option<VotersRecord>,
    housekeeping: Housekeeping,
}

/// The flush that runs on the pool; one at a time, so that all that is appended meanwhile shares the next.
#[derive(Default)]
struct Flush {
    running: Option<(Offset, oneshot::Receiver<io::Result<Option<FlushToken>>>)>,
    wanted: bool,
}

/// What the control thread starts with.
pub(crate) struct Parts<W: World> {
    pub(crate) world: Arc<W>,
    pub(crate) log: MetadataLog<W::Disk>,
    pub(crate) raft: Raft,
    pub(crate) controller: Controller,
    pub(crate) loader: Loader,
    /// Written when the log is found empty.
    pub(crate) bootstrap: Vec<MetadataRecord>,
    /// The voters, where the quorum is dynamic; they go into snapshots.
    pub(crate) voters: Option<VotersRecord>,
    /// When snapshots are due.
    pub(crate) schedule: SnapshotSchedule,
}

/// The door, the thread's state, and where committed changes come out.
pub(crate) fn control<W: World>(
    parts: Parts<W>,
) -> (ControlHandle, ControlThread<W>, mpsc::Receiver<(Image, Changes)>) {
    let (sender, mailbox) = mpsc::channel(MAILBOX);
    let (changes, applier) = mpsc::channel(CHANGES);
    let (applied_sender, applied) = watch::channel(Offset(0));
    let committed = parts.loader.image().provenance().last.next();
    let housekeeping = Housekeeping::new(parts.schedule, parts.world.now());
    let thread = ControlThread {
        world: parts.world,
        log: parts.log,
        raft: parts.raft,
        controller: parts.controller,
        loader: parts.loader,
        bootstrap: parts.bootstrap,
        mailbox,
        changes,
        uncommitted: VecDeque::new(),
        asked: VecDeque::new(),
        held: Vec::new(),
        applied,
        committed,
        raft_timer: None,
        controller_timer: None,
        flush: Flush::default(),
        next_reply: 0,
        voters: parts.voters,
        housekeeping,
    };
    (ControlHandle { mailbox: sender, applied: applied_sender }, thread, applier)
}

/// What woke the control thread.
enum Wake {
    Message(Option<Message>),
    Flushed(Offset, io::Result<Option<FlushToken>>),
    Applied,
    Timer,
}

impl<W: World> ControlThread<W> {
    /// Runs until the node stops or its metadata log fails. `tail` are the batches of the log behind the loader's
    /// image: they count once the quorum says that they are committed.
    pub(crate) async fn run(mut self, start: Event, tail: Vec<Batch>) -> Result<(), ControlError> {
        self.uncommitted.extend(tail);
        self.step(start).await?;
        loop {
            self.start_flush()?;
            match self.wake().await {
                Wake::Message(None) => return Ok(()),
                Wake::Message(Some(Message::Ask { request, answer })) => self.ask(*request, answer).await?,
                Wake::Message(Some(Message::DescribeQuorum(answer))) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.quorum());
                }
                Wake::Applied => self.release(),
                Wake::Message(Some(Message::Stop(done))) => {
                    self.log.close()?;
                    let _ = done.send(());
                    return Ok(());
                }
                Wake::Flushed(end, result) => {
                    if let Some(token) = result? {
                        self.log.flushed(self.world.now(), token);
                    }
                    self.step(Event::Flushed { end }).await?;
                }
                Wake::Timer => self.timers().await?,
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let timers = self.raft_timer.into_iter().chain(self.controller_timer);
        let next = timers.fold(self.housekeeping.look_at, Millis::min);
        let timer = sleep(Duration::from_millis((next - self.world.now()).0.max(0) as u64));
        let flushed = async {
            match &mut self.flush.running {
                Some((end, done)) => (*end, done.await.unwrap_or_else(|_| Err(io::Error::other("the flush was lost")))),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            (end, result) = flushed => {
                self.flush.running = None;
                Wake::Flushed(end, result)
            }
            Ok(()) = self.applied.changed() => Wake::Applied,
            message = self.mailbox.recv() => Wake::Message(message),
            () = timer => Wake::Timer,
        }
    }

    fn quorum(&self) -> Option<Quorum> {
        Some(Quorum {
            epoch: self.raft.leading()?,
            leader: self.raft.leader()?,
            high_watermark: self.raft.high_watermark(),
            log_end: self.raft.log_end(),
            voters: self.raft.voters().to_vec(),
        })
    }

    async fn timers(&mut self) -> Result<(), ControlError> {
        let now = self.world.now();
        if self.raft_timer.is_some_and(|at| at <= now) {
            self.raft_timer = None;
            self.step(Event::Tick).await?;
        }
        if self.controller_timer.is_some_and(|at| at <= now) {
            self.controller_timer = None;
            self.decide(controller::Event::Tick).await?;
        }
        if self.housekeeping.look_at <= now {
            self.keep_house().await?;
        }
        Ok(())
    }

    async fn ask(&mut self, request: Request, answer: oneshot::Sender<Response>) -> Result<(), ControlError> {
        let reply_to = controller::ReplyTo(self.next_reply);
        self.next_reply += 1;
        let own = matches!(
            request,
            Request::RegisterBroker(_) | Request::BrokerHeartbeat(_) | Request::AllocateProducerIds(_)
        );
        self.asked.push_back((reply_to, answer, !own));
        let random = Random::from_seed(u64::from_be_bytes(std::array::from_fn(|at| self.world.random()[at])));
        self.decide(controller::Event::Request { reply_to, request, random }).await
    }

    /// Lets the controller decide, appends what it decided, and keeps its answers until that is committed.
    async fn decide(&mut self, event: controller::Event) -> Result<(), ControlError> {
        let now = self.world.now();
        let Decision { records, replies, effects } = self.controller.handle(now, event);
        for controller::Effect::Timer(at) in effects {
            self.controller_timer = Some(at);
        }
        if !records.is_empty() {
            let epoch = self.raft.leading().expect("an active controller leads the quorum");
            let base = self.raft.log_end();
            for (record, delta) in records.iter().zip(0..) {
                self.controller.replay(base + delta, record)?;
            }
            let bytes = records::encode_data(base, epoch, now, &records);
            self.housekeeping.schedule.wrote(bytes.len() as u64);
            self.log.append(&bytes, now)?;
            let entries = records.into_iter().map(Entry::Data).collect();
            let batch = Batch { base, epoch, timestamp: now, entries };
            let end = batch.end();
            self.uncommitted.push_back(batch);
            self.step(Event::Appended { epoch, base, end, voters: None }).await?;
        }
        let until = self.raft.log_end();
        for (to, response) in replies {
            let Some(at) = self.asked.iter().position(|(reply_to, ..)| *reply_to == to) else { continue };
            let Some((_, answer, applied)) = self.asked.remove(at) else { continue };
            self.held.push(Held { until, applied, answer, response });
        }
        self.release();
        Ok(())
    }

    /// One event for the quorum, and everything that follows from it.
    async fn step(&mut self, event: Event) -> Result<(), ControlError> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.raft.step(self.world.now(), event) {
                if let Some(confirmation) = self.effect(effect).await? {
                    events.push_back(confirmation);
                }
            }
        }
        Ok(())
    }

    async fn effect(&mut self, effect: Effect) -> Result<Option<Event>, ControlError> {
        match effect {
            Effect::Persist(state) => self.log.persist(&*self.world, &state).await?,
            Effect::Append(bytes) => return self.append_control(bytes).map(Some),
            Effect::Flush => self.flush.wanted = true,
            Effect::Timer(at) => self.raft_timer = Some(at),
            Effect::HighWatermark(offset) => return self.commit(offset).await,
            Effect::BecameLeader { epoch } => self.activate(epoch).await?,
            Effect::Resigned => {
                Box::pin(self.decide(controller::Event::Resigned)).await?;
            }
            Effect::LeaderChanged { leader, epoch } => info!(?leader, %epoch, "quorum leader"),
            Effect::Truncate { end } => {
                self.uncommitted.retain(|batch| batch.end() <= end);
                self.log.truncate(end, self.world.now())?;
                return Ok(Some(Event::Truncated { end }));
            }
            // A quorum of other or more voters is refused at the start.
            Effect::AppendFetched(_) | Effect::Send { .. } | Effect::Reply { .. } | Effect::SnapshotChunk { .. } => {
                unreachable!("a quorum of one voter has no peers")
            }
        }
        Ok(None)
    }

    fn append_control(&mut self, bytes: bytes::Bytes) -> Result<Event, ControlError> {
        self.log.append(&bytes, self.world.now())?;
        self.housekeeping.schedule.wrote(bytes.len() as u64);
        let mut batches = records::decode(&bytes)?;
        let batch = batches.pop().filter(|_| batches.is_empty()).expect("the quorum appends one batch at a time");
        let voters = batch.entries.iter().find_map(|entry| match entry {
            Entry::Control(Control::Voters(voters)) => Some(voters.clone()),
            _ => None,
        });
        let appended = Event::Appended { epoch: batch.epoch, base: batch.base, end: batch.end(), voters };
        self.uncommitted.push_back(batch);
        Ok(appended)
    }

    async fn activate(&mut self, epoch: LeaderEpoch) -> Result<(), ControlError> {
        let image = self.loader.image().clone();
        let log_end = self.raft.log_end();
        let bootstrap = std::mem::take(&mut self.bootstrap);
        info!(%epoch, %log_end, "controller is active");
        let open_transaction = self.loader.has_open_transaction();
        let activated = controller::Event::Activated { epoch, image, log_end, bootstrap, open_transaction };
        Box::pin(self.decide(activated)).await
    }

    /// Everything below `offset` is committed: add it to the image and pass it on. Answers what the quorum is to
    /// hear of it.
    async fn commit(&mut self, offset: Offset) -> Result<Option<Event>, ControlError> {
        self.committed = self.committed.max(offset);
        let mut replayed = false;
        while let Some(batch) = self.uncommitted.front().filter(|batch| batch.end() <= offset) {
            self.loader.replay(batch)?;
            self.uncommitted.pop_front();
            replayed = true;
        }
        let mut saved = None;
        if replayed {
            let published = self.loader.publish();
            let _ = self.changes.send(published).await;
            saved = self.maybe_snapshot().await;
        }
        self.release();
        Ok(saved)
    }

    fn release(&mut self) {
        let (committed, applied) = (self.committed, *self.applied.borrow());
        let (ready, held): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held| held.until <= committed && (!held.applied || held.until <= applied));
        self.held = held;
        for Held { answer, response, .. } in ready {
            // Whoever asked may be gone.
            let _ = answer.send(response);
        }
    }

    /// Starts the flush that was asked for, unless one is running: then the next one will do.
    fn start_flush(&mut self) -> Result<(), ControlError> {
        if !self.flush.wanted || self.flush.running.is_some() {
            return Ok(());
        }
        self.flush.wanted = false;
        let end = self.raft.log_end();
        let flush = self.log.prepare_flush()?;
        let (sender, receiver) = oneshot::channel();
        self.flush.running = Some((end, receiver));
        let (world, disk) = (Arc::clone(&self.world), self.log.disk().clone());
        let job = async move {
            let run = move || flush.map(|flush| flush.run(&disk)).transpose();
            let _ = sender.send(on_pool(&*world, run).await);
        };
        self.world.spawn(Place::Control, Box::pin(job));
        Ok(())
    }
}

/// Says why the control thread ended, where it did not end well.
pub(crate) fn report(result: &Result<(), ControlError>) {
    if let Err(failure) = result {
        error!(%failure, "the control thread ended; this node is no use any more");
    }
}
