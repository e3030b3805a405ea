//! Putting a compacted segment into the place of those that it was made of, so that a crash between any two changes of
//! names leaves either them or it.
//!
//! ```text
//! .cleaned ─► .swap          every file of it; as long as one is still .cleaned, opening throws all of them away
//!          flush of names    from here on opening completes what follows
//! the old  ─► .deleted       readers keep the files that they have open
//!          flush of names    or an old one could come back beside it
//! .swap    ─► no ending
//! ```
//! The partition's lock is held for the renames, never for a flush.
//!
//! Source: `LocalLog.replaceSegments` in Kafka 4.3.1.

use std::io;

use milena_base::{Disk, Millis};

use super::group::Source;
use super::run::Compaction;
use crate::log::open::rename_deleted;
use crate::segment::Segment;
use crate::{Log, Unlink, names};

impl<D: Disk> Log<D> {
    /// Puts a segment that stands by into its place. `None` where the log is not any more what was compacted.
    pub(crate) fn swap_in(&mut self, now: Millis, compaction: &mut Compaction<D>) -> io::Result<Option<Vec<Unlink>>> {
        let at = match compaction.ready_sources() {
            Some(sources) if !compaction.is_overtaken(self.truncations) => self.holds(sources),
            _ => None,
        };
        let (Some(at), Some((cleaned, count))) = (at, compaction.take_ready()) else { return Ok(None) };
        self.replace(now, at, count, cleaned).map(Some)
    }

    /// Where these segments are; `None` where they are not any more, or one of them is active.
    fn holds(&self, sources: &[Source]) -> Option<usize> {
        let at = self.segment_at(sources.first()?.base_offset);
        let is_same = |(source, segment): (&Source, &Segment<D>)| {
            (source.base_offset, source.size_bytes) == (segment.base_offset, segment.size_bytes)
        };
        let inactive = self.segments.range(at..self.segments.len() - 1);
        (inactive.len() >= sources.len() && sources.iter().zip(inactive).all(is_same)).then_some(at)
    }

    fn replace(&mut self, now: Millis, at: usize, count: usize, cleaned: Segment<D>) -> io::Result<Vec<Unlink>> {
        let due = now + Millis(self.settings.file_delete_delay_ms);
        let base_offset = cleaned.base_offset;
        let mut old: Vec<Segment<D>> = self.segments.drain(at..at + count).collect();
        self.segments.insert(at, cleaned);
        self.open.retain(|open| old.iter().all(|old| old.base_offset != *open));
        self.note_open(base_offset);
        let mut unlinks = Vec::new();
        for segment in &mut old {
            // The producers as of its start are of no use but for the segment that begins there.
            let snapshot = (segment.base_offset != base_offset).then_some(names::SNAPSHOT);
            for suffix in names::SEGMENT_SUFFIXES.into_iter().chain(snapshot) {
                rename_deleted(&self.disk, &segment.path(suffix), due, &mut unlinks)?;
            }
        }
        Ok(unlinks)
    }

    /// Segments that were swapped in get their usual names.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        for segment in self.segments.iter_mut().filter(|segment| segment.stands_by()) {
            segment.rename(&self.disk, "")?;
            self.names_dirty = true;
        }
        Ok(())
    }
}
