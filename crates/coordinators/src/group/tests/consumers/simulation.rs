//! Members of a consumer group that come, go, die, restart under their instance's name, lose answers and commit, over a
//! shard whose appends fail and that is loaded anew. What only members can see is checked:
//!
//! * nobody works on a partition, or commits in it, that somebody else works on;
//! * whoever gives signs of life is not sent away, also when one answer was lost;
//! * an instance that returns has what it had, and its double stays out;
//! * left alone, everybody comes to own its target, and together they own everything.
//!
//! Some subscribe by an expression, which is matched late or never.

use milena_protocol::messages::RemoveTopicRecord;

use super::super::super::planted::Bug;
use super::*;
use crate::simulated::{finds, over_seeds};

pub(in crate::group::tests) const MEMBERS_MAX: usize = 6;

/// Stands among the topics of a member that subscribes by an expression, which matches all.
pub(in crate::group::tests) const BY_REGEX: &str = "[tu]";

/// The topics by that name.
pub(in crate::group::tests) fn ids_of(name: &str) -> &'static [Uuid] {
    match name {
        BY_REGEX => &[T, U],
        "t" => &[T],
        _ => &[U],
    }
}

/// Joins with these topics, or by an expression.
fn subscribes(member: &str, topics: &[&'static str]) -> ConsumerGroupHeartbeatRequest {
    match topics {
        [BY_REGEX] => {
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some(BY_REGEX.into()), ..joins(member, &[]) }
        }
        _ => joins(member, topics),
    }
}

/// What one member believes.
#[derive(Debug, Clone)]
pub(in crate::group::tests) struct Believer {
    pub(in crate::group::tests) id: String,
    pub(in crate::group::tests) instance: Option<String>,
    pub(in crate::group::tests) epoch: i32,
    pub(in crate::group::tests) owned: Owned,
    pub(in crate::group::tests) heard: Millis,
    pub(in crate::group::tests) topics: Vec<&'static str>,
    /// Answers that it has not heard since the last one that it did.
    lost: u32,
}

/// An instance that is away, what it had, and at which group epoch.
#[derive(Debug, Clone)]
struct Away {
    instance: String,
    owned: Owned,
    topics: Vec<&'static str>,
    since: Millis,
    group_epoch: i32,
    changes: u32,
}

pub(in crate::group::tests) struct Play {
    pub(in crate::group::tests) world: World,
    pub(in crate::group::tests) members: Vec<Believer>,
    away: Vec<Away>,
    born: usize,
    pub(in crate::group::tests) partitions: BTreeMap<Uuid, i32>,
    epoch: i32,
    epochs: i64,
    /// Changes of topics so far.
    changes: u32,
}

impl Play {
    pub(in crate::group::tests) fn new(seed: u64, planted: Option<Bug>) -> Play {
        let mut world = World::with(Settings { planted, ..Settings::default() });
        world.random = Random::from_seed(seed);
        world.create(T, "t", 0..3);
        world.create(U, "u", 0..2);
        let partitions = BTreeMap::from([(T, 3), (U, 2)]);
        Play { world, members: Vec::new(), away: Vec::new(), born: 0, partitions, epoch: 0, epochs: 0, changes: 0 }
    }

    pub(in crate::group::tests) fn below(&mut self, bound: u64) -> u64 {
        self.world.random.below(bound)
    }

    fn step(&mut self) {
        let at = if self.members.is_empty() { 0 } else { self.below(self.members.len() as u64) as usize };
        match self.below(100) {
            _ if self.members.is_empty() => self.bear(),
            0..=7 if self.members.len() < MEMBERS_MAX => self.bear(),
            8..=9 => drop(self.members.remove(at)),
            10..=12 => self.leave(at),
            13..=15 => self.return_under_another_id(),
            16 => self.double(at),
            17..=19 => self.change_topics(),
            20..=21 => self.world.reload(),
            73..=77 => self.world.match_next(),
            78 => self.world.matches_late = !self.world.matches_late,
            22..=24 => self.fail_append(at),
            25..=33 => self.commit(at),
            34..=72 => {
                let is_lost = self.below(8) == 0;
                self.beat(at, is_lost);
            }
            _ => {
                let ms = self.below(3_000) as i64;
                self.world.wait(ms);
            }
        }
        self.check();
    }

    pub(in crate::group::tests) fn bear(&mut self) {
        self.born += 1;
        let topics = [vec!["t"], vec!["t", "u"], vec!["u"], vec![BY_REGEX]][self.below(4) as usize].clone();
        let instance = (self.below(3) == 0).then(|| format!("i{}", self.born));
        self.join_as(instance, topics);
    }

    fn join_as(&mut self, instance: Option<String>, topics: Vec<&'static str>) {
        let (id, heard) = (format!("m{}", self.born), self.world.now);
        self.members.push(Believer { id, instance, epoch: 0, owned: Owned::new(), heard, topics, lost: 0 });
        self.beat(self.members.len() - 1, false);
    }

    /// For good, or for now where it is an instance.
    pub(in crate::group::tests) fn leave(&mut self, at: usize) {
        let gone = self.members.remove(at);
        let Some(instance) = gone.instance.clone() else {
            self.world.beat(stays(&gone.id, -1, &Owned::new()));
            return;
        };
        let request =
            ConsumerGroupHeartbeatRequest { instance_id: Some(instance.clone()), ..stays(&gone.id, -2, &gone.owned) };
        let before = self.world.describe_consumer();
        let answer = self.world.beat(request);
        let known = before.members.iter().find(|member| member.member_id == gone.id);
        let has_its_part = known.is_some_and(|known| {
            known.assignment == known.target_assignment && known.member_epoch == before.group_epoch
        });
        if answer.error_code == 0 && gone.lost == 0 && has_its_part {
            let (since, changes) = (self.world.now, self.changes);
            let group_epoch = self.world.describe_consumer().group_epoch;
            self.away.push(Away { instance, owned: gone.owned, topics: gone.topics, since, group_epoch, changes });
        }
    }

    /// An instance comes back as another process. If nothing happened meanwhile, it has what it had.
    pub(in crate::group::tests) fn return_under_another_id(&mut self) {
        let Some(away) = self.away.pop() else { return };
        if self.world.now - away.since >= Millis(SESSION) || self.members.len() >= MEMBERS_MAX {
            return;
        }
        let before = self.world.describe_consumer();
        let is_quiet = before.group_epoch == away.group_epoch && away.changes == self.changes;
        self.born += 1;
        self.join_as(Some(away.instance), away.topics);
        if is_quiet {
            let known = &self.members.last().expect("it joined").owned;
            assert_eq!(self.world.describe_consumer().group_epoch, before.group_epoch, "nothing has to move");
            assert_eq!(*known, away.owned, "an instance that came back has what it had");
        }
    }

    /// A second process claims the instance of one that lives.
    pub(in crate::group::tests) fn double(&mut self, at: usize) {
        let member = self.members[at].clone();
        let is_alive = self.world.now - member.heard < Millis(SESSION) && member.epoch > 0;
        let Some(instance) = member.instance.filter(|_| is_alive) else { return };
        self.born += 1;
        let request = ConsumerGroupHeartbeatRequest {
            instance_id: Some(instance),
            ..subscribes(&format!("m{}", self.born), &member.topics)
        };
        let answer = self.world.beat(request);
        assert_eq!(error(answer.error_code), ErrorCode::UnreleasedInstanceId, "{} lives", member.id);
    }

    fn request(&mut self, at: usize) -> ConsumerGroupHeartbeatRequest {
        let member = self.members[at].clone();
        let mut request = match member.epoch {
            0 => subscribes(&member.id, &member.topics),
            epoch => stays(&member.id, epoch, &member.owned),
        };
        if member.lost > 0 && member.epoch > 0 {
            // Whoever did not hear an answer says everything again, and is told everything.
            request.rebalance_timeout_ms = REBALANCE_MS;
            let said = subscribes(&member.id, &member.topics);
            request.subscribed_topic_names = said.subscribed_topic_names;
            request.subscribed_topic_regex = said.subscribed_topic_regex;
        }
        request.instance_id = member.instance;
        request
    }

    pub(in crate::group::tests) fn beat(&mut self, at: usize, is_lost: bool) {
        let request = self.request(at);
        let response = self.world.beat(request);
        let now = self.world.now;
        let member = &mut self.members[at];
        let was_alive = now - member.heard < Millis(SESSION) && member.epoch > 0;
        let lost = member.lost;
        if is_lost {
            member.lost += 1;
            // The coordinator heard it all the same.
            member.heard = if response.error_code == 0 { now } else { member.heard };
            return;
        }
        match error(response.error_code) {
            ErrorCode::None => {
                assert!(member.epoch == 0 || response.member_epoch >= member.epoch, "epochs never go back");
                member.epoch = response.member_epoch;
                member.heard = now;
                member.lost = 0;
                if response.assignment.is_some() {
                    member.owned = owned(&response);
                }
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                assert!(!was_alive || lost > 1, "{member:?} was sent away at {now:?}: {:?}", response.error_message);
                (member.epoch, member.owned, member.lost) = (0, Owned::new(), 0);
            }
            // The session of its former self goes on.
            ErrorCode::UnreleasedInstanceId => (member.epoch, member.owned) = (0, Owned::new()),
            other => panic!("unexpected answer: {other}"),
        }
    }

    /// A member commits in a partition that it works on, or did.
    pub(in crate::group::tests) fn commit(&mut self, at: usize) {
        let member = self.members[at].clone();
        let (topic, name) = if self.below(2) == 0 { (T, "t") } else { (U, "u") };
        let index = self.below(3) as i32;
        let partition =
            OffsetCommitRequestPartition { partition_index: index, committed_offset: 1, ..Default::default() };
        let topics = vec![OffsetCommitRequestTopic { name: name.into(), topic_id: topic, partitions: vec![partition] }];
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: member.epoch.max(1) - (self.below(4) == 0) as i32,
            member_id: member.id.clone(),
            topics,
            ..Default::default()
        };
        let epoch = request.generation_id_or_member_epoch;
        let answer = self.world.commit_request(9, request);
        let is_another =
            |other: &&Believer| other.id != member.id && other.owned.get(&topic).is_some_and(|of| of.contains(&index));
        let now = self.world.now;
        let worker = self.members.iter().filter(|other| now - other.heard < Millis(SESSION)).find(is_another);
        // At its own epoch a member is trusted with every partition.
        let is_former = epoch
            < self
                .world
                .describe_consumer()
                .members
                .iter()
                .find(|known| known.member_id == member.id)
                .map_or(0, |known| known.member_epoch);
        assert!(
            answer != ErrorCode::None || !is_former || worker.is_none(),
            "{} commits where {worker:?} works",
            member.id
        );
    }

    /// What was decided is not written: everything soft is lost.
    pub(in crate::group::tests) fn fail_append(&mut self, at: usize) {
        let request = Request::ConsumerHeartbeat(CheckedHeartbeat::of(self.request(at)));
        let context =
            Context { version: 1, client_id: "c".into(), client_address: [10, 0, 0, 1].into(), random: [9; 16] };
        self.world.shard.handle(self.world.now, Event::Request { to: ReplyTo(0), context, request });
        self.world.reload();
    }

    pub(in crate::group::tests) fn change_topics(&mut self) {
        self.changes += 1;
        let topic = if self.below(2) == 0 { (T, "t") } else { (U, "u") };
        match self.partitions.get(&topic.0).copied() {
            Some(count) if count > 6 => {
                self.world.metadata(vec![RemoveTopicRecord { topic_id: topic.0 }.into()]);
                self.partitions.remove(&topic.0);
            }
            Some(count) => {
                self.world.create(topic.0, topic.1, count..count + 1);
                self.partitions.insert(topic.0, count + 1);
            }
            None => {
                self.world.create(topic.0, topic.1, 0..2);
                self.partitions.insert(topic.0, 2);
            }
        }
    }

    /// Nobody works on a partition that somebody else works on. Whoever was silent for a session knows that it lost
    /// everything.
    pub(in crate::group::tests) fn check(&mut self) {
        let now = self.world.now;
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for member in self.members.iter().filter(|member| now - member.heard < Millis(SESSION)) {
            for (topic, partition) in member.owned.iter().flat_map(|(topic, of)| of.iter().map(|one| (*topic, *one))) {
                let former = owners.insert((topic, partition), &member.id);
                assert_eq!(former, None, "{topic}-{partition} belongs to {} alone", member.id);
            }
        }
        let group = self.world.describe_consumer();
        let is_there = group.error_code == 0;
        assert!(!is_there || group.group_epoch >= self.epoch, "the group epoch never goes back");
        self.epochs += i64::from(is_there && group.group_epoch > self.epoch);
        self.epoch = if is_there { group.group_epoch } else { 0 };
    }

    /// Left alone, all come to rest; so they do when topics change after that.
    fn settle(&mut self) {
        self.world.matches_late = false;
        while !self.world.matchings.is_empty() {
            self.world.match_next();
        }
        self.rest(40);
        self.change_topics();
        self.rest(20);
    }

    fn rest(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.world.wait(2_000);
            (0..self.members.len()).for_each(|at| self.beat(at, false));
            self.check();
        }
        let group = self.world.describe_consumer();
        if self.members.is_empty() {
            return;
        }
        assert_eq!(group.group_state, "Stable");
        assert!(self.members.iter().all(|member| member.epoch == group.group_epoch), "all are at the group's epoch");
        let names = self.members.iter().flat_map(|member| &member.topics);
        let subscribed: BTreeSet<Uuid> = names.flat_map(|name| ids_of(name)).copied().collect();
        let wanted: usize = subscribed.iter().filter_map(|topic| self.partitions.get(topic)).sum::<i32>() as usize;
        let held: usize = self.members.iter().flat_map(|member| member.owned.values()).map(Vec::len).sum();
        assert_eq!(held, wanted, "every partition of a subscribed topic has an owner");
    }
}

/// One run: how many group epochs there were.
fn run(seed: u64, planted: Option<Bug>) -> i64 {
    let mut play = Play::new(seed, planted);
    for _ in 0..500 {
        play.step();
    }
    play.settle();
    play.epochs
}

#[test]
fn consumer_groups_survive_random_members_lost_answers_and_crashes() {
    let Some(outcomes) = over_seeds("consumer_groups_survive", 40, &Bug::OF_CONSUMERS, run) else { return };
    let epochs: i64 = outcomes.iter().sum();
    assert!(epochs > 1_300, "the runs are of no worth if nothing happens: {epochs}");
}

finds! {
    run, Bug::OF_CONSUMERS,
    finds_a_partition_that_is_granted_while_it_is_held: GrantedWhileHeld,
    finds_an_epoch_before_its_partitions_are_given_back: EpochBeforeGivenBack,
    finds_a_previous_epoch_that_is_fenced: PreviousEpochFenced,
    finds_a_heartbeat_that_is_no_sign_of_life: HeartbeatIsNoSignOfLife,
    finds_sessions_of_consumers_that_are_lost_on_reload: ConsumerSessionsLost,
    finds_a_commit_of_whoever_had_the_partition_before: StaleCommit,
    finds_a_double_of_an_instance: InstanceTwice,
    finds_an_instance_that_lost_its_part: InstanceLosesItsPart,
    finds_a_member_that_leaves_without_a_new_epoch: LeaveWithoutEpoch,
    finds_topics_that_nobody_looks_at_again: TopicsUnseen,
    finds_an_assignment_that_is_not_told: AssignmentUntold,
    finds_a_member_that_may_keep_what_it_should_give_back: RebalanceLimitForgotten,
    finds_a_target_of_a_member_that_is_gone: TargetLeftBehind,
    finds_a_match_that_was_lost_and_is_not_asked_for_again: LostMatchForgotten,
    finds_a_match_that_nobody_is_assigned_anew_for: MatchWithoutEpoch,
}
