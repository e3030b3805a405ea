//! JoinGroup: who may come in, under which id, and whether that starts a rebalance.
//!
//! Source: `GroupMetadataManager.classicGroupJoin...`.

use bytes::Bytes;
use milena_metadata::java::java_address;
use milena_protocol::ErrorCode;
use milena_protocol::messages::join_group_response::JoinGroupResponseMember;
use milena_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::Context;
use super::classic::{ClassicGroup, State, Step};
use super::member::{Member, Parked};
#[cfg(test)]
use super::planted::Bug;
use super::record;

/// First version whose members must come back with the id that they were given (KIP-394).
pub(super) const KNOWN_MEMBER_ID_VERSION: i16 = 4;
/// First version that lets a returning static leader skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

impl ClassicGroup {
    /// One JoinGroup.
    pub(super) fn join(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        mut request: JoinGroupRequest,
        parked: Parked,
    ) {
        if context.version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        for protocol in &mut request.protocols {
            // The request's frame must not live as long as the member.
            protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
        }
        if !self.has_room_for(step, &request.member_id) {
            let member_id = std::mem::take(&mut request.member_id);
            self.remove(step, &member_id, ErrorCode::GroupMaxSizeReached);
            step.refuse_join(parked, "", ErrorCode::GroupMaxSizeReached);
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            step.refuse_join(parked, &request.member_id, ErrorCode::InconsistentGroupProtocol);
        } else if request.member_id.is_empty() {
            self.join_new(step, context, request, parked);
        } else {
            self.join_existing(step, context, request, parked);
        }
    }

    /// While a rebalance is prepared those who wait are counted, so that former members win over new ones.
    fn has_room_for(&self, step: &Step<'_>, member_id: &str) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::Preparing { .. } => {
                member.is_some_and(|member| member.join.is_some()) || self.awaiting_joins < step.settings.size_max
            }
            State::Completing | State::Stable => member.is_some() || self.members.len() < step.settings.size_max,
        }
    }

    fn join_new(&mut self, step: &mut Step<'_>, context: &Context, request: JoinGroupRequest, parked: Parked) {
        let name = request.group_instance_id.as_deref().unwrap_or(&context.client_id);
        let member_id = format!("{name}-{}", uuid_text(context.random));
        let Some(instance_id) = &request.group_instance_id else {
            if context.version < KNOWN_MEMBER_ID_VERSION {
                return self.add_member(step, context, request, member_id, parked);
            }
            if self.pending_joins.len() >= step.settings.pending_members_max {
                return step.refuse_join(parked, "", ErrorCode::CoordinatorLoadInProgress);
            }
            step.set_session(&member_id, request.session_timeout_ms);
            step.refuse_join(parked, &member_id, ErrorCode::MemberIdRequired);
            self.pending_joins.insert(member_id);
            return;
        };
        match self.static_members.get(instance_id).cloned() {
            Some(former) => self.replace_static(step, request, &former, member_id, parked),
            None => self.add_member(step, context, request, member_id, parked),
        }
    }

    fn join_existing(&mut self, step: &mut Step<'_>, context: &Context, request: JoinGroupRequest, parked: Parked) {
        let member_id = request.member_id.clone();
        if self.pending_joins.contains(&member_id) {
            if request.group_instance_id.is_some() {
                // Static members are never pending: this id belongs to somebody else.
                return step.refuse_join(parked, "", ErrorCode::UnknownServerError);
            }
            return self.add_member(step, context, request, member_id, parked);
        }
        if let Err(error) = self.validate_member(&member_id, request.group_instance_id.as_deref()) {
            return step.refuse_join(parked, &member_id, error);
        }
        let unchanged = self.members.get(&member_id).is_some_and(|member| member.protocols == request.protocols);
        // A member whose answer was lost asks again and is told the same. A leader that joins a stable group wants
        // a new assignment.
        let repeated = match self.state {
            State::Completing => unchanged,
            State::Stable => unchanged && !self.is_leader(&member_id),
            State::Empty | State::Preparing { .. } => false,
        };
        if repeated {
            let response = self.joined(&member_id);
            step.reply_join(parked, response);
        } else {
            self.update_member(step, &member_id, request, parked);
            self.prepare_or_complete(step);
        }
    }

    /// What a member is told of the generation. Only the leader learns of the others.
    pub(super) fn joined(&self, member_id: &str) -> JoinGroupResponse {
        let protocol = self.protocol_name.as_deref();
        let members = self.members.iter().filter(|_| self.is_leader(member_id));
        let members = members.map(|(id, member)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: members.collect(),
            ..Default::default()
        }
    }

    fn add_member(
        &mut self,
        step: &mut Step<'_>,
        context: &Context,
        request: JoinGroupRequest,
        member_id: String,
        parked: Parked,
    ) {
        if let Some(delay) = &mut self.first_delay {
            delay.joined = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if let Some(instance_id) = &request.group_instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
        let member = Member {
            instance_id: request.group_instance_id,
            client_id: context.client_id.clone(),
            client_host: java_host(context.client_address),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
        };
        self.leader.get_or_insert_with(|| member_id.clone());
        self.pending_joins.remove(&member_id);
        self.members.insert(member_id.clone(), member);
        self.park_join(step, &member_id, parked);
        // A first join may have to wait for long; a client that gave up meanwhile must not stay for ever.
        step.set_session(&member_id, step.settings.new_member_join_timeout_ms);
        self.prepare_or_complete(step);
    }

    fn update_member(&mut self, step: &mut Step<'_>, member_id: &str, request: JoinGroupRequest, parked: Parked) {
        #[cfg(test)]
        if step.settings.has(Bug::JoinForgotten) && matches!(self.state, State::Preparing { .. }) {
            return;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.protocols = request.protocols;
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        }
        self.park_join(step, member_id, parked);
    }

    /// A static member came back under a new id. Its assignment is still its own, so that nothing has to move
    /// unless another protocol would be selected now.
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        request: JoinGroupRequest,
        former: &str,
        member_id: String,
        parked: Parked,
    ) {
        let former_leader = self.leader.clone();
        self.rename_static(step, former, &member_id);
        self.update_member(step, &member_id, request, parked);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol_name => {
                let photograph = self.to_record(|_, member| member.assignment.clone());
                step.records.push(record::group(step.group_id, &photograph));
                let mut response = self.joined(&member_id);
                if parked.version >= SKIP_ASSIGNMENT_VERSION {
                    response.skip_assignment = self.is_leader(&member_id);
                } else {
                    // Told of its new id, an old leader would assign anew; under the former one it only follows.
                    response.leader = former_leader.unwrap_or_default();
                    response.members.clear();
                }
                if let Some(parked) = self.unpark_join(&member_id) {
                    step.reply_join(parked, response);
                }
            }
            State::Stable | State::Completing => self.prepare(step),
            State::Empty | State::Preparing { .. } => self.complete_if_all_joined(step),
        }
    }

    /// Puts the new id in the former one's place. Whoever still waits under the former one is fenced.
    fn rename_static(&mut self, step: &mut Step<'_>, former: &str, member_id: &str) {
        if let Some(fenced) = self.unpark_join(former) {
            step.refuse_join(fenced, former, ErrorCode::FencedInstanceId);
        }
        let Some(mut member) = self.members.remove(former) else { return };
        if let Some(fenced) = member.sync.take() {
            step.refuse_sync(fenced, ErrorCode::FencedInstanceId);
        }
        member.is_new = false;
        step.cancel_session(former);
        step.set_session(member_id, member.session_timeout_ms);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.to_owned());
        }
        if self.is_leader(former) {
            self.leader = Some(member_id.to_owned());
        }
        if self.pending_syncs.remove(former) {
            self.pending_syncs.insert(member_id.to_owned());
        }
        #[cfg(test)]
        if step.settings.has(Bug::StaticMemberTwice) {
            self.members.insert(former.to_owned(), member.clone());
        }
        self.members.insert(member_id.to_owned(), member);
    }
}

/// A version-4 UUID as Java prints it.
fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = format!("{:032x}", u128::from_be_bytes(bytes));
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

/// A client's host as Kafka names it: behind a slash.
pub(super) fn java_host(address: core::net::IpAddr) -> String {
    format!("/{}", java_address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_end_in_javas_form_of_a_uuid() {
        assert_eq!(uuid_text([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid_text([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
