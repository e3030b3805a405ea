//! Builds batches: for producers, for internal topics, for recompression and compaction.

use bytes::{BufMut, Bytes, BytesMut};
use milena_base::Millis;

use super::{
    Attributes, BatchHeader, ControlRecordType, HEADER_BYTES, Header, LOG_OVERHEAD_BYTES, MAGIC, TimestampType,
    recompute_crc,
};
use crate::compression::{Codec, CompressionError, compress};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// Everything about a batch but its records. The default is a plain uncompressed one at offset 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Who appends it, or `NONE` in a producer.
    pub leader_epoch: LeaderEpoch,
    /// How the records are compressed.
    pub codec: Codec,
    /// How hard; `None` is the codec's default.
    pub level: Option<i32>,
    /// The idempotent producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub base_sequence: Sequence,
    /// Whether it belongs to a transaction.
    pub is_transactional: bool,
    /// Whether it holds control records.
    pub is_control: bool,
    /// The time of the append, where the topic wants `LogAppendTime`.
    pub log_append_time: Option<Millis>,
    /// Where compaction has removed records at the end: the delta that the batch had and must keep.
    pub last_offset_delta: Option<i32>,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch::NONE,
            codec: Codec::None,
            level: None,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            is_transactional: false,
            is_control: false,
            log_append_time: None,
            last_offset_delta: None,
        }
    }
}

/// Collects records, then makes a batch of them.
#[derive(Debug, Clone, Default)]
pub struct BatchBuilder {
    records: BytesMut,
    base_timestamp: Option<Millis>,
    has_delete_horizon: bool,
    max_timestamp: Option<Millis>,
    record_count: i32,
    next_delta: i32,
}

impl BatchBuilder {
    /// An empty batch whose base timestamp will be that of the first record.
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// An empty batch whose tombstones and markers compaction may drop from `horizon` on. It takes the place of the
    /// base timestamp.
    pub fn with_delete_horizon(horizon: Millis) -> BatchBuilder {
        BatchBuilder { base_timestamp: Some(horizon), has_delete_horizon: true, ..BatchBuilder::default() }
    }

    /// Adds a record at the next offset. Answers [`BatchBuilder::size_bytes`] with it.
    ///
    /// # Panics
    /// If the record alone is larger than 2 GiB; callers bound records long before.
    pub fn add(&mut self, timestamp: Millis, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        self.add_at(self.next_delta, timestamp, key, value, headers)
    }

    /// Adds a record at `offset_delta` behind the base offset, leaving a hole as compaction does.
    ///
    /// # Panics
    /// As [`BatchBuilder::add`]; or if offsets do not grow.
    pub fn add_at(
        &mut self,
        offset_delta: i32,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> usize {
        assert!(offset_delta >= self.next_delta, "offset delta {offset_delta} after {}", self.next_delta);
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(base.0);
        let length = body_bytes(offset_delta, timestamp_delta, key, value, headers);
        assert!(i32::try_from(length).is_ok(), "a record of {length} bytes");
        let out = &mut self.records;
        put_varint(out, length as i64);
        out.put_i8(0);
        put_varint(out, timestamp_delta);
        put_varint(out, offset_delta.into());
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, headers.len() as i64);
        for header in headers {
            put_nullable(out, Some(&header.key));
            put_nullable(out, header.value.as_deref());
        }
        self.max_timestamp = Some(self.max_timestamp.map_or(timestamp, |max| max.max(timestamp)));
        self.record_count += 1;
        self.next_delta = offset_delta + 1;
        self.size_bytes()
    }

    /// Size of the batch if it is not compressed. Compression makes it larger only for random contents, by less
    /// than 1 % and a few bytes.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// How many records were added.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Makes the batch. Without records it is a bare header, as compaction leaves one to keep a producer's sequence.
    /// Errors only if the level is not one of the codec's, or the codec fails.
    ///
    /// # Panics
    /// If the batch is larger than 2 GiB.
    pub fn build(self, options: &BatchOptions) -> Result<Bytes, CompressionError> {
        // A bare header says that it is not compressed (`writeEmptyHeader`).
        let codec = if self.is_empty() { Codec::None } else { options.codec };
        let records = match codec {
            Codec::None => self.records.freeze(),
            codec => compress(codec, options.level, &self.records)?,
        };
        let timestamp_type =
            options.log_append_time.map_or(TimestampType::CreateTime, |_| TimestampType::LogAppendTime);
        let length = HEADER_BYTES - LOG_OVERHEAD_BYTES + records.len();
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length: i32::try_from(length).expect("a batch is smaller than 2 GiB"),
            partition_leader_epoch: options.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default()
                .with_compression(codec)
                .with_timestamp_type(timestamp_type)
                .with_transactional(options.is_transactional)
                .with_control(options.is_control)
                .with_delete_horizon(self.has_delete_horizon),
            last_offset_delta: options.last_offset_delta.unwrap_or(self.next_delta - 1),
            base_timestamp: self.base_timestamp.unwrap_or(Millis::NONE),
            max_timestamp: options.log_append_time.or(self.max_timestamp).unwrap_or(Millis::NONE),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.record_count,
        };
        let mut batch = BytesMut::with_capacity(header.size_bytes());
        batch.put_slice(&header.to_bytes());
        batch.put_slice(&records);
        recompute_crc(&mut batch);
        Ok(batch.freeze())
    }
}

/// A batch of one control record. Control batches are never compressed, whatever `options` say.
pub fn control_batch(kind: ControlRecordType, value: &[u8], timestamp: Millis, options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.add(timestamp, Some(&kind.key()), Some(value), &[]);
    let options = BatchOptions { codec: Codec::None, is_control: true, ..options.clone() };
    builder.build(&options).expect("without a codec nothing can fail")
}

/// Size of a record with its length field, not compressed.
pub fn record_size_bytes(
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let body = body_bytes(offset_delta, timestamp_delta, key, value, headers);
    varint_bytes(body as i64) + body
}

fn body_bytes(
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let nullable = |value: Option<&[u8]>| value.map_or(1, |value| varint_bytes(value.len() as i64) + value.len());
    let headers_bytes: usize =
        headers.iter().map(|header| nullable(Some(&header.key)) + nullable(header.value.as_deref())).sum();
    1 + varint_bytes(timestamp_delta)
        + varint_bytes(offset_delta.into())
        + nullable(key)
        + nullable(value)
        + varint_bytes(headers.len() as i64)
        + headers_bytes
}

/// Bytes of a zigzag number, seven bits each.
fn varint_bytes(value: i64) -> usize {
    let bits = (value << 1) ^ (value >> 63);
    (64 - (bits as u64 | 1).leading_zeros() as usize).div_ceil(7)
}

/// Writes a zigzag number; 32 and 64 bits look the same.
fn put_varint(out: &mut BytesMut, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.put_u8(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.put_u8(bits as u8);
}

/// Writes bytes behind their length; null is length −1.
fn put_nullable(out: &mut BytesMut, value: Option<&[u8]>) {
    put_varint(out, value.map_or(-1, |value| value.len() as i64));
    out.put_slice(value.unwrap_or_default());
}
