//! Classic groups between two generations: what keeps a member alive, and what is written down of a generation.

use milena_protocol::Message;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use milena_protocol::messages::group_metadata_value::GroupMetadataValue;
use milena_protocol::messages::join_group_request::JoinGroupRequest;
use milena_protocol::messages::sync_group_request::SyncGroupRequest;
use milena_protocol::wire::{Decoder, Records};

use super::Scenario;
use super::groups::{described, heartbeat, join, leaving, sync, wishing};
use super::requests::{fetch, from};
use crate::batch_view::keys_and_values;
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "groups/signs_of_life_in_a_stable_group",
        shows: "a follower that joins and syncs again, but sends no heartbeat, is put out",
        traps: &[110],
        play: signs_of_life_in_a_stable_group,
    },
    Scenario {
        name: "groups/signs_of_life_while_completing",
        shows: "a join that is repeated while the assignment is awaited is no sign of life, a sync that waits is one",
        traps: &[110, 114],
        play: signs_of_life_while_completing,
    },
    Scenario {
        name: "groups/written_with_its_assignment",
        shows: "a generation is written when its assignment comes, and not before",
        traps: &[114],
        play: written_with_its_assignment,
    },
    Scenario {
        name: "groups/written_when_a_static_member_returns",
        shows: "a static member that comes back is written at once under its new id, if its group is stable",
        traps: &[111],
        play: written_when_a_static_member_returns,
    },
];

/// A member whose session is short.
fn hasty(wish: &str, request: JoinGroupRequest) -> JoinGroupRequest {
    wishing(wish, JoinGroupRequest { session_timeout_ms: 1_500, ..request })
}

fn signs_of_life_in_a_stable_group(x: &mut Exchange) {
    let group = x.name("g");
    let leader = x.on("a").ask(3, &wishing("1", join(&group, "")));
    x.on("b").send(3, &hasty("2", join(&group, "")));
    x.still_waiting();
    let leader = x.on("a").ask(3, &wishing("1", join(&group, &leader.member_id)));
    let follower = x.on("b").receive::<JoinGroupRequest>();
    let parts = [(&*leader.member_id, "1"), (&*follower.member_id, "2")];
    x.on("a").ask(3, &sync(&group, &leader, &parts));
    x.on("b").ask(3, &sync(&group, &follower, &[]));
    let beat = heartbeat(&group, follower.generation_id, &follower.member_id);
    x.ask(3, &beat);
    x.pause(1_000);
    x.ask(3, &beat);
    x.pause(1_000);
    x.ask(3, &hasty("2", join(&group, &follower.member_id)));
    x.ask(3, &sync(&group, &follower, &[]));
    x.pause(1_000);
    x.ask(3, &beat);
    x.ask(3, &sync(&group, &follower, &[]));
    x.on("a").ask(3, &heartbeat(&group, leader.generation_id, &leader.member_id));
    described(x, &group);
}

fn signs_of_life_while_completing(x: &mut Exchange) {
    let group = x.name("g");
    let leader = x.on("a").ask(3, &wishing("1", join(&group, "")));
    let both = |x: &mut Exchange, leader: &str, follower: &str| {
        x.on("b").send(3, &hasty("2", join(&group, follower)));
        x.pause(100);
        let leader = x.on("a").ask(3, &wishing("1", join(&group, leader)));
        (leader, x.on("b").receive::<JoinGroupRequest>())
    };
    let (leader, follower) = both(x, &leader.member_id, "");
    x.on("b").pause(1_000);
    x.ask(3, &hasty("2", join(&group, &follower.member_id)));
    x.pause(1_000);
    x.ask(3, &hasty("2", join(&group, &follower.member_id)));
    // The next one waits for its part, for longer than its session.
    x.on("a").ask(3, &heartbeat(&group, leader.generation_id, &leader.member_id));
    let (leader, follower) = both(x, &leader.member_id, "");
    x.on("b").send(3, &sync(&group, &follower, &[]));
    x.pause(2_000);
    let parts = [(&*leader.member_id, "1"), (&*follower.member_id, "2")];
    x.on("a").ask(3, &sync(&group, &leader, &parts));
    x.on("b").receive::<SyncGroupRequest>();
    let beat = heartbeat(&group, follower.generation_id, &follower.member_id);
    x.pause(1_000);
    x.ask(3, &beat);
    described(x, &group);
}

fn written_with_its_assignment(x: &mut Exchange) {
    let group = x.name("g");
    let asked = x.ask(9, &join(&group, ""));
    written(x, &group);
    let one = x.ask(9, &join(&group, &asked.member_id));
    written(x, &group);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    written(x, &group);
    x.on("b").send(3, &wishing("2", join(&group, "")));
    x.still_waiting();
    written(x, &group);
    let one = x.on("").ask(3, &join(&group, &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    x.send(3, &sync(&group, &two, &[]));
    x.still_waiting();
    written(x, &group);
    // A generation that is given up before its assignment comes is written never.
    x.on("c").send(3, &wishing("3", join(&group, "")));
    x.on("b").receive::<SyncGroupRequest>();
    x.on("").ask(3, &sync(&group, &one, &[(&one.member_id, "half"), (&two.member_id, "half")]));
    x.on("b").send(3, &wishing("2", join(&group, &two.member_id)));
    x.pause(100);
    let one = x.on("").ask(3, &join(&group, &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    let three = x.on("c").receive::<JoinGroupRequest>();
    written(x, &group);
    x.on("").ask(3, &sync(&group, &one, &[(&one.member_id, "third"), (&two.member_id, "third")]));
    written(x, &group);
    let all = [(&*one.member_id, None), (&*two.member_id, None), (&*three.member_id, None)];
    x.ask(3, &leaving(&group, &all[1..]));
    written(x, &group);
    x.ask(3, &leaving(&group, &all[..1]));
    written(x, &group);
}

fn written_when_a_static_member_returns(x: &mut Exchange) {
    let group = x.name("g");
    let of_i = |member: &str| JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..join(&group, member) };
    let one = x.ask(9, &of_i(""));
    written(x, &group);
    // Its generation is not complete: it begins a new one.
    let two = x.ask(9, &of_i(""));
    written(x, &group);
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    x.ask(3, &sync(&group, &two, &[(&two.member_id, "all")]));
    written(x, &group);
    let three = x.ask(9, &of_i(""));
    written(x, &group);
    x.ask(3, &sync(&group, &two, &[]));
    x.ask(3, &sync(&group, &three, &[]));
    x.ask(5, &leaving(&group, &[("", Some("i"))]));
    written(x, &group);
}

/// Reads the groups' topic, and writes into the transcript what stands there of the group.
fn written(x: &mut Exchange, group: &str) {
    // What follows an answer without waiting for it is there by then.
    x.pause(150);
    let records = records_of(x, group);
    let found: Vec<String> = records.iter().map(|value| value.as_ref().map_or("gone".to_owned(), shown)).collect();
    x.found(&format!("written: {}", if found.is_empty() { "nothing".to_owned() } else { found.join("; ") }));
}

fn shown(value: &GroupMetadataValue) -> String {
    let leader = value.leader.as_ref().map_or("nobody leads", |leader| {
        let leads = value.members.iter().any(|member| member.member_id == *leader);
        if leads { "a member leads" } else { "a stranger leads" }
    });
    let mut parts: Vec<String> =
        value.members.iter().map(|member| member.assignment.escape_ascii().to_string()).collect();
    parts.sort();
    let protocol = value.protocol.as_deref().unwrap_or("no protocol");
    format!("generation {} by {protocol}, {leader}, parts {parts:?}", value.generation)
}

/// The group's own records, from the first to the last.
fn records_of(x: &mut Exchange, group: &str) -> Vec<Option<GroupMetadataValue>> {
    /// The type of a group's own record, as its key begins.
    const GROUP_RECORD: i16 = 2;
    let topic = Topic { name: "__consumer_offsets".to_owned(), id: milena_protocol::Uuid::ZERO };
    let mut found = Vec::new();
    for partition in 0..3 {
        let part = FetchPartition { partition_max_bytes: 50 << 20, ..from(partition, 0) };
        let answer = x.quietly::<FetchRequest>(12, &fetch(&topic, vec![part])).unwrap_or_default();
        let partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        for (key, value) in partitions.flat_map(|partition| match &partition.records {
            Records::Bytes(bytes) => keys_and_values(bytes),
            _ => Vec::new(),
        }) {
            let mut key = Decoder::new(key.unwrap_or_default());
            if key.i16() != Ok(GROUP_RECORD) || key.string(false).ok().as_deref() != Some(group) {
                continue;
            }
            found.push(value.and_then(|value| {
                let mut value = Decoder::new(value);
                let version = value.i16().ok()?;
                GroupMetadataValue::decode(&mut value, version).ok()
            }));
        }
    }
    found
}
