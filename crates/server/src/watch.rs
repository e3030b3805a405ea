//! What a reader of many partitions is told of them: each partition that has news marks its slot, the reader is woken
//! once, and then looks only at what is marked. A fetch session keeps its watch from request to request, so that
//! nothing is done for partitions without news.
//!
//! ```text
//!   append to t-7 ── mark 7 ──┐
//!   append to t-9 ── mark 9 ──┴─ one wake-up ──► take {7, 9} ──► read t-7 and t-9
//! ```

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Marks of one reader. At most one per slot is kept.
#[derive(Debug, Default)]
pub struct Watch {
    marked: Mutex<BTreeSet<u64>>,
    woken: Notify,
}

impl Watch {
    /// A partition has news: whatever could change what its reader is answered.
    pub fn mark(&self, slot: u64) {
        let is_first = {
            let mut marked = self.marked.lock();
            marked.insert(slot) && marked.len() == 1
        };
        if is_first {
            self.woken.notify_one();
        }
    }

    /// The slots that were marked since they were last taken.
    pub fn take(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.marked.lock())
    }

    /// Returns when a slot is marked. One reader at a time waits.
    pub async fn is_marked(&self) {
        // The wake-up may belong to marks that were taken since.
        while self.marked.lock().is_empty() {
            self.woken.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn marks_wake_once_and_are_taken_together() {
        let watch = Watch::default();
        watch.mark(9);
        watch.mark(7);
        watch.mark(9);
        watch.is_marked().await;
        assert_eq!(watch.take(), BTreeSet::from([7, 9]));
        let again = timeout(Duration::from_secs(1), watch.is_marked()).await;
        assert!(again.is_err(), "what was taken wakes nobody again");
        watch.mark(7);
        watch.is_marked().await;
    }
}
