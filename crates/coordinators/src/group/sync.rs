//! SyncGroup, Heartbeat and LeaveGroup of a classic group.
//!
//! Source: `GroupMetadataManager.classicGroupSync`, `classicGroupHeartbeat`, `classicGroupLeave`.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{HeartbeatRequest, SyncGroupRequest, SyncGroupResponse};

use super::classic::{ClassicGroup, State, Step};
use super::member::Parked;
#[cfg(test)]
use super::planted::Bug;
use super::rebalance::sync_timer;
use super::record;

impl ClassicGroup {
    /// One SyncGroup: the leader hands in the assignment, all others wait for it.
    pub(super) fn sync(&mut self, step: &mut Step<'_>, request: SyncGroupRequest, parked: Parked) {
        if let Err(error) = self.validate_sync(&request) {
            return step.refuse_sync(parked, error);
        }
        let member_id = &request.member_id;
        match self.state {
            State::Empty => step.refuse_sync(parked, ErrorCode::UnknownMemberId),
            State::Preparing { .. } => step.refuse_sync(parked, ErrorCode::RebalanceInProgress),
            State::Completing => {
                self.has_synced(step, member_id);
                if let Some(member) = self.members.get_mut(member_id)
                    && let Some(former) = member.sync.replace(parked)
                {
                    // Kafka would leave the former one without an answer.
                    step.refuse_sync(former, ErrorCode::RebalanceInProgress);
                }
                if self.is_leader(member_id) {
                    self.assign(step, request);
                }
            }
            State::Stable => {
                self.has_synced(step, member_id);
                let assignment = self.members.get(member_id).map(|member| member.assignment.clone());
                let response = self.synced(assignment.unwrap_or_default());
                step.reply_sync(parked, response);
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |given: &Option<String>, own: &Option<String>| given.is_some() && own.is_some() && given != own;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn has_synced(&mut self, step: &mut Step<'_>, member_id: &str) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            step.timers.cancel(&sync_timer(step));
        }
    }

    /// The generation is finished: its photograph goes to the log, and with it (never before it) everybody who
    /// waits gets their part. Members that the leader forgot get nothing. The replay of the record makes the
    /// group stable.
    fn assign(&mut self, step: &mut Step<'_>, request: SyncGroupRequest) {
        let assignments = request.assignments.into_iter();
        let assignments: BTreeMap<String, Bytes> =
            assignments.map(|given| (given.member_id, Bytes::copy_from_slice(&given.assignment))).collect();
        let part = |member_id: &str| assignments.get(member_id).cloned().unwrap_or_default();
        let photograph = self.to_record(|member_id, _| part(member_id));
        #[cfg(test)]
        if step.settings.has(Bug::SyncBeforeRecord) {
            self.adopt(photograph.clone());
        } else {
            step.records.push(record::group(step.group_id, &photograph));
        }
        #[cfg(not(test))]
        step.records.push(record::group(step.group_id, &photograph));
        let answer = self.synced(Bytes::new());
        for (member_id, member) in &mut self.members {
            if let Some(parked) = member.sync.take() {
                step.reply_sync(parked, SyncGroupResponse { assignment: part(member_id), ..answer.clone() });
                step.set_session(member_id, member.session_timeout_ms);
            }
        }
    }

    fn synced(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment,
            ..Default::default()
        }
    }

    /// One Heartbeat: the error to answer it with, if any.
    pub(super) fn heartbeat(&mut self, step: &mut Step<'_>, request: &HeartbeatRequest) -> ErrorCode {
        if let Err(error) = self.validate_member(&request.member_id, request.group_instance_id.as_deref()) {
            #[cfg(test)]
            if step.settings.has(Bug::InstanceNotFenced) {
                return ErrorCode::UnknownMemberId;
            }
            return error;
        }
        if request.generation_id != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.refresh_session(step, &request.member_id);
        match self.state {
            State::Preparing { .. } => ErrorCode::RebalanceInProgress,
            State::Empty | State::Completing | State::Stable => ErrorCode::None,
        }
    }

    /// The member gave a sign of life.
    pub(super) fn refresh_session(&self, step: &mut Step<'_>, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            step.set_session(member_id, member.session_timeout_ms);
        }
    }

    /// One LeaveGroup, of any number of members.
    pub(super) fn leave(&mut self, step: &mut Step<'_>, leaving: Vec<MemberIdentity>) -> Vec<MemberResponse> {
        let mut responses = Vec::with_capacity(leaving.len());
        for member in leaving {
            let instance_id = member.group_instance_id.as_deref();
            let left = match self.leaver(&member.member_id, instance_id) {
                Ok(member_id) => {
                    self.remove(step, &member_id, ErrorCode::UnknownMemberId);
                    ErrorCode::None
                }
                Err(error) => error,
            };
            responses.push(MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: left.number(),
            });
        }
        let somebody_left = responses.iter().any(|response| response.error_code == 0);
        if somebody_left && self.state != State::Empty {
            self.prepare_or_complete(step);
        }
        responses
    }

    /// Which member or pending member is meant. An operator removes static members by instance id alone.
    fn leaver(&self, member_id: &str, instance_id: Option<&str>) -> Result<String, ErrorCode> {
        if member_id.is_empty() {
            let known = instance_id.and_then(|instance_id| self.static_members.get(instance_id));
            return known.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if !self.pending_joins.contains(member_id) {
            self.validate_member(member_id, instance_id)?;
        }
        Ok(member_id.to_owned())
    }
}
