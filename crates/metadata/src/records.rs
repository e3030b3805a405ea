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
    BrokerRegistrationChangeRecord, KRaftVersionRecord, LeaderChangeMessage, MetadataRecord, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use milena_protocol::records::{BatchBuilder, BatchError, BatchOptions, ControlRecordType, RecordView, batches};
use milena_protocol::wire::{Decoder, Frame, Sink};
use milena_protocol::{LeaderEpoch, Message, Offset};

/// The only frame version that Kafka has written so far.
const FRAME_VERSION: u32 = 1;
/// Version of all control records (`ControlRecordUtils`), whatever `kraft.version` is.
const CONTROL_VERSION: i16 = 0;
/// The most bytes that the records of one compressed batch may have: four times Kafka's largest batch. Kafka writes
/// none compressed; a foreign controller might.
const INFLATED_BYTES_MAX: usize = 32 << 20;

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
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
        MetadataRecord::BrokerRegistrationChange(record) => registration_change_version(record),
        _ => 0,
    }
}

/// The lowest version that can say it: Kafka writes each kind of change at the version that brought it.
fn registration_change_version(record: &BrokerRegistrationChangeRecord) -> i16 {
    match record {
        BrokerRegistrationChangeRecord { cordoned_log_dirs: Some(_), .. } => 3,
        BrokerRegistrationChangeRecord { log_dirs, .. } if !log_dirs.is_empty() => 2,
        BrokerRegistrationChangeRecord { in_controlled_shutdown, .. } if *in_controlled_shutdown != 0 => 1,
        _ => 0,
    }
}

/// One data batch: uncompressed, one timestamp.
///
/// # Panics
/// If `records` is empty, or has a string beyond the wire's bounds: the controller checks those before.
pub fn encode_data(base: Offset, epoch: LeaderEpoch, timestamp: Millis, records: &[MetadataRecord]) -> Bytes {
    assert!(!records.is_empty(), "a batch has records");
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.add(timestamp, None, Some(&encode_value(record)), &[]);
    }
    finish(builder, base, epoch, false)
}

/// One control batch.
///
/// # Panics
/// If `records` is empty.
pub fn encode_control(base: Offset, epoch: LeaderEpoch, timestamp: Millis, records: &[Control]) -> Bytes {
    assert!(!records.is_empty(), "a batch has records");
    let mut builder = BatchBuilder::new();
    for record in records {
        let (kind, value) = match record {
            Control::LeaderChange(record) => (ControlRecordType::LeaderChange, record.to_bytes(CONTROL_VERSION)),
            Control::SnapshotHeader(record) => (ControlRecordType::SnapshotHeader, record.to_bytes(CONTROL_VERSION)),
            Control::SnapshotFooter(record) => (ControlRecordType::SnapshotFooter, record.to_bytes(CONTROL_VERSION)),
            Control::KRaftVersion(record) => (ControlRecordType::KRaftVersion, record.to_bytes(CONTROL_VERSION)),
            Control::Voters(record) => (ControlRecordType::KRaftVoters, record.to_bytes(CONTROL_VERSION)),
        };
        let value = value.expect("our own control records fit the wire");
        builder.add(timestamp, Some(&kind.key()), Some(&value), &[]);
    }
    finish(builder, base, epoch, true)
}

/// Every batch in `bytes`, strictly: no rest, no unknown record types or versions, checksums checked.
pub fn decode(bytes: &Bytes) -> Result<Vec<Batch>, RecordsError> {
    let mut position = 0;
    let mut decoded = Vec::new();
    for batch in batches(bytes.clone()) {
        let corrupt = |error: BatchError| RecordsError::CorruptBatch { position, reason: error.to_string() };
        let batch = batch.map_err(corrupt)?;
        batch.verify_crc().map_err(corrupt)?;
        let header = batch.header();
        let is_control = header.attributes.is_control();
        let mut entries = Vec::new();
        for record in batch.records(INFLATED_BYTES_MAX).map_err(corrupt)? {
            let record = record.map_err(corrupt)?;
            if record.offset != header.base_offset + entries.len() as i64 {
                return Err(corrupt(BatchError::Truncated { missing: 0 }));
            }
            entries.push(decode_entry(&record, is_control)?);
        }
        decoded.push(Batch {
            base: header.base_offset,
            epoch: header.partition_leader_epoch,
            timestamp: header.max_timestamp,
            entries,
        });
        position += header.size_bytes();
    }
    Ok(decoded)
}

fn encode_value(record: &MetadataRecord) -> Bytes {
    let mut frame = Frame::default();
    frame.put_unsigned_varint(FRAME_VERSION);
    frame.put_unsigned_varint(record.kind());
    let version = version_written(record);
    frame.put_unsigned_varint(version as u32);
    record.encode(&mut frame, version).expect("the controller bounds what it writes");
    frame.into_bytes()
}

fn finish(builder: BatchBuilder, base: Offset, epoch: LeaderEpoch, is_control: bool) -> Bytes {
    let options = BatchOptions { base_offset: base, leader_epoch: epoch, is_control, ..BatchOptions::default() };
    builder.build(&options).expect("nothing is compressed, so nothing can fail")
}

fn decode_entry(record: &RecordView, is_control: bool) -> Result<Entry, RecordsError> {
    let corrupt = |reason: String| RecordsError::CorruptRecord { offset: record.offset, reason };
    let value = record.value.clone().ok_or_else(|| corrupt("it has no value".into()))?;
    match is_control {
        true => {
            let key = record.key.as_ref().ok_or_else(|| corrupt("it has no key".into()))?;
            let kind = ControlRecordType::parse(key).map_err(|error| corrupt(error.to_string()))?;
            decode_control(kind, value).map(Entry::Control).map_err(corrupt)
        }
        false => decode_value(value).map(Entry::Data).map_err(corrupt),
    }
}

fn decode_control(kind: ControlRecordType, value: Bytes) -> Result<Control, String> {
    fn read<T: Message>(value: Bytes) -> Result<T, String> {
        T::from_bytes(value, CONTROL_VERSION).map_err(|error| error.to_string())
    }
    match kind {
        ControlRecordType::LeaderChange => read(value).map(Control::LeaderChange),
        ControlRecordType::SnapshotHeader => read(value).map(Control::SnapshotHeader),
        ControlRecordType::SnapshotFooter => read(value).map(Control::SnapshotFooter),
        ControlRecordType::KRaftVersion => read(value).map(Control::KRaftVersion),
        ControlRecordType::KRaftVoters => read(value).map(Control::Voters),
        other => Err(format!("a control record of type {other:?} is not the quorum's")),
    }
}

fn decode_value(value: Bytes) -> Result<MetadataRecord, String> {
    let mut decoder = Decoder::new(value);
    let mut number = || decoder.unsigned_varint().map_err(|error| error.to_string());
    let (frame, kind, version) = (number()?, number()?, number()?);
    if frame != FRAME_VERSION {
        return Err(format!("its frame has version {frame}"));
    }
    let version = i16::try_from(version).map_err(|_| format!("its version is {version}"))?;
    let record = MetadataRecord::decode(&mut decoder, kind, version)
        .map_err(|error| format!("type {kind} version {version}: {error}"))?
        .ok_or_else(|| format!("its type is {kind}"))?;
    decoder.finish().map_err(|error| format!("type {kind} version {version}: {error}"))?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::{FeatureLevelRecord, NoOpRecord, leader_change_message::Voter};

    use super::*;

    fn feature(name: &str) -> MetadataRecord {
        FeatureLevelRecord { name: name.into(), feature_level: 30 }.into()
    }

    #[test]
    fn batches_are_read_back() {
        let data = encode_data(Offset(5), LeaderEpoch(2), Millis(9), &[feature("a"), NoOpRecord::default().into()]);
        let voter = Voter { voter_id: 1, ..Voter::default() };
        let change = LeaderChangeMessage {
            leader_id: 1,
            voters: vec![voter.clone()],
            granting_voters: vec![voter],
            ..LeaderChangeMessage::default()
        };
        let control = encode_control(Offset(7), LeaderEpoch(3), Millis(10), &[Control::LeaderChange(change.clone())]);
        let both = Bytes::from([data, control].concat());
        let expected = [
            Batch {
                base: Offset(5),
                epoch: LeaderEpoch(2),
                timestamp: Millis(9),
                entries: vec![Entry::Data(feature("a")), Entry::Data(NoOpRecord::default().into())],
            },
            Batch {
                base: Offset(7),
                epoch: LeaderEpoch(3),
                timestamp: Millis(10),
                entries: vec![Entry::Control(Control::LeaderChange(change))],
            },
        ];
        assert_eq!(decode(&both).as_deref(), Ok(expected.as_slice()));
    }

    /// The value of a record that Kafka 4.3.1 wrote when it was formatted.
    #[test]
    fn a_value_has_kafkas_bytes() {
        let expected = b"\x01\x0c\x00\x11metadata.version\x00\x1e\x00";
        assert_eq!(encode_value(&feature("metadata.version")), expected.as_slice());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let batch = encode_data(Offset(0), LeaderEpoch(0), Millis(0), &[feature("a")]);
        for byte in 16..batch.len() {
            let mut broken = batch.to_vec();
            broken[byte] ^= 1;
            assert!(decode(&Bytes::from(broken)).is_err(), "byte {byte}");
        }
        assert!(decode(&batch.slice(..batch.len() - 1)).is_err());
    }

    #[test]
    fn unknown_types_and_versions_are_refused() {
        let text = |value: &'static [u8]| decode_value(Bytes::from_static(value)).expect_err("not readable");
        assert_eq!(text(&[2, 20, 0, 0]), "its frame has version 2");
        assert_eq!(text(&[1, 99, 0, 0]), "its type is 99");
        assert!(text(&[1, 20, 7, 0]).starts_with("type 20 version 7"));
        assert!(text(&[1, 20, 0, 0, 0]).starts_with("type 20 version 0"));
    }
}
