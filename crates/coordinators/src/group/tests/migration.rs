//! A group that changes its kind while it lives, in both directions, and members of both protocols in one group.

mod simulation;

use std::collections::BTreeSet;

use milena_protocol::messages::consumer_protocol_assignment::TopicPartition;
use milena_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedPartition;
use milena_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use milena_protocol::wire::Decoder;

use super::super::settings::MigrationPolicy;
use super::consumers::commits::{Sender, sender};
use super::consumers::{Owned, T, U, joins, of, owned, stays};
use super::*;

/// A classic member's assignment of `t`, as bytes.
fn part(partitions: &[i32]) -> Bytes {
    let topic = TopicPartition { topic: "t".into(), partitions: partitions.to_vec() };
    let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![topic], user_data: None };
    [&[0, 1][..], &assignment.to_bytes(1).expect("fits")].concat().into()
}

fn read(bytes: &Bytes) -> Vec<i32> {
    let mut decoder = Decoder::new(bytes.clone());
    let version = decoder.i16().expect("a version");
    let assignment = ConsumerProtocolAssignment::decode(&mut decoder, version).expect("an assignment");
    assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

/// A join of a member that says which partitions of `t` it owns.
fn owning(member_id: &str, partitions: &[i32]) -> JoinGroupRequest {
    let owned = OwnedPartition { topic: "t".into(), partitions: partitions.to_vec() };
    let subscription =
        ConsumerProtocolSubscription { topics: vec!["t".into()], owned_partitions: vec![owned], ..Default::default() };
    let metadata = [&[0, 1][..], &subscription.to_bytes(1).expect("fits")].concat().into();
    let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata }];
    JoinGroupRequest { protocols, ..join_request(member_id) }
}

impl World {
    fn bidirectional() -> World {
        let mut world = World::new();
        world.create(T, "t", 0..4);
        world
    }

    /// A classic group of one member that owns all of `t`, in generation 1.
    fn classic_owner(&mut self) -> String {
        let (member_id, to) = self.enter();
        self.wait(6_000);
        assert_eq!(self.joined(to).expect("the generation formed").generation_id, 1);
        let mut request = sync_request(&member_id, 1, &[(&member_id, "")]);
        request.assignments[0].assignment = part(&[0, 1, 2, 3]);
        self.ask(5, Request::Sync(request));
        self.answers.clear();
        member_id
    }

    fn rejoin(&mut self, request: JoinGroupRequest) -> JoinGroupResponse {
        let to = self.ask(9, Request::Join(request));
        self.joined(to).expect("nobody is waited for")
    }

    fn own(&mut self, member_id: &str, generation: i32) -> Vec<i32> {
        let to = self.sync(member_id, generation, &[]);
        let response = self.synced(to).expect("nobody is waited for");
        assert_eq!(error(response.error_code), ErrorCode::None);
        read(&response.assignment)
    }

    fn kind(&mut self) -> &'static str {
        let is_consumer = self.describe_consumer().error_code == 0;
        self.shard.check();
        if is_consumer { "consumer" } else { "classic" }
    }
}

#[test]
fn a_classic_group_takes_in_a_consumer_and_the_partitions_move_over_step_by_step() {
    let mut world = World::bidirectional();
    let classic = world.classic_owner();
    let joined = world.beat(joins("new", &["t"]));
    assert_eq!((error(joined.error_code), joined.member_epoch, owned(&joined)), (ErrorCode::None, 2, Owned::new()));
    assert_eq!(world.kind(), "consumer");
    // The classic member learns of it, and goes on with what it had until it has joined again.
    assert_eq!(world.commit(9, &classic, 1, 7), ErrorCode::None);
    assert_eq!(world.heartbeat(&classic, 1), ErrorCode::RebalanceInProgress);
    let again = world.rejoin(owning(&classic, &[0, 1, 2, 3]));
    assert_eq!((again.generation_id, again.leader.as_str(), again.members.len()), (1, "", 0), "trap 138");
    assert_eq!(world.own(&classic, 1), [0, 1]);
    assert_eq!(world.heartbeat(&classic, 1), ErrorCode::RebalanceInProgress, "it has to say what it gave back");
    let moved = world.rejoin(owning(&classic, &[0, 1]));
    assert_eq!(moved.generation_id, 2);
    assert_eq!(world.own(&classic, 2), [0, 1]);
    assert_eq!(world.heartbeat(&classic, 2), ErrorCode::None);
    assert_eq!(owned(&world.beat(stays("new", 2, &Owned::new()))), of(T, &[2, 3]));
    let described = world.describe_consumer();
    assert_eq!(described.group_state, "Stable");
    assert_eq!(described.members.iter().map(|member| member.member_type).sum::<i8>(), 1, "one of each");
    world.reload();
    assert_eq!(world.describe_consumer(), described, "a load tells the same");
    assert_eq!(world.committed(), 7);
}

#[test]
fn whoever_waits_in_a_classic_group_that_becomes_a_consumer_group_is_told_to_join_again() {
    let mut world = World::bidirectional();
    let classic = world.classic_owner();
    let (_, waiting) = world.enter();
    assert_eq!(world.joined(waiting), None);
    world.beat(joins("new", &["t"]));
    let told = world.joined(waiting).expect("is answered");
    assert_eq!(error(told.error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(world.describe_consumer().members.len(), 3);
    world.wait(i64::from(SESSION_MS) - 1);
    assert_eq!(world.describe_consumer().members.len(), 3, "sessions go on");
    world.wait(1);
    assert_eq!(world.describe_consumer().members.len(), 1, "{classic} was silent for its own session");
}

#[test]
fn the_group_becomes_a_classic_one_when_the_last_consumer_goes() {
    let mut world = World::bidirectional();
    let classic = world.classic_owner();
    world.beat(joins("new", &["t"]));
    world.beat(stays("new", -1, &Owned::new()));
    world.wait(0);
    assert_eq!((world.kind(), world.state("g").as_str()), ("classic", "PreparingRebalance"));
    assert_eq!(world.heartbeat(&classic, 1), ErrorCode::IllegalGeneration, "its generation is the group's epoch now");
    let to = world.join(9, &classic);
    let joined = world.joined(to).expect("all have joined");
    assert_eq!((joined.generation_id, joined.leader), (3, classic.clone()));
    world.reload();
    assert_eq!(world.kind(), "classic");
}

#[test]
fn a_static_member_that_changes_its_protocol_keeps_its_part_in_both_directions() {
    let mut world = World::bidirectional();
    let to = world.ask(9, Request::Join(static_join("", "i")));
    world.wait(3_000);
    let first = world.joined(to).expect("the generation formed");
    let mut request = sync_request(&first.member_id, 1, &[(&first.member_id, "")]);
    request.group_instance_id = Some("i".into());
    request.assignments[0].assignment = part(&[0, 1, 2, 3]);
    world.ask(5, Request::Sync(request));
    world.answers.clear();
    let mut request = joins("new", &["t"]);
    request.instance_id = Some("i".into());
    let joined = world.beat(request);
    assert_eq!(owned(&joined), of(T, &[0, 1, 2, 3]), "nothing moved");
    let back = world.rejoin(JoinGroupRequest { group_instance_id: Some("i".into()), ..owning("", &[0, 1, 2, 3]) });
    assert_eq!(error(back.error_code), ErrorCode::None);
    assert_eq!((world.kind(), world.state("g").as_str()), ("classic", "Stable"));
    let mut request = sync_request(&back.member_id, back.generation_id, &[]);
    request.group_instance_id = Some("i".into());
    let to = world.ask(5, Request::Sync(request));
    assert_eq!(read(&world.synced(to).expect("is answered").assignment), [0, 1, 2, 3]);
}

#[test]
fn the_policy_says_which_way_a_group_may_go() {
    use MigrationPolicy::{Bidirectional, Disabled, Downgrade, Upgrade};
    for (migration, upgrades, downgrades) in
        [(Bidirectional, true, true), (Upgrade, true, false), (Downgrade, false, true), (Disabled, false, false)]
    {
        let mut settings = Settings::default();
        settings.consumer.migration = migration;
        let mut world = World::with(settings);
        world.create(T, "t", 0..4);
        world.classic_owner();
        let answer = world.beat(joins("new", &["t"]));
        let expected = if upgrades { ErrorCode::None } else { ErrorCode::GroupIdNotFound };
        assert_eq!(error(answer.error_code), expected, "{migration:?}");
        assert_eq!(world.kind(), if upgrades { "consumer" } else { "classic" });
        // The other way, from a group that began as a consumer group.
        let mut world = World::with(settings);
        world.create(T, "t", 0..4);
        world.beat(joins("new", &["t"]));
        let member = world.rejoin(join_request(""));
        if migration == Disabled {
            assert_eq!(error(member.error_code), ErrorCode::InconsistentGroupProtocol);
            continue;
        }
        assert_eq!(error(world.rejoin(owning(&member.member_id, &[])).error_code), ErrorCode::None);
        world.beat(stays("new", -1, &Owned::new()));
        assert_eq!(world.kind(), if downgrades { "classic" } else { "consumer" }, "{migration:?}");
    }
}

#[test]
fn a_classic_group_that_cannot_be_understood_stays_what_it_is() {
    let foreign = |world: &mut World| {
        let request = JoinGroupRequest { protocol_type: "connect".into(), ..join_request("") };
        world.ask(3, Request::Join(request));
    };
    let unreadable = |world: &mut World| {
        let mut request = join_request("");
        request.protocols[0].metadata = Bytes::from_static(b"?");
        world.ask(3, Request::Join(request));
    };
    for enter in [foreign, unreadable] {
        let mut world = World::bidirectional();
        enter(&mut world);
        world.wait(3_000);
        world.answers.clear();
        assert_eq!(error(world.beat(joins("new", &["t"])).error_code), ErrorCode::GroupIdNotFound);
        assert_eq!((world.kind(), world.state("g").as_str()), ("classic", "CompletingRebalance"));
    }
    // An assignor's own data would be lost.
    let mut world = World::bidirectional();
    let (member_id, _) = world.enter();
    world.wait(6_000);
    let mut request = sync_request(&member_id, 1, &[(&member_id, "")]);
    let assignment = ConsumerProtocolAssignment { user_data: Some(Bytes::from_static(b"own")), ..Default::default() };
    request.assignments[0].assignment = [&[0, 1][..], &assignment.to_bytes(1).expect("fits")].concat().into();
    world.ask(5, Request::Sync(request));
    world.answers.clear();
    assert_eq!(error(world.beat(joins("new", &["t"])).error_code), ErrorCode::GroupIdNotFound);
}

#[test]
fn classic_members_that_do_not_follow_in_time_are_removed() {
    let mut world = World::bidirectional();
    world.beat(joins("new", &["t"]));
    let mut request = owning("", &[]);
    (request.session_timeout_ms, request.rebalance_timeout_ms) = (600_000, 5_000);
    let to = world.ask(3, Request::Join(request.clone()));
    let joined = world.joined(to).expect("is answered at once");
    world.wait(5_000);
    assert_eq!(world.heartbeat(&joined.member_id, joined.generation_id), ErrorCode::UnknownMemberId, "never synced");
    let to = world.ask(3, Request::Join(request));
    let joined = world.joined(to).expect("is answered at once");
    world.own(&joined.member_id, joined.generation_id);
    world.beat(joins("other", &["t"]));
    world.now = world.now + Millis(1_000);
    world.beat(stays("other", 1, &Owned::new()));
    while world.heartbeat(&joined.member_id, joined.generation_id) == ErrorCode::None {
        world.wait(1_000);
        let epoch =
            world.describe_consumer().members.iter().find(|member| member.member_id == "other").map(|m| m.member_epoch);
        world.beat(stays("other", epoch.expect("is there"), &Owned::new()));
    }
    world.wait(5_000);
    assert_eq!(world.heartbeat(&joined.member_id, joined.generation_id), ErrorCode::UnknownMemberId, "never joined");
}

#[test]
fn syncs_and_leaves_of_strangers_are_refused_in_a_consumer_group() {
    let mut world = World::bidirectional();
    world.create(U, "u", 0..1);
    world.beat(joins("new", &["t"]));
    let pending = world.rejoin(join_request(""));
    assert_eq!(error(pending.error_code), ErrorCode::MemberIdRequired);
    let joined = world.rejoin(owning(&pending.member_id, &[]));
    let refused = |world: &mut World, request: SyncGroupRequest| {
        let to = world.ask(5, Request::Sync(request));
        error(world.synced(to).expect("is answered").error_code)
    };
    let (member, epoch) = (joined.member_id.as_str(), joined.generation_id);
    assert_eq!(refused(&mut world, sync_request("new", epoch, &[])), ErrorCode::UnknownMemberId, "speaks the other");
    assert_eq!(refused(&mut world, sync_request(member, epoch + 1, &[])), ErrorCode::IllegalGeneration);
    let other = SyncGroupRequest { protocol_name: Some("sticky".into()), ..sync_request(member, epoch, &[]) };
    assert_eq!(refused(&mut world, other), ErrorCode::InconsistentGroupProtocol);
    let stranger = JoinGroupRequest { protocols: vec![protocol("other", &["t"])], ..join_request("") };
    assert_eq!(error(world.rejoin(stranger).error_code), ErrorCode::InconsistentGroupProtocol);
    let left = world.leave(5, &[("nobody", None), (member, None), (member, None)]);
    let errors: Vec<ErrorCode> = left.members.iter().map(|member| error(member.error_code)).collect();
    assert_eq!(errors, [ErrorCode::UnknownMemberId, ErrorCode::None, ErrorCode::None]);
    assert_eq!(world.describe_consumer().members.len(), 1);
}

#[test]
fn trap_138_a_classic_member_commits_in_its_generation_and_an_older_one_is_an_illegal_generation() {
    let mut world = World::bidirectional();
    let classic = world.classic_owner();
    let id = classic.as_str();
    world.beat(joins("new", &["t"]));
    let both = |world: &mut World, from: Sender<'_>, partition, expected| {
        for version in [2, 8, 9, 10] {
            assert_eq!(world.commits(version, from, partition), expected, "t-{partition} at {}", from.epoch);
        }
        assert_eq!(world.commits_in_transaction(from, partition), expected, "t-{partition} at {}", from.epoch);
    };
    both(&mut world, sender(id, 1), 3, ErrorCode::None);
    both(&mut world, sender(id, 0), 3, ErrorCode::IllegalGeneration);
    both(&mut world, sender(id, 2), 3, ErrorCode::IllegalGeneration);
    both(&mut world, sender(id, -1), 3, ErrorCode::IllegalGeneration);
    both(&mut world, sender("stranger", 1), 3, ErrorCode::UnknownMemberId);
    // An instance id of a member that has none: a classic group would not know it.
    both(&mut world, Sender { instance: Some("i"), ..sender(id, 1) }, 3, ErrorCode::None);
    // It has gone on to generation 2 with two partitions, and has had them since generation 1.
    world.rejoin(owning(id, &[0, 1, 2, 3]));
    world.own(id, 1);
    assert_eq!(world.rejoin(owning(id, &[0, 1])).generation_id, 2);
    both(&mut world, sender(id, 2), 3, ErrorCode::None);
    both(&mut world, sender(id, 1), 1, ErrorCode::None);
    both(&mut world, sender(id, 1), 3, ErrorCode::IllegalGeneration);
    // When the group is a classic one again, its generation is the group's epoch, whatever the member has had.
    world.beat(stays("new", -1, &Owned::new()));
    world.wait(0);
    assert_eq!(world.kind(), "classic");
    both(&mut world, sender(id, 1), 1, ErrorCode::IllegalGeneration);
    both(&mut world, sender(id, 3), 1, ErrorCode::IllegalGeneration);
    both(&mut world, sender(id, 2), 1, ErrorCode::None);
    both(&mut world, Sender { instance: Some("i"), ..sender(id, 2) }, 1, ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_that_changes_its_protocol_under_its_own_id_makes_the_group_a_classic_one() {
    let mut world = World::bidirectional();
    let mut request = joins("new", &["t"]);
    request.instance_id = Some("i".into());
    let joined = world.beat(request);
    assert_eq!(owned(&joined), of(T, &[0, 1, 2, 3]));
    let of_i = |request| JoinGroupRequest { group_instance_id: Some("i".into()), ..request };
    let back = world.rejoin(of_i(owning("new", &[0, 1, 2, 3])));
    assert_eq!((error(back.error_code), back.member_id.as_str()), (ErrorCode::None, "new"));
    assert_eq!((world.kind(), world.state("g").as_str()), ("classic", "Stable"));
    let request = sync_request("new", back.generation_id, &[]);
    let to = world.ask(5, Request::Sync(SyncGroupRequest { group_instance_id: Some("i".into()), ..request }));
    assert_eq!(read(&world.synced(to).expect("is answered").assignment), [0, 1, 2, 3]);
    world.reload();
    assert_eq!(world.kind(), "classic");
}

#[test]
fn of_two_reasons_to_refuse_a_classic_member_it_hears_the_one_that_kafka_tells() {
    let mut settings = Settings::default();
    settings.consumer.size_max = 1;
    let mut world = World::with(settings);
    world.create(T, "t", 0..4);
    let mut request = joins("new", &["t"]);
    request.instance_id = Some("i".into());
    world.beat(request);
    let foreign = JoinGroupRequest { protocol_type: "connect".into(), ..join_request("") };
    assert_eq!(error(world.rejoin(foreign).error_code), ErrorCode::GroupMaxSizeReached, "there is no room");
    let mut world = World::bidirectional();
    let mut request = joins("new", &["t"]);
    request.instance_id = Some("i".into());
    world.beat(request);
    let mut unreadable = static_join("stranger", "i");
    unreadable.protocols[0].metadata = Bytes::from_static(b"?");
    assert_eq!(error(world.rejoin(unreadable).error_code), ErrorCode::FencedInstanceId, "who it is counts first");
}
