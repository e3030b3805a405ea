//! Metadata records as batches of the metadata log, and back.
//!
//! ```text
//! value of a data record:  frame version (unsigned varint, 1) | type (unsigned varint) | version (unsigned varint) | fields
//! ```
//!
//! Source: `MetadataRecordSerde`, `AbstractApiMessageSerde`; versions written: `MetadataVersion` at 4.3-IV0 (level 30).

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, MetadataRecord, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use milena_protocol::{LeaderEpoch, Offset};

/// A control record of the metadata log or of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// A leader begins its epoch.
    LeaderChange(LeaderChangeMessage),
    /// First record of a snapshot.
    SnapshotHeader(SnapshotHeaderRecord),
    /// Last record of a snapshot.
    SnapshotFooter(SnapshotFooterRecord),
    /// The quorum protocol in force (KIP-853).
    KRaftVersion(KRaftVersionRecord),
    /// The voters (KIP-853).
    Voters(VotersRecord),
}

/// What one record of the log says.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// About the cluster.
    Data(MetadataRecord),
    /// About the log or quorum itself.
    Control(Control),
}

/// One decoded batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Offset of the first record.
    pub base: Offset,
    /// Epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// When it was appended.
    pub timestamp: Millis,
    /// Its records; offsets are consecutive from `base`.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// The offset after its last record.
    pub fn end(&self) -> Offset {
        self.base + self.entries.len() as i64
    }
}

/// Why bytes are not batches of metadata records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// A batch is torn, or its checksum does not fit.
    #[error("the batch at byte {position} is corrupt: {reason}")]
    CorruptBatch {
        /// Byte in the given slice.
        position: usize,
        /// What does not fit.
        reason: String,
    },
    /// A record's value cannot be read.
    #[error("the record at offset {offset} cannot be read: {reason}")]
    CorruptRecord {
        /// Its offset.
        offset: Offset,
        /// What does not fit.
        reason: String,
    },
}

/// The version of a record that Kafka 4.3.1 writes at metadata.version 4.3-IV0.
pub fn version_written(record: &MetadataRecord) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 4,
        MetadataRecord::BrokerRegistrationChange(_) => 3,
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
        _ => 0,
    }
}

/// One data batch (uncompressed, one timestamp). `records` must not be empty.
pub fn encode_data(base: Offset, epoch: LeaderEpoch, timestamp: Millis, records: &[MetadataRecord]) -> Bytes {
    todo!()
}

/// One control batch. `records` must not be empty.
pub fn encode_control(base: Offset, epoch: LeaderEpoch, timestamp: Millis, records: &[Control]) -> Bytes {
    todo!()
}

/// Every batch in `bytes`, strictly: no rest, no unknown record types or versions, checksums checked.
pub fn decode(bytes: &Bytes) -> Result<Vec<Batch>, RecordsError> {
    todo!()
}
