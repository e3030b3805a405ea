//! The machine that owns one partition of `__consumer_offsets`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_protocol::messages::delete_groups_response::DeletableGroupResult;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::{HeartbeatResponse, JoinGroupRequest, OffsetCommitRequest, OffsetCommitResponse};
use milena_protocol::{ErrorCode, Offset, Uuid};

use super::classic::{ClassicGroup, State, Step, Timer};
use super::consumer::Consumers;
use super::kind::Group;
use super::member::Parked;
use super::offsets::Offsets;
use super::record::{self, Parsed};
use super::request::{leave_response, leaving_members, offset_commit_error, offset_fetch_error};
use super::{Context, Request, Response, Settings, admin, commit, expiry};
use crate::timers::Timers;
use crate::{Decision, Entry, Origin, Reply, ReplyTo};

/// What a shard is asked or told.
#[derive(Debug, Clone, PartialEq)]
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
    /// A newer image. What consumer groups subscribe to may have changed.
    Metadata {
        /// The image.
        image: Image,
        /// Whether it has topics that the one before did not have.
        has_new_topics: bool,
        /// Whether any topic is new, gone or grown, or a replica's rack another one.
        have_topics_changed: bool,
    },
    /// Topics that the metadata no longer holds: their offsets are forgotten, a bounded number per [`GroupShard::tick`].
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

/// Why an entry of the log cannot be replayed. The shell gives up the load and reports the partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record of a known type is damaged.
    #[error("the record at offset {offset} is damaged: {reason}")]
    Damaged {
        /// Where it stands.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
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
    /// Consumer groups: no id is in both maps.
    consumers: Consumers,
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
    /// An empty shard, to be loaded: [`GroupShard::replay`] for the whole log, then [`GroupShard::loaded`].
    pub fn new(settings: Settings) -> GroupShard {
        GroupShard {
            settings,
            groups: BTreeMap::new(),
            consumers: Consumers::default(),
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

    /// Follows the log: first all of it, then each record of each decision, before anything else is asked.
    ///
    /// # Errors
    /// If a record of a known type is damaged. Records of unknown types are skipped and counted.
    pub fn replay(&mut self, at: Origin, entry: &Entry) -> Result<(), ReplayError> {
        self.written = self.written.max(Some(at.offset));
        let producer = at.producer.map(|(producer, _)| producer);
        let record = match entry {
            Entry::Record(record) => record,
            Entry::TransactionEnd { committed } => {
                self.written_for_all = Some(at.offset);
                if let Some(producer) = producer {
                    self.offsets.end_transaction(producer, *committed);
                }
                return Ok(());
            }
        };
        let damaged = |reason: String| ReplayError::Damaged { offset: at.offset.0, reason };
        match record::parse(record).map_err(|error| damaged(error.to_string()))? {
            Parsed::Unknown => self.skipped_records += 1,
            Parsed::Offset(key, value) => {
                if value.is_some() && self.find(&key.group).is_none() {
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
            Parsed::Consumer(change) => {
                if !change.is_tombstone() {
                    // At most a simple group, which is no more than its offsets.
                    self.remove_group(&change.group);
                }
                if self.consumers.replay(at.offset, change) {
                    self.written_for_all = Some(at.offset);
                }
            }
            Parsed::Group(key, Some(value)) => {
                self.consumers.groups.remove(&key.group);
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

    fn touch(&mut self, id: &str, at: Offset) {
        if let Some(group) = self.groups.get_mut(id) {
            group.written = Some(at);
        }
        if let Some(group) = self.consumers.groups.get_mut(id) {
            group.written = Some(at);
        }
    }

    /// The group of that name, whatever its kind.
    fn find(&self, id: &str) -> Option<Group<'_>> {
        let consumer = || self.consumers.groups.get(id).map(Group::Consumer);
        self.groups.get(id).map(Group::Classic).or_else(consumer)
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

    /// The whole log is replayed: sessions start, groups above the maximum size rebalance.
    pub fn loaded(&mut self, now: Millis) -> Decision<Response> {
        self.is_live = true;
        self.timers.set(Timer::Expire, now + self.settings.offsets_retention_check_interval);
        let mut decision = Decision::at(now);
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_known(&mut decision, &id, |group, step| {
                for member_id in group.members.keys() {
                    group.refresh_session(step, member_id);
                }
                if group.members.len() > step.settings.size_max {
                    group.prepare(step);
                }
            });
        }
        let ids: Vec<String> = self.consumers.groups.keys().cloned().collect();
        for id in ids {
            self.with_consumers(&mut decision, &id, |consumers, _, step| consumers.start_timers(step));
        }
        decision
    }

    /// Decides about one event.
    pub fn handle(&mut self, now: Millis, event: Event) -> Decision<Response> {
        let mut decision = Decision::at(now);
        match event {
            Event::Request { to, context, request } => self.answer(&mut decision, to, &context, request),
            Event::Metadata { image, has_new_topics, have_topics_changed } => {
                self.set_image(image, has_new_topics, have_topics_changed);
            }
            Event::TopicsDeleted(topics) => {
                self.forgetting.extend(topics);
                if !self.forgetting.is_empty() {
                    self.timers.set(Timer::Forget, now);
                }
            }
        }
        decision
    }

    /// Takes over a newer image, see [`Event::Metadata`]; a shard needs one before [`GroupShard::loaded`].
    pub fn set_image(&mut self, image: Image, has_new_topics: bool, have_topics_changed: bool) {
        self.consumers.set_image(image, has_new_topics, have_topics_changed);
    }

    /// When [`GroupShard::tick`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// Does one thing that is due at `now`, nothing if none is. The shell appends and replays, and calls again
    /// while [`GroupShard::next_deadline`] is not later than `now`.
    pub fn tick(&mut self, now: Millis) -> Decision<Response> {
        let mut decision = Decision::at(now);
        let Some(timer) = self.timers.due(now) else { return decision };
        match timer {
            Timer::Expire => self.expire(&mut decision),
            Timer::Forget => self.forget(&mut decision),
            Timer::ConsumerSession { group, member } => {
                self.with_consumers(&mut decision, &group, |groups, _, step| groups.expired(step, &member, true));
            }
            Timer::ConsumerRebalance { group, member } => {
                self.with_consumers(&mut decision, &group, |groups, _, step| groups.expired(step, &member, false));
            }
            Timer::Regex { group } => {
                self.with_consumers(&mut decision, &group, |groups, _, step| groups.resolve(step));
            }
            Timer::Join { group } => self.with_known(&mut decision, &group, ClassicGroup::join_expired),
            Timer::Sync { group } => self.with_known(&mut decision, &group, ClassicGroup::sync_expired),
            Timer::Session { group, member } => {
                self.with_known(&mut decision, &group, |group, step| group.session_expired(step, &member));
            }
        }
        decision
    }

    /// This node is no longer the coordinator: everybody who waits is told so (NOT_COORDINATOR).
    pub fn unloaded(mut self) -> Vec<Reply<Response>> {
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

    /// Takes over changed settings; running timers keep their deadlines.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Figures for metrics. Looks at every group.
    pub fn counts(&self) -> Counts {
        Counts {
            groups: self.groups.len() + self.consumers.groups.len(),
            members: self.groups.values().map(|group| group.members.len()).sum::<usize>() + self.consumers.members(),
            offsets: self.offsets.count(),
            skipped_records: self.skipped_records,
        }
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

    /// Lets the consumer groups decide about one of theirs; the classic group of that name is at hand.
    fn with_consumers<T>(
        &mut self,
        decision: &mut Decision<Response>,
        id: &str,
        decide: impl FnOnce(&mut Consumers, Option<&ClassicGroup>, &mut Step<'_>) -> T,
    ) -> T {
        let mut step = Step {
            now: decision.timestamp,
            group_id: id,
            settings: &self.settings,
            timers: &mut self.timers,
            records: &mut decision.records,
            replies: &mut Vec::new(),
        };
        decide(&mut self.consumers, self.groups.get(id), &mut step)
    }

    fn written_of(&self, id: &str) -> Option<Offset> {
        let written = match self.find(id) {
            Some(Group::Classic(group)) => group.written,
            Some(Group::Consumer(group)) => group.written,
            None => None,
        };
        written.max(self.written_for_all)
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
            Request::OffsetFetch { group, require_stable } => {
                written = self.written_of(&group.group_id);
                let consumer = self.consumers.groups.get(&group.group_id);
                match consumer.map_or(Ok(()), |consumer| consumer.validate_fetch(&group)) {
                    Ok(()) => Response::OffsetFetch(commit::fetch(&self.offsets, group, require_stable)),
                    Err(error) => Response::OffsetFetch(offset_fetch_error(&group, version, error)),
                }
            }
            Request::OffsetDelete(request) => {
                written = self.written_of(&request.group_id);
                let group = self.find(&request.group_id);
                Response::OffsetDelete(commit::delete(&mut decision.records, group, &self.offsets, request))
            }
            Request::ConsumerHeartbeat(request) => {
                written = self.written_of(&request.group_id);
                let id = request.group_id.clone();
                let is_new = self.find(&id).is_none();
                if is_new && self.consumers.groups.len() + self.groups.len() >= self.settings.groups_max {
                    Request::ConsumerHeartbeat(request).failure(version, ErrorCode::CoordinatorLoadInProgress)
                } else {
                    let beat = |consumers: &mut Consumers, classic: Option<&ClassicGroup>, step: &mut Step<'_>| {
                        consumers.heartbeat(step, context, &request, classic)
                    };
                    Response::ConsumerHeartbeat(self.with_consumers(decision, &id, beat))
                }
            }
            Request::ConsumerDescribe(ids) => {
                let is_classic = |id: &String| self.groups.contains_key(id);
                let described = ids.iter().map(|id| self.consumers.describe(&self.settings, id, is_classic(id)));
                Response::ConsumerDescribe(described.collect())
            }
            Request::DescribeGroups(ids) => {
                let is_consumer = |id: &String| self.consumers.groups.contains_key(id);
                let described = ids.iter().map(|id| admin::describe(id, self.groups.get(id), is_consumer(id), version));
                Response::DescribeGroups(described.collect())
            }
            Request::ListGroups(request) => Response::ListGroups(admin::list(&self.groups, &self.consumers, &request)),
            Request::DeleteGroups(ids) => Response::DeleteGroups(self.delete_groups(decision, ids)),
        };
        decision.replies.push(Reply { to, response, written });
    }

    /// A group is made by the first join without a member id, and written at once, whether or not that join got in.
    fn join(&mut self, decision: &mut Decision<Response>, to: ReplyTo, context: &Context, request: JoinGroupRequest) {
        let parked = Parked { to, version: context.version };
        let id = request.group_id.clone();
        let is_new = !self.groups.contains_key(&id);
        match self.consumers.groups.get(&id) {
            Some(consumer) if !consumer.is_empty() => {
                let error = ErrorCode::InconsistentGroupProtocol;
                return self.with_group(decision, &id, |_, step| step.refuse_join(parked, &request.member_id, error));
            }
            // An empty consumer group gives way; the replay of its tombstones removes it.
            Some(consumer) if request.member_id.is_empty() => {
                Group::Consumer(consumer).tombstones(&mut decision.records, &id);
            }
            _ => {}
        }
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
        if let Some(consumer) = self.consumers.groups.get(&id) {
            return match consumer.validate_commit(&request, version) {
                Ok(()) => self.with_consumers(decision, &id, |_, _, step| commit::write(step, request)),
                Err(error) => offset_commit_error(&request, error),
            };
        }
        if !self.groups.contains_key(&id) && self.groups.len() >= self.settings.groups_max {
            return offset_commit_error(&request, ErrorCode::CoordinatorLoadInProgress);
        }
        let result =
            self.with_group(decision, &id, |group, step| commit::commit(step, group.as_deref(), request, version));
        result.unwrap_or_else(|(request, error)| offset_commit_error(&request, error))
    }

    fn delete_groups(&mut self, decision: &mut Decision<Response>, ids: Vec<String>) -> Vec<DeletableGroupResult> {
        let mut seen = BTreeSet::new();
        let once = ids.into_iter().filter(|id| seen.insert(id.clone()));
        let result = once.map(|group_id| {
            let group = self.find(&group_id);
            let error = admin::delete(&mut decision.records, &group_id, group, &self.offsets);
            DeletableGroupResult { group_id, error_code: error.number() }
        });
        result.collect()
    }

    /// [`Timer::Expire`]: looks through some groups, and comes back for the others.
    fn expire(&mut self, decision: &mut Decision<Response>) {
        let now = decision.timestamp;
        let retention = self.settings.offsets_retention;
        let classic = self.groups.range(self.expire_from.clone()..).map(|(id, group)| (id, Group::Classic(group)));
        let consumer = self.consumers.groups.range(self.expire_from.clone()..);
        let consumer = consumer.map(|(id, group)| (id, Group::Consumer(group)));
        // No more of either kind than the step looks at, in the order of their names.
        let mut groups: Vec<(&String, Group<'_>)> =
            classic.take(expiry::GROUPS_PER_STEP + 1).chain(consumer.take(expiry::GROUPS_PER_STEP + 1)).collect();
        groups.sort_by_key(|(id, _)| *id);
        for (seen, (id, group)) in groups.into_iter().enumerate() {
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

    /// Stops if the shard is in a state that no sequence of events may lead to. To be called between a decision's
    /// replay and the next event; looks at everything.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check(&self) {
        self.offsets.check();
        for (id, group) in &self.consumers.groups {
            group.check();
            assert!(!self.groups.contains_key(id), "{id} is of one kind");
        }
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
