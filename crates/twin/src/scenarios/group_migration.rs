//! Groups that change their kind while they live, and members of both protocols in one group (KIP-848).

use bytes::Bytes;
use milena_protocol::Message;
use milena_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedPartition;
use milena_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedPartition;
use milena_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::messages::join_group_response::JoinGroupResponse;
use milena_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, ListGroupsRequest, OffsetCommitRequest,
};

use super::Scenario;
use super::consumer_groups::{beat, beats, instance, joins, owning, partitions, shown};
use super::groups::{described, heartbeat, leaving};
use super::offsets::{commit, part};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumer_groups/trap_138_upgrade",
        shows: "a classic group takes in a consumer: its member is told to join again, and never leads",
        traps: &[138],
        play: upgrade,
    },
    Scenario {
        name: "consumer_groups/trap_138_upgrade_while_rebalancing",
        shows: "whoever waits in a join or a sync is told to join again",
        traps: &[138],
        play: upgrade_while_rebalancing,
    },
    Scenario {
        name: "consumer_groups/downgrade",
        shows: "the last consumer leaves: the group is a classic one, and rebalances",
        traps: &[138],
        play: downgrade,
    },
    Scenario {
        name: "consumer_groups/instance_changes_protocol",
        shows: "a static member comes back with the other protocol, and back again: nothing moves",
        traps: &[138],
        play: instance_changes_protocol,
    },
    Scenario {
        name: "consumer_groups/classic_members_refused",
        shows: "joins, syncs, heartbeats and leaves that a consumer group does not take",
        traps: &[138],
        play: classic_members_refused,
    },
];

/// A join that says what its member owns, in version 1 of the embedded protocol.
pub(super) fn joining(group: &str, member: &str, topic: &Topic, owned: &[i32]) -> JoinGroupRequest {
    let owned_partitions = match owned {
        [] => Vec::new(),
        _ => vec![OwnedPartition { topic: topic.name.clone(), partitions: owned.to_vec() }],
    };
    let subscription =
        ConsumerProtocolSubscription { topics: vec![topic.name.clone()], owned_partitions, ..Default::default() };
    JoinGroupRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 5_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: versioned(&subscription) }],
        ..Default::default()
    }
}

fn versioned<M: Message>(message: &M) -> Bytes {
    [&[0, 1][..], &message.to_bytes(1).expect("fits")].concat().into()
}

pub(super) fn syncing(
    group: &str,
    joined: &JoinGroupResponse,
    assigned: &[(&str, &Topic, &[i32])],
) -> SyncGroupRequest {
    let assignment = |(member, topic, partitions): &(&str, &Topic, &[i32])| {
        let given = AssignedPartition { topic: topic.name.clone(), partitions: partitions.to_vec() };
        let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![given], user_data: None };
        SyncGroupRequestAssignment { member_id: (*member).to_owned(), assignment: versioned(&assignment) }
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: assigned.iter().map(assignment).collect(),
        ..Default::default()
    }
}

/// A classic group of one member that owns all four partitions.
pub(super) fn classic_owner(x: &mut Exchange, group: &str, topic: &Topic) -> JoinGroupResponse {
    let joined = x.ask(3, &joining(group, "", topic, &[]));
    x.ask(5, &syncing(group, &joined, &[(&joined.member_id, topic, &[0, 1, 2, 3])]));
    joined
}

fn upgrade(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let classic = classic_owner(x, &group, &topic);
    let member = classic.member_id.as_str();
    let new = beat(x, &joins(&group, "n", &[&topic]));
    shown(x, &group);
    described(x, &group);
    x.only_mine();
    x.ask(5, &ListGroupsRequest::default());
    let committing = |epoch| OffsetCommitRequest {
        member_id: member.to_owned(),
        generation_id_or_member_epoch: epoch,
        ..commit(&group, &topic, vec![part(0, 5, None)])
    };
    x.ask(8, &committing(classic.generation_id));
    x.ask(8, &committing(classic.generation_id + 1));
    x.ask(5, &syncing(&group, &classic, &[]));
    x.ask(4, &heartbeat(&group, classic.generation_id, member));
    let again = x.ask(9, &joining(&group, member, &topic, &[0, 1, 2, 3]));
    x.ask(5, &syncing(&group, &again, &[]));
    x.ask(4, &heartbeat(&group, again.generation_id, member));
    beat(x, &owning(beats(&group, "n", new.member_epoch), &[]));
    let moved = x.ask(5, &joining(&group, member, &topic, &[0, 1]));
    x.ask(5, &syncing(&group, &moved, &[]));
    x.ask(4, &heartbeat(&group, moved.generation_id, member));
    beat(x, &owning(beats(&group, "n", new.member_epoch), &[]));
    x.ask(4, &heartbeat(&group, moved.generation_id, member));
    shown(x, &group);
    x.ask(5, &leaving(&group, &[(member, None)]));
    shown(x, &group);
}

fn upgrade_while_rebalancing(x: &mut Exchange) {
    let (topic, other, group) = (x.topic("t", 4, &[]), x.topic("u", 1, &[]), x.name("g"));
    let first = classic_owner(x, &group, &topic);
    // One waits in its first join.
    x.on("b").send(3, &joining(&group, "", &topic, &[]));
    x.pause(100);
    x.on("").ask(4, &heartbeat(&group, first.generation_id, &first.member_id));
    beat(x, &joins(&group, "n", &[&other]));
    let told = x.on("b").receive::<JoinGroupRequest>();
    x.ask(9, &joining(&group, &told.member_id, &topic, &[]));
    x.on("").ask(4, &heartbeat(&group, first.generation_id, &first.member_id));
    shown(x, &group);
}

fn downgrade(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let new = beat(x, &joins(&group, "n", &[&topic]));
    x.ask(9, &joining(&group, "", &topic, &[]));
    // Who gets what follows from the ids: they are chosen.
    let member = "c";
    let joined = x.ask(9, &joining(&group, member, &topic, &[]));
    x.ask(5, &syncing(&group, &joined, &[]));
    let told = beat(x, &owning(beats(&group, "n", new.member_epoch), &[(&topic, &[0, 1, 2, 3])]));
    beat(x, &owning(beats(&group, "n", new.member_epoch), &[(&topic, &partitions(&told))]));
    x.ask(4, &heartbeat(&group, joined.generation_id, member));
    let again = x.ask(9, &joining(&group, member, &topic, &[]));
    x.ask(5, &syncing(&group, &again, &[]));
    shown(x, &group);
    beat(x, &beats(&group, "n", -1));
    shown(x, &group);
    described(x, &group);
    x.ask(4, &heartbeat(&group, again.generation_id, member));
    let led = x.ask(9, &joining(&group, member, &topic, &[2, 3]));
    x.ask(5, &syncing(&group, &led, &[(member, &topic, &[0, 1, 2, 3])]));
    described(x, &group);
    beat(x, &beats(&group, "n", 1));
    x.ask(5, &leaving(&group, &[(member, None)]));
}

fn instance_changes_protocol(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let of_i = |request: JoinGroupRequest| JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..request };
    let sync_i = |request: SyncGroupRequest| SyncGroupRequest { group_instance_id: Some("i".to_owned()), ..request };
    let first = x.ask(9, &of_i(joining(&group, "", &topic, &[])));
    x.ask(5, &sync_i(syncing(&group, &first, &[(&first.member_id, &topic, &[0, 1, 2, 3])])));
    let new = beat(x, &instance("i", joins(&group, "n", &[&topic])));
    shown(x, &group);
    let beat_i = |generation, member: &str| HeartbeatRequest {
        group_instance_id: Some("i".to_owned()),
        ..heartbeat(&group, generation, member)
    };
    x.ask(4, &beat_i(first.generation_id, &first.member_id));
    let back = x.ask(9, &of_i(joining(&group, "", &topic, &[0, 1, 2, 3])));
    shown(x, &group);
    described(x, &group);
    beat(x, &instance("i", beats(&group, "n", new.member_epoch)));
    x.ask(4, &beat_i(back.generation_id, &back.member_id));
    x.ask(5, &sync_i(syncing(&group, &back, &[])));
    x.ask(5, &leaving(&group, &[("", Some("i"))]));
    described(x, &group);
}

fn classic_members_refused(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let new = beat(x, &instance("i", joins(&group, "n", &[&topic])));
    let good = || joining(&group, "", &topic, &[]);
    // Who gets what follows from the ids: they are chosen.
    let joined = x.ask(3, &JoinGroupRequest { member_id: "c".to_owned(), ..good() });
    let member = joined.member_id.as_str();
    let malformed = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::from_static(b"?") };
    let other = JoinGroupRequestProtocol { name: "other".to_owned(), ..good().protocols[0].clone() };
    for request in [
        JoinGroupRequest { protocol_type: "connect".to_owned(), ..good() },
        JoinGroupRequest { protocol_type: String::new(), ..good() },
        JoinGroupRequest { protocols: Vec::new(), ..good() },
        JoinGroupRequest { protocols: vec![other], ..good() },
        JoinGroupRequest { protocols: vec![malformed], ..good() },
        JoinGroupRequest { group_instance_id: Some("j".to_owned()), member_id: "m".to_owned(), ..good() },
        JoinGroupRequest { group_instance_id: Some("i".to_owned()), member_id: "m".to_owned(), ..good() },
        JoinGroupRequest { session_timeout_ms: 1, ..good() },
    ] {
        for version in [3, 9] {
            if version >= 5 || request.group_instance_id.is_none() {
                x.ask(version, &request);
            }
        }
    }
    let epoch = joined.generation_id;
    for (generation, id) in [(epoch + 1, member), (epoch, "stranger"), (new.member_epoch, "n"), (epoch, "")] {
        x.ask(4, &heartbeat(&group, generation, id));
        let asking = JoinGroupResponse { generation_id: generation, member_id: id.to_owned(), ..Default::default() };
        x.ask(5, &syncing(&group, &asking, &[]));
    }
    for (kind, name) in [(Some("connect"), Some("range")), (Some("consumer"), Some("other"))] {
        let request = SyncGroupRequest {
            protocol_type: kind.map(str::to_owned),
            protocol_name: name.map(str::to_owned),
            ..syncing(&group, &joined, &[])
        };
        x.ask(5, &request);
    }
    x.ask(0, &SyncGroupRequest { protocol_type: None, protocol_name: None, ..syncing(&group, &joined, &[]) });
    x.ask(
        5,
        &leaving(&group, &[("stranger", None), ("", Some("j")), ("m", Some("i")), (member, None), ("", Some("i"))]),
    );
    shown(x, &group);
    x.ask(4, &heartbeat(&group, epoch, member));
    x.ask(5, &syncing(&group, &joined, &[]));
    x.ask(5, &leaving(&group, &[(member, None)]));
}
