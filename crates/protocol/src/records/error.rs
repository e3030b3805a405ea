//! What can be wrong with a batch.

use crate::compression::CompressionError;
use crate::wire::DecodeError;

/// Why bytes are not a sound batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the batch: more may follow, as at the end of a fetch or of a torn log.
    #[error("the batch needs {missing} bytes more")]
    Truncated {
        /// How many bytes the batch lacks.
        missing: usize,
    },
    /// The length field is smaller than a header.
    #[error("a batch cannot have length {0}")]
    Length(i32),
    /// A format that is not spoken: 0 and 1 are those before Kafka 0.11.
    #[error("magic {0} is not supported")]
    Magic(i8),
    /// Bytes follow where exactly one batch was expected.
    #[error("{0} bytes follow the batch")]
    Trailing(usize),
    /// The contents are not those that were written.
    #[error("the stored CRC is {stored:#010x}, that of the contents {computed:#010x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The attributes name a codec that does not exist.
    #[error("there is no compression codec {0}")]
    Codec(u8),
    /// The contents cannot be inflated, or not within the bound.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The header's record count is negative, or more than its bytes can hold.
    #[error("{bytes} bytes cannot hold {count} records")]
    RecordCount {
        /// What the header says.
        count: i32,
        /// How many bytes of records there are.
        bytes: usize,
    },
    /// A record is not laid out as a record.
    #[error("record {index}: {cause}")]
    Record {
        /// Place in the batch, counted from 0.
        index: i32,
        /// What is wrong with it.
        cause: DecodeError,
    },
    /// A record does not stand behind the one before it, or outside of its batch.
    #[error("record {index} is out of order")]
    Order {
        /// Place in the batch, counted from 0.
        index: i32,
    },
    /// Bytes follow the last record of the batch.
    #[error("bytes follow the last of {count} records")]
    AfterRecords {
        /// How many records the header promises.
        count: i32,
    },
    /// The key or value of a control record is not what its type prescribes.
    #[error("not a control record: {0}")]
    Control(DecodeError),
}
