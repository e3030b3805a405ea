//! What the control thread does for its files now and then: snapshots, and cutting the log down to them.

use milena_base::Millis;
use milena_metadata::raft::Event;
use milena_metadata::retention::{SnapshotSchedule, StoredSnapshot};
use milena_metadata::snapshot;
use milena_partition::Unlink;
use tracing::{error, info};

use super::{ControlError, ControlThread};
use crate::directory;
use crate::world::{World, on_pool};

/// How often this looks whether something is due, as Kafka's cleaner does.
const LOOK_MS: i64 = 60_000;

/// What is due, and when.
pub(super) struct Housekeeping {
    pub(super) schedule: SnapshotSchedule,
    pub(super) look_at: Millis,
    /// Files that nobody reads any more when their time has come.
    unlinks: Vec<Unlink>,
}

impl Housekeeping {
    pub(super) fn new(schedule: SnapshotSchedule, now: Millis) -> Housekeeping {
        Housekeeping { schedule, look_at: now + Millis(LOOK_MS), unlinks: Vec::new() }
    }
}

impl<W: World> ControlThread<W> {
    /// Looks at all of it. What fails is tried again at the next time: the log itself is whole all the while.
    pub(super) async fn keep_house(&mut self) -> Result<(), ControlError> {
        let now = self.world.now();
        self.housekeeping.look_at = now + Millis(LOOK_MS);
        self.unlink_due(now).await;
        if let Some(saved) = self.maybe_snapshot().await {
            Box::pin(self.step(saved)).await?;
        }
        match self.log.trim(now) {
            Ok(None) => {}
            Ok(Some(unlinks)) => {
                self.housekeeping.unlinks.extend(unlinks);
                if let Some(id) = self.log.newest_id() {
                    let log_start = self.log.log_start();
                    Box::pin(self.step(Event::SnapshotSaved { id, log_start })).await?;
                }
            }
            Err(failure) => error!(%failure, "the metadata log cannot be cut to a snapshot"),
        }
        Ok(())
    }

    /// A snapshot once enough was written since the last one, so that the next start has little to read. Answers what
    /// the quorum is to hear of it.
    pub(super) async fn maybe_snapshot(&mut self) -> Option<Event> {
        let now = self.world.now();
        // Inside a transaction the image stands at its beginning, which need not be the beginning of a batch.
        if !self.housekeeping.schedule.is_due(now) || self.loader.has_open_transaction() {
            return None;
        }
        self.housekeeping.schedule.begin_again(now);
        let image = self.loader.image();
        let timestamp = image.provenance().timestamp;
        let (id, contents) = snapshot::write(image, self.voters.as_ref(), now);
        if self.log.newest_id() >= Some(id) {
            return None;
        }
        let size_bytes = contents.len() as u64;
        match on_pool(&*self.world, self.log.save_snapshot(id, contents)).await {
            Ok(()) => {
                self.log.snapshot_saved(StoredSnapshot { id, size_bytes, timestamp });
                info!(end = %id.end, "metadata snapshot written");
                Some(Event::SnapshotSaved { id, log_start: self.log.log_start() })
            }
            Err(failure) => {
                error!(end = %id.end, %failure, "metadata snapshot not written");
                None
            }
        }
    }

    async fn unlink_due(&mut self, now: Millis) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.housekeeping.unlinks).into_iter().partition(|unlink| unlink.due <= now);
        self.housekeeping.unlinks = later;
        if !due.is_empty() {
            let disk = self.log.disk().clone();
            on_pool(&*self.world, move || directory::unlink(&disk, due)).await;
        }
    }
}
