//! Record batches of magic 2: what a producer sends, a log stores and a consumer receives, byte for byte the same.
//!
//! ```text
//!  0 base offset i64 | 8 batch length i32 | 12 partition leader epoch i32 | 16 magic i8 = 2 | 17 crc u32
//! 21 attributes i16 | 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64
//! 43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 record count i32 | 61 records, or one compressed stream of them
//! ```
//! The batch length counts what follows it. The CRC-32C covers everything from the attributes on, so that a broker
//! may stamp the base offset and the leader epoch without computing it anew.
//!
//! ```text
//! record: length varint | attributes i8 = 0 | timestamp delta varlong | offset delta varint
//!         | key length varint, key | value length varint, value | header count varint, headers
//! header: key length varint, key | value length varint, value              (a negative length: null)
//! ```
//! Nothing here decides whether a batch is welcome: producer state, offsets and time limits are the partition's.
//!
//! Source: `DefaultRecordBatch`, `DefaultRecord`, KIP-98; delete horizon: KIP-534.

mod batch;
mod builder;
mod control;
mod error;
mod header;
mod record;
mod stamp;
#[cfg(test)]
mod tests;
mod walk;

pub use batch::{Batch, Batches, batches};
pub use builder::{BatchBuilder, BatchOptions, control_batch, record_size_bytes};
pub use control::{ControlRecordType, EndTransactionMarker};
pub use error::BatchError;
pub use header::{Attributes, BatchHeader, TimestampType};
pub use record::{Header, Headers, RecordView, RecordViews};
pub use stamp::{recompute_crc, stamp_offsets, stamp_timestamp};
pub use walk::{RecordShape, Walk};

/// Size of a batch's header, and so of the smallest batch.
pub const HEADER_BYTES: usize = 61;
/// Base offset and batch length: what the batch length does not count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The only format of batches that Kafka 4 speaks.
pub const MAGIC: i8 = 2;

/// Where the fields of the header begin.
mod at {
    pub(super) const BATCH_LENGTH: usize = 8;
    pub(super) const LEADER_EPOCH: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const CRC: usize = 17;
    pub(super) const ATTRIBUTES: usize = 21;
    pub(super) const LAST_OFFSET_DELTA: usize = 23;
    pub(super) const BASE_TIMESTAMP: usize = 27;
    pub(super) const MAX_TIMESTAMP: usize = 35;
    pub(super) const PRODUCER_ID: usize = 43;
    pub(super) const PRODUCER_EPOCH: usize = 51;
    pub(super) const BASE_SEQUENCE: usize = 53;
    pub(super) const RECORD_COUNT: usize = 57;
}

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}
