mod elect_leaders;
mod unregister_broker;
mod update_features;

use milena_protocol::messages::broker_registration_request::{Feature, Listener};
use milena_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use milena_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use milena_protocol::messages::delete_topics_request::DeleteTopicState;
use milena_protocol::messages::{
    ConfigRecord, FeatureLevelRecord, alter_configs_request, create_topics_response, delete_topics_response,
    elect_leaders_response, incremental_alter_configs_request as incremental,
};
use milena_protocol::{ErrorCode, Uuid};

use super::*;
use crate::features;
use crate::image::Partition;

/// A controller whose records are appended and committed at once.
struct Harness {
    controller: Controller,
    records: Vec<MetadataRecord>,
    now: Millis,
    timer: Option<Millis>,
    seed: u64,
}

impl Harness {
    fn new() -> Harness {
        Harness::with_file(&[])
    }

    fn with_file(pairs: &[(&str, &str)]) -> Harness {
        let file = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let options = Options { cluster_id: "c".into(), node: NodeId(1), file, session_ms: 9000, idle_ms: 0 };
        let mut harness = Harness {
            controller: Controller::new(options),
            records: Vec::new(),
            now: Millis(1_000_000),
            timer: None,
            seed: 1,
        };
        harness.event(Event::Activated {
            epoch: LeaderEpoch(1),
            image: Image::default(),
            open_transaction: false,
            log_end: Offset(0),
            bootstrap: features::bootstrap_records(),
        });
        harness
    }

    /// A cluster of so many unfenced brokers, numbered from 1.
    fn with_brokers(count: i32) -> Harness {
        let mut harness = Harness::new();
        (1..=count).for_each(|id| harness.start_broker(id));
        harness
    }

    fn event(&mut self, event: Event) -> Option<Response> {
        let decision = self.controller.handle(self.now, event);
        for record in decision.records {
            let at = Offset(self.records.len() as i64);
            self.controller.replay(at, &record).expect("what was decided can be replayed");
            self.records.push(record);
        }
        for Effect::Timer(at) in decision.effects {
            self.timer = Some(at);
        }
        decision.replies.into_iter().next().map(|(_, response)| response)
    }

    fn ask(&mut self, request: Request) -> Response {
        self.seed += 1;
        let random = Random::from_seed(self.seed);
        self.event(Event::Request { reply_to: ReplyTo(7), request, random }).expect("a request is answered")
    }

    fn image(&self) -> &Image {
        self.controller.written().expect("active")
    }

    fn partition(&self, topic: &str, partition: i32) -> Partition {
        Partition::clone(self.image().partition(topic, partition).expect("there"))
    }

    fn register(&mut self, id: i32, incarnation: u8) -> BrokerRegistrationResponse {
        self.register_with(registration(id, incarnation))
    }

    fn register_with(&mut self, request: BrokerRegistrationRequest) -> BrokerRegistrationResponse {
        let Response::RegisterBroker(response) = self.ask(Request::RegisterBroker(request)) else { panic!("answer") };
        response
    }

    fn beat(&mut self, id: i32, change: impl FnOnce(&mut BrokerHeartbeatRequest)) -> BrokerHeartbeatResponse {
        let epoch = self.image().broker(NodeId(id)).map_or(-1, |broker| broker.epoch.0);
        let mut request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: self.records.len() as i64,
            ..Default::default()
        };
        change(&mut request);
        let Response::BrokerHeartbeat(response) = self.ask(Request::BrokerHeartbeat(request)) else { panic!("answer") };
        response
    }

    fn start_broker(&mut self, id: i32) {
        assert_eq!(self.register(id, 1).error_code, 0);
        assert!(!self.beat(id, |_| ()).is_fenced);
    }

    fn create(&mut self, topic: CreatableTopic) -> create_topics_response::CreatableTopicResult {
        self.create_all(CreateTopicsRequest { topics: vec![topic], ..Default::default() }).remove(0)
    }

    fn create_all(&mut self, request: CreateTopicsRequest) -> Vec<create_topics_response::CreatableTopicResult> {
        let hidden = BTreeSet::from(["hidden".to_string()]);
        let Response::CreateTopics(response) = self.ask(Request::CreateTopics { request, hidden }) else {
            panic!("answer")
        };
        response.topics
    }

    fn alter(&mut self, kind: i8, name: &str, operation: i8, key: &str, value: &str) -> (ErrorCode, Option<String>) {
        let config = incremental::AlterableConfig {
            name: key.into(),
            config_operation: operation,
            value: (operation != 1).then(|| value.to_string()),
        };
        let resource = incremental::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let Response::IncrementalAlterConfigs(response) = self.ask(Request::IncrementalAlterConfigs(request)) else {
            panic!("answer")
        };
        let first = &response.responses[0];
        (ErrorCode::from_number(first.error_code), first.error_message.clone())
    }
}

fn registration(id: i32, incarnation: u8) -> BrokerRegistrationRequest {
    let feature = |feature: &features::Feature| Feature {
        name: feature.name.into(),
        min_supported_version: feature.supported.min,
        max_supported_version: feature.supported.max,
    };
    BrokerRegistrationRequest {
        broker_id: id,
        cluster_id: "c".into(),
        incarnation_id: Uuid([incarnation; 16]),
        listeners: vec![Listener { name: "PLAINTEXT".into(), host: "h".into(), port: 9092, security_protocol: 0 }],
        features: features::supported().map(feature).collect(),
        log_dirs: vec![Uuid([id as u8 + 100; 16])],
        previous_broker_epoch: -1,
        ..Default::default()
    }
}

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: replicas, ..Default::default() }
}

fn with_config(name: &str, key: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig { name: key.into(), value: value.map(str::to_string) };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(number, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *number,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic { assignments: assignments.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

fn code(result: &create_topics_response::CreatableTopicResult) -> ErrorCode {
    ErrorCode::from_number(result.error_code)
}

#[test]
fn the_first_activation_writes_what_kafka_writes() {
    let harness = Harness::new();
    let kinds: Vec<u32> = harness.records.iter().map(|record| record.kind()).collect();
    // One feature level (12) for each of Kafka's six that is served here.
    assert_eq!(kinds, [23, 12, 12, 12, 12, 4, 24]);
    let MetadataRecord::Config(record) = &harness.records[5] else { panic!("a setting") };
    assert_eq!((record.resource_type, record.name.as_str(), record.value.as_deref()), (4, MIN_ISR, Some("1")));
    assert_eq!(harness.image().feature("metadata.version"), 30);
}

const MIN_ISR: &str = "min.insync.replicas";

#[test]
fn a_later_activation_aborts_what_was_left_open_and_writes_no_more() {
    let mut harness = Harness::new();
    let image = harness.image().clone();
    harness.event(Event::Resigned);
    assert_eq!(harness.ask(Request::AllocateProducerIds(Default::default())), Response::NotController);
    let before = harness.records.len();
    let log_end = Offset(before as i64);
    let (epoch, bootstrap) = (LeaderEpoch(2), features::bootstrap_records());
    harness.event(Event::Activated { epoch, image, open_transaction: true, log_end, bootstrap });
    let kinds: Vec<u32> = harness.records[before..].iter().map(|record| record.kind()).collect();
    assert_eq!(kinds, [25]);
}

#[test]
fn a_broker_is_fenced_until_it_has_read_its_registration() {
    let mut harness = Harness::new();
    let epoch = harness.register(1, 1).broker_epoch;
    assert_eq!(epoch, harness.records.len() as i64 - 1);
    let behind = harness.beat(1, |request| request.current_metadata_offset = epoch - 1);
    assert!(behind.is_fenced && !behind.is_caught_up);
    let fenced_on_wish = harness.beat(1, |request| request.want_fence = true);
    assert!(fenced_on_wish.is_fenced && fenced_on_wish.is_caught_up);
    let there = harness.beat(1, |request| request.current_metadata_offset = epoch);
    assert!(!there.is_fenced && there.is_caught_up);
    assert!(!harness.image().broker(NodeId(1)).expect("registered").fenced);
}

#[test]
fn registrations_that_do_not_fit_are_refused() {
    let mut harness = Harness::with_brokers(1);
    let mut refused = |change: &dyn Fn(&mut BrokerRegistrationRequest)| {
        let mut request = registration(2, 1);
        change(&mut request);
        ErrorCode::from_number(harness.register_with(request).error_code)
    };
    assert_eq!(refused(&|it| it.cluster_id = "other".into()), ErrorCode::InconsistentClusterId);
    assert_eq!(refused(&|it| it.log_dirs.clear()), ErrorCode::InvalidRegistration);
    assert_eq!(refused(&|it| it.log_dirs = vec![Uuid::ZERO]), ErrorCode::InvalidRegistration);
    assert_eq!(refused(&|it| it.log_dirs = vec![Uuid([9; 16]); 2]), ErrorCode::InvalidRegistration);
    assert_eq!(refused(&|it| it.log_dirs = vec![Uuid([101; 16])]), ErrorCode::InvalidRegistration);
    assert_eq!(refused(&|it| it.features[0].max_supported_version = 29), ErrorCode::UnsupportedVersion);
    assert_eq!(refused(&|it| drop(it.features.remove(0))), ErrorCode::InvalidRegistration);
    assert_eq!(refused(&|it| drop(it.features.remove(1))), ErrorCode::UnsupportedVersion);
    assert_eq!(refused(&|_| ()), ErrorCode::None);
}

#[test]
fn another_process_waits_for_the_session_to_end() {
    let mut harness = Harness::with_brokers(2);
    assert_eq!(harness.register(2, 9).error_code, ErrorCode::DuplicateBrokerRegistration.number());
    harness.now = harness.now + Millis(9001);
    assert_eq!(harness.register(2, 9).error_code, 0);
}

#[test]
fn the_controllers_own_broker_need_not_wait_for_its_former_session() {
    let mut harness = Harness::with_brokers(1);
    assert_eq!(harness.register(1, 2).error_code, 0);
}

#[test]
fn heartbeats_under_an_old_epoch_are_refused() {
    let mut harness = Harness::with_brokers(1);
    let stale = harness.beat(1, |request| request.broker_epoch -= 1);
    assert_eq!(stale.error_code, ErrorCode::StaleBrokerEpoch.number());
    assert_eq!(harness.beat(2, |_| ()).error_code, ErrorCode::StaleBrokerEpoch.number());
}

#[test]
fn a_silent_broker_is_fenced_after_its_session_and_its_partitions_move() {
    let mut harness = Harness::with_brokers(3);
    harness.create(assigned("t", &[(0, &[1, 2, 3])]));
    harness.now = harness.now + Millis(9000);
    for id in 2..=3 {
        harness.beat(id, |_| ());
    }
    assert_eq!(harness.timer, Some(harness.now + Millis(1)));
    harness.event(Event::Tick);
    assert!(!harness.image().broker(NodeId(1)).expect("there").fenced);
    harness.now = harness.now + Millis(1);
    harness.event(Event::Tick);
    assert!(harness.image().broker(NodeId(1)).expect("there").fenced);
    let partition = harness.partition("t", 0);
    assert_eq!(partition.leader, NodeId(2));
    assert_eq!((partition.isr, partition.leader_epoch), (vec![NodeId(2), NodeId(3)], LeaderEpoch(1)));
}

#[test]
fn the_last_in_sync_replica_becomes_eligible_and_leads_again() {
    let mut harness = Harness::with_brokers(1);
    harness.create(topic("t", 1, 1));
    harness.beat(1, |request| request.want_fence = true);
    let gone = harness.partition("t", 0);
    assert_eq!((gone.leader, gone.isr, gone.elr), (NodeId::NONE, vec![], vec![NodeId(1)]));
    assert_eq!(gone.last_known_elr, [NodeId(1)]);
    harness.beat(1, |_| ());
    let back = harness.partition("t", 0);
    assert_eq!((back.leader, back.isr, back.elr), (NodeId(1), vec![NodeId(1)], vec![]));
    assert!(back.last_known_elr.is_empty() && !back.recovering);
    assert_eq!((back.leader_epoch, back.partition_epoch.0), (LeaderEpoch(2), 2));
}

#[test]
fn a_clean_restart_keeps_a_single_replica_trustworthy() {
    let mut harness = Harness::with_brokers(1);
    harness.create(topic("t", 1, 1));
    let former = harness.image().broker(NodeId(1)).expect("there").epoch.0;
    harness.now = harness.now + Millis(9001);
    harness.register_with(BrokerRegistrationRequest { previous_broker_epoch: former, ..registration(1, 2) });
    assert_eq!(harness.partition("t", 0).elr, [NodeId(1)]);
    harness.beat(1, |_| ());
    let partition = harness.partition("t", 0);
    assert!(!partition.recovering);
    assert_eq!(partition.leader, NodeId(1));
}

#[test]
fn after_an_unclean_restart_the_last_leader_leads_but_recovers() {
    let mut harness = Harness::with_brokers(1);
    harness.create(topic("t", 1, 1));
    harness.now = harness.now + Millis(9001);
    harness.register(1, 2);
    let gone = harness.partition("t", 0);
    assert!(gone.elr.is_empty() && gone.isr.is_empty());
    harness.beat(1, |_| ());
    let back = harness.partition("t", 0);
    assert!(back.recovering);
    assert_eq!((back.leader, back.isr), (NodeId(1), vec![NodeId(1)]));
}

#[test]
fn a_broker_shuts_down_when_its_leaderships_have_moved_and_all_know() {
    let mut harness = Harness::with_brokers(2);
    harness.create(assigned("t", &[(0, &[1, 2])]));
    let first = harness.beat(1, |request| request.want_shut_down = true);
    assert!(!first.should_shut_down && !first.is_fenced);
    assert_eq!(harness.partition("t", 0).leader, NodeId(2));
    assert!(!harness.beat(1, |request| request.want_shut_down = true).should_shut_down);
    harness.beat(2, |_| ());
    let last = harness.beat(1, |request| request.want_shut_down = true);
    assert!(last.should_shut_down);
    assert!(harness.image().broker(NodeId(1)).expect("there").fenced);
}

#[test]
fn a_lone_broker_with_leaderships_shuts_down_in_two_steps() {
    let mut harness = Harness::with_brokers(1);
    harness.create(topic("t", 3, 1));
    assert!(!harness.beat(1, |request| request.want_shut_down = true).should_shut_down);
    assert!(harness.beat(1, |request| request.want_shut_down = true).should_shut_down);
    assert_eq!(harness.partition("t", 0).leader, NodeId::NONE);
}

#[test]
fn a_topic_is_created_with_its_settings_and_partitions() {
    let mut harness = Harness::with_file(&[("num.partitions", "4"), ("log.retention.hours", "2")]);
    harness.start_broker(1);
    let result = harness.create(CreatableTopic {
        num_partitions: -1,
        replication_factor: -1,
        ..with_config("t", "cleanup.policy", Some("compact"))
    });
    assert_eq!((code(&result), result.num_partitions, result.replication_factor), (ErrorCode::None, 4, 1));
    let configs = result.configs.expect("shown");
    let of = |name: &str| configs.iter().find(|config| config.name == name).expect("shown");
    assert_eq!((of("cleanup.policy").value.as_deref(), of("cleanup.policy").config_source), (Some("compact"), 1));
    assert_eq!((of("retention.ms").value.as_deref(), of("retention.ms").config_source), (Some("7200000"), 4));
    assert_eq!((of(MIN_ISR).config_source, of("segment.bytes").config_source), (3, 5));
    let kinds: Vec<u32> = harness.records.iter().rev().take(6).map(|record| record.kind()).collect();
    assert_eq!(kinds, [3, 3, 3, 3, 4, 2]);
    let created = harness.image().topic("t").expect("there");
    assert_eq!((created.id, created.partitions.len()), (result.topic_id, 4));
}

#[test]
fn hidden_settings_are_answered_with_error_29() {
    let mut harness = Harness::with_brokers(1);
    let result = harness.create(topic("hidden", 1, 1));
    assert_eq!((result.error_code, result.topic_config_error_code, result.num_partitions), (0, 29, -1));
    assert_eq!(result.configs, Some(Vec::new()));
}

#[test]
fn the_first_check_that_fails_names_the_error() {
    let mut harness = Harness::with_brokers(2);
    harness.create(topic("a.b", 1, 1));
    let cases = [
        (topic("bad name", 0, 0), ErrorCode::InvalidTopicException),
        (topic("a_b", 1, 1), ErrorCode::InvalidTopicException),
        (topic("a.b", 0, 0), ErrorCode::TopicAlreadyExists),
        (with_config("t", "nope", Some("1")), ErrorCode::InvalidConfig),
        (with_config("t", "retention.ms", None), ErrorCode::InvalidConfig),
        (topic("t", 0, 0), ErrorCode::InvalidReplicationFactor),
        (topic("t", 0, 1), ErrorCode::InvalidPartitions),
        (topic("t", 1, 3), ErrorCode::InvalidReplicationFactor),
        (topic("t", 20_000, 1), ErrorCode::PolicyViolation),
        (CreatableTopic { replication_factor: 1, ..assigned("t", &[(0, &[1])]) }, ErrorCode::InvalidRequest),
        (CreatableTopic { num_partitions: 1, ..assigned("t", &[(0, &[1])]) }, ErrorCode::InvalidRequest),
        (assigned("t", &[(0, &[])]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[(0, &[1, 1])]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[(0, &[9])]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[(0, &[1]), (0, &[2])]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[(0, &[1]), (2, &[2])]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[(0, &[1]), (1, &[1, 2])]), ErrorCode::InvalidReplicaAssignment),
        (topic("__cluster_metadata", 1, 1), ErrorCode::InvalidRequest),
    ];
    let before = harness.records.len();
    for (topic, expected) in cases {
        let shown = format!("{topic:?}");
        assert_eq!(code(&harness.create(topic)), expected, "{shown}");
    }
    assert_eq!(harness.records.len(), before);
    assert_eq!(code(&harness.create(topic("t", 1, 2))), ErrorCode::None);
}

#[test]
fn a_name_given_twice_is_refused_alone() {
    let mut harness = Harness::with_brokers(1);
    let topics = vec![topic("t", 1, 1), topic("u", 1, 1), topic("t", 1, 1)];
    let results = harness.create_all(CreateTopicsRequest { topics, ..Default::default() });
    let codes: Vec<(&str, ErrorCode)> = results.iter().map(|result| (result.name.as_str(), code(result))).collect();
    assert_eq!(codes, [("u", ErrorCode::None), ("t", ErrorCode::InvalidRequest)]);
}

#[test]
fn validate_only_checks_everything_and_writes_nothing() {
    let mut harness = Harness::with_brokers(1);
    let before = harness.records.len();
    let topics = vec![topic("t", 1, 1), topic("u", 1, 5)];
    let results = harness.create_all(CreateTopicsRequest { topics, validate_only: true, ..Default::default() });
    assert_eq!(results.iter().map(code).collect::<Vec<_>>(), [ErrorCode::None, ErrorCode::InvalidReplicationFactor]);
    assert_eq!(harness.records.len(), before);
}

#[test]
fn replicas_are_striped_over_racks_and_fenced_brokers_come_last() {
    let mut harness = Harness::new();
    for id in 1..=6 {
        let rack = Some(format!("r{}", id % 3));
        harness.register_with(BrokerRegistrationRequest { rack, ..registration(id, 1) });
        if id != 6 {
            harness.beat(id, |_| ());
        }
    }
    harness.create(topic("t", 30, 3));
    let mut leaders = BTreeMap::<NodeId, usize>::new();
    for partition in harness.image().topic("t").expect("there").partitions.values() {
        let mut racks: Vec<i32> = partition.replicas.iter().map(|id| id.0 % 3).collect();
        racks.sort();
        assert_eq!(racks, [0, 1, 2], "one replica in each rack");
        assert!(!partition.isr.contains(&NodeId(6)));
        assert_ne!(partition.leader, NodeId(6));
        *leaders.entry(partition.leader).or_default() += 1;
    }
    assert_eq!(leaders.len(), 5);
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut harness = Harness::with_brokers(1);
    let id = harness.create(with_config("t", "retention.ms", Some("5"))).topic_id;
    harness.create(topic("u", 1, 1));
    let by_id = |id| DeleteTopicState { name: None, topic_id: id };
    let by_name = |name: &str| DeleteTopicState { name: Some(name.into()), topic_id: Uuid::ZERO };
    let both = DeleteTopicState { name: Some("x".into()), topic_id: Uuid([1; 16]) };
    let topics = vec![by_id(id), by_name("u"), by_name("nope"), by_id(Uuid([3; 16])), by_id(Uuid::ZERO), both];
    let request = DeleteTopicsRequest { topics, ..Default::default() };
    let Response::DeleteTopics(response) = harness.ask(Request::DeleteTopics { request, version: 6 }) else {
        panic!("answer")
    };
    let of = |name: Option<&str>, id: Uuid| {
        let is_wanted = |result: &&delete_topics_response::DeletableTopicResult| {
            (result.name.as_deref(), result.topic_id) == (name, id)
                || (name.is_some() && result.name.as_deref() == name)
        };
        let found = response.responses.iter().find(is_wanted);
        ErrorCode::from_number(found.expect("answered").error_code)
    };
    assert_eq!(response.responses.len(), 6);
    assert_eq!(of(Some("t"), id), ErrorCode::None);
    assert_eq!(of(Some("u"), Uuid::ZERO), ErrorCode::None);
    assert_eq!(of(Some("nope"), Uuid::ZERO), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(of(None, Uuid([3; 16])), ErrorCode::UnknownTopicId);
    assert_eq!(of(None, Uuid::ZERO), ErrorCode::InvalidRequest);
    assert_eq!(of(Some("x"), Uuid::ZERO), ErrorCode::InvalidRequest);
    assert_eq!(harness.image().topic_count(), 0);
    assert!(harness.image().config(&Resource::topic("t")).is_empty());
    let again = harness.create(topic("t", 1, 1));
    assert_eq!(code(&again), ErrorCode::None);
    assert_ne!(again.topic_id, id);
}

#[test]
fn partitions_are_added_but_never_taken() {
    let mut harness = Harness::with_brokers(2);
    harness.create(topic("t", 2, 2));
    let mut grow = |count| {
        let topic = CreatePartitionsTopic { name: "t".into(), count, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
        let Response::CreatePartitions(response) = harness.ask(Request::CreatePartitions(request)) else {
            panic!("answer")
        };
        ErrorCode::from_number(response.results[0].error_code)
    };
    assert_eq!([grow(2), grow(1), grow(20_000)].map(|code| code.number()), [37, 37, 44]);
    assert_eq!(grow(5), ErrorCode::None);
    assert!(harness.image().topic("t").expect("there").partitions.keys().copied().eq(0..5));
}

#[test]
fn settings_change_one_by_one() {
    let mut harness = Harness::with_brokers(1);
    harness.create(topic("t", 1, 1));
    const TOPIC: i8 = 2;
    assert_eq!(harness.alter(TOPIC, "t", 0, "retention.ms", "5").0, ErrorCode::None);
    assert_eq!(harness.alter(TOPIC, "t", 2, "cleanup.policy", "compact").0, ErrorCode::None);
    let set = harness.image().config(&Resource::topic("t")).clone();
    assert_eq!(set["cleanup.policy"], "delete,compact");
    assert_eq!(harness.alter(TOPIC, "t", 3, "cleanup.policy", "delete").0, ErrorCode::None);
    assert_eq!(harness.alter(TOPIC, "t", 1, "retention.ms", "").0, ErrorCode::None);
    let set = harness.image().config(&Resource::topic("t")).clone();
    assert_eq!(set, Values::from([("cleanup.policy".to_string(), "compact".to_string())]));
    let cases = [
        (TOPIC, "t", 2, "retention.ms", "1", ErrorCode::InvalidConfig),
        (TOPIC, "t", 0, "nope", "1", ErrorCode::InvalidConfig),
        (TOPIC, "t", 9, "retention.ms", "1", ErrorCode::InvalidRequest),
        (TOPIC, "missing", 0, "retention.ms", "1", ErrorCode::UnknownTopicOrPartition),
        (4, "9", 0, "log.retention.ms", "1", ErrorCode::BrokerIdNotRegistered),
        (4, "1", 0, MIN_ISR, "1", ErrorCode::InvalidConfig),
        (4, "", 1, MIN_ISR, "", ErrorCode::InvalidConfig),
        (3, "t", 0, "retention.ms", "1", ErrorCode::InvalidRequest),
    ];
    for (kind, name, operation, key, value, expected) in cases {
        assert_eq!(harness.alter(kind, name, operation, key, value).0, expected, "{kind} {name} {key}");
    }
}

#[test]
fn a_new_minimum_clears_what_was_known_of_eligible_leaders() {
    let mut harness = Harness::with_brokers(2);
    harness.create(assigned("t", &[(0, &[1, 2])]));
    harness.alter(2, "t", 0, MIN_ISR, "2");
    harness.beat(2, |request| request.want_fence = true);
    assert_eq!(harness.partition("t", 0).elr, [NodeId(2)]);
    harness.alter(2, "t", 0, MIN_ISR, "1");
    assert!(harness.partition("t", 0).elr.is_empty());
    assert_eq!(harness.records.last().map(|record| record.kind()), Some(28));
}

#[test]
fn alter_configs_removes_what_it_does_not_list() {
    let mut harness = Harness::with_brokers(1);
    harness.create(with_config("t", "retention.ms", Some("5")));
    let config = alter_configs_request::AlterableConfig { name: "segment.ms".into(), value: Some("9".into()) };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![config],
    };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let Response::AlterConfigs(response) = harness.ask(Request::AlterConfigs(request)) else { panic!("answer") };
    assert_eq!(response.responses[0].error_code, 0);
    let set = harness.image().config(&Resource::topic("t"));
    assert_eq!(*set, Values::from([("segment.ms".to_string(), "9".to_string())]));
}

#[test]
fn one_resource_twice_is_refused() {
    let mut harness = Harness::with_brokers(1);
    let resource = incremental::AlterConfigsResource { resource_type: 4, ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource.clone(), resource], validate_only: false };
    let Response::IncrementalAlterConfigs(response) = harness.ask(Request::IncrementalAlterConfigs(request)) else {
        panic!("answer")
    };
    assert!(response.responses.iter().all(|it| it.error_code == ErrorCode::InvalidRequest.number()));
}

#[test]
fn producer_ids_come_in_blocks_of_a_thousand() {
    let mut harness = Harness::with_brokers(1);
    let broker_epoch = harness.image().broker(NodeId(1)).expect("there").epoch.0;
    let mut block = |broker_epoch| {
        let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch };
        let Response::AllocateProducerIds(response) = harness.ask(Request::AllocateProducerIds(request)) else {
            panic!("answer")
        };
        (response.error_code, response.producer_id_start, response.producer_id_len)
    };
    assert_eq!(block(broker_epoch), (0, 0, 1000));
    assert_eq!(block(broker_epoch), (0, 1000, 1000));
    assert_eq!(block(broker_epoch - 1).0, ErrorCode::StaleBrokerEpoch.number());
}

#[test]
fn an_idle_controller_writes_now_and_then() {
    let options =
        Options { cluster_id: "c".into(), node: NodeId(1), file: Values::new(), session_ms: 9000, idle_ms: 500 };
    let mut controller = Controller::new(options);
    let bootstrap = features::bootstrap_records();
    let first = controller.handle(
        Millis(0),
        Event::Activated {
            epoch: LeaderEpoch(1),
            image: Image::default(),
            open_transaction: false,
            log_end: Offset(0),
            bootstrap,
        },
    );
    assert_eq!(first.effects, [Effect::Timer(Millis(500))]);
    for (at, record) in (0..).zip(&first.records) {
        controller.replay(Offset(at), record).expect("fits");
    }
    let second = controller.handle(Millis(500), Event::Tick);
    assert_eq!(second.records, [NoOpRecord::default().into()]);
    assert_eq!(second.effects, [Effect::Timer(Millis(1000))]);
}
