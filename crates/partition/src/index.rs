//! The sparse indexes of a segment: from an offset to a place in the file, from a time to an offset.
//!
//! ```text
//! .index      entry  4 offset minus base | 4 place of the batch that ends with that offset
//! .timeindex  entry  8 largest time so far | 4 offset minus base, of the batch with that time
//! ```
//! While its segment is active, an index file is as large as it may become (a sparse file, zeros behind the
//! entries) and its newest entries are here in memory; it is cut to size when the segment is rolled or closed.
//! A crash loses entries, and recovery makes them anew from the log: nothing else relies on them.
//!
//! Source: `AbstractIndex`, `OffsetIndex`, `TimeIndex` in Kafka 4.3.1.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use milena_base::{Disk, DiskFile, Millis};

/// Entries kept in memory before they are written together.
const TAIL_ENTRIES_MAX: usize = 512;

/// What an index holds.
pub(crate) trait IndexEntry: Copy {
    /// Bytes on disk.
    const SIZE_BYTES: usize;

    /// From exactly that many bytes.
    fn decode(bytes: &[u8]) -> Self;

    /// Appends them.
    fn encode(self, bytes: &mut Vec<u8>);
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Last offset of the batch, minus the segment's base offset.
    pub(crate) relative_offset: u32,
    /// First byte of the batch.
    pub(crate) position: u32,
}

/// The largest time up to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// The time.
    pub(crate) timestamp: Millis,
    /// Last offset of the batch with that time, minus the segment's base offset.
    pub(crate) relative_offset: u32,
}

/// `.index`
pub(crate) type OffsetIndex<D> = Index<D, OffsetEntry>;
/// `.timeindex`
pub(crate) type TimeIndex<D> = Index<D, TimeEntry>;

impl IndexEntry for OffsetEntry {
    const SIZE_BYTES: usize = 8;

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry { relative_offset: be_u32(&bytes[..4]), position: be_u32(&bytes[4..8]) }
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.relative_offset.to_be_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
    }
}

impl IndexEntry for TimeEntry {
    const SIZE_BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> TimeEntry {
        let timestamp = i64::from(be_u32(&bytes[..4])) << 32 | i64::from(be_u32(&bytes[4..8]));
        TimeEntry { timestamp: Millis(timestamp), relative_offset: be_u32(&bytes[8..12]) }
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// One index file and the entries that are not written yet.
pub(crate) struct Index<D: Disk, E> {
    path: PathBuf,
    /// Open while it is used.
    file: Option<Arc<D::File>>,
    entries: usize,
    /// The last of the entries: those behind `entries - tail.len()` are only here.
    tail: Vec<E>,
    /// The very last entry, written or not.
    last: Option<E>,
    /// The file is as large as it may become.
    extended: bool,
    /// Entries were taken away that are still in the file.
    is_cut: bool,
}

impl<D: Disk, E: IndexEntry> Index<D, E> {
    /// An index whose file is made anew, empty, at its largest size.
    pub(crate) fn create(disk: &D, path: PathBuf, size_bytes_max: u32) -> io::Result<Index<D, E>> {
        let file = disk.open(&path)?;
        file.truncate(0)?;
        file.truncate(largest::<E>(size_bytes_max))?;
        Ok(Index { path, file: None, entries: 0, tail: Vec::new(), last: None, extended: true, is_cut: false })
    }

    /// The index in an existing file that was cut to size.
    pub(crate) fn load(disk: &D, path: PathBuf) -> io::Result<Index<D, E>> {
        let file = disk.open_existing(&path)?;
        let entries = file.size_bytes()? as usize / E::SIZE_BYTES;
        let mut index = Index {
            path,
            file: Some(Arc::new(file)),
            entries,
            tail: Vec::new(),
            last: None,
            extended: false,
            is_cut: false,
        };
        index.last = entries.checked_sub(1).map(|last| index.entry(disk, last)).transpose()?;
        index.file = None;
        Ok(index)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<E> {
        self.last
    }

    /// Bytes that entries take.
    pub(crate) fn size_bytes(&self) -> u64 {
        (self.entries * E::SIZE_BYTES) as u64
    }

    /// Adds an entry. Writes to the disk only when many have gathered.
    pub(crate) fn append(&mut self, disk: &D, entry: E, size_bytes_max: u32) -> io::Result<()> {
        self.tail.push(entry);
        self.entries += 1;
        self.last = Some(entry);
        if self.tail.len() >= TAIL_ENTRIES_MAX {
            if !self.extended {
                self.file(disk)?.truncate(largest::<E>(size_bytes_max).max(self.size_bytes()))?;
                self.extended = true;
            }
            self.write_tail(disk)?;
        }
        Ok(())
    }

    /// The last entry that `is_before` accepts; it accepts a prefix.
    pub(crate) fn floor(&mut self, disk: &D, is_before: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        match self.partition_point(disk, is_before)? {
            0 => Ok(None),
            after => self.entry(disk, after - 1).map(Some),
        }
    }

    /// The first entry that `is_before` does not accept; it accepts a prefix.
    pub(crate) fn ceiling(&mut self, disk: &D, is_before: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        match self.partition_point(disk, is_before)? {
            after if after == self.entries => Ok(None),
            after => self.entry(disk, after).map(Some),
        }
    }

    fn partition_point(&mut self, disk: &D, is_before: impl Fn(&E) -> bool) -> io::Result<usize> {
        let written = self.entries - self.tail.len();
        if self.tail.first().is_some_and(&is_before) {
            return Ok(written + self.tail.partition_point(&is_before));
        }
        let (mut low, mut high) = (0, written);
        while low < high {
            let middle = low + (high - low) / 2;
            match is_before(&self.entry(disk, middle)?) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// Keeps the entries that `is_kept` accepts; it accepts a prefix.
    pub(crate) fn truncate(&mut self, disk: &D, is_kept: impl Fn(&E) -> bool) -> io::Result<()> {
        let written = self.entries - self.tail.len();
        self.tail.truncate(self.tail.partition_point(&is_kept));
        let mut kept = written;
        if self.tail.is_empty() {
            self.entries = written;
            kept = self.partition_point(disk, is_kept)?;
        }
        self.is_cut |= kept < written;
        self.entries = kept + self.tail.len();
        self.last = self.entries.checked_sub(1).map(|last| self.entry(disk, last)).transpose()?;
        Ok(())
    }

    /// Writes what is only in memory and cuts the file to size: the segment takes no more entries. Answers whether
    /// the file changed.
    pub(crate) fn finish(&mut self, disk: &D) -> io::Result<bool> {
        let size_bytes = self.size_bytes();
        let changes = self.extended || !self.tail.is_empty() || self.is_cut;
        if changes {
            self.write_tail(disk)?;
            self.file(disk)?.truncate(size_bytes)?;
            self.extended = false;
            self.is_cut = false;
        }
        Ok(changes)
    }

    /// The open file, to be flushed.
    pub(crate) fn file(&mut self, disk: &D) -> io::Result<Arc<D::File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(disk.open_existing(&self.path)?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Its file has another name now.
    pub(crate) fn moved_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Closes the file until it is used again.
    pub(crate) fn release(&mut self) {
        self.file = None;
    }

    fn write_tail(&mut self, disk: &D) -> io::Result<()> {
        let position = (self.entries - self.tail.len()) * E::SIZE_BYTES;
        let mut bytes = Vec::with_capacity(self.tail.len() * E::SIZE_BYTES);
        for entry in &self.tail {
            entry.encode(&mut bytes);
        }
        if !bytes.is_empty() {
            self.file(disk)?.write_at(&bytes, position as u64)?;
        }
        self.tail.clear();
        Ok(())
    }

    fn entry(&mut self, disk: &D, at: usize) -> io::Result<E> {
        let written = self.entries - self.tail.len();
        if let Some(entry) = at.checked_sub(written).and_then(|at| self.tail.get(at)) {
            return Ok(*entry);
        }
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..E::SIZE_BYTES];
        let file = self.file(disk)?;
        match file.read_at(bytes, (at * E::SIZE_BYTES) as u64)? {
            read if read == bytes.len() => Ok(E::decode(bytes)),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} is too short", self.path.display()))),
        }
    }
}

/// The largest size that holds whole entries.
fn largest<E: IndexEntry>(size_bytes_max: u32) -> u64 {
    u64::from(size_bytes_max) / E::SIZE_BYTES as u64 * E::SIZE_BYTES as u64
}

/// How many entries fit.
pub(crate) fn entries_max<E: IndexEntry>(size_bytes_max: u32) -> usize {
    size_bytes_max as usize / E::SIZE_BYTES
}
