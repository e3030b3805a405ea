//! Looking at consumer groups: ConsumerGroupDescribe. Source: `ConsumerGroup.asDescribedGroup`.

use std::collections::BTreeMap;

use milena_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use milena_protocol::{ErrorCode, Uuid};

use super::group::ConsumerGroup;
use super::member::Member;
use super::target::preferred_assignor;
use super::{Consumers, missing};
use crate::group::{Settings, weight};
use crate::weight::{ARRAY, optional, text};

/// A member without its texts and topics: epoch, type, two assignments, tags.
const MEMBER: usize = 4 + 1 + 2 * (ARRAY + 1) + ARRAY + 1;
/// How a member is shown that speaks the classic protocol, and one that speaks the new one.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

impl Consumers {
    /// One group of a ConsumerGroupDescribe.
    pub(in crate::group) fn describe(&self, settings: &Settings, id: &str, is_classic: bool) -> DescribedGroup {
        let Some(group) = self.groups.get(id) else {
            let refusal = missing(id, is_classic);
            return DescribedGroup {
                group_id: id.to_owned(),
                error_code: ErrorCode::GroupIdNotFound.number(),
                error_message: Some(refusal.message),
                ..Default::default()
            };
        };
        let assignor = preferred_assignor(group.members.values());
        let assignor = assignor.or_else(|| settings.consumer.assignors.first().copied());
        DescribedGroup {
            group_id: id.to_owned(),
            group_state: group.state().name().to_owned(),
            group_epoch: group.epoch,
            assignment_epoch: group.target_epoch,
            assignor_name: assignor.map_or("", |assignor| assignor.name()).to_owned(),
            members: group.members.values().map(|member| self.describe_member(group, member)).collect(),
            ..Default::default()
        }
    }

    /// What [`Consumers::describe`] takes on the wire.
    pub(in crate::group) fn weigh(&self, id: &str) -> usize {
        let Some(group) = self.groups.get(id) else { return weight::missing(id) };
        weight::consumer_group(id)
            + group.members.values().map(|member| self.weigh_member(group, member)).sum::<usize>()
    }

    fn weigh_member(&self, group: &ConsumerGroup, member: &Member) -> usize {
        let optional = |text: &Option<String>| optional(text.as_deref());
        let own = text(&member.id) + text(&member.client_id) + text(&member.client_host);
        let more = optional(&member.instance_id) + optional(&member.rack_id) + optional(&member.regex);
        let topics = member.topics.iter().map(|topic| text(topic)).sum::<usize>();
        let held = [&member.assigned, &member.revoking].into_iter().flatten();
        let held = held.map(|(topic, partitions)| self.weigh_topic(*topic, partitions.len()));
        let target = group.target.get(&member.id).into_iter().flatten();
        let target = target.map(|(topic, partitions)| self.weigh_topic(*topic, partitions.len()));
        MEMBER + own + more + topics + held.chain(target).sum::<usize>()
    }

    /// Partitions of one topic that a member holds, or shall hold.
    fn weigh_topic(&self, topic_id: Uuid, partitions: usize) -> usize {
        let name = self.image.topic_by_id(topic_id).map_or("", |topic| &topic.name);
        16 + text(name) + ARRAY + 4 * partitions + 1
    }

    fn describe_member(&self, group: &ConsumerGroup, member: &Member) -> DescribedMember {
        let target = group.target.get(&member.id).into_iter().flatten();
        let target = target.flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)));
        DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.topics.iter().cloned().collect(),
            subscribed_topic_regex: member.regex.clone(),
            // What is to be given back is still its own.
            assignment: self.named(member.held()),
            target_assignment: self.named(target),
            member_type: if member.classic.is_some() { CLASSIC } else { CONSUMER },
        }
    }

    /// Topics that are gone cannot be named.
    fn named(&self, places: impl Iterator<Item = (Uuid, i32)>) -> Assignment {
        let mut topics: BTreeMap<Uuid, TopicPartitions> = BTreeMap::new();
        for (topic_id, partition) in places {
            let Some(topic) = self.image.topic_by_id(topic_id) else { continue };
            let entry = topics.entry(topic_id).or_insert_with(|| TopicPartitions {
                topic_id,
                topic_name: topic.name.to_string(),
                partitions: Vec::new(),
            });
            entry.partitions.push(partition);
        }
        Assignment { topic_partitions: topics.into_values().collect() }
    }
}
