//! Forgetting: offsets that nobody has needed for long, offsets of deleted topics, and groups that hold nothing
//! any more. Done in small steps, so that a shard with many groups still answers in between.
//!
//! Source: `GroupCoordinatorShard.cleanupGroupMetadata`, `OffsetMetadataManager.cleanupExpiredOffsets`,
//! `onTopicsDeleted`, `ClassicGroup.offsetExpirationCondition`.

use milena_base::Millis;

use super::classic::{ClassicGroup, State};
use super::event::DeletedTopic;
use super::kind::Group;
use super::offsets::{Committed, Offsets};
use super::record;
use crate::CoordinatorRecord;

/// One step writes at most this many tombstones, and one more for the group.
pub(super) const TOMBSTONES_PER_STEP: usize = 1_000;
/// One step looks at no more groups than this.
pub(super) const GROUPS_PER_STEP: usize = 1_000;

/// From when on the offsets of a group age.
pub(super) enum Since {
    /// Never: they are in use, or it cannot be told.
    Never,
    /// Since each was committed.
    Commit,
    /// Since the group became empty.
    Empty(Millis),
}

impl ClassicGroup {
    pub(super) fn offsets_age_since(&self) -> Since {
        match self.state {
            // A simple group is never more than its offsets.
            _ if self.protocol_type.is_none() => Since::Commit,
            State::Empty => self.state_since.map_or(Since::Commit, Since::Empty),
            State::Stable if self.is_consumer() && self.subscribed_topics.is_some() => Since::Commit,
            _ => Since::Never,
        }
    }
}

/// Writes tombstones for what has expired in one group, and for the group itself once it is empty in both
/// senses. False if the step was full before the group was done.
pub(super) fn expire(
    records: &mut Vec<CoordinatorRecord>,
    now: Millis,
    retention: Millis,
    id: &str,
    group: Group<'_>,
    offsets: &Offsets,
) -> bool {
    let mut is_something_left = offsets.pending_of(id).next().is_some();
    let since = group.offsets_age_since();
    let has_expired = |committed: &Committed| match (committed.expires_at, &since) {
        (_, Since::Never) => false,
        (Some(at), _) => now >= at,
        (None, Since::Commit) => now - committed.committed_at >= retention,
        (None, Since::Empty(since)) => now - *since >= retention,
    };
    for (topic, partitions) in offsets.of_group(id).into_iter().flatten() {
        let is_subscribed = group.is_subscribed(topic);
        for (partition, committed) in partitions {
            if is_subscribed || !has_expired(committed) || offsets.is_pending(id, topic, *partition) {
                is_something_left = true;
            } else if records.len() >= TOMBSTONES_PER_STEP {
                return false;
            } else {
                records.push(record::offset_tombstone(id, topic, *partition));
            }
        }
    }
    if !is_something_left && group.is_empty() {
        group.tombstones(records, id);
    }
    true
}

/// Writes tombstones for the offsets of a deleted topic, from group `from` on. The group to go on with, if the
/// step was full.
pub(super) fn forget_topic(
    records: &mut Vec<CoordinatorRecord>,
    topic: &DeletedTopic,
    from: &str,
    offsets: &Offsets,
) -> Option<String> {
    for (seen, (id, topics)) in offsets.groups_from(from).enumerate() {
        if seen >= GROUPS_PER_STEP || records.len() >= TOMBSTONES_PER_STEP {
            return Some(id.clone());
        }
        for (partition, committed) in topics.get(&topic.name).into_iter().flatten() {
            if committed.topic_id.0 == [0; 16] || committed.topic_id == topic.id {
                records.push(record::offset_tombstone(id, &topic.name, *partition));
            }
        }
    }
    for (id, name, partition, topic_id) in offsets.pending() {
        if name == topic.name && (topic_id.0 == [0; 16] || topic_id == topic.id) {
            records.push(record::offset_tombstone(id, name, partition));
        }
    }
    None
}
