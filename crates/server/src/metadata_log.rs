//! The files of the quorum: the metadata log, its snapshots, and `quorum-state`.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use milena_base::disk::{read_file, replace_file};
use milena_base::{Disk, DiskFile, Millis};
use milena_metadata::raft::{EpochStart, QuorumState};
use milena_metadata::records::{self, RecordsError};
use milena_metadata::snapshot::SnapshotId;
use milena_partition::log::Log;
use milena_partition::{CleanupPolicy, Flush, FlushToken, LogSettings, OpenHints, ReadError, Slice};
use milena_protocol::Offset;
use milena_protocol::records::Batch as RawBatch;

use crate::world::{World, on_pool};

const QUORUM_STATE: &str = "quorum-state";
/// Bytes read at once while the log is loaded.
const CHUNK_BYTES: usize = 1 << 20;
/// Levels of `kraft.version` decide the format of `quorum-state`.
const KRAFT_VERSION: i16 = 1;

/// The metadata log on its disk.
pub struct MetadataLog<D: Disk> {
    disk: D,
    dir: PathBuf,
    log: Log<D>,
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
    /// `quorum-state` says something else than Kafka writes.
    #[error(transparent)]
    QuorumState(#[from] milena_metadata::raft::quorum_state::QuorumStateError),
}

impl<D: Disk> MetadataLog<D> {
    /// Opens the log in `dir`; creates it where there is none. After a kill its end is checked and mended.
    pub fn open(disk: &D, dir: &Path, clean: bool, now: Millis) -> Result<MetadataLog<D>, MetadataLogError> {
        let settings = LogSettings {
            retention_ms: -1,
            retention_bytes: -1,
            cleanup: CleanupPolicy::default(),
            ..LogSettings::default()
        };
        let hints = OpenHints { clean, ..OpenHints::default() };
        let (log, _) = Log::open(disk.clone(), dir.to_owned(), settings, &hints, now)?;
        Ok(MetadataLog { disk: disk.clone(), dir: dir.to_owned(), log })
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

    /// The newest snapshot with its contents, if there is one.
    pub fn newest_snapshot(&self) -> Result<Option<(SnapshotId, Bytes)>, MetadataLogError> {
        let entries = self.disk.list(&self.dir).map_err(|source| self.io_error(source))?;
        let Some(id) = entries.iter().filter_map(|entry| SnapshotId::parse(&entry.name)).max() else {
            return Ok(None);
        };
        let path = self.dir.join(id.file_name());
        match read_file(&self.disk, &path) {
            Ok(contents) => Ok(Some((id, contents.into()))),
            Err(source) => Err(MetadataLogError::Io { path, source }),
        }
    }

    /// Writes a snapshot and removes the ones before it. The log keeps its records.
    pub async fn save_snapshot<W: World<Disk = D>>(
        &self,
        world: &W,
        id: SnapshotId,
        contents: Bytes,
    ) -> io::Result<()> {
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        on_pool(world, move || {
            replace_file(&disk, &dir.join(id.file_name()), &contents)?;
            let older = disk
                .list(&dir)?
                .into_iter()
                .filter(|entry| SnapshotId::parse(&entry.name).is_some_and(|found| found < id));
            for entry in older {
                disk.remove_file(&dir.join(entry.name))?;
            }
            Ok(())
        })
        .await
    }

    /// The disk that it lives on.
    pub fn disk(&self) -> &D {
        &self.disk
    }
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
