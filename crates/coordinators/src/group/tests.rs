//! One file per event, one test per rule; rules that Kafka's clients rely on carry the number of their trap. Every
//! test drives a whole shard, with a log that is appended, replayed and, where asked, loaded anew.

mod admin;
mod consumers;
mod expiry;
mod join;
mod leave;
mod measured;
mod migration;
mod offsets;
mod rebalance;
mod records;
mod simulation;
mod sync;
mod transactions;
mod weight;

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_base::{Millis, Random};
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions;
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
};
use milena_protocol::{ErrorCode, Message, Offset, Uuid};

use super::{CheckedHeartbeat, Context, Effect, Event, GroupShard, Matching, Request, Response, Settings, refuse};
use crate::{BatchKind, CoordinatorRecord, Decision, Entry, Origin, ReplyTo, Shard};

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;

/// A shard with its log, its clock and whoever asked it something.
struct World {
    shard: GroupShard,
    settings: Settings,
    now: Millis,
    log: Vec<(Origin, Entry)>,
    answers: BTreeMap<ReplyTo, Response>,
    asked: u64,
    random: Random,
    image: milena_metadata::image::Image,
    /// Expressions that are being matched.
    matchings: Vec<Matching>,
    /// They take longer than anything that is waited for.
    matches_late: bool,
}

impl World {
    fn new() -> World {
        World::with(Settings::default())
    }

    fn with(settings: Settings) -> World {
        let mut world = World {
            shard: GroupShard::new(settings),
            settings,
            now: Millis(1_000_000),
            log: Vec::new(),
            answers: BTreeMap::new(),
            asked: 0,
            random: Random::from_seed(1),
            image: Default::default(),
            matchings: Vec::new(),
            matches_late: false,
        };
        let decision = world.shard.loaded(world.now);
        world.apply(decision);
        world
    }

    /// Loses everything but the log, and loads it.
    fn reload(&mut self) {
        self.shard = GroupShard::new(self.settings);
        self.matchings.clear();
        for (at, entry) in &self.log {
            self.shard.replay(*at, entry).expect("the log is sound");
        }
        self.shard.check();
        self.shard.set_image(self.image.clone(), false, true);
        let decision = self.shard.loaded(self.now);
        self.apply(decision);
    }

    fn append(&mut self, entry: Entry, producer: Option<i64>) {
        let offset = Offset(self.log.len() as i64);
        let producer = producer.map(|id| (milena_protocol::ProducerId(id), milena_protocol::ProducerEpoch(0)));
        let at = Origin { offset, producer };
        self.shard.replay(at, &entry).expect("own records are sound");
        self.log.push((at, entry));
    }

    fn apply(&mut self, decision: Decision<Response, Effect>) -> Vec<CoordinatorRecord> {
        let end = Offset(self.log.len() as i64);
        let producer = match decision.kind {
            BatchKind::Plain => None,
            BatchKind::InTransaction { producer_id, .. } => Some(producer_id.0),
            BatchKind::Marker(marker) => {
                self.append(Entry::TransactionEnd { committed: marker.committed }, Some(marker.producer_id.0));
                None
            }
        };
        for record in &decision.records {
            self.append(Entry::Record(record.clone()), producer);
        }
        for reply in decision.replies {
            assert!(reply.written.is_none_or(|written| written < end), "answers wait for records that exist");
            assert_eq!(self.answers.insert(reply.to, reply.response), None, "{:?} is answered once", reply.to);
        }
        self.matchings.extend(decision.effects.into_iter().map(|Effect::Match(matching)| matching));
        self.shard.check();
        decision.records
    }

    /// The expressions of which it is the turn are matched: those that were asked for first.
    fn match_next(&mut self) {
        if self.matchings.is_empty() {
            return;
        }
        let mut matching = self.matchings.remove(0);
        while !matching.is_done() {
            let mut is_first = true;
            matching.run(|| std::mem::take(&mut is_first));
        }
        let decision = self.shard.handle(self.now, matching.into_event());
        self.apply(decision);
    }

    fn decide(&mut self, version: i16, request: Request) -> (ReplyTo, Vec<CoordinatorRecord>) {
        self.asked += 1;
        let to = ReplyTo(self.asked);
        if let Some(response) = refuse(&request, version, &self.settings) {
            self.answers.insert(to, response);
            return (to, Vec::new());
        }
        let client_id = "client".to_owned();
        let context =
            Context { version, client_id, client_address: [10, 0, 0, 1].into(), random: self.random.bytes16() };
        let weight = self.shard.weigh(&request);
        let decision = self.shard.handle(self.now, Event::Request { to, context, request });
        let answer = decision.replies.iter().find(|reply| reply.to == to);
        answer.inspect(|reply| weight::check(weight, &reply.response));
        (to, self.apply(decision))
    }

    fn ask(&mut self, version: i16, request: Request) -> ReplyTo {
        self.decide(version, request).0
    }

    fn answer(&mut self, version: i16, request: Request) -> Response {
        let to = self.ask(version, request);
        self.answers.remove(&to).expect("is answered at once")
    }

    /// Lets time pass, with everything that becomes due in it.
    fn wait(&mut self, ms: i64) {
        let end = self.now + Millis(ms);
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let decision = self.shard.tick(self.now);
            self.apply(decision);
            while !self.matches_late && !self.matchings.is_empty() {
                self.match_next();
            }
        }
        self.now = end;
    }

    fn joined(&mut self, to: ReplyTo) -> Option<JoinGroupResponse> {
        match self.answers.remove(&to)? {
            Response::Join(response) => Some(response),
            other => panic!("not a join: {other:?}"),
        }
    }

    fn synced(&mut self, to: ReplyTo) -> Option<SyncGroupResponse> {
        match self.answers.remove(&to)? {
            Response::Sync(response) => Some(response),
            other => panic!("not a sync: {other:?}"),
        }
    }

    fn join(&mut self, version: i16, member_id: &str) -> ReplyTo {
        self.ask(version, Request::Join(join_request(member_id)))
    }

    /// The id for a new dynamic member, which it has not used yet.
    fn pending(&mut self) -> String {
        let to = self.join(9, "");
        let response = self.joined(to).expect("is answered at once");
        assert_eq!(response.error_code, ErrorCode::MemberIdRequired.number());
        response.member_id
    }

    /// Joins as a new dynamic member and waits: its id and the join.
    fn enter(&mut self) -> (String, ReplyTo) {
        let member_id = self.pending();
        let to = self.join(9, &member_id);
        (member_id, to)
    }

    fn sync(&mut self, member_id: &str, generation_id: i32, assignments: &[(&str, &str)]) -> ReplyTo {
        self.ask(5, Request::Sync(sync_request(member_id, generation_id, assignments)))
    }

    fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> ErrorCode {
        let request =
            HeartbeatRequest { group_id: "g".into(), generation_id, member_id: member_id.into(), ..Default::default() };
        match self.answer(4, Request::Heartbeat(request)) {
            Response::Heartbeat(response) => ErrorCode::from_number(response.error_code),
            other => panic!("not a heartbeat: {other:?}"),
        }
    }

    fn leave(&mut self, version: i16, members: &[(&str, Option<&str>)]) -> LeaveGroupResponse {
        let identity = |(member_id, instance): &(&str, Option<&str>)| MemberIdentity {
            member_id: (*member_id).into(),
            group_instance_id: instance.map(str::to_owned),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: "g".into(),
            member_id: if version < 3 { members[0].0.into() } else { String::new() },
            members: if version < 3 { Vec::new() } else { members.iter().map(identity).collect() },
        };
        match self.answer(version, Request::Leave(request)) {
            Response::Leave(response) => response,
            other => panic!("not a leave: {other:?}"),
        }
    }

    /// A stable group of `count` dynamic members in generation 1; the first id is the leader's.
    fn stable(&mut self, count: usize) -> Vec<String> {
        let entered: Vec<(String, ReplyTo)> = (0..count).map(|_| self.enter()).collect();
        self.wait(6_000);
        let mut ids = Vec::new();
        for (id, to) in entered {
            let response = self.joined(to).expect("the generation formed");
            assert_eq!((response.error_code, response.generation_id), (0, 1));
            let at = if response.leader == id { 0 } else { ids.len() };
            ids.insert(at, id);
        }
        for id in ids.iter().rev() {
            let assignments: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "mine")).collect();
            self.sync(id, 1, if id == &ids[0] { &assignments } else { &[] });
        }
        self.answers.clear();
        assert_eq!(self.state("g"), "Stable");
        ids
    }

    fn state(&mut self, group: &str) -> String {
        match self.answer(5, Request::DescribeGroups(vec![group.into()])) {
            Response::DescribeGroups(groups) => groups[0].group_state.clone(),
            other => panic!("not a description: {other:?}"),
        }
    }

    /// Commits offset `offset` of `t-0`: the error.
    fn commit(&mut self, version: i16, member_id: &str, generation: i32, offset: i64) -> ErrorCode {
        self.commit_request(version, commit_request(member_id, generation, offset))
    }

    fn commit_request(&mut self, version: i16, request: OffsetCommitRequest) -> ErrorCode {
        match self.answer(version, Request::OffsetCommit(request)) {
            Response::OffsetCommit(response) => ErrorCode::from_number(response.topics[0].partitions[0].error_code),
            other => panic!("not a commit: {other:?}"),
        }
    }

    fn fetch(&mut self, topic: &str, topic_id: Uuid, require_stable: bool) -> OffsetFetchResponsePartitions {
        let topic = OffsetFetchRequestTopics { name: topic.into(), topic_id, partition_indexes: vec![0] };
        let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
        match self.answer(10, Request::OffsetFetch { group, require_stable }) {
            Response::OffsetFetch(response) => response.topics[0].partitions[0].clone(),
            other => panic!("not offsets: {other:?}"),
        }
    }

    fn committed(&mut self) -> i64 {
        self.fetch("t", Uuid::ZERO, false).committed_offset
    }
}

fn protocol(name: &str, topics: &[&str]) -> JoinGroupRequestProtocol {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
    let mut metadata = vec![0, 0];
    metadata.extend_from_slice(&subscription.to_bytes(0).expect("fits"));
    JoinGroupRequestProtocol { name: name.into(), metadata: metadata.into() }
}

fn join_request(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", &["t"])],
        ..Default::default()
    }
}

fn static_join(member_id: &str, instance: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance.into()), ..join_request(member_id) }
}

fn sync_request(member_id: &str, generation_id: i32, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assignment = |(member_id, assignment): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*member_id).into(),
        assignment: Bytes::copy_from_slice(assignment.as_bytes()),
    };
    SyncGroupRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn commit_request(member_id: &str, generation: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition { partition_index: 0, committed_offset: offset, ..Default::default() };
    OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            topic_id: Uuid([1; 16]),
            partitions: vec![partition],
        }],
        ..Default::default()
    }
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_number(code)
}
