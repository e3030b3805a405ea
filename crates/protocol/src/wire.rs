//! The primitives of the wire: how numbers, strings, arrays and tagged fields are laid out. They are read from a
//! frame that a stranger sent ([`Decoder`]) and written to a [`Sink`].
//!
//! Source: Kafka's `message/README.md`, KIP-482 (compact lengths, tagged fields).

mod decoder;
mod sink;

use bytes::Bytes;

pub use decoder::{ALLOCATED_FREE_BYTES, ALLOCATED_PER_BYTE, Decoder};
pub use sink::{Counter, Frame, Segment, Sink, put_tag};

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("the frame ends {missing} bytes too early")]
    Truncated {
        /// How many bytes more the field needs.
        missing: usize,
    },
    /// A length or count is negative, or null where null is not allowed.
    #[error("length {0} is not allowed here")]
    Length(i64),
    /// A variable-length number has more bytes than its type can hold.
    #[error("a variable-length number does not end")]
    Varint,
    /// The counts of the frame would take more memory than frames of its size may.
    #[error("the decoded message would take more than its share of memory")]
    TooMuch,
    /// No such version of this message.
    #[error("{message} has no version {version}")]
    Version {
        /// Which message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Bytes are left over behind the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// Why a message cannot be written in a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that this version does not have.
    #[error("{message}.{field} cannot be said in version {version}")]
    NotInVersion {
        /// Which struct.
        message: &'static str,
        /// Which field, in Kafka's spelling.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that must not be null in this version.
    #[error("{message}.{field} cannot be null in version {version}")]
    Null {
        /// Which struct.
        message: &'static str,
        /// Which field, in Kafka's spelling.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No such version of this message.
    #[error("{message} has no version {version}")]
    Version {
        /// Which message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string or value is longer than its length field can say.
    #[error("{0} bytes are too long for their length field")]
    TooLong(usize),
}

/// Bytes that stand in the frame but are kept elsewhere (a range of a file): the sender puts them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External {
    /// How many bytes they are.
    pub size_bytes: usize,
    /// What the sender finds them by.
    pub id: usize,
}

/// The batches of a `records` field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Records {
    /// None, as null.
    #[default]
    Null,
    /// Here they are; decoding shares the frame's memory.
    Bytes(Bytes),
    /// Somewhere else.
    External(External),
}

impl Records {
    /// How many bytes the batches take.
    pub fn size_bytes(&self) -> usize {
        match self {
            Records::Null => 0,
            Records::Bytes(bytes) => bytes.len(),
            Records::External(external) => external.size_bytes,
        }
    }
}
