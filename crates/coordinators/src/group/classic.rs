//! A classic group: its members and the state of its rebalance. A group lives in memory between two records: each
//! record is a photograph of a finished generation, what happens in between is soft and lost with the shard.
//!
//! ```text
//!                ┌──────────── everybody left ─────────────┐
//!                ▼                                         │
//!             Empty ── first join, delay ──► PreparingRebalance ◄── a join, leave, expiry ──┐
//!                                              │   ▲                                        │
//!                             all joined, or   │   │ a join, leave, expiry                  │
//!                             the timeout      ▼   │                                        │
//!                                        CompletingRebalance ── the leader's sync ──► Stable
//! ```
//!
//! Source: `ClassicGroup`, `ClassicGroupState`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena_base::Millis;
use milena_metadata::java::java_hash;
use milena_protocol::messages::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::{ConsumerProtocolSubscription, JoinGroupResponse, SyncGroupResponse};
use milena_protocol::wire::Decoder;
use milena_protocol::{ErrorCode, Message, Offset};

use super::consumer::limits::Limit;
use super::member::{Member, Parked};
#[cfg(test)]
use super::planted::Bug;
use super::protocols::common_protocols;
use super::request::join_response;
use super::{Effect, Response, Settings};
use crate::timers::Timers;
use crate::{CoordinatorRecord, ReplyTo};

/// Protocol type of consumers; others (Connect, Schema Registry) have their own.
const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// What a shard wants to be woken for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A member or pending member was silent for too long.
    Session { group: String, member: String },
    /// Whoever has not joined is left behind, or the delay of the first rebalance is over.
    Join { group: String },
    /// Whoever has not synced is removed.
    Sync { group: String },
    /// A member of a consumer group let a time limit pass.
    Member { group: String, member: String, limit: Limit },
    /// A consumer group has just become a classic one: it rebalances.
    Downgraded { group: String },
    /// Regular expressions of a consumer group are to be matched.
    Regex { group: String },
    /// Offsets and groups are looked through for expiry.
    Expire,
    /// Offsets of deleted topics are being forgotten.
    Forget,
}

/// What a group may use while it decides: time, limits, timers, and where the results go.
pub(super) struct Step<'a> {
    pub(super) now: Millis,
    pub(super) group_id: &'a str,
    pub(super) settings: &'a Settings,
    pub(super) timers: &'a mut Timers<Timer>,
    pub(super) records: &'a mut Vec<CoordinatorRecord>,
    pub(super) replies: &'a mut Vec<(ReplyTo, Response)>,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    pub(super) fn reply_join(&mut self, parked: Parked, response: JoinGroupResponse) {
        self.replies.push((parked.to, Response::Join(join_response(parked.version, response))));
    }

    pub(super) fn refuse_join(&mut self, parked: Parked, member_id: &str, error: ErrorCode) {
        let member_id = member_id.to_owned();
        self.reply_join(parked, JoinGroupResponse { member_id, error_code: error.number(), ..Default::default() });
    }

    pub(super) fn reply_sync(&mut self, parked: Parked, response: SyncGroupResponse) {
        self.replies.push((parked.to, Response::Sync(response)));
    }

    pub(super) fn refuse_sync(&mut self, parked: Parked, error: ErrorCode) {
        self.reply_sync(parked, SyncGroupResponse { error_code: error.number(), ..Default::default() });
    }

    pub(super) fn set_session(&mut self, member_id: &str, timeout_ms: i32) {
        let timer = self.session(member_id);
        self.timers.set(timer, self.now + Millis(i64::from(timeout_ms)));
    }

    pub(super) fn cancel_session(&mut self, member_id: &str) {
        let timer = self.session(member_id);
        self.timers.cancel(&timer);
    }

    fn session(&self, member_id: &str) -> Timer {
        Timer::Session { group: self.group_id.to_owned(), member: member_id.to_owned() }
    }
}

/// Where a group stands. A group that is gone has no state; to clients it is "Dead".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Waits for members to join. `first`: after it was empty, which begins with a delay.
    Preparing { first: bool },
    /// All know the generation; waits for the leader's assignment.
    Completing,
    /// All have, or can fetch, their assignment.
    Stable,
}

impl State {
    /// As DescribeGroups and ListGroups spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The delay of a first rebalance that is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstDelay {
    pub(super) delay_ms: i32,
    /// What the delay may be prolonged by, up to the rebalance timeout.
    pub(super) remaining_ms: i32,
    /// Somebody joined since the delay began.
    pub(super) joined: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassicGroup {
    pub(super) state: State,
    /// Since when; offsets of an empty group age from here. Old records do not say it.
    pub(super) state_since: Option<Millis>,
    /// None as long as nobody has ever joined: a simple group, which only stores offsets.
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) generation: i32,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    pub(super) static_members: BTreeMap<String, String>,
    /// Ids that were given out and have not joined yet (KIP-394).
    pub(super) pending_joins: BTreeSet<String>,
    /// Members that have not fetched the assignment of this generation.
    pub(super) pending_syncs: BTreeSet<String>,
    /// How many members wait in a join.
    pub(super) awaiting_joins: usize,
    /// None where the coordinator cannot know.
    pub(super) subscribed_topics: Option<BTreeSet<String>>,
    pub(super) first_delay: Option<FirstDelay>,
    /// The last record that touched the group.
    pub(super) written: Option<Offset>,
}

impl ClassicGroup {
    /// An empty group that nobody has joined.
    pub(super) fn new(state_since: Option<Millis>) -> ClassicGroup {
        ClassicGroup {
            state: State::Empty,
            state_since,
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            awaiting_joins: 0,
            subscribed_topics: None,
            first_delay: None,
            written: None,
        }
    }

    /// The group as its record tells it. `None` if two members claim the same instance id.
    pub(super) fn from_record(value: GroupMetadataValue) -> Option<ClassicGroup> {
        let since = (value.current_state_timestamp != -1).then_some(Millis(value.current_state_timestamp));
        let mut group = ClassicGroup::new(since);
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        group.leader = value.leader;
        for member in value.members {
            let name = value.protocol.clone().unwrap_or_default();
            if let Some(instance_id) = &member.group_instance_id
                && group.static_members.insert(instance_id.clone(), member.member_id.clone()).is_some()
            {
                return None;
            }
            let timeout = member.rebalance_timeout;
            let loaded = Member {
                instance_id: member.group_instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: if timeout == -1 { member.session_timeout } else { timeout },
                session_timeout_ms: member.session_timeout,
                protocols: vec![JoinGroupRequestProtocol { name, metadata: member.subscription }],
                assignment: member.assignment,
                join: None,
                sync: None,
                is_new: false,
            };
            group.members.insert(member.member_id, loaded);
        }
        group.protocol_name = value.protocol;
        // A leader that is no member could never be waited for.
        if !group.leader.as_ref().is_some_and(|leader| group.members.contains_key(leader)) {
            group.leader = group.members.keys().next().cloned();
        }
        group.subscribed_topics = group.subscriptions();
        Some(group)
    }

    /// The photograph. `assignment` says who gets what.
    pub(super) fn to_record(&self, assignment: impl Fn(&str, &Member) -> Bytes) -> GroupMetadataValue {
        let protocol = self.protocol_name.as_deref();
        let members = self.members.iter().map(|(id, member)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment(id, member),
        });
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since.unwrap_or(Millis::NONE).0,
            members: members.collect(),
        }
    }

    /// Takes over what one of our own records made durable. Nothing else has happened since it was decided.
    pub(super) fn adopt(&mut self, value: GroupMetadataValue) {
        // The first record of a group is empty while its first members already wait: nothing to take over.
        if value.members.is_empty() {
            return;
        }
        self.state = State::Stable;
        for written in value.members {
            if let Some(member) = self.members.get_mut(&written.member_id) {
                member.assignment = written.assignment;
            }
        }
    }

    pub(super) fn transition(&mut self, now: Millis, state: State) {
        self.state = state;
        self.state_since = Some(now);
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether that member exists and is who it says: an instance id belongs to its latest member id alone.
    pub(super) fn validate_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether whoever offers this could take part: of the same kind, with a protocol that all members have.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && !common_protocols(protocols.iter().map(|offered| offered.name.as_str()), self.offers()).is_empty()
    }

    /// What each member offers.
    fn offers(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.members.values().map(Member::offers)
    }

    /// Each member votes for its most wanted one among those that all have; the most votes win. Equal votes are
    /// decided as Java's hash table would: by the bucket of the name.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let candidates = common_protocols(self.offers().next()?, self.offers());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wanted =
                member.protocols.iter().find(|offered| candidates.binary_search(&offered.name.as_str()).is_ok());
            *votes.entry(&wanted?.name).or_default() += 1;
        }
        let bucket = |name: &str| {
            let hash = java_hash(name) as u32;
            (hash ^ hash >> 16) & 15
        };
        let winner = votes.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(bucket(name))));
        winner.map(|(name, _)| name.to_owned())
    }

    /// The longest that any member asks for.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.awaiting_joins == self.members.len() && self.pending_joins.is_empty()
    }

    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// Where the subscriptions cannot be read, a consumer group may be subscribed to everything.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed_topics.as_ref().map_or(self.is_consumer(), |topics| topics.contains(topic))
    }

    /// The topics of all members, as far as they speak the consumer protocol. Every version begins like version 0.
    pub(super) fn subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.is_consumer() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let mut decoder = Decoder::new(member.metadata(Some(protocol)));
            decoder.i16().ok()?;
            topics.extend(ConsumerProtocolSubscription::decode(&mut decoder, 0).ok()?.topics);
        }
        Some(topics)
    }

    /// Lets a member wait in a join. Its former join, if it waits in one, is told to come again: every request is
    /// answered, though Kafka would leave that one without an answer.
    pub(super) fn park_join(&mut self, step: &mut Step<'_>, member_id: &str, parked: Parked) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        match member.join.replace(parked) {
            None => self.awaiting_joins += 1,
            #[cfg(test)]
            Some(_) if step.settings.has(Bug::FormerJoinUnanswered) => {}
            Some(former) => step.refuse_join(former, member_id, ErrorCode::RebalanceInProgress),
        }
    }

    /// Takes the join that a member waits in.
    pub(super) fn unpark_join(&mut self, member_id: &str) -> Option<Parked> {
        let parked = self.members.get_mut(member_id)?.join.take()?;
        self.awaiting_joins -= 1;
        Some(parked)
    }

    /// Removes a member or pending member with its session. Requests that it waits in are answered `error`.
    pub(super) fn remove(&mut self, step: &mut Step<'_>, member_id: &str, error: ErrorCode) {
        step.cancel_session(member_id);
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        if let Some(parked) = self.unpark_join(member_id) {
            step.refuse_join(parked, "", error);
        }
        let Some(member) = self.members.remove(member_id) else { return };
        if let Some(parked) = member.sync {
            step.refuse_sync(parked, error);
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        #[cfg(test)]
        if step.settings.has(Bug::LeaderNotReplaced) {
            return;
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Stops if the group is in a state that no sequence of events may lead to.
    pub(super) fn check(&self) {
        let awaiting = self.members.values().filter(|member| member.join.is_some()).count();
        assert_eq!(awaiting, self.awaiting_joins, "joins that wait are counted");
        assert_eq!(self.leader.is_none(), self.members.is_empty(), "whoever has members has one leader");
        assert!(self.leader.iter().all(|leader| self.members.contains_key(leader)), "the leader is a member");
        assert!(self.pending_joins.iter().all(|id| !self.members.contains_key(id)), "pending ones are no members");
        assert!(self.pending_syncs.iter().all(|id| self.members.contains_key(id)), "only members can sync");
        let instances = self.members.iter().filter_map(|(id, member)| Some((member.instance_id.clone()?, id.clone())));
        assert_eq!(instances.collect::<BTreeMap<_, _>>(), self.static_members, "instance ids lead to their members");
        for (id, member) in &self.members {
            assert!(member.join.is_none() || member.sync.is_none(), "{id} waits in one request at most");
            assert!(
                member.join.is_none() || matches!(self.state, State::Preparing { .. }),
                "{id} joins while preparing"
            );
            assert!(member.sync.is_none() || self.state == State::Completing, "{id} syncs while completing");
        }
        match self.state {
            State::Empty => assert!(self.members.is_empty(), "an empty group has no members"),
            State::Preparing { .. } => assert!(self.pending_syncs.is_empty(), "nobody syncs while preparing"),
            State::Completing | State::Stable => {
                let protocol = self.protocol_name.as_deref().unwrap_or_default();
                assert!(!self.members.is_empty(), "a generation has members");
                assert!(
                    self.members.values().all(|member| member.offers().any(|name| name == protocol)),
                    "all speak {protocol}"
                );
            }
        }
    }
}
