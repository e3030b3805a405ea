//! The records of consumer groups, byte for byte as Kafka 4.3.1 writes them.
//!
//! Source: `GroupCoordinatorRecordHelpers`, `CoordinatorRecordType`.

use milena_protocol::Message;
use milena_protocol::messages::consumer_group_target_assignment_member_value::TopicPartition;
use milena_protocol::messages::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use milena_protocol::wire::{DecodeError, Decoder};

use super::group::{ConsumerGroup, Resolved};
use super::member::{Member, Partitions};
use crate::CoordinatorRecord;
use crate::group::record::prefixed;

pub(in crate::group) const GROUP: i16 = 3;
pub(in crate::group) const PARTITION_METADATA: i16 = 4;
pub(in crate::group) const MEMBER: i16 = 5;
pub(in crate::group) const TARGET_METADATA: i16 = 6;
pub(in crate::group) const TARGET_MEMBER: i16 = 7;
pub(in crate::group) const CURRENT_ASSIGNMENT: i16 = 8;
pub(in crate::group) const REGULAR_EXPRESSION: i16 = 16;

/// A record of a consumer group, taken apart; no value means a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::group) struct Change {
    pub(in crate::group) group: String,
    pub(super) part: Part,
}

/// What of the group a record is about. Members and expressions are named beside the value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Group(Option<ConsumerGroupMetadataValue>),
    /// Whether the record exists. Kafka before 4.1 kept partition counts there; now it is a tombstone to be written.
    PartitionMetadata(bool),
    Member(String, Option<ConsumerGroupMemberMetadataValue>),
    TargetMetadata(Option<ConsumerGroupTargetAssignmentMetadataValue>),
    Target(String, Option<ConsumerGroupTargetAssignmentMemberValue>),
    Current(String, Option<ConsumerGroupCurrentMemberAssignmentValue>),
    Regex(String, Option<ConsumerGroupRegularExpressionValue>),
}

impl Change {
    /// Whether the group must be there for this to mean anything: a tombstone of nothing is passed over.
    pub(in crate::group) fn is_tombstone(&self) -> bool {
        match &self.part {
            Part::Group(value) => value.is_none(),
            Part::PartitionMetadata(exists) => !exists,
            Part::Member(_, value) => value.is_none(),
            Part::TargetMetadata(value) => value.is_none(),
            Part::Target(_, value) => value.is_none(),
            Part::Current(_, value) => value.is_none(),
            Part::Regex(_, value) => value.is_none(),
        }
    }
}

/// Takes a record of one of the types above apart; `None` for any other.
pub(in crate::group) fn parse(
    record_type: i16,
    key: Decoder,
    value: Option<(i16, Decoder)>,
) -> Result<Option<Change>, DecodeError> {
    let mut key = key;
    let (group, part) = match record_type {
        GROUP => {
            let key = ConsumerGroupMetadataKey::decode(&mut key, 0)?;
            (key.group_id, Part::Group(body(value)?))
        }
        PARTITION_METADATA => {
            let key = ConsumerGroupPartitionMetadataKey::decode(&mut key, 0)?;
            let value: Option<ConsumerGroupPartitionMetadataValue> = body(value)?;
            (key.group_id, Part::PartitionMetadata(value.is_some()))
        }
        MEMBER => {
            let key = ConsumerGroupMemberMetadataKey::decode(&mut key, 0)?;
            let mut value: Option<ConsumerGroupMemberMetadataValue> = body(value)?;
            let classic = value.as_mut().and_then(|value| value.classic_member_metadata.as_mut());
            for protocol in classic.into_iter().flat_map(|classic| &mut classic.supported_protocols) {
                // A member's few bytes must not keep a whole batch alive.
                protocol.metadata = bytes::Bytes::copy_from_slice(&protocol.metadata);
            }
            (key.group_id, Part::Member(key.member_id, value))
        }
        TARGET_METADATA => {
            let key = ConsumerGroupTargetAssignmentMetadataKey::decode(&mut key, 0)?;
            (key.group_id, Part::TargetMetadata(body(value)?))
        }
        TARGET_MEMBER => {
            let key = ConsumerGroupTargetAssignmentMemberKey::decode(&mut key, 0)?;
            (key.group_id, Part::Target(key.member_id, body(value)?))
        }
        CURRENT_ASSIGNMENT => {
            let key = ConsumerGroupCurrentMemberAssignmentKey::decode(&mut key, 0)?;
            (key.group_id, Part::Current(key.member_id, body(value)?))
        }
        REGULAR_EXPRESSION => {
            let key = ConsumerGroupRegularExpressionKey::decode(&mut key, 0)?;
            (key.group_id, Part::Regex(key.regular_expression, body(value)?))
        }
        _ => return Ok(None),
    };
    Ok(Some(Change { group, part }))
}

fn body<M: Message>(value: Option<(i16, Decoder)>) -> Result<Option<M>, DecodeError> {
    value.map(|(version, mut body)| M::decode(&mut body, version)).transpose()
}

fn record<K: Message, V: Message>(record_type: i16, key: &K, value: Option<&V>) -> CoordinatorRecord {
    CoordinatorRecord { key: prefixed(record_type, key, 0), value: value.map(|value| prefixed(0, value, 0)) }
}

pub(super) fn member(group: &str, member: &Member) -> CoordinatorRecord {
    record(MEMBER, &member_key(group, &member.id), Some(&member.metadata_value()))
}

fn member_key(group: &str, member: &str) -> ConsumerGroupMemberMetadataKey {
    ConsumerGroupMemberMetadataKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn epoch(group: &str, epoch: i32, metadata_hash: i64) -> CoordinatorRecord {
    let key = ConsumerGroupMetadataKey { group_id: group.to_owned() };
    record(GROUP, &key, Some(&ConsumerGroupMetadataValue { epoch, metadata_hash }))
}

pub(super) fn target(group: &str, member: &str, partitions: &Partitions) -> CoordinatorRecord {
    let topics = partitions.iter().map(|(topic, partitions)| TopicPartition {
        topic_id: *topic,
        partitions: partitions.iter().copied().collect(),
    });
    let value = ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect() };
    record(TARGET_MEMBER, &target_key(group, member), Some(&value))
}

fn target_key(group: &str, member: &str) -> ConsumerGroupTargetAssignmentMemberKey {
    ConsumerGroupTargetAssignmentMemberKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn target_epoch(group: &str, assignment_epoch: i32, assignment_timestamp: i64) -> CoordinatorRecord {
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group.to_owned() };
    let value = ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch, assignment_timestamp };
    record(TARGET_METADATA, &key, Some(&value))
}

pub(super) fn current(group: &str, member: &Member) -> CoordinatorRecord {
    record(CURRENT_ASSIGNMENT, &current_key(group, &member.id), Some(&member.assignment_value()))
}

fn current_key(group: &str, member: &str) -> ConsumerGroupCurrentMemberAssignmentKey {
    ConsumerGroupCurrentMemberAssignmentKey { group_id: group.to_owned(), member_id: member.to_owned() }
}

pub(super) fn regex(group: &str, regex: &str, resolved: &Resolved) -> CoordinatorRecord {
    let value = ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.timestamp.0,
    };
    record(REGULAR_EXPRESSION, &regex_key(group, regex), Some(&value))
}

fn regex_key(group: &str, regex: &str) -> ConsumerGroupRegularExpressionKey {
    ConsumerGroupRegularExpressionKey { group_id: group.to_owned(), regular_expression: regex.to_owned() }
}

pub(super) fn regex_tombstone(group: &str, regex: &str) -> CoordinatorRecord {
    record::<_, ConsumerGroupRegularExpressionValue>(REGULAR_EXPRESSION, &regex_key(group, regex), None)
}

pub(super) fn partition_metadata_tombstone(group: &str) -> CoordinatorRecord {
    let key = ConsumerGroupPartitionMetadataKey { group_id: group.to_owned() };
    record::<_, ConsumerGroupPartitionMetadataValue>(PARTITION_METADATA, &key, None)
}

/// A member's end: its assignment, its target, then itself. Replay on a Kafka insists on that order.
pub(super) fn member_tombstones(group: &str, member: &str) -> [CoordinatorRecord; 3] {
    [current_tombstone(group, member), target_tombstone(group, member), member_tombstone(group, member)]
}

fn current_tombstone(group: &str, member: &str) -> CoordinatorRecord {
    let key = current_key(group, member);
    record::<_, ConsumerGroupCurrentMemberAssignmentValue>(CURRENT_ASSIGNMENT, &key, None)
}

fn target_tombstone(group: &str, member: &str) -> CoordinatorRecord {
    record::<_, ConsumerGroupTargetAssignmentMemberValue>(TARGET_MEMBER, &target_key(group, member), None)
}

fn member_tombstone(group: &str, member: &str) -> CoordinatorRecord {
    record::<_, ConsumerGroupMemberMetadataValue>(MEMBER, &member_key(group, member), None)
}

/// The end of a group with all that belongs to it but its offsets.
pub(in crate::group) fn group_tombstones(records: &mut Vec<CoordinatorRecord>, id: &str, group: &ConsumerGroup) {
    records.extend(group.members.keys().map(|member| current_tombstone(id, member)));
    records.extend(group.members.keys().map(|member| target_tombstone(id, member)));
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: id.to_owned() };
    records.push(record::<_, ConsumerGroupTargetAssignmentMetadataValue>(TARGET_METADATA, &key, None));
    records.extend(group.members.keys().map(|member| member_tombstone(id, member)));
    records.extend(group.regexes.keys().map(|regex| regex_tombstone(id, regex)));
    records.push(partition_metadata_tombstone(id));
    let key = ConsumerGroupMetadataKey { group_id: id.to_owned() };
    records.push(record::<_, ConsumerGroupMetadataValue>(GROUP, &key, None));
}
