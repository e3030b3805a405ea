//! The wire of Kafka in bytes: messages of every version, record batches, compression, error codes, and the
//! distinct types for offsets, epochs and ids that the rest of the workspace speaks.
//!
//! **Invariant:** this crate decides nothing and keeps no state; it turns bytes into values and back.

pub mod api;
pub mod compression;
#[cfg(feature = "definitions")]
pub mod definition;
pub mod error;
pub mod header;
pub mod messages;
pub mod otlp;
#[cfg(feature = "all-messages")]
pub mod proof;
pub mod records;
mod types;
#[cfg(feature = "all-messages")]
pub mod unserved;
pub mod wire;

pub use api::ApiKey;
use bytes::Bytes;
pub use error::ErrorCode;
pub use types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Sequence, TopicPartition, Uuid,
};
use wire::{Counter, DecodeError, Decoder, EncodeError, Frame, Sink};

/// A message with versions: a request, a response, or the contents of a record.
pub trait Message: Sized + Default {
    /// Kafka's name of the message.
    const NAME: &'static str;
    /// Oldest version that is defined.
    const OLDEST: i16;
    /// Newest version that is defined.
    const NEWEST: i16;
    /// First version with compact lengths and tagged fields; above [`Message::NEWEST`] where there is none.
    const FLEXIBLE: i16;

    /// Writes the message. Errors when it says something that the version cannot carry.
    fn encode<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError>;

    /// Reads the message; what is left of the frame behind it is not looked at.
    fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Where an answer says for how long its client is throttled; `None` for messages that cannot say it.
    fn throttle_time_ms(&mut self) -> Option<&mut i32> {
        None
    }

    /// The message alone, in one piece.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut counter = Counter::default();
        self.encode(&mut counter, version)?;
        let mut frame = Frame::with_capacity(counter.size_bytes);
        self.encode(&mut frame, version)?;
        Ok(frame.into_bytes())
    }

    /// Reads a message that fills `bytes` exactly.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let message = Self::decode(&mut decoder, version)?;
        decoder.finish()?;
        Ok(message)
    }
}

/// A request, tied to its key and its response.
pub trait Request: Message {
    /// The API that it belongs to.
    const KEY: ApiKey;
    /// What is answered.
    type Response: Message;
}

/// The definition texts themselves, for tools that take messages apart by name.
#[cfg(feature = "definitions")]
pub const DEFINITIONS: &[&str] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));
