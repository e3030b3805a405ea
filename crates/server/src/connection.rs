//! One connection from its first byte to its last: read frames, have them answered in order, write answers.
//!
//! Answers keep the order of their requests (trap 7 of Kafka's wire: a later answer never overtakes a long poll).
//! One request is worked on at a time, but for Produce: the next one begins when the former is appended, so that one
//! flush can serve them both ([`Pipeline`]). Requests that arrived together are answered in one write.

mod pipeline;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use milena_protocol::ApiKey;
use tokio::io::AsyncRead;
use tracing::{debug, warn};

use crate::answer::Output;
use crate::dispatch::{Outcome, dispatch};
use crate::frames::{FrameError, Frames, RequestFrame};
use crate::node::Node;
use crate::world::World;
use pipeline::Pipeline;

/// What is known about a connection besides its bytes.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The listener that it came in by.
    pub listener: Arc<str>,
}

/// Serves a connection until it ends. Never panics whatever the peer sends.
pub async fn run<W: World>(node: Arc<Node<W>>, stream: W::Stream, peer: Peer) {
    let mut connection = Connection {
        node: &node,
        peer: &peer,
        frames: Frames::new(node.settings.request_bytes_max, node.settings.connection_idle_max),
        output: Output::new(node.settings.connection_idle_max),
        pipeline: Pipeline::default(),
        stream,
    };
    let end = tokio::select! {
        biased;
        end = connection.serve() => end,
        () = node.stopping() => return,
    };
    match end {
        End::Peer(FrameError::Closed | FrameError::Idle | FrameError::Io(_)) => {
            debug!(peer = %peer.address, ?end, "connection closed");
        }
        End::Peer(_) | End::Refused(_) => {
            if let Some(unsaid) = node.offenders.say(peer.address.ip(), node.world.now()) {
                warn!(peer = %peer.address, reason = %end, unsaid, "connection refused");
            }
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The peer, or the way to it.
    #[error(transparent)]
    Peer(#[from] FrameError),
    /// We did not want to go on.
    #[error("{0}")]
    Refused(String),
}

/// A connection at work.
struct Connection<'a, W: World> {
    node: &'a Arc<Node<W>>,
    peer: &'a Peer,
    stream: W::Stream,
    frames: Frames,
    output: Output,
    /// Requests that are done, and whose answers are not ready.
    pipeline: Pipeline<W::Disk>,
}

impl<W: World> Connection<'_, W> {
    async fn serve(&mut self) -> End {
        loop {
            let frame = match self.next_frame().await {
                Ok(frame) => frame,
                // Answers to earlier requests still belong to the peer, also if it sends no more.
                Err(end) => return self.finish().await.err().unwrap_or(end),
            };
            if let Err(end) = self.begin(frame).await {
                return end;
            }
        }
    }

    /// The next frame. Answers that get ready before it comes are sent; before anything is waited for, everything
    /// collected is written.
    async fn next_frame(&mut self) -> Result<RequestFrame, End> {
        loop {
            while let Some(outcome) = self.pipeline.ready().await {
                self.send(outcome).await?;
            }
            let has_room = self.pipeline.has_room();
            if has_room && let Some(frame) = self.frames.arrived()? {
                return Ok(frame);
            }
            self.write().await?;
            let Connection { node, stream, frames, output, pipeline, .. } = self;
            let outcome = tokio::select! {
                biased;
                outcome = pipeline.next() => outcome,
                frame = frames.next(stream, &node.account, || output.shrink()), if has_room => return Ok(frame?),
            };
            self.send(outcome).await?;
        }
    }

    /// Has a request done. Its answer is sent, or waits behind others.
    async fn begin(&mut self, frame: RequestFrame) -> Result<(), End> {
        let (key, size_bytes) = (key(&frame.bytes), frame.bytes.len());
        if key != Some(ApiKey::Produce) {
            self.send_all().await?;
        }
        let mut doing = pin!(dispatch(self.node, self.peer, frame.bytes));
        let outcome = match at_once(doing.as_mut()).await {
            Some(outcome) => outcome,
            None => {
                self.write().await?;
                match key.is_some_and(may_wait_long) {
                    true => wait_for(doing, &mut self.stream, &mut self.frames).await?,
                    false => self.send_while(doing).await?,
                }
            }
        };
        drop(frame.reservation);
        match outcome {
            Outcome::Later(later) => self.pipeline.push(later, size_bytes),
            Outcome::Silence => {}
            outcome if self.pipeline.is_empty() => self.send(outcome).await?,
            Outcome::Close(reason) => {
                self.send_all().await?;
                self.send(Outcome::Close(reason)).await?;
            }
            outcome @ Outcome::Answer(_) => self.pipeline.push(Box::pin(async { outcome }), size_bytes),
        }
        Ok(())
    }

    /// Sends answers to earlier requests while one is being done. What the peer has sent is done, also if it went
    /// away since.
    async fn send_while(&mut self, doing: impl Future<Output = Outcome<W::Disk>>) -> Result<Outcome<W::Disk>, End> {
        let mut doing = pin!(doing);
        loop {
            let earlier = tokio::select! {
                biased;
                outcome = &mut doing => return Ok(outcome),
                earlier = self.pipeline.next() => earlier,
            };
            self.send(earlier).await?;
            self.write().await?;
        }
    }

    /// Waits until every request so far is answered.
    async fn send_all(&mut self) -> Result<(), End> {
        while !self.pipeline.is_empty() {
            let outcome = match self.pipeline.ready().await {
                Some(outcome) => outcome,
                None => {
                    self.write().await?;
                    self.pipeline.next().await
                }
            };
            self.send(outcome).await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), End> {
        self.send_all().await?;
        self.write().await
    }

    /// Sends an answer, or does what else became of a request.
    async fn send(&mut self, outcome: Outcome<W::Disk>) -> Result<(), End> {
        match outcome {
            Outcome::Answer(answer) => {
                let sent = self.output.send(&*self.node.world, &mut self.stream, answer).await;
                sent.map_err(|error| FrameError::Io(error).into())
            }
            Outcome::Silence => Ok(()),
            Outcome::Close(reason) => {
                self.write().await?;
                Err(End::Refused(reason))
            }
            Outcome::Later(later) => {
                self.pipeline.push(later, 0);
                Ok(())
            }
        }
    }

    /// Writes everything collected so far.
    async fn write(&mut self) -> Result<(), End> {
        self.output.flush(&mut self.stream).await.map_err(|error| FrameError::Io(error).into())
    }
}

/// What a future has to say without being waited for.
async fn at_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn key(frame: &[u8]) -> Option<ApiKey> {
    let number = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    number.and_then(ApiKey::from_number)
}

/// Whether a request waits for what others do: then there is no use in it once its peer is gone.
fn may_wait_long(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
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
