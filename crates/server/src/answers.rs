//! The memory of answers that wait for their readers. A range of a file costs nothing, and up to
//! [`FREE_ANSWER_BYTES`] of an answer are free; the rest is held here from its encoding until the socket has it.
//!
//! A connection has one answer at a time, and is not read before it is sent: a client that does not read piles up
//! nothing. What many such clients hold together is bounded by the share: when it is used up, large answers wait for their
//! turn, or have parts refused ([`crate::growing`]); small ones go all the while. Whoever holds memory
//! while others wait for it must take some 100 KB/s, or is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::waits::Waits;

/// Answers up to this size need no room.
pub const FREE_ANSWER_BYTES: usize = 64 * 1024;
/// Requests that name very many things and are answered at the same time: what their answers take before they are encoded
/// is counted nowhere.
const LONG_MAX: usize = 4;

/// The memory for answers.
#[derive(Debug)]
pub struct Answers {
    held: Arc<Held>,
    /// One waits for room, the others behind it.
    turn: Semaphore,
    long: Semaphore,
}

#[derive(Debug)]
struct Held {
    size_bytes: usize,
    /// Of answers.
    bytes: AtomicUsize,
    /// Of the buffers of connections, which come and go by themselves.
    buffer_bytes: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// Memory of an answer; given back on drop.
#[derive(Debug)]
pub struct Room {
    held: Arc<Held>,
    bytes: usize,
}

/// Memory of a connection's buffer; given back on drop.
#[derive(Debug)]
pub struct BufferRoom {
    held: Arc<Held>,
    bytes: usize,
}

impl Drop for BufferRoom {
    fn drop(&mut self) {
        self.held.buffer_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.held.freed.notify_waiters();
    }
}

impl Room {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it as large as that, if there is so much left. Whoever waits for room is passed over: an answer that has
    /// begun comes to an end.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let limit_bytes = self.held.left_by_buffers();
        let fits = |held: usize| (held + more <= limit_bytes).then_some(held + more);
        let grown = self.held.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// The answer became larger or smaller than was thought.
    pub fn resize(&mut self, bytes: usize) {
        self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.held.free(self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.free(self.bytes);
    }
}

impl Held {
    fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    fn left_by_buffers(&self) -> usize {
        self.size_bytes.saturating_sub(self.buffer_bytes.load(Ordering::Relaxed))
    }

    /// What is larger than all there is goes alone, but for the buffers: busy connections keep theirs.
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let limit_bytes = self.left_by_buffers();
        let fits = |held: usize| (held == 0 || held + bytes <= limit_bytes).then_some(held + bytes);
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.ok().map(|_| Room { held: Arc::clone(self), bytes })
    }
}

impl Answers {
    /// Room for `size_bytes`, or for one larger answer at a time.
    pub fn new(size_bytes: usize) -> Answers {
        let [bytes, buffer_bytes, waiting] = [0; 3].map(AtomicUsize::new);
        let held = Arc::new(Held { size_bytes, bytes, buffer_bytes, waiting, freed: Notify::new() });
        Answers { held, turn: Semaphore::new(1), long: Semaphore::new(LONG_MAX) }
    }

    /// Room for `bytes`, if there is some and nobody waits for it.
    pub fn try_take(&self, bytes: usize) -> Option<Room> {
        if self.is_wanted() { None } else { self.held.take(bytes) }
    }

    /// Room for a buffer, if there is some and nobody waits for it.
    pub fn try_take_buffer(&self, bytes: usize) -> Option<BufferRoom> {
        if self.is_wanted() || self.held_bytes() + bytes > self.held.size_bytes {
            return None;
        }
        self.held.buffer_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(BufferRoom { held: Arc::clone(&self.held), bytes })
    }

    /// Room for `bytes` whether there is some or not: for what cannot be made again.
    pub fn take(&self, bytes: usize) -> Room {
        self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        Room { held: Arc::clone(&self.held), bytes }
    }

    /// Waits for room. Who asks is served in order.
    pub async fn room(&self, bytes: usize) -> Room {
        let _waits = Waits::begin(&self.held.waiting);
        let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
        loop {
            let freed = self.held.freed.notified();
            if let Some(room) = self.held.take(bytes) {
                return room;
            }
            freed.await;
        }
    }

    /// Waits until a request that names very many things may be answered.
    pub async fn long_turn(&self) -> SemaphorePermit<'_> {
        self.long.acquire().await.expect("the semaphore is never closed")
    }

    /// Whether somebody waits for room.
    pub fn is_wanted(&self) -> bool {
        self.held.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes of the share.
    pub fn size_bytes(&self) -> usize {
        self.held.size_bytes
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> usize {
        self.held.bytes.load(Ordering::Relaxed) + self.held.buffer_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_room_is_served_before_others() {
        let answers = Answers::new(100);
        let first = answers.try_take(60).expect("all is free");
        assert!(answers.try_take(60).is_none());
        let mut waiting = std::pin::pin!(answers.room(60));
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        assert!(answers.is_wanted());
        assert!(answers.try_take(1).is_none(), "it would fit, but another one waits");
        drop(first);
        let second = waiting.await;
        assert!(!answers.is_wanted());
        assert_eq!(answers.held_bytes(), 60);
        drop(second);
        assert_eq!(answers.held_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_larger_than_all_there_is_goes_alone() {
        let answers = Answers::new(100);
        let small = answers.try_take(10).expect("free");
        let mut large = std::pin::pin!(answers.room(1000));
        assert!(timeout(Duration::from_secs(1), &mut large).await.is_err());
        drop(small);
        assert_eq!(large.await.bytes, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn no_buffer_of_a_busy_connection_keeps_an_answer_waiting_that_goes_alone() {
        let answers = Answers::new(100);
        let buffer = answers.try_take_buffer(60).expect("all is free");
        assert!(answers.try_take_buffer(60).is_none());
        let alone = timeout(Duration::from_secs(1), answers.room(1000)).await.expect("it does not wait");
        assert_eq!(answers.held_bytes(), 1060);
        assert!(timeout(Duration::from_secs(1), answers.room(1)).await.is_err());
        drop(alone);
        let mut small = answers.room(10).await;
        assert!(!small.grow(50), "the buffer counts");
        drop(buffer);
        assert!(small.grow(50));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_to_wait_is_in_nobody_s_way() {
        let answers = Answers::new(100);
        let held = answers.take(200);
        assert!(timeout(Duration::from_secs(1), answers.room(1)).await.is_err());
        assert!(!answers.is_wanted());
        drop(held);
        let mut room = answers.try_take(1).expect("free again");
        room.resize(50);
        assert_eq!(answers.held_bytes(), 50);
    }
}
