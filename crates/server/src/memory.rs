//! What a node holds in memory for its clients, all together: one budget (`memory.request.bytes`) in three shares.
//!
//! | share | for | while none is left |
//! |---|---|---|
//! | a half | request frames above 64 KiB | the connection is not read |
//! | a quarter | answers above 64 KiB that are no ranges of files, output above 16 KiB a connection | the answer is made later, or some parts of it are |
//! | a quarter | inflating records, and compressing them anew | the batch, or the lookup, waits |
//!
//! Whoever waits is served in turn. What is larger than a share goes when it has the share for itself, so that nothing
//! that is allowed waits for ever. The page cache is the kernel's and not counted here.

use std::sync::Arc;

use crate::account::Account;
use crate::answers::Answers;
use crate::work::Work;

/// Part of the memory of the process that is the budget unless set: the rest is for what does not come and go with
/// requests (metadata, groups, producers), and for the page cache, in which readers find what was just written.
const PART: u64 = 4;
/// The least budget that a node gives itself: half of it is below one frame of `socket.request.max.bytes` already.
const BYTES_MIN: u64 = 64 << 20;
/// The largest: what comes in over 100 Gbit/s in a third of a second. More would only be taken from the page cache.
const BYTES_MAX: u64 = 4 << 30;

/// The budget of a node that nobody gave one, where the process may use `memory_bytes`.
pub(crate) fn default_bytes(memory_bytes: u64) -> usize {
    (memory_bytes / PART).clamp(BYTES_MIN, BYTES_MAX) as usize
}

/// The shares.
pub struct Memory {
    /// For request frames.
    pub frames: Account,
    /// For answers.
    pub answers: Answers,
    /// For work on records.
    pub work: Arc<Work>,
}

impl Memory {
    /// Shares of `size_bytes`; that of frames is never less than one frame of `frame_bytes_max`.
    pub fn new(size_bytes: usize, frame_bytes_max: usize, cores: usize) -> Memory {
        Memory {
            frames: Account::new((size_bytes / 2).max(frame_bytes_max)),
            answers: Answers::new(size_bytes / 4),
            work: Arc::new(Work::new(size_bytes / 4, cores)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_quarter_of_the_memory_within_bounds() {
        assert_eq!(default_bytes(8 << 30), 2 << 30);
        assert_eq!(default_bytes(128 << 20), 64 << 20, "a small container");
        assert_eq!(default_bytes(1 << 40), 4 << 30, "a large machine");
    }
}
