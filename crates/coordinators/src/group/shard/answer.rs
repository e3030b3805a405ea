//! What the shard answers, one request at a time.

use std::collections::BTreeSet;

use milena_protocol::messages::delete_groups_response::DeletableGroupResult;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use milena_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, OffsetCommitRequest, OffsetCommitResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId};

use super::{Decision, GroupShard, find};
use crate::group::classic::{ClassicGroup, Step};
use crate::group::consumer::Consumers;
use crate::group::kind::Group;
use crate::group::member::Parked;
use crate::group::request::{
    leave_response, leaving_members, offset_commit_error, offset_fetch_error, txn_offset_commit_error,
};
use crate::group::{CheckedHeartbeat, Context, Request, Response, admin, commit, list, record};
use crate::{BatchKind, Reply, ReplyTo};

impl GroupShard {
    /// Answers at once, or parks the request in its group.
    pub(super) fn answer(&mut self, decision: &mut Decision, to: ReplyTo, context: &Context, request: Request) {
        let version = context.version;
        if !request.fits_records(context) {
            let response = request.failure(version, ErrorCode::InvalidRequest);
            return decision.replies.push(Reply { to, response, written: None });
        }
        let mut written = self.written;
        let response = match request {
            Request::Join(request) => return self.join(decision, to, context, request),
            Request::Sync(request) => {
                let parked = Parked { to, version };
                let id = request.group_id.clone();
                if self.consumers.groups.contains_key(&id) {
                    return self.with_consumers(decision, &id, |consumers, _, step| {
                        let response = consumers.classic_sync(step, &request);
                        step.reply_sync(parked, response);
                    });
                }
                return self.with_group(decision, &id, |group, step| match group {
                    Some(group) => group.sync(step, request, parked),
                    None => step.refuse_sync(parked, ErrorCode::UnknownMemberId),
                });
            }
            Request::Heartbeat(request) => {
                written = self.written_of(&request.group_id);
                Response::Heartbeat(self.heartbeat(decision, &request))
            }
            Request::Leave(request) => {
                written = self.written_of(&request.group_id);
                let leaving = leaving_members(&request, version);
                let members = self.leave(decision, &request.group_id, leaving);
                Response::Leave(leave_response(version, members))
            }
            Request::ConsumerHeartbeat(heartbeat) => {
                written = self.written_of(&heartbeat.request.group_id);
                self.consumer_heartbeat(decision, context, heartbeat)
            }
            Request::OffsetCommit(request) => {
                written = self.written_of(&request.group_id);
                Response::OffsetCommit(self.commit(decision, request, version))
            }
            Request::TxnOffsetCommit(request) => {
                written = self.written_of(&request.group_id);
                Response::TxnOffsetCommit(self.commit_in_transaction(decision, request, version))
            }
            Request::EndTransaction(marker) => {
                decision.kind = BatchKind::Marker(marker);
                Response::EndTransaction(ErrorCode::None)
            }
            Request::OffsetFetch { group, require_stable } => {
                written = self.written_of(&group.group_id);
                Response::OffsetFetch(self.fetch(group, require_stable, version))
            }
            Request::OffsetDelete(request) => {
                written = self.written_of(&request.group_id);
                let group = self.find(&request.group_id);
                Response::OffsetDelete(commit::delete(&mut decision.records, group, &self.offsets, request))
            }
            Request::DescribeGroups(ids) => {
                let described = ids.iter().map(|id| admin::describe(id, self.find(id), version));
                Response::DescribeGroups(described.collect())
            }
            Request::ConsumerDescribe(ids) => {
                let is_classic = |id: &String| self.groups.contains_key(id);
                let described = ids.iter().map(|id| self.consumers.describe(&self.settings, id, is_classic(id)));
                Response::ConsumerDescribe(described.collect())
            }
            Request::ListGroups { filters, after } => {
                let page = list::list(&self.groups, &self.consumers, &filters, after.as_deref());
                Response::ListGroups(Ok(page))
            }
            Request::DeleteGroups(ids) => Response::DeleteGroups(self.delete_groups(decision, ids)),
        };
        decision.replies.push(Reply { to, response, written });
    }

    /// A group is made by the first join without a member id, and written at once, whether or not that join got in.
    fn join(&mut self, decision: &mut Decision, to: ReplyTo, context: &Context, request: JoinGroupRequest) {
        let parked = Parked { to, version: context.version };
        let id = request.group_id.clone();
        let is_new = !self.groups.contains_key(&id);
        match self.consumers.groups.get(&id) {
            Some(consumer) if !consumer.is_empty() => {
                return self.with_consumers(decision, &id, |consumers, _, step| {
                    let response = consumers.classic_join(step, context, &request);
                    step.reply_join(parked, response);
                });
            }
            // An empty consumer group gives way; the replay of its tombstones removes it.
            Some(consumer) if request.member_id.is_empty() => {
                Group::Consumer(consumer).tombstones(&mut decision.records, &id);
            }
            _ => {}
        }
        if is_new && request.member_id.is_empty() {
            if !self.has_room_for(&id) {
                let refuse = |step: &mut Step<'_>| step.refuse_join(parked, "", ErrorCode::CoordinatorLoadInProgress);
                return self.with_group(decision, &id, |_, step| refuse(step));
            }
            self.groups.insert(id.clone(), ClassicGroup::new(Some(decision.timestamp)));
        }
        self.with_group(decision, &id, |group, step| {
            let Some(group) = group else {
                return step.refuse_join(parked, &request.member_id, ErrorCode::UnknownMemberId);
            };
            let empty = ClassicGroup::new(Some(step.now)).to_record(|_, _| Default::default());
            group.join(step, context, request, parked);
            if is_new {
                step.records.push(record::group(step.group_id, &empty));
            }
        });
    }

    /// Of a classic member, in a group of either kind.
    fn heartbeat(&mut self, decision: &mut Decision, request: &HeartbeatRequest) -> HeartbeatResponse {
        let id = request.group_id.as_str();
        let error = match self.consumers.groups.contains_key(id) {
            true => self.with_consumers(decision, id, |consumers, _, step| consumers.classic_heartbeat(step, request)),
            false => self.with_group(decision, id, |group, step| match group {
                Some(group) => group.heartbeat(step, request),
                None => ErrorCode::UnknownMemberId,
            }),
        };
        HeartbeatResponse { error_code: error.number(), ..Default::default() }
    }

    fn leave(&mut self, decision: &mut Decision, id: &str, leaving: Vec<MemberIdentity>) -> Vec<MemberResponse> {
        if self.consumers.groups.contains_key(id) {
            return self.with_consumers(decision, id, |consumers, _, step| consumers.classic_leave(step, leaving));
        }
        self.with_group(decision, id, |group, step| match group {
            Some(group) => group.leave(step, leaving),
            None => leaving.into_iter().map(unknown_leaver).collect(),
        })
    }

    fn consumer_heartbeat(
        &mut self,
        decision: &mut Decision,
        context: &Context,
        heartbeat: CheckedHeartbeat,
    ) -> Response {
        let id = heartbeat.request.group_id.clone();
        if !self.has_room_for(&id) {
            let error = ErrorCode::CoordinatorLoadInProgress;
            return Request::ConsumerHeartbeat(heartbeat).failure(context.version, error);
        }
        let beat = |consumers: &mut Consumers, classic: Option<&mut ClassicGroup>, step: &mut Step<'_>| {
            consumers.heartbeat(step, context, &heartbeat, classic)
        };
        Response::ConsumerHeartbeat(self.with_consumers(decision, &id, beat))
    }

    fn commit(&mut self, decision: &mut Decision, request: OffsetCommitRequest, version: i16) -> OffsetCommitResponse {
        let id = request.group_id.clone();
        if !self.has_room_for(&id) {
            return offset_commit_error(&request, ErrorCode::CoordinatorLoadInProgress);
        }
        let result = self.with_offsets(decision, &id, |group, _, step| commit::commit(step, group, request, version));
        result.unwrap_or_else(|(request, error)| offset_commit_error(&request, error))
    }

    /// The records count once the transaction commits; until then the places are unstable (trap 123).
    fn commit_in_transaction(
        &mut self,
        decision: &mut Decision,
        request: TxnOffsetCommitRequest,
        version: i16,
    ) -> TxnOffsetCommitResponse {
        let id = request.group_id.clone();
        if !self.has_room_for(&id) {
            return txn_offset_commit_error(&request, version, ErrorCode::CoordinatorLoadInProgress);
        }
        let (producer_id, producer_epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
        decision.kind = BatchKind::InTransaction { producer_id, producer_epoch };
        let commit = |group: Option<Group<'_>>, consumers: &Consumers, step: &mut Step<'_>| {
            commit::commit_in_transaction(step, group, consumers.image(), &request)
        };
        let result = self.with_offsets(decision, &id, commit);
        result.unwrap_or_else(|error| txn_offset_commit_error(&request, version, error))
    }

    /// Lets the group that offsets are committed for, if there is one, decide whether they may be.
    fn with_offsets<T>(
        &mut self,
        decision: &mut Decision,
        id: &str,
        decide: impl FnOnce(Option<Group<'_>>, &Consumers, &mut Step<'_>) -> T,
    ) -> T {
        let mut step = Step {
            now: decision.timestamp,
            group_id: id,
            settings: &self.settings,
            timers: &mut self.timers,
            records: &mut decision.records,
            replies: &mut Vec::new(),
            effects: &mut decision.effects,
        };
        decide(find(&self.groups, &self.consumers, id), &self.consumers, &mut step)
    }

    fn fetch(&self, group: OffsetFetchRequestGroup, require_stable: bool, version: i16) -> OffsetFetchResponseGroup {
        let consumer = self.consumers.groups.get(&group.group_id);
        match consumer.map_or(Ok(()), |consumer| consumer.validate_fetch(&group)) {
            Ok(()) => commit::fetch(&self.offsets, group, require_stable),
            Err(error) => offset_fetch_error(&group, version, error),
        }
    }

    fn delete_groups(&mut self, decision: &mut Decision, ids: Vec<String>) -> Vec<DeletableGroupResult> {
        let mut seen = BTreeSet::new();
        let once = ids.into_iter().filter(|id| seen.insert(id.clone()));
        let result = once.map(|group_id| {
            let group = self.find(&group_id);
            let error = admin::delete(&mut decision.records, &group_id, group, &self.offsets);
            DeletableGroupResult { group_id, error_code: error.number() }
        });
        result.collect()
    }
}

fn unknown_leaver(member: MemberIdentity) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: ErrorCode::UnknownMemberId.number(),
    }
}
