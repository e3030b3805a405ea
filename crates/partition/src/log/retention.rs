//! Which segments go: by age, by size, or because the log start has passed them.
//!
//! Source: `UnifiedLog.deleteOldSegments` in Kafka 4.3.1.

use std::io;

use milena_base::{Disk, Millis};
use milena_protocol::Offset;

use super::Log;
use super::open::rename_deleted;
use crate::{Unlink, names};

impl<D: Disk> Log<D> {
    /// Deletes what the settings do not keep. Nothing at or behind `high_watermark` goes.
    pub(crate) fn retain(&mut self, now: Millis, high_watermark: Offset) -> io::Result<Vec<Unlink>> {
        let mut unlinks = self.delete_before_log_start(now, high_watermark)?;
        if self.settings.cleanup.delete {
            unlinks.extend(self.delete_by_size(now, high_watermark)?);
            unlinks.extend(self.delete_by_age(now, high_watermark)?);
        }
        Ok(unlinks)
    }

    /// Deletes the segments that end at or before the log start.
    pub fn delete_before_log_start(&mut self, now: Millis, high_watermark: Offset) -> io::Result<Vec<Unlink>> {
        let log_start = self.log_start;
        let count = self.segments.iter().skip(1).take_while(|next| next.base_offset <= log_start).count();
        let count = count.min(self.deletable(high_watermark));
        self.delete_first(now, count)
    }

    /// Bytes of the log files that would be left if the log began at `start`.
    pub fn size_bytes_from(&self, start: Offset) -> u64 {
        let gone = self.segments.iter().skip(1).take_while(|next| next.base_offset <= start).count();
        self.segments.iter().skip(gone).map(|segment| segment.size_bytes).sum()
    }

    fn delete_by_size(&mut self, now: Millis, high_watermark: Offset) -> io::Result<Vec<Unlink>> {
        let Ok(kept) = u64::try_from(self.settings.retention_bytes) else { return Ok(Vec::new()) };
        let Some(mut surplus) = self.size_bytes().checked_sub(kept) else { return Ok(Vec::new()) };
        let mut count = 0;
        for segment in self.segments.iter().take(self.deletable(high_watermark)) {
            match surplus.checked_sub(segment.size_bytes) {
                Some(left) => surplus = left,
                None => break,
            }
            count += 1;
        }
        self.delete_first(now, count)
    }

    fn delete_by_age(&mut self, now: Millis, high_watermark: Offset) -> io::Result<Vec<Unlink>> {
        if self.settings.retention_ms < 0 {
            return Ok(Vec::new());
        }
        let mut count = 0;
        for at in 0..self.deletable(high_watermark) {
            let newest = self.segments[at].retention_timestamp(&self.disk)?;
            if (now - newest).0 <= self.settings.retention_ms {
                break;
            }
            count += 1;
        }
        self.delete_first(now, count)
    }

    /// How many segments, from the first on, lie before the high watermark. An empty active one is not counted.
    fn deletable(&self, high_watermark: Offset) -> usize {
        let ends = self.segments.iter().skip(1).map(|next| next.base_offset).chain([self.log_end]);
        let mut count = ends.take_while(|end| *end <= high_watermark).count();
        if count == self.segments.len() && self.segments.back().is_some_and(|active| active.size_bytes == 0) {
            count -= 1;
        }
        count
    }

    fn delete_first(&mut self, now: Millis, count: usize) -> io::Result<Vec<Unlink>> {
        let mut unlinks = Vec::new();
        if count == 0 {
            return Ok(unlinks);
        }
        if count == self.segments.len() {
            self.roll(now, self.log_end)?;
        }
        self.advance_log_start(self.segments[count].base_offset);
        let due = now + Millis(self.settings.file_delete_delay_ms);
        for segment in self.segments.drain(..count) {
            self.open.retain(|base| *base != segment.base_offset);
            for suffix in names::SEGMENT_SUFFIXES.into_iter().chain([names::SNAPSHOT]) {
                rename_deleted(&self.disk, &segment.path(suffix), due, &mut unlinks)?;
            }
        }
        self.names_dirty = true;
        Ok(unlinks)
    }
}
