//! Turns answers into bytes on a socket: pieces of memory as they are, ranges of files through one reused
//! buffer. Warm pages are read at once; only what would wait for the disk goes to the pool. Memory that a slow reader
//! keeps is counted, see [`crate::answers`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_base::{Disk, DiskFile};
use milena_protocol::wire::Segment;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::answers::{Answers, BufferRoom, Room};
use crate::node::Node;
use crate::world::{World, on_pool};

/// Output is collected up to this size before it is written, as long as there is room for answers.
const OUTPUT_BYTES: usize = 128 * 1024;
/// Up to this size always.
const FREE_OUTPUT_BYTES: usize = 16 * 1024;
/// Whoever holds room while others wait for it must take [`PACE_BYTES`], or all there is, in this time.
const PACE: Duration = Duration::from_secs(10);
/// See [`PACE`]; together some 100 KB/s.
const PACE_BYTES: usize = 1 << 20;
/// What an idle connection keeps of its output buffer.
const IDLE_OUTPUT_BYTES: usize = 4 * 1024;

/// Why an answer was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The peer is gone, or the way to it.
    #[error(transparent)]
    Peer(io::Error),
    /// The peer took nothing for too long.
    #[error("the reader has taken nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The peer took too little while others waited for the memory that its answers hold.
    #[error("the reader is too slow (less than 1 MiB in 10 s), and others wait for memory")]
    Slow,
    /// What had been promised cannot be read.
    #[error("a log segment cannot be read: {0}")]
    Disk(io::Error),
}

/// A range of a log segment, read when the answer is sent.
pub struct FileRange<D: Disk> {
    /// The segment's file; held open until it is sent, even if the segment is deleted meanwhile.
    pub file: Arc<D::File>,
    /// First byte.
    pub position: u64,
    /// How many bytes.
    pub size_bytes: usize,
}

/// An encoded response with what its external segments stand for.
pub struct Answer<D: Disk> {
    /// The frame in pieces.
    pub segments: Vec<Segment>,
    /// The ranges, found by the id of an external segment.
    pub ranges: Vec<FileRange<D>>,
    /// For what is in memory, unless that is little.
    pub room: Option<Room>,
}

impl<D: Disk> Answer<D> {
    /// Bytes that are held in memory.
    pub fn memory_bytes(&self) -> usize {
        let bytes = self.segments.iter().map(|segment| match segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::External(_) => 0,
        });
        bytes.sum()
    }
}

/// The writing half of a connection: collects output and writes it in large pieces.
pub struct Output {
    /// Grows with the answers up to [`OUTPUT_BYTES`] and keeps its size, so that it is not zeroed for each of them.
    buffer: Vec<u8>,
    /// How much of it waits to be written.
    filled: usize,
    /// For a buffer above [`FREE_OUTPUT_BYTES`].
    room: Option<BufferRoom>,
    /// A reader that takes nothing for this long is gone.
    stall_max: Duration,
}

impl Output {
    /// An empty output whose reader may take nothing for `stall_max`.
    pub fn new(stall_max: Duration) -> Output {
        Output { buffer: Vec::new(), filled: 0, room: None, stall_max }
    }

    /// Adds an answer; writes what no longer fits the buffer.
    pub async fn send<W: World, S: AsyncWrite + Unpin>(
        &mut self,
        node: &Node<W>,
        stream: &mut S,
        answer: Answer<W::Disk>,
    ) -> Result<(), SendError> {
        let answers = &node.memory.answers;
        for segment in answer.segments {
            match segment {
                Segment::Bytes(bytes) => self.send_bytes(answers, stream, &bytes, answer.room.is_some()).await?,
                Segment::External(external) => {
                    self.send_range::<W, S>(node, stream, &answer.ranges[external.id]).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_bytes<S: AsyncWrite + Unpin>(
        &mut self,
        answers: &Answers,
        stream: &mut S,
        bytes: &Bytes,
        has_room: bool,
    ) -> Result<(), SendError> {
        if self.filled + bytes.len() > self.capacity(answers, bytes.len()) {
            self.flush(answers, stream).await?;
        }
        if bytes.len() > self.capacity(answers, bytes.len()) {
            return write(stream, bytes, self.stall_max, has_room.then_some(answers)).await;
        }
        self.next(bytes.len()).copy_from_slice(bytes);
        self.filled += bytes.len();
        Ok(())
    }

    /// How large the buffer may become, where `wanted` more bytes are to be added.
    fn capacity(&mut self, answers: &Answers, wanted: usize) -> usize {
        if self.room.is_none() && self.filled + wanted > FREE_OUTPUT_BYTES {
            self.room = answers.try_take_buffer(OUTPUT_BYTES);
        }
        if self.room.is_some() { OUTPUT_BYTES } else { FREE_OUTPUT_BYTES }
    }

    /// The next `wanted` bytes of the buffer.
    fn next(&mut self, wanted: usize) -> &mut [u8] {
        let end = self.filled + wanted;
        if self.buffer.len() < end {
            self.buffer.resize(end.next_power_of_two().clamp(IDLE_OUTPUT_BYTES, OUTPUT_BYTES), 0);
        }
        &mut self.buffer[self.filled..end]
    }

    /// Copies a range into the socket, one buffer at a time.
    async fn send_range<W: World, S: AsyncWrite + Unpin>(
        &mut self,
        node: &Node<W>,
        stream: &mut S,
        range: &FileRange<W::Disk>,
    ) -> Result<(), SendError> {
        let answers = &node.memory.answers;
        let mut sent = 0;
        while sent < range.size_bytes {
            let capacity = self.capacity(answers, range.size_bytes - sent);
            if self.filled >= capacity {
                self.flush(answers, stream).await?;
                // One reader of a large range must not keep its core from everybody else on it.
                yield_now().await;
            }
            let wanted = (range.size_bytes - sent).min(capacity - self.filled);
            let position = range.position + sent as u64;
            let cached = range.file.read_cached_at(self.next(wanted), position).map_err(SendError::Disk)?;
            let read = match cached {
                Some(read) if read > 0 => read,
                _ => self.read_cold::<W>(&*node.world, range, position, wanted).await?,
            };
            self.filled += read;
            sent += read;
        }
        Ok(())
    }

    /// Lets the pool wait for the disk. The buffer goes there and comes back, so nothing is copied.
    async fn read_cold<W: World>(
        &mut self,
        world: &W,
        range: &FileRange<W::Disk>,
        position: u64,
        wanted: usize,
    ) -> Result<usize, SendError> {
        let (file, place) = (Arc::clone(&range.file), self.filled..self.filled + wanted);
        let mut buffer = std::mem::take(&mut self.buffer);
        let (buffer, read) = on_pool(world, move || {
            let read = file.read_at(&mut buffer[place], position);
            (buffer, read)
        })
        .await;
        self.buffer = buffer;
        match read.map_err(SendError::Disk)? {
            // The size was promised in the frame already: the connection cannot go on.
            0 => {
                Err(SendError::Disk(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than its index says")))
            }
            read => Ok(read),
        }
    }

    /// Writes everything collected so far.
    pub async fn flush<S: AsyncWrite + Unpin>(&mut self, answers: &Answers, stream: &mut S) -> Result<(), SendError> {
        // What could not be written is not tried again: nobody knows how much of it has arrived.
        let filled = std::mem::take(&mut self.filled);
        let has_room = self.room.is_some();
        write(stream, &self.buffer[..filled], self.stall_max, has_room.then_some(answers)).await
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        if self.filled == 0 && self.buffer.len() > IDLE_OUTPUT_BYTES {
            self.buffer = Vec::new();
            self.room = None;
        }
    }
}

/// Writes all of `bytes`, as long as the reader takes some now and then; and goes on at a pace where it keeps room, the
/// `answers`, that others wait for.
async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut bytes: &[u8],
    stall_max: Duration,
    answers: Option<&Answers>,
) -> Result<(), SendError> {
    let mut paced = Pace { since: Instant::now(), bytes: 0 };
    let mut stalled_since = paced.since;
    while !bytes.is_empty() {
        match timeout(PACE.min(stall_max), stream.write(bytes)).await {
            Ok(Ok(0)) => return Err(SendError::Peer(io::ErrorKind::WriteZero.into())),
            Ok(Ok(written)) => {
                bytes = &bytes[written..];
                paced.bytes += written;
                stalled_since = Instant::now();
            }
            Ok(Err(error)) => return Err(SendError::Peer(error)),
            Err(_) if stalled_since.elapsed() >= stall_max => return Err(SendError::Stalled(stall_max)),
            Err(_) => {}
        }
        if paced.is_missed() && answers.is_some_and(Answers::is_wanted) {
            return Err(SendError::Slow);
        }
    }
    Ok(())
}

/// How a reader goes on.
struct Pace {
    since: Instant,
    bytes: usize,
}

impl Pace {
    /// Whether a stretch is over in which too little was taken.
    fn is_missed(&mut self) -> bool {
        if self.bytes < PACE_BYTES && self.since.elapsed() < PACE {
            return false;
        }
        let missed = self.bytes < PACE_BYTES;
        *self = Pace { since: Instant::now(), bytes: 0 };
        missed
    }
}
