//! One connection from its first byte to its last: read frames, have them answered in order, write answers.
//!
//! One request is worked on at a time, so answers keep the order of their requests (trap 7 of Kafka's wire: a
//! later answer never overtakes a long poll). Only consecutive Produce requests overlap: the next is appended while
//! the records of the former are on their way to the device ([`Pipeline`]). Requests that arrived together are
//! answered in one write, until the connection has had its share of the core ([`share`]).
//!
//! A request that only reads is dropped when its peer is gone, with the memory that it holds and its place in every
//! queue. What the peer had sent behind it is done where it writes.

use std::future::{Future, poll_fn, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use milena_base::Disk;
use milena_protocol::ApiKey;
use tokio::io::AsyncRead;
use tokio::task::coop::{has_budget_remaining, unconstrained};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::answer::{Output, SendError};
use crate::connections::Place;
use crate::dispatch::{Outcome, Progress, dispatch, grows};
use crate::frames::{FrameError, Frames, RequestFrame};
use crate::node::Node;
use crate::pipeline::Pipeline;
use crate::quotas::Measure;
use crate::share;
use crate::software::PeerSoftware;
use crate::throttle::Throttle;
use crate::world::World;

/// What is known about a connection besides its bytes.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The listener that it came in by.
    pub listener: Arc<str>,
    /// What the program at the other end is, as far as it said so.
    pub software: PeerSoftware,
}

/// Serves a connection until it ends. Never panics whatever the peer sends.
pub(crate) async fn run<W: World>(node: Arc<Node<W>>, stream: W::Stream, peer: Peer, place: Place) {
    let frames = Frames::new(node.settings.request_bytes_max, node.settings.connection_idle_max);
    let output = Output::new(node.settings.connection_idle_max);
    let mut connection = Connection {
        node: Arc::clone(&node),
        peer,
        place,
        stream,
        frames,
        output,
        pipeline: Pipeline::new(),
        throttle: Throttle::new(),
        is_gone: false,
    };
    let end = tokio::select! {
        biased;
        end = connection.serve() => end,
        () = node.stopping() => return,
    };
    let peer = connection.peer.address;
    if end.is_usual() {
        debug!(%peer, ?end, "connection closed");
    } else if let Some(unsaid) = node.offenders.say(peer.ip(), node.world.now()) {
        warn!(%peer, reason = %end, unsaid, "connection cut off");
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// No further request comes.
    #[error(transparent)]
    Receiving(#[from] FrameError),
    /// The answers do not reach the peer.
    #[error(transparent)]
    Sending(#[from] SendError),
    /// We did not want to go on.
    #[error("{0}")]
    Refused(String),
    /// Others have its place.
    #[error("it had to go: its listener is closed, or the broker's connections are too many")]
    SentAway,
}

impl End {
    /// Whether it was the peer that left. Otherwise we ended it, and say so.
    fn is_usual(&self) -> bool {
        match self {
            End::Receiving(error) => error.is_usual(),
            End::Sending(error) => matches!(error, SendError::Peer(_)),
            End::Refused(_) => false,
            End::SentAway => true,
        }
    }
}

/// A connection with what came in and what has to go out.
struct Connection<W: World> {
    node: Arc<Node<W>>,
    peer: Peer,
    place: Place,
    stream: W::Stream,
    frames: Frames,
    output: Output,
    pipeline: Pipeline<W::Disk>,
    /// What its requests cost, where that is measured.
    throttle: Throttle,
    /// The peer went away while it was worked for. What it had sent before is still done where it writes.
    is_gone: bool,
}

/// What a connection that waits meets first.
enum Next<D: Disk> {
    Answered(Outcome<D>),
    Arrived(Result<RequestFrame, FrameError>),
    SentAway,
}

impl<W: World> Connection<W> {
    async fn serve(&mut self) -> End {
        loop {
            let taken = match self.next_frame().await {
                Ok(frame) => self.take(frame).await,
                Err(end) => Err(end),
            };
            if let Err(end) = taken {
                // What was appended is still answered; whoever is gone does not hear it.
                if self.settle_all().await.is_ok() {
                    let _ = self.flush().await;
                }
                return end;
            }
        }
    }

    /// The next frame that may be looked at. Meanwhile answers leave as they become known.
    async fn next_frame(&mut self) -> Result<RequestFrame, End> {
        loop {
            while let Some(outcome) = self.pipeline.finished().await {
                self.settle(outcome).await?;
            }
            if self.pipeline.has_room()
                && let Some(frame) = self.frames.arrived()?
            {
                return Ok(frame);
            }
            self.flush().await?;
            match self.wait().await {
                Next::Answered(outcome) => self.settle(outcome).await?,
                Next::Arrived(frame) => {
                    self.place.asked();
                    return Ok(frame?);
                }
                Next::SentAway => return Err(End::SentAway),
            }
        }
    }

    async fn wait(&mut self) -> Next<W::Disk> {
        let Connection { node, place, stream, frames, output, pipeline, .. } = self;
        let has_room = pipeline.has_room();
        tokio::select! {
            biased;
            outcome = pipeline.first() => Next::Answered(outcome),
            () = place.told_to_go() => Next::SentAway,
            frame = frames.next(stream, &node.memory.frames, || output.shrink()), if has_room => Next::Arrived(frame),
        }
    }

    /// Has a frame answered. Nothing but another Produce overtakes what still waits.
    async fn take(&mut self, frame: RequestFrame) -> Result<(), End> {
        let key = key_of(&frame.bytes);
        if self.is_gone && key.is_some_and(only_reads) {
            return Ok(());
        }
        if key != Some(ApiKey::Produce) {
            self.settle_all().await?;
        }
        let size_bytes = frame.bytes.len();
        let progress = self.dispatch(frame.bytes, key).await?;
        drop(frame.reservation);
        let mut handled_bytes = size_bytes;
        match progress {
            Progress::Done(outcome) => {
                handled_bytes += outcome.memory_bytes();
                match self.pipeline.is_empty() {
                    true => self.settle(outcome).await?,
                    false => self.pipeline.push(Box::pin(ready(outcome)), size_bytes),
                }
            }
            Progress::Appended(later) => self.pipeline.push(later, size_bytes),
        }
        if let Some(delay) = self.throttle.take_delay() {
            self.rest(Instant::now() + delay).await?;
        }
        self.draw(share::units_of(handled_bytes)).await
    }

    /// A throttled client has its answers at once, and is not read until its time is up (KIP-219).
    async fn rest(&mut self, until: Instant) -> Result<(), End> {
        self.settle_all().await?;
        self.flush().await?;
        let Connection { stream, frames, is_gone, .. } = self;
        tokio::select! {
            biased;
            () = sleep_until(until) => {}
            // What it has sent before is still done.
            _ = frames.watch(stream), if !*is_gone => *is_gone = true,
        }
        Ok(())
    }

    /// Draws on the connection's share of its core. When that is used up, what is owed leaves first, then others have
    /// their turn.
    async fn draw(&mut self, units: usize) -> Result<(), End> {
        for _ in 0..units {
            if !has_budget_remaining() {
                unconstrained(self.flush()).await?;
            }
            share::unit().await;
        }
        Ok(())
    }

    /// Whatever is answered at once costs no system call of its own; whatever is not, first lets out what is known.
    async fn dispatch(&mut self, frame: Bytes, key: Option<ApiKey>) -> Result<Progress<W::Disk>, End> {
        let Connection { node, peer, stream, frames, output, throttle, is_gone, .. } = self;
        let is_measured = node.quotas.is_active(Measure::Time);
        let mut pending = pin!(throttle.measure(is_measured, dispatch(node, peer, throttle, frame)));
        let at_once = poll_fn(|context| match pending.as_mut().poll(context) {
            Poll::Ready(progress) => Poll::Ready(Some(progress)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(progress) = at_once.await {
            return Ok(progress);
        }
        match output.flush(&node.memory.answers, stream).await {
            Err(SendError::Peer(_)) if *is_gone => {}
            sent => sent?,
        }
        if !key.is_some_and(|key| only_reads(key) || waits_for_others(key)) {
            // What the peer has sent is done, also if it went away since.
            return Ok(pending.await);
        }
        match wait_for(pending, stream, frames).await {
            Ok(progress) => Ok(progress),
            Err(_) => {
                *is_gone = true;
                Ok(Progress::Done(Outcome::Silence))
            }
        }
    }

    /// Waits until everything that was asked is answered.
    async fn settle_all(&mut self) -> Result<(), End> {
        while !self.pipeline.is_empty() {
            let outcome = self.pipeline.first().await;
            self.settle(outcome).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, outcome: Outcome<W::Disk>) -> Result<(), End> {
        match outcome {
            Outcome::Answer(answer) => {
                let Connection { node, stream, output, throttle, .. } = self;
                let payer = throttle.take_payer();
                let sent = throttle.measure(payer.is_some(), output.send(node, stream, answer)).await;
                if let Some(client_id) = payer {
                    // Sending costs as well, and counts for the requests to come.
                    node.quotas.count_time(&client_id, throttle.take_spent());
                }
                self.unless_gone(sent)
            }
            Outcome::Silence => Ok(()),
            Outcome::Close(reason) => {
                // Answers to earlier requests still belong to the peer.
                self.flush().await?;
                Err(End::Refused(reason))
            }
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        let sent = self.output.flush(&self.node.memory.answers, &mut self.stream).await;
        self.unless_gone(sent)
    }

    /// An answer that does not reach a peer that is gone keeps nothing from being done.
    fn unless_gone(&self, sent: Result<(), SendError>) -> Result<(), End> {
        match sent {
            Err(SendError::Peer(_)) if self.is_gone => Ok(()),
            sent => Ok(sent?),
        }
    }
}

fn key_of(frame: &[u8]) -> Option<ApiKey> {
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    key.and_then(ApiKey::from_number)
}

/// Whether a request waits for what others do: then there is no use in it once its peer is gone.
fn waits_for_others(key: ApiKey) -> bool {
    matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// Whether a request only reads: then there is no use in it once its peer is gone.
fn only_reads(key: ApiKey) -> bool {
    let is_short = matches!(
        key,
        ApiKey::Fetch
            | ApiKey::FindCoordinator
            | ApiKey::ApiVersions
            | ApiKey::DescribeCluster
            | ApiKey::DescribeQuorum
    );
    is_short || grows(key)
}

/// Waits for an answer, and gives up when the peer is gone.
async fn wait_for<T>(
    pending: impl Future<Output = T>,
    stream: &mut (impl AsyncRead + Unpin),
    frames: &mut Frames,
) -> Result<T, FrameError> {
    tokio::select! {
        biased;
        outcome = pending => Ok(outcome),
        gone = frames.watch(stream) => Err(gone),
    }
}
