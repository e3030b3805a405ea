//! What a leader writes into a batch that it appends, in place.
//!
//! Every function takes one whole batch, already parsed by [`super::Batch`]; a shorter slice is our own mistake
//! and panics.

use milena_base::Millis;

use super::{Attributes, BatchHeader, HEADER_BYTES, TimestampType, at, crc32c};
use crate::{LeaderEpoch, Offset};

/// Sets where the batch stands in the log and who appended it. The CRC does not cover these fields.
pub fn stamp_offsets(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    put(batch, 0, base_offset.0.to_be_bytes());
    put(batch, at::LEADER_EPOCH, leader_epoch.0.to_be_bytes());
}

/// Sets the max timestamp and who gave it, with a new CRC if anything changed. Timestamp deltas stay: with
/// `LogAppendTime` readers take the max timestamp for all records.
pub fn stamp_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: Millis) {
    let header = BatchHeader::decode(batch).expect("only a parsed batch is stamped");
    if header.attributes.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp {
        return;
    }
    let Attributes(flags) = header.attributes.with_timestamp_type(timestamp_type);
    put(batch, at::ATTRIBUTES, flags.to_be_bytes());
    put(batch, at::MAX_TIMESTAMP, max_timestamp.0.to_be_bytes());
    recompute_crc(batch);
}

/// Makes the CRC that of the contents. `batch` is one batch to its end.
pub fn recompute_crc(batch: &mut [u8]) {
    assert!(batch.len() >= HEADER_BYTES, "{} bytes are no batch", batch.len());
    let crc = crc32c(&batch[at::ATTRIBUTES..]);
    put(batch, at::CRC, crc.to_be_bytes());
}

fn put<const N: usize>(batch: &mut [u8], start: usize, field: [u8; N]) {
    batch[start..start + N].copy_from_slice(&field);
}
