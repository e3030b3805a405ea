//! One compaction of one log, step by step. Each step reads one piece of a segment and writes what is left of it; nothing is
//! known to the log before a whole group stands ready.
//!
//! ```text
//! mapping ─► rewriting a group ─► ready: stand by, swap in, flush names, settle ─► next group ─► done
//! ```
//! Source: `Cleaner.doClean`, `buildOffsetMapForSegment`, `cleanSegments` in Kafka 4.3.1.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use milena_base::{Disk, DiskFile, Millis};
use milena_protocol::records::{Batch, BatchError, BatchHeader};
use milena_protocol::{Offset, ProducerId};

use super::decided::Decided;
use super::filter::{LastWritten, Left, Rules, Seen, Verdict};
use super::group::{Source, groups};
use super::offset_map::{MapLimits, OffsetMap};
use super::plan::Dirt;
use crate::segment::{Segment, remove_if_there};
use crate::transactions::{self, Aborted};
use crate::walk::{damaged, read_chunk};
use crate::{LOOKUP_BYTES_MAX, Log, LogSettings, names};

/// How much memory a compaction takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Of the map of keys.
    pub map: MapLimits,
    /// Read at once, in bytes; a larger batch is read whole.
    pub chunk_bytes: u64,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// There is more to do. So many bytes were read and written.
    Worked {
        /// For whoever paces it.
        bytes: u64,
    },
    /// A segment is ready to take the place of others: see [`Compaction::stand_by`].
    Ready {
        /// As above.
        bytes: u64,
    },
    /// All is done, and the log is clean up to [`Compacted::end`].
    Done(Compacted),
}

/// What a whole compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Compacted {
    /// Where it found the log dirty.
    pub first_dirty: Offset,
    /// Everything before is compacted now.
    pub end: Offset,
    /// Bytes read for the map of keys.
    pub mapped_bytes: u64,
    /// Bytes of the segments that were rewritten.
    pub read_bytes: u64,
    /// Bytes of those that took their places.
    pub written_bytes: u64,
    /// Records read in batches that were not dropped unread.
    pub read_records: u64,
    /// Of them, those that stayed.
    pub kept_records: u64,
    /// Records without a key, which have no place in a compacted log (trap 102).
    pub keyless_records: u64,
    /// How full the map was: 1 where its memory was too small for one round.
    pub map_utilization: f64,
}

/// A compaction under way. Dropping it leaves files that the next opening, or the next compaction, removes;
/// [`Compaction::discard`] removes them at once.
pub struct Compaction<D: Disk> {
    disk: D,
    dir: PathBuf,
    settings: LogSettings,
    rules: Rules,
    chunk_bytes: u64,
    /// Everything before the first uncleanable offset, then everything that the map reaches into.
    sources: Vec<Source>,
    aborted: Vec<Aborted>,
    map: OffsetMap,
    course: Course<D>,
    stage: Stage<D>,
    seen: Seen,
    compacted: Compacted,
    truncations: u64,
}

/// Where the walk through the sources is.
struct Course<D: Disk> {
    source: usize,
    position: u64,
    file: Option<D::File>,
    decided: Decided,
}

enum Stage<D: Disk> {
    Mapping,
    Rewriting { groups: VecDeque<Range<usize>>, cleaned: Option<Segment<D>> },
    Ready { groups: VecDeque<Range<usize>>, cleaned: Segment<D> },
}

impl<D: Disk> Log<D> {
    /// Begins a compaction of what `dirt` found. `producers` are the last batches to be kept.
    pub(crate) fn begin_compaction(
        &mut self,
        now: Millis,
        dirt: &Dirt,
        producers: BTreeMap<ProducerId, LastWritten>,
        limits: Limits,
    ) -> io::Result<Compaction<D>> {
        let end = self.begun_before(dirt.first_uncleanable);
        let source = |segment: &Segment<D>| Source {
            base_offset: segment.base_offset,
            size_bytes: segment.size_bytes,
            offsets_bytes: segment.offsets.size_bytes(),
            times_bytes: segment.times.size_bytes(),
        };
        let sources: Vec<Source> = self.segments.range(..end).map(source).collect();
        let aborted = match sources.first() {
            Some(first) => self.aborted(first.base_offset, dirt.first_uncleanable)?,
            None => Vec::new(),
        };
        let first = self.segment_at(dirt.first_dirty);
        let place = self.segments[first].locate(&self.disk, dirt.first_dirty)?;
        let base_offset = self.segments[first].base_offset;
        self.note_open(base_offset);
        let in_dirty = aborted.iter().filter(|aborted| aborted.last_offset >= dirt.first_dirty);
        Ok(Compaction {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            rules: Rules {
                now,
                delete_retention_ms: self.settings.delete_retention_ms,
                first_uncleanable: dirt.first_uncleanable,
                producers,
            },
            course: Course {
                source: first,
                position: place.map_or(self.segments[first].size_bytes, |place| place.position),
                file: None,
                decided: Decided::new(in_dirty.copied().collect()),
            },
            settings: self.settings.clone(),
            chunk_bytes: limits.chunk_bytes,
            sources,
            aborted,
            map: OffsetMap::new(limits.map, (dirt.first_uncleanable - dirt.first_dirty).max(0) as u64),
            stage: Stage::Mapping,
            seen: Seen::default(),
            compacted: Compacted { first_dirty: dirt.first_dirty, ..Compacted::default() },
            truncations: self.truncations,
        })
    }
}

impl<D: Disk> Compaction<D> {
    /// Does a little of what there is to do.
    ///
    /// # Errors
    /// `InvalidData` where the log holds what cannot be compacted; anything else is the disk's. The log is as it was; the files of
    /// this compaction want to be discarded. If the log was cut meanwhile, an error means nothing.
    pub fn step(&mut self) -> io::Result<Step> {
        match &self.stage {
            Stage::Mapping => self.map_some(),
            Stage::Rewriting { groups, .. } if groups.is_empty() => Ok(Step::Done(self.finished())),
            Stage::Rewriting { .. } => self.rewrite_some(),
            Stage::Ready { .. } => Ok(Step::Ready { bytes: 0 }),
        }
    }

    fn finished(&self) -> Compacted {
        Compacted {
            end: self.map.latest().next(),
            read_records: self.seen.records,
            kept_records: self.seen.kept,
            keyless_records: self.seen.keyless,
            map_utilization: self.map.utilization(),
            ..self.compacted
        }
    }

    /// Takes the next piece of the dirty part into the map.
    fn map_some(&mut self) -> io::Result<Step> {
        let Some(batches) = self.next_batches(self.sources.len())? else {
            return Ok(self.begin_rewriting());
        };
        let mut position = self.course.position;
        for batch in &batches {
            let is_whole = self.map_batch(batch).map_err(|error| damaged(position, &error))?;
            if !is_whole {
                return Ok(self.begin_rewriting());
            }
            position += batch.header().size_bytes() as u64;
        }
        let bytes = position - self.course.position;
        self.course.position = position;
        self.compacted.mapped_bytes += bytes;
        Ok(Step::Worked { bytes })
    }

    /// Takes a batch into the map. False where the map became full before its end.
    fn map_batch(&mut self, batch: &Batch) -> Result<bool, BatchError> {
        let header = batch.header();
        let first_dirty = self.compacted.first_dirty;
        if header.attributes.is_control() {
            self.course.decided.pass_marker(batch)?;
        } else if !self.course.decided.pass(header) {
            for record in batch.records(LOOKUP_BYTES_MAX)? {
                let record = record?;
                let Some(key) = record.key.filter(|_| record.offset >= first_dirty) else { continue };
                if self.map.is_full() {
                    return Ok(false);
                }
                self.map.put(&key, record.offset);
            }
        }
        if header.last_offset() >= first_dirty {
            self.map.reach(header.last_offset());
        }
        Ok(true)
    }

    fn begin_rewriting(&mut self) -> Step {
        let end = self.map.latest().next();
        let reached = self.sources.partition_point(|source| source.base_offset < end);
        self.sources.truncate(reached);
        let groups = groups(&self.sources, &self.settings, self.rules.first_uncleanable);
        self.course =
            Course { source: 0, position: 0, file: None, decided: Decided::new(std::mem::take(&mut self.aborted)) };
        self.stage = Stage::Rewriting { groups: groups.into(), cleaned: None };
        Step::Worked { bytes: 0 }
    }

    /// Writes what is left of the next piece of the first group.
    fn rewrite_some(&mut self) -> io::Result<Step> {
        let Stage::Rewriting { groups, cleaned } = &mut self.stage else { unreachable!("asked before") };
        let Range { start, end } = groups[0].clone();
        if cleaned.is_none() {
            let base_offset = self.sources[start].base_offset;
            *cleaned =
                Some(Segment::create_cleaned(&self.disk, &self.dir, base_offset, &self.settings, self.rules.now)?);
        }
        let Some(batches) = self.next_batches(end)? else {
            return self.finish_group(end);
        };
        let (headers, left, read_bytes) = self.filtered(&batches)?;
        let Stage::Rewriting { cleaned: Some(cleaned), .. } = &mut self.stage else { unreachable!("made above") };
        if cleaned.size_bytes + left.len() as u64 > i32::MAX as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the segment would grow beyond 2 GiB"));
        }
        cleaned.append_all(&self.disk, &headers, &left, &self.settings)?;
        self.course.position += read_bytes;
        self.compacted.read_bytes += read_bytes;
        self.compacted.written_bytes += left.len() as u64;
        Ok(Step::Worked { bytes: read_bytes + left.len() as u64 })
    }

    /// What is left of these batches: their headers, all of them in a row, and how many bytes they were. Notes aborted
    /// transactions in the new segment's index.
    fn filtered(&mut self, batches: &[Batch]) -> io::Result<(Vec<BatchHeader>, Vec<u8>, u64)> {
        let (mut headers, mut left) = (Vec::new(), Vec::new());
        let mut read_bytes = 0;
        for batch in batches {
            let position = self.course.position + read_bytes;
            let verdict = self.rules.decide(batch, &self.map, &mut self.course.decided, &mut self.seen);
            let Verdict { left: rest, aborted } = verdict.map_err(|error| damaged(position, &error))?;
            match rest {
                Left::Nothing => {}
                Left::All => {
                    headers.push(*batch.header());
                    left.extend_from_slice(batch.bytes());
                }
                Left::Some(bytes) => {
                    headers.push(BatchHeader::decode(&bytes).map_err(|error| damaged(position, &error))?);
                    left.extend_from_slice(&bytes);
                }
            }
            if let Some(aborted) = aborted {
                self.note_aborted(&aborted)?;
            }
            read_bytes += batch.header().size_bytes() as u64;
        }
        Ok((headers, left, read_bytes))
    }

    fn note_aborted(&mut self, aborted: &Aborted) -> io::Result<()> {
        let Stage::Rewriting { cleaned: Some(cleaned), .. } = &mut self.stage else { unreachable!("being rewritten") };
        cleaned.has_transaction_index = true;
        transactions::append(&self.disk, &cleaned.path(names::TRANSACTION_INDEX), aborted)
    }

    /// Makes the new segment durable. It is as old as the youngest of those that it stands for.
    fn finish_group(&mut self, end: usize) -> io::Result<Step> {
        let newest = names::file(&self.dir, self.sources[end - 1].base_offset, names::LOG);
        let modified = self.disk.open_existing(&newest)?.modified()?;
        let Stage::Rewriting { groups, cleaned } = &mut self.stage else { unreachable!("being rewritten") };
        let cleaned_segment = cleaned.as_mut().expect("made at the group's beginning");
        cleaned_segment.finish(&self.disk, &self.settings)?;
        for file in cleaned_segment.files(&self.disk)? {
            file.flush()?;
        }
        cleaned_segment.file(&self.disk)?.set_modified(modified)?;
        (cleaned_segment.is_dirty, cleaned_segment.is_index_dirty) = (false, false);
        let (groups, cleaned) = (std::mem::take(groups), cleaned.take().expect("just used"));
        self.stage = Stage::Ready { groups, cleaned };
        Ok(Step::Ready { bytes: 0 })
    }

    /// The next piece of the sources before `end`; `None` behind their end.
    fn next_batches(&mut self, end: usize) -> io::Result<Option<Vec<Batch>>> {
        while self.course.source < end {
            let source = &self.sources[self.course.source];
            if self.course.position >= source.size_bytes {
                self.leave_source();
                continue;
            }
            if self.course.file.is_none() {
                let path = names::file(&self.dir, source.base_offset, names::LOG);
                self.course.file = Some(self.disk.open_existing(&path)?);
            }
            let file = self.course.file.as_ref().expect("just opened");
            return read_chunk(file, self.course.position, source.size_bytes, self.chunk_bytes).map(Some);
        }
        Ok(None)
    }

    fn leave_source(&mut self) {
        (self.course.source, self.course.position, self.course.file) = (self.course.source + 1, 0, None);
        if matches!(self.stage, Stage::Mapping) {
            // The offsets up to the next segment are those of records that are gone.
            let next = self.sources.get(self.course.source).map(|next| next.base_offset);
            self.map.reach(next.unwrap_or(self.rules.first_uncleanable) + -1);
        }
    }

    /// The segment that is ready gets the names under which a crash leaves it whole, durably. The log is to be told at
    /// once, with [`crate::Partition::swap_in`]: nothing may cut it in between.
    pub fn stand_by(&mut self) -> io::Result<()> {
        let Stage::Ready { cleaned, .. } = &mut self.stage else { return Ok(()) };
        cleaned.rename(&self.disk, names::SWAP)?;
        self.flush_names()
    }

    /// Makes the names in the log's directory durable: between [`crate::Partition::swap_in`] and [`crate::Partition::settle`],
    /// so that no old segment comes back beside the new one.
    pub fn flush_names(&self) -> io::Result<()> {
        self.disk.flush_dir(&self.dir)
    }

    /// Whether the log was cut since this began, if it counts so many cuts now.
    pub(crate) fn is_overtaken(&self, truncations: u64) -> bool {
        self.truncations != truncations
    }

    /// What the segment that is ready stands for.
    pub(super) fn ready_sources(&self) -> Option<&[Source]> {
        match &self.stage {
            Stage::Ready { groups, .. } => groups.front().map(|group| &self.sources[group.clone()]),
            _ => None,
        }
    }

    /// The segment that is ready, once, and for how many it stands: it goes on with the next group.
    pub(super) fn take_ready(&mut self) -> Option<(Segment<D>, usize)> {
        match std::mem::replace(&mut self.stage, Stage::Mapping) {
            Stage::Ready { mut groups, cleaned } => {
                let count = groups.pop_front().map_or(0, |group| group.len());
                self.stage = Stage::Rewriting { groups, cleaned: None };
                Some((cleaned, count))
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Gives up: removes the files that it has begun.
    pub fn discard(self) -> io::Result<()> {
        let cleaned = match self.stage {
            Stage::Rewriting { cleaned: Some(cleaned), .. } | Stage::Ready { cleaned, .. } => cleaned,
            Stage::Mapping | Stage::Rewriting { .. } => return Ok(()),
        };
        for suffix in names::SEGMENT_SUFFIXES {
            remove_if_there(&self.disk, &cleaned.path(suffix))?;
        }
        Ok(())
    }
}
