//! The log directory as a whole: whose it is, that nobody else uses it, what its checkpoint files say, and what
//! is to be removed from it later.
//!
//! ```text
//! DATA_DIR/
//!   meta.properties                    cluster, node, directory
//!   .lock                              held while a process uses the directory
//!   .kafka_cleanshutdown               only after a clean stop: nothing needs recovery
//!   recovery-point-offset-checkpoint   everything below is flushed
//!   replication-offset-checkpoint      high watermarks
//!   log-start-offset-checkpoint        log starts above 0
//!   cleaner-offset-checkpoint          everything below is compacted
//!   __cluster_metadata-0/  TOPIC-N/  TOPIC-N.ID-delete/
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use milena_base::disk::{read_file, replace_file};
use milena_base::{Disk, Millis};
use milena_metadata::format::{MetaError, MetaProperties};
use milena_partition::checkpoint::{
    COMPACTED, CheckpointError, HIGH_WATERMARKS, LOG_STARTS, Offsets, RECOVERY_POINTS, read_offsets, read_topic_id,
    write_offsets,
};
use milena_partition::names::{PARTITION_METADATA, parse_dir};
use milena_partition::{OpenHints, Unlink};
use milena_protocol::{NodeId, Offset, TopicPartition, Uuid};
use parking_lot::Mutex;
use tracing::{error, warn};

use crate::node::Node;
use crate::partitions::Replica;
use crate::world::World;

/// The metadata log's directory inside the log directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It cannot be made, or nothing can be written in it.
    #[error(
        "the data directory {path} cannot be used: {reason}; choose another one with --data-dir, or log.dirs in the settings file"
    )]
    Unusable {
        /// Which directory.
        path: PathBuf,
        /// Why, for people.
        reason: String,
    },
    /// Another process uses it.
    #[error("{0} is in use by another process: stop that one, or choose another directory with --data-dir")]
    InUse(PathBuf),
    /// `meta.properties` cannot be read.
    #[error("{path}: {reason}")]
    Meta {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: MetaError,
    },
    /// It belongs to another cluster or node.
    #[error(
        "{path} belongs to {what} {found}, not {expected}: choose another directory with --data-dir, or start with {option}={found}"
    )]
    Other {
        /// Which directory.
        path: PathBuf,
        /// `cluster` or `node`.
        what: &'static str,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
        /// The setting that would fit.
        option: &'static str,
    },
    /// Formatted before: doing it again would make another cluster of it.
    #[error(
        "{path} is formatted already, for cluster {cluster_id}: start it with `milena server`, or choose another directory"
    )]
    Formatted {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        cluster_id: String,
    },
    /// Not formatted, and not to be formatted without being asked.
    #[error("{0} holds files but no meta.properties: it is no log directory; choose another one with --data-dir")]
    NotFormatted(PathBuf),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError + '_ {
    |source| DirectoryError::Io { path: path.to_owned(), source }
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError + '_ {
    |source| {
        let reason = match source.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                "it, or what it should lie in, is a file".to_owned()
            }
            io::ErrorKind::NotFound => "it is not there and cannot be made".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not write there".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => "its file system can only be read".to_owned(),
            io::ErrorKind::StorageFull => "its file system is full".to_owned(),
            _ => source.to_string(),
        };
        DirectoryError::Unusable { path: path.to_owned(), reason }
    }
}

/// An open log directory.
pub struct Directory<D: Disk> {
    path: PathBuf,
    /// Held open, and with it the lock, as long as the directory is used.
    lock: Mutex<Option<D::File>>,
    clean: bool,
    recovery_points: Offsets,
    high_watermarks: Offsets,
    log_starts: Offsets,
    compacted: Offsets,
    unlinks: Mutex<Vec<Unlink>>,
    /// Partitions whose replica could not be opened: what is known about them must not be forgotten.
    unopened: Mutex<BTreeSet<TopicPartition>>,
}

/// Creates the directory if need be and takes its lock.
pub fn lock<D: Disk>(disk: &D, path: &Path) -> Result<D::File, DirectoryError> {
    disk.create_dir_all(path).map_err(unusable(path))?;
    let lock = disk.open_locked(&path.join(LOCK)).map_err(unusable(path))?;
    lock.ok_or_else(|| DirectoryError::InUse(path.to_owned()))
}

/// Whose directory it is; `None` where it is empty.
pub fn meta<D: Disk>(disk: &D, path: &Path) -> Result<Option<MetaProperties>, DirectoryError> {
    let file = path.join(META_PROPERTIES);
    match read_file(disk, &file) {
        Ok(contents) => {
            let text = String::from_utf8_lossy(&contents);
            MetaProperties::parse(&text).map(Some).map_err(|reason| DirectoryError::Meta { path: file, reason })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = disk.list(path).map_err(io_error(path))?;
            match entries.iter().any(|entry| entry.name != LOCK) {
                true => Err(DirectoryError::NotFormatted(path.to_owned())),
                false => Ok(None),
            }
        }
        Err(error) => Err(io_error(&file)(error)),
    }
}

/// Refuses a directory of another cluster or node.
pub fn check(path: &Path, meta: &MetaProperties, cluster_id: Option<&str>, node: NodeId) -> Result<(), DirectoryError> {
    let other = |what, found: String, expected: String, option| {
        Err(DirectoryError::Other { path: path.to_owned(), what, found, expected, option })
    };
    match cluster_id {
        Some(expected) if expected != meta.cluster_id => {
            other("cluster", meta.cluster_id.clone(), expected.to_owned(), "-o cluster.id")
        }
        _ if node != meta.node => other("node", meta.node.to_string(), node.to_string(), "-o node.id"),
        _ => Ok(()),
    }
}

/// Writes what `format` decided, the file that makes the directory a log directory last.
pub fn format<D: Disk>(
    disk: &D,
    path: &Path,
    meta: &MetaProperties,
    files: &BTreeMap<String, bytes::Bytes>,
) -> Result<(), DirectoryError> {
    for (name, contents) in files {
        let file = path.join(name);
        if let Some(parent) = file.parent() {
            disk.create_dir_all(parent).map_err(io_error(parent))?;
        }
        replace_file(disk, &file, contents).map_err(io_error(&file))?;
    }
    let file = path.join(META_PROPERTIES);
    replace_file(disk, &file, meta.to_text().as_bytes()).map_err(io_error(&file))
}

impl<D: Disk> Directory<D> {
    /// Reads the checkpoint files. The mark of a clean stop is taken away: from now on the directory is in use.
    pub fn open(disk: &D, path: &Path, lock: D::File) -> Result<Directory<D>, DirectoryError> {
        let mark = path.join(CLEAN_SHUTDOWN);
        let clean = match disk.remove_file(&mark) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(io_error(&mark)(error)),
        };
        if clean {
            disk.flush_dir(path).map_err(io_error(path))?;
        }
        Ok(Directory {
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
            clean,
            recovery_points: offsets(disk, path, RECOVERY_POINTS)?,
            high_watermarks: offsets(disk, path, HIGH_WATERMARKS)?,
            log_starts: offsets(disk, path, LOG_STARTS)?,
            compacted: offsets(disk, path, COMPACTED)?,
            unlinks: Mutex::default(),
            unopened: Mutex::default(),
        })
    }

    /// Lets others use the directory.
    pub fn release(&self) {
        self.lock.lock().take();
    }

    /// Whether the last process stopped cleanly.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// What is known about a partition's log before it is opened.
    pub fn hints(&self, partition: &TopicPartition, random: [u8; 16]) -> OpenHints {
        let of = |offsets: &Offsets| offsets.get(partition).copied().unwrap_or(Offset(0));
        OpenHints {
            recovery_point: of(&self.recovery_points),
            log_start: of(&self.log_starts),
            high_watermark: of(&self.high_watermarks),
            compacted_to: of(&self.compacted),
            clean: self.clean,
            seed: u64::from_be_bytes(std::array::from_fn(|at| random[at])),
        }
    }

    /// Keeps the checkpoints of a replica that could not be opened.
    pub fn keep(&self, partition: TopicPartition) {
        self.unopened.lock().insert(partition);
    }

    /// It could be opened after all.
    pub fn opened(&self, partition: &TopicPartition) {
        self.unopened.lock().remove(partition);
    }

    /// A topic was deleted: what was known about its partitions is void.
    pub fn forget(&self, topic: &str) {
        self.unopened.lock().retain(|partition| partition.topic != topic);
    }

    /// What is to be written for replicas that could not be opened, to begin with.
    pub fn kept(&self) -> Checkpoints {
        let mut kept = Checkpoints::default();
        for partition in self.unopened.lock().iter() {
            let of = |offsets: &Offsets| offsets.get(partition).copied().unwrap_or(Offset(0));
            kept.add(partition, of(&self.recovery_points), of(&self.high_watermarks), of(&self.log_starts));
        }
        kept
    }

    /// Remembers files that are to be removed when nobody reads them any more.
    pub fn unlink_later(&self, unlinks: Vec<Unlink>) {
        self.unlinks.lock().extend(unlinks);
    }

    /// Removes what is due.
    pub fn unlink_due(&self, disk: &D, now: Millis) {
        let due: Vec<Unlink> = {
            let mut unlinks = self.unlinks.lock();
            let (due, later) = unlinks.drain(..).partition(|unlink| unlink.due <= now);
            *unlinks = later;
            due
        };
        unlink(disk, due);
    }

    /// Writes the three checkpoint files from what the replicas say now.
    pub fn checkpoint(&self, disk: &D, replicas: &[std::sync::Arc<Replica<D>>]) -> Result<(), DirectoryError> {
        let mut points = self.kept();
        for replica in replicas {
            let marks = replica.with(|partition| (partition.recovery_point(), partition.marks()));
            if let Some((recovery_point, marks)) = marks {
                points.add(replica.topic_partition(), recovery_point, marks.high_watermark, marks.log_start);
            }
        }
        points.write(disk, &self.path)
    }

    /// Writes the mark of a clean stop, after everything was closed.
    pub fn mark_clean(&self, disk: &D, broker_epoch: i64) -> Result<(), DirectoryError> {
        let mark = self.path.join(CLEAN_SHUTDOWN);
        let contents = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        replace_file(disk, &mark, contents.as_bytes()).map_err(io_error(&mark))
    }
}

/// The contents of the three checkpoint files.
#[derive(Default)]
pub struct Checkpoints {
    recovery_points: Vec<(TopicPartition, Offset)>,
    high_watermarks: Vec<(TopicPartition, Offset)>,
    log_starts: Vec<(TopicPartition, Offset)>,
}

impl Checkpoints {
    /// One partition. A log start of 0 needs no line.
    pub fn add(&mut self, partition: &TopicPartition, recovery_point: Offset, high_watermark: Offset, start: Offset) {
        self.recovery_points.push((partition.clone(), recovery_point));
        self.high_watermarks.push((partition.clone(), high_watermark));
        if start > Offset(0) {
            self.log_starts.push((partition.clone(), start));
        }
    }

    /// Replaces the files.
    pub fn write<D: Disk>(&self, disk: &D, path: &Path) -> Result<(), DirectoryError> {
        let files = [
            (RECOVERY_POINTS, &self.recovery_points),
            (HIGH_WATERMARKS, &self.high_watermarks),
            (LOG_STARTS, &self.log_starts),
        ];
        for (name, offsets) in files {
            let file = path.join(name);
            let contents = write_offsets(offsets.iter().map(|(partition, offset)| (partition, *offset)));
            replace_file(disk, &file, &contents).map_err(io_error(&file))?;
        }
        Ok(())
    }
}

/// A missing file knows nothing; a damaged one is worth no more, since recovery finds out by reading the logs.
fn offsets<D: Disk>(disk: &D, path: &Path, name: &str) -> Result<Offsets, DirectoryError> {
    let file = path.join(name);
    match read_file(disk, &file) {
        Ok(contents) => Ok(read_offsets(&contents).unwrap_or_else(|damage: CheckpointError| {
            warn!(path = %file.display(), %damage, "checkpoint ignored");
            Offsets::default()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Offsets::default()),
        Err(error) => Err(io_error(&file)(error)),
    }
}

/// Closes a replica of a deleted topic and renames its directory, so that the name is free at once.
pub fn set_aside<W: World>(node: &Node<W>, replica: &Replica<W::Disk>) -> Option<PathBuf> {
    drop(replica.close());
    let disk = node.world.disk();
    let parent = &node.settings.data_dir;
    let dir = parent.join(replica.topic_partition().to_string());
    let unique: String = node.world.random().iter().map(|byte| format!("{byte:02x}")).collect();
    let aside = parent.join(aside_name(replica.topic_partition(), &unique));
    let renamed = disk.rename(&dir, &aside).and_then(|()| disk.flush_dir(parent));
    match renamed {
        Ok(()) => Some(aside),
        Err(error) => {
            warn!(path = %dir.display(), %error, "the directory of a deleted topic cannot be renamed");
            None
        }
    }
}

/// `TOPIC-N.ID-delete`, cut so that it stays a valid file name (`LogManager.logDeleteDirName`).
fn aside_name(partition: &TopicPartition, unique: &str) -> String {
    const NAME_MAX: usize = 255;
    let suffix = format!("-{}.{unique}-delete", partition.partition);
    let topic = &partition.topic[..partition.topic.len().min(NAME_MAX - suffix.len())];
    format!("{topic}{suffix}")
}

/// Removes directories of deleted topics.
pub fn remove_dirs<D: Disk>(disk: &D, dirs: &[PathBuf]) {
    for dir in dirs {
        if let Err(error) = disk.remove_dir_all(dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %dir.display(), %error, "the directory of a deleted topic cannot be removed");
        }
    }
}

/// Removes files whose time has come.
pub(crate) fn unlink<D: Disk>(disk: &D, due: Vec<Unlink>) {
    for unlink in due {
        if let Err(error) = disk.remove_file(&unlink.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %unlink.path.display(), %error, "a deleted file cannot be removed");
        }
    }
}

/// Directories of topics that were deleted before this run began.
pub(crate) fn leftovers<D: Disk>(disk: &D, path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = disk.list(path) else { return Vec::new() };
    let aside = entries.iter().filter(|entry| entry.is_dir && entry.name.ends_with("-delete"));
    aside.map(|entry| path.join(&entry.name)).collect()
}

/// The partitions whose logs lie in a directory, the metadata log aside.
pub(crate) fn logs<D: Disk>(disk: &D, dir: &Path) -> Vec<TopicPartition> {
    let Ok(entries) = disk.list(dir) else { return Vec::new() };
    let dirs = entries.iter().filter(|entry| entry.is_dir && entry.name != METADATA_DIR);
    dirs.filter_map(|entry| parse_dir(&entry.name)).collect()
}

/// Logs that the metadata does not know, by name or by id: renamed, never removed, since they hold somebody's data.
pub(crate) fn set_strays_aside<D: Disk>(
    disk: &D,
    dir: &Path,
    is_known: impl Fn(&TopicPartition, Option<Uuid>) -> bool,
    unique: &str,
) {
    for partition in logs(disk, dir) {
        let name = partition.to_string();
        let id = read_file(disk, &dir.join(&name).join(PARTITION_METADATA)).ok();
        if is_known(&partition, id.and_then(|contents| read_topic_id(&contents))) {
            continue;
        }
        let renamed = disk.rename(&dir.join(&name), &dir.join(format!("{name}.{unique}-stray")));
        match renamed {
            Ok(()) => error!(%partition, "on disk, but not in the metadata; its directory is renamed to -stray"),
            Err(failure) => error!(%partition, %failure, "on disk, but not in the metadata"),
        }
    }
}
