//! The `.txnindex` of a segment: transactions that an abort marker within the segment ended.
//!
//! ```text
//! entry  2 version = 0 | 8 producer id | 8 first offset | 8 last offset (the marker's) | 8 last stable offset then
//! ```
//! Aborts are rare: the file does not exist before the first, and is read from front to end.
//!
//! Source: `TransactionIndex`, `AbortedTxn` in Kafka 4.3.1.

use std::io;
use std::path::Path;

use milena_base::{Disk, DiskFile};
use milena_protocol::{Offset, ProducerId};

const ENTRY_BYTES: usize = 34;
/// Entries read at once.
const CHUNK_ENTRIES: usize = 128;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    /// The last stable offset once the marker was written: no transaction before it is undecided.
    pub(crate) last_stable: Offset,
}

impl Aborted {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let fields = [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable.0];
        for (at, field) in fields.into_iter().enumerate() {
            bytes[2 + 8 * at..10 + 8 * at].copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Aborted {
        let field = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[2 + 8 * at..10 + 8 * at]);
            i64::from_be_bytes(field)
        };
        Aborted {
            producer_id: ProducerId(field(0)),
            first_offset: Offset(field(1)),
            last_offset: Offset(field(2)),
            last_stable: Offset(field(3)),
        }
    }
}

/// Adds an entry, making the file if there is none.
pub(crate) fn append<D: Disk>(disk: &D, path: &Path, aborted: &Aborted) -> io::Result<()> {
    let file = disk.open(path)?;
    let whole = file.size_bytes()? / ENTRY_BYTES as u64 * ENTRY_BYTES as u64;
    file.write_at(&aborted.encode(), whole)
}

/// Adds the transactions that reach into `from..to` to `found`. Answers whether later segments may hold more.
pub(crate) fn collect<D: Disk>(
    disk: &D,
    path: &Path,
    from: Offset,
    to: Offset,
    found: &mut Vec<Aborted>,
) -> io::Result<bool> {
    let file = disk.open_existing(path)?;
    let mut chunk = vec![0; CHUNK_ENTRIES * ENTRY_BYTES];
    let mut position = 0;
    loop {
        let read = file.read_at(&mut chunk, position)?;
        position += read as u64;
        for aborted in chunk[..read].chunks_exact(ENTRY_BYTES).map(Aborted::decode) {
            if aborted.last_offset >= from && aborted.first_offset < to {
                found.push(aborted);
            }
            if aborted.last_stable >= to {
                return Ok(false);
            }
        }
        if read < chunk.len() {
            return Ok(true);
        }
    }
}

/// Forgets transactions whose marker is at or behind `end`.
pub(crate) fn truncate<D: Disk>(disk: &D, path: &Path, end: Offset) -> io::Result<()> {
    let mut all = Vec::new();
    collect(disk, path, Offset(0), Offset(i64::MAX), &mut all)?;
    let kept = all.partition_point(|aborted| aborted.last_offset < end);
    disk.open_existing(path)?.truncate((kept * ENTRY_BYTES) as u64)
}
