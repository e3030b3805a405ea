//! Promises that records are on the device. A replica has at most one flush at a time; it serves everything that was
//! appended before it began, and whoever came later is served by the next one. Different replicas flush side by side.
//!
//! ```text
//! append 0-9    ── flush begins ──────────► 0-9 are durable
//!      append 10-19, 20-29 (wait)           ── flush begins ──► 10-29 are durable
//! ```

use milena_partition::LeadershipError;
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
    /// How often the log was found to be cut, and where it ended then.
    cuts: u64,
    cut_to: Offset,
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
        let reached = Reached { end: recovery_point, failed: false, cuts: 0, cut_to: recovery_point };
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

    /// A flush made every record before `end` durable, of a log that ends at `log_end` now. Whether another one has to
    /// follow. Records behind the log's end that somebody asked for were cut off: nobody will flush them any more.
    pub(crate) fn done(&self, end: Offset, log_end: Offset) -> bool {
        let mut turn = self.turn.lock();
        let is_cut = log_end < turn.wanted || end < self.reached.borrow().end;
        turn.wanted = turn.wanted.min(log_end);
        turn.is_running = end < turn.wanted;
        self.reached.send_modify(|reached| {
            reached.end = end;
            if is_cut {
                (reached.cuts, reached.cut_to) = (reached.cuts + 1, log_end);
            }
        });
        turn.is_running
    }

    /// A flush failed, and will not be tried again: what the device holds is unknown.
    pub(crate) fn fail(&self) {
        self.turn.lock().is_running = false;
        self.reached.send_modify(|reached| reached.failed = true);
    }

    /// To wait until every record before `end` is durable. Somebody has to [`Flushes::ask`] for it.
    pub(crate) fn durability(&self, end: Offset) -> Durability {
        let reached = self.reached.subscribe();
        let cuts = reached.borrow().cuts;
        Durability { reached, cuts, end }
    }
}

/// Records on their way to the device. Dropping it stops no flush.
#[must_use = "records are durable once it was waited for"]
pub struct Durability {
    reached: watch::Receiver<Reached>,
    /// Those of before say nothing about these records.
    cuts: u64,
    end: Offset,
}

impl Durability {
    /// Returns when the records are on the device.
    ///
    /// # Errors
    /// [`Refused::Offline`] if they may never be: a flush failed, or the replica was closed. [`LeadershipError::NotLeader`] if the
    /// log was cut before them, as it is where another replica leads now.
    pub async fn wait(self) -> Result<(), Refused> {
        let Durability { mut reached, cuts, end } = self;
        let is_cut = |reached: &Reached| reached.cuts != cuts && end > reached.cut_to;
        match reached.wait_for(|reached| reached.failed || reached.end >= end || is_cut(reached)).await {
            Ok(reached) if is_cut(&reached) => Err(Refused::Append(LeadershipError::NotLeader.into())),
            Ok(reached) if reached.end >= end => Ok(()),
            // The sender is gone with its replica.
            Ok(_) | Err(_) => Err(Refused::Offline),
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_partition::AppendError;

    use super::*;

    #[tokio::test]
    async fn one_flush_serves_all_who_asked_before_it_began() {
        let flushes = Flushes::new(Offset(0));
        assert!(flushes.ask(Offset(10)), "the first starts a flush");
        assert!(!flushes.ask(Offset(20)), "one runs already");
        assert!(!flushes.ask(Offset(30)));
        let (first, last) = (flushes.durability(Offset(10)), flushes.durability(Offset(30)));
        assert!(flushes.done(Offset(10), Offset(30)), "more was asked for meanwhile");
        first.wait().await.expect("durable");
        assert!(!flushes.done(Offset(30), Offset(30)), "nobody waits any more");
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
    async fn records_that_were_cut_off_are_waited_for_in_vain_and_no_longer_flushed() {
        let flushes = Flushes::new(Offset(0));
        assert!(flushes.ask(Offset(10)));
        assert!(!flushes.ask(Offset(20)));
        let (kept, cut) = (flushes.durability(Offset(5)), flushes.durability(Offset(20)));
        assert!(!flushes.done(Offset(8), Offset(8)), "the log was cut to 8: there is nothing more to flush");
        kept.wait().await.expect("durable");
        assert!(matches!(cut.wait().await, Err(Refused::Append(AppendError::Leadership(LeadershipError::NotLeader)))));
        // Others stand in their place now.
        assert!(flushes.ask(Offset(20)));
        let others = flushes.durability(Offset(20));
        assert!(!flushes.done(Offset(20), Offset(20)));
        others.wait().await.expect("durable");
    }

    #[tokio::test]
    async fn what_was_durable_before_a_cut_is_no_promise_for_what_comes_in_its_place() {
        let flushes = Flushes::new(Offset(100));
        assert!(flushes.ask(Offset(110)));
        assert!(!flushes.done(Offset(50), Offset(50)), "it was cut to 50");
        assert!(flushes.ask(Offset(60)), "60 of before was durable, 60 of now is not");
    }

    #[tokio::test]
    async fn a_replica_that_is_gone_keeps_no_promise() {
        let flushes = Flushes::new(Offset(0));
        let waiting = flushes.durability(Offset(1));
        drop(flushes);
        assert!(waiting.wait().await.is_err());
    }
}
