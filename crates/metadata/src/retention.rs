//! When a snapshot of the metadata log is due, and how much of the log and of older snapshots is kept.
//!
//! ```text
//!  log      |··········|···········|··········|····►
//!  snapshots           A           B          C
//!  A goes:             ·           |··········|····►    the log begins where B ends: B holds what was before
//! ```
//! The log start moves only to the end of a snapshot, and the newest snapshot always stays: image and log together
//! are whole at every moment.
//!
//! Source: `SnapshotGenerator`, `KafkaRaftLog.maybeClean` in Kafka 4.3.1.

use milena_base::Millis;
use milena_protocol::Offset;

use crate::snapshot::SnapshotId;

/// Counts towards the next snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotSchedule {
    bytes_max: u64,
    interval_ms: i64,
    bytes: u64,
    since: Millis,
}

impl SnapshotSchedule {
    /// Begins at `now` with `bytes` in the log that no snapshot holds. A snapshot is due after `bytes_max`
    /// (`metadata.log.max.record.bytes.between.snapshots`), or `interval_ms` after the last if anything was written
    /// (`metadata.log.max.snapshot.interval.ms`; 0: never for time alone).
    pub fn new(bytes_max: u64, interval_ms: i64, bytes: u64, now: Millis) -> SnapshotSchedule {
        SnapshotSchedule { bytes_max, interval_ms, bytes, since: now }
    }

    /// So many bytes were written.
    pub fn wrote(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Whether a snapshot is to be written now.
    pub fn is_due(&self, now: Millis) -> bool {
        let is_time = self.interval_ms > 0 && (now - self.since).0 >= self.interval_ms;
        self.bytes >= self.bytes_max || is_time && self.bytes > 0
    }

    /// One is written, or was tried in vain: the count begins anew, as Kafka's does.
    pub fn begin_again(&mut self, now: Millis) {
        (self.bytes, self.since) = (0, now);
    }
}

/// A snapshot that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Which.
    pub id: SnapshotId,
    /// Size of its file.
    pub size_bytes: u64,
    /// Time of the last batch of the log that it contains.
    pub timestamp: Millis,
}

/// How much is kept; a negative number is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Bytes of the log and all snapshots together (`metadata.max.retention.bytes`).
    pub bytes: i64,
    /// Age of a snapshot, by the time of the last batch in it (`metadata.max.retention.ms`).
    pub ms: i64,
}

impl Retention {
    /// The snapshot at whose end the log is to begin, those before it to go; `None` if everything stays.
    /// `snapshots` ascend; `log_bytes` says how large the log would be if it began at an offset.
    pub fn first_kept(
        &self,
        now: Millis,
        snapshots: &[StoredSnapshot],
        log_start: Offset,
        log_bytes: impl Fn(Offset) -> u64,
    ) -> Option<SnapshotId> {
        let start = |first: usize| if first == 0 { log_start } else { snapshots[first].id.end };
        let mut first = 0;
        if let Ok(bytes_max) = u64::try_from(self.bytes) {
            let size = |first: usize| {
                let kept: u64 = snapshots[first..].iter().map(|snapshot| snapshot.size_bytes).sum();
                kept + log_bytes(start(first))
            };
            while first + 1 < snapshots.len() && size(first) > bytes_max {
                first += 1;
            }
        }
        if self.ms >= 0 {
            while first + 1 < snapshots.len() && (now - snapshots[first].timestamp).0 > self.ms {
                first += 1;
            }
        }
        (first > 0).then(|| snapshots[first].id)
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::LeaderEpoch;

    use super::*;

    #[test]
    fn a_snapshot_is_due_by_bytes_or_by_time_if_there_is_anything_new() {
        let mut schedule = SnapshotSchedule::new(100, 1000, 0, Millis(0));
        assert!(!schedule.is_due(Millis(5000)), "nothing new");
        schedule.wrote(1);
        assert!(!schedule.is_due(Millis(999)));
        assert!(schedule.is_due(Millis(1000)));
        schedule.begin_again(Millis(1000));
        schedule.wrote(99);
        assert!(!schedule.is_due(Millis(1001)));
        schedule.wrote(1);
        assert!(schedule.is_due(Millis(1001)));
        let mut never = SnapshotSchedule::new(100, 0, 99, Millis(0));
        assert!(!never.is_due(Millis(i64::MAX)), "0 switches the time off");
        never.wrote(1);
        assert!(never.is_due(Millis(0)));
    }

    fn stored(ends: &[i64]) -> Vec<StoredSnapshot> {
        let snapshot = |end: &i64| StoredSnapshot {
            id: SnapshotId { end: Offset(*end), epoch: LeaderEpoch(1) },
            size_bytes: 10,
            timestamp: Millis(*end),
        };
        ends.iter().map(snapshot).collect()
    }

    /// One byte a record, up to 100.
    fn log_bytes(start: Offset) -> u64 {
        (100 - start.0) as u64
    }

    fn first_kept(bytes: i64, ms: i64, ends: &[i64]) -> Option<i64> {
        let kept = Retention { bytes, ms }.first_kept(Millis(100), &stored(ends), Offset(0), log_bytes);
        kept.map(|id| id.end.0)
    }

    #[test]
    fn the_oldest_snapshots_go_until_the_rest_fits() {
        assert_eq!(first_kept(130, -1, &[30, 50, 80]), None, "100 of log and 30 of snapshots");
        assert_eq!(first_kept(129, -1, &[30, 50, 80]), Some(50), "then 50 and 20");
        assert_eq!(first_kept(69, -1, &[30, 50, 80]), Some(80), "then 20 and 10");
        assert_eq!(first_kept(0, -1, &[30, 50, 80]), Some(80), "the newest stays");
        assert_eq!(first_kept(-1, -1, &[30, 50, 80]), None);
    }

    #[test]
    fn a_snapshot_that_is_too_old_goes_unless_it_is_the_newest() {
        assert_eq!(first_kept(-1, 70, &[30, 50, 80]), None);
        assert_eq!(first_kept(-1, 69, &[30, 50, 80]), Some(50));
        assert_eq!(first_kept(-1, 0, &[30, 50, 80]), Some(80));
        assert_eq!(first_kept(0, 0, &[30]), None, "the log is never begun at the only snapshot");
        assert_eq!(first_kept(0, 0, &[]), None);
    }
}
