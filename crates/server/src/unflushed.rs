//! How much of the log directory is appended and not flushed, and what keeps that bounded.
//!
//! A writer that is faster than the disk fills the kernel's page cache, until the kernel stops every writer at its next
//! write, on whatever core that is. So appended bytes are counted until a flush has them: above half of the bound
//! the replicas that have most of them are flushed in the background, and before the bound is reached producers wait, each before its
//! own append, where no core stands still for it. Reads and whatever a coordinator writes never wait here.
//!
//! ```text
//! 0 ───────────────────────────── flushes begin ─────────────── bound: producers wait
//! │ a replica may have four times what is left for all: alone 4/5, ten busy ones 4/41 each, and 1/41 is left for others │
//! ```
//! What the kernel has written by itself is still counted until our flush, which then costs little: the count is never
//! too small. A replica that is closed takes its bytes along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::node::Node;
use crate::partitions::Replica;
use crate::waits::Waits;
use crate::world::World;

/// Part of the memory of the process that is the bound unless set. Linux begins to write by itself at a tenth
/// (`vm.dirty_background_ratio`) and stops writers at a fifth: we stay below both.
const PART: u64 = 16;
/// The least bound that a node gives itself: below, producers would wait for single flushes.
const BYTES_MIN: u64 = 64 << 20;
/// The largest: a disk of 200 MB/s needs five seconds for it, and whoever waits for a flush waits for that.
const BYTES_MAX: u64 = 1 << 30;
/// Flushes of the background at the same time: half of the pool is left to cold reads and flushes that were promised.
const FLUSHES_MAX: usize = 4;
/// So many times what is left may one replica have.
const SHARE: u64 = 4;
/// Flushes begin at this part of the bound: earlier, and bursts that the page cache would have taken wait for the disk.
const SOFT_PART: u64 = 2;

/// The bound of a node that nobody gave one, where the process may use `memory_bytes`.
pub(crate) fn default_bytes(memory_bytes: u64) -> u64 {
    (memory_bytes / PART).clamp(BYTES_MIN, BYTES_MAX)
}

/// The account of a log directory.
#[derive(Debug)]
pub struct Unflushed {
    bytes_max: u64,
    bytes: AtomicU64,
    waiting: AtomicUsize,
    /// It became less.
    shrunk: Notify,
    /// The background has to flush.
    due: Notify,
}

/// What one replica has of it. Changed under the replica's lock alone.
#[derive(Debug)]
pub(crate) struct Part {
    all: Arc<Unflushed>,
    bytes: AtomicU64,
}

/// Bytes that are about to be appended. Given back on drop, unless [`Part::recount`] took them over.
#[derive(Debug)]
pub(crate) struct Charge {
    all: Arc<Unflushed>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.all.change(self.bytes, 0);
        }
    }
}

impl Unflushed {
    /// An empty account. With a bound of 0 bytes are counted, and nobody waits.
    pub fn new(bytes_max: u64) -> Arc<Unflushed> {
        let bytes_max = if bytes_max == 0 { u64::MAX } else { bytes_max };
        Arc::new(Unflushed {
            bytes_max,
            bytes: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            shrunk: Notify::new(),
            due: Notify::new(),
        })
    }

    /// Bytes counted now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The part of a replica that has nothing yet.
    pub(crate) fn part(self: &Arc<Self>) -> Part {
        Part { all: Arc::clone(self), bytes: AtomicU64::new(0) }
    }

    fn is_due(&self) -> bool {
        self.bytes() > self.bytes_max / SOFT_PART || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts `to` in the place of `from`.
    fn change(&self, from: u64, to: u64) {
        // Wraps where it becomes less.
        self.bytes.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
        if to < from {
            self.shrunk.notify_waiters();
        }
    }
}

impl Part {
    /// Bytes of this replica.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Charges so many bytes if they may be appended now: there is room, and this replica has not more than its share. What is
    /// larger than the bound goes alone.
    pub(crate) fn charge(&self, bytes: u64) -> Option<Charge> {
        let (own, bytes_max) = (self.bytes(), self.all.bytes_max);
        let admit = |all: u64| {
            let left = bytes_max.saturating_sub(all);
            let fits = bytes <= left && own <= left.saturating_mul(SHARE);
            (fits || all == 0).then(|| all + bytes)
        };
        let admitted = self.all.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit);
        admitted.ok().map(|_| Charge { all: Arc::clone(&self.all), bytes })
    }

    /// Waits until so many bytes may be appended; `None` once `is_gone`.
    pub(crate) async fn charged(&self, bytes: u64, is_gone: impl Fn() -> bool) -> Option<Charge> {
        if let Some(charge) = self.charge(bytes) {
            return Some(charge);
        }
        // The background flushes for whoever waits.
        let _waits = Waits::begin(&self.all.waiting);
        self.all.due.notify_one();
        loop {
            let shrunk = self.all.shrunk.notified();
            if is_gone() {
                return None;
            }
            if let Some(charge) = self.charge(bytes) {
                return Some(charge);
            }
            shrunk.await;
        }
    }

    /// This replica has so many bytes now, what was charged for an append included.
    pub(crate) fn recount(&self, bytes: u64, charge: Option<Charge>) {
        let charged = charge.map_or(0, |mut charge| std::mem::take(&mut charge.bytes));
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if before + charged != bytes {
            self.all.change(before + charged, bytes);
        }
        // Also where only a charge became bytes: those can be flushed, and it could not.
        if before != bytes && self.all.is_due() {
            self.all.due.notify_one();
        }
    }

    /// The replica is closed: its bytes are nobody's any more, and whoever waits for it looks again.
    pub(crate) fn close(&self) {
        self.recount(0, None);
        self.all.shrunk.notify_waiters();
    }
}

/// Flushes in the background whenever it is due, until the node stops.
pub(crate) async fn run<W: World>(node: Arc<Node<W>>) {
    loop {
        tokio::select! {
            biased;
            () = node.stopping() => return,
            () = node.unflushed.due.notified() => {}
        }
        while node.unflushed.is_due() && flush_largest(&node).await {}
    }
}

/// Flushes the replicas that have most; false where none has anything.
async fn flush_largest<W: World>(node: &Arc<Node<W>>) -> bool {
    let mut replicas: Vec<(u64, Arc<Replica<W::Disk>>)> = Vec::new();
    for replica in node.partitions.all() {
        replicas.push((replica.unflushed_bytes(), replica));
    }
    replicas.retain(|(bytes, _)| *bytes > 0);
    replicas.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    replicas.truncate(FLUSHES_MAX);
    let ends = replicas.iter().filter_map(|(_, replica)| Some((replica, replica.marks()?.log_end)));
    let flushes: Vec<_> = ends.map(|(replica, end)| replica.flush(&node.world, end)).collect();
    let is_any = !flushes.is_empty();
    for flush in flushes {
        // A flush that fails closes its replica, which says so and takes its bytes along.
        let _ = flush.wait().await;
    }
    is_any
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Appends so many bytes where they are admitted.
    fn append(part: &Part, bytes: u64) -> bool {
        let charge = part.charge(bytes);
        let is_admitted = charge.is_some();
        if is_admitted {
            part.recount(part.bytes() + bytes, charge);
        }
        is_admitted
    }

    #[test]
    fn the_bound_is_a_sixteenth_of_the_memory_within_bounds() {
        assert_eq!(default_bytes(8 << 30), 512 << 20);
        assert_eq!((default_bytes(1 << 20), default_bytes(1 << 50)), (64 << 20, 1 << 30));
    }

    #[test]
    fn what_is_counted_never_passes_the_bound() {
        let all = Unflushed::new(1000);
        let parts: Vec<Part> = (0..30).map(|_| all.part()).collect();
        while parts.iter().filter(|part| append(part, 7)).count() > 0 {
            assert!(all.bytes() <= 1000);
        }
        assert_eq!(all.bytes(), parts.iter().map(Part::bytes).sum::<u64>());
        parts.iter().for_each(|part| part.recount(0, None));
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn a_busy_replica_leaves_room_for_others() {
        let all = Unflushed::new(1000);
        let (busy, other) = (all.part(), all.part());
        while append(&busy, 10) {}
        assert_eq!(busy.bytes(), 810, "four fifths, and the append that passed them");
        assert!(append(&other, 100));
        let more: Vec<Part> = (0..10).map(|_| all.part()).collect();
        while more.iter().filter(|part| append(part, 1)).count() > 0 {}
        assert!(append(&all.part(), 1), "{} are left", 1000 - all.bytes());
    }

    #[test]
    fn what_is_larger_than_the_bound_goes_alone() {
        let all = Unflushed::new(1000);
        let part = all.part();
        assert!(append(&part, 1));
        assert!(!append(&part, 5000));
        part.recount(0, None);
        assert!(append(&part, 5000));
    }

    #[test]
    fn an_append_that_failed_costs_nothing() {
        let all = Unflushed::new(1000);
        let part = all.part();
        drop(part.charge(100));
        assert_eq!(all.bytes(), 0);
        part.recount(60, part.charge(100));
        assert_eq!(all.bytes(), 60, "less was appended than was charged");
    }

    #[test]
    fn without_a_bound_nobody_waits() {
        let all = Unflushed::new(0);
        let part = all.part();
        assert!(append(&part, 1 << 40) && append(&part, 1 << 40));
        assert!(!all.is_due());
        assert_eq!(all.bytes(), 2 << 40);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_there_is_room_and_gives_up_when_its_replica_is_gone() {
        let all = Unflushed::new(1000);
        let (full, part) = (all.part(), all.part());
        full.recount(1000, None);
        let mut waiting = std::pin::pin!(part.charged(10, || false));
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        assert!(all.is_due());
        full.recount(500, None);
        assert_eq!(waiting.await.expect("not gone").bytes, 10);
        full.recount(1000, None);
        let is_gone = std::cell::Cell::new(false);
        let mut waiting = std::pin::pin!(part.charged(10, || is_gone.get()));
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        is_gone.set(true);
        part.close();
        assert!(waiting.await.is_none());
    }
}
