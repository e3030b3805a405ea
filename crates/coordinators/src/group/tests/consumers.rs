//! Consumer groups of KIP-848: one test per rule; what many members do at random is in `simulation`.

pub(super) mod commits;
pub(super) mod simulation;

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::delta::Delta;
use milena_protocol::messages::consumer_group_describe_response::DescribedGroup;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::{
    ConfigRecord, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, MetadataRecord, PartitionRecord,
    TopicRecord,
};

use super::*;

pub(super) type Owned = BTreeMap<Uuid, Vec<i32>>;

pub(super) const T: Uuid = Uuid([1; 16]);
pub(super) const U: Uuid = Uuid([2; 16]);
pub(super) const SESSION: i64 = 45_000;

impl World {
    pub(super) fn metadata(&mut self, records: Vec<MetadataRecord>) {
        let mut delta = Delta::new(&self.image);
        let mut offset = self.image.provenance().last;
        for record in &records {
            offset = offset.next();
            delta.replay(offset, record).expect("a sound record");
        }
        let epoch = milena_protocol::LeaderEpoch(1);
        (self.image, _) = delta.apply(milena_metadata::image::Provenance { last: offset, epoch, timestamp: Millis(0) });
        let event = Event::Metadata { image: self.image.clone(), has_new_topics: true, have_topics_changed: true };
        let decision = self.shard.handle(self.now, event);
        self.apply(decision);
    }

    pub(super) fn set(&mut self, group: &str, name: &str, value: Option<&str>) {
        let (name, value) = (name.to_owned(), value.map(str::to_owned));
        let resource_type = milena_metadata::configs::Kind::Group.number();
        self.metadata(vec![ConfigRecord { resource_type, resource_name: group.to_owned(), name, value }.into()]);
    }

    pub(super) fn create(&mut self, id: Uuid, name: &str, partitions: std::ops::Range<i32>) {
        let topic = TopicRecord { topic_id: id, name: name.to_owned() }.into();
        let partition = |index| {
            PartitionRecord { partition_id: index, topic_id: id, replicas: vec![1], isr: vec![1], ..Default::default() }
                .into()
        };
        let topic = (partitions.start == 0).then_some(topic);
        self.metadata(topic.into_iter().chain(partitions.map(partition)).collect());
    }

    pub(super) fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        match self.answer(1, Request::ConsumerHeartbeat(CheckedHeartbeat::of(request))) {
            Response::ConsumerHeartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn describe_consumer(&mut self) -> DescribedGroup {
        match self.answer(1, Request::ConsumerDescribe(vec!["g".into()])) {
            Response::ConsumerDescribe(mut groups) => groups.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn joins(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        rebalance_timeout_ms: REBALANCE_MS,
        subscribed_topic_names: Some(topics.iter().map(|&topic| topic.into()).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

pub(super) fn stays(member: &str, epoch: i32, owned: &Owned) -> ConsumerGroupHeartbeatRequest {
    let topic = |(topic_id, partitions): (&Uuid, &Vec<i32>)| TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.clone(),
    };
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        topic_partitions: Some(owned.iter().map(topic).collect()),
        ..Default::default()
    }
}

pub(super) fn owned(response: &ConsumerGroupHeartbeatResponse) -> Owned {
    let topics = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    topics.map(|topic| (topic.topic_id, topic.partitions.clone())).collect()
}

pub(super) fn of(topic: Uuid, partitions: &[i32]) -> Owned {
    BTreeMap::from([(topic, partitions.to_vec())])
}

#[test]
fn trap_135_a_partition_is_granted_only_after_its_owner_gave_it_back() {
    let mut world = World::new();
    world.create(T, "t", 0..4);
    let first = world.beat(joins("a", &["t"]));
    assert_eq!((first.member_epoch, owned(&first)), (2, of(T, &[0, 1, 2, 3])));
    world.now = world.now + Millis(1_000);
    let second = world.beat(joins("b", &["t"]));
    assert_eq!((second.member_epoch, owned(&second)), (3, Owned::new()));
    let told = world.beat(stays("a", 2, &of(T, &[0, 1, 2, 3])));
    assert_eq!((told.member_epoch, owned(&told)), (2, of(T, &[0, 1])));
    assert_eq!(world.beat(stays("b", 3, &Owned::new())).assignment, None, "not given back yet");
    assert_eq!(world.beat(stays("a", 2, &of(T, &[0, 1]))).member_epoch, 3);
    assert_eq!(owned(&world.beat(stays("b", 3, &Owned::new()))), of(T, &[2, 3]));
    assert_eq!(world.describe_consumer().group_state, "Stable");
}

#[test]
fn trap_132_the_former_epoch_is_accepted_from_whoever_owns_no_more_than_it_should() {
    let mut world = World::new();
    world.create(T, "t", 0..2);
    world.beat(joins("a", &["t"]));
    world.now = world.now + Millis(1_000);
    world.create(T, "t", 2..4);
    assert_eq!(world.beat(stays("a", 2, &of(T, &[0, 1]))).member_epoch, 3);
    assert_eq!(world.beat(stays("a", 2, &of(T, &[0, 1]))).error_code, 0, "the answer was lost");
    let more = world.beat(stays("a", 2, &of(T, &[0, 7])));
    assert_eq!(error(more.error_code), ErrorCode::FencedMemberEpoch);
    assert_eq!(error(world.beat(stays("a", 9, &Owned::new())).error_code), ErrorCode::FencedMemberEpoch);
}

#[test]
fn trap_134_an_instance_id_is_free_only_after_its_member_left_for_now() {
    let mut world = World::new();
    world.create(T, "t", 0..2);
    let as_static = |request| ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..request };
    let first = world.beat(as_static(joins("a", &["t"])));
    assert_eq!(error(world.beat(as_static(joins("b", &["t"]))).error_code), ErrorCode::UnreleasedInstanceId);
    assert_eq!(world.beat(as_static(stays("a", -2, &Owned::new()))).member_epoch, -2);
    let second = world.beat(as_static(joins("b", &["t"])));
    assert_eq!((second.member_epoch, owned(&second)), (2, owned(&first)), "nothing moved");
    assert_eq!(error(world.beat(as_static(stays("a", 2, &Owned::new()))).error_code), ErrorCode::FencedInstanceId);
}

#[test]
fn an_expression_is_resolved_after_the_join_and_again_when_topics_come() {
    let mut world = World::new();
    world.create(T, "t-1", 0..1);
    let by_regex = |mut request: ConsumerGroupHeartbeatRequest| {
        (request.subscribed_topic_names, request.subscribed_topic_regex) = (None, Some("t-.*".into()));
        request
    };
    let joined = world.beat(by_regex(joins("a", &[])));
    assert_eq!((joined.error_code, owned(&joined)), (0, Owned::new()));
    world.wait(1);
    assert_eq!(joined.member_epoch, 1, "it is a member before anything is matched");
    world.now = world.now + Millis(1_000);
    assert_eq!(owned(&world.beat(stays("a", 1, &Owned::new()))), of(T, &[0]));
    world.create(U, "t-2", 0..1);
    world.wait(10_001);
    let epoch = world.describe_consumer().members[0].member_epoch;
    world.beat(stays("a", epoch, &of(T, &[0])));
    world.wait(1_000);
    let both = world.beat(stays("a", epoch, &of(T, &[0])));
    assert_eq!(owned(&both), BTreeMap::from([(T, vec![0]), (U, vec![0])]));
    let mut bad = by_regex(joins("b", &[]));
    bad.subscribed_topic_regex = Some("(".into());
    assert_eq!(error(world.beat(bad).error_code), ErrorCode::InvalidRegularExpression);
}

#[test]
fn what_is_matched_late_counts_for_expressions_that_somebody_has() {
    let mut world = World::new();
    world.matches_late = true;
    world.create(T, "t-1", 0..1);
    let by_regex = |member: &str, regex: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(regex.into()),
        ..joins(member, &[])
    };
    world.beat(by_regex("a", "t-.*"));
    world.wait(1);
    assert_eq!(world.matchings.len(), 1);
    // Another one comes meanwhile and waits, and the first is not asked for again.
    world.beat(by_regex("b", "t-1"));
    world.beat(by_regex("a", "t-[0-9]"));
    world.wait(20_000);
    assert_eq!(world.matchings.len(), 1, "one at a time");
    let epoch = world.describe_consumer().group_epoch;
    world.match_next();
    assert_eq!(world.describe_consumer().group_epoch, epoch, "nobody has that expression any more");
    // Nobody has matched anything of theirs, so they need not wait to be matched.
    world.beat(stays("a", 1, &Owned::new()));
    world.wait(1);
    world.match_next();
    assert_eq!(world.describe_consumer().group_epoch, epoch + 1);
    world.beat(stays("a", 1, &Owned::new()));
    let members = world.describe_consumer().members;
    let targets = members.iter().flat_map(|member| &member.target_assignment.topic_partitions);
    assert_eq!(targets.flat_map(|topic| &topic.partitions).collect::<Vec<_>>(), [&0], "one of them gets it");
}

#[test]
fn what_is_matched_for_a_group_that_is_gone_is_nothing() {
    let mut world = World::new();
    world.matches_late = true;
    world.create(T, "t", 0..1);
    world.beat(ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("t".into()), ..joins("a", &[]) });
    world.wait(1);
    world.beat(stays("a", -1, &Owned::new()));
    world.answer(2, Request::DeleteGroups(vec!["g".into()]));
    let written = world.log.len();
    world.match_next();
    assert_eq!(world.log.len(), written);
}

#[test]
fn very_many_expressions_are_matched_some_at_a_time() {
    let mut world = World::new();
    world.create(T, "t", 0..1);
    let count = crate::group::matching::EXPRESSIONS_MAX * 2 + 1;
    world.matches_late = true;
    for at in 0..count {
        let regex = format!("t|nothing-{at}");
        world.beat(ConsumerGroupHeartbeatRequest {
            subscribed_topic_regex: Some(regex),
            ..joins(&format!("m{at}"), &[])
        });
    }
    world.wait(1);
    for _ in 0..3 {
        assert_eq!(world.matchings.len(), 1);
        world.match_next();
    }
    assert!(world.matchings.is_empty());
    let matched =
        world.log.iter().filter(|(_, entry)| matches!(entry, Entry::Record(record) if record.key[..2] == [0, 16]));
    assert_eq!(matched.count(), count);
}

#[test]
fn a_group_of_the_other_kind_gives_way_only_when_it_is_empty() {
    let mut world = World::new();
    world.create(T, "t", 0..1);
    world.beat(joins("a", &["t"]));
    let foreign = JoinGroupRequest { protocol_type: "connect".into(), ..join_request("") };
    let Response::Join(refused) = world.answer(9, Request::Join(foreign)) else { panic!("not a join") };
    assert_eq!(error(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    world.beat(stays("a", -1, &Owned::new()));
    let Response::Join(joined) = world.answer(9, Request::Join(join_request(""))) else { panic!("not a join") };
    assert_eq!(error(joined.error_code), ErrorCode::MemberIdRequired);
    assert_eq!(error(world.describe_consumer().error_code), ErrorCode::GroupIdNotFound);
    assert_eq!(world.beat(joins("a", &["t"])).member_epoch, 2, "the empty classic group gives way");
    world.reload();
    assert_eq!(world.describe_consumer().members.len(), 1);
}

#[test]
fn whoever_is_silent_or_keeps_what_it_should_give_back_is_removed() {
    let mut world = World::new();
    world.create(T, "t", 0..2);
    world.beat(joins("a", &["t"]));
    world.wait(SESSION);
    assert_eq!(world.describe_consumer().group_state, "Empty");
    let first = world.beat(joins("a", &["t"]));
    world.now = world.now + Millis(1_000);
    world.beat(joins("b", &["t"]));
    for _ in 0..7 {
        world.beat(stays("a", first.member_epoch, &of(T, &[0, 1])));
        world.beat(stays("b", first.member_epoch + 1, &Owned::new()));
        world.wait(10_000);
    }
    let members = world.describe_consumer().members;
    assert_eq!(members.iter().map(|member| member.member_id.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_full_group_takes_nobody_in_but_keeps_whom_it_has() {
    let mut settings = Settings::default();
    settings.consumer.size_max = 1;
    let mut world = World::with(settings);
    world.create(T, "t", 0..1);
    let first = world.beat(joins("a", &["t"]));
    assert_eq!(error(world.beat(joins("b", &["t"])).error_code), ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.beat(stays("a", first.member_epoch, &of(T, &[0]))).error_code, 0);
}

#[test]
fn targets_are_made_no_more_often_than_the_interval_of_the_group_allows() {
    let mut world = World::new();
    world.create(T, "t", 0..2);
    world.beat(joins("a", &["t"]));
    world.set("g", "consumer.assignment.interval.ms", Some("5000"));
    world.now = world.now + Millis(4_999);
    let early = world.beat(joins("b", &["t"]));
    assert_eq!((early.member_epoch, owned(&early)), (2, Owned::new()), "at the epoch of the target that is there");
    world.now = world.now + Millis(1);
    assert_eq!(owned(&world.beat(stays("a", 2, &of(T, &[0, 1])))), of(T, &[0]));
    assert_eq!(world.describe_consumer().assignment_epoch, 3);
}

#[test]
fn an_interval_that_changes_acts_on_groups_that_are_there() {
    let mut world = World::new();
    world.create(T, "t", 0..2);
    world.beat(joins("a", &["t"]));
    let mut settings = Settings::default();
    settings.consumer.assignment_interval_ms = 5_000;
    world.shard.handle(world.now, Event::Settings(settings));
    world.now = world.now + Millis(4_999);
    assert_eq!(world.beat(joins("b", &["t"])).member_epoch, 2, "that of the target that is there");
    world.now = world.now + Millis(1);
    assert_eq!(owned(&world.beat(stays("a", 2, &of(T, &[0, 1])))), of(T, &[0]));
}

#[test]
fn the_settings_of_a_group_count_more_than_the_brokers() {
    let mut world = World::new();
    world.create(T, "t", 0..1);
    assert_eq!(world.beat(joins("a", &["t"])).heartbeat_interval_ms, 5_000);
    world.set("g", "consumer.heartbeat.interval.ms", Some("7000"));
    world.set("g", "consumer.session.timeout.ms", Some("50000"));
    assert_eq!(world.beat(stays("a", 2, &of(T, &[0]))).heartbeat_interval_ms, 7_000);
    world.wait(49_999);
    assert_eq!(world.describe_consumer().group_state, "Stable");
    world.wait(1);
    assert_eq!(world.describe_consumer().group_state, "Empty");
    world.set("g", "consumer.heartbeat.interval.ms", None);
    assert_eq!(world.beat(joins("a", &["t"])).heartbeat_interval_ms, 5_000);
}

#[test]
fn expressions_are_matched_again_when_their_interval_is_over() {
    let mut settings = Settings::default();
    settings.consumer.regex_refresh_interval_ms = 20_000;
    let mut world = World::with(settings);
    world.create(T, "t-1", 0..1);
    let mut joining = joins("a", &[]);
    (joining.subscribed_topic_names, joining.subscribed_topic_regex) = (None, Some("t-.*".into()));
    world.beat(joining);
    world.wait(1);
    let matched_at = world.now - Millis(1);
    let is_due = |world: &World| world.shard.next_deadline() == Some(world.now);
    for (after, expected) in [(20_000, false), (20_001, true)] {
        world.now = matched_at + Millis(after);
        world.beat(stays("a", 1, &Owned::new()));
        assert_eq!(is_due(&world), expected, "{after} ms later");
    }
}
