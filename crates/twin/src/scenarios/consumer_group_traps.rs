//! Consumer groups of KIP-848 where they are about expressions, offsets, time and settings.

use milena_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use milena_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, OffsetCommitRequest};

use super::Scenario;
use super::consumer_groups::{NEW, assignor, beat, beats, instance, joins, member_epoch, owning, settled, shown};
use super::offsets::{commit, fetch_new, fetch_old, of_group, part};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumer_groups/trap_136_expressions",
        shows: "an expression matches whole names, and again when topics come",
        traps: &[136],
        play: expressions,
    },
    Scenario {
        name: "consumer_groups/trap_136_syntax",
        shows: "what RE2 knows and what it does not",
        traps: &[136],
        play: syntax,
    },
    Scenario {
        name: "consumer_groups/trap_136_expressions_change",
        shows: "another expression, names beside it, none any more, and those that are none",
        traps: &[136],
        play: expressions_change,
    },
    Scenario {
        name: "consumer_groups/trap_137_commits",
        shows: "members commit in their epoch, in an older one what they had then, strangers nothing",
        traps: &[137],
        play: commits,
    },
    Scenario {
        name: "consumer_groups/trap_137_fetches",
        shows: "offsets are told to members in their epoch, and to whoever names no member",
        traps: &[137],
        play: fetches,
    },
    Scenario {
        name: "consumer_groups/offset_delete",
        shows: "offsets of topics that a member subscribes to stay",
        traps: &[125],
        play: offset_delete,
    },
    Scenario {
        name: "consumer_groups/settings",
        shows: "settings of a group: told, refused, and in force at once",
        traps: &[],
        play: settings,
    },
    Scenario {
        name: "consumer_groups/assignment_interval",
        shows: "a target that has just been made stays for the interval of the group",
        traps: &[],
        play: assignment_interval,
    },
    Scenario {
        name: "consumer_groups/session_ends",
        shows: "a silent member is gone, a static one that is away too",
        traps: &[134],
        play: session_ends,
    },
    Scenario {
        name: "consumer_groups/rebalance_timeout_ends",
        shows: "a member that does not give back in time is gone",
        traps: &[135],
        play: rebalance_timeout_ends,
    },
];

pub(super) fn by_regex(expression: &str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some(expression.to_owned()), ..request }
}

/// A name as a part of an expression.
pub(super) fn quoted(name: &str) -> String {
    name.replace('.', "[.]")
}

pub(super) fn nameless(group: &str, member: &str, expression: &str) -> ConsumerGroupHeartbeatRequest {
    let request = by_regex(expression, joins(group, member, &[]));
    ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..request }
}

fn expressions(x: &mut Exchange) {
    x.topic("t-1", 1, &[]);
    x.topic("t-10", 2, &[]);
    let group = x.name("g");
    let joined = beat(x, &nameless(&group, "m", &quoted(&x.name("t-[0-9]"))));
    settled(x, &group, "m", joined.member_epoch);
    shown(x, &group);
    // Nobody else has to wait for the same one.
    beat(x, &nameless(&group, "n", &quoted(&x.name("t-[0-9]"))));
    shown(x, &group);
    beat(x, &beats(&group, "n", -1));
    shown(x, &group);
    x.ask(0, &joins(&group, "old", &[]));
}

fn syntax(x: &mut Exchange) {
    const EXPRESSIONS: &[&str] = &[
        "(",
        "a)(b",
        "[",
        "*",
        "a**",
        "a*+",
        "a*?",
        "a*??",
        "a+?*",
        "(?=a)",
        r"(a)\1",
        "a{,2}{3}{",
        "x{2}{3}",
        "a{1000}",
        "a{1001}",
        "a{2,1}",
        "(a{1000}){2}",
        "a{",
        "a}",
        "{2}",
        "]",
        "[]a]",
        "[a[b]",
        "[[:alpha:]]",
        "[[:nothing:]]",
        "[b-a]",
        "[a&&b]",
        "[a--b]",
        "[a~~b]",
        r"[\d-z]",
        r"\Qa.b\Ec",
        r"\Qa",
        r"\E",
        r"\pL",
        r"\p{Greek}",
        r"\p{No}",
        r"\pX",
        r"\z",
        r"\Z",
        r"\C",
        r"\<",
        r"\h",
        r"\R",
        r"\0",
        r"\012",
        r"\12",
        r"\x41",
        r"\x{41}",
        r"\x{110000}",
        r"\u0041",
        r"\",
        "(?i)A",
        "(?x)a b",
        "(?u)a",
        "(?R)a",
        "(?U)a*",
        "(?i-s:a)",
        "(?P<n>a)",
        "(?<n>a)",
        "(?P<n>a)(?P<n>b)",
        "(?P=n)",
        "(?#a)",
        "(?",
        "(?i",
        "|",
        "a||b",
        "()",
        "^a$",
        r"\bfoo\B",
        "é",
    ];
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        let group = x.name(&number.to_string());
        beat(x, &nameless(&group, "m", expression));
    }
}

fn expressions_change(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    x.topic("u", 1, &[]);
    let joined = beat(x, &nameless(&group, "m", &quoted(&x.name("t"))));
    let epoch = settled(x, &group, "m", joined.member_epoch);
    shown(x, &group);
    // A name beside it.
    let mut request = owning(beats(&group, "m", epoch), &[(&topic, &[0])]);
    request.subscribed_topic_names = Some(vec![x.name("u")]);
    let epoch = beat(x, &request).member_epoch;
    shown(x, &group);
    // No expression any more.
    let epoch = beat(x, &by_regex("", beats(&group, "m", epoch))).member_epoch;
    shown(x, &group);
    beat(x, &owning(beats(&group, "m", epoch), &[]));
    shown(x, &group);
    let epoch = member_epoch(x, &group, "m");
    beat(x, &by_regex("(", beats(&group, "m", epoch)));
    shown(x, &group);
    // Neither names nor an expression.
    beat(x, &by_regex("", joins(&x.name("nothing"), "m", &[])));
    shown(x, &x.name("nothing"));
}

pub(super) fn as_member(request: OffsetCommitRequest, member: &str, epoch: i32) -> OffsetCommitRequest {
    OffsetCommitRequest { member_id: member.to_owned(), generation_id_or_member_epoch: epoch, ..request }
}

fn commits(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    let first = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    let both = || commit(&group, &topic, vec![part(0, 5, None), part(1, 6, None)]);
    for version in [2, 8, 9, 10] {
        x.ask(version, &as_member(both(), "m", first));
    }
    for version in [9, 10] {
        x.ask(version, &both());
        x.ask(version, &as_member(both(), "n", first));
        x.ask(version, &as_member(both(), "m", first + 1));
        x.ask(version, &as_member(both(), "m", first - 1));
        x.ask(version, &as_member(both(), "m", -1));
        x.ask(version, &as_member(both(), "", first));
    }
    x.ask(8, &as_member(both(), "n", first));
    // One of its partitions goes: at the old epoch it still commits what it had then.
    beat(x, &joins(&group, "n", &[&topic]));
    let told = beat(x, &owning(beats(&group, "m", first), &[(&topic, &[0, 1])]));
    x.ask(10, &as_member(both(), "m", first));
    let left = super::consumer_groups::partitions(&told);
    let second = beat(x, &owning(beats(&group, "m", first), &[(&topic, &left)])).member_epoch;
    let kept = |index: i32| commit(&group, &topic, vec![part(index, 7, None)]);
    for index in 0..2 {
        x.ask(10, &as_member(kept(index), "m", first));
        x.ask(10, &as_member(kept(index), "m", second));
    }
    x.ask(10, &as_member(both(), "m", first));
    x.ask(10, &as_member(commit(&group, &topic, vec![part(1 - left[0], 8, Some(&"x".repeat(5_000)))]), "m", first));
    x.ask(10, &as_member(kept(7), "m", first));
    // Nobody is there: whoever names no epoch may.
    beat(x, &beats(&group, "m", -1));
    beat(x, &beats(&group, "n", -1));
    x.ask_ends(&both());
    x.ask(10, &as_member(both(), "m", second));
    x.ask(9, &fetch_new(vec![of_group(&group, None)]));
}

fn fetches(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    let epoch = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    x.ask(10, &as_member(commit(&group, &topic, vec![part(0, 5, Some("note"))]), "m", epoch));
    for version in [1, 7] {
        x.ask(version, &fetch_old(&group, Some(&[(&topic.name, &[0])])));
    }
    for version in [8, 9, 10] {
        x.ask(version, &fetch_new(vec![of_group(&group, None)]));
    }
    for (member, epoch) in [
        (Some("m"), epoch),
        (Some("m"), epoch - 1),
        (Some("m"), epoch + 1),
        (Some("m"), -1),
        (Some("n"), epoch),
        (Some(""), -1),
        (None, epoch),
        (None, -1),
    ] {
        let mut asked = of_group(&group, Some(&[(&topic, &[0])]));
        (asked.member_id, asked.member_epoch) = (member.map(str::to_owned), epoch);
        for version in [9, 10] {
            x.ask(version, &fetch_new(vec![asked.clone()]));
        }
    }
}

fn offset_delete(x: &mut Exchange) {
    let (topic, other, group) = (x.topic("t", 1, &[]), x.topic("u", 1, &[]), x.name("g"));
    let epoch = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    for of in [&topic, &other] {
        x.ask(10, &as_member(commit(&group, of, vec![part(0, 5, None)]), "m", epoch));
    }
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
    let topics =
        [&topic, &other].map(|of| OffsetDeleteRequestTopic { name: of.name.clone(), partitions: partitions.clone() });
    let request = OffsetDeleteRequest { group_id: group.clone(), topics: topics.to_vec() };
    x.ask(0, &request);
    beat(x, &beats(&group, "m", -1));
    x.ask(0, &request);
    x.ask(9, &fetch_new(vec![of_group(&group, None)]));
}

/// The number of groups among resources.
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

fn altering(group: &str, settings: &[(&str, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let setting = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: GROUP,
        resource_name: group.to_owned(),
        configs: settings.iter().map(setting).collect(),
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn told(x: &mut Exchange, group: &str) {
    let keys = ["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms"];
    let resource = DescribeConfigsResource {
        resource_type: GROUP,
        resource_name: group.to_owned(),
        configuration_keys: Some(keys.map(str::to_owned).to_vec()),
    };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: false };
    x.ask(4, &request);
}

fn settings(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    let epoch = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    told(x, &group);
    for (name, value) in [
        ("consumer.session.timeout.ms", "1"),
        ("consumer.session.timeout.ms", "60001"),
        ("consumer.session.timeout.ms", "many"),
        ("consumer.heartbeat.interval.ms", "1"),
        ("consumer.heartbeat.interval.ms", "15001"),
        ("consumer.heartbeat.interval.ms", "0"),
        ("consumer.assignment.interval.ms", "15001"),
        ("consumer.assignment.interval.ms", "-1"),
        ("consumer.no.such.setting", "1"),
        ("session.timeout.ms", "10000"),
    ] {
        x.ask(1, &altering(&group, &[(name, Some(value))]));
    }
    x.ask(1, &altering("", &[("consumer.heartbeat.interval.ms", Some("6000"))]));
    // A session must be longer than the interval of heartbeats.
    x.ask(
        1,
        &altering(
            &group,
            &[("consumer.session.timeout.ms", Some("5000")), ("consumer.heartbeat.interval.ms", Some("6000"))],
        ),
    );
    x.ask(1, &altering(&group, &[("consumer.heartbeat.interval.ms", Some("7000"))]));
    x.wait_until(NEW, &beats(&group, "m", epoch), |answer| answer.heartbeat_interval_ms == 7_000);
    beat(x, &beats(&group, "m", epoch));
    told(x, &group);
    x.ask(1, &altering(&group, &[("consumer.heartbeat.interval.ms", None)]));
    x.wait_until(NEW, &beats(&group, "m", epoch), |answer| answer.heartbeat_interval_ms != 7_000);
    beat(x, &beats(&group, "m", epoch));
    told(x, &group);
}

/// Sets something of a group in silence, and gives the broker time to hear of it.
fn set(x: &mut Exchange, group: &str, name: &str, value: &str) {
    x.quietly(1, &altering(group, &[("consumer.heartbeat.interval.ms", Some("1000")), (name, Some(value))]));
    x.pause(500);
}

fn assignment_interval(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    set(x, &group, "consumer.assignment.interval.ms", "15000");
    let first = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    beat(x, &joins(&group, "n", &[&topic]));
    shown(x, &group);
    beat(x, &owning(beats(&group, "m", first), &[(&topic, &[0, 1])]));
    x.only_mine();
    let states_filter = vec!["Assigning".to_owned()];
    x.ask(5, &milena_protocol::messages::ListGroupsRequest { states_filter, ..Default::default() });
    set(x, &group, "consumer.assignment.interval.ms", "0");
    beat(x, &owning(beats(&group, "m", first), &[(&topic, &[0, 1])]));
    shown(x, &group);
}

fn session_ends(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    set(x, &group, "consumer.session.timeout.ms", "2000");
    beat(x, &instance("i", joins(&group, "away", &[&topic])));
    beat(x, &instance("i", beats(&group, "away", -2)));
    let epoch = beat(x, &joins(&group, "silent", &[&topic])).member_epoch;
    x.pause(3_000);
    shown(x, &group);
    beat(x, &beats(&group, "silent", epoch));
    beat(x, &instance("i", joins(&group, "back", &[&topic])));
    shown(x, &group);
}

fn rebalance_timeout_ends(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    let hasty = ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: 1_000, ..joins(&group, "m", &[&topic]) };
    let first = beat(x, &hasty).member_epoch;
    let second = beat(x, &joins(&group, "n", &[&topic])).member_epoch;
    let all: &[(&Topic, &[i32])] = &[(&topic, &[0, 1])];
    beat(x, &owning(beats(&group, "m", first), all));
    x.pause(500);
    beat(x, &owning(beats(&group, "m", first), all));
    x.pause(1_500);
    beat(x, &owning(beats(&group, "m", first), all));
    beat(x, &owning(beats(&group, "n", second), &[]));
    shown(x, &group);
    beat(x, &assignor("range", joins(&group, "m", &[&topic])));
    shown(x, &group);
}
