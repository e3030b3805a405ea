//! Members that join, sync, beat, commit, leave, die and come back at random, over a shard whose appends fail at
//! random. After every step the shard checks itself, and this file what only clients can see.

use std::collections::BTreeSet;

use super::*;

/// What one client believes.
#[derive(Debug, Default, Clone)]
struct Client {
    member_id: String,
    instance: Option<String>,
    generation: i32,
    waits_for: Option<ReplyTo>,
    is_member: bool,
}

struct Simulation {
    world: World,
    clients: Vec<Client>,
    /// Asked and not answered.
    open: BTreeSet<ReplyTo>,
    /// Highest generation seen since the last crash.
    generation: i32,
    next_commit: i64,
    acknowledged: i64,
    generations: u64,
    /// Without crashes nothing excuses an answer that never comes.
    has_crashes: bool,
}

impl Simulation {
    fn new(seed: u64, clients: usize) -> Simulation {
        let settings = Settings { initial_rebalance_delay_ms: 500, size_max: clients - 1, ..Settings::default() };
        let mut world = World::with(settings);
        world.random = Random::from_seed(seed);
        let client =
            |at: usize| Client { instance: at.is_multiple_of(3).then(|| format!("i{at}")), ..Client::default() };
        Simulation {
            world,
            clients: (0..clients).map(client).collect(),
            open: BTreeSet::new(),
            generation: 0,
            next_commit: 1,
            acknowledged: -1,
            generations: 0,
            has_crashes: seed.is_multiple_of(2),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.world.random.below(bound)
    }

    fn step(&mut self) {
        let at = self.below(self.clients.len() as u64) as usize;
        match self.below(100) {
            0..=29 => self.join(at),
            30..=44 => self.beat(at),
            45..=59 => self.commit(at),
            60..=63 => self.leave(at),
            64..=66 => {
                // Dies in silence; comes back as somebody new.
                self.clients[at] = Client { instance: self.clients[at].instance.clone(), ..Client::default() };
            }
            67 if self.has_crashes => self.crash(),
            _ => {
                let ms = self.below(4_000) as i64;
                self.world.wait(ms);
            }
        }
        self.hear();
        assert_eq!(self.world.committed(), self.acknowledged, "acknowledged offsets are there, and none goes back");
    }

    fn ask(&mut self, version: i16, request: Request) -> Option<ReplyTo> {
        if self.has_crashes && self.below(50) == 0 {
            // The append fails: what was decided is lost, with everything soft.
            self.world.asked += 1;
            let to = ReplyTo(self.world.asked);
            let context =
                Context { version, client_id: "c".into(), client_address: [10, 0, 0, 1].into(), random: [9; 16] };
            let now = self.world.now;
            self.world.shard.handle(now, Event::Request { to, context, request });
            self.crash();
            return None;
        }
        let to = self.world.ask(version, request);
        self.open.insert(to);
        Some(to)
    }

    fn join(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let mut request = join_request(&client.member_id);
        request.group_instance_id = client.instance.clone();
        if self.below(4) == 0 {
            request.protocols = vec![protocol("range", &["t", "u"]), protocol("sticky", &["t"])];
        }
        let version = [3, 4, 9][self.below(3) as usize];
        self.clients[at].waits_for = self.ask(version, Request::Join(request));
    }

    fn beat(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: client.generation,
            member_id: client.member_id,
            group_instance_id: client.instance,
        };
        self.ask(4, Request::Heartbeat(request));
    }

    fn commit(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let mut request = commit_request(&client.member_id, client.generation, self.next_commit);
        request.group_instance_id = client.instance;
        if let Some(to) = self.ask(9, Request::OffsetCommit(request)) {
            let Some(Response::OffsetCommit(response)) = self.world.answers.get(&to) else { panic!("not a commit") };
            if response.topics[0].partitions[0].error_code == 0 {
                self.acknowledged = self.next_commit;
            }
        }
        self.next_commit += 1;
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let identity = MemberIdentity { member_id: client.member_id, ..Default::default() };
        let members = vec![MemberIdentity { group_instance_id: client.instance.clone(), ..identity }];
        let request = LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() };
        self.ask(5, Request::Leave(request));
        self.clients[at] = Client { instance: client.instance, ..Client::default() };
    }

    /// Only the log is left. Whoever waited gets no answer from it.
    fn crash(&mut self) {
        self.world.reload();
        self.open.clear();
        self.world.answers.clear();
        self.generation = 0;
        for client in &mut self.clients {
            client.waits_for = None;
        }
    }

    /// Every answer that came, to clients and to those who are no longer there.
    fn hear(&mut self) {
        while let Some((to, response)) = self.world.answers.pop_first() {
            let is_description = !matches!(response, Response::DescribeGroups(_) | Response::OffsetFetch(_));
            assert!(!is_description || self.open.remove(&to), "{to:?} was asked and not answered before");
            let client = self.clients.iter().position(|client| client.waits_for == Some(to));
            let Some(at) = client else { continue };
            self.clients[at].waits_for = None;
            match response {
                Response::Join(response) => self.hear_join(at, response),
                Response::Sync(response) => self.clients[at].is_member = response.error_code == 0,
                _ => {}
            }
        }
    }

    fn hear_join(&mut self, at: usize, response: JoinGroupResponse) {
        match error(response.error_code) {
            ErrorCode::None => {
                assert!(response.generation_id >= self.generation, "generations grow");
                if response.generation_id > self.generation {
                    self.generations += 1;
                }
                self.generation = response.generation_id;
                let is_leader = response.leader == response.member_id;
                assert_eq!(is_leader, !response.members.is_empty(), "the leader alone knows the members");
                let client = &mut self.clients[at];
                client.member_id = response.member_id.clone();
                client.generation = response.generation_id;
                let ids: Vec<(&str, &str)> =
                    response.members.iter().map(|member| (member.member_id.as_str(), "part")).collect();
                let mut request = sync_request(&response.member_id, response.generation_id, &ids);
                request.protocol_name = response.protocol_name;
                request.group_instance_id = client.instance.clone();
                if self.below(10) > 0 {
                    self.clients[at].waits_for = self.ask(5, Request::Sync(request));
                }
            }
            ErrorCode::MemberIdRequired => self.clients[at].member_id = response.member_id,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId | ErrorCode::GroupMaxSizeReached => {
                self.clients[at].member_id.clear();
            }
            ErrorCode::RebalanceInProgress | ErrorCode::InconsistentGroupProtocol => {}
            other => panic!("unexpected answer to a join: {other}"),
        }
    }
}

#[test]
fn groups_survive_random_members_and_crashes() {
    let mut generations = 0;
    for seed in 0..60 {
        eprintln!("seed {seed}");
        let mut simulation = Simulation::new(seed, 2 + (seed % 7) as usize);
        for _ in 0..800 {
            simulation.step();
        }
        // Left alone, everybody who still waits is answered.
        simulation.world.wait(600_000);
        simulation.hear();
        simulation.world.wait(600_000);
        simulation.hear();
        assert!(simulation.open.is_empty(), "seed {seed}: {:?} were never answered", simulation.open);
        generations += simulation.generations;
    }
    eprintln!("{generations} generations");
    assert!(generations > 500, "the runs are of no worth if nothing happens: {generations}");
}
