//! Traps 119 to 125 and 128, which concern offsets of groups, and 25, where groups live, each under its own number.

use milena_protocol::messages::fetch_request::FetchPartition;
use milena_protocol::messages::offset_commit_request::OffsetCommitRequest;
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequest;
use milena_protocol::messages::{DeleteGroupsRequest, JoinGroupRequest, ListGroupsRequest};
use milena_protocol::wire::Records;

use super::Scenario;
use super::groups::{described, join, leaving, stable_group, subscription, sync, wishing};
use super::offsets::{commit, deleting, fetch_new, fetch_old, of_group, part};
use super::requests::{fetch, from, metadata_of};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "offsets/trap_25_where_groups_live",
        shows: "the partition of the internal topic in which a group's record lies: Java's hash of its name",
        traps: &[25],
        play: where_groups_live,
    },
    Scenario {
        name: "offsets/trap_119_commits_in_each_state",
        shows: "members, instances, pending members and strangers commit in each state of a group",
        traps: &[119],
        play: commits_in_each_state,
    },
    Scenario {
        name: "offsets/trap_119_a_commit_keeps_a_member_alive",
        shows: "a member that only commits outlives its session",
        traps: &[119],
        play: a_commit_keeps_a_member_alive,
    },
    Scenario {
        name: "offsets/trap_120_groups_that_are_gone",
        shows: "commits to groups that never were, and that were deleted",
        traps: &[120],
        play: groups_that_are_gone,
    },
    Scenario {
        name: "offsets/trap_121_metadata_is_counted_in_utf_16",
        shows: "the limit counts Java's characters: letters with accents one, signs beyond the first plane two",
        traps: &[121],
        play: metadata_is_counted_in_utf_16,
    },
    Scenario {
        name: "offsets/trap_122_what_was_never_stored",
        shows: "unknown groups, topics and partitions, also in a group with live members",
        traps: &[122],
        play: what_was_never_stored,
    },
    Scenario {
        name: "offsets/trap_124_and_128_an_answered_commit_is_there",
        shows: "commits and fetches in one go, and from another connection: what was answered is read",
        traps: &[124, 128],
        play: an_answered_commit_is_there,
    },
    Scenario {
        name: "offsets/trap_125_subscribed_topics",
        shows: "deleting offsets of two members' topics in each state, and of a kind that has no topics",
        traps: &[125],
        play: subscribed_topics,
    },
];

fn where_groups_live(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    // The hash of the first is the smallest integer, which has no absolute value.
    let long = "n".repeat(300);
    for name in ["polygenelubricants", "hello", "sp ace", "ünïcode", "emoji 😀", &long] {
        x.quietly(8, &commit(name, &topic, vec![part(0, 1, None)]));
        x.ask(7, &fetch_old(name, Some(&[(&topic.name, &[0])])));
        let partition = home(x, name, &topic.name);
        x.found(&format!("group {name:?} lives in partition {partition:?}"));
        x.quietly(2, &DeleteGroupsRequest { groups_names: vec![name.to_owned()] });
    }
}

/// In which partitions of the internal topic an offset of that group and topic lies.
fn home(x: &mut Exchange, group: &str, topic: &str) -> Vec<i32> {
    let mut key = vec![0, 1];
    for text in [group, topic] {
        key.extend_from_slice(&(text.len() as i16).to_be_bytes());
        key.extend_from_slice(text.as_bytes());
    }
    let known = x.quietly(12, &metadata_of(&["__consumer_offsets"])).unwrap_or_default();
    let Some(internal) = known.topics.into_iter().next() else { return Vec::new() };
    let internal = Topic { name: internal.name.unwrap_or_default(), id: internal.topic_id };
    (0..3).filter(|partition| holds(x, &internal, *partition, &key)).collect()
}

/// Whether those bytes stand anywhere in a partition.
fn holds(x: &mut Exchange, topic: &Topic, partition: i32, bytes: &[u8]) -> bool {
    let mut offset = 0;
    loop {
        let from = FetchPartition { partition_max_bytes: 8 << 20, ..from(partition, offset) };
        let Some(answer) = x.quietly(12, &fetch(topic, vec![from])) else { return false };
        let partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        let Some(Records::Bytes(records)) = partitions.map(|partition| partition.records).next() else { return false };
        if records.windows(bytes.len()).any(|window| window == bytes) {
            return true;
        }
        match last_offset(&records) {
            Some(last) if last >= offset => offset = last + 1,
            _ => return false,
        }
    }
}

/// The offset of the last record of the first batch.
fn last_offset(records: &[u8]) -> Option<i64> {
    let base = records.get(..8)?.try_into().map(i64::from_be_bytes).ok()?;
    let delta = records.get(23..27)?.try_into().map(i32::from_be_bytes).ok()?;
    Some(base + i64::from(delta))
}

fn by(request: &OffsetCommitRequest, generation: i32, member: &str, instance: Option<&str>) -> OffsetCommitRequest {
    OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..request.clone()
    }
}

fn commits_in_each_state(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let group = x.name("g");
    let any = commit(&group, &topic, vec![part(0, 1, None)]);
    let ask_all = |x: &mut Exchange, generation: i32, member: &str| {
        for version in [2, 10] {
            x.ask(version, &by(&any, generation, member, None));
            x.ask(version, &by(&any, -1, "", None));
            x.ask(version, &by(&any, -1, "a stranger", None));
        }
        x.ask(7, &by(&any, -1, "", Some("i")));
        x.ask(7, &by(&any, generation, member, Some("i")));
    };
    // Nobody but one who has an id and has not joined.
    let pending = x.on("c").ask(9, &join(&group, ""));
    ask_all(x, 0, &pending.member_id);
    x.ask(5, &leaving(&group, &[(&pending.member_id, None)]));
    // The assignment is awaited, then there, then joins are awaited.
    let one = x.on("a").ask(3, &join(&group, ""));
    ask_all(x.on("c"), one.generation_id, &one.member_id);
    x.on("a").ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    ask_all(x.on("c"), one.generation_id, &one.member_id);
    let instance =
        JoinGroupRequest { group_instance_id: Some("i".to_owned()), ..wishing("another wish", join(&group, "")) };
    x.on("b").send(5, &instance);
    x.still_waiting();
    ask_all(x.on("c"), one.generation_id, &one.member_id);
    let one = x.on("a").ask(3, &join(&group, &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    x.on("a").ask(3, &sync(&group, &one, &[(&one.member_id, "1"), (&two.member_id, "2")]));
    x.on("c").ask(7, &by(&any, two.generation_id, &two.member_id, Some("i")));
    x.ask(7, &by(&any, two.generation_id, &one.member_id, Some("i")));
    x.ask(7, &by(&any, two.generation_id, &two.member_id, None));
    // Everybody is gone: generation and member are no longer known, but anybody may commit.
    x.ask(5, &leaving(&group, &[(&one.member_id, None), (&two.member_id, None)]));
    ask_all(x, two.generation_id, &two.member_id);
    x.ask(7, &fetch_old(&group, None));
}

fn a_commit_keeps_a_member_alive(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let group = x.name("g");
    let one = x.ask(3, &JoinGroupRequest { session_timeout_ms: 1500, ..join(&group, "") });
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    let any = commit(&group, &topic, vec![part(0, 1, None)]);
    for version in [2, 5, 9] {
        x.pause(800);
        x.ask(version, &by(&any, one.generation_id, &one.member_id, None));
    }
    // A refused one does not.
    x.pause(800);
    x.ask(9, &by(&any, one.generation_id + 1, &one.member_id, None));
    x.pause(1800);
    x.ask(9, &by(&any, one.generation_id, &one.member_id, None));
    described(x, &group);
}

fn groups_that_are_gone(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let (gone, never) = (x.name("gone"), x.name("never"));
    let one = x.quietly(3, &join(&gone, "")).unwrap_or_default();
    x.quietly(3, &sync(&gone, &one, &[(&one.member_id, "all")]));
    x.ask(5, &leaving(&gone, &[(&one.member_id, None)]));
    x.ask(2, &DeleteGroupsRequest { groups_names: vec![gone.clone()] });
    for group in [&gone, &never] {
        let any = commit(group, &topic, vec![part(0, 1, None)]);
        for version in [2, 8, 9, 10] {
            x.ask(version, &by(&any, one.generation_id, &one.member_id, None));
            x.ask(version, &by(&any, 0, "", None));
        }
        x.ask(9, &by(&any, one.generation_id, &one.member_id, Some("i")));
        described(x, group);
    }
    // Without a generation the commit makes the group, which is then no longer unknown.
    x.ask(10, &commit(&gone, &topic, vec![part(0, 1, None)]));
    let any = commit(&gone, &topic, vec![part(0, 1, None)]);
    x.ask(8, &by(&any, one.generation_id, &one.member_id, None));
    x.ask(9, &by(&any, one.generation_id, &one.member_id, None));
    described(x, &gone);
    x.only_mine().ask(5, &ListGroupsRequest::default());
}

fn metadata_is_counted_in_utf_16(x: &mut Exchange) {
    let topic = x.topic("a", 5, &[]);
    let group = x.name("g");
    let texts = ["é".repeat(4096), "é".repeat(4097), "😀".repeat(2048), "😀".repeat(2049), String::new()];
    let parts = || texts.iter().zip(0..).map(|(text, index)| part(index, 7, Some(text))).collect::<Vec<_>>();
    for version in [2, 8, 10] {
        x.ask(version, &commit(&group, &topic, parts()));
    }
    // None of them may be stored: the group is made all the same, or not.
    let other = x.name("other");
    x.ask(8, &commit(&other, &topic, vec![part(0, 1, Some(&texts[1]))]));
    described(x, &other);
    x.ask(7, &fetch_old(&other, None));
    for version in [1, 7] {
        x.ask(version, &fetch_old(&group, Some(&[(&topic.name, &[1, 3, 4])])));
    }
}

fn what_was_never_stored(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let (live, _) = stable_group(x, "live");
    let none = Topic { name: x.name("none"), ..topic.clone() };
    for version in [1, 2, 7] {
        x.ask(version, &fetch_old(&live, Some(&[(&topic.name, &[0, 1, 2]), (&none.name, &[0])])));
    }
    x.ask(2, &fetch_old(&live, None));
    x.ask(7, &OffsetFetchRequest { require_stable: true, ..fetch_old(&live, Some(&[(&topic.name, &[0])])) });
    x.ask(8, &fetch_new(vec![of_group(&live, None), of_group(&x.name("g"), Some(&[(&topic, &[0])]))]));
    x.ask(10, &fetch_new(vec![of_group(&live, Some(&[(&topic, &[0, 0, 5])])), of_group(&x.name("g"), None)]));
    described(x, &x.name("g"));
}

fn an_answered_commit_is_there(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let group = x.name("g");
    for offset in 1..=3 {
        x.on("a").ask(8, &commit(&group, &topic, vec![part(0, offset, None)]));
        x.on("b").ask(7, &fetch_old(&group, None));
    }
    // All of it in one go: each fetch sees the commits before it.
    for offset in 4..=6 {
        x.on("a").send(8, &commit(&group, &topic, vec![part(0, offset, None)]));
        x.send(7, &fetch_old(&group, None));
    }
    for _ in 4..=6 {
        x.on("a").receive::<OffsetCommitRequest>();
        x.receive::<OffsetFetchRequest>();
    }
    // Older offsets may be committed later: the last one counts.
    x.on("b").ask(8, &commit(&group, &topic, vec![part(0, 2, None)]));
    x.on("a").ask(7, &fetch_old(&group, None));
    x.on("b").ask(0, &deleting(&group, &topic.name, &[0]));
    x.on("a").ask(7, &fetch_old(&group, None));
    x.ask(2, &DeleteGroupsRequest { groups_names: vec![group.clone()] });
    x.on("b").ask(7, &fetch_old(&group, None));
    described(x, &group);
}

fn subscribed_topics(x: &mut Exchange) {
    let topics = [x.topic("a", 1, &[]), x.topic("b", 1, &[]), x.topic("c", 1, &[])];
    let group = x.name("g");
    let fill = |x: &mut Exchange| {
        for topic in &topics {
            x.quietly(8, &commit(&group, topic, vec![part(0, 1, None)]));
        }
    };
    let delete_all = |x: &mut Exchange| {
        for topic in &topics {
            x.ask(0, &deleting(&group, &topic.name, &[0]));
        }
        x.ask(7, &fetch_old(&group, None));
    };
    let reading = |topic: &Topic, member: &str| {
        let mut request = join(&group, member);
        request.protocols[0].metadata = subscription(&[&topic.name], "");
        request
    };
    fill(x);
    let one = x.on("a").ask(3, &reading(&topics[0], ""));
    x.ask(3, &sync(&group, &one, &[(&one.member_id, "all")]));
    // Who has not got in yet reads nothing.
    x.on("b").send(3, &reading(&topics[1], ""));
    x.still_waiting();
    x.on("c").ask(0, &deleting(&group, &topics[0].name, &[0]));
    let one = x.on("a").ask(3, &reading(&topics[0], &one.member_id));
    let two = x.on("b").receive::<JoinGroupRequest>();
    delete_all(x.on("c"));
    x.on("a").ask(3, &sync(&group, &one, &[(&one.member_id, "1"), (&two.member_id, "2")]));
    delete_all(x.on("c"));
    // In an empty group nothing is read any more.
    x.ask(3, &leaving(&group, &[(&one.member_id, None), (&two.member_id, None)]));
    fill(x);
    delete_all(x);
    let other = JoinGroupRequest { protocol_type: "connect".to_owned(), ..join(&x.name("other"), "") };
    x.ask(3, &other);
    x.ask(0, &deleting(&other.group_id, &topics[0].name, &[0]));
}
