//! The machine that owns one partition of `__consumer_offsets`. Here is what it keeps, how it follows its log, and how a
//! group gets to decide; what it answers is in `answer`, what goes with time in `aging`.

mod aging;
mod answer;
mod check;

use std::collections::{BTreeMap, VecDeque};

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_protocol::{ErrorCode, Offset};

use super::classic::{ClassicGroup, Step, Timer};
use super::consumer::Consumers;
use super::event::{Counts, DeletedTopic, Effect, Event};
use super::kind::Group;
use super::offsets::Offsets;
#[cfg(test)]
use super::planted::Bug;
use super::record::{self, Parsed};
use super::{Context, Request, Response, Settings, weight};
use crate::timers::Timers;
use crate::{Entry, Origin, ReplayError, Reply, ReplyTo, Shard};

/// What follows from one event.
type Decision = crate::Decision<Response, Effect>;

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
    /// An empty shard, to be loaded: [`Shard::replay`] for the whole log, [`GroupShard::set_image`], then
    /// [`Shard::loaded`].
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

    /// Takes over a newer image, see [`Event::Metadata`].
    pub fn set_image(&mut self, image: Image, has_new_topics: bool, have_topics_changed: bool) {
        self.consumers.set_image(image, has_new_topics, have_topics_changed);
    }
}

impl Shard for GroupShard {
    type Context = Context;
    type Request = Request;
    type Response = Response;
    type Event = Event;
    type Effect = Effect;
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

    fn weigh(&self, request: &Request) -> usize {
        match request {
            Request::OffsetFetch { group, .. } => weight::offset_fetch(&self.offsets, group),
            Request::DescribeGroups(ids) => ids.iter().map(|id| weight::describe(id, self.find(id))).sum(),
            Request::ConsumerDescribe(ids) => ids.iter().map(|id| self.consumers.weigh(id)).sum(),
            _ => 0,
        }
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
            Parsed::Group(key, Some(value)) => {
                self.consumers.remove(&key.group, &mut self.timers);
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
            Parsed::Consumer(change) => {
                if !change.is_tombstone() {
                    // At most a simple group, which is no more than its offsets.
                    self.remove_group(&change.group);
                }
                if self.consumers.replay(at.offset, change, &mut self.timers) {
                    self.written_for_all = Some(at.offset);
                }
            }
        }
        Ok(())
    }

    /// The whole log is replayed: sessions start, groups above the maximum size rebalance.
    fn loaded(&mut self, now: Millis) -> Decision {
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
        let ids: Vec<String> = self.consumers.groups.keys().cloned().collect();
        for id in ids {
            self.with_consumers(&mut decision, &id, |consumers, _, step| consumers.start_timers(step));
        }
        decision
    }

    fn handle(&mut self, now: Millis, event: Event) -> Decision {
        let mut decision = Decision::at(now);
        match event {
            Event::Request { to, context, request } => self.answer(&mut decision, to, &context, request),
            Event::Metadata { image, has_new_topics, have_topics_changed } => {
                self.set_image(image, has_new_topics, have_topics_changed);
            }
            Event::Settings(settings) => self.settings = settings,
            Event::TopicsDeleted(topics) => {
                self.forgetting.extend(topics);
                if !self.forgetting.is_empty() {
                    self.timers.set(Timer::Forget, now);
                }
            }
            Event::Matched { group, matches, version } => {
                self.with_consumers(&mut decision, &group, |groups, _, step| groups.matched(step, matches, version));
            }
        }
        decision
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn tick(&mut self, now: Millis) -> Decision {
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
            Timer::Downgraded { group } => self.with_known(&mut decision, &group, ClassicGroup::prepare),
            Timer::Member { group, member, limit } => {
                self.with_consumers(&mut decision, &group, |groups, _, step| groups.expired(step, &member, limit));
            }
            Timer::Regex { group } => {
                self.with_consumers(&mut decision, &group, |groups, _, step| groups.match_expressions(step));
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
            groups: self.groups.len() + self.consumers.groups.len(),
            members: self.groups.values().map(|group| group.members.len()).sum::<usize>() + self.consumers.members(),
            offsets: self.offsets.count(),
            skipped_records: self.skipped_records,
        }
    }
}

impl GroupShard {
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
        find(&self.groups, &self.consumers, id)
    }

    /// Whether a group that is not there yet may come.
    fn has_room_for(&self, id: &str) -> bool {
        self.find(id).is_some() || self.groups.len() + self.consumers.groups.len() < self.settings.groups_max
    }

    fn remove_group(&mut self, id: &str) {
        let Some(group) = self.groups.remove(id) else { return };
        let group_id = || id.to_owned();
        for member in group.members.keys().chain(&group.pending_joins) {
            self.timers.cancel(&Timer::Session { group: group_id(), member: member.clone() });
        }
        self.timers.cancel(&Timer::Join { group: group_id() });
        self.timers.cancel(&Timer::Sync { group: group_id() });
        self.timers.cancel(&Timer::Downgraded { group: group_id() });
    }

    /// Lets one classic group decide, and marks its answers with what was written of it.
    fn with_group<T>(
        &mut self,
        decision: &mut Decision,
        id: &str,
        decide: impl FnOnce(Option<&mut ClassicGroup>, &mut Step<'_>) -> T,
    ) -> T {
        self.with_consumers(decision, id, |_, group, step| decide(group, step))
    }

    /// [`GroupShard::with_group`] for a group that exists, unless it is gone.
    fn with_known(&mut self, decision: &mut Decision, id: &str, decide: impl FnOnce(&mut ClassicGroup, &mut Step<'_>)) {
        self.with_group(decision, id, |group, step| {
            if let Some(group) = group {
                decide(group, step);
            }
        });
    }

    /// Lets the consumer groups decide about one of theirs; the classic group of that name is at hand.
    fn with_consumers<T>(
        &mut self,
        decision: &mut Decision,
        id: &str,
        decide: impl FnOnce(&mut Consumers, Option<&mut ClassicGroup>, &mut Step<'_>) -> T,
    ) -> T {
        let mut replies = Vec::new();
        let mut step = Step {
            now: decision.timestamp,
            group_id: id,
            settings: &self.settings,
            timers: &mut self.timers,
            records: &mut decision.records,
            replies: &mut replies,
            effects: &mut decision.effects,
        };
        let result = decide(&mut self.consumers, self.groups.get_mut(id), &mut step);
        let written = self.written_of(id);
        decision.replies.extend(replies.into_iter().map(|(to, response)| Reply { to, response, written }));
        result
    }

    fn written_of(&self, id: &str) -> Option<Offset> {
        #[cfg(test)]
        if self.settings.has(Bug::AnswerBeforeCommit) {
            return None;
        }
        self.find(id).and_then(Group::written).max(self.written_for_all)
    }

    #[cfg(test)]
    pub(super) fn classic(&self, id: &str) -> Option<&ClassicGroup> {
        self.groups.get(id)
    }

    #[cfg(test)]
    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&super::offsets::Committed> {
        self.offsets.committed(group, topic, partition)
    }
}

fn find<'a>(groups: &'a BTreeMap<String, ClassicGroup>, consumers: &'a Consumers, id: &str) -> Option<Group<'a>> {
    let consumer = || consumers.groups.get(id).map(Group::Consumer);
    groups.get(id).map(Group::Classic).or_else(consumer)
}
