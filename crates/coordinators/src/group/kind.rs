//! A group of either kind, for what both have in common: offsets that age, topics that are in use, an end.

use milena_protocol::{ErrorCode, Offset};

use super::classic::{ClassicGroup, State};
use super::consumer::group::ConsumerGroup;
use super::consumer::record as consumer_record;
use super::expiry::Since;
use super::record;
use crate::CoordinatorRecord;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group<'a> {
    Classic(&'a ClassicGroup),
    Consumer(&'a ConsumerGroup),
}

impl Group<'_> {
    pub(super) fn is_empty(self) -> bool {
        match self {
            Group::Classic(group) => group.state == State::Empty,
            Group::Consumer(group) => group.is_empty(),
        }
    }

    /// The last record that touched it.
    pub(super) fn written(self) -> Option<Offset> {
        match self {
            Group::Classic(group) => group.written,
            Group::Consumer(group) => group.written,
        }
    }

    /// Offsets of topics that a member is subscribed to are in use.
    pub(super) fn is_subscribed(self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed(topic),
            Group::Consumer(group) => group.is_subscribed(topic),
        }
    }

    pub(super) fn offsets_age_since(self) -> Since {
        match self {
            Group::Classic(group) => group.offsets_age_since(),
            Group::Consumer(_) => Since::Commit,
        }
    }

    pub(super) fn validate_offset_delete(self) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(group) => group.validate_offset_delete(),
            Group::Consumer(_) => Ok(()),
        }
    }

    /// The end of an empty group but for its offsets.
    pub(super) fn tombstones(self, records: &mut Vec<CoordinatorRecord>, id: &str) {
        match self {
            Group::Classic(_) => records.push(record::group_tombstone(id)),
            Group::Consumer(group) => consumer_record::group_tombstones(records, id, group),
        }
    }
}
