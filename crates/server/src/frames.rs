//! Cuts a connection's byte stream into frames, with as many frames per read as have arrived, and memory that
//! follows the traffic: small while idle, as large as a frame while one comes in.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::account::{Account, FREE_BYTES, Reservation, Reserving};

/// What an idle connection keeps.
const IDLE_BUFFER_BYTES: usize = 4 * 1024;
/// After this long without a byte, a large buffer is given back.
const SHRINK_AFTER: Duration = Duration::from_millis(500);
/// A frame that has begun must go on by [`PACE_BYTES`], or to its end, in this time: its sender may hold memory that
/// others wait for.
const PACE: Duration = Duration::from_secs(10);
/// See [`PACE`]; together some 100 KB/s.
const PACE_BYTES: usize = 1 << 20;
/// Size field before every frame.
const SIZE_BYTES: usize = 4;

/// Why no further frame comes.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed, between two frames.
    #[error("closed by the peer")]
    Closed,
    /// The peer closed inside a frame.
    #[error("closed by the peer in the middle of a frame")]
    Cut,
    /// The size field is negative or above the limit.
    #[error("a frame of {size_bytes} bytes is not allowed (at most {size_bytes_max})")]
    Size {
        /// What the size field says.
        size_bytes: i32,
        /// `socket.request.max.bytes`.
        size_bytes_max: usize,
    },
    /// Nothing came for too long between two frames.
    #[error("idle for too long")]
    Idle,
    /// A frame that had begun went on too slowly.
    #[error("a frame comes in too slowly (less than 1 MiB, and not its end, in 10 s)")]
    Slow,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FrameError {
    /// Whether the peer left, or was idle as long as it may be: nothing that anybody did wrong.
    pub fn is_usual(&self) -> bool {
        match self {
            FrameError::Closed | FrameError::Cut | FrameError::Idle | FrameError::Io(_) => true,
            FrameError::Size { .. } | FrameError::Slow => false,
        }
    }
}

/// A frame without its size field, and the memory reserved for it.
#[derive(Debug)]
pub struct RequestFrame {
    /// The header and the message.
    pub bytes: Bytes,
    /// Held until the frame is no longer needed.
    pub reservation: Option<Reservation>,
}

/// The reading half of a connection.
pub struct Frames {
    buffer: BytesMut,
    size_bytes_max: usize,
    idle_max: Duration,
    /// Size of the last frame: the next one is likely to be as large, and is then read in one go.
    likely_bytes: usize,
    /// Memory for the frame that comes in, or its place in the queue for it.
    reserving: Option<Reserving>,
}

impl Frames {
    /// Frames of at most `size_bytes_max`; a silence of `idle_max` between frames ends the connection.
    pub fn new(size_bytes_max: usize, idle_max: Duration) -> Frames {
        Frames { buffer: BytesMut::new(), size_bytes_max, idle_max, likely_bytes: 0, reserving: None }
    }

    /// The next frame if it has arrived already.
    pub fn arrived(&mut self) -> Result<Option<RequestFrame>, FrameError> {
        match self.announced()? {
            Some(size) if self.buffer.len() >= SIZE_BYTES + size && size <= FREE_BYTES => {
                Ok(Some(RequestFrame { bytes: self.cut(size), reservation: None }))
            }
            _ => Ok(None),
        }
    }

    /// Waits for the next frame; `idle` is called when none came for a while. Whoever stops to wait may ask again:
    /// neither bytes, nor memory, nor the place in the queue for memory is lost.
    pub async fn next<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        account: &Account,
        mut idle: impl FnMut(),
    ) -> Result<RequestFrame, FrameError> {
        while self.buffer.len() < SIZE_BYTES {
            self.fill_between(stream, &mut idle).await?;
        }
        let size = self.announced()?.expect("the size field is there");
        let reserving = self.reserving.get_or_insert_with(|| account.reserve(size));
        reserving.granted().await;
        self.buffer.reserve((SIZE_BYTES + size).saturating_sub(self.buffer.len()));
        while self.buffer.len() < SIZE_BYTES + size {
            let goal = (self.buffer.len() + PACE_BYTES).min(SIZE_BYTES + size);
            let paced = timeout(PACE.min(self.idle_max), self.fill_to(stream, goal)).await;
            paced.map_err(|_| FrameError::Slow)??;
        }
        let reservation = self.reserving.take().and_then(Reserving::into_reservation);
        Ok(RequestFrame { bytes: self.cut(size), reservation })
    }

    async fn fill_to<S: AsyncRead + Unpin>(&mut self, stream: &mut S, goal: usize) -> Result<(), FrameError> {
        while self.buffer.len() < goal {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(FrameError::Cut);
            }
        }
        Ok(())
    }

    /// Reads ahead while a request is being answered, to notice that the peer is gone. Reads no further once
    /// the buffer is as large as an idle one: then the peer is certainly there.
    pub async fn watch<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> FrameError {
        loop {
            if self.buffer.len() >= IDLE_BUFFER_BYTES {
                std::future::pending::<()>().await;
            }
            self.buffer.reserve(IDLE_BUFFER_BYTES);
            match stream.read_buf(&mut self.buffer).await {
                Ok(0) => return FrameError::Closed,
                Ok(_) => {}
                Err(error) => return FrameError::Io(error),
            }
        }
    }

    /// The size that the next frame announces, once its size field is here.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(size) = self.buffer.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
        let claimed = i32::from_be_bytes(*size);
        match usize::try_from(claimed) {
            Ok(size) if size <= self.size_bytes_max => Ok(Some(size)),
            _ => Err(FrameError::Size { size_bytes: claimed, size_bytes_max: self.size_bytes_max }),
        }
    }

    fn cut(&mut self, size: usize) -> Bytes {
        self.likely_bytes = SIZE_BYTES + size;
        let mut frame = self.buffer.split_to(SIZE_BYTES + size).freeze();
        frame.split_off(SIZE_BYTES)
    }

    /// One read while no size field is complete.
    async fn fill_between<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        idle: &mut impl FnMut(),
    ) -> Result<(), FrameError> {
        self.buffer.reserve(self.likely_bytes.clamp(IDLE_BUFFER_BYTES, FREE_BYTES));
        let shrink_after = SHRINK_AFTER.min(self.idle_max);
        let read = match timeout(shrink_after, stream.read_buf(&mut self.buffer)).await {
            Ok(read) => read?,
            Err(_) => {
                self.shrink();
                idle();
                let left = self.idle_max - shrink_after;
                timeout(left, stream.read_buf(&mut self.buffer)).await.map_err(|_| FrameError::Idle)??
            }
        };
        match (read, self.buffer.is_empty()) {
            (0, true) => Err(FrameError::Closed),
            (0, false) => Err(FrameError::Cut),
            _ => Ok(()),
        }
    }

    fn shrink(&mut self) {
        let mut small = BytesMut::with_capacity(IDLE_BUFFER_BYTES);
        small.extend_from_slice(&self.buffer);
        self.likely_bytes = 0;
        self.buffer = small;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn frames() -> Frames {
        Frames::new(1 << 20, Duration::from_secs(60))
    }

    #[tokio::test]
    async fn frames_that_arrive_together_are_cut_apart() {
        let (mut near, mut far) = duplex(1024);
        far.write_all(&[0, 0, 0, 1, 7, 0, 0, 0, 2, 8, 9]).await.expect("room");
        let (mut frames, account) = (frames(), Account::new(0));
        assert_eq!(frames.next(&mut near, &account, || ()).await.expect("a frame").bytes.as_ref(), [7]);
        assert_eq!(frames.arrived().expect("valid").expect("here already").bytes.as_ref(), [8, 9]);
        assert!(frames.arrived().expect("valid").is_none());
    }

    #[tokio::test]
    async fn whoever_stops_to_wait_for_a_frame_loses_neither_bytes_nor_memory() {
        let size = FREE_BYTES + 1;
        let account = Account::new(size);
        let taken = account.reserve(size).reservation().await;
        let (mut near, mut far) = duplex(2 * size);
        far.write_all(&(size as u32).to_be_bytes()).await.expect("room");
        let mut frames = frames();
        let mut other = account.reserve(size);
        for _ in 0..3 {
            let waited = tokio::time::timeout(Duration::from_millis(1), frames.next(&mut near, &account, || ())).await;
            assert!(waited.is_err(), "no memory is left");
            // Comes behind the frame, which keeps its place.
            assert!(tokio::time::timeout(Duration::from_millis(1), other.granted()).await.is_err());
        }
        drop(taken);
        far.write_all(&vec![7; size - 1]).await.expect("room");
        let waited = tokio::time::timeout(Duration::from_millis(1), frames.next(&mut near, &account, || ())).await;
        assert!(waited.is_err(), "the last byte is missing");
        far.write_all(&[7]).await.expect("room");
        let frame = frames.next(&mut near, &account, || ()).await.expect("a frame");
        assert_eq!((frame.bytes.len(), frame.reservation.is_some()), (size, true));
    }

    #[tokio::test]
    async fn a_size_beyond_the_limit_ends_the_connection() {
        for size in [-1, (1 << 20) + 1, i32::MAX] {
            let (mut near, mut far) = duplex(1024);
            far.write_all(&i32::to_be_bytes(size)).await.expect("room");
            let error = frames().next(&mut near, &Account::new(0), || ()).await.expect_err("not allowed");
            assert!(matches!(error, FrameError::Size { size_bytes, .. } if size_bytes == size));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_trickles_in_is_cut_off() {
        let (mut near, mut far) = duplex(1024);
        far.write_all(&[0, 8, 0, 0]).await.expect("room");
        let trickle = tokio::spawn(async move {
            while far.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let error = frames().next(&mut near, &Account::new(0), || ()).await.expect_err("too slow");
        assert!(matches!(error, FrameError::Slow));
        drop(near);
        trickle.await.expect("the sender notices");
    }

    #[tokio::test(start_paused = true)]
    async fn trap_13_a_silence_ends_the_connection_between_two_frames_and_each_frame_begins_it_anew() {
        let (mut near, mut far) = duplex(1024);
        let (mut frames, account) = (frames(), Account::new(0));
        let started = tokio::time::Instant::now();
        let sender = tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(59)).await;
                far.write_all(&[0, 0, 0, 1, 7]).await.expect("still open");
            }
            far
        });
        for _ in 0..3 {
            assert_eq!(frames.next(&mut near, &account, || ()).await.expect("a frame").bytes.as_ref(), [7]);
        }
        let error = frames.next(&mut near, &account, || ()).await.expect_err("silence");
        assert!(matches!(error, FrameError::Idle));
        let silent_ms = started.elapsed().as_millis() - 3 * 59_000;
        assert!((60_000..60_100).contains(&silent_ms), "{silent_ms}");
        drop(sender);
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_sent_frame_does_not_stay_for_ever() {
        let (mut near, mut far) = duplex(1024);
        far.write_all(&[0, 0, 0, 9, 1]).await.expect("room");
        let error = frames().next(&mut near, &Account::new(0), || ()).await.expect_err("it stalls");
        assert!(matches!(error, FrameError::Slow));
    }
}
