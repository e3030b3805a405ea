//! The target assignment: made anew when the group epoch has passed it, at most once per assignment interval
//! (KIP-1263). Between two makings the members go on towards the one that is there.
//!
//! Source: `GroupMetadataManager.maybeUpdateTargetAssignment`, `TargetAssignmentBuilder`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_metadata::java::java_order;
use milena_protocol::Uuid;

use super::advance::Announced;
use super::assignor::{Assignor, Problem, Subscriber};
use super::group::ConsumerGroup;
use super::member::{Member, Partitions};
use super::{Consumers, record};
use crate::group::classic::Step;

/// What a member shall own, as of an epoch.
pub(super) struct Target {
    pub(super) epoch: i32,
    pub(super) partitions: Partitions,
}

impl Consumers {
    /// The target of the member that asks; a new one for everybody if the group epoch has moved on.
    pub(super) fn target(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        updated: &Member,
        announced: &Announced,
    ) -> Target {
        let (id, group_epoch) = (step.group_id, announced.epoch);
        let interval = i64::from(self.assignment_interval_ms(step.settings, id));
        let made = group.target_timestamp;
        let is_due = made == 0 || interval == 0 || step.now.0 >= made + interval;
        if group.target_epoch >= group_epoch || !is_due {
            let partitions = group.target_of(updated).cloned().unwrap_or_default();
            return Target { epoch: group.target_epoch, partitions };
        }
        let is_of_one_mind = group.is_of_one_mind(announced.counts_member.then_some(updated));
        let problem = self.problem(group, updated, is_of_one_mind);
        let default = step.settings.consumer.assignors.first().copied().unwrap_or(Assignor::Uniform);
        let assignor = preferred_assignor(group.with(updated)).unwrap_or(default);
        let mut solved = problem.solve(assignor);
        for member in java_order(problem.members.keys()) {
            if group.target.get(member) != solved.get(member) {
                step.records.push(record::target(id, member, &solved[member]));
            }
        }
        step.records.push(record::target_epoch(id, group_epoch, step.now.0));
        Target { epoch: group_epoch, partitions: solved.remove(&updated.id).unwrap_or_default() }
    }

    fn problem(&self, group: &ConsumerGroup, updated: &Member, is_of_one_mind: bool) -> Problem {
        let mut problem = Problem { is_of_one_mind, ..Problem::default() };
        let mut last: Option<(&Member, Arc<BTreeSet<Uuid>>)> = None;
        for member in group.with(updated) {
            // Most subscribe in the same words, and so to the same topics.
            let is_like = |other: &Member| {
                let is_said = is_of_one_mind && member.id != updated.id && other.id != updated.id;
                is_said || other.topics == member.topics && other.regex() == member.regex()
            };
            let topics = match last.as_ref().filter(|(other, _)| is_like(other)) {
                Some((_, topics)) => Arc::clone(topics),
                None => {
                    let topics = Arc::new(group.topic_ids(member, &self.image));
                    for topic in topics.iter() {
                        let count = self.image.topic_by_id(*topic).map_or(0, |topic| topic.partitions.len() as i32);
                        problem.counts.insert(*topic, count);
                    }
                    topics
                }
            };
            last = Some((member, Arc::clone(&topics)));
            let instance_id = member.instance_id.clone();
            let target = group.target_of(member).cloned().unwrap_or_default();
            problem.members.insert(member.id.clone(), Subscriber { instance_id, topics, target });
        }
        problem
    }
}

/// What most members wish for; equal votes go to the one that Java's hash table names first.
pub(super) fn preferred_assignor<'a>(members: impl Iterator<Item = &'a Member>) -> Option<Assignor> {
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    for name in members.filter_map(|member| member.assignor.as_ref()) {
        *votes.entry(name.clone()).or_default() += 1;
    }
    let most = *votes.values().max()?;
    let winner = java_order(votes.keys()).into_iter().find(|name| votes[*name] == most)?;
    Assignor::from_name(winner)
}
