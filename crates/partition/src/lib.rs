//! Everything that one partition does on the disk it is given: the log with its segments and indexes, leader
//! epochs, producer states, recovery, retention, and the rules of appending and reading.
//!
//! The way of a record: [`validate::validate`] (outside the lock: checks, recompression) →
//! [`Partition::append`] (epoch fence, producer sequence, offsets) → [`log::Log::append`] (roll, epochs, index) →
//! the segment's file. The way back: [`Partition::read`] answers with a range of a file, never with bytes.
//!
//! **Invariants:** no clock, no randomness, no thread, no `std::fs`: time and a seed come in, files to flush and to
//! remove go out as values. Nothing in a file or a request can make this crate panic.

pub mod checkpoint;
pub mod epochs;
#[cfg(test)]
mod fixture;
mod index;
pub mod log;
pub mod names;
pub mod partition;
pub mod producers;
mod segment;
pub mod settings;
mod transactions;
pub mod validate;
mod walk;

pub use log::{LOOKUP_BYTES_MAX, Log, compaction};
pub use milena_protocol::records::TimestampType;
pub use partition::*;
pub use producers::{Beginning, Guard};
pub use settings::{CleanupPolicy, CompressionType, LogSettings};
pub use validate::{InvalidBatch, Origin, RecordError, Rules, ValidBatch, first_header, validate, working_bytes};
