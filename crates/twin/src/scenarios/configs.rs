//! Settings: DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use milena_protocol::messages::alter_configs_request::{self, AlterConfigsRequest};
use milena_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::Scenario;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "configs/topic_at_every_version",
        shows: "all settings of a topic: types from 3, documentation where asked for",
        traps: &[164, 165, 166],
        play: topic_at_every_version,
    },
    Scenario {
        name: "configs/synonyms",
        shows: "the values behind a value, the nearest first",
        traps: &[165],
        play: synonyms,
    },
    Scenario { name: "configs/chosen_keys", shows: "some keys, none, unknown ones", traps: &[164], play: chosen_keys },
    Scenario {
        name: "configs/resources",
        shows: "topics, brokers, loggers, groups and kinds that do not exist",
        traps: &[163],
        play: resources,
    },
    Scenario {
        name: "configs/broker",
        shows: "some settings of a broker and of the cluster's default",
        traps: &[163, 165],
        play: broker,
    },
    Scenario {
        name: "configs/incremental",
        shows: "set, delete, append and subtract",
        traps: &[167],
        play: incremental,
    },
    Scenario {
        name: "configs/incremental_refused",
        shows: "operations that do not fit the type, invalid values, the same resource or key twice",
        traps: &[167],
        play: incremental_refused,
    },
    Scenario {
        name: "configs/replaced",
        shows: "the old request replaces all that it does not name",
        traps: &[168],
        play: replaced,
    },
    Scenario {
        name: "configs/broker_refused",
        shows: "settings of brokers that cannot be changed, or not so",
        traps: &[],
        play: broker_refused,
    },
    Scenario {
        name: "configs/broker_together",
        shows: "settings of brokers that are valid alone, and with the others or as a change are not",
        traps: &[],
        play: broker_together,
    },
    Scenario {
        name: "configs/broker_layers",
        shows: "a value of all brokers, over it this broker's own, and both taken away again",
        traps: &[165],
        play: broker_layers,
    },
];

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const GROUP: i8 = 32;

pub(super) const SET: i8 = 0;
pub(super) const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn describe(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
    };
    DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() }
}

fn topic_at_every_version(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("retention.ms", "5000"), ("cleanup.policy", "compact,delete")]);
    x.ask(1, &describe(TOPIC, &topic.name, None));
    let full = DescribeConfigsRequest { include_synonyms: true, ..describe(TOPIC, &topic.name, None) };
    x.ask(
        2,
        &DescribeConfigsRequest { include_synonyms: true, ..describe(TOPIC, &topic.name, Some(&["retention.ms"])) },
    );
    x.ask(
        3,
        &DescribeConfigsRequest {
            include_documentation: true,
            ..describe(TOPIC, &topic.name, Some(&["retention.ms"]))
        },
    );
    x.ask(4, &DescribeConfigsRequest { include_documentation: true, ..full });
}

fn synonyms(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("max.message.bytes", "5000"), ("retention.ms", "70000")]);
    let keys = ["max.message.bytes", "retention.ms", "segment.ms", "cleanup.policy", "unclean.leader.election.enable"];
    for include_synonyms in [false, true] {
        for version in [1, 4] {
            x.ask(version, &DescribeConfigsRequest { include_synonyms, ..describe(TOPIC, &topic.name, Some(&keys)) });
        }
    }
}

fn chosen_keys(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for version in [1, 4] {
        x.ask(version, &describe(TOPIC, &topic.name, Some(&["segment.bytes", "no.such.setting"])));
        x.ask(version, &describe(TOPIC, &topic.name, Some(&["no.such.setting"])));
    }
    x.ask(4, &describe(TOPIC, &topic.name, Some(&["segment.bytes", "segment.bytes"])));
    x.ask(4, &describe(TOPIC, &topic.name, Some(&["Segment.Bytes", ""])));
}

fn resources(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let keys = Some(&["segment.bytes"][..]);
    for version in [1, 4] {
        for (kind, name) in
            [(TOPIC, x.name("none").as_str()), (TOPIC, "sp ace"), (TOPIC, ""), (0, "x"), (1, "x"), (3, "x"), (99, "x")]
        {
            x.ask(version, &describe(kind, name, keys));
        }
        for (kind, name) in [(BROKER, "7"), (BROKER, "one"), (BROKER, "-1"), (BROKER_LOGGER, "7"), (BROKER_LOGGER, "")]
        {
            x.ask(version, &describe(kind, name, keys));
        }
    }
    x.ask(4, &describe(GROUP, &x.name("group"), None));
    x.ask(4, &describe(GROUP, "", None));
    x.ask(4, &DescribeConfigsRequest::default());
    let mut several = describe(TOPIC, &topic.name, keys);
    several.resources.push(several.resources[0].clone());
    several.resources.extend(describe(TOPIC, &x.name("none"), keys).resources);
    x.ask(4, &several);
}

fn broker(x: &mut Exchange) {
    let keys = ["num.partitions", "log.retention.ms", "log.segment.bytes", "min.insync.replicas", "compression.type"];
    for name in ["1", ""] {
        for include_synonyms in [false, true] {
            x.ask(4, &DescribeConfigsRequest { include_synonyms, ..describe(BROKER, name, Some(&keys)) });
        }
    }
    x.ask(1, &describe(BROKER, "1", Some(&keys)));
}

pub(super) fn change(kind: i8, name: &str, changes: &[(i8, &str, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let change = |(operation, name, value): &(i8, &str, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *operation,
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: changes.iter().map(change).collect(),
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

/// What the topic's own settings have become.
fn show(x: &mut Exchange, topic: &str, wished: &str) {
    let keys = ["retention.ms", "cleanup.policy", "segment.ms", "follower.replication.throttled.replicas"];
    // A broker learns of a change a moment after the controller has answered.
    x.ask_until(1, &describe(TOPIC, topic, Some(&keys)), |answer| {
        answer.results[0]
            .configs
            .iter()
            .any(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or_default()) == wished)
    });
}

fn incremental(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]).name;
    for version in [0, 1] {
        x.ask(
            version,
            &change(TOPIC, &topic, &[(SET, "retention.ms", Some("7000")), (SET, "segment.ms", Some("9000"))]),
        );
        show(x, &topic, "segment.ms=9000");
        x.ask(version, &change(TOPIC, &topic, &[(DELETE, "segment.ms", None)]));
        show(x, &topic, "segment.ms=604800000");
        x.ask(version, &change(TOPIC, &topic, &[(APPEND, "cleanup.policy", Some("compact"))]));
        show(x, &topic, "cleanup.policy=delete,compact");
        x.ask(version, &change(TOPIC, &topic, &[(APPEND, "cleanup.policy", Some("compact,delete"))]));
        x.ask(version, &change(TOPIC, &topic, &[(SUBTRACT, "cleanup.policy", Some("delete"))]));
        show(x, &topic, "cleanup.policy=compact");
        let checked = change(TOPIC, &topic, &[(SET, "retention.ms", Some("1"))]);
        x.ask(version, &IncrementalAlterConfigsRequest { validate_only: true, ..checked });
        x.ask(version, &change(TOPIC, &topic, &[(SUBTRACT, "cleanup.policy", Some("absent"))]));
        x.ask(version, &change(TOPIC, &topic, &[(DELETE, "cleanup.policy", None), (DELETE, "retention.ms", None)]));
        show(x, &topic, "cleanup.policy=delete");
    }
    x.ask(1, &change(TOPIC, &topic, &[(APPEND, "follower.replication.throttled.replicas", Some("0:1,1:1"))]));
    show(x, &topic, "follower.replication.throttled.replicas=0:1,1:1");
    x.ask(1, &change(TOPIC, &topic, &[]));
}

fn incremental_refused(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]).name;
    let wrong: &[&[(i8, &str, Option<&str>)]] = &[
        &[(APPEND, "retention.ms", Some("1"))],
        &[(SUBTRACT, "retention.ms", Some("1"))],
        &[(SET, "retention.ms", Some("soon"))],
        &[(SET, "retention.ms", None)],
        &[(SET, "retention.ms", Some(""))],
        &[(SET, "segment.bytes", Some("1"))],
        &[(SET, "no.such.setting", Some("1"))],
        &[(DELETE, "no.such.setting", None)],
        &[(APPEND, "no.such.setting", Some("1"))],
        &[(SET, "", Some("1"))],
        &[(SET, "cleanup.policy", Some("burn"))],
        &[(APPEND, "cleanup.policy", Some("burn"))],
        &[(SUBTRACT, "cleanup.policy", Some("delete"))],
        &[(4, "retention.ms", Some("1"))],
        &[(-1, "retention.ms", Some("1"))],
        &[(SET, "retention.ms", Some("1")), (SET, "retention.ms", Some("2"))],
        &[(SET, "retention.ms", Some("1")), (DELETE, "retention.ms", None)],
        &[(SET, "segment.ms", Some("1000")), (SET, "retention.ms", Some("soon"))],
        &[(APPEND, "cleanup.policy", None)],
    ];
    for changes in wrong {
        x.ask(1, &change(TOPIC, &topic, changes));
    }
    x.ask(0, &change(TOPIC, &topic, wrong[2]));
    let good = [(SET, "retention.ms", Some("1"))];
    for (kind, name) in
        [(TOPIC, x.name("none").as_str()), (TOPIC, "sp ace"), (TOPIC, ""), (0, "x"), (99, "x"), (GROUP, "")]
    {
        x.ask_ends(&change(kind, name, &good));
    }
    let mut twice = change(TOPIC, &topic, &good);
    twice.resources.push(twice.resources[0].clone());
    x.ask_ends(&twice);
    x.ask_ends(&IncrementalAlterConfigsRequest { resources: Vec::new(), validate_only: false });
}

fn replace(name: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsRequest {
    let config = |(name, value): &(&str, Option<&str>)| alter_configs_request::AlterableConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.to_owned(),
        configs: configs.iter().map(config).collect(),
    };
    AlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn replaced(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("retention.ms", "5000"), ("segment.ms", "6000")]).name;
    for version in [0, 2] {
        x.ask(version, &replace(&topic, &[("segment.ms", Some("9000"))]));
        show(x, &topic, "segment.ms=9000");
        x.ask(version, &replace(&topic, &[("retention.ms", Some("8000")), ("cleanup.policy", Some("compact"))]));
        show(x, &topic, "retention.ms=8000");
        x.ask(version, &replace(&topic, &[("retention.ms", Some("soon"))]));
        x.ask(version, &replace(&topic, &[("retention.ms", None)]));
        x.ask(version, &replace(&topic, &[("no.such.setting", Some("1"))]));
        x.ask(version, &replace(&topic, &[("retention.ms", Some("1")), ("retention.ms", Some("2"))]));
        x.ask(version, &AlterConfigsRequest { validate_only: true, ..replace(&topic, &[]) });
        show(x, &topic, "retention.ms=8000");
        x.ask(version, &replace(&x.name("none"), &[]));
        // The same resource twice is not asked for: Kafka fails in a way that leaves it without an answer.
    }
    x.ask(2, &replace(&topic, &[]));
    show(x, &topic, "retention.ms=-1");
    x.ask(2, &AlterConfigsRequest::default());
}

fn broker_refused(x: &mut Exchange) {
    for (name, operation, key, value) in [
        ("1", SET, "node.id", Some("2")),
        ("1", SET, "log.dirs", Some("elsewhere")),
        ("1", SET, "num.io.threads", Some("0")),
        ("1", SET, "num.io.threads", Some("many")),
        ("1", SET, "log.retention.ms", Some("x")),
        ("", SET, "log.retention.ms", Some("x")),
        ("7", SET, "log.retention.ms", Some("1")),
        ("one", SET, "log.retention.ms", Some("1")),
        ("1", APPEND, "log.retention.ms", Some("1")),
    ] {
        let request =
            IncrementalAlterConfigsRequest { validate_only: true, ..change(BROKER, name, &[(operation, key, value)]) };
        x.ask(1, &request);
    }
}

/// Everything is only checked, for one broker and for all.
fn broker_together(x: &mut Exchange) {
    let none = "";
    let cases: &[(&str, &str, &str)] = &[
        (none, "max.connections", "0"),
        ("1", "max.connections", "0"),
        ("1", "max.connections", "-1"),
        ("1", "listener.name.plaintext.max.connections", "0"),
        (none, "listener.name.plaintext.max.connections", "5"),
        ("1", "listener.name.other.max.connections", "0"),
        (none, "max.connection.creation.rate", "0"),
        (none, "max.connection.creation.rate", "1000"),
        ("1", "listener.name.plaintext.max.connection.creation.rate", "-1"),
        ("1", "max.connections.per.ip", "0"),
        ("1", "max.connections.per.ip.overrides", "127.0.0.1"),
        ("1", "max.connections.per.ip.overrides", "127.0.0.1:x"),
        ("1", "max.connections.per.ip.overrides", "127.0.0.1:-3"),
        ("1", "max.connections.per.ip.overrides", "sp ace:5"),
        (none, "max.connections.per.ip.overrides", "::1:5,127.0.0.1:7"),
        ("1", "log.retention.ms", "0"),
        ("1", "log.retention.ms", "-2"),
        (none, "log.roll.ms", "0"),
        ("1", "log.roll.jitter.ms", "-1"),
        (none, "group.consumer.assignment.interval.ms", "20000"),
        ("1", "group.consumer.assignment.interval.ms", "15000"),
        ("1", "num.io.threads", "3"),
        (none, "num.io.threads", "16"),
        (none, "num.io.threads", "17"),
        ("1", "num.network.threads", "7"),
        ("1", "listener.name.plaintext.num.network.threads", "7"),
        (none, "background.threads", "30"),
        ("1", "log.cleaner.threads", "3"),
        ("1", "log.cleaner.dedupe.buffer.size", "1000"),
        (none, "log.local.retention.ms", "-1"),
        ("1", "remote.log.reader.threads", "100"),
        ("1", "listeners", "garbage"),
        ("1", "listeners", ""),
        (none, "listeners", "PLAINTEXT://127.0.0.1:1"),
        ("1", "listener.security.protocol.map", "x"),
        ("1", "advertised.listeners", "PLAINTEXT://127.0.0.1:1"),
        ("1", "connections.max.idle.ms", "1000"),
        ("1", "listener.name.plaintext.connections.max.idle.ms", "1000"),
        (none, "listener.name.plaintext.num.network.threads", "4"),
        (none, "ssl.keystore.type", "JKS"),
        ("1", "cordoned.log.dirs", "/no/such/directory"),
        ("1", "metric.reporters", "no.such.Class"),
        ("1", "producer.id.expiration.ms", "0"),
        (none, "transaction.partition.verification.enable", "maybe"),
        ("1", "no.such.setting", "1"),
    ];
    for (name, key, value) in cases {
        let change = change(BROKER, name, &[(SET, key, Some(value))]);
        x.ask(1, &IncrementalAlterConfigsRequest { validate_only: true, ..change });
    }
    let both =
        [(SET, "max.connections.per.ip", Some("0")), (SET, "max.connections.per.ip.overrides", Some("127.0.0.1:5"))];
    x.ask(1, &IncrementalAlterConfigsRequest { validate_only: true, ..change(BROKER, "1", &both) });
}

fn broker_layers(x: &mut Exchange) {
    const KEY: &str = "max.connections.per.ip";
    let steps = [
        ("", SET, Some("100000"), "100000"),
        ("1", SET, Some("200000"), "200000"),
        ("", SET, Some("300000"), "200000"),
        ("1", DELETE, None, "300000"),
        ("", DELETE, None, "2147483647"),
    ];
    for (name, operation, value, in_force) in steps {
        x.ask(1, &change(BROKER, name, &[(operation, KEY, value)]));
        let described = DescribeConfigsRequest { include_synonyms: true, ..describe(BROKER, "1", Some(&[KEY])) };
        x.ask_until(4, &described, |answer| {
            let config = &answer.results[0].configs[0];
            let origins = config.synonyms.iter().filter(|origin| origin.value.as_deref() == value).count();
            config.value.as_deref() == Some(in_force) && (value.is_none() || origins == 1)
        });
        x.ask(4, &describe(BROKER, "", Some(&[KEY])));
    }
}
