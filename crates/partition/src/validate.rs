//! Whether bytes that somebody wants to append are one good batch, and what of them is stored. It takes no lock
//! and may run on any thread; what depends on the log's state (offsets, sequences, epochs) is checked by
//! [`crate::Partition::append`].
//!
//! The order of the checks is Kafka's: a batch with several faults gets the same answer.
//!
//! Source: `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator` in Kafka 4.3.1.

use bytes::{Bytes, BytesMut};
use milena_base::Millis;
use milena_protocol::compression::{Codec, CompressionError};
use milena_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, HEADER_BYTES, Header, LOG_OVERHEAD_BYTES,
    MAGIC, RecordShape, stamp_timestamp,
};
use milena_protocol::{ErrorCode, TopicPartition};

use crate::{CompressionType, LogSettings, TimestampType};

/// Bound on what one batch may inflate to while it is walked through; nothing of it is kept.
const WALKED_BYTES_MAX: usize = 1 << 30;
/// Bound on what one batch may inflate to where it must be compressed anew.
const REBUILT_BYTES_MAX: usize = 64 << 20;
/// With this many bad records, the rest is not looked at.
const RECORD_ERRORS_MAX: usize = 10_000;
/// The smallest length that any format of Kafka has had.
const LENGTH_MIN: i32 = 14;
/// Where the attributes stand in a batch of format 2.
const ATTRIBUTES_AT: usize = 21;
/// Where the magic stands, in all formats.
const MAGIC_AT: usize = 16;

/// Who appends; strangers are checked more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request.
    Client,
    /// A coordinator of this node: without sequences.
    Coordinator,
    /// A leader that this replica follows: checked there.
    Replication,
}

/// What a batch is held against.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    /// Named in messages.
    pub topic_partition: &'a TopicPartition,
    /// Who appends.
    pub origin: Origin,
    /// Version of the Produce request, if it is one: zstd needs 7.
    pub produce_version: Option<i16>,
    /// Whether every record needs a key.
    pub compacted: bool,
    /// Largest batch, header included, as it is sent and as it is stored.
    pub max_message_bytes: u32,
    /// Whose clock counts.
    pub timestamp_type: TimestampType,
    /// How far back a record's time may lie.
    pub timestamp_before_max_ms: i64,
    /// How far ahead a record's time may lie.
    pub timestamp_after_max_ms: i64,
    /// How the batch is stored.
    pub compression: CompressionType,
}

impl<'a> Rules<'a> {
    /// The rules of one topic.
    pub fn new(settings: &LogSettings, topic_partition: &'a TopicPartition, origin: Origin) -> Rules<'a> {
        Rules {
            topic_partition,
            origin,
            produce_version: None,
            compacted: settings.cleanup.compact,
            max_message_bytes: settings.max_message_bytes,
            timestamp_type: settings.timestamp_type,
            timestamp_before_max_ms: settings.timestamp_before_max_ms,
            timestamp_after_max_ms: settings.timestamp_after_max_ms,
            compression: settings.compression,
        }
    }
}

/// One batch of format 2 that may be appended as it is, but for its base offset and leader epoch.
#[derive(Debug, Clone)]
pub struct ValidBatch {
    batch: Batch,
    origin: Origin,
    log_append_time: Millis,
}

impl ValidBatch {
    /// The header, before offset and epoch are stamped.
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// The batch.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Who appends it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Size on disk, header included.
    pub fn size_bytes(&self) -> usize {
        self.batch.bytes().len()
    }

    /// How many records it holds.
    pub fn record_count(&self) -> i32 {
        self.header().record_count
    }

    /// The broker's time that it was given, or [`Millis::NONE`].
    pub fn log_append_time(&self) -> Millis {
        self.log_append_time
    }
}

/// Why a batch is refused, in the words that Kafka sends to the producer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message:?} {record_errors:?}")]
pub struct InvalidBatch {
    /// For the partition's answer.
    pub code: ErrorCode,
    /// For `error_message`; `None` where Kafka sends none.
    pub message: Option<String>,
    /// For `record_errors`.
    pub record_errors: Vec<RecordError>,
    /// Whether Kafka's answer carries the log start offset (else −1).
    pub with_log_start: bool,
}

impl InvalidBatch {
    /// Refused before the log is asked.
    fn early(code: ErrorCode) -> InvalidBatch {
        InvalidBatch { code, message: None, record_errors: Vec::new(), with_log_start: false }
    }

    /// Refused by the log.
    fn late(code: ErrorCode) -> InvalidBatch {
        InvalidBatch { with_log_start: true, ..InvalidBatch::early(code) }
    }

    fn of(error: BatchError) -> InvalidBatch {
        match error {
            BatchError::Compression(CompressionError::TooLarge { .. }) => InvalidBatch::late(ErrorCode::InvalidRecord),
            // Kafka fails with exceptions that have no code of their own.
            BatchError::Compression(_) | BatchError::Codec(_) => InvalidBatch::late(ErrorCode::UnknownServerError),
            _ => InvalidBatch::late(ErrorCode::InvalidRecord),
        }
    }
}

/// One bad record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, counted from 0.
    pub index: i32,
    /// What is wrong.
    pub message: String,
}

/// Checks `bytes` (the `records` field of a request) and prepares it for the log. Compressed records are inflated
/// in pieces, never as a whole, unless they must be compressed anew.
pub fn validate(bytes: Bytes, rules: &Rules<'_>, now: Millis) -> Result<ValidBatch, InvalidBatch> {
    let bytes = only_batch(bytes)?;
    let batch = check_envelope(bytes, rules)?;
    if rules.origin == Origin::Client {
        check_header(batch.header())?;
    }
    let source = batch.header().attributes.compression().map_err(InvalidBatch::of)?;
    let (target, level) = target_codec(rules.compression, source);
    let walked = walk(&batch, rules, now, source != target)?;
    let is_control = batch.header().attributes.is_control();
    let in_place = source == target || (is_control && source == Codec::None);
    let keeps_offsets = walked.is_consecutive || (source == Codec::None && target == Codec::None);
    let batch = match in_place {
        true if keeps_offsets => stamp(batch, rules, walked.max_timestamp, now),
        // Kafka fails to number anew what it did not inflate.
        true => return Err(InvalidBatch::late(ErrorCode::UnknownServerError)),
        false => rebuild(&batch, rules, target, level, now)?,
    };
    let log_append_time = match rules.timestamp_type {
        TimestampType::CreateTime => Millis::NONE,
        TimestampType::LogAppendTime => now,
    };
    Ok(ValidBatch { batch, origin: rules.origin, log_append_time })
}

/// A bound on the memory that [`validate`] takes beside `bytes`, found without inflating anything: what the codec
/// keeps, and where the records are compressed anew, all of them three times (inflated, built and compressed).
pub fn working_bytes(bytes: &[u8], compression: CompressionType) -> usize {
    let Some(records) = bytes.get(HEADER_BYTES..) else { return 0 };
    let attributes = Attributes(u16::from_be_bytes([bytes[ATTRIBUTES_AT], bytes[ATTRIBUTES_AT + 1]]));
    let Ok(source) = attributes.compression() else { return 0 };
    let inflater_bytes = source.inflater_bytes(records);
    if target_codec(compression, source).0 == source {
        return inflater_bytes;
    }
    let inflated_bytes_max = match source {
        Codec::None => records.len(),
        // Deflate's best: 258 bytes for two bits.
        Codec::Gzip => records.len().saturating_mul(1032),
        Codec::Lz4 => records.len().saturating_mul(255),
        Codec::Snappy => records.len().saturating_mul(64),
        // A block of three bytes may stand for 128 KiB.
        Codec::Zstd => usize::MAX,
    };
    inflater_bytes + 3 * inflated_bytes_max.min(REBUILT_BYTES_MAX)
}

/// The header of the first batch of `bytes`, before anything is checked: whether it belongs to a transaction must be
/// known before anything is appended. `None` if it is not whole or of an old format; an error if what stands there
/// begins no batch of any format.
pub fn first_header(bytes: &[u8]) -> Result<Option<BatchHeader>, InvalidBatch> {
    let is_whole = first_size(bytes)?.is_some();
    Ok(BatchHeader::decode(bytes).ok().filter(|_| is_whole))
}

/// The bytes of the one batch that there must be. A piece of another behind it, too short to be one, is ignored.
fn only_batch(bytes: Bytes) -> Result<Bytes, InvalidBatch> {
    let invalid = || InvalidBatch::early(ErrorCode::InvalidRecord);
    let size = first_size(&bytes)?.ok_or_else(invalid)?;
    if bytes[MAGIC_AT] as i8 != MAGIC {
        return Err(invalid());
    }
    match first_size(&bytes[size..])? {
        None => Ok(bytes.slice(..size)),
        Some(_) => Err(invalid()),
    }
}

/// Size of the batch, of any format, at the start of `bytes`; `None` if it is not whole.
fn first_size(bytes: &[u8]) -> Result<Option<usize>, InvalidBatch> {
    let Some(length) = bytes.get(8..LOG_OVERHEAD_BYTES) else { return Ok(None) };
    let length = length.iter().fold(0i32, |value, byte| value << 8 | i32::from(*byte));
    if length < LENGTH_MIN {
        return Err(InvalidBatch::early(ErrorCode::CorruptMessage));
    }
    let Some(magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if !(0..=MAGIC).contains(&(*magic as i8)) {
        return Err(InvalidBatch::early(ErrorCode::CorruptMessage));
    }
    let size = LOG_OVERHEAD_BYTES + length as usize;
    Ok((size <= bytes.len()).then_some(size))
}

/// What can be said without looking at records: codec and version, offset, size, checksum.
fn check_envelope(bytes: Bytes, rules: &Rules<'_>) -> Result<Batch, InvalidBatch> {
    let size = bytes.len();
    let parsed = Batch::parse(bytes);
    if let Ok(batch) = &parsed {
        let is_zstd = batch.header().attributes.compression() == Ok(Codec::Zstd);
        if is_zstd && rules.produce_version.is_some_and(|version| version < 7) {
            return Err(InvalidBatch::early(ErrorCode::UnsupportedCompressionType));
        }
        if rules.origin == Origin::Client && batch.header().base_offset.0 != 0 {
            return Err(InvalidBatch::late(ErrorCode::InvalidRecord));
        }
    }
    if size as u64 > rules.max_message_bytes.into() {
        return Err(InvalidBatch::early(ErrorCode::MessageTooLarge));
    }
    let corrupt = |_| InvalidBatch::early(ErrorCode::CorruptMessage);
    let batch = parsed.map_err(corrupt)?;
    batch.verify_crc().map_err(corrupt)?;
    Ok(batch)
}

/// What a client must not say in a header.
fn check_header(header: &BatchHeader) -> Result<(), InvalidBatch> {
    let count = i64::from(header.record_count);
    let is_sound = count > 0
        && i64::from(header.last_offset_delta) + 1 == count
        && !header.attributes.is_control()
        && (header.producer_id.0 < 0 || header.base_sequence.0 >= 0);
    match is_sound {
        true => Ok(()),
        false => Err(InvalidBatch::late(ErrorCode::InvalidRecord)),
    }
}

/// How the batch is to be compressed, and how hard.
fn target_codec(compression: CompressionType, source: Codec) -> (Codec, Option<i32>) {
    match compression {
        CompressionType::Producer => (source, None),
        CompressionType::Uncompressed => (Codec::None, None),
        CompressionType::Gzip(level) => (Codec::Gzip, Some(level)),
        CompressionType::Snappy => (Codec::Snappy, None),
        CompressionType::Lz4(level) => (Codec::Lz4, Some(level)),
        CompressionType::Zstd(level) => (Codec::Zstd, Some(level)),
    }
}

/// What was seen on the way through the records.
struct Walked {
    max_timestamp: Millis,
    /// Offset deltas are 0, 1, 2 and so on.
    is_consecutive: bool,
}

fn walk(batch: &Batch, rules: &Rules<'_>, now: Millis, changes_codec: bool) -> Result<Walked, InvalidBatch> {
    let header = batch.header();
    let mut walked = Walked { max_timestamp: Millis::NONE, is_consecutive: true };
    let mut errors = RecordErrors { header, rules, now, changes_codec, found: Vec::new(), any_timestamp: false };
    for (index, shape) in (0..).zip(batch.walk(WALKED_BYTES_MAX).map_err(InvalidBatch::of)?) {
        let shape = shape.map_err(InvalidBatch::of)?;
        let timestamp = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => Millis(header.base_timestamp.0.wrapping_add(shape.timestamp_delta)),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        errors.check(index, &shape, timestamp);
        walked.max_timestamp = walked.max_timestamp.max(timestamp);
        walked.is_consecutive &= shape.offset_delta == index;
        if errors.found.len() == RECORD_ERRORS_MAX {
            break;
        }
    }
    errors.into_result()?;
    Ok(walked)
}

/// The records that are wrong.
struct RecordErrors<'a> {
    header: &'a BatchHeader,
    rules: &'a Rules<'a>,
    now: Millis,
    changes_codec: bool,
    found: Vec<RecordError>,
    any_timestamp: bool,
}

impl RecordErrors<'_> {
    fn check(&mut self, index: i32, shape: &RecordShape, timestamp: Millis) {
        let Rules { topic_partition, compacted, timestamp_type, .. } = *self.rules;
        if compacted && shape.key_bytes.is_none() {
            let message =
                format!("Compacted topic cannot accept message without key in topic partition {topic_partition}");
            self.found.push(RecordError { index, message });
            return;
        }
        let offset = self.header.base_offset.0.wrapping_add(i64::from(shape.offset_delta));
        let message = if timestamp_type == TimestampType::CreateTime && timestamp != Millis::NONE {
            out_of_range(timestamp, offset, self.rules, self.now)
        } else if self.header.attributes.timestamp_type() == TimestampType::LogAppendTime {
            Some(self.claimed_append_time(shape, timestamp, offset))
        } else {
            None
        };
        if let Some(message) = message {
            self.any_timestamp = true;
            self.found.push(RecordError { index, message });
        }
    }

    /// Only brokers give a batch its append time.
    fn claimed_append_time(&self, shape: &RecordShape, timestamp: Millis, offset: i64) -> String {
        let compressed = self.header.attributes.compression() != Ok(Codec::None);
        let kind = if compressed && !self.changes_codec { "PartialDefaultRecord" } else { "DefaultRecord" };
        let (key, value) = (shape.key_bytes.unwrap_or(0), shape.value_bytes.unwrap_or(0));
        format!(
            "Invalid timestamp type in message {kind}(offset={offset}, timestamp={}, key={key} bytes, value={value} \
             bytes). Producer should not set timestamp type to LogAppendTime.",
            timestamp.0
        )
    }

    fn into_result(self) -> Result<(), InvalidBatch> {
        if self.found.is_empty() {
            return Ok(());
        }
        let (code, message) = match self.any_timestamp {
            true => (
                ErrorCode::InvalidTimestamp,
                "One or more records have been rejected due to invalid timestamp".to_owned(),
            ),
            false => (ErrorCode::InvalidRecord, self.summary()),
        };
        Err(InvalidBatch { code, message: Some(message), record_errors: self.found, with_log_start: true })
    }

    fn summary(&self) -> String {
        let shown: Vec<String> = self
            .found
            .iter()
            .take(3)
            .map(|error| format!("RecordError(batchIndex={}, message='{}')", error.index, error.message))
            .collect();
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first \
             three errors at most: [{}]",
            self.found.len(),
            shown.join(", ")
        )
    }
}

/// What to say of a record whose time is too far from now. The arithmetic wraps as Java's does.
fn out_of_range(timestamp: Millis, offset: i64, rules: &Rules<'_>, now: Millis) -> Option<String> {
    let (before, after) = (rules.timestamp_before_max_ms, rules.timestamp_after_max_ms);
    let age = now.0.wrapping_sub(timestamp.0);
    let is_outside = age > before || age.wrapping_neg() > after;
    is_outside.then(|| {
        format!(
            "Timestamp {} of message with offset {offset} is out of range. The timestamp should be within [{}, {}]",
            timestamp.0,
            now.0.wrapping_sub(before),
            now.0.wrapping_add(after)
        )
    })
}

/// Sets the batch's time: the append's, or the largest of the records, which producers need not compute.
fn stamp(batch: Batch, rules: &Rules<'_>, max_timestamp: Millis, now: Millis) -> Batch {
    let wanted = match rules.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => now,
    };
    let header = batch.header();
    if header.max_timestamp == wanted && header.attributes.timestamp_type() == rules.timestamp_type {
        return batch;
    }
    let mut bytes = BytesMut::from(&batch.bytes()[..]);
    stamp_timestamp(&mut bytes, rules.timestamp_type, wanted);
    Batch::parse(bytes.freeze()).expect("stamping changes no length")
}

/// The same records in another codec, with consecutive offsets.
fn rebuild(
    batch: &Batch,
    rules: &Rules<'_>,
    codec: Codec,
    level: Option<i32>,
    now: Millis,
) -> Result<Batch, InvalidBatch> {
    let header = batch.header();
    let mut builder = BatchBuilder::new();
    for record in batch.records(REBUILT_BYTES_MAX).map_err(InvalidBatch::of)? {
        let record = record.map_err(InvalidBatch::of)?;
        let headers: Vec<Header> = record.headers.iter().collect();
        builder.add(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    let is_stamped = rules.timestamp_type == TimestampType::LogAppendTime;
    let options = BatchOptions {
        codec,
        level,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        is_transactional: header.attributes.is_transactional(),
        log_append_time: is_stamped.then_some(now),
        ..BatchOptions::default()
    };
    let bytes = builder.build(&options).map_err(|_| InvalidBatch::late(ErrorCode::UnknownServerError))?;
    if bytes.len() as u64 > rules.max_message_bytes.into() {
        return Err(InvalidBatch::early(ErrorCode::MessageTooLarge));
    }
    Batch::parse(bytes).map_err(InvalidBatch::of)
}

#[cfg(test)]
mod tests;
