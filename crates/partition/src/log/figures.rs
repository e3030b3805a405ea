//! What is measured of a log.

use milena_base::Disk;
use milena_protocol::Offset;

use super::Log;

/// A log in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// First readable offset.
    pub log_start: Offset,
    /// Next offset to be written.
    pub log_end: Offset,
    /// Bytes of all segments' log files.
    pub size_bytes: u64,
    /// Bytes of batches appended since it was opened.
    pub appended_bytes: u64,
    /// Records in them.
    pub appended_records: u64,
}

impl<D: Disk> Log<D> {
    /// The numbers now. O(segments).
    pub fn figures(&self) -> Figures {
        Figures {
            log_start: self.log_start,
            log_end: self.log_end,
            size_bytes: self.size_bytes(),
            appended_bytes: self.appended.bytes,
            appended_records: self.appended.records.max(0) as u64,
        }
    }
}
