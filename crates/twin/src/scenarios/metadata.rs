//! Brokers, topics and leaders: Metadata, DescribeTopicPartitions, DescribeCluster.

use milena_protocol::Uuid;
use milena_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::messages::{DeleteTopicsRequest, DescribeClusterRequest};

use super::Scenario;
use super::requests::{metadata_by_id, metadata_of};
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "metadata/every_version",
        shows: "one topic at each version",
        traps: &[15, 20],
        play: every_version,
    },
    Scenario {
        name: "metadata/all_and_none",
        shows: "an empty list means all topics in version 0 and none from 1 on, where null means all",
        traps: &[14],
        play: all_and_none,
    },
    Scenario {
        name: "metadata/unknown_topics",
        shows: "names and ids that do not exist, without creation",
        traps: &[],
        play: unknown_topics,
    },
    Scenario {
        name: "metadata/invalid_names",
        shows: "names that no topic can have",
        traps: &[21],
        play: invalid_names,
    },
    Scenario {
        name: "metadata/names_and_ids",
        shows: "by id, by name, by both, by neither, and the same twice",
        traps: &[],
        play: names_and_ids,
    },
    Scenario {
        name: "metadata/auto_create",
        shows: "an unknown name is answered as unknown, and then it is there",
        traps: &[18],
        play: auto_create,
    },
    Scenario {
        name: "metadata/auto_create_not_allowed",
        shows: "names that may not be created: invalid ones, and where the request does not allow it",
        traps: &[18],
        play: auto_create_not_allowed,
    },
    Scenario {
        name: "metadata/authorized_operations",
        shows: "operations are listed only when asked for, and are the smallest number otherwise",
        traps: &[20],
        play: authorized_operations,
    },
    Scenario {
        name: "metadata/deleted_topic",
        shows: "a deleted topic is unknown by name and by id",
        traps: &[177],
        play: deleted_topic,
    },
    Scenario {
        name: "metadata/describe_topic_partitions",
        shows: "topics in the order of their names, a limit, and a cursor while more remains",
        traps: &[23],
        play: describe_topic_partitions,
    },
    Scenario {
        name: "metadata/describe_topic_partitions_errors",
        shows: "unknown topics, invalid names, cursors that point nowhere",
        traps: &[23],
        play: describe_topic_partitions_errors,
    },
    Scenario {
        name: "metadata/describe_cluster",
        shows: "brokers and cluster at each version; a broker does not describe controllers",
        traps: &[15],
        play: describe_cluster,
    },
];

fn every_version(x: &mut Exchange) {
    let topic = x.topic("a", 3, &[]);
    for version in 0..=13 {
        x.ask(version, &MetadataRequest { allow_auto_topic_creation: version < 4, ..metadata_of(&[&topic.name]) });
    }
}

fn all_and_none(x: &mut Exchange) {
    x.topic("b", 1, &[]);
    x.topic("a", 2, &[]);
    x.only_mine();
    x.ask(0, &MetadataRequest::default());
    x.ask(1, &MetadataRequest::default());
    x.ask(1, &MetadataRequest { topics: None, ..MetadataRequest::default() });
    for version in [4, 9, 12, 13] {
        x.ask(version, &metadata_of(&[]));
        x.ask(
            version,
            &MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() },
        );
    }
}

fn unknown_topics(x: &mut Exchange) {
    let known = x.topic("a", 1, &[]);
    let unknown = x.name("none");
    for version in [4, 5, 9, 10, 12, 13] {
        x.ask(version, &metadata_of(&[&unknown, &known.name]));
    }
    for version in [12, 13] {
        x.ask(version, &metadata_by_id(&[Uuid([9; 16]), known.id]));
    }
}

fn invalid_names(x: &mut Exchange) {
    let long = "n".repeat(250);
    for name in ["", ".", "..", "sp ace", "sl/ash", "ünïcödé", "col:on", &long] {
        x.ask(8, &metadata_of(&[name]));
        x.ask(12, &metadata_of(&[name]));
    }
    let longest = "n".repeat(249);
    x.ask(12, &metadata_of(&[&longest]));
}

fn names_and_ids(x: &mut Exchange) {
    let (a, b) = (x.topic("a", 1, &[]), x.topic("b", 1, &[]));
    let one = |topic_id, name: Option<&str>| MetadataRequestTopic { topic_id, name: name.map(str::to_owned) };
    let mut ask = |topics: Vec<MetadataRequestTopic>, versions: &[i16]| {
        for version in versions {
            let request = MetadataRequest {
                topics: Some(topics.clone()),
                allow_auto_topic_creation: false,
                ..MetadataRequest::default()
            };
            x.ask(*version, &request);
        }
    };
    ask(vec![one(a.id, None)], &[12, 13]);
    ask(vec![one(a.id, None), one(b.id, None)], &[12]);
    ask(vec![one(a.id, Some(&a.name))], &[12]);
    ask(vec![one(a.id, Some(&b.name))], &[12]);
    ask(vec![one(Uuid::ZERO, None)], &[12]);
    ask(vec![one(a.id, None), one(Uuid::ZERO, Some(&b.name))], &[12]);
    ask(vec![one(a.id, Some(&a.name))], &[10, 11]);
    ask(vec![one(Uuid::ZERO, Some(&a.name)), one(Uuid::ZERO, Some(&a.name))], &[9, 12]);
    ask(vec![one(a.id, None), one(a.id, None)], &[12]);
}

fn auto_create(x: &mut Exchange) {
    for (suffix, version) in [("a", 0), ("b", 4), ("c", 12)] {
        let name = x.name(suffix);
        let request = MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&[&name]) };
        x.ask(version, &request);
        x.ask_until(version, &request, |answer| answer.topics[0].error_code == 0);
    }
    let (d, e) = (x.name("d"), x.name("e"));
    let request = MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&[&d, &e]) };
    x.ask(9, &request);
    x.ask_until(9, &request, |answer| answer.topics.iter().all(|topic| topic.error_code == 0));
}

fn auto_create_not_allowed(x: &mut Exchange) {
    let name = x.name("a");
    x.ask(9, &metadata_of(&[&name]));
    x.pause(300);
    x.ask(9, &metadata_of(&[&name]));
    let allowed = |names: &[&str]| MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(names) };
    for invalid in ["", "..", "sp ace"] {
        x.ask(9, &allowed(&[invalid]));
    }
    // By id there is nothing to be created.
    x.ask(12, &MetadataRequest { allow_auto_topic_creation: true, ..metadata_by_id(&[Uuid([8; 16])]) });
}

fn authorized_operations(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let base = metadata_of(&[&topic.name]);
    let with_topics = MetadataRequest { include_topic_authorized_operations: true, ..base.clone() };
    let with_both = MetadataRequest { include_cluster_authorized_operations: true, ..with_topics.clone() };
    x.ask(8, &base);
    x.ask(8, &with_both);
    x.ask(10, &with_both);
    x.ask(11, &with_topics);
    x.ask(13, &with_topics);
    let cluster =
        DescribeClusterRequest { include_cluster_authorized_operations: true, ..DescribeClusterRequest::default() };
    x.ask(0, &cluster);
    x.ask(2, &cluster);
}

fn deleted_topic(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let delete = DeleteTopicsRequest { topic_names: vec![topic.name.clone()], timeout_ms: 5000, ..Default::default() };
    x.quietly(5, &delete);
    x.ask_until(12, &metadata_of(&[&topic.name]), |answer| answer.topics[0].error_code == 3);
    x.ask(12, &metadata_by_id(&[topic.id]));
    let again = x.topic("a", 2, &[]);
    x.ask(12, &metadata_of(&[&again.name]));
    x.ask(12, &metadata_by_id(&[topic.id, again.id]));
}

fn describe(names: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, index)| Cursor { topic_name: name.to_owned(), partition_index: index }),
    }
}

fn describe_topic_partitions(x: &mut Exchange) {
    let (b, a) = (x.topic("b", 3, &[]).name, x.topic("a", 3, &[]).name);
    x.ask(0, &describe(&[&b, &a], 2000, None));
    x.ask(0, &describe(&[&b, &a, &a], 2, None));
    x.ask(0, &describe(&[&b, &a], 2, Some((&a, 2))));
    x.ask(0, &describe(&[&b, &a], 3, None));
    x.ask(0, &describe(&[&b, &a], 6, None));
    x.ask(0, &describe(&[&b, &a], 2000, Some((&b, 1))));
    x.ask(0, &describe(&[&b], 0, None));
    x.ask(0, &describe(&[&b], -1, None));
    x.only_mine();
    x.ask(0, &describe(&[], 2000, None));
}

fn describe_topic_partitions_errors(x: &mut Exchange) {
    let (a, none) = (x.topic("a", 2, &[]).name, x.name("none"));
    x.ask(0, &describe(&[&none], 2000, None));
    x.ask(0, &describe(&[&none, &a], 1, None));
    x.ask(0, &describe(&["sp ace"], 2000, None));
    x.ask(0, &describe(&[""], 2000, None));
    x.ask(0, &describe(&[&a], 2000, Some((&a, -1))));
    x.ask(0, &describe(&[&a], 2000, Some((&a, 2))));
    x.ask(0, &describe(&[&a], 2000, Some((&none, 0))));
    x.ask(0, &describe(&[&a], 2000, Some(("", 0))));
}

fn describe_cluster(x: &mut Exchange) {
    for version in 0..=2 {
        x.ask(version, &DescribeClusterRequest::default());
    }
    for endpoint_type in [0, 2, 3] {
        x.ask(1, &DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() });
    }
    x.ask(2, &DescribeClusterRequest { include_fenced_brokers: true, ..DescribeClusterRequest::default() });
}
