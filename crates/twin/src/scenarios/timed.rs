//! Traps 107, 126, 130 and 156 and what else a broker does by itself in time, each under its own number. Played on a broker
//! with `timed.properties`.

use milena_protocol::messages::offset_commit_request::OffsetCommitRequest;
use milena_protocol::messages::{DescribeGroupsRequest, JoinGroupRequest, ListGroupsRequest, OffsetFetchRequest};

use super::Scenario;
use super::groups::{described, heartbeat, join, leaving, subscription, sync, wishing};
use super::offsets::{commit, fetch_old, part};
use super::transactional_ids::{describe, enter};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "timed/trap_107_the_delay_is_prolonged",
        shows: "who joins in a prolonged delay still shares the first generation",
        traps: &[107],
        play: the_delay_is_prolonged,
    },
    Scenario {
        name: "timed/trap_107_the_delay_ends",
        shows: "no delay is longer than the rebalance timeout, and an empty group begins with one again",
        traps: &[107],
        play: the_delay_ends,
    },
    Scenario {
        name: "timed/trap_126_explicit_retention",
        shows: "old requests say how long an offset is kept; newer ones do not, and take the word back",
        traps: &[126],
        play: explicit_retention,
    },
    Scenario {
        name: "timed/trap_126_live_groups",
        shows: "offsets of live groups: kept while rebalancing and while subscribed, else as long as they were to be kept",
        traps: &[126],
        play: live_groups,
    },
    Scenario {
        name: "timed/trap_126_other_kinds_of_groups",
        shows: "a live group of a kind that has no topics keeps everything, an empty one nothing",
        traps: &[126],
        play: other_kinds_of_groups,
    },
    Scenario {
        name: "timed/trap_130_groups_die",
        shows: "a group dies without members and offsets, also one that was never more than an id",
        traps: &[130],
        play: groups_die,
    },
    Scenario {
        name: "timed/trap_156_open_for_too_long",
        shows: "a transaction ends by itself after its timeout, and its producer is fenced",
        traps: &[156],
        play: open_for_too_long,
    },
    Scenario {
        name: "timed/unused_transactional_ids",
        shows: "an id that nobody uses is forgotten, one with an open transaction is not",
        traps: &[],
        play: unused_transactional_ids,
    },
];

/// A moment in which a broker looks several times through its groups, and through its logs.
pub(super) const LOOKED_THROUGH_MS: u64 = 1500;

fn the_delay_is_prolonged(x: &mut Exchange) {
    let group = x.name("g");
    let mut members = Vec::new();
    // The delay of 1.5 s is prolonged once, since somebody joined in it.
    for (connection, pause) in [("a", 700), ("b", 1500), ("c", 0)] {
        x.on(connection).send(3, &wishing(connection, join(&group, "")));
        x.pause(pause);
    }
    for connection in ["a", "b", "c"] {
        members.push(x.on(connection).receive::<JoinGroupRequest>());
    }
    described(x, &group);
}

fn the_delay_ends(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = |wish: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 1000, ..join(&group, "") };
        wishing(wish, request)
    };
    x.on("a").send(3, &hasty("a"));
    x.pause(700);
    x.on("b").send(3, &hasty("b"));
    let one = x.on("a").receive::<JoinGroupRequest>();
    let two = x.on("b").receive::<JoinGroupRequest>();
    x.ask(5, &leaving(&group, &[(&one.member_id, None), (&two.member_id, None)]));
    // Everybody leaves during the delay: it ends with an empty generation.
    let again = x.name("again");
    x.on("a").send(5, &JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..join(&again, "") });
    x.still_waiting();
    x.on("b").ask(5, &leaving(&again, &[("", Some("i"))]));
    x.on("a").receive::<JoinGroupRequest>();
    let late = x.on("b").ask(3, &join(&again, ""));
    x.ask(3, &heartbeat(&again, late.generation_id, &late.member_id));
}

fn kept_for(retention_time_ms: i64, request: OffsetCommitRequest) -> OffsetCommitRequest {
    OffsetCommitRequest { retention_time_ms, ..request }
}

fn fetched(x: &mut Exchange, group: &str) {
    x.ask(7, &fetch_old(group, None));
    described(x, group);
}

fn explicit_retention(x: &mut Exchange) {
    let topic = x.topic("a", 6, &[]);
    let group = x.name("g");
    for (version, index, retention_ms) in [(2, 0, 200), (4, 1, 0), (4, 2, -1), (3, 3, 60_000), (2, 4, -5)] {
        x.ask(version, &kept_for(retention_ms, commit(&group, &topic, vec![part(index, 7, None)])));
    }
    x.ask(5, &commit(&group, &topic, vec![part(5, 7, None)]));
    x.pause(LOOKED_THROUGH_MS);
    fetched(x, &group);
    // The last word counts, in both directions.
    x.ask(2, &kept_for(60_000, commit(&group, &topic, vec![part(0, 8, None)])));
    x.ask(2, &kept_for(400, commit(&group, &topic, vec![part(1, 8, None)])));
    x.ask(8, &commit(&group, &topic, vec![part(1, 9, None)]));
    x.ask(2, &kept_for(200, commit(&group, &topic, vec![part(2, 8, None)])));
    x.pause(LOOKED_THROUGH_MS);
    fetched(x, &group);
    for index in [0, 1, 3, 5] {
        x.ask(2, &kept_for(0, commit(&group, &topic, vec![part(index, 1, None)])));
    }
    gone(x, &group);
}

/// Waits until a group is gone, and shows it.
fn gone(x: &mut Exchange, group: &str) {
    let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..DescribeGroupsRequest::default() };
    x.ask_until(5, &request, |answer| answer.groups.iter().all(|group| group.group_state == "Dead"));
    x.ask_until(7, &fetch_old(group, None), |answer| answer.topics.is_empty());
}

fn member_commits(x: &mut Exchange, group: &str, topic: &Topic, generation: i32, member: &str) {
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        ..kept_for(200, commit(group, topic, vec![part(0, 1, None)]))
    };
    x.ask(4, &request);
}

fn live_groups(x: &mut Exchange) {
    let (read, left) = (x.topic("read", 1, &[]), x.topic("left", 1, &[]));
    let group = x.name("g");
    // The leader's list is sorted by what members wish.
    let reading = |wish: &str, member: &str| {
        let mut request = join(&group, member);
        request.protocols[0].metadata = subscription(&[&read.name], wish);
        request
    };
    let one = x.on("a").ask(3, &reading("1", ""));
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    // A rebalance is being prepared: nothing is forgotten.
    x.on("b").send(3, &JoinGroupRequest { rebalance_timeout_ms: 20_000, ..reading("2", "") });
    x.still_waiting();
    member_commits(x.on("a"), &group, &read, one.generation_id, &one.member_id);
    member_commits(x, &group, &left, one.generation_id, &one.member_id);
    x.pause(LOOKED_THROUGH_MS);
    fetched(x, &group);
    // The assignment is awaited: still nothing.
    let one = x.on("a").ask(3, &reading("1", &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    x.pause(LOOKED_THROUGH_MS);
    x.on("a").ask(7, &fetch_old(&group, None));
    // Stable: the topic that nobody reads goes.
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "1"), (&two.member_id, "2")]));
    x.on("b").ask(3, &sync(&group, &two, &[]));
    x.ask_until(7, &fetch_old(&group, None), |answer: &_| one_topic(answer));
    x.pause(LOOKED_THROUGH_MS);
    x.ask(7, &fetch_old(&group, None));
    // Empty: everything goes that was to be kept shortly.
    x.ask(5, &leaving(&group, &[(&one.member_id, None), (&two.member_id, None)]));
    gone(x, &group);
}

fn one_topic(answer: &<OffsetFetchRequest as milena_protocol::Request>::Response) -> bool {
    answer.topics.len() == 1
}

fn other_kinds_of_groups(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let group = x.name("g");
    let connect = JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(&group, "") };
    let one = x.ask(3, &connect);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    member_commits(x, &group, &topic, one.generation_id, &one.member_id);
    x.pause(LOOKED_THROUGH_MS);
    x.ask(7, &fetch_old(&group, None));
    x.ask(5, &leaving(&group, &[(&one.member_id, None)]));
    gone(x, &group);
    // Consumers whose subscriptions cannot be read may be reading anything.
    let unread = x.name("unread");
    let mut request = join(&unread, "");
    request.protocols[0].metadata = bytes::Bytes::new();
    x.on("b").send(3, &request);
    x.pause(2500);
    x.still_waiting();
}

fn groups_die(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    // With an offset it lives, without members.
    let kept = x.name("kept");
    let one = x.ask(3, &join(&kept, ""));
    let commits = OffsetCommitRequest {
        generation_id_or_member_epoch: one.generation_id,
        member_id: one.member_id.clone(),
        ..commit(&kept, &topic, vec![part(0, 1, None)])
    };
    x.ask(3, &sync(&kept, &one, &[(&one.member_id, "all")]));
    x.ask(8, &commits);
    // Without offsets it dies as soon as it is empty, and begins anew.
    let short = x.name("short");
    let other = x.ask(3, &join(&short, ""));
    x.ask(3, &sync(&short, &other, &[(&other.member_id, "all")]));
    x.pause(LOOKED_THROUGH_MS);
    described(x, &short);
    x.quietly(5, &leaving(&short, &[(&other.member_id, None)]));
    gone(x, &short);
    x.ask(3, &join(&short, ""));
    x.quietly(5, &leaving(&kept, &[(&one.member_id, None)]));
    x.pause(LOOKED_THROUGH_MS);
    fetched(x, &kept);
    // One that was given an id is nobody yet: its group dies, and the id with it.
    let pending = x.name("pending");
    let given = x.ask(9, &join(&pending, ""));
    gone(x, &pending);
    x.ask(9, &join(&pending, &given.member_id));
    x.only_mine().ask(5, &ListGroupsRequest::default());
}

fn open_for_too_long(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let (brief, patient) = (enter(x, "brief", 1_000), enter(x, "patient", 60_000));
    let ids = [&*brief.transactional_id, &*patient.transactional_id];
    x.ask(3, &brief.add(&[(&topic, &[0])]));
    x.ask(3, &patient.add(&[(&topic, &[0])]));
    x.ask(0, &describe(&ids));
    x.pause(1_000 + LOOKED_THROUGH_MS);
    brief.at_rest(x);
    x.ask(0, &describe(&ids));
    for version in [1, 2] {
        x.ask(version, &brief.add(&[(&topic, &[0])]));
        x.ask(version, &brief.end(true));
    }
    x.ask(5, &brief.end(true));
    // The abort might have been its own.
    x.ask(5, &brief.end(false));
    x.ask(5, &patient.end(true));
}

fn unused_transactional_ids(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let (idle, open, done) = (enter(x, "idle", 60_000), enter(x, "open", 60_000), enter(x, "done", 60_000));
    let ids = [&*idle.transactional_id, &*open.transactional_id, &*done.transactional_id];
    x.ask(3, &open.add(&[(&topic, &[0])]));
    x.ask(3, &done.add(&[(&topic, &[0])]));
    x.ask(4, &done.end(false));
    done.at_rest(x);
    x.ask(0, &describe(&ids));
    x.pause(3_000 + LOOKED_THROUGH_MS);
    x.ask(0, &describe(&ids));
    x.ask(3, &idle.add(&[(&topic, &[0])]));
    x.ask(4, &done.end(false));
    x.ask(5, &open.end(true));
    open.at_rest(x);
    x.pause(3_000 + LOOKED_THROUGH_MS);
    x.ask(0, &describe(&ids));
}
