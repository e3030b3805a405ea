//! Turns answers into bytes on a socket: pieces of memory as they are, ranges of files through one reused
//! buffer. Warm pages are read at once; only what would wait for the disk goes to the pool.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_base::{Disk, DiskFile};
use milena_protocol::wire::Segment;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::world::{World, on_pool};

/// Output is collected up to this size before it is written.
const OUTPUT_BYTES: usize = 128 * 1024;
/// What an idle connection keeps of its output buffer.
const IDLE_OUTPUT_BYTES: usize = 4 * 1024;

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
}

/// The writing half of a connection: collects output and writes it in large pieces.
pub struct Output {
    /// Grows with the answers up to [`OUTPUT_BYTES`] and keeps its size, so that it is not zeroed for each of them.
    buffer: Vec<u8>,
    /// How much of it waits to be written.
    filled: usize,
    /// A reader that takes nothing for this long is gone.
    stall_max: Duration,
}

impl Output {
    /// An empty output whose reader may take nothing for `stall_max`.
    pub fn new(stall_max: Duration) -> Output {
        Output { buffer: Vec::new(), filled: 0, stall_max }
    }

    /// Adds an answer; writes what no longer fits the buffer.
    pub async fn send<W: World, S: AsyncWrite + Unpin>(
        &mut self,
        world: &W,
        stream: &mut S,
        answer: Answer<W::Disk>,
    ) -> io::Result<()> {
        for segment in answer.segments {
            match segment {
                Segment::Bytes(bytes) => self.send_bytes(stream, &bytes).await?,
                Segment::External(external) => {
                    self.send_range::<W, S>(world, stream, &answer.ranges[external.id]).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_bytes<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, bytes: &Bytes) -> io::Result<()> {
        if self.filled + bytes.len() > OUTPUT_BYTES {
            self.flush(stream).await?;
        }
        if bytes.len() > OUTPUT_BYTES {
            return write(stream, bytes, self.stall_max).await;
        }
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled += bytes.len();
        Ok(())
    }

    /// The next `wanted` bytes of the buffer.
    fn room(&mut self, wanted: usize) -> &mut [u8] {
        let end = self.filled + wanted;
        if self.buffer.len() < end {
            self.buffer.resize(end.next_power_of_two().clamp(IDLE_OUTPUT_BYTES, OUTPUT_BYTES), 0);
        }
        &mut self.buffer[self.filled..end]
    }

    /// Copies a range into the socket, one buffer at a time.
    async fn send_range<W: World, S: AsyncWrite + Unpin>(
        &mut self,
        world: &W,
        stream: &mut S,
        range: &FileRange<W::Disk>,
    ) -> io::Result<()> {
        let mut sent = 0;
        while sent < range.size_bytes {
            if self.filled == OUTPUT_BYTES {
                self.flush(stream).await?;
                // One reader of a large range must not keep its core from everybody else on it.
                yield_now().await;
            }
            let wanted = (range.size_bytes - sent).min(OUTPUT_BYTES - self.filled);
            let position = range.position + sent as u64;
            let read = match range.file.read_cached_at(self.room(wanted), position)? {
                Some(read) if read > 0 => read,
                _ => self.read_cold::<W>(world, range, position, wanted).await?,
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
    ) -> io::Result<usize> {
        let (file, place) = (Arc::clone(&range.file), self.filled..self.filled + wanted);
        let mut buffer = std::mem::take(&mut self.buffer);
        let (buffer, read) = on_pool(world, move || {
            let read = file.read_at(&mut buffer[place], position);
            (buffer, read)
        })
        .await;
        self.buffer = buffer;
        match read? {
            // The size was promised in the frame already: the connection cannot go on.
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a log segment is shorter than its index says")),
            read => Ok(read),
        }
    }

    /// Writes everything collected so far.
    pub async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.filled > 0 {
            write(stream, &self.buffer[..self.filled], self.stall_max).await?;
            self.filled = 0;
        }
        Ok(())
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        if self.filled == 0 && self.buffer.len() > IDLE_OUTPUT_BYTES {
            self.buffer = Vec::new();
        }
    }
}

/// Writes all of `bytes`, as long as the reader takes some now and then.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, mut bytes: &[u8], stall_max: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        match timeout(stall_max, stream.write(bytes)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(written)) => bytes = &bytes[written..],
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}
