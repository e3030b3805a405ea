//! The files of the quorum: the metadata log, its snapshots, and `quorum-state`.
//!
//! Source: `KafkaRaftLog` in Kafka 4.3.1.

mod snapshots;

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use milena_base::disk::{read_file, replace_file};
use milena_base::{Disk, DiskFile, Millis};
use milena_metadata::raft::{EpochStart, QuorumState};
use milena_metadata::records::{self, RecordsError};
use milena_metadata::retention::{Retention, StoredSnapshot};
use milena_metadata::snapshot::SnapshotId;
use milena_partition::log::Log;
use milena_partition::{CleanupPolicy, Flush, FlushToken, LogSettings, OpenHints, ReadError, Slice};
use milena_protocol::Offset;
use milena_protocol::records::Batch as RawBatch;
use tracing::warn;

use crate::world::{World, on_pool};

const QUORUM_STATE: &str = "quorum-state";
/// Bytes read at once while the log is loaded.
const CHUNK_BYTES: usize = 1 << 20;
/// Levels of `kraft.version` decide the format of `quorum-state`.
const KRAFT_VERSION: i16 = 1;

/// What is set for the metadata log.
#[derive(Debug, Clone, Copy)]
pub struct MetadataLogSettings {
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub snapshot_bytes_max: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0: no snapshot for time alone.
    pub snapshot_interval_ms: i64,
    /// `metadata.log.segment.bytes`, or `internal.metadata.log.segment.bytes`
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub segment_ms: i64,
    /// `metadata.max.retention.bytes` and `metadata.max.retention.ms`
    pub retention: Retention,
    /// `internal.metadata.delete.delay.millis`: how long a file stays under its `.deleted` name.
    pub delete_delay_ms: i64,
}

/// The metadata log on its disk.
pub struct MetadataLog<D: Disk> {
    disk: D,
    dir: PathBuf,
    log: Log<D>,
    settings: MetadataLogSettings,
    /// By their end, ascending; each is whole and durable.
    snapshots: Vec<StoredSnapshot>,
}

/// Why the metadata log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataLogError {
    /// The log itself.
    #[error(transparent)]
    Open(#[from] milena_partition::OpenError),
    /// A read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file beside the log.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// A batch is none of the metadata log's.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Records are missing that no snapshot holds.
    #[error(
        "the metadata log in {dir} begins at offset {log_start}, and no snapshot holds what was before: it cannot be read. Restore OFFSET-EPOCH.checkpoint files of that directory from a backup"
    )]
    NoSnapshot {
        /// Which directory.
        dir: PathBuf,
        /// Where the log begins.
        log_start: Offset,
    },
    /// `quorum-state` says something else than Kafka writes.
    #[error(transparent)]
    QuorumState(#[from] milena_metadata::raft::quorum_state::QuorumStateError),
}

impl<D: Disk> MetadataLog<D> {
    /// Opens the log in `dir`; creates it where there is none. After a kill its end is checked and mended, and what
    /// was on its way out is removed.
    pub fn open(
        disk: &D,
        dir: &Path,
        settings: MetadataLogSettings,
        clean: bool,
        now: Millis,
    ) -> Result<MetadataLog<D>, MetadataLogError> {
        let log_settings = LogSettings {
            retention_ms: -1,
            retention_bytes: -1,
            cleanup: CleanupPolicy::default(),
            segment_bytes: settings.segment_bytes,
            segment_ms: settings.segment_ms,
            file_delete_delay_ms: settings.delete_delay_ms,
            ..LogSettings::default()
        };
        let failed = |source| MetadataLogError::Io { path: dir.to_owned(), source };
        let snapshots = snapshots::stored(disk, dir).map_err(failed)?;
        let newest = snapshots.last().map(|snapshot| snapshot.id);
        // A snapshot holds committed records only, and those are on the device.
        let recovery_point = newest.map_or(Offset(0), |id| id.end);
        let hints = OpenHints { clean, recovery_point, ..OpenHints::default() };
        let (mut log, recovered) = Log::open(disk.clone(), dir.to_owned(), log_settings, &hints, now)?;
        if recovered.truncated_bytes > 0 {
            warn!(bytes = recovered.truncated_bytes, "torn end of the metadata log cut off");
        }
        let latest = log.epochs().latest().unwrap_or_default();
        if let Some(id) = newest.filter(|id| (id.epoch, id.end) > (latest, log.log_end())) {
            warn!(log_end = %log.log_end(), snapshot = %id.end, "the metadata log goes on behind its newest snapshot");
            log.restart_at(now, id.end).map_err(failed)?;
        }
        let mut log = MetadataLog { disk: disk.clone(), dir: dir.to_owned(), log, settings, snapshots };
        log.forget_outdated()?;
        Ok(log)
    }

    /// First offset of the log.
    pub fn log_start(&self) -> Offset {
        self.log.log_start()
    }

    /// Next offset of the log.
    pub fn log_end(&self) -> Offset {
        self.log.log_end()
    }

    /// Where each epoch of the log begins.
    pub fn epochs(&self) -> Vec<EpochStart> {
        let entries = self.log.epochs().entries().iter();
        entries.map(|(epoch, start)| EpochStart { epoch: *epoch, start: *start }).collect()
    }

    /// Every batch from `from` on.
    pub fn batches_from(&mut self, from: Offset) -> Result<Vec<records::Batch>, MetadataLogError> {
        let mut batches: Vec<records::Batch> = Vec::new();
        let mut next = from.max(self.log_start());
        while next < self.log_end() {
            let slice = self.log.read(next, CHUNK_BYTES, true, self.log.log_end())?;
            let Slice::File { file, position, size_bytes, .. } = slice else { break };
            let mut bytes = BytesMut::zeroed(size_bytes);
            let read = file.read_at(&mut bytes, position).map_err(|source| self.io_error(source))?;
            bytes.truncate(read);
            let whole = whole_batches(bytes.freeze());
            let read = records::decode(&whole)?;
            let Some(last) = read.last() else { break };
            next = last.end();
            batches.extend(read);
        }
        Ok(batches)
    }

    fn io_error(&self, source: io::Error) -> MetadataLogError {
        MetadataLogError::Io { path: self.dir.clone(), source }
    }

    /// Appends one batch whose offset and epoch are final.
    pub fn append(&mut self, bytes: &Bytes, now: Millis) -> io::Result<()> {
        let batch = RawBatch::parse(bytes.clone()).map_err(io::Error::other)?;
        self.log.append_ready(now, &batch).map(|_| ()).map_err(io::Error::other)
    }

    /// Cuts the log back.
    pub fn truncate(&mut self, end: Offset, now: Millis) -> io::Result<()> {
        self.log.truncate_to(now, end)
    }

    /// What has to be flushed to make everything appended so far durable; `None` if nothing has.
    pub fn prepare_flush(&mut self) -> io::Result<Option<Flush<D::File>>> {
        self.log.prepare_flush()
    }

    /// The files of a flush are on the device.
    pub fn flushed(&mut self, now: Millis, token: FlushToken) {
        self.log.flushed(now, token);
    }

    /// Makes everything durable and trims the indexes, for the end.
    pub fn close(self) -> io::Result<()> {
        self.log.close().map(|_| ())
    }

    /// What the quorum remembers; `None` at the first start.
    pub fn quorum_state(&self) -> Result<Option<QuorumState>, MetadataLogError> {
        let path = self.dir.join(QUORUM_STATE);
        match read_file(&self.disk, &path) {
            Ok(contents) => Ok(Some(QuorumState::parse(&String::from_utf8_lossy(&contents))?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MetadataLogError::Io { path, source }),
        }
    }

    /// Writes `quorum-state`, durably.
    pub async fn persist<W: World<Disk = D>>(&self, world: &W, state: &QuorumState) -> io::Result<()> {
        let (disk, path, json) = (self.disk.clone(), self.dir.join(QUORUM_STATE), state.to_json(KRAFT_VERSION));
        on_pool(world, move || replace_file(&disk, &path, json.as_bytes())).await
    }

    /// Bytes of the log from `offset` on.
    pub fn bytes_from(&mut self, offset: Offset) -> Result<u64, MetadataLogError> {
        let (from, log_end) = (offset.max(self.log_start()), self.log.log_end());
        if from >= log_end {
            return Ok(0);
        }
        let in_its_segment = match self.log.read(from, usize::MAX, true, log_end)? {
            Slice::File { size_bytes, .. } => size_bytes as u64,
            Slice::Empty => 0,
        };
        let following = self.log.segment_bases().find(|base| *base > from);
        Ok(in_its_segment + following.map_or(0, |base| self.log.size_bytes_from(base)))
    }

    /// What is set for it.
    pub fn settings(&self) -> &MetadataLogSettings {
        &self.settings
    }

    /// The disk that it lives on.
    pub fn disk(&self) -> &D {
        &self.disk
    }
}

/// Whether a directory holds neither records nor a snapshot of any. Changes nothing.
pub(crate) fn is_empty<D: Disk>(disk: &D, dir: &Path) -> Result<bool, MetadataLogError> {
    let failed = |source| MetadataLogError::Io { path: dir.to_owned(), source };
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(error)),
    };
    for name in entries.into_iter().map(|entry| entry.name) {
        let has_records = SnapshotId::parse(&name).is_some_and(|id| id.end > Offset(0))
            || name.ends_with(".log")
                && disk.open_existing(&dir.join(&name)).map_err(failed)?.size_bytes().map_err(failed)? > 0;
        if has_records {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A read may end inside a batch: what is cut is read again.
fn whole_batches(bytes: Bytes) -> Bytes {
    let mut end = 0;
    let mut rest = milena_protocol::records::batches(bytes.clone()).tolerate_cut();
    for batch in rest.by_ref() {
        match batch {
            Ok(batch) => end += batch.bytes().len(),
            // Damage is for the strict decoder to report.
            Err(_) => return bytes,
        }
    }
    bytes.slice(..end)
}

#[cfg(test)]
mod tests;
