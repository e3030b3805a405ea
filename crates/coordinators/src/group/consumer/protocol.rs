//! What consumers of the classic protocol tell each other through their group, as bytes: subscriptions and assignments.
//!
//! Source: `ConsumerProtocol`.

use std::collections::BTreeSet;

use bytes::Bytes;
use milena_metadata::image::Image;
use milena_protocol::Message;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::consumer_protocol_assignment::TopicPartition;
use milena_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use milena_protocol::wire::Decoder;

use super::member::{Owned, Partitions};
use crate::group::record::{TEXT_BYTES_MAX, prefixed};

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// What a member wants, and what it says that it owns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subscription {
    pub(super) version: i16,
    pub(super) topics: BTreeSet<String>,
    pub(super) rack_id: Option<String>,
    owned: Vec<(String, Vec<i32>)>,
}

impl Subscription {
    /// `None` if these bytes are no subscription, or one with names that no record can hold.
    pub(super) fn read(bytes: &Bytes) -> Option<Subscription> {
        let mut decoder = Decoder::new(bytes.clone());
        let version = version_of(&mut decoder, ConsumerProtocolSubscription::NEWEST)?;
        let read = ConsumerProtocolSubscription::decode(&mut decoder, version).ok()?;
        let texts = read.topics.iter().chain(&read.rack_id);
        if texts.map(String::len).any(|bytes| bytes > TEXT_BYTES_MAX) {
            return None;
        }
        let owned = read.owned_partitions.into_iter().map(|topic| (topic.topic, topic.partitions));
        Some(Subscription {
            version,
            topics: read.topics.into_iter().collect(),
            rack_id: read.rack_id,
            owned: owned.collect(),
        })
    }

    /// What the member says that it owns, of the topics that exist.
    pub(super) fn owned(&self, image: &Image) -> Vec<TopicPartitions> {
        let known = |(name, partitions): &(String, Vec<i32>)| {
            Some(TopicPartitions { topic_id: image.topic(name)?.id, partitions: partitions.clone() })
        };
        self.owned.iter().filter_map(known).collect()
    }
}

/// What a leader gave to a member, of the partitions that exist. `None` if these bytes are no assignment, or bring data
/// of an assignor's own, which the server could not keep.
pub(super) fn read_assignment(bytes: &Bytes, image: &Image) -> Option<Partitions> {
    let mut assigned = Partitions::new();
    if bytes.is_empty() {
        // It has joined, and has not heard of its part yet.
        return Some(assigned);
    }
    let mut decoder = Decoder::new(bytes.clone());
    let version = version_of(&mut decoder, ConsumerProtocolAssignment::NEWEST)?;
    let read = ConsumerProtocolAssignment::decode(&mut decoder, version).ok()?;
    if read.user_data.is_some_and(|data| !data.is_empty()) {
        return None;
    }
    for topic in read.assigned_partitions {
        let Some(known) = image.topic(&topic.topic) else { continue };
        let exist = topic.partitions.into_iter().filter(|partition| known.partitions.contains_key(partition));
        assigned.entry(known.id).or_default().extend(exist);
    }
    assigned.retain(|_, partitions| !partitions.is_empty());
    Some(assigned)
}

/// An assignment as a member with that version of the protocol reads it. Topics that are gone have no name.
pub(super) fn write_assignment(
    partitions: impl Iterator<Item = (milena_protocol::Uuid, Vec<i32>)>,
    image: &Image,
    version: i16,
) -> Bytes {
    let named = partitions.filter_map(|(id, partitions)| {
        Some(TopicPartition { topic: image.topic_by_id(id)?.name.to_string(), partitions })
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    prefixed(version, &assignment, version.min(ConsumerProtocolAssignment::NEWEST))
}

/// The partitions that a member owns, without their epochs.
pub(super) fn without_epochs(owned: &Owned) -> impl Iterator<Item = (milena_protocol::Uuid, Vec<i32>)> {
    owned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
}

/// Newer versions begin like the newest that is known.
fn version_of(decoder: &mut Decoder, newest: i16) -> Option<i16> {
    decoder.i16().ok().filter(|version| *version >= 0).map(|version| version.min(newest))
}
