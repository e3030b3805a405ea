//! The snapshots beside the metadata log, and how the log is cut down to one of them.
//!
//! ```text
//! 00000000000000000042-0000000003.checkpoint.part      being written
//! 00000000000000000042-0000000003.checkpoint           whole
//! 00000000000000000042-0000000003.checkpoint.deleted   removed after a delay: somebody may be reading it
//! ```
//! A crash may come between any two steps. Whole snapshots are durable before the log is cut to them; segments go
//! one by one from the oldest, each made durable, so that what is left has no gap; snapshots go last.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use milena_base::disk::{read_file, replace_file_by};
use milena_base::{Disk, DiskFile, Millis};
use milena_metadata::retention::StoredSnapshot;
use milena_metadata::snapshot::{self, SnapshotId};
use milena_partition::Unlink;
use milena_protocol::Offset;
use tracing::{info, warn};

use super::{MetadataLog, MetadataLogError};

const PART: &str = ".part";
const DELETED: &str = ".deleted";
/// The beginning of a snapshot's file, with its header and the voters.
const BEGINNING_BYTES: usize = 64 * 1024;

impl<D: Disk> MetadataLog<D> {
    /// The newest snapshot.
    pub fn newest_id(&self) -> Option<SnapshotId> {
        self.snapshots.last().map(|snapshot| snapshot.id)
    }

    /// The newest snapshot with its contents, if there is one.
    pub fn newest_snapshot(&self) -> Result<Option<(SnapshotId, Bytes)>, MetadataLogError> {
        let Some(id) = self.newest_id() else { return Ok(None) };
        let path = self.dir.join(id.file_name());
        match read_file(&self.disk, &path) {
            Ok(contents) => Ok(Some((id, contents.into()))),
            Err(source) => Err(MetadataLogError::Io { path, source }),
        }
    }

    /// What writes a snapshot durably; then call [`MetadataLog::snapshot_saved`]. After an error the former ones are
    /// still there.
    pub fn save_snapshot(&self, id: SnapshotId, contents: Bytes) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let (disk, path) = (self.disk.clone(), self.dir.join(id.file_name()));
        move || replace_file_by(&disk, &path, PART, &contents)
    }

    /// A snapshot later than all others is on the device.
    pub fn snapshot_saved(&mut self, saved: StoredSnapshot) {
        assert!(self.newest_id() < Some(saved.id), "a snapshot is written once, in order");
        self.snapshots.push(saved);
    }

    /// Cuts the log down to a snapshot's end, where what is kept is too large or too old. Answers the files to be removed later;
    /// `None` if everything stays.
    pub fn trim(&mut self, now: Millis) -> io::Result<Option<Vec<Unlink>>> {
        let (log, retention) = (&self.log, self.settings.retention);
        let kept = retention.first_kept(now, &self.snapshots, log.log_start(), |start| log.size_bytes_from(start));
        let Some(id) = kept else { return Ok(None) };
        let mut unlinks = Vec::new();
        let passed: Vec<Offset> = self.log.segment_bases().skip(1).take_while(|base| *base <= id.end).collect();
        for base in passed {
            self.log.advance_log_start(base);
            unlinks.extend(self.log.delete_before_log_start(now, id.end)?);
            self.disk.flush_dir(&self.dir)?;
        }
        self.log.advance_log_start(id.end);
        let due = now + Millis(self.settings.delete_delay_ms);
        while self.snapshots.first().is_some_and(|oldest| oldest.id < id) {
            let path = self.dir.join(self.snapshots[0].id.file_name());
            let deleted = with_ending(&path, DELETED);
            self.disk.rename(&path, &deleted)?;
            self.snapshots.remove(0);
            unlinks.push(Unlink { path: deleted, due });
        }
        info!(log_start = %self.log.log_start(), snapshots = self.snapshots.len(), "metadata log cut to a snapshot");
        Ok(Some(unlinks))
    }

    /// Removes what a former run left half written or half removed, and snapshots from before the log's beginning.
    ///
    /// Source: `KafkaRaftLog.recoverSnapshots`.
    pub(super) fn forget_outdated(&mut self) -> Result<(), MetadataLogError> {
        let log_start = self.log.log_start();
        if log_start > Offset(0) && self.snapshots.last().is_none_or(|newest| newest.id.end < log_start) {
            return Err(MetadataLogError::NoSnapshot { dir: self.dir.clone(), log_start });
        }
        let entries = self.disk.list(&self.dir).map_err(|source| self.io_error(source))?;
        for name in entries.iter().map(|entry| entry.name.as_str()) {
            let unfinished = name.strip_suffix(PART).or_else(|| name.strip_suffix(DELETED));
            let is_unfinished = unfinished.is_some_and(|name| SnapshotId::parse(name).is_some());
            if is_unfinished || SnapshotId::parse(name).is_some_and(|id| id.end < log_start) {
                self.disk.remove_file(&self.dir.join(name)).map_err(|source| self.io_error(source))?;
            }
        }
        self.snapshots.retain(|snapshot| snapshot.id.end >= log_start);
        Ok(())
    }
}

/// The whole snapshots of a directory, by their end; none where there is no directory.
pub(super) fn stored<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<StoredSnapshot>> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut snapshots = Vec::new();
    for id in entries.iter().filter_map(|entry| SnapshotId::parse(&entry.name)) {
        let path = dir.join(id.file_name());
        let file = disk.open_existing(&path)?;
        let size_bytes = file.size_bytes()?;
        let mut beginning = vec![0; BEGINNING_BYTES.min(size_bytes as usize)];
        let read = file.read_at(&mut beginning, 0)?;
        beginning.truncate(read);
        let timestamp = snapshot::timestamp(&beginning.into()).unwrap_or_else(|failure| {
            // The newest is read whole at the start, which refuses it; an older one only waits for its end.
            warn!(path = %path.display(), %failure, "this snapshot is damaged");
            Millis(0)
        });
        snapshots.push(StoredSnapshot { id, size_bytes, timestamp });
    }
    snapshots.sort_by_key(|snapshot| snapshot.id);
    Ok(snapshots)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
