//! Three voters and an observer in a network that loses, delays and cuts, with disks that forget what was not flushed.
//! Everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena_protocol::messages::{MetadataRecord, NoOpRecord};
use milena_protocol::wire::Records;

use super::*;
use crate::records::{self, Control, Entry};
use crate::snapshot::{self, SnapshotId};

const NODES: [i32; 4] = [1, 2, 3, 4];
const VOTERS: [i32; 3] = [1, 2, 3];
/// Histories that the random test runs.
const SEEDS: u64 = 100;
/// Fewer than a snapshot has, so that it comes in pieces.
const PIECE_BYTES: usize = 1500;

#[derive(Clone)]
struct Stored {
    batch: records::Batch,
    bytes: Bytes,
}

/// What survives a crash, and what does not.
struct Node {
    raft: Raft,
    state: Option<QuorumState>,
    log_start: Offset,
    log: Vec<Stored>,
    flushed: Offset,
    snapshot: Option<(SnapshotId, Bytes)>,
    piece: Vec<u8>,
    timer: Option<Millis>,
    is_up: bool,
    /// Counts the starts: what was meant for an earlier one is lost.
    life: u64,
    high_watermark: Offset,
    /// How long its disk takes at most.
    flush_ms: u64,
    seed: u64,
}

enum Delivery {
    Request { from: usize, life: u64, correlation: u64, request: Request },
    Response { life: u64, correlation: u64, response: Result<Response, ErrorCode> },
    Flushed { life: u64, end: Offset },
}

struct Network {
    random: Random,
    now: Millis,
    nodes: Vec<Node>,
    queue: BTreeMap<(Millis, u64), (usize, Delivery)>,
    sequence: u64,
    /// Who waits for an answer: node, life and correlation, by token.
    asking: BTreeMap<u64, (usize, u64, u64)>,
    /// From, to.
    cut: BTreeSet<(usize, usize)>,
    loss_percent: u64,
    committed: BTreeMap<Offset, records::Batch>,
    leaders: BTreeMap<LeaderEpoch, usize>,
    /// Snapshots that took the place of a log.
    installed: usize,
}

impl Network {
    fn new(seed: u64) -> Network {
        let nodes = NODES.map(|id| Node {
            raft: Raft::new(Options { seed: seed ^ id as u64, ..options(id) }),
            state: None,
            log_start: Offset(0),
            log: Vec::new(),
            flushed: Offset(0),
            snapshot: None,
            piece: Vec::new(),
            timer: None,
            is_up: false,
            life: 0,
            high_watermark: Offset(0),
            flush_ms: 3,
            seed: seed ^ id as u64,
        });
        let mut network = Network {
            random: Random::from_seed(seed),
            now: Millis(1),
            nodes: nodes.into(),
            queue: BTreeMap::new(),
            sequence: 0,
            asking: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss_percent: 0,
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            installed: 0,
        };
        for at in 0..NODES.len() {
            network.start(at);
        }
        network
    }

    fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        (node.is_up, node.life, node.timer, node.high_watermark) = (true, node.life + 1, None, Offset(0));
        node.seed += 1000;
        node.raft = Raft::new(Options { seed: node.seed, ..options(NODES[at]) });
        let mut epochs: Vec<EpochStart> = Vec::new();
        let mut voters = vec![(Offset(-1), voters_record(&VOTERS))];
        if let Some((id, contents)) = &node.snapshot {
            let read = snapshot::read(*id, contents).expect("a whole snapshot");
            voters = vec![(Offset(id.end.0 - 1), read.voters.expect("the quorum is dynamic"))];
        }
        for Stored { batch, .. } in &node.log {
            if epochs.last().is_none_or(|last| last.epoch < batch.epoch) {
                epochs.push(EpochStart { epoch: batch.epoch, start: batch.base });
            }
            voters.extend(voters_of(batch).map(|voters| (Offset(batch.end().0 - 1), voters)));
        }
        let start = Start {
            state: node.state.clone(),
            log_start: node.log_start,
            log_end: node.end(),
            epochs,
            snapshot: node.snapshot.as_ref().map(|(id, _)| *id),
            static_voters: Vec::new(),
            voters,
        };
        node.flushed = node.end();
        self.step(at, Event::Started(start));
    }

    /// The process dies: of what was not flushed, some whole batches may have reached the disk.
    fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_up = false;
        node.piece.clear();
        let unflushed = node.log.iter().filter(|stored| stored.batch.end() > node.flushed).count();
        let lost = self.random.below(unflushed as u64 + 1) as usize;
        node.log.truncate(node.log.len() - lost);
    }

    fn step(&mut self, at: usize, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.nodes[at].raft.step(self.now, event);
            self.nodes[at].raft.check();
            if let Some(epoch) = self.nodes[at].raft.leading() {
                assert_eq!(*self.leaders.entry(epoch).or_insert(at), at, "two leaders of epoch {epoch}");
            }
            for effect in effects {
                events.extend(self.effect(at, effect));
            }
        }
    }

    fn effect(&mut self, at: usize, effect: Effect) -> Vec<Event> {
        let node = &mut self.nodes[at];
        match effect {
            Effect::Persist(state) => {
                assert!(node.state.as_ref().is_none_or(|old| old.epoch <= state.epoch), "an epoch went back");
                node.state = Some(state);
            }
            Effect::Append(bytes) | Effect::AppendFetched(bytes) => return node.append(&bytes),
            Effect::Flush => {
                let (life, end) = (node.life, node.end());
                let slowest = node.flush_ms;
                self.deliver(at, slowest, Delivery::Flushed { life, end });
            }
            Effect::Truncate { end } => {
                assert!(node.high_watermark <= end, "committed records were cut off");
                node.log.retain(|stored| stored.batch.base < end);
                assert_eq!(node.end(), end, "a cut inside a batch");
                node.flushed = node.flushed.min(end);
                return vec![Event::Truncated { end }];
            }
            Effect::Send { to, correlation, request } => {
                let life = node.life;
                let to = NODES.iter().position(|id| *id == to.id.0).expect("a known node");
                self.transmit(at, to, Delivery::Request { from: at, life, correlation, request });
            }
            Effect::Reply { to, response, records, snapshot } => {
                let (asker, life, correlation) = self.asking.remove(&to.0).expect("one answer to one request");
                let response = Ok(self.nodes[at].fill(response, records, snapshot));
                self.transmit(at, asker, Delivery::Response { life, correlation, response });
            }
            Effect::Timer(when) => node.timer = Some(when),
            Effect::HighWatermark(offset) => self.commit(at, offset),
            Effect::BecameLeader { .. } => {
                let node = &self.nodes[at];
                assert!(
                    self.committed.values().all(|batch| batch.end() <= node.end()),
                    "a leader without committed records"
                );
            }
            Effect::Resigned | Effect::LeaderChanged { .. } => {}
            Effect::SnapshotChunk { id, position, bytes, last } => {
                self.installed += usize::from(last);
                return node.take_piece(id, position, &bytes, last);
            }
        }
        Vec::new()
    }

    /// Whatever any node takes as committed must be the same on all, for ever.
    fn commit(&mut self, at: usize, offset: Offset) {
        let node = &mut self.nodes[at];
        assert!(offset > node.high_watermark, "the high watermark went back");
        let before = std::mem::replace(&mut node.high_watermark, offset);
        for Stored { batch, .. } in &node.log {
            if batch.end() <= offset && batch.base >= before {
                let committed = self.committed.entry(batch.base).or_insert_with(|| batch.clone());
                assert_eq!(committed, batch, "two committed batches at one offset");
            }
        }
    }

    fn transmit(&mut self, from: usize, to: usize, delivery: Delivery) {
        if !self.cut.contains(&(from, to)) && self.random.below(100) >= self.loss_percent {
            self.deliver(to, 10, delivery);
        }
    }

    fn deliver(&mut self, to: usize, delay_max: u64, delivery: Delivery) {
        self.sequence += 1;
        let when = self.now + Millis(1 + self.random.below(delay_max) as i64);
        self.queue.insert((when, self.sequence), (to, delivery));
    }

    fn run(&mut self, span_ms: i64) {
        let end = self.now + Millis(span_ms);
        loop {
            let timer = self.nodes.iter().filter(|node| node.is_up).filter_map(|node| node.timer).min();
            let message = self.queue.keys().next().map(|(when, _)| *when);
            let next = timer.into_iter().chain(message).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            match message {
                Some(when) if when == next => {
                    let (_, (to, delivery)) = self.queue.pop_first().expect("it was just seen");
                    self.arrive(to, delivery);
                }
                _ => {
                    let due = |node: &Node| node.is_up && node.timer == Some(next);
                    let at = self.nodes.iter().position(due).expect("it was just seen");
                    self.nodes[at].timer = None;
                    self.step(at, Event::Tick);
                }
            }
        }
    }

    fn arrive(&mut self, to: usize, delivery: Delivery) {
        let node = &mut self.nodes[to];
        match delivery {
            Delivery::Request { from, life, correlation, request } => {
                if !node.is_up {
                    let response = Err(ErrorCode::NetworkException);
                    return self.transmit(to, from, Delivery::Response { life, correlation, response });
                }
                self.sequence += 1;
                let token = self.sequence;
                self.asking.insert(token, (from, life, correlation));
                self.step(to, Event::Request { reply_to: ReplyTo(token), request });
            }
            Delivery::Response { life, correlation, response } if node.is_up && node.life == life => {
                self.step(to, Event::Response { correlation, response });
            }
            Delivery::Flushed { life, end } if node.is_up && node.life == life => {
                node.flushed = node.flushed.max(end.min(node.end()));
                self.step(to, Event::Flushed { end });
            }
            Delivery::Response { .. } | Delivery::Flushed { .. } => {}
        }
    }

    /// Every leader, even one that is none any more but does not know, appends.
    fn append_on_leaders(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if let Some(epoch) = node.raft.leading().filter(|_| node.is_up) {
                let count = 1 + self.random.below(3) as usize;
                let records = vec![MetadataRecord::from(NoOpRecord::default()); count];
                let bytes = records::encode_data(node.end(), epoch, self.now, &records);
                for event in self.nodes[at].append(&bytes) {
                    self.step(at, event);
                }
            }
        }
    }

    fn take_snapshot(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let end = node.high_watermark;
        let last = node.log.iter().find(|stored| stored.batch.end() == end).map(|stored| stored.batch.epoch);
        let Some(epoch) = last.filter(|_| node.is_up) else { return };
        let id = SnapshotId { end, epoch };
        let records = vec![MetadataRecord::from(NoOpRecord::default()); 300];
        let contents = snapshot::contents(&records, Some(&voters_record(&VOTERS)), epoch, self.now, self.now);
        node.snapshot = Some((id, contents));
        node.log_start = end;
        node.log.retain(|stored| stored.batch.base >= end);
        self.step(at, Event::SnapshotSaved { id, log_start: end });
    }

    /// One thing that goes wrong, or right again.
    fn disturb(&mut self) {
        let at = self.random.below(NODES.len() as u64) as usize;
        let other = self.random.below(NODES.len() as u64) as usize;
        match self.random.below(12) {
            0 if self.nodes[at].is_up => self.crash(at),
            1 => (0..NODES.len()).for_each(|other| {
                self.cut.insert((at, other));
                self.cut.insert((other, at));
            }),
            2 => drop(self.cut.insert((at, other))),
            3 => self.cut.clear(),
            4 => self.loss_percent = self.random.below(20),
            // It shuts down: it has a moment to say so.
            5 if self.nodes[at].is_up => {
                self.step(at, Event::Resign);
                self.run(100);
                self.crash(at);
            }
            6 => self.take_snapshot(at),
            7 => self.nodes[at].flush_ms = 1 + self.random.below(600),
            // The power fails for a moment.
            8 => [at, other]
                .into_iter()
                .filter(|at| self.nodes[*at].is_up)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .for_each(|at| {
                    self.crash(at);
                    self.start(at);
                }),
            _ if !self.nodes[at].is_up => self.start(at),
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.loss_percent = 0;
        for at in 0..NODES.len() {
            self.nodes[at].flush_ms = 3;
            // Who was told to stop takes part in nothing: its process ends.
            if self.nodes[at].is_up {
                self.crash(at);
            }
            self.start(at);
        }
    }
}

impl Node {
    fn end(&self) -> Offset {
        self.log.last().map_or(self.log_start, |stored| stored.batch.end())
    }

    fn append(&mut self, bytes: &Bytes) -> Vec<Event> {
        let mut events = Vec::new();
        for raw in milena_protocol::records::batches(bytes.clone()) {
            let bytes = raw.expect("whole batches").bytes().clone();
            let batch = records::decode(&bytes).expect("our own records").remove(0);
            assert_eq!(batch.base, self.end(), "a gap in the log");
            let (epoch, base, end, voters) = (batch.epoch, batch.base, batch.end(), voters_of(&batch));
            self.log.push(Stored { batch, bytes });
            events.push(Event::Appended { epoch, base, end, voters });
        }
        events
    }

    fn fill(&self, response: Response, records: Option<ReadRange>, range: Option<SnapshotRange>) -> Response {
        match response {
            Response::Fetch(mut response) => {
                if let Some(range) = records {
                    let batches = self.log.iter().filter(|stored| stored.batch.end() > range.from);
                    let mut bytes: Vec<u8> = Vec::new();
                    for stored in batches.take_while(|stored| stored.batch.end() <= range.end) {
                        if bytes.is_empty() || bytes.len() + stored.bytes.len() <= range.bytes_max {
                            bytes.extend_from_slice(&stored.bytes);
                        }
                    }
                    response.responses[0].partitions[0].records = Records::Bytes(bytes.into());
                }
                Response::Fetch(response)
            }
            Response::FetchSnapshot(mut response) => {
                if let (Some(range), Some((_, contents))) = (range, &self.snapshot) {
                    let partition = &mut response.topics[0].partitions[0];
                    let end = contents.len().min(range.position as usize + range.bytes_max.min(PIECE_BYTES));
                    partition.size = contents.len() as i64;
                    partition.unaligned_records = Records::Bytes(contents.slice(range.position as usize..end));
                }
                Response::FetchSnapshot(response)
            }
            other => other,
        }
    }

    fn take_piece(&mut self, id: SnapshotId, position: u64, bytes: &Bytes, last: bool) -> Vec<Event> {
        self.piece.truncate(position as usize);
        assert_eq!(self.piece.len() as u64, position, "a gap in the snapshot");
        self.piece.extend_from_slice(bytes);
        if !last {
            return Vec::new();
        }
        let contents = Bytes::from(std::mem::take(&mut self.piece));
        snapshot::read(id, &contents).expect("all pieces make a snapshot");
        self.snapshot = Some((id, contents));
        (self.log_start, self.flushed) = (id.end, id.end);
        self.log.clear();
        vec![Event::SnapshotSaved { id, log_start: id.end }]
    }
}

fn voters_of(batch: &records::Batch) -> Option<VotersRecord> {
    batch.entries.iter().find_map(|entry| match entry {
        Entry::Control(Control::Voters(voters)) => Some(voters.clone()),
        _ => None,
    })
}

/// Runs one history and returns the network at rest.
fn history(seed: u64, disturbances: usize) -> Network {
    let mut network = Network::new(seed);
    network.run(5000);
    for _ in 0..disturbances {
        network.disturb();
        for _ in 0..1 + network.random.below(8) {
            network.append_on_leaders();
            let pause = 1 + network.random.below(400) as i64;
            network.run(pause);
        }
    }
    network.heal();
    network.run(20_000);
    network
}

fn assert_converged(network: &Network) {
    let leaders: Vec<&Node> = network.nodes.iter().filter(|node| node.raft.leading().is_some()).collect();
    let [leader] = leaders.as_slice() else { panic!("{} leaders", leaders.len()) };
    for node in &network.nodes {
        assert_eq!(node.raft.leader(), leader.raft.leader());
        assert_eq!(node.raft.epoch(), leader.raft.epoch());
        assert_eq!((node.end(), node.high_watermark), (leader.end(), leader.end()), "not all is committed everywhere");
        assert_eq!(node.raft.voters(), leader.raft.voters());
    }
}

#[test]
fn three_voters_elect_a_leader_and_commit() {
    let mut network = Network::new(7);
    network.run(3000);
    for _ in 0..10 {
        network.append_on_leaders();
        network.run(50);
    }
    assert_converged(&network);
    assert_eq!(network.leaders.len(), 1, "nobody disturbed the first leader");
}

#[test]
fn nothing_committed_is_lost_whatever_happens() {
    let (mut leaders, mut batches, mut snapshots) = (0, 0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let network = history(seed, 60);
        assert_converged(&network);
        leaders += network.leaders.len();
        batches += network.committed.len();
        snapshots += network.installed;
    }
    // Else the histories were too dull to prove anything.
    assert!(leaders > 5 * SEEDS as usize && batches > 50 * SEEDS as usize && snapshots > SEEDS as usize / 4);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let (one, two) = (history(3, 30), history(3, 30));
    assert_eq!((one.now, one.sequence, &one.leaders), (two.now, two.sequence, &two.leaders));
    assert_eq!(one.committed, two.committed);
}
