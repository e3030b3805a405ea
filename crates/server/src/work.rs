//! Work that takes memory and time: looking into compressed batches, compressing them anew, looking for a record by its
//! time; and matching patterns. A few bytes may inflate to very many, so it is never done on a data core, the memory for it is
//! reserved before, and only so many batches are worked on at the same time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::account::{Account, Reservation};

/// After so long another request or group may match its pattern.
pub const MATCHING_TURN: Duration = Duration::from_millis(5);

/// Who may work, and with how much memory.
#[derive(Debug)]
pub struct Work {
    memory: Account,
    /// As many as there are cores: more would only wait for one another.
    turns: Semaphore,
    /// Patterns are matched one at a time.
    patterns: Semaphore,
}

/// Leave to work on a batch, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _memory: Option<Reservation>,
    _turn: SemaphorePermit<'a>,
}

impl Work {
    /// With so much memory for all, on so many cores.
    pub fn new(memory_bytes: usize, cores: usize) -> Work {
        Work { memory: Account::new(memory_bytes), turns: Semaphore::new(cores), patterns: Semaphore::new(1) }
    }

    /// Waits until a batch may be worked on that takes so much memory. What takes more than there is goes alone.
    pub async fn turn(&self, bytes: usize) -> Turn<'_> {
        // In this order: whoever waits for memory keeps no turn from those who need none.
        let memory = self.memory(bytes).await;
        Turn { _memory: memory, _turn: self.turns.acquire().await.expect("the semaphore is never closed") }
    }

    /// Waits until a pattern may be compiled, or matched for a while.
    pub async fn pattern_turn(&self) -> SemaphorePermit<'_> {
        self.patterns.acquire().await.expect("the semaphore is never closed")
    }

    /// Waits for memory alone.
    pub async fn memory(&self, bytes: usize) -> Option<Reservation> {
        self.memory.reserve(bytes).reservation().await
    }

    /// Bytes reserved now.
    pub fn reserved_bytes(&self) -> usize {
        self.memory.reserved_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_work_waits_for_memory_while_small_work_goes_on() {
        let work = Work::new(1 << 20, 2);
        let lookup = work.memory(256 << 20).await;
        assert_eq!(work.reserved_bytes(), 1 << 20, "more than there is: all of it");
        assert!(timeout(Duration::from_secs(1), work.turn(1 << 20)).await.is_err());
        drop(timeout(Duration::from_secs(1), work.turn(1000)).await.expect("needs no memory"));
        drop(lookup);
        drop(work.turn(1 << 20).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_batches_are_worked_on_than_there_are_cores() {
        let work = Work::new(1 << 20, 2);
        let _both = (work.turn(1).await, work.turn(1).await);
        assert!(timeout(Duration::from_secs(1), work.turn(1)).await.is_err());
    }
}
