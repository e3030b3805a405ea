//! ConsumerGroupHeartbeat: one request says who a member is, what it wants and what it owns; one answer says its
//! epoch and what it may own from now on.
//!
//! Source: `GroupMetadataManager.consumerGroupHeartbeat`, `consumerGroupLeave` and what they call.

use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions as AssignedTopicPartitions,
};
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::group::ConsumerGroup;
use super::limits::{Limit, cancel_all, set_limit, timer};
use super::member::{LEAVING, LEAVING_FOR_NOW, Member, Owned, State};
use super::reconcile::Reconciliation;
use super::target::Target;
use super::{Consumers, Refusal, missing, record};
use crate::group::classic::Step;
use crate::group::join::java_address;
use crate::group::{Context, classic::ClassicGroup};
use crate::group::{classic, record as group_record};

/// What a request changed about a member's subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) names: bool,
    pub(super) regex: bool,
    /// The new expression was resolved before, or there is none any more.
    pub(super) regex_is_resolved: bool,
}

impl Consumers {
    /// One heartbeat. `classic` is the classic group of that name, if there is one.
    pub(in crate::group) fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        request: &ConsumerGroupHeartbeatRequest,
        classic: Option<&ClassicGroup>,
    ) -> ConsumerGroupHeartbeatResponse {
        let answer = match request.member_epoch {
            LEAVING | LEAVING_FOR_NOW => self.leave(step, request, classic.is_some()),
            _ => self.beat(step, context, request, classic),
        };
        answer.unwrap_or_else(Refusal::into_heartbeat)
    }

    fn beat(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        request: &ConsumerGroupHeartbeatRequest,
        classic: Option<&ClassicGroup>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let id = step.group_id;
        let fresh = ConsumerGroup::default();
        let (group, empty_classic) = self.find_or_make(id, &fresh, request.member_epoch == 0, classic)?;
        let size_max = step.settings.consumer.size_max;
        if group.members.len() >= size_max && !group.members.contains_key(&request.member_id) {
            let message = format!("The consumer group has reached its maximum capacity of {size_max} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        let member_id = match request.member_id.as_str() {
            "" => kafka_uuid(context.random),
            given => given.to_owned(),
        };
        let (member, replaced) = group.subscribe(id, &member_id, request)?;
        let mut updated = member.clone();
        update(&mut updated, context, request);
        // From here on nothing is refused but for an expression that cannot be compiled, and that comes first.
        let changed = self.compare(group, &member, &updated)?;
        if empty_classic {
            step.records.push(group_record::group_tombstone(id));
        }
        if let Some(former) = replaced {
            replace(step, group, former, &member);
        }
        if updated != member {
            step.records.push(record::member(id, &updated));
        }
        self.forget_regex(step, group, &member, &updated);
        self.plan_resolving(step, group, &member, &updated);
        let bump = changed.names || changed.regex_is_resolved;
        let epoch = self.group_epoch(step, group, &updated, bump);
        let target = self.target(step, group, &updated, epoch);
        let has_new_subscription = changed.names || changed.regex;
        let updated = self.reconcile(step, group, updated, &target, has_new_subscription, request)?;
        let session_timeout_ms = self.session_timeout_ms(step.settings, id);
        set_limit(step, &member_id, Limit::Session, session_timeout_ms);
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let shows_assignment = request.member_epoch == 0 || is_full || updated.assigned != member.assigned;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(updated.id.clone()),
            member_epoch: updated.epoch,
            heartbeat_interval_ms: self.heartbeat_interval_ms(step.settings, id),
            assignment: shows_assignment.then(|| assignment(&updated.assigned)),
            ..Default::default()
        };
        let version = self.topics_version;
        if let Some(group) = self.groups.get_mut(id) {
            group.topics_seen = Some(version);
        }
        Ok(response)
    }

    /// The group, made if the member is new to it. The second is whether an empty classic group gives way.
    fn find_or_make<'a>(
        &'a self,
        id: &str,
        fresh: &'a ConsumerGroup,
        may_make: bool,
        classic: Option<&ClassicGroup>,
    ) -> Result<(&'a ConsumerGroup, bool), Refusal> {
        let not_found = |message: String| Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        match (self.groups.get(id), classic) {
            (Some(group), _) => Ok((group, false)),
            (None, Some(classic)) if may_make && classic.state == classic::State::Empty => Ok((fresh, true)),
            (None, Some(_)) if may_make => not_found(format!(
                "Cannot upgrade classic group {id} to consumer group because online upgrade is disabled."
            )),
            (None, Some(_)) => Err(missing(id, true)),
            (None, None) if may_make => Ok((fresh, false)),
            (None, None) => not_found(format!("Consumer group {id} not found.")),
        }
    }

    /// The group epoch after this request: one more if the subscriptions or the topics changed.
    fn group_epoch(&self, step: &mut Step<'_>, group: &ConsumerGroup, updated: &Member, mut bump: bool) -> i32 {
        if !bump && group.topics_seen == Some(self.topics_version) {
            return group.epoch;
        }
        let hash = self.hash(group.topic_names(group.with(updated)));
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

    fn reconcile(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        updated: Member,
        target: &Target,
        has_new_subscription: bool,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Member, Refusal> {
        if !has_new_subscription && updated.is_reconciled_to(target.epoch) {
            return Ok(updated);
        }
        let reconciliation = Reconciliation {
            target_epoch: target.epoch,
            target: &target.partitions,
            subscribed: &group.topic_ids(&updated, &self.image),
            has_new_subscription,
            is_held: &|topic, partition| group.is_held(topic, partition),
            owned: request.topic_partitions.as_deref(),
        };
        let next = reconciliation.step(&updated).map_err(|_| {
            let message = "The consumer group member is in a unknown state. The member must abandon all its \
                           partitions and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, message)
        })?;
        if next != updated {
            step.records.push(record::current(step.group_id, &next));
            match next.state {
                State::Unrevoked => set_limit(step, &next.id, Limit::Rebalance, next.rebalance_timeout_ms),
                _ => step.timers.cancel(&timer(step.group_id, &next.id, Limit::Rebalance)),
            }
        }
        Ok(next)
    }

    fn leave(
        &self,
        step: &mut Step<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        is_classic: bool,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let (id, member_id) = (step.group_id, &request.member_id);
        let group = self.groups.get(id).ok_or_else(|| missing(id, is_classic))?;
        let member = match &request.instance_id {
            None => group.members.get(member_id).ok_or_else(|| unknown_member(id, member_id))?,
            Some(instance_id) => group.static_as(member_id, instance_id)?,
        };
        if request.member_epoch == LEAVING_FOR_NOW {
            let mut leaving = member.clone();
            leaving.epoch = LEAVING_FOR_NOW;
            leaving.revoking = Owned::new();
            // Whoever takes its place has had these partitions from the beginning.
            leaving.assigned.values_mut().flat_map(|partitions| partitions.values_mut()).for_each(|epoch| *epoch = 0);
            step.records.push(record::current(id, &leaving));
        } else {
            self.fence(step, group, member);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    /// Removes a member with all that it holds.
    pub(super) fn fence(&self, step: &mut Step<'_>, group: &ConsumerGroup, member: &Member) {
        let id = step.group_id;
        step.records.extend(record::member_tombstones(id, &member.id));
        if let Some(regex) = member.regex().filter(|regex| group.subscribers_of(regex) == 1) {
            step.records.push(record::regex_tombstone(id, regex));
        }
        let others = group.members.values().filter(|other| other.id != member.id);
        let hash = self.hash(group.topic_names(others));
        step.records.push(record::epoch(id, group.epoch + 1, hash));
        cancel_all(step.timers, id, &member.id);
    }
}

impl ConsumerGroup {
    /// The member that asks, as it was before, and the static member whose place it takes.
    fn subscribe(
        &self,
        id: &str,
        member_id: &str,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(Member, Option<&Member>), Refusal> {
        let known = self.members.get(member_id);
        let Some(instance_id) = &request.instance_id else {
            let member = match known {
                Some(member) => member.clone(),
                None if request.member_epoch == 0 => Member::new(member_id),
                None => return Err(unknown_member(id, member_id)),
            };
            validate_epoch(&member, request)?;
            return Ok((member, None));
        };
        if request.member_epoch != 0 {
            let member = self.static_as(member_id, instance_id)?;
            validate_epoch(member, request)?;
            return Ok((member.clone(), None));
        }
        let Some(former) = self.static_member(instance_id) else {
            return Ok((known.cloned().unwrap_or_else(|| Member::new(member_id)), None));
        };
        if former.epoch != LEAVING_FOR_NOW && former.classic.is_none() {
            let message = format!(
                "Static member {member_id} with instance id {instance_id} cannot join the group because the instance \
                 id is owned by {} member.",
                former.id
            );
            return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
        }
        let mut member = former.clone();
        member.id = member_id.to_owned();
        (member.epoch, member.previous_epoch) = (0, 0);
        Ok((member, Some(former)))
    }

    /// The static member of that instance id, if it is the one who asks.
    fn static_as(&self, member_id: &str, instance_id: &str) -> Result<&Member, Refusal> {
        let Some(member) = self.static_member(instance_id) else {
            return Err(Refusal::new(ErrorCode::UnknownMemberId, format!("Instance id {instance_id} is unknown.")));
        };
        if member.id != member_id {
            let message =
                format!("Static member {member_id} with instance id {instance_id} was fenced by member {}.", member.id);
            return Err(Refusal::new(ErrorCode::FencedInstanceId, message));
        }
        Ok(member)
    }
}

pub(super) fn unknown_member(group: &str, member: &str) -> Refusal {
    Refusal::new(ErrorCode::UnknownMemberId, format!("Member {member} is not a member of group {group}."))
}

/// Trap 132: the epoch before is accepted while the member owns nothing that it should not, since the answer
/// with its present epoch may have been lost.
fn validate_epoch(member: &Member, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let given = request.member_epoch;
    if given == 0 || given == member.epoch {
        return Ok(());
    }
    let is_behind = given < member.epoch;
    if is_behind && given == member.previous_epoch && owns_no_more(request.topic_partitions.as_deref(), member) {
        return Ok(());
    }
    let compared = if is_behind { "smaller" } else { "greater" };
    let message = format!(
        "The consumer group member has a {compared} member epoch ({given}) than the one known by the group coordinator \
         ({}). The member must abandon all its partitions and rejoin.",
        member.epoch
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

fn owns_no_more(owned: Option<&[TopicPartitions]>, member: &Member) -> bool {
    let Some(owned) = owned else { return false };
    owned.iter().all(|topic| {
        let assigned = member.assigned.get(&topic.topic_id);
        assigned.is_some_and(|assigned| topic.partitions.iter().all(|partition| assigned.contains_key(partition)))
    })
}

/// Takes over what the request says; what it leaves out stays (trap 133).
fn update(member: &mut Member, context: &Context, request: &ConsumerGroupHeartbeatRequest) {
    member.instance_id = request.instance_id.clone().or(member.instance_id.take());
    member.rack_id = request.rack_id.clone().or(member.rack_id.take());
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    member.assignor = request.server_assignor.clone().or(member.assignor.take());
    if let Some(names) = &request.subscribed_topic_names {
        member.topics = names.iter().cloned().collect();
    }
    member.regex = request.subscribed_topic_regex.clone().or(member.regex.take());
    member.client_id = context.client_id.clone();
    member.client_host = java_address(context.client_address);
    member.classic = None;
}

/// A static member is back under a new id: it gets what its former self had.
fn replace(step: &mut Step<'_>, group: &ConsumerGroup, former: &Member, member: &Member) {
    let id = step.group_id;
    cancel_all(step.timers, id, &former.id);
    step.records.extend(record::member_tombstones(id, &former.id));
    step.records.push(record::member(id, member));
    let target = group.target.get(&former.id).cloned().unwrap_or_default();
    step.records.push(record::target(id, &member.id, &target));
    step.records.push(record::current(id, member));
}

fn assignment(assigned: &Owned) -> Assignment {
    let topics = assigned.iter().map(|(topic_id, partitions)| AssignedTopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
    });
    Assignment { topic_partitions: topics.collect() }
}

/// A member id as Kafka's `Uuid` prints it: no dash at the start, which would look like an option.
fn kafka_uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    // The first six bits choose the first letter; 62 is the dash.
    if random[0] >> 2 == 62 {
        random[0] &= 0x7f;
    }
    milena_protocol::Uuid(random).to_string()
}
