//! Distinct types for the numbers that must not be mixed up.

use std::fmt;
use std::ops::{Add, Sub};

/// Makes a number its own type, with its wire representation as field 0.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Logical place of a record in its partition; the first is 0.
    Offset(i64)
}
number! {
    /// Counts the leaders of one partition, or of the metadata quorum.
    LeaderEpoch(i32)
}
number! {
    /// Counts the changes of one partition's state in the metadata.
    PartitionEpoch(i32)
}
number! {
    /// Given to a broker at each registration; grows.
    BrokerEpoch(i64)
}
number! {
    /// A node of the cluster, in whichever role.
    NodeId(i32)
}
number! {
    /// Identifies a producer for idempotence and transactions.
    ProducerId(i64)
}
number! {
    /// Fences former holders of a producer id.
    ProducerEpoch(i16)
}
number! {
    /// Counts a producer's records per partition; after the maximum comes 0.
    Sequence(i32)
}

impl Offset {
    /// The wire's "no offset".
    pub const NONE: Offset = Offset(-1);

    /// The offset of the next record.
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;

    fn add(self, records: i64) -> Offset {
        Offset(self.0 + records)
    }
}

impl Sub for Offset {
    type Output = i64;

    fn sub(self, earlier: Offset) -> i64 {
        self.0 - earlier.0
    }
}

impl LeaderEpoch {
    /// The wire's "no epoch known".
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl NodeId {
    /// The wire's "no node".
    pub const NONE: NodeId = NodeId(-1);
}

impl ProducerId {
    /// The wire's "not idempotent".
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    /// The wire's "not idempotent".
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl Sequence {
    /// The wire's "not idempotent".
    pub const NONE: Sequence = Sequence(-1);

    /// The sequence `records` further on, wrapping from the maximum to 0.
    ///
    /// Source: `DefaultRecordBatch.incrementSequence`.
    pub fn plus(self, records: i32) -> Sequence {
        let past = i64::from(self.0) + i64::from(records);
        Sequence((past & i64::from(i32::MAX)) as i32)
    }
}

/// One partition of a named topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// Counted from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Sixteen bytes that identify a topic, directory, cluster or member. Text form: URL-safe Base64 without
/// padding, 22 characters, as in Kafka's `Uuid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// The wire's "no id".
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// A fresh version-4 id from 16 random bytes; `None` where Kafka would draw again, because the text would
    /// start with a dash (`Uuid.randomUuid`). The ids below 100 that Kafka reserves are not of version 4.
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Uuid> {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Uuid(bytes);
        (!id.to_string().starts_with('-')).then_some(id)
    }

    /// Reads the text form. `None` if it is not 22 characters of URL-safe Base64.
    pub fn parse(text: &str) -> Option<Uuid> {
        if text.len() != 22 {
            return None;
        }
        let mut bits = 0u128;
        for (at, character) in text.bytes().enumerate() {
            let digit = BASE64_URL.iter().position(|known| *known == character)? as u128;
            // The last digit holds two bits of the id and four that are dropped.
            bits = if at < 21 { bits << 6 | digit } else { bits << 2 | digit >> 4 };
        }
        Some(Uuid(bits.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for at in 0..21 {
            write!(f, "{}", BASE64_URL[(bits >> (122 - 6 * at)) as usize & 0x3f] as char)?;
        }
        write!(f, "{}", BASE64_URL[(bits << 4) as usize & 0x3f] as char)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_from_the_maximum_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(4).plus(3), Sequence(7));
    }

    #[test]
    fn trap_178_no_id_begins_with_a_dash() {
        // The first six bits are the first character; 62 is the dash.
        let ids = (0..=u8::MAX).map(|first| Uuid::from_random([first; 16]));
        let texts: Vec<String> = ids.flatten().map(|id| id.to_string()).collect();
        assert_eq!(texts.len(), 252);
        assert!(texts.iter().all(|text| text.len() == 22 && !text.starts_with('-') && !text.contains(['+', '/', '='])));
        assert!(texts.iter().any(|text| text.starts_with('_')), "the neighbour of the dash");
    }

    #[test]
    fn ids_keep_their_text_form() {
        // Kafka prints its reserved id 1 (the metadata topic) like this.
        let mut one = [0; 16];
        one[15] = 1;
        assert_eq!(Uuid(one).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAQ"), Some(Uuid(one)));
        let id = Uuid(*b"0123456789abcdef");
        assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        assert_eq!(Uuid::parse("too-short"), None);
    }
}
