//! What follows from what a member says about itself: the record of its change, the group's epoch, the target, and the
//! member's next step towards it. The same for members of either protocol.
//!
//! Source: the common parts of `consumerGroupHeartbeat` and `classicGroupJoinToConsumerGroup`.

use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::group::ConsumerGroup;
use super::limits::{Limit, cancel_all, set_limit, timer};
use super::member::{Member, State};
use super::reconcile::Reconciliation;
use super::regex::compare;
use super::target::Target;
use super::{Consumers, Refusal, record};
use crate::group::classic::Step;
#[cfg(test)]
use crate::group::planted::Bug;

/// What a request changed about a member's subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) names: bool,
    pub(super) regex: bool,
    /// The new expression was resolved before, or there is none any more.
    pub(super) regex_is_resolved: bool,
}

/// What a member says.
pub(super) struct Claim<'a> {
    /// As it was before, under its present id.
    pub(super) former: Member,
    /// The static member whose place it takes.
    pub(super) replaced: Option<&'a Member>,
    /// As it is now.
    pub(super) member: Member,
    /// What it owns, if it says so.
    pub(super) owned: Option<&'a [TopicPartitions]>,
    /// What is wrong with its expression.
    pub(super) fault: Option<&'a str>,
}

/// What is to come of a claim for the group.
pub(super) struct Announced {
    pub(super) epoch: i32,
    pub(super) has_new_subscription: bool,
    /// Whether its subscription counts already. An expression that waits to be resolved does not.
    pub(super) counts_member: bool,
}

impl Consumers {
    /// The member after its claim, at most one step nearer to its target.
    pub(super) fn advance(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        claim: &Claim<'_>,
    ) -> Result<Member, Refusal> {
        let announced = self.announce(step, group, claim)?;
        let target = self.target(step, group, &claim.member, &announced);
        self.reconcile(step, group, claim, &target, announced.has_new_subscription)
    }

    /// Writes down who the member is now, and the group's next epoch if that changes what its members want.
    pub(super) fn announce(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        claim: &Claim<'_>,
    ) -> Result<Announced, Refusal> {
        let (former, member) = (&claim.former, &claim.member);
        let changed = compare(group, claim)?;
        if let Some(replaced) = claim.replaced {
            replace(step, group, replaced, former);
        }
        if member != former {
            step.records.push(record::member(step.group_id, member));
        }
        self.forget_regex(step, group, former, member);
        self.plan_resolving(step, group, former, member);
        let has_seen = group.topics_seen == Some(self.topics_version);
        #[cfg(test)]
        let has_seen = has_seen || group.topics_seen.is_some() && step.settings.has(Bug::TopicsUnseen);
        let bump = changed.names || changed.regex_is_resolved;
        let counts_member = bump || !has_seen;
        let epoch = if counts_member { self.group_epoch(step, group, member, bump) } else { group.epoch };
        Ok(Announced { epoch, has_new_subscription: changed.names || changed.regex, counts_member })
    }

    /// The group epoch after this request: one more if the subscriptions or the topics changed.
    fn group_epoch(&self, step: &mut Step<'_>, group: &ConsumerGroup, updated: &Member, mut bump: bool) -> i32 {
        let hash = self.hash(group.topic_names(&group.displaced_by(updated), Some(updated)));
        bump |= hash != group.metadata_hash;
        let epoch = group.epoch + i32::from(bump);
        if bump {
            step.records.push(record::epoch(step.group_id, epoch, hash));
        }
        if group.has_partition_metadata {
            step.records.push(record::partition_metadata_tombstone(step.group_id));
        }
        epoch
    }

    /// One step of the member towards that target.
    pub(super) fn reconcile(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        claim: &Claim<'_>,
        target: &Target,
        has_new_subscription: bool,
    ) -> Result<Member, Refusal> {
        let member = &claim.member;
        if !has_new_subscription && member.is_reconciled_to(target.epoch) {
            return Ok(member.clone());
        }
        let is_held = |topic, partition| group.is_held(topic, partition);
        let owned = claim.owned;
        #[cfg(test)]
        let is_held = |topic, partition| is_held(topic, partition) && !step.settings.has(Bug::GrantedWhileHeld);
        #[cfg(test)]
        let owned = if step.settings.has(Bug::EpochBeforeGivenBack) { Some(&[][..]) } else { owned };
        let reconciliation = Reconciliation {
            target_epoch: target.epoch,
            target: &target.partitions,
            subscribed: &group.topic_ids(member, &self.image),
            has_new_subscription,
            is_held: &is_held,
            owned,
        };
        let next = reconciliation.step(member).map_err(|_| {
            let message = "The consumer group member is in a unknown state. The member must abandon all its \
                           partitions and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, message)
        })?;
        if next != *member {
            step.records.push(record::current(step.group_id, &next));
            match next.state {
                #[cfg(test)]
                State::Unrevoked if step.settings.has(Bug::RebalanceLimitForgotten) => {}
                State::Unrevoked => set_limit(step, &next.id, Limit::Rebalance, next.rebalance_timeout_ms),
                _ => step.timers.cancel(&timer(step.group_id, &next.id, Limit::Rebalance)),
            }
        }
        Ok(next)
    }

    /// The topics were looked at: until they change there is nothing new to be found in them.
    pub(super) fn has_seen_topics(&mut self, id: &str) {
        let version = self.topics_version;
        if let Some(group) = self.groups.get_mut(id) {
            group.topics_seen = Some(version);
        }
    }
}

/// A static member is back under a new id: it gets what its former self had.
fn replace(step: &mut Step<'_>, group: &ConsumerGroup, former: &Member, member: &Member) {
    let id = step.group_id;
    cancel_all(step.timers, id, &former.id);
    #[cfg(test)]
    if step.settings.has(Bug::ClassicInstanceTwice) && former.classic.is_some() {
        return step.records.push(record::member(id, member));
    }
    step.records.extend(record::member_tombstones(id, &former.id));
    step.records.push(record::member(id, member));
    let target = group.target.get(&former.id).cloned().unwrap_or_default();
    step.records.push(record::target(id, &member.id, &target));
    step.records.push(record::current(id, member));
}
