//! Consumer groups of KIP-848: the server decides who owns what, members follow one by one. The machine is
//! [`Consumers`], beside the classic one; they share the offsets, the timers and the shard.
//!
//! ```text
//!   heartbeat ─► who is it, what changed? ─► group epoch ─► target assignment ─► one step of the member
//!   (heartbeat)        (subscription)          (here)           (target)            (reconcile)
//! ```
//!
//! Whatever is decided is written as records, and takes effect in [`Consumers::replay`] alone.
//!
//! Source: the consumer part of `GroupMetadataManager`.

mod advance;
mod assignor;
mod classic_member;
mod describe;
pub(super) mod group;
mod hash;
mod heartbeat;
pub(super) mod limits;
mod member;
mod migrate;
mod offsets;
mod protocol;
mod reconcile;
pub(super) mod record;
mod regex;
mod target;
mod uneven;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::configs::{Kind, Resource};
use milena_metadata::image::Image;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_protocol::{ErrorCode, Offset};

pub use self::assignor::Assignor;
use self::group::ConsumerGroup;
use self::record::Change;
use super::Settings;
use super::classic::Timer;
use crate::timers::Timers;

/// All consumer groups of a shard, with the topics as the shard knows them.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    pub(super) groups: BTreeMap<String, ConsumerGroup>,
    image: Image,
    /// Counts the images whose topics or racks differed from those before.
    topics_version: u64,
    /// Groups whose expressions are being matched, each with the last of these expressions.
    matching: BTreeMap<String, String>,
    /// The image of the last new topic: expressions that were resolved before it are stale.
    new_topics_at: i64,
}

/// Why a member is sent away.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) error: ErrorCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    pub(super) fn into_heartbeat(self) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            error_code: self.error.number(),
            error_message: Some(self.message),
            ..Default::default()
        }
    }
}

/// There is no consumer group of that name, though perhaps a classic one.
fn missing(id: &str, is_classic: bool) -> Refusal {
    let message =
        if is_classic { format!("Group {id} is not a consumer group.") } else { format!("Group {id} not found.") };
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}

impl Consumers {
    /// Takes over a newer image.
    pub(super) fn set_image(&mut self, image: Image, has_new_topics: bool, have_topics_changed: bool) {
        if has_new_topics || self.new_topics_at == 0 {
            self.new_topics_at = image.provenance().last.0;
        }
        self.topics_version += u64::from(have_topics_changed);
        // A shard that was loaded meanwhile may be ahead of a message.
        if image.provenance().last >= self.image.provenance().last {
            self.image = image;
        }
    }

    /// The topics as they are known here.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// Forgets a group with all that it waits for.
    pub(super) fn remove(&mut self, id: &str, timers: &mut Timers<Timer>) {
        let Some(group) = self.groups.remove(id) else { return };
        for member in group.members.keys() {
            limits::cancel_all(timers, id, member);
        }
        timers.cancel(&Timer::Regex { group: id.to_owned() });
    }

    /// Follows one record. True if the group is gone with it.
    pub(super) fn replay(&mut self, at: Offset, change: Change, timers: &mut Timers<Timer>) -> bool {
        if change.is_tombstone() && !self.groups.contains_key(&change.group) {
            return false;
        }
        let group = self.groups.entry(change.group.clone()).or_default();
        group.written = Some(at);
        let stays = group.replay(change.part);
        if !stays {
            self.remove(&change.group, timers);
        }
        !stays
    }

    /// Members of all groups.
    pub(super) fn members(&self) -> usize {
        self.groups.values().map(|group| group.members.len()).sum()
    }

    fn hash(&self, names: BTreeSet<&String>) -> i64 {
        hash::of_topics(&self.image, names)
    }

    fn session_timeout_ms(&self, settings: &Settings, group: &str) -> i32 {
        self.of_group(group, "consumer.session.timeout.ms").unwrap_or(settings.consumer.session_timeout_ms)
    }

    fn heartbeat_interval_ms(&self, settings: &Settings, group: &str) -> i32 {
        self.of_group(group, "consumer.heartbeat.interval.ms").unwrap_or(settings.consumer.heartbeat_interval_ms)
    }

    fn assignment_interval_ms(&self, settings: &Settings, group: &str) -> i32 {
        self.of_group(group, "consumer.assignment.interval.ms").unwrap_or(settings.consumer.assignment_interval_ms)
    }

    /// The controller validated it when it was set.
    fn of_group(&self, group: &str, name: &str) -> Option<i32> {
        self.image.config(&Resource { kind: Kind::Group, name: group.to_owned() }).get(name)?.parse().ok()
    }
}

/// First version whose members bring their own ids.
const OWN_MEMBER_ID_VERSION: i16 = 1;

/// Why a heartbeat is refused without asking any shard.
pub(super) fn refuse(request: &ConsumerGroupHeartbeatRequest, version: i16, settings: &Settings) -> Option<Refusal> {
    let invalid = |message: &str| Some(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_blank = |text: &str| text.trim().is_empty();
    let epoch = request.member_epoch;
    if (version >= OWN_MEMBER_ID_VERSION || epoch > 0 || epoch == member::LEAVING) && is_blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    match epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        member::LEAVING_FOR_NOW if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        ..member::LEAVING_FOR_NOW => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    let known = settings.consumer.assignors;
    let given = request.server_assignor.as_ref()?;
    if known.iter().any(|assignor| assignor.name() == given) {
        return None;
    }
    let names: Vec<&str> = known.iter().map(|assignor| assignor.name()).collect();
    let message = format!("ServerAssignor {given} is not supported. Supported assignors: {}.", names.join(", "));
    Some(Refusal::new(ErrorCode::UnsupportedAssignor, message))
}
