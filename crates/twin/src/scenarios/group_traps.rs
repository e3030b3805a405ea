//! Traps 106 to 118, which concern members of classic groups, each under its own number. Where a scenario needs time
//! to pass, its timeouts are the shortest that both brokers allow.

use milena_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::messages::join_group_response::JoinGroupResponse;
use milena_protocol::messages::leave_group_request::LeaveGroupRequest;
use milena_protocol::messages::sync_group_request::SyncGroupRequest;
use milena_protocol::messages::{DescribeGroupsRequest, HeartbeatRequest};

use super::Scenario;
use super::groups::{described, heartbeat, join, leaving, protocol, stable_group, sync, wishing};
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "groups/trap_106_pending_members",
        shows: "ids that were given out: used, used twice, in another group, as an instance, and too late",
        traps: &[106],
        play: pending_members,
    },
    Scenario {
        name: "groups/trap_106_pending_members_are_waited_for",
        shows: "a rebalance waits for members that have an id and have not come back with it",
        traps: &[106],
        play: pending_members_are_waited_for,
    },
    Scenario {
        name: "groups/trap_108_a_first_join_outlasts_the_session",
        shows: "a new member waits in its first join for longer than its session, and is still there",
        traps: &[108],
        play: a_first_join_outlasts_the_session,
    },
    Scenario {
        name: "groups/trap_109_static_members_stay",
        shows: "dynamic members that do not rejoin are removed, static ones stay, and a leader that is absent is replaced",
        traps: &[109, 112],
        play: static_members_stay,
    },
    Scenario {
        name: "groups/trap_109_only_absent_static_members",
        shows: "with nobody but absent static members a rebalance goes on until their sessions end",
        traps: &[109],
        play: only_absent_static_members,
    },
    Scenario {
        name: "groups/trap_110_lost_answers",
        shows: "leader and follower join again as if an answer had been lost, in each state, old and new",
        traps: &[110],
        play: lost_answers,
    },
    Scenario {
        name: "groups/trap_111_a_static_follower_returns",
        shows: "a follower's instance returns with a new id, old and new; its former id is fenced everywhere",
        traps: &[111],
        play: a_static_follower_returns,
    },
    Scenario {
        name: "groups/trap_111_a_static_member_returns_while_it_waits",
        shows: "an instance returns while its former id waits in a join or a sync",
        traps: &[111],
        play: a_static_member_returns_while_it_waits,
    },
    Scenario {
        name: "groups/trap_111_a_static_member_returns_changed",
        shows: "other wishes, other timeouts, another protocol: only the last starts a rebalance",
        traps: &[111],
        play: a_static_member_returns_changed,
    },
    Scenario {
        name: "groups/trap_112_votes",
        shows: "three members vote; a protocol that one of them lacks is no candidate",
        traps: &[112],
        play: votes,
    },
    Scenario {
        name: "groups/trap_113_the_longest_rebalance_timeout",
        shows: "the slowest member's timeout counts for all, in version 0 the session's",
        traps: &[113],
        play: the_longest_rebalance_timeout,
    },
    Scenario {
        name: "groups/trap_114_followers_wait_for_the_leader",
        shows: "followers wait; strangers in an assignment are passed over; a new rebalance sends those away who wait",
        traps: &[114],
        play: followers_wait_for_the_leader,
    },
    Scenario {
        name: "groups/trap_115_a_follower_never_syncs",
        shows: "the group is stable, and yet the member that never asked for its part is removed",
        traps: &[115],
        play: a_follower_never_syncs,
    },
    Scenario {
        name: "groups/trap_115_a_leader_never_syncs",
        shows: "followers that wait for a leader in vain are sent back to join",
        traps: &[115],
        play: a_leader_never_syncs,
    },
    Scenario {
        name: "groups/trap_116_heartbeats_while_rebalancing",
        shows: "heartbeats keep a member alive through a rebalance that it has not joined",
        traps: &[116],
        play: heartbeats_while_rebalancing,
    },
    Scenario {
        name: "groups/trap_117_leaving_in_each_state",
        shows: "leaving while joins and syncs wait, pending, twice, several at once, and under a fenced id",
        traps: &[117],
        play: leaving_in_each_state,
    },
    Scenario {
        name: "groups/trap_118_former_members_win",
        shows: "in a full group that rebalances, whoever joins first stays",
        traps: &[118],
        play: former_members_win,
    },
];

/// The same member as an instance.
fn instance(name: &str, request: JoinGroupRequest) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(name.to_owned()), ..request }
}

fn beat(x: &mut Exchange, group: &str, joined: &JoinGroupResponse) {
    x.ask(3, &heartbeat(group, joined.generation_id, &joined.member_id));
}

/// Two members in generation 2: the leader on connection `a`, the follower on `b`.
fn pair(x: &mut Exchange, group: &str, one: &JoinGroupRequest, two: &JoinGroupRequest) -> [JoinGroupResponse; 2] {
    // The newest version with an instance, the newest without asking for an id first.
    let version = |request: &JoinGroupRequest| if request.group_instance_id.is_some() { 9 } else { 3 };
    let first = x.on("a").ask(version(one), one);
    x.on("b").send(version(two), two);
    x.still_waiting();
    let again = JoinGroupRequest { member_id: first.member_id, ..one.clone() };
    let leader = x.on("a").ask(version(one), &again);
    let follower = x.on("b").receive::<JoinGroupRequest>();
    x.on("b").send(3, &sync(group, &follower, &[]));
    x.on("a").ask(3, &sync(group, &leader, &[(&leader.member_id, "1"), (&follower.member_id, "2")]));
    x.on("b").receive::<SyncGroupRequest>();
    [leader, follower]
}

fn pending_members(x: &mut Exchange) {
    let (group, other) = (x.name("g"), x.name("other"));
    for version in [4, 9] {
        let pending = x.ask(version, &join(&group, ""));
        // Nobody yet: neither a heartbeat nor a sync nor an instance is taken.
        x.ask(4, &heartbeat(&group, 0, &pending.member_id));
        x.ask(3, &sync(&group, &pending, &[]));
        x.ask(version.max(5), &instance("i", join(&group, &pending.member_id)));
        x.ask(version, &join(&other, &pending.member_id));
        x.ask(version, &JoinGroupRequest { protocols: Vec::new(), ..join(&group, &pending.member_id) });
        let joined = x.ask(version, &join(&group, &pending.member_id));
        x.ask(version, &join(&group, &joined.member_id));
        x.ask(3, &leaving(&group, &[(&joined.member_id, None)]));
        x.ask(version, &join(&group, &joined.member_id));
    }
    let pending = x.ask(9, &JoinGroupRequest { session_timeout_ms: 500, ..join(&group, "") });
    x.pause(1500);
    x.ask(9, &join(&group, &pending.member_id));
}

fn pending_members_are_waited_for(x: &mut Exchange) {
    let (group, one) = stable_group(x, "g");
    let pending = x.on("b").ask(9, &JoinGroupRequest { session_timeout_ms: 2500, ..join(&group, "") });
    x.on("").send(3, &join(&group, &one.member_id));
    x.still_waiting();
    x.on("b").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    // It is let go, and the others go on.
    x.on("").receive::<JoinGroupRequest>();
    x.on("b").ask(9, &join(&group, &pending.member_id));
    described(x, &group);
    // Leaving is the other way to be waited for no longer.
    let pending = x.on("b").ask(9, &join(&group, ""));
    x.on("").send(3, &wishing("more", join(&group, &one.member_id)));
    x.still_waiting();
    x.on("b").ask(5, &leaving(&group, &[(&pending.member_id, None)]));
    x.on("").receive::<JoinGroupRequest>();
}

fn a_first_join_outlasts_the_session(x: &mut Exchange) {
    let (group, one) = stable_group(x, "g");
    let hasty = JoinGroupRequest { session_timeout_ms: 500, ..wishing("another wish", join(&group, "")) };
    x.on("b").send(3, &hasty);
    x.pause(1500);
    x.still_waiting();
    x.on("").ask(3, &join(&group, &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    x.on("b").ask(3, &heartbeat(&group, two.generation_id, &two.member_id));
    described(x, &group);
}

fn static_members_stay(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = |wish: &str, member: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 1500, ..join(&group, member) };
        wishing(wish, request)
    };
    let [leader, dynamic] = pair(x, &group, &instance("i", hasty("1", "")), &hasty("2", ""));
    // A third comes, and neither of the others does: it leads now, and the instance is still a member.
    let third = x.on("c").ask(3, &hasty("3", ""));
    beat(x, &group, &dynamic);
    x.ask(
        4,
        &HeartbeatRequest {
            group_instance_id: Some("i".to_owned()),
            ..heartbeat(&group, third.generation_id, &leader.member_id)
        },
    );
    described(x, &group);
    x.ask(3, &sync(&group, &third, &[(&third.member_id, "3"), (&leader.member_id, "1")]));
    x.on("a").ask(3, &sync(&group, &JoinGroupResponse { generation_id: third.generation_id, ..leader }, &[]));
    described(x, &group);
}

fn only_absent_static_members(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = |wish: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 700, session_timeout_ms: 3000, ..join(&group, "") };
        wishing(wish, request)
    };
    let [_, follower] = pair(x, &group, &instance("i", hasty("1")), &instance("j", hasty("2")));
    // The follower leaves, the leader is silent: there is no next generation without it.
    x.on("b").ask(5, &leaving(&group, &[(&follower.member_id, Some("j"))]));
    x.pause(1300);
    described(x, &group);
    x.pause(3000);
    described(x, &group);
}

fn lost_answers(x: &mut Exchange) {
    let group = x.name("g");
    let first = x.on("a").ask(3, &join(&group, ""));
    x.on("b").send(3, &wishing("another wish", join(&group, "")));
    x.still_waiting();
    let as_leader = join(&group, &first.member_id);
    let leader = x.on("a").ask(3, &as_leader);
    let follower = x.on("b").receive::<JoinGroupRequest>();
    let as_follower = wishing("another wish", join(&group, &follower.member_id));
    // Nobody has synced.
    for version in [0, 5, 9] {
        x.on("a").ask(version, &as_leader);
        x.on("b").ask(version, &as_follower);
    }
    // Other timeouts are no other metadata.
    x.ask(3, &JoinGroupRequest { session_timeout_ms: 30_000, rebalance_timeout_ms: 500, ..as_follower.clone() });
    // Only the leader has synced.
    x.on("a").ask(3, &sync(&group, &leader, &[(&leader.member_id, "1"), (&follower.member_id, "2")]));
    for version in [0, 5, 9] {
        x.on("b").ask(version, &as_follower);
    }
    x.on("b").ask(3, &sync(&group, &follower, &[]));
    x.ask(3, &sync(&group, &follower, &[]));
    x.on("a").ask(3, &sync(&group, &leader, &[]));
    beat(x, &group, &leader);
    // While joins are awaited a repeated join waits like the first.
    x.on("a").send(3, &as_leader);
    x.still_waiting();
    x.on("b").ask(3, &as_follower);
    x.on("a").receive::<JoinGroupRequest>();
}

fn a_static_follower_returns(x: &mut Exchange) {
    let group = x.name("g");
    let follower = |member: &str| instance("i", wishing("2", join(&group, member)));
    let [leader, old] = pair(x, &group, &wishing("1", join(&group, "")), &follower(""));
    let beating = |joined: &JoinGroupResponse| HeartbeatRequest {
        group_instance_id: Some("i".to_owned()),
        ..heartbeat(&group, joined.generation_id, &joined.member_id)
    };
    for version in [5, 8, 9] {
        let new = x.on("c").ask(version, &follower(""));
        x.ask(4, &beating(&new));
        let mut synced = sync(&group, &new, &[]);
        synced.group_instance_id = Some("i".to_owned());
        x.ask(4, &synced);
    }
    x.on("b").ask(4, &beating(&old));
    let mut synced = sync(&group, &old, &[]);
    synced.group_instance_id = Some("i".to_owned());
    x.ask(4, &synced);
    x.ask(9, &follower(&old.member_id));
    x.ask(5, &leaving(&group, &[(&old.member_id, Some("i"))]));
    // Without the instance the former id is nobody's.
    beat(x, &group, &old);
    x.ask(5, &leaving(&group, &[(&old.member_id, None)]));
    x.on("a");
    beat(x, &group, &leader);
    described(x, &group);
}

fn a_static_member_returns_while_it_waits(x: &mut Exchange) {
    let group = x.name("g");
    let leader = wishing("1", join(&group, ""));
    let follower = instance("i", wishing("2", join(&group, "")));
    let first = x.on("a").ask(3, &leader);
    let leader = JoinGroupRequest { member_id: first.member_id, ..leader };
    // It waits in a join.
    x.on("b").send(5, &follower);
    x.still_waiting();
    x.on("c").send(9, &follower);
    x.on("b").receive::<JoinGroupRequest>();
    x.on("c").still_waiting();
    let leads = x.on("a").ask(3, &leader);
    let waits = x.on("c").receive::<JoinGroupRequest>();
    // It waits in a sync.
    let mut synced = sync(&group, &waits, &[]);
    synced.group_instance_id = Some("i".to_owned());
    x.on("c").send(4, &synced);
    x.still_waiting();
    x.on("b").send(9, &follower);
    x.on("c").receive::<SyncGroupRequest>();
    x.on("b").still_waiting();
    x.on("a");
    beat(x, &group, &leads);
    x.on("a").ask(3, &leader);
    x.on("b").receive::<JoinGroupRequest>();
}

fn a_static_member_returns_changed(x: &mut Exchange) {
    let group = x.name("g");
    let wanting = |names: &[&str], wish: &str| JoinGroupRequest {
        protocols: names.iter().map(|name| protocol(name, wish)).collect(),
        ..join(&group, "")
    };
    let [leader, _] = pair(x, &group, &wanting(&["range", "sticky"], "1"), &instance("i", wanting(&["range"], "2")));
    let changed = [
        instance("i", wanting(&["range"], "other wishes")),
        JoinGroupRequest { session_timeout_ms: 30_000, ..instance("i", wanting(&["range"], "2")) },
        instance("i", wanting(&["range", "sticky"], "2")),
    ];
    for request in &changed {
        x.on("c").ask(9, request);
        x.on("a");
        beat(x, &group, &leader);
    }
    x.on("c").ask(9, &instance("i", wanting(&["none in common"], "2")));
    // Both protocols have one vote now, and the other one wins.
    x.on("c").send(9, &instance("i", wanting(&["sticky", "range"], "2")));
    x.still_waiting();
    x.on("a");
    beat(x, &group, &leader);
    x.ask(3, &JoinGroupRequest { member_id: leader.member_id, ..wanting(&["range", "sticky"], "1") });
    x.on("c").receive::<JoinGroupRequest>();
}

fn votes(x: &mut Exchange) {
    let group = x.name("g");
    let wanting = |wish: &str, names: &[&str], member: &str| JoinGroupRequest {
        protocols: names.iter().map(|name| protocol(name, wish)).collect::<Vec<JoinGroupRequestProtocol>>(),
        ..join(&group, member)
    };
    let names: [&[&str]; 3] = [&["own", "range", "sticky"], &["sticky", "range"], &["sticky", "range", "third"]];
    let mut members: Vec<JoinGroupResponse> = Vec::new();
    for (at, connection) in ["a", "b", "c"].into_iter().enumerate() {
        x.on(connection).send(3, &wanting(connection, names[at], ""));
        if at > 0 {
            x.still_waiting();
        }
        // Those who are in join again.
        for (at, member) in members.iter().enumerate() {
            let connection = ["a", "b"][at];
            x.on(connection).send(3, &wanting(connection, names[at], &member.member_id));
        }
        members = ["a", "b", "c"][..=at].iter().map(|name| x.on(name).receive::<JoinGroupRequest>()).collect();
    }
    for (at, version) in [(0, 0), (1, 7), (2, 9)] {
        let connection = ["a", "b", "c"][at];
        x.on(connection).ask(version, &wanting(connection, names[at], &members[at].member_id));
    }
}

fn the_longest_rebalance_timeout(x: &mut Exchange) {
    let group = x.name("g");
    let lasting = |timeout, wish: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: timeout, ..join(&group, "") };
        wishing(wish, request)
    };
    let [leader, _] = pair(x, &group, &lasting(700, "1"), &lasting(2500, "2"));
    x.on("c").send(3, &lasting(500, "3"));
    x.pause(1300);
    x.still_waiting();
    x.on("c").receive::<JoinGroupRequest>();
    x.on("a");
    beat(x, &group, &leader);
    // Version 0 has no rebalance timeout.
    let old = x.name("old");
    let hasty = |wish: &str| {
        let request = JoinGroupRequest { session_timeout_ms: 2500, rebalance_timeout_ms: 500, ..join(&old, "") };
        wishing(wish, request)
    };
    let first = x.on("a").ask(0, &hasty("1"));
    x.on("b").send(0, &hasty("2"));
    x.pause(1000);
    x.still_waiting();
    beat(x.on("a"), &old, &first);
    x.on("b").receive::<JoinGroupRequest>();
}

fn followers_wait_for_the_leader(x: &mut Exchange) {
    let group = x.name("g");
    let [leader, follower] = pair(x, &group, &wishing("1", join(&group, "")), &wishing("2", join(&group, "")));
    let leading = wishing("1", join(&group, &leader.member_id));
    let following = wishing("2", join(&group, &follower.member_id));
    x.on("a").send(3, &leading);
    x.still_waiting();
    let two = x.on("b").ask(3, &following);
    let one = x.on("a").receive::<JoinGroupRequest>();
    x.on("b").send(3, &sync(&group, &two, &[]));
    x.still_waiting();
    // A third comes while the follower waits.
    x.on("c").send(3, &wishing("3", join(&group, "")));
    x.on("b").receive::<SyncGroupRequest>();
    x.on("a").ask(3, &sync(&group, &one, &[(&one.member_id, "late")]));
    x.on("a").send(3, &leading);
    x.on("b").send(3, &following);
    let third = x.on("c").receive::<JoinGroupRequest>();
    let one = x.on("a").receive::<JoinGroupRequest>();
    let two = x.on("b").receive::<JoinGroupRequest>();
    // Strangers, and one of them twice.
    let parts = [("a stranger", "s"), (&*two.member_id, "2"), (&*two.member_id, "twice"), ("", "none")];
    x.on("a").ask(3, &sync(&group, &one, &parts));
    x.on("b").ask(3, &sync(&group, &two, &[]));
    x.on("c").ask(3, &sync(&group, &third, &[]));
    // A follower's assignments are not looked at.
    x.ask(3, &sync(&group, &third, &[(&third.member_id, "mine")]));
    described(x, &group);
}

fn a_follower_never_syncs(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = |wish: &str, member: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 1500, ..join(&group, member) };
        wishing(wish, request)
    };
    let first = x.on("a").ask(3, &hasty("1", ""));
    x.on("b").send(3, &hasty("2", ""));
    x.still_waiting();
    let leader = x.on("a").ask(3, &hasty("1", &first.member_id));
    let follower = x.on("b").receive::<JoinGroupRequest>();
    x.on("a").ask(3, &sync(&group, &leader, &[(&leader.member_id, "1"), (&follower.member_id, "2")]));
    beat(x.on("b"), &group, &follower);
    described(x, &group);
    x.pause(2500);
    beat(x.on("b"), &group, &follower);
    x.ask(3, &sync(&group, &follower, &[]));
    beat(x.on("a"), &group, &leader);
    let alone = x.ask(3, &hasty("1", &leader.member_id));
    x.ask(3, &sync(&group, &alone, &[(&alone.member_id, "all")]));
    described(x, &group);
}

fn a_leader_never_syncs(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = |wish: &str, member: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 1500, ..join(&group, member) };
        wishing(wish, request)
    };
    let first = x.on("a").ask(3, &hasty("1", ""));
    x.on("b").send(3, &hasty("2", ""));
    x.still_waiting();
    let leader = x.on("a").ask(3, &hasty("1", &first.member_id));
    let follower = x.on("b").receive::<JoinGroupRequest>();
    x.on("b").send(3, &sync(&group, &follower, &[]));
    x.still_waiting();
    x.receive::<SyncGroupRequest>();
    beat(x.on("a"), &group, &leader);
    let alone = x.on("b").ask(3, &hasty("2", &follower.member_id));
    x.ask(3, &sync(&group, &alone, &[(&alone.member_id, "all")]));
}

fn heartbeats_while_rebalancing(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = JoinGroupRequest { session_timeout_ms: 1500, ..join(&group, "") };
    let one = x.on("a").ask(3, &hasty);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    x.on("b").send(3, &wishing("another wish", join(&group, "")));
    x.still_waiting();
    for version in [0, 3, 4] {
        x.on("a").pause(800);
        x.ask(version, &heartbeat(&group, one.generation_id, &one.member_id));
    }
    x.ask(3, &heartbeat(&group, one.generation_id + 1, &one.member_id));
    x.on("b").still_waiting();
    // Now it falls silent, and the rebalance goes on without it.
    x.on("b").receive::<JoinGroupRequest>();
    beat(x.on("a"), &group, &one);
}

fn leaving_in_each_state(x: &mut Exchange) {
    let group = x.name("g");
    let [leader, follower] = pair(x, &group, &wishing("1", join(&group, "")), &wishing("2", join(&group, "")));
    // While joins are awaited: the last one who is missing leaves.
    x.on("a").send(3, &wishing("1", join(&group, &leader.member_id)));
    x.still_waiting();
    x.on("b").ask(3, &leaving(&group, &[(&follower.member_id, None)]));
    let leader = x.on("a").receive::<JoinGroupRequest>();
    // While the assignment is awaited.
    x.on("b").send(3, &wishing("2", join(&group, "")));
    x.still_waiting();
    let leader = x.on("a").ask(3, &wishing("1", join(&group, &leader.member_id)));
    let follower = x.on("b").receive::<JoinGroupRequest>();
    x.on("b").send(3, &sync(&group, &follower, &[]));
    x.still_waiting();
    let alone = LeaveGroupRequest { group_id: group.clone(), member_id: leader.member_id, ..Default::default() };
    x.on("a").ask(2, &alone);
    x.on("b").receive::<SyncGroupRequest>();
    x.on("a").ask(2, &alone);
    x.on("a").ask(0, &LeaveGroupRequest { member_id: String::new(), ..alone });
    // Whoever waits in a join and is removed by somebody else hears of it.
    let (stable, one) = stable_group(x, "stable");
    x.on("b").send(5, &instance("i", join(&stable, "")));
    x.still_waiting();
    x.on("c").ask(4, &leaving(&stable, &[("", Some("i")), ("", Some("i")), ("a stranger", Some("i"))]));
    x.on("b").receive::<JoinGroupRequest>();
    x.on("c").ask(3, &heartbeat(&stable, one.generation_id, &one.member_id));
    // Pending ones, at a version with a single member, together with a member, and twice.
    let pending = x.ask(9, &join(&stable, ""));
    x.ask(
        1,
        &LeaveGroupRequest { group_id: stable.clone(), member_id: pending.member_id.clone(), ..Default::default() },
    );
    x.ask(1, &LeaveGroupRequest { group_id: stable.clone(), member_id: pending.member_id, ..Default::default() });
    let pending = x.ask(9, &join(&stable, ""));
    let both = [(&*pending.member_id, None), (&*one.member_id, None), (&*one.member_id, None), ("", None)];
    x.ask(5, &leaving(&stable, &both));
    x.ask(5, &DescribeGroupsRequest { groups: vec![stable], ..DescribeGroupsRequest::default() });
}

fn former_members_win(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = |wish: &str, member: &str| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 4000, ..join(&group, member) };
        wishing(wish, request)
    };
    let mut members = Vec::new();
    for connection in ["a", "b", "c"] {
        x.on(connection).send(3, &hasty(connection, ""));
        x.pause(20);
    }
    for connection in ["a", "b", "c"] {
        members.push(x.on(connection).receive::<JoinGroupRequest>());
    }
    let leader = members.iter().position(|member| member.leader == member.member_id).unwrap_or_default();
    let names = ["a", "b", "c"];
    // The leader begins a rebalance and another member joins: with a third the group is full, whoever that is.
    x.on(names[leader]).send(3, &hasty("leader", &members[leader].member_id));
    x.still_waiting();
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    x.on(names[others[0]]).send(3, &hasty("second", &members[others[0]].member_id));
    x.still_waiting();
    x.on("d").send(3, &hasty("new", ""));
    x.still_waiting();
    x.on(names[others[1]]).ask(3, &hasty("too late", &members[others[1]].member_id));
    // Those who are in may ask again.
    x.on("e").ask(9, &join(&group, ""));
    x.on("e").ask(5, &instance("i", join(&group, "")));
    x.on(names[leader]).receive::<JoinGroupRequest>();
    x.on("d").receive::<JoinGroupRequest>();
}
