//! Opening a partition, beyond its log: whose directory it is, and which producers it knew.
//!
//! Source: `UnifiedLog.rebuildProducerState`, `ProducerStateManager`, `PartitionMetadataFile` in Kafka 4.3.1.

use std::io;
use std::path::Path;

use milena_base::disk::read_file;
use milena_base::{Disk, DiskFile, Millis};
use milena_protocol::{Offset, Uuid};

use super::{OpenError, OpenHints, Recovered};
use crate::producers::{ProducerStates, snapshot};
use crate::walk::read_batch;
use crate::{Log, checkpoint, names};

/// Checks or writes `partition.metadata`. It reaches the device with the first flush: until then no record is
/// promised to survive a power failure, and after one an empty file, or one of zeros, counts as none.
pub(super) fn claim_directory<D: Disk>(disk: &D, dir: &Path, topic_id: Uuid) -> Result<(), OpenError> {
    let path = dir.join(names::PARTITION_METADATA);
    let failed = |source| OpenError::Disk { path: path.clone(), source };
    disk.create_dir_all(dir).map_err(failed)?;
    let contents = match read_file(disk, &path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    if contents.iter().all(|byte| *byte == 0) {
        let file = disk.open(&path).map_err(failed)?;
        file.truncate(0).map_err(failed)?;
        return file.write_at(&checkpoint::write_topic_id(topic_id), 0).map_err(failed);
    }
    match checkpoint::read_topic_id(&contents) {
        Some(found) if found == topic_id => Ok(()),
        Some(found) => Err(OpenError::OtherTopic { path: dir.to_owned(), expected: topic_id, found }),
        None => Err(OpenError::Malformed { path, reason: "no topic id".to_owned() }),
    }
}

/// The producers as of the log end: the newest sound snapshot, and the batches behind it. Aborted transactions of
/// segments whose indexes were made anew are noted again.
pub(super) fn load_producers<D: Disk>(
    log: &mut Log<D>,
    hints: &OpenHints,
    recovered: &Recovered,
    now: Millis,
) -> io::Result<ProducerStates> {
    let scanned = recovered.first_scanned.unwrap_or(Offset(i64::MAX));
    let mut states = ProducerStates::starting_at(log.log_start());
    let snapshots = tidy_snapshots(log)?;
    if snapshots.is_empty() && hints.clean && recovered.first_scanned.is_none() {
        return Ok(ProducerStates::starting_at(log.log_end()));
    }
    for at in snapshots.into_iter().rev().filter(|at| *at <= scanned) {
        let path = names::file(log.dir(), at, names::SNAPSHOT);
        match snapshot::read(read_file(log.disk(), &path)?, at) {
            Ok(read) => {
                states = read;
                break;
            }
            // Worthless after a crash: an older one and more batches will do.
            Err(_) => log.disk().remove_file(&path)?,
        }
    }
    let mut aborted = Vec::new();
    let from = states.end();
    if from < log.log_end() {
        log.each_header(from, |file, position, header| {
            if header.attributes.is_control() {
                let batch = read_batch(file, position, header)?;
                // A control record that nobody understands decides nothing.
                if let Ok(Some(found)) = states.count_marker(&batch) {
                    aborted.push(found);
                }
            } else {
                states.count(header);
            }
            Ok(())
        })?;
    }
    for found in aborted.iter().filter(|found| found.last_offset >= scanned) {
        log.note_aborted(found)?;
    }
    states.expire(now, log.settings().producer_expiration_ms);
    Ok(states)
}

/// Removes snapshots that no start will ever use; answers the offsets of the others, growing.
fn tidy_snapshots<D: Disk>(log: &Log<D>) -> io::Result<Vec<Offset>> {
    let entries = log.disk().list(log.dir())?;
    let offsets = entries.iter().filter_map(|entry| names::parse(&entry.name));
    let mut offsets: Vec<Offset> =
        offsets.filter(|(_, suffix)| *suffix == names::SNAPSHOT).map(|(offset, _)| offset).collect();
    offsets.sort();
    let newest = offsets.iter().rev().find(|at| **at <= log.log_end()).copied();
    let bases: Vec<Offset> = log.segment_bases().collect();
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for at in offsets {
        let in_range = at > log.log_start() && at <= log.log_end();
        match in_range && (Some(at) == newest || bases.contains(&at)) {
            true => kept.push(at),
            false => gone.push(at),
        }
    }
    for at in &gone {
        log.disk().remove_file(&names::file(log.dir(), *at, names::SNAPSHOT))?;
    }
    if !gone.is_empty() {
        // Or a loss of power could bring one back that tells of records whose offsets others have taken since.
        log.disk().flush_dir(log.dir())?;
    }
    Ok(kept)
}
