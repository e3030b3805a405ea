//! One connection from its first byte to its last: read frames, have them answered in order, write answers.
//!
//! One request is worked on at a time, so answers keep the order of their requests (trap 7 of Kafka's wire: a
//! later answer never overtakes a long poll). Requests that arrived together are answered in one write.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use milena_protocol::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, warn};

use crate::answer::{Answer, Output};
use crate::dispatch::{Outcome, dispatch};
use crate::frames::{FrameError, Frames, RequestFrame};
use crate::node::Node;
use crate::world::World;

/// What is known about a connection besides its bytes.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The listener that it came in by.
    pub listener: Arc<str>,
}

/// Serves a connection until it ends. Never panics whatever the peer sends.
pub async fn run<W: World>(node: Arc<Node<W>>, mut stream: W::Stream, peer: Peer) {
    let mut frames = Frames::new(node.settings.request_bytes_max, node.settings.connection_idle_max);
    let mut output = Output::new(node.settings.connection_idle_max);
    let end = tokio::select! {
        biased;
        end = serve(&node, &mut stream, &peer, &mut frames, &mut output) => end,
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

async fn serve<W: World>(
    node: &Arc<Node<W>>,
    stream: &mut W::Stream,
    peer: &Peer,
    frames: &mut Frames,
    output: &mut Output,
) -> End {
    loop {
        let frame = match next_frame(node, stream, frames, output).await {
            Ok(frame) => frame,
            Err(error) => return error.into(),
        };
        match answer_one(node, stream, peer, frames, output, frame).await {
            Ok(()) => {}
            Err(end) => return end,
        }
    }
}

/// A frame that is here already, or, after everything collected was written, the next one to come.
async fn next_frame<W: World>(
    node: &Arc<Node<W>>,
    stream: &mut W::Stream,
    frames: &mut Frames,
    output: &mut Output,
) -> Result<RequestFrame, FrameError> {
    if let Some(frame) = frames.arrived()? {
        return Ok(frame);
    }
    output.flush(stream).await?;
    frames.next(stream, &node.account, || output.shrink()).await
}

async fn answer_one<W: World>(
    node: &Arc<Node<W>>,
    stream: &mut W::Stream,
    peer: &Peer,
    frames: &mut Frames,
    output: &mut Output,
    frame: RequestFrame,
) -> Result<(), End> {
    let is_long_poll = may_wait_long(&frame.bytes);
    let mut pending = pin!(dispatch(node, peer, frame.bytes));
    let at_once = poll_fn(|context| match pending.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => Poll::Ready(None),
    });
    let outcome = match at_once.await {
        Some(outcome) => outcome,
        None => {
            output.flush(stream).await.map_err(FrameError::Io)?;
            match is_long_poll {
                true => wait_for(pending, stream, frames).await?,
                // What the peer has sent is done, also if it went away since.
                false => pending.await,
            }
        }
    };
    drop(frame.reservation);
    match outcome {
        Outcome::Answer(answer) => send(node, stream, output, answer).await,
        Outcome::Silence => Ok(()),
        Outcome::Close(reason) => {
            // Answers to earlier requests still belong to the peer.
            output.flush(stream).await.map_err(FrameError::Io)?;
            Err(End::Refused(reason))
        }
    }
}

/// Whether a request waits for what others do: then there is no use in it once its peer is gone.
fn may_wait_long(frame: &[u8]) -> bool {
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    key.and_then(ApiKey::from_number)
        .is_some_and(|key| matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup))
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

async fn send<W: World, S: AsyncWrite + Unpin>(
    node: &Arc<Node<W>>,
    stream: &mut S,
    output: &mut Output,
    answer: Answer<W::Disk>,
) -> Result<(), End> {
    output.send(&*node.world, stream, answer).await.map_err(|error| FrameError::Io(error).into())
}
