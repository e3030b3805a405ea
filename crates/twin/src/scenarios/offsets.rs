//! Committed offsets of groups: OffsetCommit, OffsetFetch, OffsetDelete.

use milena_protocol::Uuid;
use milena_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use milena_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use milena_protocol::messages::{DeleteGroupsRequest, DeleteTopicsRequest, JoinGroupRequest};

use super::Scenario;
use super::groups::{join, stable_group, subscription, sync};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "offsets/every_version",
        shows: "committed and fetched at each version, by a group without members",
        traps: &[119, 122],
        play: every_version,
    },
    Scenario {
        name: "offsets/fetch_all_and_unknown",
        shows: "all offsets, of a group without any, of a group that is not there, of unknown partitions",
        traps: &[122],
        play: fetch_all_and_unknown,
    },
    Scenario {
        name: "offsets/fetch_several_groups",
        shows: "several groups in one request, by name and by id",
        traps: &[122],
        play: fetch_several_groups,
    },
    Scenario {
        name: "offsets/commit_refused",
        shows: "unknown partitions, long metadata, negative offsets, and no group",
        traps: &[121],
        play: commit_refused,
    },
    Scenario {
        name: "offsets/commit_without_group",
        shows: "a generation without a group: which error depends on the version",
        traps: &[120],
        play: commit_without_group,
    },
    Scenario {
        name: "offsets/commit_of_members",
        shows: "members commit in their generation, strangers do not",
        traps: &[119],
        play: commit_of_members,
    },
    Scenario {
        name: "offsets/commit_by_id",
        shows: "version 10 names topics by id, also unknown ones",
        traps: &[],
        play: commit_by_id,
    },
    Scenario {
        name: "offsets/require_stable",
        shows: "without open transactions every offset is stable",
        traps: &[123],
        play: require_stable,
    },
    Scenario {
        name: "offsets/delete",
        shows: "offsets are deleted one by one; those of subscribed topics stay",
        traps: &[125],
        play: delete,
    },
    Scenario {
        name: "offsets/topic_deleted",
        shows: "the offsets of a deleted topic are gone",
        traps: &[],
        play: topic_deleted,
    },
];

pub(super) fn part(
    partition_index: i32,
    committed_offset: i64,
    metadata: Option<&str>,
) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_leader_epoch: -1,
        committed_metadata: metadata.map(str::to_owned),
    }
}

pub(super) fn commit(group: &str, topic: &Topic, partitions: Vec<OffsetCommitRequestPartition>) -> OffsetCommitRequest {
    let topic = OffsetCommitRequestTopic { name: topic.name.clone(), topic_id: topic.id, partitions };
    OffsetCommitRequest { group_id: group.to_owned(), topics: vec![topic], ..OffsetCommitRequest::default() }
}

/// Up to version 7.
pub(super) fn fetch_old(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    let topic = |(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopic {
        name: (*name).to_owned(),
        partition_indexes: partitions.to_vec(),
    };
    OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..OffsetFetchRequest::default()
    }
}

pub(super) fn of_group(group: &str, topics: Option<&[(&Topic, &[i32])]>) -> OffsetFetchRequestGroup {
    let topic = |(topic, partitions): &(&Topic, &[i32])| OffsetFetchRequestTopics {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_indexes: partitions.to_vec(),
    };
    OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..OffsetFetchRequestGroup::default()
    }
}

/// From version 8 on.
pub(super) fn fetch_new(groups: Vec<OffsetFetchRequestGroup>) -> OffsetFetchRequest {
    OffsetFetchRequest { groups, ..OffsetFetchRequest::default() }
}

fn every_version(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let group = x.name("g");
    for version in 2..=10 {
        let mut request = commit(&group, &topic, vec![part(0, version.into(), Some("note")), part(1, 7, None)]);
        if version >= 6 {
            request.topics[0].partitions[0].committed_leader_epoch = 3;
        }
        x.ask(version, &request);
    }
    for version in 1..=7 {
        x.ask(version, &fetch_old(&group, Some(&[(&topic.name, &[0, 1])])));
    }
    for version in 8..=10 {
        x.ask(version, &fetch_new(vec![of_group(&group, Some(&[(&topic, &[0, 1])]))]));
    }
}

fn fetch_all_and_unknown(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let (group, none) = (x.name("g"), x.name("none"));
    x.quietly(8, &commit(&group, &topic, vec![part(1, 5, Some(""))]));
    for version in [2, 5, 7] {
        x.ask(version, &fetch_old(&group, None));
        x.ask(version, &fetch_old(&none, None));
    }
    for version in [1, 7] {
        x.ask(version, &fetch_old(&group, Some(&[(&topic.name, &[0, 1, 9, -1]), (&none, &[0])])));
        x.ask(version, &fetch_old(&none, Some(&[(&topic.name, &[0])])));
        x.ask(version, &fetch_old(&group, Some(&[])));
        x.ask(version, &fetch_old("", Some(&[(&topic.name, &[0])])));
    }
    for version in [8, 9, 10] {
        x.ask(version, &fetch_new(vec![of_group(&group, None)]));
        x.ask(version, &fetch_new(vec![of_group(&none, None)]));
    }
}

fn fetch_several_groups(x: &mut Exchange) {
    let (a, b) = (x.topic("a", 2, &[]), x.topic("b", 1, &[]));
    let (one, two) = (x.name("one"), x.name("two"));
    x.quietly(8, &commit(&one, &a, vec![part(0, 1, None), part(1, 2, None)]));
    x.quietly(8, &commit(&two, &b, vec![part(0, 3, None)]));
    for version in [8, 10] {
        x.ask(version, &fetch_new(vec![of_group(&one, Some(&[(&a, &[0]), (&b, &[0])])), of_group(&two, None)]));
        x.ask(version, &fetch_new(vec![of_group(&two, None), of_group(&two, None)]));
        x.ask(version, &fetch_new(vec![of_group(&two, Some(&[]))]));
        x.ask(version, &fetch_new(vec![of_group("", Some(&[(&b, &[0])]))]));
        x.ask(version, &fetch_new(Vec::new()));
    }
    let unknown = Topic { name: x.name("none"), id: Uuid([9; 16]) };
    let zero = Topic { name: String::new(), id: Uuid::ZERO };
    x.ask(10, &fetch_new(vec![of_group(&one, Some(&[(&unknown, &[0, 1]), (&a, &[0])]))]));
    x.ask(10, &fetch_new(vec![of_group(&one, Some(&[(&zero, &[0])]))]));
    for (member_id, member_epoch) in [(None, 5), (Some("m"), -1), (Some("m"), 0), (Some(""), -1)] {
        let group =
            OffsetFetchRequestGroup { member_id: member_id.map(str::to_owned), member_epoch, ..of_group(&one, None) };
        x.ask(9, &fetch_new(vec![group]));
    }
}

fn commit_refused(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let group = x.name("g");
    let none = Topic { name: x.name("none"), id: Uuid([9; 16]) };
    let (longest, long) = ("m".repeat(4096), "m".repeat(4097));
    for version in [2, 9] {
        x.ask(version, &commit(&group, &topic, vec![part(0, 1, None), part(2, 1, None), part(-1, 1, None)]));
        x.ask(version, &commit(&group, &none, vec![part(0, 1, None)]));
        x.ask(version, &commit(&group, &topic, vec![part(0, 2, Some(&longest)), part(1, 2, Some(&long))]));
        x.ask(version, &commit(&group, &topic, vec![part(0, -1, None), part(1, -5, None)]));
        x.ask(version, &commit("", &topic, vec![part(0, 1, None)]));
        x.ask(version, &commit(&group, &Topic { name: "sp ace".to_owned(), ..none.clone() }, vec![part(0, 1, None)]));
        x.ask(version, &commit(&group, &topic, Vec::new()));
        x.ask(version, &OffsetCommitRequest { topics: Vec::new(), ..commit(&group, &topic, Vec::new()) });
    }
    x.ask(8, &commit(&group, &topic, vec![part(0, 10, Some("first")), part(0, 20, Some("second"))]));
    x.ask(5, &fetch_old(&group, None));
    // The group without a name is there since the commits above, in no other scenario, and can be deleted.
    x.ask(2, &DeleteGroupsRequest { groups_names: vec![String::new()] });
    x.ask(2, &DeleteGroupsRequest { groups_names: vec![String::new()] });
}

fn commit_without_group(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let group = x.name("g");
    for version in [2, 8, 9, 10] {
        for (generation, member) in [(1, "m"), (0, ""), (-1, "m"), (5, "")] {
            let request = OffsetCommitRequest {
                generation_id_or_member_epoch: generation,
                member_id: member.to_owned(),
                ..commit(&group, &topic, vec![part(0, 1, None)])
            };
            x.ask(version, &request);
        }
    }
    x.ask(5, &fetch_old(&group, None));
}

fn commit_of_members(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let (group, joined) = stable_group(x, "g");
    let by = |generation, member: &str, instance: Option<&str>| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..commit(&group, &topic, vec![part(0, 1, None)])
    };
    let (generation, member) = (joined.generation_id, joined.member_id.as_str());
    for version in [2, 7, 9] {
        x.ask(version, &by(generation, member, None));
        x.ask(version, &by(generation + 1, member, None));
        x.ask(version, &by(generation - 1, member, None));
        x.ask(version, &by(-1, member, None));
        x.ask(version, &by(-1, "", None));
        x.ask(version, &by(generation, "a stranger", None));
        x.ask(version, &by(generation, "", None));
    }
    x.ask(7, &by(generation, member, Some("i")));
    // Between join and sync nobody commits, and neither does one who joins.
    let joined = x.ask(3, &JoinGroupRequest { protocols: Vec::new(), ..join(&group, member) });
    let again = x.ask(3, &join(&group, member));
    x.ask(7, &by(again.generation_id, member, None));
    x.ask(7, &by(joined.generation_id, member, None));
    x.ask(3, &sync(&group, &again, &[(member, "all")]));
    x.ask(7, &by(again.generation_id, member, None));
    x.ask(5, &fetch_old(&group, None));
}

fn commit_by_id(x: &mut Exchange) {
    let (a, b) = (x.topic("a", 1, &[]), x.topic("b", 1, &[]));
    let group = x.name("g");
    let mut request = commit(&group, &a, vec![part(0, 1, None), part(3, 1, None)]);
    let unknown = OffsetCommitRequestTopic {
        topic_id: Uuid([9; 16]),
        partitions: vec![part(0, 1, None), part(1, 1, None)],
        ..OffsetCommitRequestTopic::default()
    };
    request.topics.push(unknown);
    request.topics.push(OffsetCommitRequestTopic {
        topic_id: b.id,
        partitions: vec![part(0, 2, None)],
        ..Default::default()
    });
    x.ask(10, &request);
    let zero = Topic { name: String::new(), id: Uuid::ZERO };
    x.ask(10, &commit(&group, &zero, vec![part(0, 1, None)]));
    x.ask(10, &fetch_new(vec![of_group(&group, Some(&[(&a, &[0]), (&b, &[0])]))]));
}

fn require_stable(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let group = x.name("g");
    x.quietly(8, &commit(&group, &topic, vec![part(0, 5, None)]));
    x.ask(7, &OffsetFetchRequest { require_stable: true, ..fetch_old(&group, Some(&[(&topic.name, &[0])])) });
    x.ask(8, &OffsetFetchRequest { require_stable: true, ..fetch_new(vec![of_group(&group, None)]) });
}

pub(super) fn deleting(group: &str, topic: &str, partitions: &[i32]) -> OffsetDeleteRequest {
    let partitions = partitions.iter().map(|index| OffsetDeleteRequestPartition { partition_index: *index }).collect();
    let topic = OffsetDeleteRequestTopic { name: topic.to_owned(), partitions };
    OffsetDeleteRequest { group_id: group.to_owned(), topics: vec![topic] }
}

fn delete(x: &mut Exchange) {
    let (a, b) = (x.topic("a", 2, &[]), x.topic("b", 1, &[]));
    let (group, none) = (x.name("g"), x.name("none"));
    x.quietly(8, &commit(&group, &a, vec![part(0, 1, None), part(1, 2, None)]));
    x.ask(0, &deleting(&none, &a.name, &[0]));
    x.ask(0, &deleting("", &a.name, &[0]));
    x.ask(0, &deleting(&group, &none, &[0]));
    x.ask(0, &deleting(&group, &a.name, &[0, 5]));
    x.ask(0, &deleting(&group, &a.name, &[0]));
    x.ask(0, &deleting(&group, &b.name, &[0]));
    x.ask(0, &OffsetDeleteRequest { group_id: group.clone(), topics: Vec::new() });
    x.ask(5, &fetch_old(&group, None));
    // A live member that is subscribed to topic a.
    let live = x.name("live");
    x.quietly(8, &commit(&live, &a, vec![part(0, 1, None)]));
    x.quietly(8, &commit(&live, &b, vec![part(0, 1, None)]));
    let mut request = join(&live, "");
    request.protocols[0].metadata = subscription(&[&a.name], "");
    let joined = x.quietly(3, &request).unwrap_or_default();
    x.ask(0, &deleting(&live, &a.name, &[0]));
    x.quietly(3, &sync(&live, &joined, &[(&joined.member_id, "all")]));
    x.ask(0, &deleting(&live, &a.name, &[0]));
    x.ask(0, &deleting(&live, &b.name, &[0]));
    x.ask(5, &fetch_old(&live, None));
    // A live member of a kind that says nothing about topics.
    let (other, _) = stable_group(x, "other");
    x.ask(0, &deleting(&other, &a.name, &[0]));
}

fn topic_deleted(x: &mut Exchange) {
    let (a, b) = (x.topic("a", 1, &[]), x.topic("b", 1, &[]));
    let group = x.name("g");
    x.quietly(8, &commit(&group, &a, vec![part(0, 1, None)]));
    x.quietly(8, &commit(&group, &b, vec![part(0, 2, None)]));
    x.ask(5, &fetch_old(&group, None));
    x.quietly(5, &DeleteTopicsRequest { topic_names: vec![a.name.clone()], timeout_ms: 5000, ..Default::default() });
    x.ask_until(5, &fetch_old(&group, None), |answer| answer.topics.len() == 1);
}
