//! A shard among producers, a network, partitions and a log that all do what they may at the worst moment: requests come
//! late, twice or never, answers are lost, producers take transactional ids from each other, markers are refused or
//! come late, appends fail, records that were not committed yet are cut off, and the shard is loaded again. After every
//! step it checks itself, and [`history`] what readers of committed records and producers can see.
//!
//! ```text
//!   producers ── requests ──► network ── late, twice, never ──► shard ── records ──► log ── high watermark
//!      ▲  │                                                     │  ▲                  │
//!      │  └── records ──► partitions ◄── markers ── effects ◄───┘──┘ results          │
//!      └──────────────── answers, some are lost ◄── held until committed ◄────────────┘
//! ```

mod history;
mod partitions;
mod producers;

use milena_base::Random;

use self::history::History;
use self::partitions::Partitions;
use self::producers::{Operation, Producer};
use super::super::planted::Bug;
use super::*;
use crate::Reply;
use crate::simulated::{IS_REPEATED, finds, over_seeds};

const STEPS: u64 = 900;
/// Long enough that a producer that is alive ends in time, mostly.
const PATIENCE_MS: i32 = 20_000;
const IDS: [&str; 2] = ["a", "b"];
const EXPIRATION_MS: i64 = 90_000;

/// A request on its way.
#[derive(Debug, Clone)]
struct Sent {
    producer: usize,
    /// What the producer is at: an answer to anything else comes too late for it.
    operation: u64,
    version: i16,
    request: Request,
    /// Where it is about a record: how many markers its partition had, when its leader asked. One that comes between
    /// voids the answer.
    guard: usize,
}

/// Something that the shard wants done, on its way.
#[derive(Debug, Clone)]
struct UnderWay {
    load: u64,
    effect: Effect,
}

struct Simulation {
    shard: TransactionShard,
    settings: Settings,
    random: Random,
    now: Millis,
    log: Vec<(Origin, Entry)>,
    /// The high watermark: everything before it stays.
    committed: Offset,
    load: u64,
    /// The shard is loaded, and waits for the effects of the one before it.
    is_waiting: bool,
    next_reply: u64,
    next_operation: u64,
    next_producer_id: i64,
    /// Asked and not answered.
    open: BTreeMap<ReplyTo, Sent>,
    /// Answers that wait for the high watermark.
    held: Vec<(Offset, ReplyTo, Response)>,
    /// Effects that wait for it.
    wanted: Vec<(Offset, Effect)>,
    under_way: Vec<UnderWay>,
    network: Vec<Sent>,
    producers: Vec<Producer>,
    partitions: Partitions,
    history: History,
}

impl Simulation {
    fn new(seed: u64, planted: Option<Bug>) -> Simulation {
        let settings = Settings {
            abort_interval: Millis(1_000),
            id_expiration: Millis(EXPIRATION_MS),
            expiry_interval: Millis(5_000),
            planted,
            ..Settings::default()
        };
        let producer = |at: usize| Producer::new(IDS[at % IDS.len()], !(seed + at as u64).is_multiple_of(3));
        let mut simulation = Simulation {
            shard: TransactionShard::new(settings, LeaderEpoch(1), 2),
            settings,
            random: Random::from_seed(seed),
            now: Millis(1_000_000),
            log: Vec::new(),
            committed: Offset(0),
            load: 0,
            is_waiting: false,
            next_reply: 0,
            next_operation: 0,
            next_producer_id: 100,
            open: BTreeMap::new(),
            held: Vec::new(),
            wanted: Vec::new(),
            under_way: Vec::new(),
            network: Vec::new(),
            producers: (0..2 + (seed % 3) as usize).map(producer).collect(),
            partitions: Partitions::default(),
            history: History::default(),
        };
        // The epochs of one producer id are nearly used up.
        let worn = super::at_rest(5, i16::MAX - 1 - (seed % 8) as i16);
        simulation.append(record::transaction("a", &worn, 2));
        simulation.committed = Offset(1);
        simulation.load();
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
        let at = self.below(self.producers.len() as u64) as usize;
        match self.below(100) {
            0..=64 => self.act(at),
            65..=66 => {
                // Another process takes over, and knows nothing, or only who it is.
                let forgets_all = self.one_in(2);
                self.producers[at].begin_anew(forgets_all);
            }
            67 => self.fail(),
            68..=77 => {
                let ms = self.below(2_000) as i64;
                self.wait(ms);
            }
            78 => {
                let ms = self.below(60_000) as i64;
                self.wait(ms);
            }
            _ => {}
        }
        self.deliver();
        self.deliver();
        self.carry_out();
        if self.below(3) > 0 {
            self.advance();
        }
        self.check();
    }

    fn check(&self) {
        self.shard.check();
    }

    /// What a producer does next, or again.
    fn act(&mut self, at: usize) {
        if self.producers[at].current.is_none() {
            self.next_operation += 1;
            let number = self.next_operation;
            let instance = self.history.next_instance();
            let next = self.producers[at].next(number, instance, &mut self.random);
            self.tell("begins", &(at, &next));
            self.history.begins(&self.producers[at], &next);
            if self.producers[at].may_confuse() {
                // Nobody could tell what it said in its last transaction from what it says in this one (KIP-890).
                self.network.retain(|sent| sent.producer != at);
            }
            self.producers[at].current = Some(next);
        }
        let Some(current) = &self.producers[at].current else { return };
        let (version, request) = self.producers[at].request(current);
        let guard = self.producers[at].identity.map_or(0, |(id, _)| self.partitions.markers(current, id));
        let sent = Sent { producer: at, operation: current.number, version, request, guard };
        match self.below(20) {
            0 => {}
            1 => self.network.extend([sent.clone(), sent]),
            _ => self.network.push(sent),
        }
    }

    // What becomes of their requests.

    fn deliver(&mut self) {
        if self.network.is_empty() || self.is_waiting {
            return;
        }
        let at = self.below(self.network.len().min(8) as u64) as usize;
        let sent = self.network.remove(at);
        self.next_reply += 1;
        let to = ReplyTo(self.next_reply);
        let context = Context { version: sent.version };
        self.tell("asked", &(to, &sent.request));
        self.history.asked(&sent.request);
        self.open.insert(to, sent.clone());
        let decision = self.shard.handle(self.now, Event::Request { to, context, request: sent.request });
        self.decided(decision, Some(to));
    }

    /// Appends what was decided, unless that fails.
    fn decided(&mut self, decision: Decision<Response, Effect>, asked: Option<ReplyTo>) {
        self.tell("decided", &decision);
        let writes = !decision.records.is_empty();
        if writes && self.one_in(60) {
            if decision.effects.is_empty() && self.one_in(2) {
                // Nothing was written, and the shard goes on.
                return self.fail_replies(decision.replies);
            }
            self.unload(decision.replies);
            return self.load();
        }
        self.history.decided(self.now, &decision, asked.is_none(), &self.shard);
        for record in decision.records {
            self.append(record);
        }
        let own = writes.then(|| Offset(self.log.len() as i64 - 1));
        let hasty = self.settings.planted == Some(Bug::AnswerBeforeCommit);
        for Reply { to, response, written } in decision.replies {
            let known = if hasty { written } else { written.max(own) };
            self.held.push((known.unwrap_or(Offset(-1)), to, response));
        }
        let written = Offset(self.log.len() as i64 - 1);
        self.wanted.extend(decision.effects.into_iter().map(|effect| (written, effect)));
        self.release();
        self.tick();
    }

    /// What is due is done before anything else is looked at.
    fn tick(&mut self) {
        if !self.is_waiting
            && let Some(deadline) = self.shard.next_deadline()
            && deadline <= self.now
        {
            let decision = self.shard.tick(self.now);
            self.decided(decision, None);
        }
    }

    fn append(&mut self, record: CoordinatorRecord) {
        let at = Origin { offset: Offset(self.log.len() as i64), producer: None };
        let entry = Entry::Record(record);
        self.shard.replay(at, &entry).expect("own records are sound");
        self.log.push((at, entry));
    }

    /// The high watermark moves on, by a part of what is there.
    fn advance(&mut self) {
        let behind = self.log.len() as u64 - self.committed.0 as u64;
        self.committed.0 += self.below(behind + 1) as i64;
        self.release();
    }

    fn release(&mut self) {
        let committed = self.committed;
        let ready: Vec<_> = self.held.extract_if(.., |(known, ..)| *known < committed).collect();
        for (_, to, response) in ready {
            self.answer(to, response);
        }
        let load = self.load;
        let ready: Vec<_> = self.wanted.extract_if(.., |(known, _)| *known < committed).collect();
        for (_, effect) in ready {
            let is_same = |other: &UnderWay| id_of(&other.effect) == id_of(&effect);
            assert!(!self.under_way.iter().any(is_same), "{effect:?} is under way twice");
            self.under_way.push(UnderWay { load, effect });
        }
    }

    fn answer(&mut self, to: ReplyTo, response: Response) {
        self.tell("answered", &(to, &response));
        let sent = self.open.remove(&to);
        let sent = sent.unwrap_or_else(|| panic!("{to:?} was not asked, or was answered before: {response:?}"));
        self.history.answered(&sent.request, sent.version, &response);
        if self.one_in(20) {
            return;
        }
        let producer = &mut self.producers[sent.producer];
        let Some(done) = producer.hear(sent.operation, &response) else { return };
        if let Operation::Write { instance, partition } = done {
            let identity = producer.identity.expect("who writes has one");
            self.partitions.write(instance, partition, identity, sent.guard);
        }
    }

    // What the shard wants done.

    fn carry_out(&mut self) {
        if self.under_way.is_empty() || self.one_in(3) {
            return;
        }
        let at = self.below(self.under_way.len() as u64) as usize;
        let UnderWay { load, effect } = self.under_way.remove(at);
        let event = match effect {
            Effect::ProducerId { transactional_id } => {
                let id = if self.one_in(5) {
                    Err(ErrorCode::CoordinatorLoadInProgress)
                } else {
                    self.next_producer_id += 1;
                    Ok(ProducerId(self.next_producer_id))
                };
                Event::ProducerId { transactional_id, id }
            }
            Effect::WriteMarkers { transactional_id, marker, partitions } => {
                let mut results = Vec::new();
                for partition in partitions {
                    let marked = if self.one_in(4) {
                        Marked::Refused(ErrorCode::NotLeaderOrFollower)
                    } else {
                        let marked = self.partitions.mark(&mut self.history, partition.partition, &marker);
                        // It is there, but nobody could say so in time.
                        if self.one_in(6) { Marked::Refused(ErrorCode::RequestTimedOut) } else { marked }
                    };
                    results.push((partition, marked));
                }
                Event::Marked { transactional_id, results }
            }
        };
        self.tell("came back", &(load, &event));
        if load == self.load && !self.is_waiting {
            let decision = self.shard.handle(self.now, event);
            return self.decided(decision, None);
        }
        self.begin();
    }

    // What goes wrong below the shard.

    fn fail(&mut self) {
        if self.one_in(2) {
            // The process is gone: nobody is answered, and what was under way stops where it is.
            self.open.clear();
            self.held.clear();
            self.network.clear();
            self.under_way.clear();
        } else {
            self.unload(Vec::new());
        }
        self.log.truncate(self.committed.0 as usize);
        self.load();
    }

    fn fail_replies(&mut self, replies: Vec<Reply<Response>>) {
        for Reply { to, response, .. } in replies {
            let version = self.open.get(&to).map_or(0, |sent| sent.version);
            self.answer(to, response.failed(version, ErrorCode::NotLeaderOrFollower));
        }
    }

    /// Everybody who waits is told.
    fn unload(&mut self, decided: Vec<Reply<Response>>) {
        let shard = std::mem::replace(&mut self.shard, TransactionShard::new(self.settings, LeaderEpoch(1), 2));
        let held = std::mem::take(&mut self.held);
        let held = held.into_iter().map(|(_, to, response)| Reply { to, response, written: None });
        self.fail_replies(held.chain(decided).collect());
        for reply in shard.unloaded() {
            self.answer(reply.to, reply.response);
        }
        self.wanted.clear();
        assert!(self.open.is_empty(), "{:?} are waited for by nobody", self.open);
    }

    fn load(&mut self) {
        self.tell("loaded up to", &self.log.len());
        self.load += 1;
        self.wanted.clear();
        self.shard = TransactionShard::new(self.settings, LeaderEpoch(1), 2);
        for (at, entry) in &self.log {
            self.shard.replay(*at, entry).expect("the log is sound");
        }
        self.is_waiting = true;
        self.begin();
    }

    /// The shard begins once the effects of the one before it have ended: see `Shards`.
    fn begin(&mut self) {
        if self.is_waiting && self.under_way.is_empty() {
            self.is_waiting = false;
            let decision = self.shard.loaded(self.now);
            self.decided(decision, None);
            self.check();
        }
    }

    /// Lets time pass, with everything that becomes due in it.
    fn wait(&mut self, ms: i64) {
        let end = self.now + Millis(ms);
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end && !self.is_waiting) {
            self.now = self.now.max(deadline);
            self.tick();
            self.check();
        }
        self.now = end;
    }

    /// Left alone, every transaction ends, and everybody who still waits is answered.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.deliver();
            self.carry_out();
            self.committed = Offset(self.log.len() as i64);
            self.release();
            self.wait(1_000);
            self.check();
        }
        while !self.network.is_empty() || !self.under_way.is_empty() {
            self.deliver();
            self.carry_out();
            self.committed = Offset(self.log.len() as i64);
            self.release();
        }
        for _ in 0..60 {
            self.carry_out();
            self.committed = Offset(self.log.len() as i64);
            self.release();
            self.wait(1_000);
        }
        assert!(self.open.is_empty(), "{:?} were never answered", self.open);
        self.partitions.check_settled();
    }
}

fn id_of(effect: &Effect) -> &str {
    let (Effect::ProducerId { transactional_id } | Effect::WriteMarkers { transactional_id, .. }) = effect;
    transactional_id
}

/// One run: how many transactions were committed.
fn run(seed: u64, planted: Option<Bug>) -> u64 {
    let mut simulation = Simulation::new(seed, planted);
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.settle();
    simulation.history.committed()
}

#[test]
fn transactions_are_whole_whatever_happens_around_them() {
    let Some(outcomes) = over_seeds("transactions_are_whole", 150, &Bug::ALL, run) else { return };
    let committed: u64 = outcomes.iter().sum();
    assert!(committed > 500, "the runs are of no worth if nothing happens: {committed}");
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
    run, Bug::ALL,
    finds_an_answer_before_its_commit: AnswerBeforeCommit,
    finds_markers_that_are_lost_on_reload: MarkersLostOnReload,
    finds_a_stale_epoch_that_ends_a_transaction: StaleEpochEnds,
    finds_a_stale_epoch_that_adds_partitions: StaleEpochAdds,
    finds_a_refused_marker_that_counts: RefusedCountsAsWritten,
    finds_an_epoch_that_is_not_bumped: EpochNotBumped,
    finds_a_verdict_that_changes: VerdictChanges,
    finds_a_partition_that_is_added_too_late: AddedWhileDecided,
    finds_a_fence_without_an_abort: FenceWithoutAbort,
    finds_a_timeout_that_commits: TimeoutCommits,
    finds_a_timeout_that_does_not_fence: TimeoutDoesNotFence,
    finds_a_timeout_that_does_not_wait: TimeoutAtOnce,
    finds_markers_that_are_under_way_twice: MarkersTwice,
    finds_a_partition_that_is_forgotten: PartitionForgotten,
    finds_a_claim_that_bumps_twice: ClaimBumpsTwice,
    finds_a_retry_that_is_refused: RetryRefused,
    finds_a_producer_id_that_is_given_twice: ProducerIdTwice,
    finds_ids_that_expire_at_once: ExpiryAtOnce,
}
