//! What an administrator asks of a node: its directory, its quorum, and what has settings.

use milena_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use milena_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use milena_protocol::messages::create_acls_request::AclCreation;
use milena_protocol::messages::delete_acls_request::DeleteAclsFilter;
use milena_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use milena_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use milena_protocol::messages::elect_leaders_request::TopicPartitions;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use milena_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, CreateAclsRequest, DeleteAclsRequest,
    DescribeAclsRequest, DescribeLogDirsRequest, DescribeQuorumRequest, ElectLeadersRequest,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest, ListPartitionReassignmentsRequest,
    UnregisterBrokerRequest,
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
        name: "administration/alter_log_dirs",
        shows: "replicas that are where they shall be, that are not there, directories that are not there",
        traps: &[],
        play: alter_log_dirs,
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
        name: "administration/reassignments",
        shows: "replicas that stay, that are not there, too many and none; moves that are not under way; the list of them",
        traps: &[],
        play: reassignments,
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
    Scenario {
        name: "administration/acls_without_authorizer",
        shows: "rules that are looked for, made and removed where nobody keeps any, each for itself; elements that nobody knows",
        traps: &[],
        play: acls_without_authorizer,
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

fn alter_log_dirs(x: &mut Exchange) {
    let (topic, missing) = (x.topic("a", 2, &[]).name, x.name("missing"));
    // Too long for the name of the directory that a copy would have, but not for a topic.
    let long = x.name(&"l".repeat(200));
    let described = x.quietly(4, &DescribeLogDirsRequest { topics: Some(Vec::new()) }).unwrap_or_default();
    let own = described.results.first().map(|result| result.log_dir.clone()).unwrap_or_default();
    let asked = |name: &str, partitions: &[i32]| AlterReplicaLogDirTopic {
        name: name.to_owned(),
        partitions: partitions.to_vec(),
    };
    let to = |path: &str, topics: Vec<AlterReplicaLogDirTopic>| AlterReplicaLogDir { path: path.to_owned(), topics };
    let all = || vec![asked(&topic, &[0, 1, 7, -1, 0]), asked(&missing, &[0]), asked(&long, &[0]), asked("", &[0])];
    for version in 1..=2 {
        x.ask(version, &AlterReplicaLogDirsRequest { dirs: vec![to(&own, all())] });
        x.ask(version, &AlterReplicaLogDirsRequest { dirs: vec![to("/nowhere", all())] });
        // What is asked last counts.
        for paths in [[own.as_str(), "/nowhere"], ["/nowhere", &own]] {
            let dirs = paths.iter().map(|path| to(path, vec![asked(&topic, &[0])])).collect();
            x.ask(version, &AlterReplicaLogDirsRequest { dirs });
        }
        x.ask(
            version,
            &AlterReplicaLogDirsRequest { dirs: vec![to(&own, Vec::new()), to("", vec![asked(&topic, &[1])])] },
        );
        x.ask(version, &AlterReplicaLogDirsRequest { dirs: Vec::new() });
    }
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

fn reassignments(x: &mut Exchange) {
    let (topic, other, missing) = (x.topic("a", 3, &[]).name, x.topic("b", 1, &[]).name, x.name("missing"));
    let to = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
        partition_index,
        replicas: replicas.map(<[i32]>::to_vec),
    };
    let move_all = |topics: &[(&str, Vec<ReassignablePartition>)]| AlterPartitionReassignmentsRequest {
        topics: (topics.iter())
            .map(|(name, partitions)| ReassignableTopic { name: (*name).to_owned(), partitions: partitions.clone() })
            .collect(),
        ..Default::default()
    };
    let several = move_all(&[
        (&topic, vec![to(0, Some(&[1])), to(1, None), to(2, Some(&[])), to(7, Some(&[1])), to(0, Some(&[1, 1]))]),
        (&missing, vec![to(0, Some(&[1])), to(0, None)]),
        (&other, vec![to(0, Some(&[1, 7])), to(0, Some(&[-1])), to(0, Some(&[7, 1, 7]))]),
        (&topic, vec![to(0, None)]),
        ("", vec![to(0, None)]),
    ]);
    for version in 0..=1 {
        x.ask(version, &several);
        x.ask(version, &move_all(&[]));
        x.ask(version, &move_all(&[(&topic, Vec::new())]));
    }
    let strict = |replicas: &[i32]| AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: false,
        ..move_all(&[(&topic, vec![to(0, Some(replicas)), to(1, None)])])
    };
    for replicas in [[1].as_slice(), &[], &[7], &[1, 7], &[7, 8]] {
        x.ask(1, &strict(replicas));
    }
    x.ask(1, &AlterPartitionReassignmentsRequest { allow_replication_factor_change: false, ..move_all(&[]) });
    x.ask(12, &super::requests::metadata_of(&[&topic]));
    let listed = |name: &str, indexes: &[i32]| ListPartitionReassignmentsTopics {
        name: name.to_owned(),
        partition_indexes: indexes.to_vec(),
    };
    let topics = vec![listed(&topic, &[0, 1, 7]), listed(&missing, &[0]), listed(&topic, &[])];
    for topics in [None, Some(Vec::new()), Some(topics)] {
        x.ask(0, &ListPartitionReassignmentsRequest { topics, ..Default::default() });
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

/// On a topic: read, allowed.
fn rule(resource_type: i8, name: &str, pattern: i8, operation: i8, permission_type: i8) -> AclCreation {
    AclCreation {
        resource_type,
        resource_name: name.to_owned(),
        resource_pattern_type: pattern,
        principal: "User:ann".to_owned(),
        host: "*".to_owned(),
        operation,
        permission_type,
    }
}

fn acls_without_authorizer(x: &mut Exchange) {
    let creation = |of: [i8; 4]| rule(of[0], "t", of[1], of[2], of[3]);
    let filter = |of: [i8; 4]| DeleteAclsFilter {
        resource_type_filter: of[0],
        resource_name_filter: None,
        pattern_type_filter: of[1],
        principal_filter: None,
        host_filter: None,
        operation: of[2],
        permission_type: of[3],
    };
    let describe = |of: [i8; 4]| {
        let DeleteAclsFilter { resource_type_filter, pattern_type_filter, operation, permission_type, .. } = filter(of);
        DescribeAclsRequest {
            resource_type_filter,
            pattern_type_filter,
            operation,
            permission_type,
            ..Default::default()
        }
    };
    // A topic, literal, read, allow; then any of each; then what nobody has a name for; then what fits nothing.
    let readable = [[2, 3, 3, 3], [1, 1, 1, 1], [99, 99, 99, 99], [-1, -1, -1, -1], [2, 1, 1, 1], [2, 2, 2, 2]];
    for version in 1..=3 {
        for elements in readable {
            x.ask(version, &describe(elements));
        }
        x.ask(version, &CreateAclsRequest { creations: readable.map(creation).to_vec() });
        x.ask(version, &CreateAclsRequest { creations: vec![rule(4, "no cluster", 3, 3, 3), rule(2, "", 3, 3, 3)] });
        x.ask(version, &DeleteAclsRequest { filters: readable.map(filter).to_vec() });
        x.ask(version, &CreateAclsRequest::default());
        x.ask(version, &DeleteAclsRequest::default());
    }
    for unknown in 0..4 {
        let mut elements = [2, 3, 3, 3];
        elements[unknown] = 0;
        x.ask(3, &describe(elements));
        x.ask(3, &CreateAclsRequest { creations: vec![creation([2, 3, 3, 3]), creation(elements)] });
        x.ask(3, &DeleteAclsRequest { filters: vec![filter([2, 3, 3, 3]), filter(elements)] });
    }
}
