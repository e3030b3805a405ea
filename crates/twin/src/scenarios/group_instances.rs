//! Members of both protocols in one group, which stay there side by side: their instance ids, and what keeps those of
//! the classic protocol alive.

use milena_protocol::messages::HeartbeatRequest;
use milena_protocol::messages::join_group_request::JoinGroupRequest;
use milena_protocol::messages::sync_group_request::SyncGroupRequest;

use super::Scenario;
use super::consumer_groups::{beat, beats, instance, joins, owning, partitions, shown};
use super::group_migration::{joining, syncing};
use super::groups::{described, heartbeat, leaving};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumer_groups/trap_138_signs_of_life",
        shows: "joins and syncs of a classic member keep it alive in a consumer group, what is refused does not",
        traps: &[138],
        play: signs_of_life,
    },
    Scenario {
        name: "consumer_groups/trap_138_classic_instances",
        shows: "a static member of the classic protocol comes back, under new ids and with other topics",
        traps: &[138],
        play: classic_instances,
    },
    Scenario {
        name: "consumer_groups/trap_138_instances_of_both",
        shows: "an instance changes its protocol while members of both stay in the group",
        traps: &[138, 134],
        play: instances_of_both,
    },
    Scenario {
        name: "consumer_groups/trap_138_limits_of_classic_members",
        shows: "whoever does not join when it is told to, or does not sync after a join, is put out in time",
        traps: &[138, 115],
        play: limits_of_classic_members,
    },
];

fn of_i(request: JoinGroupRequest) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..request }
}

fn sync_i(request: SyncGroupRequest) -> SyncGroupRequest {
    SyncGroupRequest { group_instance_id: Some("i".to_owned()), ..request }
}

fn beat_i(group: &str, generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_instance_id: Some("i".to_owned()), ..heartbeat(group, generation, member) }
}

fn signs_of_life(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    beat(x, &joins(&group, "n", &[&topic]));
    let hasty = || JoinGroupRequest { session_timeout_ms: 1_500, ..joining(&group, "c", &topic, &[]) };
    // It comes and goes: each sign of life but the last is good for a session.
    let joined = x.ask(9, &hasty());
    x.pause(1_000);
    x.ask(9, &hasty());
    x.pause(1_000);
    x.ask(5, &syncing(&group, &joined, &[]));
    x.pause(1_000);
    x.ask(4, &heartbeat(&group, joined.generation_id, "c"));
    x.pause(1_000);
    x.ask(5, &SyncGroupRequest { generation_id: joined.generation_id + 1, ..syncing(&group, &joined, &[]) });
    x.ask(4, &heartbeat(&group, joined.generation_id + 1, "c"));
    x.ask(9, &JoinGroupRequest { protocol_type: "connect".to_owned(), ..hasty() });
    x.pause(1_000);
    x.ask(4, &heartbeat(&group, joined.generation_id, "c"));
    shown(x, &group);
}

/// A consumer that owns all four partitions, and half of them go to an instance of the classic protocol.
fn beside(x: &mut Exchange, group: &str, topic: &Topic) -> (i32, milena_protocol::messages::JoinGroupResponse) {
    let epoch = beat(x, &joins(group, "n", &[topic])).member_epoch;
    let first = x.ask(9, &of_i(joining(group, "", topic, &[])));
    x.ask(5, &sync_i(syncing(group, &first, &[])));
    let told = beat(x, &owning(beats(group, "n", epoch), &[(topic, &[0, 1, 2, 3])]));
    let kept = partitions(&told);
    let epoch = beat(x, &owning(beats(group, "n", epoch), &[(topic, &kept)])).member_epoch;
    x.ask(4, &beat_i(group, first.generation_id, &first.member_id));
    let second = x.ask(9, &of_i(joining(group, &first.member_id, topic, &[])));
    x.ask(5, &sync_i(syncing(group, &second, &[])));
    (epoch, second)
}

fn classic_instances(x: &mut Exchange) {
    let (topic, other, group) = (x.topic("t", 4, &[]), x.topic("u", 2, &[]), x.name("g"));
    let (epoch, former) = beside(x, &group, &topic);
    shown(x, &group);
    // It comes back under a new id.
    let back = x.ask(9, &of_i(joining(&group, "", &topic, &[])));
    shown(x, &group);
    x.ask(5, &sync_i(syncing(&group, &back, &[])));
    x.ask(4, &beat_i(&group, back.generation_id, &back.member_id));
    x.ask(4, &heartbeat(&group, back.generation_id, &back.member_id));
    x.ask(5, &syncing(&group, &back, &[]));
    // The former id is fenced, and without its instance it is nobody.
    x.ask(4, &beat_i(&group, former.generation_id, &former.member_id));
    x.ask(4, &heartbeat(&group, former.generation_id, &former.member_id));
    x.ask(5, &sync_i(syncing(&group, &former, &[])));
    x.ask(9, &of_i(joining(&group, &former.member_id, &topic, &[])));
    x.ask(5, &leaving(&group, &[(&former.member_id, Some("i")), (&former.member_id, None)]));
    beat(x, &owning(beats(&group, "n", epoch), &[(&topic, &[0, 1])]));
    // And back once more, with other topics, in an old version.
    let changed = x.ask(5, &of_i(joining(&group, "", &other, &[])));
    x.ask(3, &sync_i(syncing(&group, &changed, &[])));
    shown(x, &group);
    beat(x, &owning(beats(&group, "n", epoch), &[(&topic, &[0, 1])]));
    x.ask(4, &beat_i(&group, changed.generation_id, &changed.member_id));
    x.ask(5, &leaving(&group, &[("", Some("i"))]));
    shown(x, &group);
    described(x, &group);
}

fn instances_of_both(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let (_, classic) = beside(x, &group, &topic);
    // The instance of a classic member may be taken at once, that of a consumer when it left for now.
    let new = beat(x, &instance("i", joins(&group, "x", &[&topic])));
    shown(x, &group);
    x.ask(4, &beat_i(&group, classic.generation_id, &classic.member_id));
    beat(x, &instance("i", joins(&group, "y", &[&topic])));
    beat(x, &instance("i", beats(&group, "x", new.member_epoch)));
    let back = x.ask(9, &of_i(joining(&group, "", &topic, &[2, 3])));
    x.ask(5, &sync_i(syncing(&group, &back, &[])));
    shown(x, &group);
    beat(x, &instance("i", beats(&group, "x", new.member_epoch)));
    beat(x, &instance("i", beats(&group, "x", -2)));
    // A classic member cannot leave for now in the words of the other protocol.
    beat(x, &instance("i", beats(&group, &back.member_id, -2)));
    shown(x, &group);
    let again = beat(x, &instance("i", joins(&group, "z", &[&topic])));
    beat(x, &instance("i", beats(&group, "z", -2)));
    let last = x.ask(9, &of_i(joining(&group, "", &topic, &[])));
    x.ask(5, &sync_i(syncing(&group, &last, &[])));
    beat(x, &instance("i", beats(&group, "z", again.member_epoch)));
    shown(x, &group);
    // The other one goes: the group becomes a classic one, in which the instance is known.
    beat(x, &beats(&group, "n", -1));
    described(x, &group);
    x.ask(4, &beat_i(&group, last.generation_id, &last.member_id));
    let led = x.ask(9, &of_i(joining(&group, &last.member_id, &topic, &[2, 3])));
    x.ask(5, &sync_i(syncing(&group, &led, &[(&led.member_id, &topic, &[0, 1, 2, 3])])));
    described(x, &group);
}

fn limits_of_classic_members(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let slow = |member: &str| JoinGroupRequest { rebalance_timeout_ms: 1_500, ..joining(&group, member, &topic, &[]) };
    let epoch = beat(x, &joins(&group, "n", &[&topic])).member_epoch;
    // It joins and never syncs.
    let joined = x.ask(9, &slow("c"));
    x.pause(1_000);
    x.ask(4, &heartbeat(&group, joined.generation_id, "c"));
    x.pause(1_000);
    x.ask(4, &heartbeat(&group, joined.generation_id, "c"));
    shown(x, &group);
    // It syncs, is told to join, and only beats.
    let joined = x.ask(9, &slow("d"));
    x.ask(5, &syncing(&group, &joined, &[]));
    let told = beat(x, &owning(beats(&group, "n", epoch), &[(&topic, &[0, 1, 2, 3])]));
    beat(x, &owning(beats(&group, "n", epoch), &[(&topic, &partitions(&told))]));
    x.ask(4, &heartbeat(&group, joined.generation_id, "d"));
    x.pause(1_000);
    x.ask(4, &heartbeat(&group, joined.generation_id, "d"));
    x.pause(1_000);
    x.ask(4, &heartbeat(&group, joined.generation_id, "d"));
    shown(x, &group);
}
