//! From a directory to a machine that is ready to run: lock, format if it is empty, load snapshot and log, set up
//! the quorum and the controller. All of it waits for the disk, so it runs on the pool.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Disk;
use milena_base::disk::read_file;
use milena_metadata::controller::{self, Controller};
use milena_metadata::format::{self, MetaProperties};
use milena_metadata::image::Image;
use milena_metadata::loader::Loader;
use milena_metadata::raft::{self, Event, Raft};
use milena_metadata::records::{Batch, Control, Entry, RecordsError};
use milena_metadata::retention::SnapshotSchedule;
use milena_metadata::{delta::ReplayError, snapshot};
use milena_protocol::messages::{MetadataRecord, VotersRecord};
use milena_protocol::{Offset, Uuid};
use tracing::info;

use crate::control::Parts;
use crate::directory::{self, Directory, DirectoryError, METADATA_DIR};
use crate::metadata_log::{self, MetadataLog, MetadataLogError};
use crate::settings::Settings;
use crate::world::World;

/// Why the metadata cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The log directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The metadata log cannot be opened.
    #[error("the metadata log cannot be opened: {0}")]
    Log(#[from] MetadataLogError),
    /// A snapshot or `bootstrap.checkpoint` is damaged.
    #[error("the metadata cannot be read: {0}")]
    Records(#[from] RecordsError),
    /// The records do not add up.
    #[error("the metadata cannot be read: {0}")]
    Replay(#[from] ReplayError),
    /// The cluster's metadata are gone, its records are not.
    #[error(
        "the metadata log {dir} is empty, but beside it lie {logs} logs of partitions (the first: {first}): without it \
         nobody knows whose they are. Nothing was changed. Restore {dir} from a backup; or, to begin an empty cluster, move the \
         partitions' directories somewhere else and start again"
    )]
    Emptied {
        /// The metadata log's directory.
        dir: PathBuf,
        /// How many logs there are.
        logs: usize,
        /// One of them.
        first: String,
    },
    /// The directory belongs to a quorum of other or more nodes.
    #[error("the metadata quorum has the voters {0:?}: quorums of other or more than this node are not supported yet")]
    OtherVoters(Vec<i32>),
    /// An authorizer is named, and there are access rules that nobody would obey.
    #[error(
        "the cluster has {0} access rules, which are not obeyed yet: to start without them, take authorizer.class.name out of the \
         settings; every client may then do everything"
    )]
    Unguarded(usize),
}

/// Kafka, depending on how its voters were set, then waits for ever for a leader, or begins an empty cluster and renames every
/// log to `-stray`. Most likely somebody removed too much, and can still put it back.
fn refuse_emptied<D: Disk>(disk: &D, path: &Path) -> Result<(), StartupError> {
    let dir = path.join(METADATA_DIR);
    if !metadata_log::is_empty(disk, &dir)? {
        return Ok(());
    }
    match directory::logs(disk, path).as_slice() {
        logs @ [first, ..] => Err(StartupError::Emptied { dir, logs: logs.len(), first: first.to_string() }),
        [] => Ok(()),
    }
}

/// Whoever made the rules relies on them. Kafka does not look at them either where no authorizer is named.
fn refuse_unguarded(image: &Image, tail: &[Batch]) -> Result<(), StartupError> {
    let mut rules: BTreeSet<Uuid> = image.acls().keys().copied().collect();
    for entry in tail.iter().flat_map(|batch| &batch.entries) {
        match entry {
            Entry::Data(MetadataRecord::AccessControlEntry(record)) => rules.insert(record.id),
            Entry::Data(MetadataRecord::RemoveAccessControlEntry(record)) => rules.remove(&record.id),
            _ => false,
        };
    }
    if rules.is_empty() { Ok(()) } else { Err(StartupError::Unguarded(rules.len())) }
}

/// Several nodes are not wired yet: a quorum that needs others would wait for them in vain.
fn only_voter(voters: &[(Offset, VotersRecord)], meta: &MetaProperties) -> Result<(), StartupError> {
    let Some((_, newest)) = voters.last() else { return Ok(()) };
    match newest.voters.as_slice() {
        [one] if one.voter_id == meta.node.0 => Ok(()),
        others => Err(StartupError::OtherVoters(others.iter().map(|voter| voter.voter_id).collect())),
    }
}

/// Everything that the control thread starts with, and whose directory it is.
pub(crate) struct Opened<W: World> {
    pub(crate) meta: MetaProperties,
    pub(crate) directory: Directory<W::Disk>,
    /// To be removed beside everything else: there may be very many.
    pub(crate) leftovers: Vec<PathBuf>,
    pub(crate) parts: Parts<W>,
    pub(crate) start: Event,
    /// The log behind the snapshot: it counts when the quorum says that it is committed.
    pub(crate) tail: Vec<Batch>,
}

/// Opens the node's directory.
pub(crate) fn open<W: World>(world: &Arc<W>, settings: &Settings) -> Result<Opened<W>, StartupError> {
    let (disk, path) = (world.disk(), &settings.data_dir);
    let lock = directory::lock(&disk, path)?;
    let meta = match directory::meta(&disk, path)? {
        Some(meta) => meta,
        None => format_standalone(&**world, settings)?,
    };
    directory::check(path, &meta, settings.cluster_id.as_deref(), settings.node_id)?;
    refuse_emptied(&disk, path)?;
    let leftovers = directory::leftovers(&disk, path);
    let directory = Directory::open(&disk, path, lock)?;
    let mut log = {
        let dir = path.join(METADATA_DIR);
        MetadataLog::open(&disk, &dir, settings.metadata, directory.is_clean(), world.now())?
    };

    let mut loader = Loader::new();
    let mut voters: Vec<(Offset, VotersRecord)> = Vec::new();
    let mut snapshot_id = None;
    if let Some((id, contents)) = log.newest_snapshot()? {
        let snapshot = snapshot::read(id, &contents)?;
        loader.load_snapshot(&snapshot)?;
        voters.extend(snapshot.voters.map(|voters| (Offset(id.end.0 - 1), voters)));
        snapshot_id = Some(id);
    }
    let tail = log.batches_from(loader.read().last.next())?;
    voters.extend(tail.iter().flat_map(voters_in));
    only_voter(&voters, &meta)?;
    if settings.names_authorizer {
        refuse_unguarded(loader.image(), &tail)?;
    }
    let unsaved_bytes = log.bytes_from(snapshot_id.map_or(Offset(0), |id| id.end))?;
    let start = raft::Start {
        state: log.quorum_state()?,
        log_start: log.log_start(),
        log_end: log.log_end(),
        epochs: log.epochs(),
        snapshot: snapshot_id,
        static_voters: Vec::new(),
        voters: voters.clone(),
    };
    let parts = Parts {
        world: Arc::clone(world),
        raft: Raft::new(raft_options(&**world, settings, &meta)),
        controller: Controller::new(controller_options(settings, &meta)),
        bootstrap: bootstrap(&**world, settings)?,
        voters: voters.pop().map(|(_, voters)| voters),
        schedule: SnapshotSchedule::new(
            settings.metadata.snapshot_bytes_max,
            settings.metadata.snapshot_interval_ms,
            unsaved_bytes,
            world.now(),
        ),
        log,
        loader,
    };
    Ok(Opened { meta, directory, leftovers, parts, start: Event::Started(start), tail })
}

/// Formats an empty directory and answers the cluster's id.
pub fn format<W: World>(world: &W, settings: &Settings) -> Result<String, DirectoryError> {
    let (disk, path) = (world.disk(), &settings.data_dir);
    let _lock = directory::lock(&disk, path)?;
    match directory::meta(&disk, path)? {
        Some(meta) => Err(DirectoryError::Formatted { path: path.clone(), cluster_id: meta.cluster_id }),
        None => format_standalone(world, settings).map(|meta| meta.cluster_id),
    }
}

/// An empty directory becomes a cluster of one node, as `kafka-storage format --standalone` makes it.
fn format_standalone<W: World>(world: &W, settings: &Settings) -> Result<MetaProperties, DirectoryError> {
    let cluster_id = settings.cluster_id.clone().unwrap_or_else(|| fresh_id(world).to_string());
    let meta = MetaProperties { cluster_id, node: settings.node_id, directory: fresh_id(world) };
    // No listener is open for other voters yet: whoever opens one updates its endpoint then (KIP-853).
    let voters = format::standalone_voters(meta.node, meta.directory, "CONTROLLER", "localhost", 0);
    let files: BTreeMap<String, Bytes> = format::controller_files(Some(&voters), world.now());
    directory::format(&world.disk(), &settings.data_dir, &meta, &files)?;
    info!(cluster = meta.cluster_id, directory = %settings.data_dir.display(), "formatted");
    Ok(meta)
}

/// A random id whose text does not begin with a dash.
pub(crate) fn fresh_id<W: World>(world: &W) -> Uuid {
    loop {
        if let Some(id) = Uuid::from_random(world.random()) {
            return id;
        }
    }
}

fn voters_in(batch: &Batch) -> impl Iterator<Item = (Offset, VotersRecord)> {
    batch.entries.iter().zip(0..).filter_map(|(entry, delta)| match entry {
        Entry::Control(Control::Voters(voters)) => Some((batch.base + delta, voters.clone())),
        _ => None,
    })
}

fn raft_options<W: World>(world: &W, settings: &Settings, meta: &MetaProperties) -> raft::Options {
    let random = world.random();
    raft::Options {
        cluster_id: meta.cluster_id.clone(),
        node: meta.node,
        directory: meta.directory,
        endpoints: Vec::new(),
        election_timeout_ms: settings.election_timeout_ms,
        fetch_timeout_ms: settings.quorum_fetch_timeout_ms,
        request_timeout_ms: settings.quorum_request_timeout_ms,
        retry_backoff_ms: settings.quorum_backoff_ms,
        seed: u64::from_be_bytes(std::array::from_fn(|at| random[at])),
    }
}

fn controller_options(settings: &Settings, meta: &MetaProperties) -> controller::Options {
    controller::Options {
        cluster_id: meta.cluster_id.clone(),
        node: meta.node,
        file: settings.file.clone(),
        session_ms: settings.session_ms,
        // With one voter nobody waits to hear that the quorum still lives.
        idle_ms: 0,
        quota_window: settings.controller_quota_window,
    }
}

/// The first records of a new cluster: `bootstrap.checkpoint`, where the format left one.
fn bootstrap<W: World>(world: &W, settings: &Settings) -> Result<Vec<MetadataRecord>, StartupError> {
    match read_file(&world.disk(), &settings.data_dir.join(format::BOOTSTRAP_FILE)) {
        Ok(contents) => Ok(format::read_bootstrap(&contents.into())?),
        Err(_) => Ok(milena_metadata::features::bootstrap_records()),
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::{AccessControlEntryRecord, RemoveAccessControlEntryRecord};

    use super::*;

    fn batch(records: Vec<MetadataRecord>) -> Batch {
        let entries = records.into_iter().map(Entry::Data).collect();
        Batch { base: Offset(0), epoch: milena_protocol::LeaderEpoch(1), timestamp: milena_base::Millis(0), entries }
    }

    #[test]
    fn rules_that_nobody_would_obey_are_noticed_and_removed_ones_are_none() {
        let made = |id| MetadataRecord::from(AccessControlEntryRecord { id: Uuid([id; 16]), ..Default::default() });
        let removed = |id| MetadataRecord::from(RemoveAccessControlEntryRecord { id: Uuid([id; 16]) });
        let image = Image::default();
        assert!(refuse_unguarded(&image, &[batch(vec![made(1), removed(1)])]).is_ok());
        let refused = refuse_unguarded(&image, &[batch(vec![made(1), made(2)]), batch(vec![removed(1)])]);
        assert!(matches!(refused, Err(StartupError::Unguarded(1))));
    }
}
