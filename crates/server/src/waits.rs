//! Who waits is counted, also if it stops to: its future may be dropped at any time.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One who waits, until it is dropped.
pub(crate) struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    /// Counts one more.
    pub(crate) fn begin(waiting: &'a AtomicUsize) -> Waits<'a> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
