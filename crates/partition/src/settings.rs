//! What a topic's configuration says about its log, as plain numbers with Kafka's defaults. Where they come
//! from (topic, broker, built in) is decided elsewhere.
//!
//! Source: `LogConfig`, `ServerLogConfigs` and `TopicConfig` in Kafka 4.3.1.

use milena_protocol::records::TimestampType;

/// Settings of one log. Changing them at run time takes effect at the next append or tick.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// `segment.bytes`: a segment's file does not grow beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment that spans more time is rolled.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much is taken off `segment_ms`, by chance, per segment.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: largest size of an index file; a full one rolls the segment.
    pub index_bytes_max: u32,
    /// `retention.ms`: segments whose newest record is older are deleted; negative: never.
    pub retention_ms: i64,
    /// `retention.bytes`: oldest segments are deleted while the rest is at least this large; negative: never.
    pub retention_bytes: i64,
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
    /// `min.compaction.lag.ms`: a segment with a younger record is not compacted.
    pub compaction_lag_min_ms: i64,
    /// `max.compaction.lag.ms`: bounds the age of an active segment of a compacted topic, and how long it waits then.
    pub compaction_lag_max_ms: i64,
    /// `min.cleanable.dirty.ratio`: a log is compacted when a larger part of it is not.
    pub dirty_ratio_min: f64,
    /// `delete.retention.ms`: how long compaction keeps a tombstone, or a marker without records, from when it meets it first.
    pub delete_retention_ms: i64,
    /// `max.message.bytes`: largest batch accepted from a client, header included.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's time may lie back.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record's time may lie ahead.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` with its level.
    pub compression: CompressionType,
    /// `flush.messages`: with this many records unflushed, a flush is due. 1: acknowledge after the flush.
    pub flush_messages: i64,
    /// `flush.ms`: with unflushed records this old, a flush is due.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted file stays under its `.deleted` name.
    pub file_delete_delay_ms: i64,
    /// `preallocate`: extend a new segment's file to `segment_bytes` at once.
    pub preallocate: bool,
    /// `producer.id.expiration.ms` of the broker: how long a silent producer is remembered.
    pub producer_expiration_ms: i64,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogSettings {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_bytes_max: 10 * 1024 * 1024,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            cleanup: CleanupPolicy { delete: true, compact: false },
            compaction_lag_min_ms: 0,
            compaction_lag_max_ms: i64::MAX,
            dirty_ratio_min: 0.5,
            delete_retention_ms: DAY_MS,
            max_message_bytes: 1024 * 1024 + 12,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            compression: CompressionType::Producer,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            producer_expiration_ms: DAY_MS,
        }
    }
}

impl LogSettings {
    /// How long a segment may stay active: a compacted topic must be able to clean its records in time.
    pub(crate) fn segment_age_max_ms(&self) -> i64 {
        match self.cleanup.compact && self.compaction_lag_max_ms > 0 {
            true => self.segment_ms.min(self.compaction_lag_max_ms),
            false => self.segment_ms,
        }
    }

    /// Whether a record counts as written only once it is flushed.
    pub fn acknowledges_after_flush(&self) -> bool {
        self.flush_messages <= 1
    }
}

/// `cleanup.policy`. Neither: keep for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanupPolicy {
    /// Delete by time and size.
    pub delete: bool,
    /// Keep the last record of every key.
    pub compact: bool,
}

/// `compression.type`: how batches are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// As the producer sent them.
    #[default]
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip, with `compression.gzip.level` (−1 or 1 to 9).
    Gzip(i32),
    /// snappy in Java's framing.
    Snappy,
    /// lz4 frames, with `compression.lz4.level` (1 to 17).
    Lz4(i32),
    /// zstd, with `compression.zstd.level` (−131072 to 22).
    Zstd(i32),
}
