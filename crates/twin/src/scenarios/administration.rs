//! What an administrator asks of a node: its directory, its quorum, and what has settings.

use milena_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use milena_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use milena_protocol::messages::elect_leaders_request::TopicPartitions;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::{
    DescribeLogDirsRequest, DescribeQuorumRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest, UnregisterBrokerRequest,
};

use super::Scenario;
use super::requests::append;
use crate::batch::Batch;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "administration/log_dirs",
        shows: "the sizes of replicas, of some, of none and of those that are not there, at each version",
        traps: &[],
        play: log_dirs,
    },
    Scenario {
        name: "administration/quorum",
        shows: "the voters of the metadata log at each version, and partitions that have no quorum",
        traps: &[],
        play: quorum,
    },
    Scenario {
        name: "administration/elect_leaders",
        shows: "leaders that are the right ones already, partitions that are not there, unknown kinds",
        traps: &[],
        play: elect_leaders,
    },
    Scenario {
        name: "administration/unregister_broker",
        shows: "brokers that are not there",
        traps: &[],
        play: unregister_broker,
    },
    Scenario {
        name: "administration/config_resources",
        shows: "names by type, of all types, and types that are not there",
        traps: &[],
        play: config_resources,
    },
];

fn log_dirs(x: &mut Exchange) {
    let [topic, other] = ["a", "b"].map(|name| x.topic(name, 2, &[]));
    append(x, &topic, &Batch::of(&["one", "two"]));
    append(x, &other, &Batch::of(&["three"]));
    let asked = |topic: &str, partitions: &[i32]| DescribableLogDirTopic {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
    };
    let missing = x.name("missing");
    for version in 1..=5 {
        let topics = vec![asked(&topic.name, &[0, 1]), asked(&other.name, &[1, 7, 1]), asked(&missing, &[0])];
        x.ask(version, &DescribeLogDirsRequest { topics: Some(topics) });
        x.ask(version, &DescribeLogDirsRequest { topics: Some(Vec::new()) });
    }
    x.only_mine().ask(5, &DescribeLogDirsRequest { topics: None });
}

fn quorum(x: &mut Exchange) {
    let asked = |topics: &[(&str, &[i32])]| DescribeQuorumRequest {
        topics: (topics.iter())
            .map(|(name, partitions)| TopicData {
                topic_name: (*name).to_owned(),
                partitions: partitions.iter().map(|index| PartitionData { partition_index: *index }).collect(),
            })
            .collect(),
    };
    const METADATA: &str = "__cluster_metadata";
    for version in 0..=2 {
        x.ask(version, &asked(&[(METADATA, &[0])]));
        x.ask(version, &asked(&[(METADATA, &[1])]));
    }
    let topic = x.topic("a", 1, &[]).name;
    for wrong in [vec![], vec![(METADATA, [].as_slice())], vec![(METADATA, &[0, 0])], vec![(&topic, &[0])]] {
        x.ask(2, &asked(&wrong));
    }
    x.ask(2, &asked(&[(METADATA, &[0]), (&topic, &[0])]));
}

fn elect_leaders(x: &mut Exchange) {
    let (topic, missing) = (x.topic("a", 2, &[]).name, x.name("missing"));
    let asked =
        |topic: &str, partitions: &[i32]| TopicPartitions { topic: topic.to_owned(), partitions: partitions.to_vec() };
    let named = |election_type| ElectLeadersRequest {
        election_type,
        topic_partitions: Some(vec![asked(&topic, &[0, 1, 7, 0]), asked(&missing, &[0])]),
        ..Default::default()
    };
    x.ask(0, &named(0));
    for version in 1..=2 {
        for election_type in [0, 1, 2, -1] {
            x.ask(version, &named(election_type));
        }
    }
    x.ask(2, &ElectLeadersRequest { topic_partitions: Some(Vec::new()), ..Default::default() });
    let x = x.only_mine();
    for election_type in [0, 1, 2] {
        x.ask(2, &ElectLeadersRequest { election_type, topic_partitions: None, ..Default::default() });
    }
}

fn unregister_broker(x: &mut Exchange) {
    for broker_id in [7, 0, -1, i32::MIN, i32::MAX] {
        x.ask(0, &UnregisterBrokerRequest { broker_id });
    }
}

fn config_resources(x: &mut Exchange) {
    let (topic, subscription, group) = (x.topic("a", 1, &[]).name, x.name("s"), x.name("g"));
    let set = |resource_type, resource_name: &str, name: &str, value: &str| AlterConfigsResource {
        resource_type,
        resource_name: resource_name.to_owned(),
        configs: vec![AlterableConfig { name: name.to_owned(), value: Some(value.to_owned()), ..Default::default() }],
    };
    let resources = vec![
        set(2, &topic, "retention.ms", "7"),
        set(16, &subscription, "interval.ms", "60000"),
        set(32, &group, "consumer.heartbeat.interval.ms", "1000"),
    ];
    x.ask(1, &IncrementalAlterConfigsRequest { resources, ..Default::default() });
    for types in [&[4][..], &[8], &[4, 8, 4], &[99], &[2, 0], &[-1]] {
        x.ask(1, &ListConfigResourcesRequest { resource_types: types.to_vec() });
    }
    let x = x.only_mine();
    x.ask(0, &ListConfigResourcesRequest::default());
    for types in [&[][..], &[2], &[16], &[32], &[16, 32, 16]] {
        x.ask(1, &ListConfigResourcesRequest { resource_types: types.to_vec() });
    }
}
