//! Records as users hand them in. What comes out is [`milena_protocol::records::RecordView`].

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::records::Header;

/// A record to be produced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducedRecord {
    /// Where it goes.
    pub topic: String,
    /// Which partition; `None` lets the key decide, or the producer where there is no key.
    pub partition: Option<i32>,
    /// Records with equal keys go to one partition, in order.
    pub key: Option<Bytes>,
    /// The contents; null deletes the key in a compacted topic.
    pub value: Option<Bytes>,
    /// Names and values beside it.
    pub headers: Vec<Header>,
    /// When it happened; `None` is the time of sending.
    pub timestamp: Option<Millis>,
}

impl ProducedRecord {
    /// A record with a value and nothing else.
    pub fn new(topic: impl Into<String>, value: impl Into<Bytes>) -> ProducedRecord {
        ProducedRecord { topic: topic.into(), value: Some(value.into()), ..ProducedRecord::default() }
    }

    /// The same record with a key.
    pub fn with_key(self, key: impl Into<Bytes>) -> ProducedRecord {
        ProducedRecord { key: Some(key.into()), ..self }
    }
}
