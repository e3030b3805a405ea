//! Whether bytes that somebody wants to append are one good batch, and what of them is stored. It takes no lock
//! and may run on any thread; what depends on the log's state (offsets, sequences, epochs) is checked by
//! [`crate::Partition::append`].
//!
//! Source: `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator` in Kafka 4.3.1.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::{ErrorCode, TopicPartition};

use crate::{CompressionType, LogSettings, TimestampType};

/// Who appends; strangers are checked more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request.
    Client,
    /// A coordinator of this node: no sequences, no size limit of its own.
    Coordinator,
    /// A leader that this replica follows: checked there, offsets and epochs are taken as they are.
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
    bytes: Bytes,
}

impl ValidBatch {
    /// Size on disk, header included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many records it holds.
    pub fn record_count(&self) -> i32 {
        unimplemented!()
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
    let _ = (bytes, rules, now);
    unimplemented!()
}
