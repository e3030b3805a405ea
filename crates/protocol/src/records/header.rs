//! The 61 bytes before a batch's records, as a value.

use bytes::BufMut;
use milena_base::Millis;

use super::{BatchError, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, at};
use crate::compression::Codec;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// Who sets the timestamps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer; every record has its own.
    #[default]
    CreateTime,
    /// The leader when it appends; all records have the batch's max timestamp.
    LogAppendTime,
}

/// The flags of a batch.
///
/// ```text
/// bits 0-2 codec | 3 log append time | 4 transactional | 5 control | 6 delete horizon | 7-15 unused
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub u16);

impl Attributes {
    const CODEC: u16 = 0x07;
    const LOG_APPEND_TIME: u16 = 0x08;
    const TRANSACTIONAL: u16 = 0x10;
    const CONTROL: u16 = 0x20;
    const DELETE_HORIZON: u16 = 0x40;

    /// How the records are compressed. Errors for the three numbers that name no codec.
    pub fn compression(self) -> Result<Codec, BatchError> {
        let id = (self.0 & Attributes::CODEC) as u8;
        Codec::from_id(id).ok_or(BatchError::Codec(id))
    }

    /// Who sets the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        match self.0 & Attributes::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    /// Whether the records are written by brokers for each other and hidden from consumers.
    pub fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// Whether the base timestamp is the time from which on tombstones and markers may be compacted away (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }

    /// The same flags with another codec.
    pub fn with_compression(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !Attributes::CODEC | u16::from(codec.id()))
    }

    /// The same flags with another timestamp type.
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(Attributes::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// The same flags, transactional or not.
    pub fn with_transactional(self, is_transactional: bool) -> Attributes {
        self.with(Attributes::TRANSACTIONAL, is_transactional)
    }

    /// The same flags, control or not.
    pub fn with_control(self, is_control: bool) -> Attributes {
        self.with(Attributes::CONTROL, is_control)
    }

    /// The same flags, with or without delete horizon.
    pub fn with_delete_horizon(self, has_delete_horizon: bool) -> Attributes {
        self.with(Attributes::DELETE_HORIZON, has_delete_horizon)
    }

    fn with(self, flag: u16, set: bool) -> Attributes {
        Attributes(if set { self.0 | flag } else { self.0 & !flag })
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attributes({:#04x})", self.0)
    }
}

/// The header of a batch. Decoding checks length and magic; all else is what the sender wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record that the batch was built with; compaction may have removed that record.
    pub base_offset: Offset,
    /// Bytes behind the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; set by the broker, not covered by the CRC.
    pub partition_leader_epoch: LeaderEpoch,
    /// The format: always [`MAGIC`].
    pub magic: i8,
    /// CRC-32C from the attributes to the end of the batch.
    pub crc: u32,
    /// Flags.
    pub attributes: Attributes,
    /// Last offset minus base offset. Compaction keeps it while records go.
    pub last_offset_delta: i32,
    /// What timestamp deltas count from; or the delete horizon.
    pub base_timestamp: Millis,
    /// The largest timestamp among the records, or the time of the append.
    pub max_timestamp: Millis,
    /// The idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// Its epoch, or [`ProducerEpoch::NONE`].
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or [`Sequence::NONE`].
    pub base_sequence: Sequence,
    /// How many records the batch holds now; 0 is legal after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, where the batch itself need not be complete.
    /// Errors with `Truncated` if fewer than [`HEADER_BYTES`] are there, `Magic`, or `Length`.
    pub fn decode(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // The magic comes first: older formats have shorter headers and may be whole within fewer bytes.
        if let Some(magic) = bytes.get(at::MAGIC).map(|byte| *byte as i8).filter(|magic| *magic != MAGIC) {
            return Err(BatchError::Magic(magic));
        }
        if let Some(missing) = HEADER_BYTES.checked_sub(bytes.len()).filter(|missing| *missing > 0) {
            return Err(BatchError::Truncated { missing });
        }
        let header = BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, at::BATCH_LENGTH)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, at::LEADER_EPOCH))),
            magic: MAGIC,
            crc: u32::from_be_bytes(field(bytes, at::CRC)),
            attributes: Attributes(u16::from_be_bytes(field(bytes, at::ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(field(bytes, at::LAST_OFFSET_DELTA)),
            base_timestamp: Millis(i64::from_be_bytes(field(bytes, at::BASE_TIMESTAMP))),
            max_timestamp: Millis(i64::from_be_bytes(field(bytes, at::MAX_TIMESTAMP))),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, at::PRODUCER_ID))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, at::PRODUCER_EPOCH))),
            base_sequence: Sequence(i32::from_be_bytes(field(bytes, at::BASE_SEQUENCE))),
            record_count: i32::from_be_bytes(field(bytes, at::RECORD_COUNT)),
        };
        if header.batch_length < (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32 {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// The header as it stands before its records, with the CRC that it has.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_i64(self.base_offset.0);
        out.put_i32(self.batch_length);
        out.put_i32(self.partition_leader_epoch.0);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_u16(self.attributes.0);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp.0);
        out.put_i64(self.max_timestamp.0);
        out.put_i64(self.producer_id.0);
        out.put_i16(self.producer_epoch.0);
        out.put_i32(self.base_sequence.0);
        out.put_i32(self.record_count);
        bytes
    }

    /// Size of the whole batch, at least [`HEADER_BYTES`] in a header that was decoded.
    pub fn size_bytes(&self) -> usize {
        LOG_OVERHEAD_BYTES + self.batch_length.max(0) as usize
    }

    /// Offset of the last record that the batch was built with. Wraps like Java's where a stranger wrote nonsense.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// Sequence of the last record; `NONE` where the first has none.
    pub fn last_sequence(&self) -> Sequence {
        match self.base_sequence {
            Sequence::NONE => Sequence::NONE,
            first => first.plus(self.last_offset_delta),
        }
    }

    /// The time from which on tombstones and markers of the batch may go; `None` before the first compaction.
    pub fn delete_horizon(&self) -> Option<Millis> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

/// `N` bytes of a header that is known to be complete.
fn field<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}
