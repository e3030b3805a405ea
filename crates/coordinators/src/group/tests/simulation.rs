//! A shard among clients, a network and a log that all do what they may at the worst moment: requests come late, twice
//! or never, answers are lost, members die in silence and come back, appends fail, records that were not committed
//! yet are cut off, and the shard is loaded again. After every step it checks itself, and [`history`] what clients
//! can see.
//!
//! ```text
//!   clients ── requests ──► network ── late, twice, never ──► shard ── records ──► log ── high watermark
//!      ▲                                                                             │
//!      └────────────── answers, some are lost ◄── held until committed ◄─────────────┘
//! ```

mod history;

use std::collections::BTreeMap;

use milena_protocol::messages::{OffsetCommitKey, OffsetCommitValue};

use self::history::History;
use super::super::planted::Bug;
use super::super::record;
use super::*;
use crate::Reply;
use crate::simulated::{IS_REPEATED, finds, over_seeds};

const STEPS: u64 = 600;
const PRODUCERS: u64 = 3;

/// What one client believes.
#[derive(Debug, Default, Clone)]
struct Client {
    member_id: String,
    instance: Option<String>,
    generation: i32,
    protocol: Option<String>,
    members: Vec<String>,
}

/// A request on its way.
#[derive(Debug, Clone)]
struct Sent {
    client: usize,
    version: i16,
    request: Request,
}

/// A request that the shard has been asked.
#[derive(Debug, Clone)]
struct Asked {
    sent: Sent,
    /// The first record of the decision that was made at once, if there was one, and when.
    record: Option<(Offset, Millis)>,
}

struct Simulation {
    shard: GroupShard,
    settings: Settings,
    random: Random,
    now: Millis,
    log: Vec<(Origin, Entry)>,
    /// The high watermark: everything before it stays.
    committed: Offset,
    next_reply: u64,
    /// Asked and not answered.
    open: BTreeMap<ReplyTo, Asked>,
    /// Answers that wait for the high watermark.
    held: Vec<(Offset, ReplyTo, Response)>,
    network: Vec<Sent>,
    clients: Vec<Client>,
    next_value: i64,
    history: History,
}

impl Simulation {
    fn new(seed: u64, planted: Option<Bug>) -> Simulation {
        let clients = 2 + (seed % 6) as usize;
        let retention = if seed.is_multiple_of(5) { 20_000 } else { 1_000_000_000 };
        let settings = Settings {
            initial_rebalance_delay_ms: 500,
            size_max: clients.max(3) - 1,
            offsets_retention: Millis(retention),
            offsets_retention_check_interval: Millis(3_000),
            planted,
            ..Settings::default()
        };
        let client =
            |at: usize| Client { instance: at.is_multiple_of(3).then(|| format!("i{at}")), ..Client::default() };
        let mut simulation = Simulation {
            shard: GroupShard::new(settings),
            settings,
            random: Random::from_seed(seed),
            now: Millis(1_000_000),
            log: Vec::new(),
            committed: Offset(0),
            next_reply: 0,
            open: BTreeMap::new(),
            held: Vec::new(),
            network: Vec::new(),
            clients: (0..clients).map(client).collect(),
            next_value: 0,
            history: History::new(Millis(retention)),
        };
        let decision = simulation.shard.loaded(simulation.now);
        simulation.commit(decision);
        simulation
    }

    /// A line of the trace, when one seed is looked at.
    fn tell(&self, what: &str, value: &dyn std::fmt::Debug) {
        if IS_REPEATED {
            eprintln!("{} {what}: {value:?}", self.now.0);
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn step(&mut self) {
        let at = self.below(self.clients.len() as u64) as usize;
        match self.below(100) {
            0..=19 => self.join(at),
            20..=29 => self.sync(at),
            30..=44 => self.beat(at),
            45..=54 => self.offset_commit(at),
            55..=58 => self.offset_fetch(at),
            59..=61 => self.leave(at),
            62 => self.transaction(),
            63..=64 => {
                // Dies in silence; comes back as somebody new.
                self.clients[at] = Client { instance: self.clients[at].instance.clone(), ..Client::default() };
            }
            65 => self.fail(),
            66 => self.delete_group(at),
            67..=82 => self.wait_some(),
            _ => {}
        }
        for _ in 0..2 {
            self.deliver();
        }
        if self.below(3) > 0 {
            self.advance();
        }
        self.check();
    }

    fn check(&mut self) {
        self.shard.check();
        self.history.check(self.now, &self.shard);
    }

    // What clients do.

    fn send(&mut self, client: usize, version: i16, request: Request) {
        let sent = Sent { client, version, request };
        match self.below(20) {
            0 => {}
            1 => self.network.extend([sent.clone(), sent]),
            _ => self.network.push(sent),
        }
    }

    fn join(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let mut request = join_request(&client.member_id);
        request.group_instance_id = client.instance;
        if self.one_in(4) {
            request.protocols = vec![protocol("range", &["t", "u"]), protocol("sticky", &["t"])];
        }
        let version = [3, 4, 9][self.below(3) as usize];
        self.send(at, version, Request::Join(request));
    }

    fn sync(&mut self, at: usize) {
        let client = self.clients[at].clone();
        self.next_value += 1;
        // No two assignments are the same, so that one in another's place shows.
        let part = format!("part {}", self.next_value);
        let parts: Vec<(&str, &str)> = client.members.iter().map(|member| (member.as_str(), part.as_str())).collect();
        let mut request = sync_request(&client.member_id, client.generation, &parts);
        request.protocol_name = client.protocol.clone();
        request.group_instance_id = client.instance;
        if client.protocol.is_some() {
            self.send(at, 5, Request::Sync(request));
        }
    }

    fn beat(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: client.generation,
            member_id: client.member_id,
            group_instance_id: client.instance,
        };
        self.send(at, 4, Request::Heartbeat(request));
    }

    fn offset_commit(&mut self, at: usize) {
        let client = self.clients[at].clone();
        self.next_value += 1;
        let generation = if self.one_in(8) { -1 } else { client.generation };
        let mut request = commit_request(&client.member_id, generation, self.next_value);
        request.group_instance_id = client.instance.filter(|_| generation >= 0);
        if generation < 0 {
            request.member_id.clear();
        }
        self.send(at, 9, Request::OffsetCommit(request));
    }

    fn offset_fetch(&mut self, at: usize) {
        let topic = OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
        let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
        self.send(at, 9, Request::OffsetFetch { group, require_stable: false });
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let identity = MemberIdentity { member_id: client.member_id, ..Default::default() };
        let members = vec![MemberIdentity { group_instance_id: client.instance.clone(), ..identity }];
        let request = LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() };
        self.send(at, 5, Request::Leave(request));
        self.clients[at] = Client { instance: client.instance, ..Client::default() };
    }

    fn delete_group(&mut self, at: usize) {
        self.send(at, 2, Request::DeleteGroups(vec!["g".into()]));
    }

    /// A producer stores an offset in its transaction, or ends it.
    fn transaction(&mut self) {
        let producer = self.below(PRODUCERS) as i64;
        let is_end = self.one_in(2);
        let entry = if is_end {
            Entry::TransactionEnd { committed: self.below(4) > 0 }
        } else {
            self.next_value += 1;
            let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 0 };
            let now = self.now.0;
            let value = OffsetCommitValue {
                offset: self.next_value,
                commit_timestamp: now,
                expire_timestamp: -1,
                ..Default::default()
            };
            Entry::Record(record::offset(&key, &value))
        };
        self.append(entry, Some(producer));
    }

    // What becomes of their requests.

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.below(self.network.len().min(8) as u64) as usize;
        let sent = self.network.remove(at);
        self.next_reply += 1;
        let to = ReplyTo(self.next_reply);
        let context = Context {
            version: sent.version,
            client_id: "c".into(),
            client_address: [10, 0, 0, 1].into(),
            random: self.random.bytes16(),
        };
        let (version, request) = (sent.version, sent.request.clone());
        self.tell("asked", &(to, &request));
        self.open.insert(to, Asked { sent, record: None });
        if let Some(response) = refuse(&request, version, &self.settings) {
            return self.answer(to, response);
        }
        let decision = self.shard.handle(self.now, Event::Request { to, context, request });
        if self.one_in(60) {
            return self.append_failed(decision);
        }
        if let Some(asked) = self.open.get_mut(&to) {
            asked.record = (!decision.records.is_empty()).then_some((Offset(self.log.len() as i64), self.now));
        }
        self.commit(decision);
    }

    fn append(&mut self, entry: Entry, producer: Option<i64>) {
        let offset = Offset(self.log.len() as i64);
        let producer = producer.map(|id| (milena_protocol::ProducerId(id), milena_protocol::ProducerEpoch(0)));
        let at = Origin { offset, producer };
        self.shard.replay(at, &entry).expect("own records are sound");
        self.log.push((at, entry));
    }

    /// Appends and replays what was decided. Its answers leave when the high watermark has passed it.
    fn commit(&mut self, decision: Decision<Response, Effect>) {
        self.tell("decided", &decision);
        for record in &decision.records {
            self.append(Entry::Record(record.clone()), None);
        }
        let own = (!decision.records.is_empty()).then(|| Offset(self.log.len() as i64 - 1));
        for reply in decision.replies {
            if let Some(asked) = self.open.get(&reply.to) {
                self.history.decided(self.now, asked, &reply.response, &self.shard);
            }
            let known = if self.settings.planted == Some(Bug::AnswerBeforeCommit) {
                reply.written
            } else {
                reply.written.max(own)
            };
            self.held.push((known.unwrap_or(Offset(-1)), reply.to, reply.response));
        }
        self.release();
    }

    /// The high watermark moves on, by a part of what is there.
    fn advance(&mut self) {
        let behind = self.log.len() as u64 - self.committed.0 as u64;
        self.committed.0 += self.below(behind + 1) as i64;
        self.release();
    }

    fn release(&mut self) {
        let committed = self.committed;
        let (ready, held) = std::mem::take(&mut self.held).into_iter().partition(|(known, ..)| *known < committed);
        self.held = held;
        for (_, to, response) in ready {
            self.answer(to, response);
        }
    }

    fn answer(&mut self, to: ReplyTo, response: Response) {
        self.tell("answered", &(to, &response));
        let asked = self.open.remove(&to);
        let asked = asked.unwrap_or_else(|| panic!("{to:?} was not asked, or was answered before: {response:?}"));
        self.history.answered(&asked, &response, &self.shard);
        if self.below(20) > 0 {
            self.hear(&asked.sent, response);
        }
    }

    fn hear(&mut self, sent: &Sent, response: Response) {
        let client = &mut self.clients[sent.client];
        match (&sent.request, response) {
            (Request::Join(_), Response::Join(response)) => match error(response.error_code) {
                ErrorCode::None => {
                    client.members = response.members.into_iter().map(|member| member.member_id).collect();
                    client.member_id = response.member_id;
                    client.generation = response.generation_id;
                    client.protocol = response.protocol_name;
                }
                ErrorCode::MemberIdRequired => client.member_id = response.member_id,
                ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId | ErrorCode::GroupMaxSizeReached => {
                    client.member_id.clear();
                }
                _ => {}
            },
            (Request::Heartbeat(request), Response::Heartbeat(response))
                if error(response.error_code) == ErrorCode::UnknownMemberId
                    && request.member_id == client.member_id =>
            {
                client.member_id.clear();
            }
            _ => {}
        }
    }

    // What goes wrong below the shard.

    fn fail(&mut self) {
        if self.one_in(2) {
            // The process is gone: nobody is answered.
            self.open.clear();
            self.held.clear();
            self.network.clear();
        } else {
            self.unload(Vec::new());
        }
        self.log.truncate(self.committed.0 as usize);
        self.load();
    }

    /// Nothing was written: the shard is thrown away and loaded from its log.
    fn append_failed(&mut self, decision: Decision<Response, Effect>) {
        self.unload(decision.replies);
        self.load();
    }

    /// Everybody who waits is told.
    fn unload(&mut self, decided: Vec<Reply<Response>>) {
        let shard = std::mem::replace(&mut self.shard, GroupShard::new(self.settings));
        let dismissed = shard.unloaded();
        let held = std::mem::take(&mut self.held).into_iter().map(|(_, to, response)| (to, response));
        let decided = decided.into_iter().map(|reply| (reply.to, reply.response));
        for (to, response) in held.chain(decided) {
            let version = self.open.get(&to).map_or(0, |asked| asked.sent.version);
            self.answer(to, response.failed(version, ErrorCode::NotLeaderOrFollower));
        }
        for reply in dismissed {
            self.answer(reply.to, reply.response);
        }
        assert!(self.open.is_empty(), "{:?} are waited for by nobody", self.open);
    }

    fn load(&mut self) {
        self.tell("loaded up to", &self.log.len());
        self.shard = GroupShard::new(self.settings);
        for (at, entry) in &self.log {
            self.shard.replay(*at, entry).expect("the log is sound");
        }
        self.history.reloaded(&self.shard);
        let decision = self.shard.loaded(self.now);
        self.commit(decision);
        self.check();
    }

    fn wait_some(&mut self) {
        let ms = self.below(4_000) as i64;
        self.wait(ms);
    }

    /// Lets time pass, with everything that becomes due in it.
    fn wait(&mut self, ms: i64) {
        let end = self.now + Millis(ms);
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let decision = self.shard.tick(self.now);
            self.commit(decision);
            self.check();
        }
        self.now = end;
    }

    /// Left alone, everybody who still waits is answered.
    fn settle(&mut self) {
        while !self.network.is_empty() {
            self.deliver();
        }
        for _ in 0..2 {
            self.wait(600_000);
            self.committed = Offset(self.log.len() as i64);
            self.release();
            self.check();
        }
        assert!(self.open.is_empty(), "{:?} were never answered", self.open);
    }
}

/// One run: how many generations formed.
fn run(seed: u64, planted: Option<Bug>) -> u64 {
    let mut simulation = Simulation::new(seed, planted);
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.settle();
    simulation.history.generations
}

#[test]
fn clients_see_what_they_may_see_whatever_happens_below_them() {
    let Some(outcomes) = over_seeds("clients_see", 150, &Bug::OF_CLASSIC, run) else { return };
    let generations: u64 = outcomes.iter().sum();
    assert!(generations > 1_000, "the runs are of no worth if nothing happens: {generations}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let log = |seed| {
        let mut simulation = Simulation::new(seed, None);
        for _ in 0..STEPS {
            simulation.step();
        }
        simulation.log
    };
    assert_eq!(log(7), log(7));
}

finds! {
    run, Bug::OF_CLASSIC,
    finds_an_answer_before_its_commit: AnswerBeforeCommit,
    finds_a_stale_generation_that_is_accepted: StaleGeneration,
    finds_a_commit_without_a_part: CommitWithoutPart,
    finds_a_commit_that_is_no_sign_of_life: CommitIsNoSignOfLife,
    finds_a_forgotten_join: JoinForgotten,
    finds_a_former_join_without_an_answer: FormerJoinUnanswered,
    finds_a_second_answer: AnsweredTwice,
    finds_a_sync_before_its_record: SyncBeforeRecord,
    finds_a_tombstone_with_offsets_left: TombstoneWithOffsets,
    finds_offsets_that_expire_at_once: ExpiryAtOnce,
    finds_a_static_member_kept_twice: StaticMemberTwice,
    finds_an_instance_that_is_not_fenced: InstanceNotFenced,
    finds_a_leader_that_is_not_replaced: LeaderNotReplaced,
    finds_two_leaders: TwoLeaders,
    finds_a_generation_that_comes_twice: GenerationTwice,
    finds_an_offset_that_is_overtaken: OffsetOvertaken,
    finds_sessions_that_are_lost_on_reload: SessionsLostOnReload,
}
