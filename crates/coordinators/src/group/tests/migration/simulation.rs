//! Members of both protocols in one group, which changes its kind with the tides: consumers come, and later all of
//! them go again, while classic members join, lead, sync, beat, commit, leave, die, restart under their instance's name and
//! lose answers, topics come, grow and go, appends fail and the shard is loaded anew. Besides what the consumers'
//! simulation looks at, this is checked:
//!
//! * nobody works on a partition that a member of either protocol works on;
//! * nobody commits in a former generation where somebody else works;
//! * an instance that comes back to a consumer group at rest has what it had, and its former self is fenced;
//! * a classic member that follows is not sent away, and only a downgrade or a load takes its generation from it;
//! * an upgrade keeps every member, lets nobody wait, and their epoch is the generation;
//! * a downgrade keeps every classic member, and the generation is the group's epoch;
//! * in the log only records of the present kind are alive;
//! * left alone, everybody comes to rest, and together they own everything.
//!
//! One thing that Kafka does is taken as it is: a downgrade writes what members shall own, not what they own. Whoever
//! is behind loses everything at once, and learns of it with its next request; and if the group goes up again before it
//! has a new generation, members are taken for owners of what they were meant to have, until they sync.

use super::super::super::classic::State;
use super::super::super::planted::Bug;
use super::super::consumers::SESSION;
use super::super::consumers::simulation::{BY_REGEX, MEMBERS_MAX, Play, ids_of};
use super::*;
use crate::simulated::{finds, over_seeds};

const CLASSIC_MEMBERS_MAX: usize = 4;
/// Steps until the consumers come or go.
const TIDE: usize = 50;
/// How late the play may notice that a parked request was answered.
const SLICE_MS: i64 = 500;

/// Where a classic member stands in its protocol.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// It has to join, again or for the first time.
    Out,
    Joining(ReplyTo),
    /// It has to sync; a leader knows whom it has to assign.
    Joined(Vec<String>),
    Syncing(ReplyTo),
    In,
}

/// What a classic member believes. It is a cooperative one: it works on until it is told otherwise.
#[derive(Debug, Clone)]
struct Classic {
    id: String,
    instance: Option<String>,
    topics: Vec<&'static str>,
    generation: i32,
    owned: Owned,
    /// What it said that it owns, when it joined.
    claimed: Owned,
    place: Place,
    heard: Millis,
    /// Disturbances that it has seen.
    as_of: u32,
    /// The group took what it works on for somebody else's: it changed its kind, or the member's session ended.
    is_cut_off: bool,
}

/// The group as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Nothing,
    /// Generation, and what each member was given.
    Classic(i32, BTreeMap<String, Owned>),
    /// Group epoch; of each member its epoch and whether it is a classic one.
    Consumer(i32, BTreeMap<String, (i32, bool)>),
}

struct Mixed {
    play: Play,
    classics: Vec<Classic>,
    /// Downgrades and loads so far: by these alone a member may lose its generation.
    disturbances: u32,
    /// Records of groups, by key, that a compacted log still has.
    alive: BTreeSet<Bytes>,
    read_to: usize,
    upgrades: u32,
    downgrades: u32,
    /// Instances of classic members so far.
    instances: u32,
    /// How often one came back to a group at rest, and how often a commit in a former generation was refused.
    returned: u32,
    refused_commits: u32,
    is_at_rest: bool,
}

fn id_of(name: &str) -> Uuid {
    if name == "t" { T } else { U }
}

fn name_of(id: Uuid) -> &'static str {
    if id == T { "t" } else { "u" }
}

fn subscription(topics: &[&str], owned: &Owned) -> Bytes {
    let owned =
        owned.iter().map(|(id, of)| OwnedPartition { topic: name_of(*id).into(), partitions: of.clone() }).collect();
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let subscription = ConsumerProtocolSubscription { topics, owned_partitions: owned, ..Default::default() };
    [&[0, 1][..], &subscription.to_bytes(1).expect("fits")].concat().into()
}

fn written(owned: &Owned) -> Bytes {
    let topic = |(id, of): (&Uuid, &Vec<i32>)| TopicPartition { topic: name_of(*id).into(), partitions: of.clone() };
    let assigned_partitions = owned.iter().map(topic).collect();
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    [&[0, 1][..], &assignment.to_bytes(1).expect("fits")].concat().into()
}

fn understood(bytes: &Bytes) -> Owned {
    let mut decoder = Decoder::new(bytes.clone());
    if bytes.is_empty() {
        return Owned::new();
    }
    let version = decoder.i16().expect("a version");
    let assignment = ConsumerProtocolAssignment::decode(&mut decoder, version).expect("an assignment");
    let topics = assignment.assigned_partitions.into_iter().filter(|topic| !topic.partitions.is_empty());
    topics.map(|topic| (id_of(&topic.topic), topic.partitions)).collect()
}

fn places(owned: &Owned) -> impl Iterator<Item = (Uuid, i32)> {
    owned.iter().flat_map(|(topic, of)| of.iter().map(|partition| (*topic, *partition)))
}

impl Mixed {
    fn new(seed: u64, planted: Option<Bug>) -> Mixed {
        Mixed {
            play: Play::new(seed, planted),
            classics: Vec::new(),
            disturbances: 0,
            alive: BTreeSet::new(),
            read_to: 0,
            upgrades: 0,
            downgrades: 0,
            instances: 0,
            returned: 0,
            refused_commits: 0,
            is_at_rest: false,
        }
    }

    fn now(&self) -> Millis {
        self.play.world.now
    }

    fn step(&mut self, is_flood: bool) {
        self.watched(|mixed| match mixed.play.below(100) {
            0..=29 => mixed.consumer_steps(is_flood),
            30..=34 => mixed.come(),
            35..=37 => mixed.go(),
            38..=65 => mixed.act_at_random(),
            66..=67 => mixed.commit_at_random(),
            68..=69 => mixed.restart(),
            70..=71 => mixed.reload(),
            72..=73 => mixed.change_topics(),
            _ => {
                let ms = mixed.play.below(2_500) as i64;
                mixed.wait(ms)
            }
        });
    }

    /// Does something, and looks at what came of it. It says whether it was one request and no more.
    fn watched(&mut self, doing: impl FnOnce(&mut Mixed) -> bool) {
        let before = self.kind();
        let by_request = doing(self);
        self.wait(0);
        let after = self.kind();
        self.check(&before, &after, by_request);
    }

    /// True, as of all steps that are a request and no more.
    fn consumer_steps(&mut self, is_flood: bool) -> bool {
        let count = self.play.members.len() as u64;
        let at = if count == 0 { 0 } else { self.play.below(count) as usize };
        match self.play.below(20) {
            0..=4 if is_flood && self.play.members.len() < MEMBERS_MAX => self.play.bear(),
            _ if count == 0 => {}
            0..=4 if !is_flood => self.depart(at),
            0 => drop(self.play.members.remove(at)),
            1 => self.play.leave(at),
            2 => self.play.return_under_another_id(),
            3 => self.play.double(at),
            4 => {
                self.play.fail_append(at);
                self.lose_connections();
                return false;
            }
            _ => {
                let is_lost = self.play.below(8) == 0;
                self.play.beat(at, is_lost);
            }
        }
        true
    }

    /// A consumer leaves for good, an instance too.
    fn depart(&mut self, at: usize) {
        let gone = self.play.members.remove(at);
        let request =
            ConsumerGroupHeartbeatRequest { instance_id: gone.instance, ..stays(&gone.id, -1, &Owned::new()) };
        self.play.world.beat(request);
    }

    /// A classic member comes.
    fn come(&mut self) -> bool {
        if self.classics.len() >= CLASSIC_MEMBERS_MAX {
            return true;
        }
        let topics = [vec!["t"], vec!["t", "u"], vec!["u"]][self.play.below(3) as usize].clone();
        let instance = (self.play.below(3) == 0).then(|| {
            self.instances += 1;
            format!("k{}", self.instances)
        });
        self.classics.push(Classic {
            id: String::new(),
            instance,
            topics,
            generation: 0,
            owned: Owned::new(),
            claimed: Owned::new(),
            place: Place::Out,
            heard: self.now(),
            as_of: self.disturbances,
            is_cut_off: false,
        });
        self.act(self.classics.len() - 1);
        true
    }

    /// A classic member leaves, or is no more.
    fn go(&mut self) -> bool {
        if self.classics.is_empty() {
            return true;
        }
        let at = self.play.below(self.classics.len() as u64) as usize;
        let gone = self.classics.remove(at);
        match &gone.instance {
            // An operator removes it.
            Some(instance) => drop(self.play.world.leave(5, &[("", Some(instance))])),
            None if self.play.below(2) == 0 && !gone.id.is_empty() => {
                self.play.world.leave(5, &[(&gone.id, None)]);
            }
            None => {}
        }
        true
    }

    /// An instance ends and comes back at once, as another process that knows nothing.
    fn restart(&mut self) -> bool {
        let instances = (0..self.classics.len()).filter(|at| self.classics[*at].instance.is_some());
        let Some(at) = instances.max_by_key(|at| self.classics[*at].heard) else { return true };
        let former = self.classics[at].clone();
        let known = self.at_rest_in_a_consumer_group(&former);
        let member = &mut self.classics[at];
        (member.id, member.generation, member.owned) = (String::new(), 0, Owned::new());
        (member.place, member.is_cut_off) = (Place::Out, false);
        self.join(at);
        self.hear_all(at);
        let Some((epoch, known)) = known else { return true };
        let Kind::Consumer(present, _) = self.kind() else { panic!("it stays a consumer group") };
        if present > epoch {
            // Topics have changed, and nobody had looked at them before.
            return true;
        }
        let Place::Joined(whom) = self.classics[at].place.clone() else { panic!("{former:?} is let in at once") };
        self.sync(at, &whom);
        self.hear_all(at);
        assert_eq!(self.classics[at].owned, known, "an instance that came back has what it had");
        let beat = self.beat(&former.id, former.instance.clone(), former.generation);
        assert_eq!(beat, ErrorCode::FencedInstanceId, "{former:?} is another one now");
        self.returned += 1;
        true
    }

    /// The group's epoch and what the member holds, if it holds what it is meant to and nothing is going on.
    fn at_rest_in_a_consumer_group(&mut self, member: &Classic) -> Option<(i32, Owned)> {
        if self.play.world.shard.classic("g").is_some() {
            return None;
        }
        let group = self.play.world.describe_consumer();
        let known = group.members.iter().find(|known| known.member_id == member.id)?;
        let is_at_rest = known.assignment == known.target_assignment
            && known.member_epoch == group.group_epoch
            && group.assignment_epoch == group.group_epoch
            && self.is_alive(member);
        let topics = known.assignment.topic_partitions.iter();
        let owned = topics.map(|topic| (topic.topic_id, topic.partitions.clone())).collect();
        is_at_rest.then_some((group.group_epoch, owned))
    }

    fn act_at_random(&mut self) -> bool {
        if !self.classics.is_empty() {
            let at = self.play.below(self.classics.len() as u64) as usize;
            self.act(at);
        }
        true
    }

    fn reload(&mut self) -> bool {
        self.play.world.reload();
        self.lose_connections();
        false
    }

    /// Whoever waited for an answer asks again.
    fn lose_connections(&mut self) {
        self.disturbances += 1;
        for member in &mut self.classics {
            if matches!(member.place, Place::Joining(_) | Place::Syncing(_)) {
                member.place = Place::Out;
            }
        }
    }

    /// Nobody works on a topic that is gone.
    fn change_topics(&mut self) -> bool {
        self.play.change_topics();
        let exists = |topic: &Uuid| self.play.partitions.contains_key(topic);
        for member in &mut self.classics {
            member.owned.retain(|topic, _| exists(topic));
            member.claimed.retain(|topic, _| exists(topic));
        }
        for member in &mut self.play.members {
            member.owned.retain(|topic, _| exists(topic));
        }
        true
    }

    fn commit_at_random(&mut self) -> bool {
        if !self.classics.is_empty() {
            let at = self.play.below(self.classics.len() as u64) as usize;
            self.commit(at);
        }
        true
    }

    /// A classic member commits in a partition that it works on, or did, in its generation or the one before.
    fn commit(&mut self, at: usize) {
        let member = self.classics[at].clone();
        let topic = if self.play.below(2) == 0 { T } else { U };
        let index = self.play.below(3) as i32;
        let partition =
            OffsetCommitRequestPartition { partition_index: index, committed_offset: 1, ..Default::default() };
        let topics = vec![OffsetCommitRequestTopic {
            name: name_of(topic).into(),
            topic_id: topic,
            partitions: vec![partition],
        }];
        let generation = (member.generation - i32::from(self.play.below(2) == 0)).max(0);
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: generation,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            topics,
            ..Default::default()
        };
        let answer = self.play.world.commit_request(9, request);
        let present = match self.kind() {
            Kind::Nothing => return,
            Kind::Classic(generation, _) => generation,
            Kind::Consumer(_, members) => members.get(&member.id).map_or(0, |(epoch, _)| *epoch),
        };
        let now = self.now();
        let has_it = |owned: &Owned| owned.get(&topic).is_some_and(|of| of.contains(&index));
        let mut consumers = self.play.members.iter().filter(|other| now - other.heard < Millis(SESSION));
        let mut classics =
            self.classics.iter().filter(|other| other.id != member.id && self.is_alive(other) && !other.is_cut_off);
        let is_anothers = consumers.any(|other| has_it(&other.owned)) || classics.any(|other| has_it(&other.owned));
        let is_former = generation < present;
        assert!(
            answer != ErrorCode::None || !is_former || !is_anothers,
            "{member:?} commits where somebody else works"
        );
        self.refused_commits += u32::from(is_former && is_anothers);
    }

    /// False: much may happen meanwhile.
    fn wait(&mut self, ms: i64) -> bool {
        let mut left = ms;
        loop {
            let slice = left.min(SLICE_MS);
            self.play.world.wait(slice);
            (0..self.classics.len()).for_each(|at| self.hear(at));
            left -= slice;
            if left == 0 {
                return false;
            }
        }
    }

    /// The next request of a classic member, unless it waits for an answer.
    fn act(&mut self, at: usize) {
        self.hear(at);
        let heard = self.classics[at].heard;
        let state = self.play.world.shard.classic("g").map(|group| group.state);
        let place = self.classics[at].place.clone();
        let tells_what_it_knows =
            state == Some(State::Stable) || state == Some(State::Completing) && place == Place::Out;
        match place {
            Place::Out => self.join(at),
            Place::Joined(whom) => self.sync(at, &whom),
            Place::In => return self.heartbeat(at),
            Place::Joining(_) | Place::Syncing(_) => return,
        }
        self.hear(at);
        if tells_what_it_knows && !matches!(self.classics[at].place, Place::Joining(_)) {
            // A classic group that stays as it is tells a member what it knows, but takes it for no sign of life.
            self.classics[at].heard = heard;
        }
    }

    fn join(&mut self, at: usize) {
        // A consumer group takes in whoever comes, also under the id of one whose session has ended.
        let is_taken_for_new = !self.is_alive(&self.classics[at]);
        let member = &mut self.classics[at];
        member.is_cut_off |= is_taken_for_new;
        let metadata = subscription(&member.topics, &member.owned);
        let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata }];
        member.claimed = member.owned.clone();
        let request =
            JoinGroupRequest { protocols, group_instance_id: member.instance.clone(), ..join_request(&member.id) };
        member.place = Place::Joining(self.play.world.ask(9, Request::Join(request)));
    }

    fn sync(&mut self, at: usize, whom: &[String]) {
        let assigned = self.assigned(whom);
        let member = &mut self.classics[at];
        let assignments = assigned
            .iter()
            .map(|(id, of)| SyncGroupRequestAssignment { member_id: id.clone(), assignment: written(of) });
        let request = SyncGroupRequest {
            assignments: assignments.collect(),
            group_instance_id: member.instance.clone(),
            ..sync_request(&member.id, member.generation, &[])
        };
        member.place = Place::Syncing(self.play.world.ask(5, Request::Sync(request)));
    }

    /// What a cooperative leader assigns: what is claimed stays or is given up, never given to another; the rest is
    /// given to anybody.
    fn assigned(&mut self, whom: &[String]) -> BTreeMap<String, Owned> {
        let mut assigned: BTreeMap<String, Owned> = whom.iter().map(|id| (id.clone(), Owned::new())).collect();
        let all: Vec<(Uuid, i32)> =
            self.play.partitions.iter().flat_map(|(topic, count)| (0..*count).map(|one| (*topic, one))).collect();
        for (topic, partition) in all {
            let of_generation = || self.classics.iter().filter(|member| whom.contains(&member.id));
            let has_it = |member: &&Classic| places(&member.claimed).any(|place| place == (topic, partition));
            let subscribers: Vec<String> = of_generation()
                .filter(|member| member.topics.contains(&name_of(topic)))
                .map(|member| member.id.clone())
                .collect();
            let owner = of_generation().find(has_it).map(|member| member.id.clone());
            let chosen = match owner {
                Some(_) if !self.is_at_rest && self.play.below(10) == 0 => continue,
                Some(owner) => owner,
                None if subscribers.is_empty() => continue,
                None => subscribers[self.play.below(subscribers.len() as u64) as usize].clone(),
            };
            assigned.entry(chosen).or_default().entry(topic).or_default().push(partition);
        }
        assigned
    }

    fn heartbeat(&mut self, at: usize) {
        let Classic { id, instance, generation, .. } = self.classics[at].clone();
        match self.beat(&id, instance, generation) {
            ErrorCode::None => self.is_well(at),
            refused => self.refused(at, refused),
        }
    }

    fn beat(&mut self, id: &str, group_instance_id: Option<String>, generation_id: i32) -> ErrorCode {
        let request = HeartbeatRequest { group_id: "g".into(), generation_id, member_id: id.into(), group_instance_id };
        match self.play.world.answer(4, Request::Heartbeat(request)) {
            Response::Heartbeat(response) => error(response.error_code),
            other => panic!("not a heartbeat: {other:?}"),
        }
    }

    /// Takes an answer that has come, unless it is lost.
    fn hear(&mut self, at: usize) {
        let is_lost = !self.is_at_rest && self.play.below(12) == 0;
        self.hear_if(at, !is_lost);
    }

    fn hear_all(&mut self, at: usize) {
        self.hear_if(at, true);
    }

    fn hear_if(&mut self, at: usize, is_heard: bool) {
        match self.classics[at].place {
            Place::Joining(to) => match self.play.world.joined(to) {
                Some(answer) if is_heard => self.heard_join(at, answer),
                Some(_) => self.classics[at].place = Place::Out,
                None => self.classics[at].heard = self.now(),
            },
            Place::Syncing(to) => match self.play.world.synced(to) {
                Some(answer) if is_heard => self.heard_sync(at, &answer),
                // It asks again; what it assigned, if it led, is known.
                Some(_) => self.classics[at].place = Place::Joined(Vec::new()),
                None => self.classics[at].heard = self.now(),
            },
            _ => {}
        }
    }

    fn heard_join(&mut self, at: usize, answer: JoinGroupResponse) {
        match error(answer.error_code) {
            ErrorCode::None => {
                let disturbances = self.disturbances;
                let member = &mut self.classics[at];
                // A generation that nobody was assigned anything in is not in the log, and lost with the shard.
                let was_disturbed = disturbances > member.as_of;
                let goes_on = answer.generation_id >= member.generation;
                assert!(goes_on || was_disturbed, "generations never go back: {member:?}");
                member.generation = answer.generation_id;
                member.id = answer.member_id;
                let whom = answer.members.into_iter().map(|member| member.member_id);
                member.place = Place::Joined(whom.collect());
                self.is_well(at);
            }
            ErrorCode::MemberIdRequired => {
                self.classics[at].id = answer.member_id;
                self.classics[at].place = Place::Out;
            }
            refused => self.refused(at, refused),
        }
    }

    fn heard_sync(&mut self, at: usize, answer: &SyncGroupResponse) {
        match error(answer.error_code) {
            ErrorCode::None => {
                let member = &mut self.classics[at];
                let owned = understood(&answer.assignment);
                let gives_back = places(&member.owned).any(|place| !places(&owned).any(|kept| kept == place));
                // Whoever gave something back says so at once.
                member.place = if gives_back { Place::Out } else { Place::In };
                (member.owned, member.is_cut_off) = (owned, false);
                self.is_well(at);
            }
            refused => self.refused(at, refused),
        }
    }

    fn is_well(&mut self, at: usize) {
        let (heard, as_of) = (self.now(), self.disturbances);
        let member = &mut self.classics[at];
        (member.heard, member.as_of) = (heard, as_of);
    }

    fn refused(&mut self, at: usize, refused: ErrorCode) {
        let (now, disturbances) = (self.now(), self.disturbances);
        let is_alive = self.is_alive(&self.classics[at]);
        let member = &mut self.classics[at];
        let was_disturbed = disturbances > member.as_of || member.generation == 0;
        match refused {
            // Only a heartbeat is a sign of life that is answered so.
            ErrorCode::RebalanceInProgress if member.place == Place::In => member.heard = now,
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::IllegalGeneration => {
                assert!(was_disturbed || !is_alive, "the generation was taken from {member:?}");
                (member.owned, member.is_cut_off) = (Owned::new(), false);
            }
            // Its new id was not in the log yet. A client ends with that, and comes back as a new process.
            ErrorCode::FencedInstanceId => {
                assert!(was_disturbed && member.instance.is_some(), "{member:?} is fenced at {now:?}");
                (member.id, member.owned, member.generation) = (String::new(), Owned::new(), 0);
                member.is_cut_off = false;
            }
            ErrorCode::UnknownMemberId => {
                assert!(was_disturbed || !is_alive, "{member:?} was sent away at {now:?}");
                (member.id, member.owned, member.generation) = (String::new(), Owned::new(), 0);
                member.is_cut_off = false;
            }
            other => panic!("unexpected answer: {other}"),
        }
        member.place = Place::Out;
    }

    fn is_alive(&self, member: &Classic) -> bool {
        self.now() - member.heard < Millis(i64::from(SESSION_MS) - SLICE_MS)
    }

    fn kind(&mut self) -> Kind {
        if let Some(group) = self.play.world.shard.classic("g") {
            let members = group.members.iter().map(|(id, member)| (id.clone(), understood(&member.assignment)));
            return Kind::Classic(group.generation, members.collect());
        }
        let described = self.play.world.describe_consumer();
        if described.error_code != 0 {
            return Kind::Nothing;
        }
        let member = |member: milena_protocol::messages::consumer_group_describe_response::Member| {
            (member.member_id, (member.member_epoch, member.member_type == 0))
        };
        Kind::Consumer(described.group_epoch, described.members.into_iter().map(member).collect())
    }

    fn check(&mut self, before: &Kind, after: &Kind, by_request: bool) {
        self.play.check();
        match (before, after) {
            (Kind::Classic(generation, given), Kind::Consumer(epoch, members)) if !given.is_empty() => {
                // Whoever comes by an expression that matches nothing changes nothing.
                let changes_nothing = self.play.partitions.is_empty()
                    && self.play.members.last().is_some_and(|newcomer| newcomer.topics == [BY_REGEX]);
                assert_eq!(*epoch, generation + i32::from(!changes_nothing), "one more for the newcomer");
                for id in given.keys() {
                    assert_eq!(members.get(id), Some(&(*generation, true)), "{id} stays in its generation");
                }
                self.upgraded(given);
            }
            (Kind::Consumer(epoch, members), Kind::Classic(generation, given)) if !members.is_empty() => {
                let classic: BTreeSet<&String> =
                    members.iter().filter(|(_, (_, is_classic))| *is_classic).map(|(id, _)| id).collect();
                assert!(generation >= epoch, "{generation} is behind {epoch}");
                assert!(!by_request || generation == epoch, "{generation} is not {epoch}");
                assert!(!by_request || classic.into_iter().eq(given.keys()), "every classic member stays");
                self.downgraded(*generation);
            }
            _ => {}
        }
        self.check_owners();
        self.check_records(after);
    }

    fn upgraded(&mut self, given: &BTreeMap<String, Owned>) {
        self.upgrades += 1;
        for member in &mut self.classics {
            let waits = matches!(member.place, Place::Joining(_) | Place::Syncing(_));
            assert!(!waits, "a consumer group lets nobody wait: {member:?}");
            let is_its_own = |place| given.get(&member.id).is_some_and(|given| places(given).any(|one| one == place));
            member.is_cut_off |= !places(&member.owned).all(is_its_own);
        }
    }

    fn downgraded(&mut self, generation: i32) {
        self.disturbances += 1;
        self.downgrades += 1;
        for member in &mut self.classics {
            member.is_cut_off |= member.generation < generation;
        }
    }

    /// Nobody works on what somebody else works on.
    fn check_owners(&self) {
        let now = self.now();
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        let consumers = self.play.members.iter().filter(|member| now - member.heard < Millis(SESSION));
        let classics = self.classics.iter().filter(|member| self.is_alive(member) && !member.is_cut_off);
        let all = consumers.map(|member| (&member.id, &member.owned));
        for (id, owned) in all.chain(classics.map(|member| (&member.id, &member.owned))) {
            for place in places(owned) {
                let former = owners.insert(place, id);
                assert_eq!(former, None, "{place:?} belongs to {id} alone");
            }
        }
    }

    /// Of the other kind nothing is left in the log.
    fn check_records(&mut self, kind: &Kind) {
        for (_, entry) in &self.play.world.log[self.read_to..] {
            let Entry::Record(record) = entry else { continue };
            match &record.value {
                Some(_) => self.alive.insert(record.key.clone()),
                None => self.alive.remove(&record.key),
            };
        }
        self.read_to = self.play.world.log.len();
        let types = || self.alive.iter().map(|key| i16::from_be_bytes([key[0], key[1]]));
        let of_classic = types().filter(|kind| *kind == 2).count();
        let of_consumers = types().filter(|kind| *kind > 2).count();
        match kind {
            Kind::Nothing => {}
            Kind::Classic(..) => assert_eq!(of_consumers, 0, "records of the consumer group are alive"),
            Kind::Consumer(..) => assert_eq!(of_classic, 0, "the record of the classic group is alive"),
        }
    }

    /// Left alone, all come to rest.
    fn settle(&mut self) {
        self.is_at_rest = true;
        if matches!(self.kind(), Kind::Classic(..)) {
            // Their leader has seen that topics grew.
            self.classics.iter_mut().filter(|member| member.place == Place::In).for_each(|member| {
                member.place = Place::Out;
            });
        }
        for _ in 0..50 {
            self.watched(|mixed| mixed.wait(1_500));
            for at in (0..self.classics.len()).chain(0..self.classics.len()) {
                self.watched(|mixed| {
                    mixed.act(at);
                    true
                });
            }
            for at in 0..self.play.members.len() {
                self.watched(|mixed| {
                    mixed.play.beat(at, false);
                    true
                });
            }
        }
        assert!(self.classics.iter().all(|member| member.place == Place::In), "{:?}", self.classics);
        let consumers = self.play.members.iter().map(|member| (&member.topics, &member.owned));
        let everybody: Vec<_> =
            consumers.chain(self.classics.iter().map(|member| (&member.topics, &member.owned))).collect();
        let subscribed: BTreeSet<Uuid> =
            everybody.iter().flat_map(|(topics, _)| topics.iter()).flat_map(|name| ids_of(name)).copied().collect();
        let wanted: usize = subscribed.iter().filter_map(|topic| self.play.partitions.get(topic)).sum::<i32>() as usize;
        let held = everybody.iter().flat_map(|(_, owned)| places(owned)).count();
        assert_eq!(held, wanted, "every partition of a subscribed topic has an owner");
    }
}

/// One run: how many upgrades and downgrades there were, returns of instances and refused commits.
fn run(seed: u64, planted: Option<Bug>) -> [u32; 4] {
    let mut mixed = Mixed::new(seed, planted);
    for at in 0..500 {
        mixed.step((at / TIDE).is_multiple_of(2));
    }
    mixed.settle();
    [mixed.upgrades, mixed.downgrades, mixed.returned, mixed.refused_commits]
}

#[test]
fn groups_survive_members_of_both_protocols_and_every_change_of_kind() {
    let Some(outcomes) = over_seeds("groups_survive_members", 40, &Bug::OF_MIGRATIONS, run) else { return };
    let sums: [u32; 4] = std::array::from_fn(|at| outcomes.iter().map(|outcome| outcome[at]).sum());
    assert!(sums[0] > 60 && sums[1] > 60 && sums[2] > 15 && sums[3] > 30, "of no worth if nothing happens: {sums:?}");
}

finds! {
    run, Bug::OF_MIGRATIONS,
    finds_parts_that_an_upgrade_forgets: UpgradeForgetsParts,
    finds_an_upgrade_to_another_generation: UpgradeLosesGeneration,
    finds_whoever_waits_on_in_a_group_that_is_gone: WaitersForgotten,
    finds_records_that_a_downgrade_leaves_behind: DowngradeLeavesRecords,
    finds_a_downgrade_behind_the_epoch: DowngradeLosesEpoch,
    finds_a_classic_instance_under_two_ids: ClassicInstanceTwice,
    finds_a_former_id_of_a_classic_instance_that_is_not_fenced: ClassicNotFenced,
    finds_a_classic_instance_that_lost_its_part: ClassicInstanceLosesPart,
    finds_a_commit_in_a_generation_that_is_over: ClassicStaleCommit,
    finds_a_join_that_is_no_sign_of_life: ClassicJoinIsNoSignOfLife,
    finds_a_limit_that_outlives_its_sync: SyncLimitStays,
    finds_a_limit_that_outlives_its_join: JoinLimitStays,
    finds_a_classic_member_that_is_not_told_to_join: RebalanceUntold,
}
