//! The log of one replica: its segments in order, the epochs that wrote them, and what of it is on the device.
//! It takes batches as they are; who may append and read what is decided by [`crate::Partition`], or, for the
//! metadata log, by the quorum.
//!
//! ```text
//! |segment 0 ........|segment 1 ........|segment 2, active ...|
//! ^ log start                     ^ recovery point         ^ log end
//! ```
//! Source: `LocalLog`, `UnifiedLog` in Kafka 4.3.1.

pub mod compaction;
mod figures;
mod open;
mod retention;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_base::disk::replace_file;
use milena_base::{Disk, DiskFile, Millis, Random};
use milena_protocol::records::{Batch, BatchError, BatchHeader, HEADER_BYTES, RecordView};
use milena_protocol::{LeaderEpoch, Offset};

pub use figures::Figures;

use crate::epochs::LeaderEpochs;
use crate::segment::{Place, Segment};
use crate::transactions::{self, Aborted};
use crate::walk::{Headers, damaged, read_batch};
use crate::{Flush, FlushToken, FoundOffset, LogSettings, ReadError, Slice, checkpoint, names};

/// Bound on what one batch may inflate to when a record is looked for in it: the memory that a lookup by time may take.
pub const LOOKUP_BYTES_MAX: usize = 256 << 20;
/// Segments behind the active one whose files stay open because somebody reads them.
const OPEN_SEGMENTS_MAX: usize = 3;

/// One replica's log.
pub struct Log<D: Disk> {
    disk: D,
    dir: PathBuf,
    settings: LogSettings,
    /// Never empty; the last one is active.
    segments: VecDeque<Segment<D>>,
    epochs: LeaderEpochs,
    random: Random,
    log_start: Offset,
    log_end: Offset,
    /// Every batch before is on the device.
    recovery_point: Offset,
    truncations: u64,
    /// Bytes and records appended since the log was opened, and how many of them are on the device.
    appended: Volume,
    flushed: Volume,
    /// When the oldest record was appended that is not on the device.
    unflushed_since: Option<Millis>,
    /// Names were made or changed in the directory.
    names_dirty: bool,
    /// Base offsets of inactive segments that are open, the latest used last.
    open: VecDeque<Offset>,
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Volume {
    pub(crate) bytes: u64,
    pub(crate) records: i64,
}

/// Why a ready batch is not appended.
#[derive(Debug, thiserror::Error)]
pub enum LogAppendError {
    /// Its first offset is before the log end.
    #[error("batch at {given} is before log end {log_end}")]
    Offset {
        /// The batch's.
        given: Offset,
        /// Ours.
        log_end: Offset,
    },
    /// Not one sound batch.
    #[error(transparent)]
    Malformed(#[from] BatchError),
    /// Larger than a segment may be.
    #[error("a batch of {0} bytes does not fit into a segment")]
    TooLarge(usize),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl<D: Disk> Log<D> {
    /// Appends a batch that has its offsets and its epoch. The CRC is not computed again. Answers the new log end.
    pub fn append_ready(&mut self, now: Millis, batch: &Batch) -> Result<Offset, LogAppendError> {
        let header = batch.header();
        if header.base_offset < self.log_end || header.last_offset() < header.base_offset {
            return Err(LogAppendError::Offset { given: header.base_offset, log_end: self.log_end });
        }
        if header.size_bytes() as u64 > self.settings.segment_bytes.into() {
            return Err(LogAppendError::TooLarge(header.size_bytes()));
        }
        self.append(now, header, &batch.bytes()[HEADER_BYTES..])?;
        Ok(self.log_end)
    }

    /// Appends a stamped batch that fits into a segment: `header`, then `tail`. Answers whether a segment was rolled
    /// before. After an error the log's end on the disk is unknown: it must be opened anew.
    pub(crate) fn append(&mut self, now: Millis, header: &BatchHeader, tail: &[u8]) -> io::Result<bool> {
        debug_assert!(header.base_offset >= self.log_end, "offsets grow");
        let active = self.segments.back_mut().expect("never empty");
        let rolled = active.is_full_for(&self.disk, header, &self.settings, now)?;
        if rolled {
            self.roll(now, header.base_offset)?;
        }
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        let active = self.segments.back_mut().expect("never empty");
        active.append(&self.disk, header, tail, &self.settings)?;
        self.log_end = header.next_offset();
        self.appended.bytes += header.size_bytes() as u64;
        self.appended.records += i64::from(header.last_offset_delta) + 1;
        self.unflushed_since.get_or_insert(now);
        Ok(rolled)
    }

    /// Begins a new segment at `base_offset`, at or behind the log end. An empty active segment that begins there
    /// stays.
    pub(crate) fn roll(&mut self, now: Millis, base_offset: Offset) -> io::Result<()> {
        let active = self.segments.back_mut().expect("never empty");
        if active.base_offset == base_offset {
            return Ok(());
        }
        active.finish(&self.disk, &self.settings)?;
        // Its indexes were not flushed with its batches: as long as it was active, a crash would have made them anew.
        active.is_dirty |= active.is_index_dirty;
        let base = active.base_offset;
        let jitter_ms = self.next_jitter_ms();
        let segment = Segment::create(&self.disk, &self.dir, base_offset, &self.settings, jitter_ms, now)?;
        self.segments.push_back(segment);
        self.names_dirty = true;
        self.note_open(base);
        Ok(())
    }

    /// The batches from `offset` on and before `bound`. With `min_one` the first is whole even if it is larger than
    /// `max_bytes`.
    pub fn read(
        &mut self,
        offset: Offset,
        max_bytes: usize,
        min_one: bool,
        bound: Offset,
    ) -> Result<Slice<D::File>, ReadError> {
        let (log_start, log_end) = (self.log_start, self.log_end);
        if offset < log_start || offset > log_end {
            return Err(ReadError::OutOfRange { offset, log_start, log_end });
        }
        if offset >= bound {
            return Ok(Slice::Empty);
        }
        let mut at = self.segment_at(offset);
        // Compaction leaves gaps, and a segment may end before the offsets of the next begin.
        while at < self.segments.len() {
            if let Some(place) = self.segments[at].locate(&self.disk, offset)? {
                return self.slice(at, place, max_bytes, min_one, bound);
            }
            at += 1;
        }
        Ok(Slice::Empty)
    }

    fn slice(
        &mut self,
        at: usize,
        first: Place,
        max_bytes: usize,
        min_one: bool,
        bound: Offset,
    ) -> Result<Slice<D::File>, ReadError> {
        let segment_end = self.segments.get(at + 1).map_or(self.log_end, |next| next.base_offset);
        let segment = &mut self.segments[at];
        let end = match bound >= segment_end {
            true => segment.size_bytes,
            false => segment.locate(&self.disk, bound)?.map_or(segment.size_bytes, |place| place.position),
        };
        // Half a first batch is of no use to a reader (KIP-74); behind a whole one, Kafka leaves what it cut.
        let wanted = match (max_bytes as u64) < first.size_bytes {
            true if min_one => first.size_bytes,
            true => 0,
            false => max_bytes as u64,
        };
        let size_bytes = end.saturating_sub(first.position).min(wanted) as usize;
        if size_bytes == 0 {
            return Ok(Slice::Empty);
        }
        let file = segment.file(&self.disk)?;
        let base_offset = segment.base_offset;
        self.note_open(base_offset);
        Ok(Slice::File { file, position: first.position, size_bytes, truncations: self.truncations })
    }

    /// Removes everything from `end` on. Batches are not split: the one that holds `end` goes whole.
    pub fn truncate_to(&mut self, now: Millis, end: Offset) -> io::Result<()> {
        if end >= self.log_end {
            self.epochs.truncate_end(self.log_end);
            return Ok(());
        }
        self.truncations += 1;
        if end < self.segments[0].base_offset {
            return self.restart_at(now, end);
        }
        while self.segments.back().is_some_and(|last| last.base_offset > end && self.segments.len() > 1) {
            let gone = self.segments.pop_back().expect("checked");
            self.remove_files(gone)?;
        }
        let active = self.segments.back_mut().expect("never empty");
        active.truncate(&self.disk, end)?;
        self.log_end = active.next_offset(&self.disk)?;
        self.after_truncation();
        Ok(())
    }

    /// Removes everything and begins anew at `start`.
    pub fn restart_at(&mut self, now: Millis, start: Offset) -> io::Result<()> {
        self.truncations += 1;
        while let Some(segment) = self.segments.pop_back() {
            self.remove_files(segment)?;
        }
        let jitter_ms = self.next_jitter_ms();
        self.segments.push_back(Segment::create(&self.disk, &self.dir, start, &self.settings, jitter_ms, now)?);
        self.log_end = start;
        self.log_start = start;
        self.epochs.clear();
        self.after_truncation();
        Ok(())
    }

    fn after_truncation(&mut self) {
        self.log_start = self.log_start.min(self.log_end);
        self.recovery_point = self.recovery_point.min(self.log_end);
        if self.recovery_point == self.log_end {
            // What was not on the device is gone.
            self.flushed = self.appended;
            self.unflushed_since = None;
        }
        self.epochs.truncate_end(self.log_end);
        self.names_dirty = true;
    }

    /// Removes a segment's files at once: nothing of it may come back.
    fn remove_files(&mut self, segment: Segment<D>) -> io::Result<()> {
        self.open.retain(|base| *base != segment.base_offset);
        for suffix in names::SEGMENT_SUFFIXES {
            crate::segment::remove_if_there(&self.disk, &segment.path(suffix))?;
        }
        crate::segment::remove_if_there(&self.disk, &segment.path(names::SNAPSHOT))
    }

    /// Moves the log start forward; the files before it go with [`Log::delete_before_log_start`]. Answers whether
    /// it moved.
    pub fn advance_log_start(&mut self, to: Offset) -> bool {
        let moves = to > self.log_start && to <= self.log_end;
        if moves {
            self.log_start = to;
            self.epochs.truncate_start(to);
        }
        moves
    }

    /// What has to be flushed to make everything appended so far durable; `None` if nothing has.
    pub fn prepare_flush(&mut self) -> io::Result<Option<Flush<D::File>>> {
        let nothing_new = self.flushed == self.appended && self.recovery_point == self.log_end;
        if nothing_new && !self.names_dirty && !self.segments.iter().any(|segment| segment.is_dirty) {
            return Ok(None);
        }
        let mut dirs = Vec::new();
        if self.names_dirty {
            dirs.push(self.dir.clone());
            dirs.extend(self.dir.parent().map(Path::to_owned));
        }
        let mut replace = Vec::new();
        if let Some(epochs) = self.epochs.take_unsaved(self.log_end) {
            replace.push((self.dir.join(names::LEADER_EPOCH_CHECKPOINT), checkpoint::write_epochs(epochs)));
        }
        let token = FlushToken {
            end: self.log_end,
            active: self.segments.back().map_or(self.log_end, |active| active.base_offset),
            truncations: self.truncations,
            appended: self.appended,
            names: self.names_dirty,
        };
        Ok(Some(Flush { files: self.dirty_files()?, dirs, replace, token }))
    }

    /// The files with something that is not on the device.
    fn dirty_files(&mut self) -> io::Result<Vec<Arc<D::File>>> {
        let mut files = Vec::new();
        let last = self.segments.len() - 1;
        for (at, segment) in self.segments.iter_mut().enumerate().filter(|(_, segment)| segment.is_dirty) {
            match at == last {
                // Its indexes are made anew after a crash.
                true => files.push(segment.file(&self.disk)?),
                false => files.extend(segment.files(&self.disk)?),
            }
            if self.names_dirty
                && let Ok(snapshot) = self.disk.open_existing(&segment.path(names::SNAPSHOT))
            {
                files.push(Arc::new(snapshot));
            }
        }
        if self.names_dirty
            && let Ok(metadata) = self.disk.open_existing(&self.dir.join(names::PARTITION_METADATA))
        {
            files.push(Arc::new(metadata));
        }
        Ok(files)
    }

    /// The files of a [`Flush`] are on the device. Does nothing if the log was cut meanwhile.
    pub fn flushed(&mut self, now: Millis, token: FlushToken) {
        if token.truncations != self.truncations {
            return;
        }
        self.recovery_point = self.recovery_point.max(token.end);
        self.flushed.bytes = self.flushed.bytes.max(token.appended.bytes);
        self.flushed.records = self.flushed.records.max(token.appended.records);
        if token.names {
            self.names_dirty = false;
        }
        let everything = self.flushed == self.appended;
        self.unflushed_since = if everything { None } else { Some(now) };
        let is_active = self.segments.back().is_some_and(|active| active.base_offset == token.active);
        let open = &self.open;
        for segment in self.segments.iter_mut().filter(|segment| segment.is_dirty) {
            if segment.base_offset < token.active {
                (segment.is_dirty, segment.is_index_dirty) = (false, false);
                if !open.contains(&segment.base_offset) {
                    segment.release();
                }
            } else if segment.base_offset == token.active && is_active && everything {
                segment.is_dirty = false;
            }
        }
        // A segment was begun meanwhile: its names are not on the device.
        self.names_dirty |= !is_active;
    }

    /// Prepares, flushes and counts in one go.
    pub fn flush(&mut self, now: Millis) -> io::Result<()> {
        if let Some(flush) = self.prepare_flush()? {
            let token = flush.run(&self.disk)?;
            self.flushed(now, token);
        }
        Ok(())
    }

    /// Clean end: writes the active segment's indexes to their end and makes everything durable. Answers the
    /// recovery point, which is the log end.
    pub fn close(mut self) -> io::Result<Offset> {
        self.settle()?;
        let active = self.segments.back_mut().expect("never empty");
        active.finish(&self.disk, &self.settings)?;
        if active.is_dirty || active.is_index_dirty {
            for file in active.files(&self.disk)? {
                file.flush()?;
            }
        }
        active.is_dirty = false;
        if let Some(epochs) = self.epochs.take_unsaved(self.log_end) {
            let path = self.dir.join(names::LEADER_EPOCH_CHECKPOINT);
            replace_file(&self.disk, &path, &checkpoint::write_epochs(epochs))?;
        }
        // Nothing is appended any more, so no time is asked for.
        self.flush(Millis(0))?;
        Ok(self.log_end)
    }

    /// Goes through the headers of all batches that end behind `from`, in order, with the file of each.
    pub(crate) fn each_header(
        &mut self,
        from: Offset,
        mut each: impl FnMut(&D::File, u64, &BatchHeader) -> io::Result<()>,
    ) -> io::Result<()> {
        let first = self.segment_at(from);
        for at in first..self.segments.len() {
            let segment = &mut self.segments[at];
            let Some(start) = segment.locate(&self.disk, from)? else { continue };
            let file = segment.file(&self.disk)?;
            let mut headers = Headers::new(&*file, start.position, segment.size_bytes);
            while let Some((position, header)) = headers.next()? {
                each(&file, position, &header)?;
            }
            let base_offset = segment.base_offset;
            self.note_open(base_offset);
        }
        Ok(())
    }

    /// The segment that holds `offset`, or the first.
    pub(crate) fn segment_at(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    /// The first record at or behind the log start that is not older than `timestamp`.
    pub(crate) fn find_time(&mut self, timestamp: Millis) -> io::Result<Option<FoundOffset>> {
        let mut from = self.log_start;
        for at in self.segment_at(from)..self.segments.len() {
            if self.segments[at].newest().timestamp < timestamp {
                continue;
            }
            while let Some((position, header)) = self.segments[at].locate_time(&self.disk, timestamp, from)? {
                let batch = self.batch_at(at, position, &header)?;
                let wanted = |record: &RecordView| record.timestamp >= timestamp && record.offset >= from;
                if let Some(found) = find_record(&batch, position, wanted)? {
                    return Ok(Some(found));
                }
                from = header.next_offset();
            }
        }
        Ok(None)
    }

    /// The first record with the largest time.
    pub(crate) fn find_newest(&mut self) -> io::Result<Option<FoundOffset>> {
        let newest = self.segments.iter().map(|segment| segment.newest().timestamp).max().unwrap_or(Millis::NONE);
        let holds = |segment: &Segment<D>| segment.newest().timestamp == newest;
        let Some(at) = self.segments.iter().position(holds) else { return Ok(None) };
        let Some((position, header)) = self.segments[at].locate_newest(&self.disk)? else { return Ok(None) };
        let batch = self.batch_at(at, position, &header)?;
        find_record(&batch, position, |record| record.timestamp == newest)
    }

    /// An offset such that all batches of a slice are before it, found without looking at them.
    pub(crate) fn bound_behind(&mut self, offset: Offset, slice: &Slice<D::File>) -> io::Result<Offset> {
        let Slice::File { position, size_bytes, .. } = slice else { return Ok(offset) };
        let end = position + *size_bytes as u64;
        let mut at = self.segment_at(offset);
        // The slice may be of a later segment, if this one ends before the offset.
        while at + 1 < self.segments.len() && self.segments[at].locate(&self.disk, offset)?.is_none() {
            at += 1;
        }
        let next = self.segments.get(at + 1).map_or(self.log_end, |next| next.base_offset);
        let segment = &mut self.segments[at];
        let behind = segment.offsets.ceiling(&self.disk, |entry| u64::from(entry.position) < end)?;
        Ok(behind.map_or(next, |entry| segment.base_offset + i64::from(entry.relative_offset)))
    }

    /// Transactions that were aborted and reach into `from..to`, by first offset.
    pub(crate) fn aborted(&mut self, from: Offset, to: Offset) -> io::Result<Vec<Aborted>> {
        let mut found = Vec::new();
        let first = self.segment_at(from);
        for segment in self.segments.iter().skip(first).filter(|segment| segment.has_transaction_index) {
            let path = segment.path(names::TRANSACTION_INDEX);
            if !transactions::collect(&self.disk, &path, from, to, &mut found)? {
                break;
            }
        }
        found.sort_by_key(|aborted| aborted.first_offset);
        Ok(found)
    }

    /// Notes an aborted transaction in the segment of its marker.
    pub(crate) fn note_aborted(&mut self, aborted: &Aborted) -> io::Result<()> {
        let at = self.segment_at(aborted.last_offset);
        let segment = &mut self.segments[at];
        transactions::append(&self.disk, &segment.path(names::TRANSACTION_INDEX), aborted)?;
        segment.has_transaction_index = true;
        // As long as the segment is active its flush leaves the indexes out; they have to follow when it is rolled.
        (segment.is_dirty, segment.is_index_dirty) = (true, true);
        self.names_dirty = true;
        Ok(())
    }

    /// One batch that a lookup found.
    fn batch_at(&mut self, segment: usize, position: u64, header: &BatchHeader) -> io::Result<Batch> {
        let file = self.segments[segment].file(&self.disk)?;
        let base_offset = self.segments[segment].base_offset;
        self.note_open(base_offset);
        read_batch(&*file, position, header)
    }

    /// A segment's files are open: closes those that were not used for the longest time.
    fn note_open(&mut self, base_offset: Offset) {
        let active = self.segments.back().map(|active| active.base_offset);
        if active == Some(base_offset) || self.open.back() == Some(&base_offset) {
            return;
        }
        self.open.retain(|base| *base != base_offset);
        self.open.push_back(base_offset);
        if self.open.len() > OPEN_SEGMENTS_MAX
            && let Some(oldest) = self.open.pop_front()
        {
            let at = self.segment_at(oldest);
            self.segments[at].release();
        }
    }

    /// Kafka draws per segment, so that partitions made together do not roll together.
    fn next_jitter_ms(&mut self) -> i64 {
        let bound = self.settings.segment_jitter_ms.min(self.settings.segment_ms).max(0);
        self.random.below(bound as u64) as i64
    }

    /// Takes other settings from now on.
    pub fn set_settings(&mut self, settings: LogSettings) {
        self.settings = settings;
    }

    /// The settings in force.
    pub fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// The disk that it lives on.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// First readable offset.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Next offset to be written.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Every batch before is on the device. The indexes of the segment that holds the last of them may not be.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// How often it was cut: see [`Slice::File`].
    pub fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Which epochs wrote it.
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// An epoch begins at the log end, before its first batch.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.assign(epoch, self.log_end);
    }

    /// Bytes of all segments' log files.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }

    /// Bytes and records that are not on the device.
    pub(crate) fn unflushed(&self) -> Volume {
        Volume {
            bytes: self.appended.bytes - self.flushed.bytes,
            records: self.appended.records - self.flushed.records,
        }
    }

    /// When the oldest record was appended that is not on the device.
    pub(crate) fn unflushed_since(&self) -> Option<Millis> {
        self.unflushed_since
    }

    /// First offsets of all segments.
    pub fn segment_bases(&self) -> impl Iterator<Item = Offset> + '_ {
        self.segments.iter().map(|segment| segment.base_offset)
    }

    /// How many files it holds open, for tests and figures.
    pub fn open_segments(&self) -> usize {
        self.segments.iter().filter(|segment| segment.is_open()).count()
    }
}

/// The first record of a batch that is wanted.
fn find_record(batch: &Batch, position: u64, wanted: impl Fn(&RecordView) -> bool) -> io::Result<Option<FoundOffset>> {
    for record in batch.records(LOOKUP_BYTES_MAX).map_err(|error| damaged(position, &error))? {
        let record = record.map_err(|error| damaged(position, &error))?;
        if wanted(&record) {
            let leader_epoch = batch.header().partition_leader_epoch;
            return Ok(Some(FoundOffset { timestamp: record.timestamp, offset: record.offset, leader_epoch }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
