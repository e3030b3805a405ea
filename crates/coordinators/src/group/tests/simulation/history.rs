//! What clients were told, and what must follow from it for ever:
//!
//! * an offset whose commit was answered is there, or a newer one, until its retention is over or its group is deleted;
//!   an offset that was read is as good as answered;
//! * a generation has one leader and one list of members, and each member one part in it, which no crash takes back;
//! * who commits knows the present generation and has been given its part in it;
//! * a member that has its part and gives signs of life is not removed;
//! * whoever uses the former id of an instance is fenced.
//!
//! What is told only in memory (who leads a generation that was never written) is forgotten with the memory.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::classic::{ClassicGroup, State};
use super::*;

/// An offset that somebody was told of.
#[derive(Debug, Clone, Copy)]
struct Promise {
    /// Where its record stands: only later ones may take its place.
    record: Offset,
    at: Millis,
}

pub(super) struct History {
    retention: Millis,
    promise: Option<Promise>,
    /// Where the group was deleted last: what was written before is not promised, though it may be answered later.
    deleted: Option<Offset>,
    /// By generation: who leads it, and whom the leader was told of.
    leaders: BTreeMap<i32, String>,
    members: BTreeMap<i32, BTreeSet<String>>,
    /// By generation and member: its part.
    parts: BTreeMap<(i32, String), Bytes>,
    /// The newest generation in which somebody was told its part.
    written: i32,
    /// The newest generation that somebody was told of.
    announced: i32,
    /// By member: when it last gave a sign of life in a generation that runs, having its part.
    alive: BTreeMap<String, Millis>,
    /// Since when the group is, or was before it went, without members. Offsets that come later do not live longer.
    empty_since: Option<Millis>,
    /// The last members of each instance, the present one last.
    instances: BTreeMap<String, Vec<String>>,
    pub(super) generations: u64,
}

impl History {
    pub(super) fn new(retention: Millis) -> History {
        History {
            retention,
            promise: None,
            deleted: None,
            leaders: BTreeMap::new(),
            members: BTreeMap::new(),
            parts: BTreeMap::new(),
            written: 0,
            announced: 0,
            alive: BTreeMap::new(),
            empty_since: None,
            instances: BTreeMap::new(),
            generations: 0,
        }
    }

    /// The shard has decided; nobody knows of it yet.
    pub(super) fn decided(&mut self, now: Millis, asked: &Asked, response: &Response, shard: &GroupShard) {
        match (&asked.sent.request, response) {
            (Request::Join(request), Response::Join(response)) => self.decided_join(request, response),
            (Request::OffsetCommit(request), Response::OffsetCommit(response))
                if response.topics[0].partitions[0].error_code == 0 =>
            {
                self.accepted_commit(now, request, shard);
            }
            (Request::Heartbeat(request), Response::Heartbeat(response)) => {
                self.decided_heartbeat(now, request, error(response.error_code), shard);
            }
            (Request::Leave(request), _) => {
                for member in &request.members {
                    self.alive.remove(&member.member_id);
                    // By its instance alone, or under an id that is no longer its own.
                    let ids = member.group_instance_id.iter().filter_map(|id| self.instances.get(id)).flatten();
                    for id in ids.cloned().collect::<Vec<_>>() {
                        self.alive.remove(&id);
                    }
                }
            }
            (Request::DeleteGroups(_), Response::DeleteGroups(results)) if results[0].error_code == 0 => {
                self.forget_group();
                self.promise = None;
                self.deleted = asked.record.map(|(tombstone, _)| tombstone);
            }
            _ => {}
        }
    }

    fn decided_join(&mut self, request: &JoinGroupRequest, response: &JoinGroupResponse) {
        if response.error_code != 0 {
            // There was no room, perhaps.
            self.alive.remove(&request.member_id);
            return;
        }
        let generation = response.generation_id;
        assert!(generation >= self.announced, "generation {generation} after {}", self.announced);
        self.generations += u64::from(generation > self.announced);
        self.announced = generation;
        let is_leader = response.leader == response.member_id;
        // Before version 9 a static leader that returns is told of its former id, so that it does not lead.
        let leader = self.leaders.entry(generation).or_insert_with(|| response.leader.clone());
        if let Some(instance) = &request.group_instance_id {
            let ids = self.instances.entry(instance.clone()).or_default();
            if ids.last() != Some(&response.member_id) {
                if ids.last() == Some(leader) && is_leader {
                    leader.clone_from(&response.leader);
                }
                if let Some(former) = ids.last() {
                    self.alive.remove(former);
                }
                ids.push(response.member_id.clone());
            }
        }
        let same_instance = |one: &str, other: &str| {
            let both = |ids: &&Vec<String>| ids.iter().any(|id| id == one) && ids.iter().any(|id| id == other);
            self.instances.values().find(both).is_some()
        };
        let leader = &self.leaders[&generation];
        assert!(
            *leader == response.leader || same_instance(leader, &response.leader),
            "{leader} and {} lead generation {generation}",
            response.leader
        );
        assert!(is_leader || response.members.is_empty(), "the leader alone knows the members");
        if is_leader && !response.skip_assignment {
            let members: BTreeSet<String> = response.members.iter().map(|member| member.member_id.clone()).collect();
            assert!(members.contains(&response.member_id), "who is told of a generation is in it");
            let known = self.members.entry(generation).or_insert_with(|| members.clone());
            assert_eq!(*known, members, "generation {generation} has one list of members");
        }
    }

    fn accepted_commit(&mut self, now: Millis, request: &OffsetCommitRequest, shard: &GroupShard) {
        let generation = request.generation_id_or_member_epoch;
        if generation < 0 {
            return;
        }
        assert!(generation >= self.announced, "a commit of generation {generation} after {}", self.announced);
        let group = shard.classic("g").expect("who commits has a group");
        assert_ne!(group.state, State::Completing, "who commits knows its part");
        if group.state == State::Stable {
            self.sign_of_life(now, &request.member_id, group);
        }
    }

    fn decided_heartbeat(&mut self, now: Millis, request: &HeartbeatRequest, answer: ErrorCode, shard: &GroupShard) {
        let member = &request.member_id;
        let Some(group) = shard.classic("g") else { return };
        if let Some(instance) = &request.group_instance_id
            && let Some(present) = group.static_members.get(instance)
        {
            let expected = present == member;
            assert_eq!(answer == ErrorCode::FencedInstanceId, !expected, "{present} is {instance}, asked by {member}");
        }
        match answer {
            ErrorCode::None if group.state == State::Stable => self.sign_of_life(now, member, group),
            ErrorCode::UnknownMemberId => {
                let since = self.alive.get(member).map(|last| now - *last);
                assert!(
                    since.is_none_or(|since| since >= Millis(i64::from(SESSION_MS))),
                    "{member} was alive {since:?} ago"
                );
            }
            ErrorCode::None | ErrorCode::RebalanceInProgress => {
                // A rebalance may end without whoever does not join it.
                self.alive.remove(member);
            }
            _ => {}
        }
    }

    /// Only of a member that has its part: the others may be removed because they never ask for it.
    fn sign_of_life(&mut self, now: Millis, member: &str, group: &ClassicGroup) {
        if !group.pending_syncs.contains(member) {
            self.alive.insert(member.to_owned(), now);
        }
    }

    /// A client may know of it now.
    pub(super) fn answered(&mut self, asked: &Asked, response: &Response, shard: &GroupShard) {
        match (&asked.sent.request, response) {
            (Request::OffsetCommit(_), Response::OffsetCommit(response)) => {
                if response.topics[0].partitions[0].error_code == 0
                    && let Some((record, at)) = asked.record
                {
                    self.promise(at, record);
                }
            }
            (Request::OffsetFetch { .. }, Response::OffsetFetch(response)) => {
                let read = response.topics.first().and_then(|topic| topic.partitions.first());
                // Whoever holds it now may be newer than what was read; then nothing is promised.
                let held = shard.committed("g", "t", 0);
                if let (Some(read), Some(held)) = (read, held)
                    && read.committed_offset == held.offset
                {
                    self.promise(held.committed_at, held.record);
                }
            }
            (Request::Sync(request), Response::Sync(response)) if response.error_code == 0 => {
                let key = (request.generation_id, request.member_id.clone());
                let part = self.parts.entry(key).or_insert_with(|| response.assignment.clone());
                assert_eq!(*part, response.assignment, "{} has one part", request.member_id);
                self.written = self.written.max(request.generation_id);
            }
            _ => {}
        }
    }

    fn promise(&mut self, at: Millis, record: Offset) {
        let is_newest = self.promise.is_none_or(|promise| promise.record < record);
        if is_newest && self.deleted.is_none_or(|deleted| deleted < record) {
            self.promise = Some(Promise { record, at });
        }
    }

    /// The group is gone: everything about it begins anew. Whether its offset may be gone too is looked at apart.
    fn forget_group(&mut self) {
        let History { promise, deleted, empty_since, generations, .. } = *self;
        *self = History { promise, deleted, empty_since, generations, ..History::new(self.retention) };
    }

    /// What was only in memory is forgotten; what somebody was told of a written generation is not.
    pub(super) fn reloaded(&mut self, shard: &GroupShard) {
        self.deleted = None;
        let Some(group) = shard.classic("g") else { return self.forget_group() };
        assert!(group.generation >= self.written, "generation {} was told of its parts", self.written);
        self.announced = self.announced.min(group.generation);
        self.leaders.retain(|generation, _| *generation < group.generation);
        self.members.retain(|generation, _| *generation < group.generation);
        self.parts.retain(|(generation, _), _| *generation <= group.generation);
        self.alive.clear();
        self.instances.clear();
        for (instance, member) in &group.static_members {
            self.instances.insert(instance.clone(), vec![member.clone()]);
        }
    }

    fn may_be_gone(&self, promise: Promise, now: Millis) -> bool {
        now - promise.at >= self.retention || self.empty_since.is_some_and(|since| now - since >= self.retention)
    }

    pub(super) fn check(&mut self, now: Millis, shard: &GroupShard) {
        if let Some(group) = shard.classic("g") {
            let is_empty = group.state == State::Empty && group.protocol_type.is_some();
            self.empty_since = group.state_since.filter(|_| is_empty);
        } else {
            self.forget_group();
            self.promise = self.promise.filter(|promise| !self.may_be_gone(*promise, now));
        }
        let Some(promise) = self.promise else { return };
        match shard.committed("g", "t", 0) {
            Some(held) => assert!(held.record >= promise.record, "{held:?} is older than {promise:?}"),
            None => assert!(self.may_be_gone(promise, now), "{promise:?} is lost"),
        }
    }
}
