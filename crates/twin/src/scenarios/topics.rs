//! Topics come, grow and go: CreateTopics, DeleteTopics, CreatePartitions.

use milena_protocol::Uuid;
use milena_protocol::messages::CreateTopicsRequest;
use milena_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};

use super::Scenario;
use super::requests::{configured, create, metadata_of, new_topic, placed};
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "topics/create_every_version",
        shows: "a topic created at each version: id from 7, configs from 5",
        traps: &[28],
        play: create_every_version,
    },
    Scenario {
        name: "topics/create_refused",
        shows: "names, counts and factors that cannot be, at the oldest and the newest version",
        traps: &[21, 172],
        play: create_refused,
    },
    Scenario {
        name: "topics/create_existing",
        shows: "a topic that is there already, and a name that collides with one in metrics",
        traps: &[21, 172],
        play: create_existing,
    },
    Scenario {
        name: "topics/create_twice_in_a_request",
        shows: "the same name twice in a request is refused, other topics are created",
        traps: &[170],
        play: create_twice_in_a_request,
    },
    Scenario {
        name: "topics/create_placed",
        shows: "replicas placed by the client, rightly and wrongly",
        traps: &[169],
        play: create_placed,
    },
    Scenario {
        name: "topics/create_configured",
        shows: "settings, effective ones in the answer, unknown and invalid ones",
        traps: &[28],
        play: create_configured,
    },
    Scenario {
        name: "topics/create_validate_only",
        shows: "a check creates nothing and finds what a creation finds",
        traps: &[171],
        play: create_validate_only,
    },
    Scenario {
        name: "topics/create_order_of_checks",
        shows: "which error is told when there are several",
        traps: &[172],
        play: create_order_of_checks,
    },
    Scenario { name: "topics/create_nothing", shows: "an empty request", traps: &[], play: create_nothing },
    Scenario {
        name: "topics/delete_by_name",
        shows: "deletion by name at each version that has names alone, and of what is not there",
        traps: &[177],
        play: delete_by_name,
    },
    Scenario {
        name: "topics/delete_by_id",
        shows: "deletion by id and name in version 6, also of what is unknown or named doubly",
        traps: &[177],
        play: delete_by_id,
    },
    Scenario {
        name: "topics/delete_and_create_again",
        shows: "a name can be used again at once, with a new id",
        traps: &[177],
        play: delete_and_create_again,
    },
    Scenario { name: "topics/grow", shows: "more partitions, at each version", traps: &[], play: grow },
    Scenario {
        name: "topics/grow_refused",
        shows: "as many, fewer, unknown topics, wrong assignments, the same topic twice",
        traps: &[],
        play: grow_refused,
    },
];

fn create_every_version(x: &mut Exchange) {
    for version in 2..=7 {
        let name = x.name(&format!("v{version}"));
        x.ask(version, &create(vec![new_topic(&name, 2, 1)]));
    }
    for version in [4, 7] {
        let name = x.name(&format!("defaults-v{version}"));
        x.ask(version, &create(vec![new_topic(&name, -1, -1)]));
        x.wait_for_topic(&name, 2);
        x.ask(9, &metadata_of(&[&name]));
    }
    let several = ["one", "two", "three"].map(|suffix| new_topic(&x.name(suffix), 1, 1));
    x.ask(7, &create(several.to_vec()));
}

fn create_refused(x: &mut Exchange) {
    let (name, long) = (x.name("a"), "n".repeat(250));
    for version in [2, 7] {
        for bad in ["", ".", "..", "sp ace", "sl/ash", "ünïcödé", &long] {
            x.ask(version, &create(vec![new_topic(bad, 1, 1)]));
        }
        for (partitions, factor) in [(0, 1), (-2, 1), (1, 0), (1, -2), (1, 2), (1, 3), (1, i16::MAX), (0, 0)] {
            x.ask(version, &create(vec![new_topic(&name, partitions, factor)]));
        }
    }
    // Internal topics are made by brokers, but may be asked for.
    x.ask(7, &create(vec![new_topic("__cluster_metadata", 1, 1)]));
}

fn create_existing(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for version in [2, 5, 7] {
        x.ask(version, &create(vec![new_topic(&topic.name, 1, 1)]));
    }
    x.ask(7, &create(vec![new_topic(&topic.name, 5, 9)]));
    // `.` and `_` are one character in names of metrics.
    let (dotted, underscored) = (x.name("col.lide"), x.name("col_lide"));
    x.ask(7, &create(vec![new_topic(&dotted, 1, 1)]));
    x.ask(7, &create(vec![new_topic(&underscored, 1, 1)]));
    let (dotted, underscored) = (x.name("at.once"), x.name("at_once"));
    x.ask(7, &create(vec![new_topic(&dotted, 1, 1), new_topic(&underscored, 1, 1)]));
}

fn create_twice_in_a_request(x: &mut Exchange) {
    let (a, b) = (x.name("a"), x.name("b"));
    for version in [2, 7] {
        x.ask(version, &create(vec![new_topic(&a, 1, 1), new_topic(&b, 1, 1), new_topic(&a, 2, 1)]));
    }
    x.ask(9, &metadata_of(&[&a]));
}

fn create_placed(x: &mut Exchange) {
    let mut ask = |suffix: &str, partitions: &[(i32, &[i32])], counts: (i32, i16)| {
        let name = x.name(suffix);
        let mut topic = placed(&name, partitions);
        (topic.num_partitions, topic.replication_factor) = counts;
        x.ask(7, &create(vec![topic]));
    };
    ask("good", &[(0, &[1]), (1, &[1])], (-1, -1));
    ask("reversed", &[(1, &[1]), (0, &[1])], (-1, -1));
    ask("counted", &[(0, &[1])], (1, -1));
    ask("factored", &[(0, &[1])], (-1, 1));
    ask("gap", &[(0, &[1]), (2, &[1])], (-1, -1));
    ask("late", &[(1, &[1])], (-1, -1));
    ask("negative", &[(-1, &[1])], (-1, -1));
    ask("twice", &[(0, &[1]), (0, &[1])], (-1, -1));
    ask("nobody", &[(0, &[])], (-1, -1));
    ask("stranger", &[(0, &[7])], (-1, -1));
    ask("same-broker", &[(0, &[1, 1])], (-1, -1));
    ask("unequal", &[(0, &[1]), (1, &[1, 7])], (-1, -1));
}

fn create_configured(x: &mut Exchange) {
    let mut ask = |suffix: &str, versions: &[i16], configs: &[(&str, Option<&str>)]| {
        for version in versions {
            let name = x.name(&format!("{suffix}-v{version}"));
            x.ask(*version, &create(vec![configured(new_topic(&name, 1, 1), configs)]));
        }
    };
    ask("good", &[4, 7], &[("retention.ms", Some("1000")), ("cleanup.policy", Some("compact,delete"))]);
    ask("spaces", &[7], &[("retention.ms", Some(" 1000 "))]);
    ask("unknown", &[2, 7], &[("no.such.setting", Some("1"))]);
    ask("word", &[2, 7], &[("retention.ms", Some("soon"))]);
    ask("range", &[7], &[("segment.bytes", Some("1"))]);
    ask("negative", &[7], &[("retention.ms", Some("-2"))]);
    ask("choice", &[7], &[("cleanup.policy", Some("burn"))]);
    ask("case", &[7], &[("cleanup.policy", Some("Compact"))]);
    ask("null", &[7], &[("retention.ms", None)]);
    ask("empty", &[7], &[("retention.ms", Some(""))]);
    ask("empty-list", &[7], &[("cleanup.policy", Some(""))]);
    ask("truth", &[7], &[("preallocate", Some("yes"))]);
    ask("truth-case", &[7], &[("preallocate", Some("TRUE"))]);
    ask("ratio", &[7], &[("min.cleanable.dirty.ratio", Some("1.5"))]);
    ask("compression", &[7], &[("compression.type", Some("brotli"))]);
    ask("level", &[7], &[("compression.gzip.level", Some("99"))]);
    ask("together", &[7], &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))]);
    ask("local-retention", &[7], &[("retention.ms", Some("10")), ("local.retention.ms", Some("20"))]);
    ask("remote", &[7], &[("remote.storage.enable", Some("true"))]);
    ask("twice", &[7], &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]);
    ask("format", &[7], &[("message.format.version", Some("2.8"))]);
}

fn create_validate_only(x: &mut Exchange) {
    let name = x.name("a");
    let check = |topic| CreateTopicsRequest { validate_only: true, ..create(vec![topic]) };
    for version in [2, 5, 7] {
        x.ask(version, &check(new_topic(&name, 3, 1)));
        x.ask(version, &check(new_topic(&name, 3, 2)));
        x.ask(version, &check(new_topic("sp ace", 1, 1)));
        x.ask(version, &check(configured(new_topic(&name, 1, 1), &[("retention.ms", Some("x"))])));
    }
    x.ask(9, &metadata_of(&[&name]));
}

fn create_order_of_checks(x: &mut Exchange) {
    let there = x.topic("there", 1, &[]).name;
    let bad_config = [("retention.ms", Some("x"))];
    let name = x.name("a");
    x.ask(7, &create(vec![configured(new_topic("sp ace", 0, 9), &bad_config)]));
    x.ask(7, &create(vec![configured(new_topic(&there, 0, 9), &bad_config)]));
    x.ask(7, &create(vec![configured(new_topic(&name, 0, 9), &bad_config)]));
    x.ask(7, &create(vec![new_topic(&name, 0, 9)]));
    x.ask(7, &create(vec![new_topic("sp ace", 1, 1), new_topic("sp ace", 1, 1)]));
    x.ask(7, &create(vec![new_topic(&there, 1, 1), new_topic(&there, 1, 1)]));
    let mut both = placed(&name, &[(0, &[1])]);
    (both.num_partitions, both.replication_factor) = (0, 0);
    x.ask(7, &create(vec![both]));
}

fn create_nothing(x: &mut Exchange) {
    x.ask_ends(&create(Vec::new()));
    let name = x.name("hurried");
    // A time limit of zero or less still answers; the topic may come.
    x.ask_until(7, &CreateTopicsRequest { timeout_ms: 5000, ..create(vec![new_topic(&name, 1, 1)]) }, |answer| {
        answer.topics[0].error_code == 36
    });
}

fn names(names: &[&str]) -> DeleteTopicsRequest {
    DeleteTopicsRequest {
        topic_names: names.iter().map(|name| (*name).to_owned()).collect(),
        timeout_ms: 5000,
        ..DeleteTopicsRequest::default()
    }
}

fn states(states: &[(Option<&str>, Uuid)]) -> DeleteTopicsRequest {
    let state = |(name, id): &(Option<&str>, Uuid)| DeleteTopicState { name: name.map(str::to_owned), topic_id: *id };
    DeleteTopicsRequest {
        topics: states.iter().map(state).collect(),
        timeout_ms: 5000,
        ..DeleteTopicsRequest::default()
    }
}

fn delete_by_name(x: &mut Exchange) {
    for version in 1..=5 {
        let name = x.topic(&format!("v{version}"), 1, &[]).name;
        x.ask(version, &names(&[&name]));
        x.ask(version, &names(&[&name]));
    }
    let (a, b, none) = (x.topic("a", 1, &[]).name, x.topic("b", 1, &[]).name, x.name("none"));
    x.ask(5, &names(&[&a, &none, &b]));
    let twice = x.topic("twice", 1, &[]).name;
    x.ask(5, &names(&[&twice, &twice]));
    for bad in ["", "sp ace", ".."] {
        x.ask(5, &names(&[bad]));
    }
    x.ask(1, &names(&[]));
    x.ask(5, &names(&[]));
}

fn delete_by_id(x: &mut Exchange) {
    let (a, b, c) = (x.topic("a", 1, &[]), x.topic("b", 1, &[]), x.topic("c", 1, &[]));
    let none = x.name("none");
    x.ask(6, &states(&[(None, Uuid([6; 16])), (None, Uuid::ZERO), (Some(&none), Uuid::ZERO)]));
    x.ask(6, &states(&[(Some(&a.name), a.id)]));
    x.ask(6, &states(&[(Some(&a.name), b.id)]));
    x.ask(6, &states(&[(Some(&c.name), Uuid::ZERO), (None, c.id)]));
    x.ask(6, &states(&[(None, b.id), (None, b.id)]));
    x.ask(6, &states(&[(None, a.id), (Some(&b.name), Uuid::ZERO)]));
    x.ask(6, &states(&[(None, a.id)]));
    x.ask(6, &states(&[(Some("sp ace"), Uuid::ZERO)]));
    x.ask(6, &states(&[]));
}

fn delete_and_create_again(x: &mut Exchange) {
    let old = x.topic("a", 3, &[("retention.ms", "5000")]);
    x.ask(5, &names(&[&old.name]));
    x.ask(7, &create(vec![new_topic(&old.name, 1, 1)]));
    x.wait_for_topic(&old.name, 1);
    x.ask(12, &metadata_of(&[&old.name]));
    x.ask(6, &states(&[(None, old.id)]));
}

fn growth(topic: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let place = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
    let assignments = assignments.map(|all| all.iter().map(place).collect());
    CreatePartitionsTopic { name: topic.to_owned(), count, assignments }
}

fn grown(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest { topics, timeout_ms: 5000, validate_only: false }
}

fn grow(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for version in 0..=3 {
        x.ask(version, &grown(vec![growth(&topic.name, i32::from(version) + 2, None)]));
    }
    x.ask(3, &grown(vec![growth(&topic.name, 7, Some(&[&[1], &[1]]))]));
    x.wait_for_topic(&topic.name, 7);
    x.ask(9, &metadata_of(&[&topic.name]));
    x.ask(3, &CreatePartitionsRequest { validate_only: true, ..grown(vec![growth(&topic.name, 9, None)]) });
    x.ask(9, &metadata_of(&[&topic.name]));
    let (b, c) = (x.topic("b", 1, &[]).name, x.topic("c", 1, &[]).name);
    x.ask(3, &grown(vec![growth(&b, 2, None), growth(&c, 3, None)]));
}

fn grow_refused(x: &mut Exchange) {
    let (a, b, none) = (x.topic("a", 2, &[]).name, x.topic("b", 2, &[]).name, x.name("none"));
    for version in [0, 3] {
        for count in [2, 1, 0, -1] {
            x.ask(version, &grown(vec![growth(&a, count, None)]));
        }
        x.ask(version, &grown(vec![growth(&none, 3, None)]));
        x.ask(version, &grown(vec![growth("sp ace", 3, None)]));
        x.ask(version, &grown(vec![growth("", 3, None)]));
    }
    x.ask(3, &grown(vec![growth(&a, 3, Some(&[]))]));
    x.ask(3, &grown(vec![growth(&a, 3, Some(&[&[1], &[1]]))]));
    x.ask(3, &grown(vec![growth(&a, 4, Some(&[&[1]]))]));
    x.ask(3, &grown(vec![growth(&a, 3, Some(&[&[]]))]));
    x.ask(3, &grown(vec![growth(&a, 3, Some(&[&[7]]))]));
    x.ask(3, &grown(vec![growth(&a, 3, Some(&[&[1, 1]]))]));
    x.ask(3, &grown(vec![growth(&a, 3, Some(&[&[1, 2]]))]));
    x.ask(3, &grown(vec![growth(&a, 3, None), growth(&a, 4, None), growth(&b, 3, None)]));
    x.ask(3, &grown(Vec::new()));
    x.ask(9, &metadata_of(&[&a]));
}
