//! Opening a log: what a crash, an interrupted compaction or another program left is put in order.
//!
//! Source: `LogLoader`, `LogSegment.recover` in Kafka 4.3.1.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use milena_base::disk::read_file;
use milena_base::{Disk, DiskFile, Millis, Random};
use milena_protocol::Offset;

use super::{Log, Volume};
use crate::epochs::LeaderEpochs;
use crate::segment::{Segment, remove_if_there};
use crate::walk::Scan;
use crate::{LogSettings, OpenError, OpenHints, Recovered, Unlink, checkpoint, names};

/// A KRaft snapshot on its way out: not ours.
const SNAPSHOT_DELETED: &str = ".checkpoint.deleted";

impl<D: Disk> Log<D> {
    /// Opens the log in `dir`, or creates it. After anything but a clean shutdown the segments from the recovery
    /// point on are read and checked, and the log is cut at the first bad batch.
    pub fn open(
        disk: D,
        dir: PathBuf,
        settings: LogSettings,
        hints: &OpenHints,
        now: Millis,
    ) -> Result<(Log<D>, Recovered), OpenError> {
        let failed = |source| OpenError::Disk { path: dir.clone(), source };
        disk.create_dir_all(&dir).map_err(failed)?;
        mend_names(&disk, &dir).map_err(failed)?;
        let epochs = load_epochs(&disk, &dir)?;
        let mut log = Log {
            disk,
            dir: dir.clone(),
            settings,
            segments: VecDeque::new(),
            epochs,
            random: Random::from_seed(hints.seed),
            log_start: hints.log_start,
            log_end: hints.log_start,
            recovery_point: hints.recovery_point,
            truncations: 0,
            appended: Volume::default(),
            flushed: Volume::default(),
            unflushed_since: None,
            names_dirty: true,
            open: VecDeque::new(),
        };
        let recovered = log.load(hints, now).map_err(failed)?;
        Ok((log, recovered))
    }

    fn load(&mut self, hints: &OpenHints, now: Millis) -> io::Result<Recovered> {
        let names: BTreeSet<String> = self.disk.list(&self.dir)?.into_iter().map(|entry| entry.name).collect();
        let bases = segment_bases(&names);
        let mut recovered = Recovered { created: bases.is_empty(), ..Recovered::default() };
        // The segment that ends at the recovery point too: while it was active, its indexes were not flushed.
        let unflushed = bases.partition_point(|base| *base < hints.recovery_point).saturating_sub(1);
        for (at, base) in bases.iter().enumerate() {
            let is_indexed = [names::OFFSET_INDEX, names::TIME_INDEX]
                .iter()
                .all(|suffix| names.contains(&format!("{:020}{suffix}", base.0)));
            let is_trusted = is_indexed && (hints.clean || at < unflushed) && {
                self.load_segment(*base, &names, now)?;
                let is_active = at + 1 == bases.len();
                let is_sound = !is_active || !self.is_active_misindexed()?;
                if !is_sound {
                    self.segments.pop_back();
                }
                is_sound
            };
            let cut = !is_trusted && self.recover_segment(*base, now, &mut recovered)?;
            if at + 1 < bases.len() && (cut || self.is_cut_before(bases[at + 1], hints)) {
                self.drop_segments(&bases[at + 1..], now, &mut recovered)?;
                break;
            }
        }
        self.find_ends(hints, now, &mut recovered)?;
        self.names_dirty = recovered.created || recovered.segments_scanned > 0;
        Ok(recovered)
    }

    /// Whether records between the last segment and the one at `next` are missing because they were never flushed.
    /// What is behind them goes too, or a producer would be told that a lost batch is a repeated one. Compaction
    /// leaves gaps as well, and those are none of our business. A segment that begins before the last one's end is
    /// a remnant of an earlier life of the log.
    fn is_cut_before(&self, next: Offset, hints: &OpenHints) -> bool {
        let is_unflushed = !hints.clean && self.log_end >= hints.recovery_point;
        let is_compacted = self.settings.cleanup.compact || next <= hints.compacted_to;
        let is_gap = !is_compacted && self.log_end < next;
        is_unflushed && (is_gap || self.log_end > next)
    }

    /// Whether the active segment's index leads astray while the log beside it is whole. The next offset is found by
    /// it: a wrong one would let records be written over others.
    fn is_active_misindexed(&mut self) -> io::Result<bool> {
        let active = self.segments.back_mut().expect("just loaded");
        Ok(!active.is_indexed_to_its_end(&self.disk)? && active.is_whole(&self.disk)?)
    }

    /// Takes a segment as it is.
    fn load_segment(&mut self, base: Offset, names: &BTreeSet<String>, now: Millis) -> io::Result<()> {
        let jitter_ms = self.next_jitter_ms();
        let mut segment = Segment::load(&self.disk, &self.dir, base, jitter_ms, now)?;
        segment.has_transaction_index = names.contains(&format!("{:020}{}", base.0, names::TRANSACTION_INDEX));
        self.segments.push_back(segment);
        self.log_end = base;
        Ok(())
    }

    /// Reads a segment from front to end, builds its indexes and cuts it at the first bad batch. Answers whether
    /// it was cut.
    fn recover_segment(&mut self, base: Offset, now: Millis, recovered: &mut Recovered) -> io::Result<bool> {
        let jitter_ms = self.next_jitter_ms();
        let mut segment = Segment::rebuild(&self.disk, &self.dir, base, &self.settings, jitter_ms, now)?;
        let file = segment.file(&self.disk)?;
        let file_bytes = file.size_bytes()?;
        let mut scan = Scan::new(&*file, 0, file_bytes);
        let mut next = base;
        while let Some((_, batch)) = scan.next()? {
            let header = batch.header();
            let in_order = header.base_offset >= next && header.last_offset() >= header.base_offset;
            if !in_order || header.last_offset() - base > i64::from(i32::MAX) {
                break;
            }
            segment.note(&self.disk, header, &self.settings)?;
            if self.epochs.latest().is_none_or(|latest| header.partition_leader_epoch > latest) {
                self.epochs.assign(header.partition_leader_epoch, header.base_offset);
            }
            next = header.next_offset();
        }
        let cut_bytes = file_bytes - segment.size_bytes;
        if cut_bytes > 0 {
            file.truncate(segment.size_bytes)?;
        }
        segment.finish(&self.disk, &self.settings)?;
        recovered.segments_scanned += 1;
        recovered.truncated_bytes += cut_bytes;
        recovered.first_scanned.get_or_insert(base);
        self.log_end = next;
        self.segments.push_back(segment);
        Ok(cut_bytes > 0)
    }

    /// Removes the segments behind a cut: what is in them does not follow what is left. Their names go for good before
    /// anything is appended, or the next loss of power could put them behind records that took their offsets.
    fn drop_segments(&mut self, bases: &[Offset], now: Millis, recovered: &mut Recovered) -> io::Result<()> {
        let due = now + Millis(self.settings.file_delete_delay_ms);
        for base in bases {
            let size = self.disk.open_existing(&names::file(&self.dir, *base, names::LOG))?.size_bytes()?;
            recovered.truncated_bytes += size;
            for suffix in names::SEGMENT_SUFFIXES.into_iter().chain([names::SNAPSHOT]) {
                let path = names::file(&self.dir, *base, suffix);
                rename_deleted(&self.disk, &path, due, &mut recovered.unlinks)?;
            }
        }
        self.disk.flush_dir(&self.dir)
    }

    /// Log start and log end, once the segments are in order.
    fn find_ends(&mut self, hints: &OpenHints, now: Millis, recovered: &mut Recovered) -> io::Result<()> {
        if let Some(active) = self.segments.back_mut() {
            self.log_end = active.next_offset(&self.disk)?;
            if self.log_end < hints.recovery_point {
                recovered.lost_below_recovery_point = Some(self.log_end);
            }
        }
        if self.log_end < hints.log_start {
            // Segments were removed by hand: nothing that is left may be read.
            let bases: Vec<Offset> = self.segment_bases().collect();
            self.segments.clear();
            self.epochs.clear();
            self.drop_segments(&bases, now, recovered)?;
        }
        if self.segments.is_empty() {
            let jitter_ms = self.next_jitter_ms();
            let (start, settings) = (hints.log_start, &self.settings);
            self.segments.push_back(Segment::create(&self.disk, &self.dir, start, settings, jitter_ms, now)?);
            self.log_end = start;
        }
        // Opened again when they are used: a node with many partitions must not need its files all at once.
        self.segments.iter_mut().for_each(Segment::release);
        self.log_start = hints.log_start.max(self.segments[0].base_offset);
        self.recovery_point = if hints.clean { self.log_end } else { hints.recovery_point.min(self.log_end) };
        self.epochs.truncate_end(self.log_end);
        self.epochs.truncate_start(self.log_start);
        Ok(())
    }
}

/// Renames a file to its `.deleted` name, if it is there.
pub(super) fn rename_deleted<D: Disk>(disk: &D, path: &Path, due: Millis, unlinks: &mut Vec<Unlink>) -> io::Result<()> {
    let deleted = names::with_suffix(path, names::DELETED);
    match disk.rename(path, &deleted) {
        Ok(()) => unlinks.push(Unlink { path: deleted, due }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn segment_bases(names: &BTreeSet<String>) -> Vec<Offset> {
    names
        .iter()
        .filter_map(|name| names::parse(name))
        .filter(|(_, rest)| *rest == names::LOG)
        .map(|(base, _)| base)
        .collect()
}

fn load_epochs<D: Disk>(disk: &D, dir: &Path) -> Result<LeaderEpochs, OpenError> {
    let path = dir.join(names::LEADER_EPOCH_CHECKPOINT);
    match read_file(disk, &path) {
        Ok(contents) => checkpoint::read_epochs(&contents)
            .map(LeaderEpochs::from_entries)
            .map_err(|error| OpenError::Malformed { path, reason: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LeaderEpochs::default()),
        Err(source) => Err(OpenError::Disk { path, source }),
    }
}

/// Removes what is half done, completes what is almost done: see the module's source.
fn mend_names<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    let listed = disk.list(dir)?;
    let files = || listed.iter().filter(|entry| !entry.is_dir).map(|entry| entry.name.as_str());
    let offset = |name: &str| names::parse(name).map_or(Offset(i64::MAX), |(offset, _)| offset);
    let first_cleaned = files().filter(|name| name.ends_with(names::CLEANED)).map(offset).min();
    let mut swaps = Vec::new();
    for name in files() {
        let is_deleted = name.ends_with(names::DELETED) && !name.ends_with(SNAPSHOT_DELETED);
        let is_swap = name.ends_with(names::SWAP);
        // A split that did not end: its first part is still being written, so the whole is worthless.
        let is_stale_swap = is_swap && first_cleaned.is_some_and(|first| offset(name) >= first);
        if is_deleted || name.ends_with(names::CLEANED) || is_stale_swap {
            disk.remove_file(&dir.join(name))?;
        } else if is_swap {
            swaps.push(name);
        }
    }
    complete_swaps(disk, dir, &swaps)?;
    remove_orphans(disk, dir)
}

/// Swap files are whole: the segments that they replace go, and they take their names.
fn complete_swaps<D: Disk>(disk: &D, dir: &Path, swaps: &[&str]) -> io::Result<()> {
    let mut replaced: Option<(Offset, Offset)> = None;
    for name in swaps {
        let Some((base, rest)) = names::parse(name) else { continue };
        if rest.strip_suffix(names::SWAP) == Some(names::LOG) {
            let file = disk.open_existing(&dir.join(name))?;
            let mut scan = Scan::new(&file, 0, file.size_bytes()?);
            let mut next = base;
            while let Some((_, batch)) = scan.next()? {
                next = batch.header().next_offset();
            }
            let (from, to) = replaced.unwrap_or((base, next));
            replaced = Some((from.min(base), to.max(next)));
        }
    }
    if let Some((from, to)) = replaced {
        for entry in disk.list(dir)? {
            let is_replaced = names::parse(&entry.name).is_some_and(|(offset, _)| from <= offset && offset < to);
            if is_replaced && !entry.is_dir && !entry.name.ends_with(names::SWAP) {
                disk.remove_file(&dir.join(&entry.name))?;
            }
        }
        // Before nothing tells any more what they were replaced by.
        disk.flush_dir(dir)?;
    }
    for name in swaps {
        let plain = name.strip_suffix(names::SWAP).unwrap_or(name);
        disk.rename(&dir.join(name), &dir.join(plain))?;
    }
    Ok(())
}

/// Indexes without a log go.
fn remove_orphans<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    let names: BTreeSet<String> = disk.list(dir)?.into_iter().map(|entry| entry.name).collect();
    for name in &names {
        let Some((base, rest)) = names::parse(name) else { continue };
        let is_index = [names::OFFSET_INDEX, names::TIME_INDEX, names::TRANSACTION_INDEX].contains(&rest);
        if is_index && !names.contains(&format!("{:020}{}", base.0, names::LOG)) {
            remove_if_there(disk, &dir.join(name))?;
        }
    }
    Ok(())
}
