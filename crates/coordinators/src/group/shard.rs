//! The machine that owns one partition of `__consumer_offsets`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;

use milena_base::Millis;
use milena_protocol::messages::delete_groups_response::DeletableGroupResult;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{HeartbeatResponse, JoinGroupRequest, OffsetCommitRequest, OffsetCommitResponse};
use milena_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use milena_protocol::{ErrorCode, Offset, ProducerEpoch, ProducerId, Uuid};

use super::classic::{ClassicGroup, State, Step, Timer};
use super::member::Parked;
use super::offsets::Offsets;
#[cfg(test)]
use super::planted::Bug;
use super::record::{self, Parsed};
use super::request::{leave_response, leaving_members, offset_commit_error, txn_offset_commit_error};
use super::{Context, Request, Response, Settings, admin, commit, expiry};
use crate::timers::Timers;
use crate::{BatchKind, Decision, Entry, Origin, ReplayError, Reply, ReplyTo, Shard};

/// What a shard is asked or told.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is a request")]
pub enum Event {
    /// A request of a client that [`refuse`](super::refuse) let pass.
    Request {
        /// Where the answer goes.
        to: ReplyTo,
        /// Who asks.
        context: Context,
        /// What is asked.
        request: Request,
    },
    /// Topics that the metadata no longer holds: their offsets are forgotten, a bounded number per tick.
    TopicsDeleted(Vec<DeletedTopic>),
}

/// A topic that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its id: offsets of a newer topic of the same name stay.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Groups, simple ones included.
    pub groups: usize,
    /// Members of all groups, without pending ones.
    pub members: usize,
    /// Committed offsets, without those of open transactions.
    pub offsets: usize,
    /// Records of types that are not known here, skipped in replay.
    pub skipped_records: u64,
}

/// Groups and offsets of one partition. See the [crate] for the contract.
///
/// Bounds: [`Settings::groups_max`] groups, [`Settings::size_max`] members and [`Settings::pending_members_max`]
/// pending ones in each, one parked join and one parked sync per member.
#[derive(Debug)]
pub struct GroupShard {
    settings: Settings,
    groups: BTreeMap<String, ClassicGroup>,
    offsets: Offsets,
    timers: Timers<Timer>,
    /// Loaded: what is replayed now was decided here.
    is_live: bool,
    /// The group that expiry goes on with.
    expire_from: String,
    /// Deleted topics whose offsets are still to be forgotten: never more than topics are deleted.
    forgetting: VecDeque<DeletedTopic>,
    /// The group that forgetting the first of them goes on with.
    forget_from: String,
    written: Option<Offset>,
    /// The last record that may concern any group: a group's tombstone, a transaction's marker.
    written_for_all: Option<Offset>,
    skipped_records: u64,
}

impl GroupShard {
    /// An empty shard, to be loaded: [`Shard::replay`] for the whole log, then [`Shard::loaded`].
    pub fn new(settings: Settings) -> GroupShard {
        GroupShard {
            settings,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            timers: Timers::new(),
            is_live: false,
            expire_from: String::new(),
            forgetting: VecDeque::new(),
            forget_from: String::new(),
            written: None,
            written_for_all: None,
            skipped_records: 0,
        }
    }
}

impl Shard for GroupShard {
    type Context = Context;
    type Request = Request;
    type Response = Response;
    type Event = Event;
    /// Groups only answer.
    type Effect = Infallible;
    type Counts = Counts;

    fn asked(to: ReplyTo, context: Context, request: Request) -> Event {
        Event::Request { to, context, request }
    }

    fn version(context: &Context) -> i16 {
        context.version
    }

    fn failure(request: &Request, version: i16, error: ErrorCode) -> Response {
        request.failure(version, error)
    }

    fn failed(response: Response, version: i16, error: ErrorCode) -> Response {
        response.failed(version, error)
    }

    fn replay(&mut self, at: Origin, entry: &Entry) -> Result<(), ReplayError> {
        self.written = self.written.max(Some(at.offset));
        let producer = at.producer.map(|(producer, _)| producer);
        let record = match entry {
            Entry::Record(record) => record,
            Entry::TransactionEnd { committed } => {
                self.written_for_all = Some(at.offset);
                if let Some(producer) = producer {
                    #[cfg(test)]
                    self.offsets.plant(self.settings.has(Bug::OffsetOvertaken));
                    self.offsets.end_transaction(producer, *committed);
                }
                return Ok(());
            }
        };
        let damaged = |reason: String| ReplayError::Damaged { offset: at.offset.0, reason };
        match record::parse(record).map_err(|error| damaged(error.to_string()))? {
            Parsed::Unknown => self.skipped_records += 1,
            Parsed::Offset(key, value) => {
                if value.is_some() && !self.groups.contains_key(&key.group) {
                    // Offsets without members make a simple group. It was empty all the time.
                    self.groups.insert(key.group.clone(), ClassicGroup::new(None));
                }
                self.touch(&key.group, at.offset);
                self.offsets.replay(at.offset, producer, key, value);
            }
            Parsed::Group(key, None) => {
                self.written_for_all = Some(at.offset);
                self.remove_group(&key.group);
            }
            Parsed::Group(key, Some(value)) => {
                match self.groups.get_mut(&key.group) {
                    Some(group) if self.is_live => group.adopt(value),
                    _ => {
                        let group = ClassicGroup::from_record(value);
                        let group = group.ok_or_else(|| damaged("two members with one instance id".to_owned()))?;
                        self.groups.insert(key.group.clone(), group);
                    }
                }
                self.touch(&key.group, at.offset);
            }
        }
        Ok(())
    }

    /// The whole log is replayed: sessions start, groups above the maximum size rebalance.
    fn loaded(&mut self, now: Millis) -> Decision<Response> {
        self.is_live = true;
        self.timers.set(Timer::Expire, now + self.settings.offsets_retention_check_interval);
        let mut decision = Decision::at(now);
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_known(&mut decision, &id, |group, step| {
                #[cfg(test)]
                if step.settings.has(Bug::SessionsLostOnReload) {
                    return;
                }
                for member_id in group.members.keys() {
                    group.refresh_session(step, member_id);
                }
                if group.members.len() > step.settings.size_max {
                    group.prepare(step);
                }
            });
        }
        decision
    }

    fn handle(&mut self, now: Millis, event: Event) -> Decision<Response> {
        let mut decision = Decision::at(now);
        match event {
            Event::Request { to, context, request } => self.answer(&mut decision, to, &context, request),
            Event::TopicsDeleted(topics) => {
                self.forgetting.extend(topics);
                if !self.forgetting.is_empty() {
                    self.timers.set(Timer::Forget, now);
                }
            }
        }
        decision
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn tick(&mut self, now: Millis) -> Decision<Response> {
        let mut decision = Decision::at(now);
        let Some(timer) = self.timers.due(now) else { return decision };
        match timer {
            Timer::Expire => self.expire(&mut decision),
            Timer::Forget => self.forget(&mut decision),
            Timer::Join { group } => self.with_known(&mut decision, &group, ClassicGroup::join_expired),
            Timer::Sync { group } => self.with_known(&mut decision, &group, ClassicGroup::sync_expired),
            Timer::Session { group, member } => {
                self.with_known(&mut decision, &group, |group, step| group.session_expired(step, &member));
            }
        }
        decision
    }

    fn unloaded(mut self) -> Vec<Reply<Response>> {
        let mut decision = Decision::at(Millis::NONE);
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_known(&mut decision, &id, |group, step| group.dismiss(step, ErrorCode::NotCoordinator));
        }
        for reply in &mut decision.replies {
            // Nothing will be committed here any more.
            reply.written = None;
        }
        decision.replies
    }

    fn counts(&self) -> Counts {
        Counts {
            groups: self.groups.len(),
            members: self.groups.values().map(|group| group.members.len()).sum(),
            offsets: self.offsets.count(),
            skipped_records: self.skipped_records,
        }
    }
}

impl GroupShard {
    /// Takes over changed settings; running timers keep their deadlines.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    fn touch(&mut self, id: &str, at: Offset) {
        if let Some(group) = self.groups.get_mut(id) {
            group.written = Some(at);
        }
    }

    fn remove_group(&mut self, id: &str) {
        let Some(group) = self.groups.remove(id) else { return };
        let group_id = || id.to_owned();
        for member in group.members.keys().chain(&group.pending_joins) {
            self.timers.cancel(&Timer::Session { group: group_id(), member: member.clone() });
        }
        self.timers.cancel(&Timer::Join { group: group_id() });
        self.timers.cancel(&Timer::Sync { group: group_id() });
    }

    /// Lets one group decide, and marks its answers with what was written of it.
    fn with_group<T>(
        &mut self,
        decision: &mut Decision<Response>,
        id: &str,
        decide: impl FnOnce(Option<&mut ClassicGroup>, &mut Step<'_>) -> T,
    ) -> T {
        let mut replies = Vec::new();
        let mut step = Step {
            now: decision.timestamp,
            group_id: id,
            settings: &self.settings,
            timers: &mut self.timers,
            records: &mut decision.records,
            replies: &mut replies,
        };
        let result = decide(self.groups.get_mut(id), &mut step);
        let written = self.written_of(id);
        decision.replies.extend(replies.into_iter().map(|(to, response)| Reply { to, response, written }));
        result
    }

    /// [`GroupShard::with_group`] for a group that exists, unless it is gone.
    fn with_known(
        &mut self,
        decision: &mut Decision<Response>,
        id: &str,
        decide: impl FnOnce(&mut ClassicGroup, &mut Step<'_>),
    ) {
        self.with_group(decision, id, |group, step| {
            if let Some(group) = group {
                decide(group, step);
            }
        });
    }

    fn written_of(&self, id: &str) -> Option<Offset> {
        #[cfg(test)]
        if self.settings.has(Bug::AnswerBeforeCommit) {
            return None;
        }
        self.groups.get(id).and_then(|group| group.written).max(self.written_for_all)
    }

    fn answer(&mut self, decision: &mut Decision<Response>, to: ReplyTo, context: &Context, request: Request) {
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
                return self.with_group(decision, &id, |group, step| match group {
                    Some(group) => group.sync(step, request, parked),
                    None => step.refuse_sync(parked, ErrorCode::UnknownMemberId),
                });
            }
            Request::Heartbeat(request) => {
                written = self.written_of(&request.group_id);
                let error = self.with_group(decision, &request.group_id, |group, step| match group {
                    Some(group) => group.heartbeat(step, &request),
                    None => ErrorCode::UnknownMemberId,
                });
                Response::Heartbeat(HeartbeatResponse { error_code: error.number(), ..Default::default() })
            }
            Request::Leave(request) => {
                written = self.written_of(&request.group_id);
                let leaving = leaving_members(&request, version);
                let members = self.with_group(decision, &request.group_id, |group, step| match group {
                    Some(group) => group.leave(step, leaving),
                    None => leaving.into_iter().map(unknown_leaver).collect(),
                });
                Response::Leave(leave_response(version, members))
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
                Response::OffsetFetch(commit::fetch(&self.offsets, group, require_stable))
            }
            Request::OffsetDelete(request) => {
                written = self.written_of(&request.group_id);
                let group = self.groups.get(&request.group_id);
                Response::OffsetDelete(commit::delete(&mut decision.records, group, &self.offsets, request))
            }
            Request::DescribeGroups(ids) => {
                let described = ids.iter().map(|id| admin::describe(id, self.groups.get(id), version));
                Response::DescribeGroups(described.collect())
            }
            Request::ListGroups(request) => Response::ListGroups(admin::list(&self.groups, &request)),
            Request::DeleteGroups(ids) => Response::DeleteGroups(self.delete_groups(decision, ids)),
        };
        decision.replies.push(Reply { to, response, written });
    }

    /// A group is made by the first join without a member id, and written at once, whether or not that join got in.
    fn join(&mut self, decision: &mut Decision<Response>, to: ReplyTo, context: &Context, request: JoinGroupRequest) {
        let parked = Parked { to, version: context.version };
        let id = request.group_id.clone();
        let is_new = !self.groups.contains_key(&id);
        if is_new && request.member_id.is_empty() {
            if self.groups.len() >= self.settings.groups_max {
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

    fn commit(
        &mut self,
        decision: &mut Decision<Response>,
        request: OffsetCommitRequest,
        version: i16,
    ) -> OffsetCommitResponse {
        let id = request.group_id.clone();
        if !self.groups.contains_key(&id) && self.groups.len() >= self.settings.groups_max {
            return offset_commit_error(&request, ErrorCode::CoordinatorLoadInProgress);
        }
        let result =
            self.with_group(decision, &id, |group, step| commit::commit(step, group.as_deref(), request, version));
        result.unwrap_or_else(|(request, error)| offset_commit_error(&request, error))
    }

    /// The records count once the transaction commits; until then the places are unstable (trap 123).
    fn commit_in_transaction(
        &mut self,
        decision: &mut Decision<Response>,
        request: TxnOffsetCommitRequest,
        version: i16,
    ) -> TxnOffsetCommitResponse {
        let id = request.group_id.clone();
        if !self.groups.contains_key(&id) && self.groups.len() >= self.settings.groups_max {
            return txn_offset_commit_error(&request, version, ErrorCode::CoordinatorLoadInProgress);
        }
        let (producer_id, producer_epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
        decision.kind = BatchKind::InTransaction { producer_id, producer_epoch };
        self.with_group(decision, &id, |group, step| commit::commit_in_transaction(step, group.as_deref(), &request))
            .unwrap_or_else(|error| txn_offset_commit_error(&request, version, error))
    }

    fn delete_groups(&mut self, decision: &mut Decision<Response>, ids: Vec<String>) -> Vec<DeletableGroupResult> {
        let mut seen = BTreeSet::new();
        let once = ids.into_iter().filter(|id| seen.insert(id.clone()));
        let result = once.map(|group_id| {
            let group = self.groups.get(&group_id);
            let error = admin::delete(&mut decision.records, &group_id, group, &self.offsets);
            DeletableGroupResult { group_id, error_code: error.number() }
        });
        result.collect()
    }

    /// [`Timer::Expire`]: looks through some groups, and comes back for the others.
    fn expire(&mut self, decision: &mut Decision<Response>) {
        let now = decision.timestamp;
        let retention = self.settings.offsets_retention;
        #[cfg(test)]
        let retention = if self.settings.has(Bug::ExpiryAtOnce) { Millis(0) } else { retention };
        for (seen, (id, group)) in self.groups.range(self.expire_from.clone()..).enumerate() {
            #[cfg(test)]
            if self.settings.has(Bug::TombstoneWithOffsets) && group.state == State::Empty {
                decision.records.push(record::group_tombstone(id));
                continue;
            }
            let is_done = seen < expiry::GROUPS_PER_STEP
                && expiry::expire(&mut decision.records, now, retention, id, group, &self.offsets);
            if !is_done {
                self.expire_from = id.clone();
                return self.timers.set(Timer::Expire, now + Millis(1));
            }
        }
        self.expire_from.clear();
        self.timers.set(Timer::Expire, now + self.settings.offsets_retention_check_interval);
    }

    /// [`Timer::Forget`]: forgets some offsets of the first deleted topic, and comes back for the others.
    fn forget(&mut self, decision: &mut Decision<Response>) {
        let Some(topic) = self.forgetting.front() else { return };
        match expiry::forget_topic(&mut decision.records, topic, &self.forget_from, &self.offsets) {
            Some(group) => self.forget_from = group,
            None => {
                self.forget_from.clear();
                self.forgetting.pop_front();
            }
        }
        if !self.forgetting.is_empty() {
            self.timers.set(Timer::Forget, decision.timestamp + Millis(1));
        }
    }

    #[cfg(test)]
    pub(super) fn classic(&self, id: &str) -> Option<&ClassicGroup> {
        self.groups.get(id)
    }

    #[cfg(test)]
    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&super::offsets::Committed> {
        self.offsets.committed(group, topic, partition)
    }

    /// Stops if the shard is in a state that no sequence of events may lead to. To be called between a decision's
    /// replay and the next event; looks at everything.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check(&self) {
        self.offsets.check();
        let mut with_offsets = self.offsets.groups_from("").map(|(id, _)| id);
        assert!(with_offsets.all(|id| self.groups.contains_key(id)), "whoever has offsets is a group");
        for (id, group) in &self.groups {
            group.check();
            if !self.is_live {
                continue;
            }
            let join = Timer::Join { group: id.clone() };
            assert_eq!(
                self.timers.is_set(&join),
                matches!(group.state, State::Preparing { .. }),
                "{id} waits for joins"
            );
            let sync = Timer::Sync { group: id.clone() };
            assert_eq!(self.timers.is_set(&sync), !group.pending_syncs.is_empty(), "{id} waits for syncs");
            let silent = group.members.iter().filter(|(_, member)| !member.is_excused()).map(|(id, _)| id);
            for member in silent.chain(&group.pending_joins) {
                let session = Timer::Session { group: id.clone(), member: member.clone() };
                assert!(self.timers.is_set(&session), "{member} of {id} has a session");
            }
        }
        for timer in self.timers.names() {
            let (Timer::Session { group, .. } | Timer::Join { group } | Timer::Sync { group }) = timer else {
                continue;
            };
            let group = self.groups.get(group);
            assert!(group.is_some(), "{timer:?} belongs to a group");
            if let Timer::Session { member, .. } = timer {
                let belongs =
                    |group: &ClassicGroup| group.members.contains_key(member) || group.pending_joins.contains(member);
                assert!(group.is_some_and(belongs), "{timer:?} belongs to a member");
            }
        }
    }
}

fn unknown_leaver(member: MemberIdentity) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: ErrorCode::UnknownMemberId.number(),
    }
}
