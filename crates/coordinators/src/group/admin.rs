//! Looking at groups and removing them: DescribeGroups, DeleteGroups.
//!
//! Source: `GroupMetadataManager.describeGroups`, `GroupCoordinatorShard.deleteGroups`.

use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use super::classic::State;
use super::kind::Group;
use super::offsets::Offsets;
use super::record;
use crate::CoordinatorRecord;

/// What a group that does not exist is called.
const DEAD: &str = "Dead";
/// First version that learns that a group does not exist (KIP-1043).
const GROUP_ID_NOT_FOUND_VERSION: i16 = 6;

/// One group of a DescribeGroups. Subscriptions are shown only while a protocol is agreed on.
pub(super) fn describe(id: &str, group: Option<Group<'_>>, version: i16) -> DescribedGroup {
    let group_id = id.to_owned();
    let Some(Group::Classic(group)) = group else {
        let mut missing = DescribedGroup { group_id, group_state: DEAD.to_owned(), ..Default::default() };
        if version >= GROUP_ID_NOT_FOUND_VERSION {
            missing.error_code = ErrorCode::GroupIdNotFound.number();
            let what = if group.is_some() { "is not a classic group" } else { "not found" };
            missing.error_message = Some(format!("Group {id} {what}."));
        }
        return missing;
    };
    let protocol = group.protocol_name.as_deref().filter(|_| group.state == State::Stable);
    let members = group.members.iter().map(|(member_id, member)| DescribedGroupMember {
        member_id: member_id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: member.metadata(protocol),
        member_assignment: member.assignment.clone(),
    });
    DescribedGroup {
        group_id,
        group_state: group.state.name().to_owned(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol_data: protocol.unwrap_or_default().to_owned(),
        members: members.collect(),
        ..Default::default()
    }
}

/// One group of a DeleteGroups: tombstones for its offsets, those in open transactions included, then for itself.
pub(super) fn delete(
    records: &mut Vec<CoordinatorRecord>,
    id: &str,
    group: Option<Group<'_>>,
    offsets: &Offsets,
) -> ErrorCode {
    let Some(group) = group else { return ErrorCode::GroupIdNotFound };
    if !group.is_empty() {
        return ErrorCode::NonEmptyGroup;
    }
    for (topic, partitions) in offsets.of_group(id).into_iter().flatten() {
        records.extend(partitions.keys().map(|partition| record::offset_tombstone(id, topic, *partition)));
    }
    for (topic, partition) in offsets.pending_of(id) {
        if offsets.committed(id, topic, partition).is_none() {
            records.push(record::offset_tombstone(id, topic, partition));
        }
    }
    group.tombstones(records, id);
    ErrorCode::None
}
