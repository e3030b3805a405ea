//! Promises that records are on the device. A replica has at most one flush at a time; it serves everything that was
//! appended before it began, and whoever came later is served by the next one. Different replicas flush side by side.
//!
//! ```text
//! append 0-9    ── flush begins ──────────► 0-9 are durable
//!      append 10-19, 20-29 (wait)           ── flush begins ──► 10-29 are durable
//! ```

use milena_protocol::Offset;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::partitions::Refused;

/// How far the flushes of one replica have come.
#[derive(Debug, Clone, Copy)]
struct Reached {
    /// Every record before is on the device.
    end: Offset,
    /// A flush failed, or the replica is closed: nothing more will be promised.
    failed: bool,
}

/// Who asks for flushes of one replica, and who waits for them.
pub(crate) struct Flushes {
    turn: Mutex<Turn>,
    reached: watch::Sender<Reached>,
}

struct Turn {
    /// Somebody asked for every record before this.
    wanted: Offset,
    is_running: bool,
}

impl Flushes {
    /// For a replica whose records before `recovery_point` are on the device.
    pub(crate) fn new(recovery_point: Offset) -> Flushes {
        let reached = Reached { end: recovery_point, failed: false };
        Flushes {
            turn: Mutex::new(Turn { wanted: recovery_point, is_running: false }),
            reached: watch::Sender::new(reached),
        }
    }

    /// Asks for every record before `end`. Whether the caller has to start a flush: nobody else is at it.
    pub(crate) fn ask(&self, end: Offset) -> bool {
        let mut turn = self.turn.lock();
        turn.wanted = turn.wanted.max(end);
        let reached = *self.reached.borrow();
        let starts = !turn.is_running && !reached.failed && reached.end < turn.wanted;
        turn.is_running |= starts;
        starts
    }

    /// A flush made every record before `end` durable. Whether another one has to follow.
    pub(crate) fn done(&self, end: Offset) -> bool {
        let mut turn = self.turn.lock();
        turn.is_running = end < turn.wanted;
        self.reached.send_modify(|reached| reached.end = reached.end.max(end));
        turn.is_running
    }

    /// A flush failed, and will not be tried again: what the device holds is unknown.
    pub(crate) fn fail(&self) {
        self.turn.lock().is_running = false;
        self.reached.send_modify(|reached| reached.failed = true);
    }

    /// To wait until every record before `end` is durable. Somebody has to [`Flushes::ask`] for it.
    pub(crate) fn durability(&self, end: Offset) -> Durability {
        Durability { reached: self.reached.subscribe(), end }
    }
}

/// Records on their way to the device. Dropping it stops no flush.
#[must_use = "records are durable once it was waited for"]
pub struct Durability {
    reached: watch::Receiver<Reached>,
    end: Offset,
}

impl Durability {
    /// Returns when the records are on the device.
    ///
    /// # Errors
    /// [`Refused::Offline`] if they may never be: a flush failed, or the replica was closed.
    pub async fn wait(self) -> Result<(), Refused> {
        let Durability { mut reached, end } = self;
        match reached.wait_for(|reached| reached.failed || reached.end >= end).await {
            Ok(reached) if reached.end >= end => Ok(()),
            // The sender is gone with its replica.
            Ok(_) | Err(_) => Err(Refused::Offline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_flush_serves_all_who_asked_before_it_began() {
        let flushes = Flushes::new(Offset(0));
        assert!(flushes.ask(Offset(10)), "the first starts a flush");
        assert!(!flushes.ask(Offset(20)), "one runs already");
        assert!(!flushes.ask(Offset(30)));
        let (first, last) = (flushes.durability(Offset(10)), flushes.durability(Offset(30)));
        assert!(flushes.done(Offset(10)), "more was asked for meanwhile");
        first.wait().await.expect("durable");
        assert!(!flushes.done(Offset(30)), "nobody waits any more");
        last.wait().await.expect("durable");
        assert!(!flushes.ask(Offset(30)), "it is durable already");
    }

    #[tokio::test]
    async fn nothing_is_promised_after_a_failure() {
        let flushes = Flushes::new(Offset(0));
        assert!(flushes.ask(Offset(10)));
        let waiting = flushes.durability(Offset(10));
        flushes.fail();
        assert!(matches!(waiting.wait().await, Err(Refused::Offline)));
        assert!(!flushes.ask(Offset(20)), "a failed flush is never tried again");
        assert!(matches!(flushes.durability(Offset(20)).wait().await, Err(Refused::Offline)));
    }

    #[tokio::test]
    async fn a_replica_that_is_gone_keeps_no_promise() {
        let flushes = Flushes::new(Offset(0));
        let waiting = flushes.durability(Offset(1));
        drop(flushes);
        assert!(waiting.wait().await.is_err());
    }
}
