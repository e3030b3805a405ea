//! Members of the classic protocol in a consumer group: their requests in the words of the new one. To them a generation
//! is their member epoch, and a rebalance is to be told that there is something new. Nobody leads, nobody is waited for:
//! each join and each sync is answered at once (trap 138).
//!
//! ```text
//!   Heartbeat ─► REBALANCE_IN_PROGRESS: the target has moved on, or something is to be given back or to be had
//!   JoinGroup ─► one step towards the target, with the partitions that the subscription says are still owned
//!   SyncGroup ─► the partitions after that step
//! ```
//!
//! Source: `classicGroupJoinToConsumerGroup`, `classicGroupSyncToConsumerGroup`, `classicGroupHeartbeatToConsumerGroup`,
//! `classicGroupLeaveToConsumerGroup` of `GroupMetadataManager`.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::Consumers;
use super::advance::Claim;
use super::group::ConsumerGroup;
use super::heartbeat::kafka_uuid;
use super::limits::{Limit, set_limit, set_limit_once, timer};
use super::member::{Member, State};
use super::protocol::{self, CONSUMER, Subscription};
use crate::group::Context;
use crate::group::classic::Step;
use crate::group::join::{KNOWN_MEMBER_ID_VERSION, java_host};
#[cfg(test)]
use crate::group::planted::Bug;
use crate::group::protocols::common_protocols;

impl Consumers {
    /// One JoinGroup to a consumer group that has members.
    pub(in crate::group) fn classic_join(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        request: &JoinGroupRequest,
    ) -> JoinGroupResponse {
        let answer = self.joined(step, context, request);
        answer.unwrap_or_else(|error| {
            step.records.clear();
            JoinGroupResponse { error_code: error.number(), ..Default::default() }
        })
    }

    fn joined(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        request: &JoinGroupRequest,
    ) -> Result<JoinGroupResponse, ErrorCode> {
        let id = step.group_id;
        let group = self.groups.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        if !step.settings.consumer.migration.allows_any() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_new = request.member_id.is_empty();
        let member_id = if is_new { kafka_uuid(context.random) } else { request.member_id.clone() };
        group.check_room(step.settings, &member_id).map_err(|refusal| refusal.error)?;
        if !group.supports(request) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if is_new && request.group_instance_id.is_none() && context.version >= KNOWN_MEMBER_ID_VERSION {
            let error_code = ErrorCode::MemberIdRequired.number();
            return Ok(JoinGroupResponse { member_id, error_code, ..Default::default() });
        }
        let instance_id = request.group_instance_id.as_deref();
        let (former, replaced) = group.take_place(&member_id, instance_id, is_new)?;
        #[cfg(test)]
        let former = former_with_planted_faults(step, former, replaced);
        // All its protocols bring the same subscription.
        let first = request.protocols.first().ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let subscription = Subscription::read(&first.metadata).ok_or(ErrorCode::UnknownServerError)?;
        let rebalance_timeout_ms =
            if context.version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        let mut member = former.clone();
        become_classic(&mut member, context, request, &subscription);
        if rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = rebalance_timeout_ms;
        }
        let owned = subscription.owned(&self.image);
        let known = instance_id.and_then(|instance_id| group.static_member(instance_id));
        let becomes_classic = known.is_some_and(|known| self.may_downgrade_by(step.settings, group, known));
        let claim = Claim { former, replaced, member, owned: Some(&owned), fault: None };
        let member = if becomes_classic {
            self.downgrade_with(step, group, &claim).map_err(|refusal| refusal.error)?
        } else {
            let member = self.advance(step, group, &claim).map_err(|refusal| refusal.error)?;
            #[cfg(test)]
            let planted = limits_with_planted_faults(
                step,
                &member_id,
                &[(Bug::JoinLimitStays, Limit::Join), (Bug::ClassicJoinIsNoSignOfLife, Limit::Session)],
            );
            step.timers.cancel(&timer(id, &member_id, Limit::Join));
            set_limit(step, &member_id, Limit::Session, request.session_timeout_ms);
            #[cfg(test)]
            planted.into_iter().for_each(|(timer, deadline)| step.timers.set(timer, deadline));
            set_limit(step, &member_id, Limit::Sync, rebalance_timeout_ms);
            member
        };
        self.has_seen_topics(id);
        Ok(JoinGroupResponse {
            generation_id: member.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name: Some(first.name.clone()),
            member_id,
            ..Default::default()
        })
    }

    /// One SyncGroup: what the member owns now.
    pub(in crate::group) fn classic_sync(&self, step: &mut Step<'_>, request: &SyncGroupRequest) -> SyncGroupResponse {
        self.synced(step, request)
            .unwrap_or_else(|error| SyncGroupResponse { error_code: error.number(), ..Default::default() })
    }

    fn synced(&self, step: &mut Step<'_>, request: &SyncGroupRequest) -> Result<SyncGroupResponse, ErrorCode> {
        let group = self.groups.get(step.group_id).ok_or(ErrorCode::UnknownMemberId)?;
        let instance_id = request.group_instance_id.as_deref();
        let (member, classic) = group.classic_as(&request.member_id, instance_id, request.generation_id)?;
        let own = classic.supported_protocols.first();
        let is_type = request.protocol_type.as_deref().is_none_or(|kind| kind == CONSUMER);
        let is_name = request.protocol_name.is_none() || request.protocol_name.as_ref() == own.map(|own| &own.name);
        if !is_type || !is_name {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if group.target_epoch > member.epoch && member.state != State::Unrevoked {
            set_limit_once(step, &member.id, Limit::Join, member.rebalance_timeout_ms);
            return Err(ErrorCode::RebalanceInProgress);
        }
        #[cfg(test)]
        let planted = limits_with_planted_faults(step, &member.id, &[(Bug::SyncLimitStays, Limit::Sync)]);
        step.timers.cancel(&timer(step.group_id, &member.id, Limit::Sync));
        #[cfg(test)]
        planted.into_iter().for_each(|(timer, deadline)| step.timers.set(timer, deadline));
        set_limit(step, &member.id, Limit::Session, classic.session_timeout_ms);
        let version = own.and_then(|own| Subscription::read(&own.metadata)).map_or(0, |read| read.version);
        let assignment = protocol::write_assignment(protocol::without_epochs(&member.assigned), &self.image, version);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    /// One Heartbeat: whether the member has to join again, or the error to answer it with.
    pub(in crate::group) fn classic_heartbeat(&self, step: &mut Step<'_>, request: &HeartbeatRequest) -> ErrorCode {
        let Some(group) = self.groups.get(step.group_id) else { return ErrorCode::UnknownMemberId };
        let instance_id = request.group_instance_id.as_deref();
        let (member, classic) = match group.classic_as(&request.member_id, instance_id, request.generation_id) {
            Ok(found) => found,
            #[cfg(test)]
            Err(ErrorCode::FencedInstanceId) if step.settings.has(Bug::ClassicNotFenced) => {
                return ErrorCode::UnknownMemberId;
            }
            Err(error) => return error,
        };
        set_limit(step, &member.id, Limit::Session, classic.session_timeout_ms);
        let has_news = member.epoch < group.target_epoch
            || member.state == State::Unrevoked
            || member.state == State::Unreleased && !group.waits_for_others(member);
        #[cfg(test)]
        let has_news = has_news && !step.settings.has(Bug::RebalanceUntold);
        if !has_news {
            return ErrorCode::None;
        }
        set_limit_once(step, &member.id, Limit::Join, member.rebalance_timeout_ms);
        ErrorCode::RebalanceInProgress
    }

    /// One LeaveGroup, of members of either protocol.
    pub(in crate::group) fn classic_leave(
        &self,
        step: &mut Step<'_>,
        leaving: Vec<MemberIdentity>,
    ) -> Vec<MemberResponse> {
        let Some(group) = self.groups.get(step.group_id) else { return Vec::new() };
        let mut gone: BTreeMap<&str, &Member> = BTreeMap::new();
        let mut responses = Vec::with_capacity(leaving.len());
        for identity in leaving {
            let error = match group.leaver(&identity) {
                Ok(member) => {
                    gone.insert(&member.id, member);
                    ErrorCode::None
                }
                Err(error) => error,
            };
            responses.push(MemberResponse {
                member_id: identity.member_id,
                group_instance_id: identity.group_instance_id,
                error_code: error.number(),
            });
        }
        let gone: Vec<&Member> = gone.into_values().collect();
        self.fence(step, group, &gone);
        responses
    }
}

impl ConsumerGroup {
    /// Whether whoever offers these protocols could take part: all classic members must have one of them.
    fn supports(&self, request: &JoinGroupRequest) -> bool {
        let classic = self.members.values().filter_map(|member| member.classic.as_ref());
        let held = classic.map(|classic| classic.supported_protocols.iter().map(|protocol| protocol.name.as_str()));
        let offered = request.protocols.iter().map(|protocol| protocol.name.as_str());
        // Without classic members any will do, but there must be one.
        request.protocol_type == CONSUMER && !common_protocols(offered, held).is_empty()
    }

    /// The member that joins, as it was before, and the static member whose place it takes. Its epoch does not matter.
    fn take_place(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        is_new: bool,
    ) -> Result<(Member, Option<&Member>), ErrorCode> {
        let known = || self.members.get(member_id).cloned().unwrap_or_else(|| Member::new(member_id));
        let Some(instance_id) = instance_id else { return Ok((known(), None)) };
        if !is_new {
            let member = self.static_as(member_id, instance_id).map_err(|refusal| refusal.error)?;
            return Ok((member.clone(), None));
        }
        let Some(former) = self.static_member(instance_id) else { return Ok((known(), None)) };
        Ok((former.renamed(member_id), Some(former)))
    }

    /// The member of the classic protocol that asks, in its generation.
    fn classic_as(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(&Member, &ClassicMemberMetadata), ErrorCode> {
        let member = match instance_id {
            Some(instance_id) => self.static_as(member_id, instance_id).map_err(|refusal| refusal.error)?,
            None => self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?,
        };
        let classic = member.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == generation { Ok((member, classic)) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// Which member is meant. An operator removes static members by instance id alone.
    fn leaver(&self, identity: &MemberIdentity) -> Result<&Member, ErrorCode> {
        match &identity.group_instance_id {
            None => self.members.get(&identity.member_id).ok_or(ErrorCode::UnknownMemberId),
            Some(instance_id) if identity.member_id.is_empty() => {
                self.static_member(instance_id).ok_or(ErrorCode::UnknownMemberId)
            }
            Some(instance_id) => self.static_as(&identity.member_id, instance_id).map_err(|refusal| refusal.error),
        }
    }

    /// Whether something that the member shall have is still held by another.
    fn waits_for_others(&self, member: &Member) -> bool {
        let has = |topic, partition: &i32| {
            member.assigned.get(topic).is_some_and(|assigned| assigned.contains_key(partition))
        };
        let target = self.target.get(&member.id).into_iter().flatten();
        let mut missing = target.flat_map(|(topic, partitions)| {
            partitions.iter().filter(move |partition| !has(topic, partition)).map(move |partition| (*topic, *partition))
        });
        missing.any(|(topic, partition)| self.is_held(topic, partition))
    }
}

#[cfg(test)]
fn former_with_planted_faults(step: &Step<'_>, mut former: Member, replaced: Option<&Member>) -> Member {
    if step.settings.has(Bug::ClassicInstanceLosesPart) && replaced.is_some_and(|replaced| replaced.classic.is_some()) {
        former.assigned.clear();
    }
    former
}

/// The limits that stay as they are, each by its fault.
#[cfg(test)]
fn limits_with_planted_faults(
    step: &Step<'_>,
    member_id: &str,
    faults: &[(Bug, Limit)],
) -> Vec<(crate::group::classic::Timer, milena_base::Millis)> {
    let planted = faults.iter().filter(|(bug, _)| step.settings.has(*bug));
    let timers = planted.map(|(_, limit)| timer(step.group_id, member_id, *limit));
    timers.filter_map(|timer| Some((timer.clone(), step.timers.at(&timer)?))).collect()
}

/// Takes over what a join says.
fn become_classic(member: &mut Member, context: &Context, request: &JoinGroupRequest, subscription: &Subscription) {
    member.instance_id = request.group_instance_id.clone().or(member.instance_id.take());
    member.rack_id = subscription.rack_id.clone().or(member.rack_id.take());
    member.topics.clone_from(&subscription.topics);
    member.regex = Some(String::new());
    member.client_id.clone_from(&context.client_id);
    member.client_host = java_host(context.client_address);
    let protocols = request.protocols.iter().map(|offered| ClassicProtocol {
        name: offered.name.clone(),
        // The request's frame must not live as long as the member.
        metadata: Bytes::copy_from_slice(&offered.metadata),
    });
    let supported_protocols = protocols.collect();
    member.classic =
        Some(ClassicMemberMetadata { session_timeout_ms: request.session_timeout_ms, supported_protocols });
}
