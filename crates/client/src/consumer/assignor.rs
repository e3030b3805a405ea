//! Who reads what, decided by the group's leader. The range assignor: for each topic the partitions in order are
//! cut into ranges, one for each subscribed member in order, the first ones longer by one where it does not divide.
//!
//! Source: `RangeAssignor` (without racks). Members with an instance id come first, ordered by it, as there.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use milena_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use milena_protocol::wire::{DecodeError, Decoder, EncodeError};
use milena_protocol::{Message, TopicPartition};

/// The name under which members offer it.
pub(super) const RANGE: &str = "range";

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) topics: Vec<String>,
}

/// Divides the partitions of each topic (name and number of partitions) among the members.
pub(super) fn assign_ranges(
    candidates: &[Candidate],
    topics: &BTreeMap<String, i32>,
) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut assignments: BTreeMap<String, Vec<TopicPartition>> =
        candidates.iter().map(|candidate| (candidate.member_id.clone(), Vec::new())).collect();
    for (topic, count) in topics {
        let mut members: Vec<&Candidate> =
            candidates.iter().filter(|candidate| candidate.topics.contains(topic)).collect();
        members
            .sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.clone(), member.member_id.clone()));
        let Ok(member_count) = i32::try_from(members.len()) else { continue };
        if member_count == 0 {
            continue;
        }
        let (share, longer) = (count / member_count, count % member_count);
        let mut first = 0;
        for (at, member) in (0..).zip(members) {
            let size = share + i32::from(at < longer);
            let range = (first..first + size).map(|partition| TopicPartition::new(topic.clone(), partition));
            assignments.entry(member.member_id.clone()).or_default().extend(range);
            first += size;
        }
    }
    assignments
}

/// What a member says about itself: version 1, so that every consumer since 2.3 can read it.
pub(super) fn encode_subscription(topics: &[String]) -> Result<Bytes, EncodeError> {
    let subscription = ConsumerProtocolSubscription { topics: topics.to_vec(), ..Default::default() };
    versioned(&subscription, 1)
}

/// The topics that a member subscribes to. Newer versions are read as far as we know them.
pub(super) fn decode_topics(bytes: Bytes) -> Result<Vec<String>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.i16()?.min(ConsumerProtocolSubscription::NEWEST);
    Ok(ConsumerProtocolSubscription::decode(&mut decoder, version)?.topics)
}

/// What the leader gives to a member.
pub(super) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes, EncodeError> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topic = |(topic, partitions): (&str, Vec<i32>)| consumer_protocol_assignment::TopicPartition {
        topic: topic.to_owned(),
        partitions,
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    versioned(&assignment, 1)
}

/// Version, then message.
fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_slice(&message.to_bytes(version)?);
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(member_id: &str, topics: &[&str]) -> Candidate {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Candidate { member_id: member_id.to_owned(), instance_id: None, topics }
    }

    fn partitions(topic: &str, numbers: std::ops::Range<i32>) -> Vec<TopicPartition> {
        numbers.map(|number| TopicPartition::new(topic, number)).collect()
    }

    #[test]
    fn the_first_members_get_the_longer_ranges() {
        let members = [candidate("b", &["t"]), candidate("a", &["t"])];
        let assignments = assign_ranges(&members, &BTreeMap::from([("t".to_owned(), 3)]));
        assert_eq!(assignments["a"], partitions("t", 0..2));
        assert_eq!(assignments["b"], partitions("t", 2..3));
    }

    #[test]
    fn members_get_only_topics_that_they_subscribe_to() {
        let members = [candidate("a", &["t", "u"]), candidate("b", &["u"]), candidate("c", &[])];
        let topics = BTreeMap::from([("t".to_owned(), 2), ("u".to_owned(), 2)]);
        let assignments = assign_ranges(&members, &topics);
        assert_eq!(assignments["a"], [partitions("t", 0..2), partitions("u", 0..1)].concat());
        assert_eq!(assignments["b"], partitions("u", 1..2));
        assert_eq!(assignments["c"], []);
    }

    #[test]
    fn members_with_an_instance_id_come_first() {
        let fixed = Candidate { instance_id: Some("z".to_owned()), ..candidate("z-1", &["t"]) };
        let assignments = assign_ranges(&[candidate("a", &["t"]), fixed], &BTreeMap::from([("t".to_owned(), 1)]));
        assert_eq!(assignments["z-1"], partitions("t", 0..1));
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let topics = ["one".to_owned(), "two".to_owned()];
        assert_eq!(decode_topics(encode_subscription(&topics).unwrap()).unwrap(), topics);
        let mine = partitions("t", 0..3);
        assert_eq!(crate::admin::assigned_partitions(encode_assignment(&mine).unwrap()).unwrap(), mine);
    }
}
