//! The machine that owns one partition of `__consumer_offsets`.

use milena_base::Millis;
use milena_protocol::Uuid;

use super::{Context, Request, Response, Settings};
use crate::{Decision, Entry, Origin, Reply, ReplyTo};

/// What a shard is asked or told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request of a client that [`refuse`](super::refuse) let pass.
    Request {
        /// Where the answer goes.
        to: ReplyTo,
        /// Who asks.
        context: Context,
        /// What is asked.
        request: Request,
    },
    /// Topics that the metadata no longer holds: their offsets are forgotten, a bounded number per [`GroupShard::tick`].
    TopicsDeleted(Vec<DeletedTopic>),
}

/// A topic that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its id: offsets of a newer topic of the same name stay.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

/// Why an entry of the log cannot be replayed. The shell gives up the load and reports the partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record of a known type is damaged.
    #[error("the record at offset {offset} is damaged: {reason}")]
    Damaged {
        /// Where it stands.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Groups, simple ones included.
    pub groups: usize,
    /// Members of all groups, without pending ones.
    pub members: usize,
    /// Committed offsets, without those of open transactions.
    pub offsets: usize,
    /// Records of types that are not known here, skipped in replay.
    pub skipped_records: u64,
}

/// Groups and offsets of one partition. See the [crate] for the contract.
///
/// Bounds: [`Settings::groups_max`] groups, [`Settings::size_max`] members and [`Settings::pending_members_max`]
/// pending ones in each, one parked join and one parked sync per member.
#[derive(Debug)]
pub struct GroupShard {
    settings: Settings,
}

impl GroupShard {
    /// An empty shard, to be loaded: [`GroupShard::replay`] for the whole log, then [`GroupShard::loaded`].
    pub fn new(settings: Settings) -> GroupShard {
        GroupShard { settings }
    }

    /// Follows the log: first all of it, then each record of each decision, before anything else is asked.
    pub fn replay(&mut self, at: Origin, entry: &Entry) -> Result<(), ReplayError> {
        let _ = (at, entry);
        Ok(())
    }

    /// The whole log is replayed: sessions start, groups above the maximum size rebalance.
    pub fn loaded(&mut self, now: Millis) -> Decision<Response> {
        Decision::at(now)
    }

    /// Decides about one event.
    pub fn handle(&mut self, now: Millis, event: Event) -> Decision<Response> {
        let _ = (event, self.settings);
        Decision::at(now)
    }

    /// When [`GroupShard::tick`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Millis> {
        None
    }

    /// Does one thing that is due at `now`, nothing if none is. The shell appends and replays, and calls again
    /// while [`GroupShard::next_deadline`] is not later than `now`.
    pub fn tick(&mut self, now: Millis) -> Decision<Response> {
        Decision::at(now)
    }

    /// This node is no longer the coordinator: everybody who waits is told so (NOT_COORDINATOR).
    pub fn unloaded(self) -> Vec<Reply<Response>> {
        Vec::new()
    }

    /// Takes over changed settings; running timers keep their deadlines.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Figures for metrics.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
