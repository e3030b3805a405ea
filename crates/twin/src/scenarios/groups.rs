//! Classic groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups, DeleteGroups, and
//! FindCoordinator.

use bytes::{BufMut, Bytes, BytesMut};
use milena_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::messages::join_group_response::JoinGroupResponse;
use milena_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use milena_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, ListGroupsRequest,
};

use super::Scenario;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "groups/find_coordinator",
        shows: "coordinators of groups at each version, several at once, and keys that are none",
        traps: &[25, 26],
        play: find_coordinator,
    },
    Scenario {
        name: "groups/one_member",
        shows: "join, sync, heartbeat, describe, list and leave at the newest version",
        traps: &[106, 112, 116],
        play: one_member,
    },
    Scenario {
        name: "groups/oldest_versions",
        shows: "the same at the oldest version, where a member gets its id with its first join",
        traps: &[106, 113],
        play: oldest_versions,
    },
    Scenario {
        name: "groups/join_every_version",
        shows: "the first join at each version",
        traps: &[106],
        play: join_every_version,
    },
    Scenario {
        name: "groups/join_refused",
        shows: "bad group ids, timeouts, protocols and member ids",
        traps: &[112],
        play: join_refused,
    },
    Scenario {
        name: "groups/two_members",
        shows: "a second member makes the first join again; the leader hands out, the other waits",
        traps: &[112, 114, 116],
        play: two_members,
    },
    Scenario {
        name: "groups/first_rebalance",
        shows: "the first rebalance waits for others, who then share its generation",
        traps: &[107],
        play: first_rebalance,
    },
    Scenario {
        name: "groups/rejoin",
        shows: "joining again with the same or with other metadata, as leader and as follower",
        traps: &[110],
        play: rejoin,
    },
    Scenario {
        name: "groups/protocol_choice",
        shows: "the protocol that most prefer among those that all know; none in common is refused",
        traps: &[112],
        play: protocol_choice,
    },
    Scenario {
        name: "groups/sync_refused",
        shows: "wrong generations, members, protocols, and assignments that leave someone out",
        traps: &[114],
        play: sync_refused,
    },
    Scenario {
        name: "groups/heartbeat_refused",
        shows: "heartbeats of strangers, of old generations, and into groups that are not there",
        traps: &[116],
        play: heartbeat_refused,
    },
    Scenario {
        name: "groups/static_members",
        shows: "an instance that returns keeps its place, and its former member id is fenced",
        traps: &[106, 111],
        play: static_members,
    },
    Scenario {
        name: "groups/leave",
        shows: "one, several, unknown, pending and static members leave",
        traps: &[117],
        play: leave,
    },
    Scenario {
        name: "groups/session_ends",
        shows: "a member that is silent for its session is gone",
        traps: &[109],
        play: session_ends,
    },
    Scenario {
        name: "groups/rebalance_ends_without_the_absent",
        shows: "who has not joined again by the rebalance timeout is removed",
        traps: &[109, 113],
        play: rebalance_ends_without_the_absent,
    },
    Scenario {
        name: "groups/pending_sync_ends",
        shows: "a member that never syncs is removed",
        traps: &[115],
        play: pending_sync_ends,
    },
    Scenario { name: "groups/full", shows: "a group takes group.max.size members", traps: &[118], play: full },
    Scenario {
        name: "groups/describe",
        shows: "states, members and what is not there, at each version",
        traps: &[],
        play: describe,
    },
    Scenario { name: "groups/list", shows: "all groups, and those of some states and types", traps: &[], play: list },
    Scenario {
        name: "groups/delete",
        shows: "empty groups go, others stay, unknown ones are unknown",
        traps: &[130],
        play: delete,
    },
];

fn find_coordinator(x: &mut Exchange) {
    let (one, two) = (x.name("one"), x.name("two"));
    for version in 0..=3 {
        x.ask(version, &FindCoordinatorRequest { key: one.clone(), ..FindCoordinatorRequest::default() });
    }
    let of = |key_type, keys: &[&str]| FindCoordinatorRequest {
        key_type,
        coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..FindCoordinatorRequest::default()
    };
    for version in 4..=6 {
        x.ask(version, &of(0, &[&one, &two]));
    }
    x.ask(6, &of(0, &[]));
    x.ask(6, &of(0, &[""]));
    x.ask(6, &of(0, &[&one, &one]));
    for key_type in [3, 99, -1] {
        x.ask(1, &FindCoordinatorRequest { key: one.clone(), key_type, ..FindCoordinatorRequest::default() });
        x.ask(6, &of(key_type, &[&one]));
    }
    // Share partitions need version 6 and a key of three parts.
    x.ask(5, &of(2, &[&one]));
    x.ask(6, &of(2, &[&one]));
}

/// A join with one protocol that says nothing.
pub(super) fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 20_000,
        rebalance_timeout_ms: 20_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", "what I want")],
        ..JoinGroupRequest::default()
    }
}

pub(super) fn protocol(name: &str, wish: &str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.to_owned(), metadata: subscription(&[], wish) }
}

/// A consumer's metadata, version 0: topics, and what only its assignor understands. Kafka reads it in groups of
/// protocol type `consumer`, and leaves the join unanswered where it cannot.
pub(super) fn subscription(topics: &[&str], user_data: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(topics.len() as i32);
    for topic in topics {
        bytes.put_i16(topic.len() as i16);
        bytes.put_slice(topic.as_bytes());
    }
    bytes.put_i32(user_data.len() as i32);
    bytes.put_slice(user_data.as_bytes());
    bytes.freeze()
}

/// The same member with another wish: transcripts sort members by their metadata.
pub(super) fn wishing(wish: &str, request: JoinGroupRequest) -> JoinGroupRequest {
    JoinGroupRequest { protocols: vec![protocol("range", wish)], ..request }
}

/// The sync of a member who hands in those assignments.
pub(super) fn sync(group: &str, joined: &JoinGroupResponse, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assign = |(member_id, assignment): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*member_id).to_owned(),
        assignment: Bytes::copy_from_slice(assignment.as_bytes()),
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: assignments.iter().map(assign).collect(),
        ..SyncGroupRequest::default()
    }
}

pub(super) fn heartbeat(group: &str, generation_id: i32, member_id: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        group_instance_id: None,
    }
}

pub(super) fn leaving(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let member = |(member_id, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: (*member_id).to_owned(),
        group_instance_id: instance.map(str::to_owned),
        reason: None,
    };
    LeaveGroupRequest {
        group_id: group.to_owned(),
        members: members.iter().map(member).collect(),
        ..Default::default()
    }
}

pub(super) fn described(x: &mut Exchange, group: &str) {
    x.ask(5, &DescribeGroupsRequest { groups: vec![group.to_owned()], ..DescribeGroupsRequest::default() });
}

/// Makes a group of one member that holds an assignment, in silence.
pub(super) fn stable_group(x: &mut Exchange, suffix: &str) -> (String, JoinGroupResponse) {
    let group = x.name(suffix);
    let joined = x.quietly(3, &join(&group, "")).unwrap_or_default();
    x.quietly(3, &sync(&group, &joined, &[(&joined.member_id, "yours")]));
    (group, joined)
}

fn one_member(x: &mut Exchange) {
    let group = x.name("g");
    // A group of pending members alone is seen or not, as the log of its coordinator happens to have moved on.
    let asked = x.ask(9, &join(&group, ""));
    let joined = x.ask(9, &join(&group, &asked.member_id));
    described(x, &group);
    x.ask(4, &heartbeat(&group, joined.generation_id, &joined.member_id));
    let mut synced = sync(&group, &joined, &[(&joined.member_id, "all of it")]);
    synced.protocol_type = Some("consumer".to_owned());
    synced.protocol_name = Some("range".to_owned());
    x.ask(5, &synced);
    x.ask(4, &heartbeat(&group, joined.generation_id, &joined.member_id));
    described(x, &group);
    x.only_mine().ask(5, &ListGroupsRequest::default());
    x.ask(5, &leaving(&group, &[(&joined.member_id, None)]));
    x.ask(4, &heartbeat(&group, joined.generation_id, &joined.member_id));
    described(x, &group);
}

fn oldest_versions(x: &mut Exchange) {
    let group = x.name("g");
    let request = JoinGroupRequest { rebalance_timeout_ms: -1, ..join(&group, "") };
    let joined = x.ask(0, &request);
    x.ask(0, &sync(&group, &joined, &[(&joined.member_id, "all of it")]));
    x.ask(0, &heartbeat(&group, joined.generation_id, &joined.member_id));
    x.ask(0, &DescribeGroupsRequest { groups: vec![group.clone()], ..DescribeGroupsRequest::default() });
    x.only_mine().ask(0, &ListGroupsRequest::default());
    let leave =
        LeaveGroupRequest { group_id: group.clone(), member_id: joined.member_id, ..LeaveGroupRequest::default() };
    x.ask(0, &leave);
    x.ask(0, &leave);
    x.ask(0, &DeleteGroupsRequest { groups_names: vec![group.clone()] });
    x.ask(0, &DescribeGroupsRequest { groups: vec![group], ..DescribeGroupsRequest::default() });
}

fn join_every_version(x: &mut Exchange) {
    for version in 0..=9 {
        let group = x.name(&format!("v{version}"));
        let mut request = join(&group, "");
        if version == 9 {
            request.reason = Some("to see what happens".to_owned());
        }
        let first = x.ask(version, &request);
        if version >= 4 {
            request.member_id = first.member_id;
            x.ask(version, &request);
        }
    }
}

fn join_refused(x: &mut Exchange) {
    let group = x.name("g");
    for version in [2, 9] {
        x.ask(version, &join("", ""));
        x.ask(version, &join(&group, "a stranger"));
        for session_timeout_ms in [0, 499, 60_001, -1] {
            x.ask(version, &JoinGroupRequest { session_timeout_ms, ..join(&group, "") });
        }
        x.ask(version, &JoinGroupRequest { protocols: Vec::new(), ..join(&group, "") });
        x.ask(version, &JoinGroupRequest { protocol_type: String::new(), ..join(&group, "") });
    }
    x.ask(9, &JoinGroupRequest { rebalance_timeout_ms: -1, ..join(&group, "") });
    let (stable, joined) = stable_group(x, "stable");
    x.ask(9, &join(&stable, "a stranger"));
    x.ask(9, &JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(&stable, "") });
    x.ask(9, &JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(&stable, &joined.member_id) });
    x.ask(9, &JoinGroupRequest { protocols: vec![protocol("other", "")], ..join(&stable, "") });
}

fn two_members(x: &mut Exchange) {
    let group = x.name("g");
    let one = x.ask(3, &join(&group, ""));
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    x.on("b").send(3, &wishing("another wish", join(&group, "")));
    x.still_waiting();
    x.on("").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    x.ask(3, &sync(&group, &one, &[]));
    let one = x.ask(3, &join(&group, &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    // The follower waits for the leader's assignment.
    x.on("b").send(3, &sync(&group, &two, &[]));
    x.still_waiting();
    x.on("").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "half"), (&two.member_id, "other half")]));
    x.on("b").receive::<SyncGroupRequest>();
    // What was handed out can be asked for again.
    x.on("b").ask(3, &sync(&group, &two, &[]));
    x.on("").ask(3, &heartbeat(&group, two.generation_id, &two.member_id));
    described(x, &group);
    x.ask(3, &leaving(&group, &[(&two.member_id, None)]));
    x.ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    let alone = x.ask(3, &join(&group, &one.member_id));
    // Members that the leader forgets get empty bytes.
    x.ask(3, &sync(&group, &alone, &[]));
}

fn first_rebalance(x: &mut Exchange) {
    let group = x.name("g");
    x.on("a").send(3, &join(&group, ""));
    x.pause(30);
    x.on("b").send(3, &wishing("another wish", join(&group, "")));
    let one = x.on("a").receive::<JoinGroupRequest>();
    let two = x.on("b").receive::<JoinGroupRequest>();
    let (leader, follower) = if one.leader == one.member_id { ("a", "b") } else { ("b", "a") };
    let (first, second) = if leader == "a" { (&one, &two) } else { (&two, &one) };
    x.on(leader).ask(3, &sync(&group, first, &[(&one.member_id, "1"), (&two.member_id, "2")]));
    x.on(follower).ask(3, &sync(&group, second, &[]));
}

fn rejoin(x: &mut Exchange) {
    let group = x.name("g");
    let one = x.ask(3, &join(&group, ""));
    // Nobody has synced: the same join gets the same generation, changed metadata a new one.
    x.ask(3, &join(&group, &one.member_id));
    let changed = wishing("more", join(&group, &one.member_id));
    let one = x.ask(3, &changed);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    // The leader of a stable group can always ask for a rebalance.
    let one = x.ask(3, &changed);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    let fewer = JoinGroupRequest { session_timeout_ms: 30_000, ..changed };
    let one = x.ask(3, &fewer);
    x.on("b").send(3, &wishing("another wish", join(&group, "")));
    x.still_waiting();
    x.on("").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    let one = x.on("").ask(3, &fewer);
    let two = x.on("b").receive::<JoinGroupRequest>();
    x.on("").ask(3, &sync(&group, &one, &[(&one.member_id, "1"), (&two.member_id, "2")]));
    x.on("b").ask(3, &sync(&group, &two, &[]));
    // A follower with the same metadata is told how things are.
    x.on("b").ask(3, &wishing("another wish", join(&group, &two.member_id)));
    x.on("").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    // With other metadata it makes everyone join again.
    let changed = wishing("less", join(&group, &two.member_id));
    x.on("b").send(3, &changed);
    x.still_waiting();
    x.on("").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    x.on("").ask(3, &fewer);
    x.on("b").receive::<JoinGroupRequest>();
}

fn protocol_choice(x: &mut Exchange) {
    let group = x.name("g");
    let wanting = |names: &[&str], member_id: &str| JoinGroupRequest {
        protocols: names.iter().map(|name| protocol(name, names[0])).collect(),
        ..join(&group, member_id)
    };
    let one = x.ask(3, &wanting(&["range", "sticky", "own"], ""));
    x.on("b").send(3, &wanting(&["sticky", "range"], ""));
    x.still_waiting();
    x.on("").send(3, &wanting(&["range", "sticky", "own"], &one.member_id));
    x.receive::<JoinGroupRequest>();
    x.on("b").receive::<JoinGroupRequest>();
    // Nothing in common with all, or only a name that one of them knows.
    x.on("").ask(3, &wanting(&["other"], ""));
    x.ask(3, &wanting(&["own"], ""));
    x.ask(3, &wanting(&["other"], &one.member_id));
    x.ask(6, &JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..wanting(&["other"], "") });
}

fn sync_refused(x: &mut Exchange) {
    let (group, joined) = stable_group(x, "g");
    for version in [0, 3, 5] {
        let own = |request: SyncGroupRequest| match version {
            5 => SyncGroupRequest {
                protocol_type: Some("consumer".to_owned()),
                protocol_name: Some("range".to_owned()),
                ..request
            },
            _ => request,
        };
        let request = own(sync(&group, &joined, &[]));
        x.ask(version, &request);
        for generation_id in [0, joined.generation_id + 1, -1] {
            x.ask(version, &SyncGroupRequest { generation_id, ..request.clone() });
        }
        x.ask(version, &SyncGroupRequest { member_id: "a stranger".to_owned(), ..request.clone() });
        x.ask(version, &SyncGroupRequest { member_id: String::new(), ..request.clone() });
        x.ask(version, &SyncGroupRequest { group_id: x.name("none"), ..request.clone() });
        x.ask(version, &SyncGroupRequest { group_id: String::new(), ..request });
    }
    let request = sync(&group, &joined, &[]);
    x.ask(5, &request);
    for (kind, name) in [("connect", "range"), ("consumer", "sticky")] {
        let (protocol_type, protocol_name) = (Some(kind.to_owned()), Some(name.to_owned()));
        x.ask(5, &SyncGroupRequest { protocol_type, protocol_name, ..request.clone() });
    }
}

fn heartbeat_refused(x: &mut Exchange) {
    let (group, joined) = stable_group(x, "g");
    let (generation, member) = (joined.generation_id, joined.member_id.as_str());
    for version in [0, 4] {
        x.ask(version, &heartbeat(&group, generation, member));
        for other in [generation - 1, generation + 1, -1] {
            x.ask(version, &heartbeat(&group, other, member));
        }
        x.ask(version, &heartbeat(&group, generation, "a stranger"));
        x.ask(version, &heartbeat(&group, generation, ""));
        x.ask(version, &heartbeat(&x.name("none"), generation, member));
        x.ask(version, &heartbeat("", generation, member));
    }
    let unknown = HeartbeatRequest { group_instance_id: Some("i".to_owned()), ..heartbeat(&group, generation, member) };
    x.ask(4, &unknown);
}

fn static_members(x: &mut Exchange) {
    let group = x.name("g");
    let as_instance = |instance: &str, member_id: &str| JoinGroupRequest {
        group_instance_id: Some(instance.to_owned()),
        ..join(&group, member_id)
    };
    // No id is asked for: the instance is the identity.
    let old = x.ask(9, &as_instance("i", ""));
    let mut synced = sync(&group, &old, &[(&old.member_id, "all")]);
    synced.group_instance_id = Some("i".to_owned());
    x.ask(4, &synced);
    described(x, &group);
    // It comes back without its member id and with the same metadata: nothing is rebalanced.
    let new = x.ask(9, &as_instance("i", ""));
    let beat = |generation: i32, member: &str| HeartbeatRequest {
        group_instance_id: Some("i".to_owned()),
        ..heartbeat(&group, generation, member)
    };
    x.ask(4, &beat(old.generation_id, &old.member_id));
    x.ask(4, &beat(new.generation_id, &new.member_id));
    x.ask(9, &as_instance("i", &old.member_id));
    synced.member_id = old.member_id.clone();
    x.ask(4, &synced);
    synced.member_id = new.member_id.clone();
    x.ask(4, &synced);
    // Before version 9 the leader cannot be told to skip its assignment.
    let newer = x.ask(5, &as_instance("i", ""));
    x.ask(4, &beat(newer.generation_id, &newer.member_id));
    // With other metadata a rebalance begins.
    let changed = wishing("more", as_instance("i", ""));
    let changed = x.ask(9, &changed);
    x.ask(4, &beat(newer.generation_id, &newer.member_id));
    x.ask(5, &leaving(&group, &[("", Some("i"))]));
    x.ask(4, &beat(changed.generation_id, &changed.member_id));
    x.ask(9, &as_instance("i", &changed.member_id));
    described(x, &group);
}

fn leave(x: &mut Exchange) {
    let (group, joined) = stable_group(x, "g");
    for version in [3, 5] {
        x.ask(version, &leaving(&group, &[("a stranger", None)]));
        x.ask(version, &leaving(&group, &[("", Some("no instance"))]));
        x.ask(version, &leaving(&group, &[]));
        x.ask(version, &leaving(&x.name("none"), &[("m", None)]));
        x.ask(version, &leaving("", &[("m", None)]));
    }
    x.ask(2, &LeaveGroupRequest { group_id: group.clone(), member_id: "a stranger".into(), ..Default::default() });
    // One that was given an id and has not joined with it yet.
    let pending = x.ask(9, &join(&group, ""));
    x.ask(5, &leaving(&group, &[(&pending.member_id, None)]));
    x.ask(9, &join(&group, &pending.member_id));
    x.ask(5, &leaving(&group, &[("a stranger", None), (&joined.member_id, None), (&joined.member_id, None)]));
    described(x, &group);
    let instance = JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..join(&group, "") };
    x.ask(5, &instance);
    x.ask(3, &leaving(&group, &[("a stranger", Some("i"))]));
    x.ask(3, &leaving(&group, &[("", Some("i"))]));
    x.ask(3, &leaving(&group, &[("", Some("i"))]));
}

fn session_ends(x: &mut Exchange) {
    let group = x.name("g");
    let joined = x.ask(3, &JoinGroupRequest { session_timeout_ms: 1500, ..join(&group, "") });
    x.ask(3, &sync(&group, &joined, &[(&joined.member_id, "all")]));
    x.pause(500);
    x.ask(3, &heartbeat(&group, joined.generation_id, &joined.member_id));
    x.pause(2500);
    x.ask(3, &heartbeat(&group, joined.generation_id, &joined.member_id));
    described(x, &group);
    x.ask(3, &join(&group, &joined.member_id));
}

fn rebalance_ends_without_the_absent(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = JoinGroupRequest { rebalance_timeout_ms: 700, ..join(&group, "") };
    let one = x.ask(3, &hasty);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    // The first never joins again.
    x.on("b").ask(3, &hasty);
    x.on("").ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    described(x, &group);
}

fn pending_sync_ends(x: &mut Exchange) {
    let group = x.name("g");
    let hasty = JoinGroupRequest { rebalance_timeout_ms: 700, ..join(&group, "") };
    let one = x.ask(3, &hasty);
    x.ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    x.pause(1500);
    x.ask(3, &heartbeat(&group, one.generation_id, &one.member_id));
    described(x, &group);
}

fn full(x: &mut Exchange) {
    let group = x.name("together");
    for connection in ["a", "b", "c"] {
        x.on(connection).send(3, &wishing(connection, join(&group, "")));
        x.pause(20);
    }
    for connection in ["a", "b", "c"] {
        x.on(connection).receive::<JoinGroupRequest>();
    }
    x.on("d").ask(3, &join(&group, ""));
    x.ask(9, &join(&group, ""));
    x.ask(9, &JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..join(&group, "") });
    // While a rebalance is being prepared those count who wait: the first member comes too late.
    let group = x.name("late");
    let hasty = JoinGroupRequest { rebalance_timeout_ms: 1500, ..join(&group, "") };
    let first = x.on("").ask(3, &hasty);
    for connection in ["a", "b", "c"] {
        x.on(connection).send(3, &hasty);
        x.pause(20);
    }
    x.on("").ask(3, &JoinGroupRequest { member_id: first.member_id, ..hasty });
}

fn describe(x: &mut Exchange) {
    let (group, joined) = stable_group(x, "g");
    let asking = |groups: &[&str]| DescribeGroupsRequest {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        include_authorized_operations: false,
    };
    for version in 0..=6 {
        x.ask(version, &asking(&[&group]));
        x.ask(version, &asking(&[&x.name("none")]));
    }
    x.ask(6, &DescribeGroupsRequest { include_authorized_operations: true, ..asking(&[&group]) });
    x.ask(6, &asking(&[&group, &x.name("none"), &group]));
    x.ask(6, &asking(&[""]));
    x.ask(6, &asking(&[]));
    x.quietly(3, &leaving(&group, &[(&joined.member_id, None)]));
    x.ask(6, &asking(&[&group]));
}

fn list(x: &mut Exchange) {
    stable_group(x, "stable");
    let (left, joined) = stable_group(x, "left");
    x.quietly(3, &leaving(&left, &[(&joined.member_id, None)]));
    let syncing = x.name("syncing");
    x.quietly(3, &join(&syncing, ""));
    x.only_mine();
    for version in 0..=5 {
        x.ask(version, &ListGroupsRequest::default());
    }
    for states in [&["Stable"][..], &["Empty", "CompletingRebalance"], &["stable"], &["NoSuchState"], &["Dead"], &[""]]
    {
        let states_filter: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
        x.ask(4, &ListGroupsRequest { states_filter: states_filter.clone(), ..ListGroupsRequest::default() });
        x.ask(5, &ListGroupsRequest { states_filter, ..ListGroupsRequest::default() });
    }
    for kind in ["classic", "Classic", "consumer", "no such type", ""] {
        x.ask(5, &ListGroupsRequest { types_filter: vec![kind.to_owned()], ..ListGroupsRequest::default() });
    }
}

fn delete(x: &mut Exchange) {
    let (group, joined) = stable_group(x, "g");
    let deleting = |groups: &[&str]| DeleteGroupsRequest {
        groups_names: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    for version in 0..=2 {
        x.ask(version, &deleting(&[&group, &x.name("none")]));
    }
    x.quietly(3, &leaving(&group, &[(&joined.member_id, None)]));
    x.ask(2, &deleting(&[&group, &group]));
    x.ask(2, &deleting(&[&group]));
    x.ask(2, &deleting(&[]));
    described(x, &group);
}
