//! Consumer groups of KIP-848: ConsumerGroupHeartbeat, ConsumerGroupDescribe, and how the other APIs of groups see them.

use milena_protocol::messages::consumer_group_heartbeat_request::{ConsumerGroupHeartbeatRequest, TopicPartitions};
use milena_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use milena_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use milena_protocol::messages::{
    ConsumerGroupDescribeRequest, CreatePartitionsRequest, DeleteGroupsRequest, DeleteTopicsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, ListGroupsRequest,
};

use super::Scenario;
use super::groups::{join, leaving, stable_group};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumer_groups/one_member",
        shows: "join, heartbeat, describe, list, leave and delete at the newest version",
        traps: &[131, 133],
        play: one_member,
    },
    Scenario {
        name: "consumer_groups/oldest_version",
        shows: "the same at the oldest version, where the broker makes the member's id",
        traps: &[131],
        play: oldest_version,
    },
    Scenario {
        name: "consumer_groups/heartbeat_refused",
        shows: "requests that lack something, strangers, wrong epochs, and groups that are not there",
        traps: &[131],
        play: heartbeat_refused,
    },
    Scenario {
        name: "consumer_groups/trap_132_the_previous_epoch",
        shows: "a member that did not hear of its epoch is let in if it owns no more than it should",
        traps: &[132],
        play: the_previous_epoch,
    },
    Scenario {
        name: "consumer_groups/trap_133_full_requests",
        shows: "what a request leaves out stays, and who gets the assignment told",
        traps: &[133],
        play: full_requests,
    },
    Scenario {
        name: "consumer_groups/trap_134_instances",
        shows: "an instance id is taken until its member leaves for now; its next member has what it had",
        traps: &[134],
        play: instances,
    },
    Scenario {
        name: "consumer_groups/trap_135_partitions_move",
        shows: "a partition is given back before it is granted, seen from both members and from outside",
        traps: &[135],
        play: partitions_move,
    },
    Scenario {
        name: "consumer_groups/range",
        shows: "ranges of two topics for three members, static ones first; a member changes its mind",
        traps: &[],
        play: range,
    },
    Scenario {
        name: "consumer_groups/uniform",
        shows: "three members come and one goes: everybody keeps what it can",
        traps: &[],
        play: uniform,
    },
    Scenario {
        name: "consumer_groups/subscriptions_change",
        shows: "other topics, topics that are not there yet, that grow, and that are deleted",
        traps: &[],
        play: subscriptions_change,
    },
    Scenario {
        name: "consumer_groups/full",
        shows: "a group takes group.consumer.max.size members",
        traps: &[],
        play: full,
    },
    Scenario {
        name: "consumer_groups/describe",
        shows: "states, members and what is not there, at each version",
        traps: &[],
        play: describe,
    },
    Scenario { name: "consumer_groups/list", shows: "groups of both kinds by state and type", traps: &[], play: list },
    Scenario { name: "consumer_groups/delete", shows: "empty groups go, others stay", traps: &[130], play: delete },
    Scenario {
        name: "consumer_groups/other_kind",
        shows: "empty groups change their kind with whoever joins; groups with members of another kind do not",
        traps: &[],
        play: other_kind,
    },
];

/// The newest version.
pub(super) const NEW: i16 = 1;

/// Joins or joins again.
pub(super) fn joins(group: &str, member: &str, topics: &[&Topic]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| topic.name.clone()).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// Says nothing but that it is there.
pub(super) fn beats(group: &str, member: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch,
        ..Default::default()
    }
}

/// Says what it owns as well.
pub(super) fn owning(
    request: ConsumerGroupHeartbeatRequest,
    owned: &[(&Topic, &[i32])],
) -> ConsumerGroupHeartbeatRequest {
    let topic = |(topic, partitions): &(&Topic, &[i32])| TopicPartitions {
        topic_id: topic.id,
        partitions: partitions.to_vec(),
    };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(owned.iter().map(topic).collect()), ..request }
}

pub(super) fn instance(id: &str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { instance_id: Some(id.to_owned()), ..request }
}

pub(super) fn assignor(name: &str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { server_assignor: Some(name.to_owned()), ..request }
}

pub(super) fn beat(x: &mut Exchange, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    x.ask(NEW, request)
}

fn asking(groups: &[&str]) -> ConsumerGroupDescribeRequest {
    let group_ids = groups.iter().map(|group| (*group).to_owned()).collect();
    ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: false }
}

pub(super) fn shown(x: &mut Exchange, group: &str) {
    x.ask(NEW, &asking(&[group]));
}

/// All partitions of an assignment.
pub(super) fn partitions(response: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let topics = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    topics.flat_map(|topic| topic.partitions.clone()).collect()
}

/// The epoch of a member, asked in silence.
pub(super) fn member_epoch(x: &mut Exchange, group: &str, member: &str) -> i32 {
    let described = x.quietly(NEW, &asking(&[group]));
    let members = described.into_iter().flat_map(|described| described.groups).flat_map(|group| group.members);
    members.filter(|known| known.member_id == member).map(|known| known.member_epoch).next().unwrap_or(-1)
}

/// Beats in silence until the member has got to a newer epoch, and says to which.
pub(super) fn settled(x: &mut Exchange, group: &str, member: &str, epoch: i32) -> i32 {
    x.wait_until(NEW, &beats(group, member, epoch), |response| response.member_epoch > epoch);
    member_epoch(x, group, member)
}

fn deleting(groups: &[&str]) -> DeleteGroupsRequest {
    DeleteGroupsRequest { groups_names: groups.iter().map(|group| (*group).to_owned()).collect() }
}

fn one_member(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 3, &[]), x.name("g"));
    let coordinator = FindCoordinatorRequest { coordinator_keys: vec![group.clone()], ..Default::default() };
    x.ask(6, &coordinator);
    let joined = beat(x, &joins(&group, "m", &[&topic]));
    let epoch = joined.member_epoch;
    beat(x, &beats(&group, "m", epoch));
    beat(x, &owning(beats(&group, "m", epoch), &[(&topic, &[0, 1, 2])]));
    shown(x, &group);
    x.only_mine();
    x.ask(5, &ListGroupsRequest::default());
    let classic = DescribeGroupsRequest { groups: vec![group.clone()], include_authorized_operations: false };
    for version in [0, 5, 6] {
        x.ask(version, &classic);
    }
    beat(x, &beats(&group, "m", -1));
    beat(x, &beats(&group, "m", epoch));
    shown(x, &group);
    x.ask(2, &deleting(&[&group]));
    shown(x, &group);
    beat(x, &beats(&group, "m", epoch));
    beat(x, &joins(&group, "m", &[&topic]));
}

fn oldest_version(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    let joined = x.ask(0, &joins(&group, "", &[&topic]));
    let member = joined.member_id.unwrap_or_default();
    x.ask(0, &owning(beats(&group, &member, joined.member_epoch), &[(&topic, &[0, 1])]));
    x.ask(0, &asking(&[&group]));
    // A member may bring its own id there too.
    x.ask(0, &joins(&x.name("own"), "m", &[&topic]));
    x.ask(0, &beats(&group, &member, -1));
    x.ask(0, &asking(&[&group]));
}

fn heartbeat_refused(x: &mut Exchange) {
    let (topic, group, none) = (x.topic("t", 1, &[]), x.name("g"), x.name("none"));
    let epoch = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    let good = || joins(&group, "n", &[&topic]);
    let bad = [
        joins("", "n", &[&topic]),
        joins(" ", "n", &[&topic]),
        joins(&group, "", &[&topic]),
        joins(&group, " ", &[&topic]),
        ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..good() },
        ConsumerGroupHeartbeatRequest { topic_partitions: None, ..good() },
        owning(good(), &[(&topic, &[0])]),
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..good() },
        instance("", good()),
        instance(" ", good()),
        ConsumerGroupHeartbeatRequest { rack_id: Some(String::new()), ..good() },
        assignor("", good()),
        assignor("sticky", good()),
        beats(&group, "", epoch),
        beats(&group, "", -1),
        beats(&group, "n", epoch),
        beats(&group, "n", -1),
        beats(&group, "m", -2),
        beats(&group, "m", -3),
        instance("i", beats(&group, "m", epoch)),
        instance("i", beats(&group, "m", -1)),
        instance("i", beats(&group, "m", -2)),
        beats(&group, "m", epoch + 1),
        beats(&group, "m", epoch - 1),
        owning(beats(&group, "m", epoch - 1), &[(&topic, &[0])]),
        beats(&none, "m", 1),
        beats(&none, "m", -1),
        instance("i", beats(&none, "m", -2)),
    ];
    for request in &bad {
        x.ask_ends(request);
    }
    shown(x, &group);
}

fn the_previous_epoch(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    let first = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    beat(x, &joins(&group, "n", &[&topic]));
    // Its partition goes, and then its epoch goes up with an answer that is lost.
    let told = beat(x, &owning(beats(&group, "m", first), &[(&topic, &[0, 1])]));
    let kept = partitions(&told);
    for _ in 0..2 {
        beat(x, &owning(beats(&group, "m", first), &[(&topic, &kept)]));
    }
    beat(x, &owning(beats(&group, "m", first), &[]));
    beat(x, &owning(beats(&group, "m", first), &[(&topic, &[0, 1])]));
    beat(x, &beats(&group, "m", first));
    beat(x, &beats(&group, "m", first + 2));
    beat(x, &owning(beats(&group, "m", first - 1), &[]));
    // Joining again with epoch 0 is always possible.
    beat(x, &joins(&group, "m", &[&topic]));
    shown(x, &group);
}

fn full_requests(x: &mut Exchange) {
    let (topic, other, group) = (x.topic("t", 1, &[]), x.topic("u", 1, &[]), x.name("g"));
    let mut full = joins(&group, "m", &[&topic]);
    full.rack_id = Some("rack".to_owned());
    full.server_assignor = Some("range".to_owned());
    full.member_epoch = beat(x, &full).member_epoch;
    let owned: &[(&Topic, &[i32])] = &[(&topic, &[0])];
    beat(x, &owning(full.clone(), owned));
    let mut part = owning(full.clone(), owned);
    part.rebalance_timeout_ms = -1;
    beat(x, &part);
    part.subscribed_topic_names = None;
    part.rack_id = None;
    part.server_assignor = None;
    beat(x, &part);
    shown(x, &group);
    // One thing after another changes.
    beat(x, &assignor("uniform", part.clone()));
    shown(x, &group);
    beat(x, &ConsumerGroupHeartbeatRequest { rack_id: Some("elsewhere".to_owned()), ..part.clone() });
    shown(x, &group);
    let names = Some(vec![other.name.clone()]);
    let changed = beat(x, &ConsumerGroupHeartbeatRequest { subscribed_topic_names: names, ..part.clone() });
    part.member_epoch = changed.member_epoch;
    let after = beat(x, &owning(part, &[]));
    beat(x, &owning(beats(&group, "m", after.member_epoch), &[(&other, &[0])]));
    shown(x, &group);
}

fn instances(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    let of_i = |request| instance("i", request);
    let first = beat(x, &of_i(joins(&group, "m", &[&topic]))).member_epoch;
    beat(x, &of_i(joins(&group, "n", &[&topic])));
    beat(x, &of_i(joins(&group, "m", &[&topic])));
    beat(x, &of_i(beats(&group, "n", first)));
    beat(x, &beats(&group, "m", first));
    beat(x, &instance("j", beats(&group, "m", first)));
    shown(x, &group);
    // Away for now: nothing moves, and nobody else beats in its name.
    beat(x, &of_i(beats(&group, "m", -2)));
    shown(x, &group);
    beat(x, &of_i(beats(&group, "m", first)));
    let second = beat(x, &of_i(joins(&group, "n", &[&topic])));
    beat(x, &of_i(beats(&group, "m", first)));
    beat(x, &of_i(beats(&group, "m", -1)));
    beat(x, &owning(of_i(beats(&group, "n", second.member_epoch)), &[(&topic, &[0, 1])]));
    shown(x, &group);
    // Back under the same id, then with other topics.
    beat(x, &of_i(beats(&group, "n", -2)));
    beat(x, &of_i(joins(&group, "n", &[&topic])));
    beat(x, &of_i(beats(&group, "n", -2)));
    let other = x.topic("u", 1, &[]);
    beat(x, &of_i(joins(&group, "o", &[&other])));
    shown(x, &group);
    beat(x, &of_i(beats(&group, "o", -1)));
    beat(x, &of_i(beats(&group, "o", -1)));
    shown(x, &group);
}

fn partitions_move(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let one = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    let two = beat(x, &joins(&group, "n", &[&topic])).member_epoch;
    shown(x, &group);
    x.only_mine();
    for state in ["Reconciling", "Stable", "reconciling"] {
        x.ask(5, &ListGroupsRequest { states_filter: vec![state.to_owned()], ..Default::default() });
    }
    beat(x, &owning(beats(&group, "n", two), &[]));
    // It is told what is left, says that it still owns all, and then that it does not.
    let told = beat(x, &owning(beats(&group, "m", one), &[(&topic, &[0, 1, 2, 3])]));
    let left = partitions(&told);
    beat(x, &beats(&group, "m", one));
    beat(x, &owning(beats(&group, "m", one), &[(&topic, &[0, 1, 2, 3])]));
    shown(x, &group);
    beat(x, &owning(beats(&group, "n", two), &[]));
    beat(x, &owning(beats(&group, "m", one), &[(&topic, &left)]));
    beat(x, &owning(beats(&group, "n", two), &[]));
    shown(x, &group);
    // The first leaves: all goes to the second.
    beat(x, &beats(&group, "m", -1));
    beat(x, &beats(&group, "n", two));
    shown(x, &group);
}

fn range(x: &mut Exchange) {
    let (topic, other, group) = (x.topic("t", 4, &[]), x.topic("u", 2, &[]), x.name("g"));
    let by_range = |request| assignor("range", request);
    // One topic after the other, so that their ids can be told apart.
    for (id, wanted) in [("one", &topic), ("two", &other)] {
        beat(x, &joins(&x.name(id), "m", &[wanted]));
    }
    beat(x, &by_range(joins(&group, "b", &[&topic, &other])));
    beat(x, &by_range(joins(&group, "a", &[&topic, &other])));
    beat(x, &instance("i", by_range(joins(&group, "c", &[&topic, &other]))));
    shown(x, &group);
    let epoch = member_epoch(x, &group, "a");
    let names = Some(vec![other.name.clone()]);
    beat(x, &ConsumerGroupHeartbeatRequest { subscribed_topic_names: names, ..owning(beats(&group, "a", epoch), &[]) });
    shown(x, &group);
    // Votes decide about the assignor.
    beat(x, &assignor("uniform", joins(&group, "d", &[&topic])));
    shown(x, &group);
}

fn uniform(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 7, &[]), x.name("g"));
    for member in ["a", "b", "c"] {
        beat(x, &joins(&group, member, &[&topic]));
        shown(x, &group);
    }
    beat(x, &beats(&group, "b", -1));
    let epoch = member_epoch(x, &group, "c");
    beat(x, &owning(beats(&group, "c", epoch), &[]));
    shown(x, &group);
    beat(x, &joins(&group, "e", &[&topic]));
    shown(x, &group);
}

fn subscriptions_change(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    let later = Topic { name: x.name("later"), id: milena_protocol::Uuid::ZERO };
    let mut epoch = beat(x, &joins(&group, "m", &[&later])).member_epoch;
    shown(x, &group);
    x.topic("later", 2, &[]);
    // The members learn of it with their next heartbeats.
    epoch = settled(x, &group, "m", epoch);
    shown(x, &group);
    let both = Some(vec![later.name.clone(), topic.name.clone()]);
    let request = ConsumerGroupHeartbeatRequest { subscribed_topic_names: both, ..beats(&group, "m", epoch) };
    epoch = beat(x, &request).member_epoch;
    shown(x, &group);
    let more = CreatePartitionsTopic { name: topic.name.clone(), count: 3, assignments: None };
    x.quietly(3, &CreatePartitionsRequest { topics: vec![more], timeout_ms: 10_000, validate_only: false });
    x.wait_for_topic(&topic.name, 3);
    epoch = settled(x, &group, "m", epoch);
    shown(x, &group);
    x.quietly(
        3,
        &DeleteTopicsRequest { topic_names: vec![later.name.clone()], timeout_ms: 10_000, ..Default::default() },
    );
    x.pause(500);
    beat(x, &beats(&group, "m", epoch));
    shown(x, &group);
    let only = Some(vec![topic.name.clone()]);
    let owned: &[(&Topic, &[i32])] = &[(&topic, &[0, 1, 2])];
    let epoch = member_epoch(x, &group, "m");
    let request =
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: only, ..owning(beats(&group, "m", epoch), owned) };
    beat(x, &request);
    shown(x, &group);
}

fn full(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    for member in ["a", "b", "c", "d", "e"] {
        beat(x, &joins(&group, member, &[&topic]));
    }
    beat(x, &joins(&group, "a", &[&topic]));
    x.ask(0, &joins(&group, "", &[&topic]));
    beat(x, &beats(&group, "a", -1));
    beat(x, &joins(&group, "e", &[&topic]));
}

fn describe(x: &mut Exchange) {
    let (topic, group, none) = (x.topic("t", 1, &[]), x.name("g"), x.name("none"));
    let (classic, _) = stable_group(x, "classic");
    let mut joining = instance("i", joins(&group, "m", &[&topic]));
    joining.rack_id = Some("rack".to_owned());
    beat(x, &joining);
    for version in 0..=1 {
        x.ask(version, &asking(&[&group]));
        x.ask(version, &asking(&[&none, &classic, ""]));
        x.ask(version, &asking(&[&group, &group]));
        x.ask(version, &asking(&[]));
        let all = ConsumerGroupDescribeRequest { include_authorized_operations: true, ..asking(&[&group, &none]) };
        x.ask(version, &all);
    }
}

fn list(x: &mut Exchange) {
    let topic = x.topic("t", 1, &[]);
    stable_group(x, "classic");
    let (stable, empty) = (x.name("stable"), x.name("empty"));
    beat(x, &joins(&stable, "m", &[&topic]));
    beat(x, &joins(&empty, "m", &[&topic]));
    beat(x, &beats(&empty, "m", -1));
    x.only_mine();
    for version in 0..=5 {
        x.ask(version, &ListGroupsRequest::default());
    }
    for kind in ["classic", "consumer", "Consumer", "share", "unknown"] {
        x.ask(5, &ListGroupsRequest { types_filter: vec![kind.to_owned()], ..Default::default() });
    }
    for state in ["Stable", "Empty", "Assigning", "Reconciling", "stable", "Dead"] {
        let states_filter = vec![state.to_owned()];
        x.ask(5, &ListGroupsRequest { states_filter: states_filter.clone(), ..Default::default() });
        x.ask(5, &ListGroupsRequest { states_filter, types_filter: vec!["consumer".to_owned()] });
    }
}

fn delete(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    beat(x, &instance("i", joins(&group, "m", &[&topic])));
    x.ask(2, &deleting(&[&group]));
    // A static member that is away is a member.
    beat(x, &instance("i", beats(&group, "m", -2)));
    x.ask(2, &deleting(&[&group]));
    beat(x, &instance("i", beats(&group, "m", -1)));
    x.ask_ends(&deleting(&[&group, &x.name("none")]));
    shown(x, &group);
}

fn other_kind(x: &mut Exchange) {
    let topic = x.topic("t", 1, &[]);
    // A classic group that is empty gives way, one of another protocol type with members does not.
    let (group, joined) = stable_group(x, "g");
    x.quietly(3, &leaving(&group, &[(&joined.member_id, None)]));
    beat(x, &beats(&group, "m", 1));
    beat(x, &joins(&group, "m", &[&topic]));
    shown(x, &group);
    let connect = x.name("connect");
    let mut foreign = join(&connect, "");
    foreign.protocol_type = "connect".to_owned();
    x.ask(3, &foreign);
    beat(x, &joins(&connect, "m", &[&topic]));
    beat(x, &beats(&connect, "m", 1));
    beat(x, &beats(&connect, "m", -1));
    // A consumer group with members takes no classic one of another type, and gives way when it is empty.
    x.ask(9, &milena_protocol::messages::JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(&group, "") });
    beat(x, &beats(&group, "m", -1));
    let pending = x.ask(9, &join(&group, ""));
    shown(x, &group);
    x.ask(9, &join(&group, &pending.member_id));
    shown(x, &group);
}
