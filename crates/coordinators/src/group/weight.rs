//! How large answers about groups will be, before they are made: bytes on the wire in the version that takes most. Never
//! less than it will be; more by some bytes a field.

use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

use super::classic::ClassicGroup;
use super::kind::Group;
use super::offsets::{Committed, Offsets};
use crate::weight::{ARRAY, bytes, optional, text};

/// A partition of an OffsetFetch without its metadata: index, offset, epoch, error, tags.
const PARTITION: usize = 4 + 8 + 4 + 2 + 1;
/// A topic of it without its name and partitions: id, tags.
const TOPIC: usize = 16 + 1 + ARRAY;
/// Any group without its texts and members: error, epochs, authorized operations, tags.
const GROUP: usize = 2 + 4 + 4 + 4 + 1 + ARRAY;
/// The names of a state and an assignor.
const NAMES: usize = 64;
/// The sentence that a group is missing, without the name.
const MISSING: usize = 64;

/// One group of an OffsetFetch.
pub(super) fn offset_fetch(offsets: &Offsets, group: &OffsetFetchRequestGroup) -> usize {
    let partition = |committed: Option<&Committed>| PARTITION + text(committed.map_or("", |found| &found.metadata));
    let topics: usize = match &group.topics {
        None => {
            let all = offsets.of_group(&group.group_id).into_iter().flatten();
            let topic =
                |found: &mut dyn Iterator<Item = &Committed>| found.map(|one| partition(Some(one))).sum::<usize>();
            all.map(|(name, found)| TOPIC + text(name) + topic(&mut found.values())).sum()
        }
        Some(topics) => {
            let asked = topics.iter().map(|topic| {
                let found = |index: &i32| partition(offsets.committed(&group.group_id, &topic.name, *index));
                TOPIC + text(&topic.name) + topic.partition_indexes.iter().map(found).sum::<usize>()
            });
            asked.sum()
        }
    };
    GROUP + text(&group.group_id) + topics
}

/// One group of a DescribeGroups.
pub(super) fn describe(id: &str, group: Option<Group<'_>>) -> usize {
    let Some(Group::Classic(group)) = group else { return missing(id) };
    let protocol = group.protocol_name.as_deref();
    let texts = text(id) + optional(group.protocol_type.as_deref()) + optional(protocol);
    GROUP + NAMES + texts + members(group, protocol)
}

fn members(group: &ClassicGroup, protocol: Option<&str>) -> usize {
    let members = group.members.iter().map(|(id, member)| {
        let own = text(id) + optional(member.instance_id.as_deref());
        let texts = own + text(&member.client_id) + text(&member.client_host);
        texts + bytes(&member.metadata(protocol)) + bytes(&member.assignment) + 1
    });
    members.sum()
}

/// A group that is not there, or of the other kind.
pub(super) fn missing(id: &str) -> usize {
    GROUP + NAMES + MISSING + 2 * text(id)
}

/// A group of a ConsumerGroupDescribe without its members.
pub(super) fn consumer_group(id: &str) -> usize {
    GROUP + NAMES + text(id)
}
