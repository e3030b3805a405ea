//! One segment: a file of batches and what finds its way about in it.
//!
//! **Invariant:** `size_bytes` is the end of the last batch that counts; bytes of the file behind it are nobody's.
//!
//! Source: `LogSegment` in Kafka 4.3.1.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_base::{Disk, DiskFile, Millis};
use milena_protocol::Offset;
use milena_protocol::records::{BatchHeader, HEADER_BYTES};

use crate::LogSettings;
use crate::index::{Index, OffsetEntry, OffsetIndex, TimeEntry, TimeIndex, entries_max};
use crate::names;
use crate::walk::{Headers, Scan};

/// Batches whose place is remembered: readers at the end of the log find theirs here.
const RECENT_BATCHES_MAX: usize = 64;
/// Batches up to this size are written in one piece.
const COPIED_BYTES_MAX: usize = 4096;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) position: u64,
    pub(crate) size_bytes: u64,
}

impl Place {
    pub(crate) fn of(position: u64, header: &BatchHeader) -> Place {
        Place {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            position,
            size_bytes: header.size_bytes() as u64,
        }
    }
}

/// A time and the last offset of the batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimestampOffset {
    pub(crate) timestamp: Millis,
    pub(crate) offset: Offset,
}

pub(crate) struct Segment<D: Disk> {
    pub(crate) base_offset: Offset,
    pub(crate) size_bytes: u64,
    /// Holds entries that a reader of committed records needs.
    pub(crate) has_transaction_index: bool,
    /// Some of it is not on the device.
    pub(crate) is_dirty: bool,
    /// What its index files hold, or should hold, is not on the device. A flush of the active segment leaves it so.
    pub(crate) is_index_dirty: bool,
    pub(crate) offsets: OffsetIndex<D>,
    pub(crate) times: TimeIndex<D>,
    /// Taken off the age at which it is rolled.
    jitter_ms: i64,
    dir: PathBuf,
    /// What its files' names end with beyond the usual: nothing, or how far its compaction has come.
    ending: &'static str,
    file: Option<Arc<D::File>>,
    created: Millis,
    /// Largest time of the first batch, once known.
    first_timestamp: Option<Millis>,
    newest: TimestampOffset,
    bytes_since_index: u64,
    recent: VecDeque<Place>,
}

impl<D: Disk> Segment<D> {
    /// An empty segment in files made anew.
    pub(crate) fn create(
        disk: &D,
        dir: &Path,
        base_offset: Offset,
        settings: &LogSettings,
        jitter_ms: i64,
        now: Millis,
    ) -> io::Result<Segment<D>> {
        let file = disk.open(&names::file(dir, base_offset, names::LOG))?;
        file.truncate(0)?;
        if settings.preallocate {
            file.truncate(settings.segment_bytes.into())?;
        }
        let empty = Segment::rebuild(disk, dir, base_offset, settings, jitter_ms, now)?;
        Ok(Segment { file: Some(Arc::new(file)), ..empty })
    }

    /// A segment whose files were left in order.
    pub(crate) fn load(
        disk: &D,
        dir: &Path,
        base_offset: Offset,
        jitter_ms: i64,
        now: Millis,
    ) -> io::Result<Segment<D>> {
        let path = |suffix| names::file(dir, base_offset, suffix);
        let size_bytes = disk.open_existing(&path(names::LOG))?.size_bytes()?;
        let times: TimeIndex<D> = Index::load(disk, path(names::TIME_INDEX))?;
        let newest = times.last().map(|entry| absolute(base_offset, entry));
        Ok(Segment {
            base_offset,
            size_bytes,
            has_transaction_index: false,
            is_dirty: false,
            is_index_dirty: false,
            offsets: Index::load(disk, path(names::OFFSET_INDEX))?,
            times,
            jitter_ms,
            dir: dir.to_owned(),
            ending: "",
            file: None,
            created: now,
            first_timestamp: None,
            newest: newest.unwrap_or(TimestampOffset { timestamp: Millis::NONE, offset: base_offset }),
            bytes_since_index: 0,
            recent: VecDeque::new(),
        })
    }

    /// A segment of which only the log file is believed: indexes are made anew, empty, and filled by
    /// [`Segment::note`] as the file is read again.
    pub(crate) fn rebuild(
        disk: &D,
        dir: &Path,
        base_offset: Offset,
        settings: &LogSettings,
        jitter_ms: i64,
        now: Millis,
    ) -> io::Result<Segment<D>> {
        Segment::empty(disk, dir, base_offset, "", settings, jitter_ms, now)
    }

    /// An empty segment that compaction fills and [`Segment::rename`] puts into its place. Whatever an earlier attempt
    /// left is overwritten.
    pub(crate) fn create_cleaned(
        disk: &D,
        dir: &Path,
        base_offset: Offset,
        settings: &LogSettings,
        now: Millis,
    ) -> io::Result<Segment<D>> {
        // It is never the active one, so that no jitter matters.
        let empty = Segment::empty(disk, dir, base_offset, names::CLEANED, settings, 0, now)?;
        let file = disk.open(&empty.path(names::LOG))?;
        file.truncate(0)?;
        Ok(Segment { file: Some(Arc::new(file)), ..empty })
    }

    /// Without batches, and with indexes made anew.
    fn empty(
        disk: &D,
        dir: &Path,
        base_offset: Offset,
        ending: &'static str,
        settings: &LogSettings,
        jitter_ms: i64,
        now: Millis,
    ) -> io::Result<Segment<D>> {
        let path = |suffix| names::with_suffix(&names::file(dir, base_offset, suffix), ending);
        remove_if_there(disk, &path(names::TRANSACTION_INDEX))?;
        Ok(Segment {
            base_offset,
            size_bytes: 0,
            has_transaction_index: false,
            is_dirty: true,
            is_index_dirty: true,
            offsets: Index::create(disk, path(names::OFFSET_INDEX), settings.index_bytes_max)?,
            times: Index::create(disk, path(names::TIME_INDEX), settings.index_bytes_max)?,
            jitter_ms,
            dir: dir.to_owned(),
            ending,
            file: None,
            created: now,
            first_timestamp: None,
            newest: TimestampOffset { timestamp: Millis::NONE, offset: base_offset },
            bytes_since_index: 0,
            recent: VecDeque::new(),
        })
    }

    /// Whether compaction has put it into its place and not given it its names yet.
    pub(crate) fn stands_by(&self) -> bool {
        self.ending == names::SWAP
    }

    /// Gives its files another ending. Those that are open stay so.
    pub(crate) fn rename(&mut self, disk: &D, ending: &'static str) -> io::Result<()> {
        let from = names::SEGMENT_SUFFIXES.map(|suffix| self.path(suffix));
        self.ending = ending;
        let to = names::SEGMENT_SUFFIXES.map(|suffix| self.path(suffix));
        for (from, to) in from.iter().zip(&to) {
            match disk.rename(from, to) {
                // Most segments have no index of transactions.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has_transaction_index => {}
                result => result?,
            }
        }
        self.offsets.moved_to(self.path(names::OFFSET_INDEX));
        self.times.moved_to(self.path(names::TIME_INDEX));
        Ok(())
    }

    /// Writes a batch behind the last: `head` is its header, `tail` the rest.
    pub(crate) fn append(
        &mut self,
        disk: &D,
        header: &BatchHeader,
        tail: &[u8],
        settings: &LogSettings,
    ) -> io::Result<()> {
        let head = header.to_bytes();
        let file = self.file(disk)?;
        let size = HEADER_BYTES + tail.len();
        if size <= COPIED_BYTES_MAX {
            let mut batch = [0; COPIED_BYTES_MAX];
            batch[..HEADER_BYTES].copy_from_slice(&head);
            batch[HEADER_BYTES..size].copy_from_slice(tail);
            self.write_or_cut(&file, &batch[..size], &[])?;
        } else {
            self.write_or_cut(&file, &head, tail)?;
        }
        self.is_dirty = true;
        // The batch is in the file but not counted: nobody can say any more what a full disk left out.
        self.note(disk, header, settings).map_err(io::Error::other)
    }

    /// Writes batches behind the last, in one piece.
    pub(crate) fn append_all(
        &mut self,
        disk: &D,
        headers: &[BatchHeader],
        bytes: &[u8],
        settings: &LogSettings,
    ) -> io::Result<()> {
        let file = self.file(disk)?;
        self.write_or_cut(&file, bytes, &[])?;
        headers.iter().try_for_each(|header| self.note(disk, header, settings))
    }

    /// Writes at the end of the file; what a failed write left there is cut off again, so that the file ends with a
    /// whole batch.
    fn write_or_cut(&self, file: &D::File, head: &[u8], tail: &[u8]) -> io::Result<()> {
        let end = self.size_bytes + head.len() as u64;
        let written = file.write_at(head, self.size_bytes).and_then(|()| file.write_at(tail, end));
        if written.is_err() {
            file.truncate(self.size_bytes).map_err(io::Error::other)?;
        }
        written
    }

    /// Counts a batch that stands at the end of the file: newest time, index entries.
    pub(crate) fn note(&mut self, disk: &D, header: &BatchHeader, settings: &LogSettings) -> io::Result<()> {
        let place = Place::of(self.size_bytes, header);
        self.first_timestamp.get_or_insert(header.max_timestamp);
        if header.max_timestamp > self.newest.timestamp {
            self.newest = TimestampOffset { timestamp: header.max_timestamp, offset: place.last_offset };
        }
        if self.bytes_since_index > settings.index_interval_bytes.into() {
            let entry = OffsetEntry {
                relative_offset: self.relative(place.last_offset),
                position: u32::try_from(place.position).unwrap_or(u32::MAX),
            };
            self.offsets.append(disk, entry, settings.index_bytes_max)?;
            self.index_time(disk, settings)?;
            self.is_index_dirty = true;
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += place.size_bytes;
        self.size_bytes += place.size_bytes;
        if self.recent.len() == RECENT_BATCHES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(place);
        Ok(())
    }

    /// Whether the next batch, of `size_bytes` with these offsets and times, belongs into a new segment.
    pub(crate) fn is_full_for(
        &mut self,
        disk: &D,
        header: &BatchHeader,
        settings: &LogSettings,
        now: Millis,
    ) -> io::Result<bool> {
        let would_be = self.size_bytes + header.size_bytes() as u64;
        let offsets_left = header.last_offset() - self.base_offset <= i64::from(i32::MAX);
        let index_full = self.offsets.len() >= entries_max::<OffsetEntry>(settings.index_bytes_max)
            || self.times.len() + 1 >= entries_max::<TimeEntry>(settings.index_bytes_max);
        if self.size_bytes == 0 {
            return Ok(!offsets_left);
        }
        if would_be > settings.segment_bytes.into() || index_full || !offsets_left {
            return Ok(true);
        }
        let waited = match self.first_timestamp(disk)? {
            Some(first) if first.0 >= 0 => header.max_timestamp - first,
            _ => now - self.created,
        };
        Ok(waited.0 > settings.segment_age_max_ms().saturating_sub(self.jitter_ms))
    }

    /// The largest time of its first batch, which is what it is rolled by.
    pub(crate) fn first_timestamp(&mut self, disk: &D) -> io::Result<Option<Millis>> {
        if self.first_timestamp.is_none() && self.size_bytes > 0 {
            let file = self.file(disk)?;
            let first = Headers::new(&*file, 0, self.size_bytes).next()?;
            self.first_timestamp = first.map(|(_, header)| header.max_timestamp);
        }
        Ok(self.first_timestamp)
    }

    /// The first batch that ends at or behind `offset`; `None` if all end before.
    pub(crate) fn locate(&mut self, disk: &D, offset: Offset) -> io::Result<Option<Place>> {
        if let Some(first) = self.recent.front()
            && first.base_offset <= offset
        {
            let at = self.recent.partition_point(|place| place.last_offset < offset);
            return Ok(self.recent.get(at).copied());
        }
        let relative = self.relative(offset);
        let entry = self.offsets.floor(disk, |entry| entry.relative_offset <= relative)?;
        let file = self.file(disk)?;
        let start = entry.map_or(0, |entry| u64::from(entry.position));
        match find(&*file, start, self.size_bytes, |header| header.last_offset() >= offset) {
            Ok(found) => Ok(found.map(|(position, header)| Place::of(position, &header))),
            // An index that leads astray is not worth an error: the log itself knows.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && start > 0 => {
                let found = find(&*file, 0, self.size_bytes, |header| header.last_offset() >= offset)?;
                Ok(found.map(|(position, header)| Place::of(position, &header)))
            }
            Err(error) => Err(error),
        }
    }

    /// The first batch that may hold a record at or behind `from` that is not older than `timestamp`.
    pub(crate) fn locate_time(
        &mut self,
        disk: &D,
        timestamp: Millis,
        from: Offset,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let earlier = self.times.floor(disk, |entry| entry.timestamp <= timestamp)?;
        let offset = earlier.map_or(self.base_offset, |entry| absolute(self.base_offset, entry).offset);
        let relative = self.relative(offset.max(from));
        let entry = self.offsets.floor(disk, |entry| entry.relative_offset <= relative)?;
        let file = self.file(disk)?;
        let start = entry.map_or(0, |entry| u64::from(entry.position));
        let wanted = |header: &BatchHeader| header.max_timestamp >= timestamp && header.last_offset() >= from;
        find(&*file, start, self.size_bytes, wanted)
    }

    /// The batch with the newest time, and that time.
    pub(crate) fn locate_newest(&mut self, disk: &D) -> io::Result<Option<(u64, BatchHeader)>> {
        let newest = self.newest;
        let relative = self.relative(newest.offset);
        let entry = self.offsets.floor(disk, |entry| entry.relative_offset <= relative)?;
        let file = self.file(disk)?;
        let start = entry.map_or(0, |entry| u64::from(entry.position));
        find(&*file, start, self.size_bytes, |header| header.max_timestamp == newest.timestamp)
    }

    /// Whether the last index entry names a batch, and headers follow each other from there to the end of the file.
    pub(crate) fn is_indexed_to_its_end(&mut self, disk: &D) -> io::Result<bool> {
        let last = self.offsets.last();
        let start = last.map_or(0, |entry| u64::from(entry.position));
        if last.is_some() && start >= self.size_bytes {
            return Ok(false);
        }
        let base_offset = self.base_offset;
        let mut named = last.map(|entry| base_offset + i64::from(entry.relative_offset));
        let file = self.file(disk)?;
        let mut headers = Headers::new(&*file, start, self.size_bytes);
        loop {
            match headers.next() {
                Ok(None) => return Ok(true),
                Ok(Some((_, header))) => {
                    if header.base_offset < base_offset
                        || named.take().is_some_and(|named| named != header.last_offset())
                    {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether sound batches fill the file. Reads all of it.
    pub(crate) fn is_whole(&mut self, disk: &D) -> io::Result<bool> {
        let file = self.file(disk)?;
        let mut scan = Scan::new(&*file, 0, self.size_bytes);
        let mut end = 0;
        while let Some((position, batch)) = scan.next()? {
            end = position + batch.header().size_bytes() as u64;
        }
        Ok(end == self.size_bytes)
    }

    /// The offset behind its last batch, found from the last index entry on.
    pub(crate) fn next_offset(&mut self, disk: &D) -> io::Result<Offset> {
        if let Some(last) = self.recent.back() {
            return Ok(last.last_offset.next());
        }
        let start = self.offsets.last().map_or(0, |entry| u64::from(entry.position));
        let file = self.file(disk)?;
        let mut headers = Headers::new(&*file, start, self.size_bytes);
        let mut next = self.base_offset;
        while let Some((_, header)) = headers.next()? {
            next = header.next_offset();
        }
        Ok(next)
    }

    /// Its newest record's time with that batch's last offset; [`Millis::NONE`] if none has a time.
    pub(crate) fn newest(&self) -> TimestampOffset {
        self.newest
    }

    /// What retention by time goes by: the newest record, or else the file's last change.
    pub(crate) fn retention_timestamp(&mut self, disk: &D) -> io::Result<Millis> {
        match self.newest.timestamp.0 {
            0.. => Ok(self.newest.timestamp),
            _ => self.file(disk)?.modified(),
        }
    }

    /// Cuts it before the batch that holds `end`. Answers how many bytes went.
    pub(crate) fn truncate(&mut self, disk: &D, end: Offset) -> io::Result<u64> {
        let cut = self.locate(disk, end)?.map_or(self.size_bytes, |place| place.position);
        let relative = self.relative(end);
        self.offsets.truncate(disk, |entry| entry.relative_offset < relative)?;
        self.times.truncate(disk, |entry| entry.relative_offset < relative)?;
        if self.has_transaction_index {
            crate::transactions::truncate(disk, &self.path(names::TRANSACTION_INDEX), end)?;
        }
        let gone = self.size_bytes - cut;
        self.file(disk)?.truncate(cut)?;
        self.size_bytes = cut;
        self.recent.clear();
        self.bytes_since_index = 0;
        (self.is_dirty, self.is_index_dirty) = (true, true);
        if cut == 0 {
            self.first_timestamp = None;
        }
        self.reread_newest(disk)?;
        Ok(gone)
    }

    /// Finds the newest time again: the last index entry, and the batches behind it.
    fn reread_newest(&mut self, disk: &D) -> io::Result<()> {
        let none = TimestampOffset { timestamp: Millis::NONE, offset: self.base_offset };
        self.newest = self.times.last().map_or(none, |entry| absolute(self.base_offset, entry));
        let relative = self.relative(self.newest.offset);
        let entry = self.offsets.floor(disk, |entry| entry.relative_offset <= relative)?;
        let file = self.file(disk)?;
        let mut headers = Headers::new(&*file, entry.map_or(0, |entry| entry.position.into()), self.size_bytes);
        while let Some((_, header)) = headers.next()? {
            if header.max_timestamp > self.newest.timestamp {
                self.newest = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
        Ok(())
    }

    /// Takes no more batches, or none before the next start: indexes are written to their end and cut to size.
    pub(crate) fn finish(&mut self, disk: &D, settings: &LogSettings) -> io::Result<()> {
        self.index_time(disk, settings)?;
        self.is_index_dirty |= self.offsets.finish(disk)?;
        self.is_index_dirty |= self.times.finish(disk)?;
        if settings.preallocate {
            self.file(disk)?.truncate(self.size_bytes)?;
        }
        Ok(())
    }

    /// Files of a finished segment, for a flush.
    pub(crate) fn files(&mut self, disk: &D) -> io::Result<Vec<Arc<D::File>>> {
        let mut files = vec![self.file(disk)?, self.offsets.file(disk)?, self.times.file(disk)?];
        if self.has_transaction_index {
            files.push(Arc::new(disk.open_existing(&self.path(names::TRANSACTION_INDEX))?));
        }
        Ok(files)
    }

    /// Its log file.
    pub(crate) fn file(&mut self, disk: &D) -> io::Result<Arc<D::File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(disk.open_existing(&self.path(names::LOG))?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Closes its files until they are used again, and forgets what only the active segment needs.
    pub(crate) fn release(&mut self) {
        self.file = None;
        self.offsets.release();
        self.times.release();
        self.recent = VecDeque::new();
    }

    /// Whether a file of it is open.
    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// One of its files.
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        names::with_suffix(&names::file(&self.dir, self.base_offset, suffix), self.ending)
    }

    /// An entry for the newest time, unless the last one says it already.
    fn index_time(&mut self, disk: &D, settings: &LogSettings) -> io::Result<()> {
        let last = self.times.last().map_or(Millis::NONE, |entry| entry.timestamp);
        if self.newest.timestamp <= last {
            return Ok(());
        }
        let entry = TimeEntry { timestamp: self.newest.timestamp, relative_offset: self.relative(self.newest.offset) };
        self.times.append(disk, entry, settings.index_bytes_max)
    }

    /// An offset as indexes store it. Offsets outside the segment are its ends: only lookups ask for them.
    fn relative(&self, offset: Offset) -> u32 {
        (offset - self.base_offset).clamp(0, u32::MAX.into()) as u32
    }
}

fn absolute(base_offset: Offset, entry: TimeEntry) -> TimestampOffset {
    TimestampOffset { timestamp: entry.timestamp, offset: base_offset + i64::from(entry.relative_offset) }
}

/// The first batch from `start` on that is wanted.
fn find<F: DiskFile>(
    file: &F,
    start: u64,
    end: u64,
    wanted: impl Fn(&BatchHeader) -> bool,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let mut headers = Headers::new(file, start, end);
    while let Some((position, header)) = headers.next()? {
        if wanted(&header) {
            return Ok(Some((position, header)));
        }
    }
    Ok(None)
}

/// Removes a file that may not exist.
pub(crate) fn remove_if_there<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
