//! ConsumerGroupHeartbeat: one request says who a member is, what it wants and what it owns; one answer says its
//! epoch and what it may own from now on.
//!
//! Source: `GroupMetadataManager.consumerGroupHeartbeat`, `consumerGroupLeave` and what they call.

use std::borrow::Cow;
use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions as AssignedTopicPartitions,
};
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::advance::Claim;
use super::group::ConsumerGroup;
use super::limits::{Limit, cancel_all, set_limit, timer};
use super::member::{LEAVING, LEAVING_FOR_NOW, Member, Owned};
use super::{Consumers, Refusal, missing, record};
use crate::group::classic::{ClassicGroup, Step};
use crate::group::join::java_host;
#[cfg(test)]
use crate::group::planted::Bug;
use crate::group::{CheckedHeartbeat, Context, Settings, classic, record as group_record};

impl Consumers {
    /// One heartbeat. `classic` is the classic group of that name, if there is one.
    pub(in crate::group) fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        heartbeat: &CheckedHeartbeat,
        classic: Option<&mut ClassicGroup>,
    ) -> ConsumerGroupHeartbeatResponse {
        let answer = match heartbeat.request.member_epoch {
            LEAVING | LEAVING_FOR_NOW => self.leave(step, &heartbeat.request, classic.is_some()),
            _ => self.beat(step, context, heartbeat, classic),
        };
        answer.unwrap_or_else(|refusal| {
            // Of a request that is refused in the end nothing is written.
            step.records.clear();
            refusal.into_heartbeat()
        })
    }

    fn beat(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        CheckedHeartbeat { request, fault }: &CheckedHeartbeat,
        classic: Option<&mut ClassicGroup>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let id = step.group_id;
        let group = self.find_or_make(step, request.member_epoch == 0, classic.as_deref())?;
        group.check_room(step.settings, &request.member_id)?;
        let member_id = match request.member_id.as_str() {
            "" => kafka_uuid(context.random),
            given => given.to_owned(),
        };
        #[cfg(test)]
        let group = group_with_planted_faults(step, group, request)?;
        let (former, replaced) = group.subscribe(id, &member_id, request)?;
        let mut member = former.clone();
        update(&mut member, context, request);
        let owned = request.topic_partitions.as_deref();
        let claim = Claim { former, replaced, member, owned, fault: fault.as_deref() };
        let member = self.advance(step, &group, &claim)?;
        if let Some(classic) = classic {
            self.take_over(step, group.members.values().filter(|other| Some(*other) != replaced), classic);
        }
        for limit in [Limit::Join, Limit::Sync] {
            step.timers.cancel(&timer(id, &member_id, limit));
        }
        let session_timeout_ms = self.session_timeout_ms(step.settings, id);
        #[cfg(test)]
        let session_timeout_ms = session_with_planted_faults(step, &member_id, session_timeout_ms);
        set_limit(step, &member_id, Limit::Session, session_timeout_ms);
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let shows_assignment = request.member_epoch == 0 || is_full || member.assigned != claim.former.assigned;
        #[cfg(test)]
        let shows_assignment =
            shows_assignment && (request.member_epoch == 0 || !step.settings.has(Bug::AssignmentUntold));
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(member.id.clone()),
            member_epoch: member.epoch,
            heartbeat_interval_ms: self.heartbeat_interval_ms(step.settings, id),
            assignment: shows_assignment.then(|| assignment(&member.assigned)),
            ..Default::default()
        };
        self.has_seen_topics(id);
        Ok(response)
    }

    /// The group, made if the member is new to it, out of the classic one of that name where there is one.
    fn find_or_make(
        &self,
        step: &mut Step<'_>,
        may_make: bool,
        classic: Option<&ClassicGroup>,
    ) -> Result<Cow<'_, ConsumerGroup>, Refusal> {
        let id = step.group_id;
        match (self.groups.get(id), classic) {
            (Some(group), _) => Ok(Cow::Borrowed(group)),
            (None, Some(classic)) if may_make && classic.state == classic::State::Empty => {
                step.records.push(group_record::group_tombstone(id));
                Ok(Cow::Owned(ConsumerGroup::default()))
            }
            (None, Some(classic)) if may_make => Ok(Cow::Owned(self.upgrade(step, classic)?)),
            (None, Some(_)) => Err(missing(id, true)),
            (None, None) if may_make => Ok(Cow::Owned(ConsumerGroup::default())),
            (None, None) => Err(Refusal::new(ErrorCode::GroupIdNotFound, format!("Consumer group {id} not found."))),
        }
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
        let is_back_soon = request.member_epoch == LEAVING_FOR_NOW;
        #[cfg(test)]
        let is_back_soon = is_back_soon && !step.settings.has(Bug::InstanceLosesItsPart);
        if is_back_soon {
            let mut leaving = member.clone();
            leaving.epoch = LEAVING_FOR_NOW;
            leaving.revoking = Owned::new();
            // Whoever takes its place has had these partitions from the beginning.
            leaving.assigned.values_mut().flat_map(|partitions| partitions.values_mut()).for_each(|epoch| *epoch = 0);
            step.records.push(record::current(id, &leaving));
        } else {
            self.fence(step, group, &[member]);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    /// Removes members with all that they hold. Where only members of the classic protocol stay, the group becomes a
    /// classic one.
    pub(super) fn fence(&self, step: &mut Step<'_>, group: &ConsumerGroup, leaving: &[&Member]) {
        if leaving.is_empty() || self.downgrade_without(step, group, leaving) {
            return;
        }
        let id = step.group_id;
        for member in leaving {
            step.records.extend(record::member_tombstones(id, &member.id));
            #[cfg(test)]
            if step.settings.has(Bug::TargetLeftBehind) {
                let at = step.records.len() - 2;
                step.records.remove(at);
            }
            cancel_all(step.timers, id, &member.id);
        }
        let expressions: BTreeSet<&str> = leaving.iter().filter_map(|member| member.regex()).collect();
        for regex in expressions {
            let leave_it = leaving.iter().filter(|member| member.regex() == Some(regex)).count();
            if group.subscribers_of(regex) == leave_it {
                step.records.push(record::regex_tombstone(id, regex));
            }
        }
        let hash = self.hash(group.topic_names(leaving, None));
        let epoch = group.epoch + 1;
        #[cfg(test)]
        let epoch = if step.settings.has(Bug::LeaveWithoutEpoch) { group.epoch } else { epoch };
        step.records.push(record::epoch(id, epoch, hash));
    }
}

impl ConsumerGroup {
    /// Whether that member has or finds a place.
    pub(super) fn check_room(&self, settings: &Settings, member_id: &str) -> Result<(), Refusal> {
        let size_max = settings.consumer.size_max;
        if self.members.len() < size_max || self.members.contains_key(member_id) {
            return Ok(());
        }
        let message = format!("The consumer group has reached its maximum capacity of {size_max} members.");
        Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message))
    }

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
        Ok((former.renamed(member_id), Some(former)))
    }

    /// The static member of that instance id, if it is the one who asks.
    pub(super) fn static_as(&self, member_id: &str, instance_id: &str) -> Result<&Member, Refusal> {
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
    member.client_host = java_host(context.client_address);
    member.classic = None;
}

/// The group as a faulty coordinator takes it.
#[cfg(test)]
fn group_with_planted_faults<'a>(
    step: &Step<'_>,
    group: Cow<'a, ConsumerGroup>,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Cow<'a, ConsumerGroup>, Refusal> {
    let epoch = group.members.get(&request.member_id).map(|member| member.epoch);
    if step.settings.has(Bug::PreviousEpochFenced) && request.member_epoch > 0 && epoch != Some(request.member_epoch) {
        return Err(Refusal::new(ErrorCode::FencedMemberEpoch, "planted"));
    }
    if !step.settings.has(Bug::InstanceTwice) || request.member_epoch != 0 {
        return Ok(group);
    }
    let mut group = group.into_owned();
    group.members.values_mut().for_each(|member| member.epoch = LEAVING_FOR_NOW);
    Ok(Cow::Owned(group))
}

/// What is left of the session that runs, where a heartbeat does not prolong it.
#[cfg(test)]
fn session_with_planted_faults(step: &Step<'_>, member_id: &str, timeout_ms: i32) -> i32 {
    let running = step.timers.at(&timer(step.group_id, member_id, Limit::Session));
    match running.filter(|_| step.settings.has(Bug::HeartbeatIsNoSignOfLife)) {
        Some(at) => (at - step.now).0 as i32,
        None => timeout_ms,
    }
}

fn assignment(assigned: &Owned) -> Assignment {
    let topics = assigned.iter().map(|(topic_id, partitions)| AssignedTopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
    });
    Assignment { topic_partitions: topics.collect() }
}

/// A member id as Kafka's `Uuid` prints it: no dash at the start, which would look like an option.
pub(super) fn kafka_uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    // The first six bits choose the first letter; 62 is the dash.
    if random[0] >> 2 == 62 {
        random[0] &= 0x7f;
    }
    milena_protocol::Uuid(random).to_string()
}
