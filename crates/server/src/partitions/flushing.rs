//! How far a replica is on the device, and how it gets there.
//!
//! ```text
//! appends      a b c          d e                f
//! flush jobs     |--- a b c ---||---- d e ----|    |-- f --|
//! ```
//! A replica has one job on the pool at a time, and it covers all that was appended before it began: whoever comes
//! meanwhile shares the next one. Jobs of different replicas run side by side. Nobody has to wait for a flush to make
//! it go on, so an append may be followed by the next before either is durable.

use std::io;
use std::sync::Arc;

use milena_base::Disk;
use milena_protocol::Offset;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Refused, Replica};
use crate::world::World;

/// A replica's flush job, and what the last ones achieved.
pub(super) struct Flushing {
    turn: Mutex<Turn>,
    durable: watch::Sender<Durable>,
}

/// What the job is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is none.
    Idle,
    /// It waits for the pool, or flushes.
    Taken,
    /// Something was appended since it began, which the next one is for.
    Again,
}

/// What is on the device.
#[derive(Debug, Clone, Copy)]
struct Durable {
    /// Every record before.
    end: Offset,
    /// Nothing more will be.
    offline: bool,
}

impl Flushing {
    pub(super) fn new(end: Offset) -> Flushing {
        Flushing { turn: Mutex::new(Turn::Idle), durable: watch::Sender::new(Durable { end, offline: false }) }
    }

    /// Of a replica that never was open.
    pub(super) fn offline() -> Flushing {
        let nothing = Durable { end: Offset(0), offline: true };
        Flushing { turn: Mutex::new(Turn::Idle), durable: watch::Sender::new(nothing) }
    }

    /// Whoever waits is told that it waits in vain.
    pub(super) fn end(&self) {
        self.durable.send_modify(|durable| durable.offline = true);
    }
}

impl<D: Disk> Replica<D> {
    /// Makes everything below `end` durable, together with whatever else was appended meanwhile. `end` is at or
    /// before the log end.
    pub async fn flush_up_to<W: World<Disk = D>>(self: &Arc<Self>, world: &Arc<W>, end: Offset) -> Result<(), Refused> {
        if !self.is_durable(end) {
            self.begin_flush(world);
        }
        let mut durable = self.flushing.durable.subscribe();
        let reached = durable.wait_for(|durable| durable.offline || durable.end >= end).await;
        match reached.expect("the sender lives as long as the replica").offline {
            true => Err(Refused::Offline),
            false => Ok(()),
        }
    }

    /// Whether every record before `end` is on the device.
    pub fn is_durable(&self, end: Offset) -> bool {
        self.flushing.durable.borrow().end >= end
    }

    /// Lets the pool flush everything appended so far. Does not wait for it.
    pub fn begin_flush<W: World<Disk = D>>(self: &Arc<Self>, world: &Arc<W>) {
        let mut turn = self.flushing.turn.lock();
        let is_idle = *turn == Turn::Idle;
        *turn = if is_idle { Turn::Taken } else { Turn::Again };
        drop(turn);
        if is_idle {
            self.submit_flush(world);
        }
    }

    fn submit_flush<W: World<Disk = D>>(self: &Arc<Self>, world: &Arc<W>) {
        let (replica, job_world) = (Arc::clone(self), Arc::clone(world));
        world.run(Box::new(move || replica.run_flush(&job_world)));
    }

    fn run_flush<W: World<Disk = D>>(self: &Arc<Self>, world: &Arc<W>) {
        // What was appended up to here is covered by this job.
        *self.flushing.turn.lock() = Turn::Taken;
        let flushed = self.flush_appended(&**world);
        if let Err(error) = &flushed {
            // What the device holds now is unknown: nothing more may be promised from this log.
            tracing::error!(partition = %self.topic_partition, %error, "flush failed; the replica is offline");
            self.close();
        }
        let mut turn = self.flushing.turn.lock();
        let again = *turn == Turn::Again && flushed.is_ok();
        *turn = if again { Turn::Taken } else { Turn::Idle };
        drop(turn);
        if again {
            // Behind whatever else waits for the pool: a busy partition must not keep a thread of it.
            self.submit_flush(world);
        }
    }

    fn flush_appended<W: World<Disk = D>>(&self, world: &W) -> io::Result<()> {
        // A closed replica has told those who wait.
        let Some(prepared) = self.with(|partition| partition.prepare_flush()) else { return Ok(()) };
        if let Some(flush) = prepared? {
            let token = flush.run(&world.disk())?;
            let flushed = self.with(|partition| partition.flushed(world.now(), token));
            if flushed.is_some_and(|flushed| flushed.high_watermark_moved) {
                self.wake();
            }
        }
        if let Some(end) = self.with(|partition| partition.recovery_point()) {
            self.flushing.durable.send_modify(|durable| durable.end = end);
        }
        Ok(())
    }
}
