//! Clients that push their metrics (KIP-714): what they are asked for, when they may push, and what is wrong with a push.
//! Played on a broker that takes metrics, one scenario after the other: whatever changes a subscription lets every client
//! begin anew.

use bytes::Bytes;
use milena_protocol::Uuid;
use milena_protocol::messages::{
    ApiVersionsRequest, DescribeConfigsRequest, GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
    PushTelemetryRequest, describe_configs_request::DescribeConfigsResource,
};

use super::Scenario;
use super::configs::{DELETE, SET, change};
use crate::batch::{Compression, crc32c};
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "api_versions/with_a_receiver",
        shows: "who takes metrics says so",
        traps: &[8],
        play: advertised,
    },
    Scenario {
        name: "telemetry/subscriptions",
        shows: "what a client is asked for, by each of its properties, and the id of that",
        traps: &[],
        play: subscriptions,
    },
    Scenario {
        name: "telemetry/changes",
        shows: "changed and removed subscriptions count at once, and begin a client's interval anew",
        traps: &[],
        play: changes,
    },
    Scenario { name: "telemetry/new_ids", shows: "a client without an id is given one", traps: &[], play: new_ids },
    Scenario {
        name: "telemetry/intervals",
        shows: "too early and in time, for questions and pushes, and what a question in between allows",
        traps: &[],
        play: intervals,
    },
    Scenario {
        name: "telemetry/refused",
        shows: "pushes that are wrong, and after which of them a client may ask at once",
        traps: &[],
        play: refused,
    },
    Scenario {
        name: "telemetry/contents",
        shows: "metrics in each codec, too large ones, and bytes that are none",
        traps: &[],
        play: contents,
    },
    Scenario {
        name: "telemetry/terminating",
        shows: "the last push may come too early, and one that follows it is refused once",
        traps: &[],
        play: terminating,
    },
    Scenario {
        name: "telemetry/forgotten",
        shows: "a client whose connection has ended is new again, with the same subscription id",
        traps: &[],
        play: forgotten,
    },
    Scenario {
        name: "telemetry/settings",
        shows: "settings of a subscription that are right or wrong, and how they are shown",
        traps: &[],
        play: settings,
    },
];

/// On a broker that takes no metrics, and on which nobody else has subscriptions.
pub(super) const WITHOUT_RECEIVER: &[Scenario] = &[Scenario {
    name: "telemetry/without_a_receiver",
    shows: "who asks although nobody takes metrics is answered, and what is pushed is not looked at",
    traps: &[8],
    play: without_a_receiver,
}];

/// The type of such a resource.
const CLIENT_METRICS: i8 = 16;
/// Kafka answers when a change is written, and obeys it once the broker has heard of it.
const APPLIED_MS: u64 = 300;
/// The shortest interval that may be asked for, and a little more than that.
const SHORT: (&str, u64) = ("100", 130);
/// No scenario takes so long.
const LONG: &str = "250000";

/// An id that a client of this scenario was given at another time. The broker knows a client by it, also if it calls itself
/// otherwise now.
fn id(x: &Exchange, number: u8) -> Uuid {
    let [a, b, c, d] = crc32c(x.name("").as_bytes()).to_be_bytes();
    Uuid([a, b, c, d, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, number])
}

fn ask(x: &mut Exchange, number: u8) -> GetTelemetrySubscriptionsResponse {
    let client_instance_id = id(x, number);
    x.ask(0, &GetTelemetrySubscriptionsRequest { client_instance_id })
}

/// Sets what clients with this client id are asked for.
fn subscribe(x: &mut Exchange, client: &str, metrics: &str, interval_ms: &str) {
    let clients = format!("client_id={client}");
    let all =
        [(SET, "metrics", Some(metrics)), (SET, "interval.ms", Some(interval_ms)), (SET, "match", Some(&*clients))];
    x.quietly(1, &change(CLIENT_METRICS, client, &all));
    x.pause(APPLIED_MS);
}

/// A client of this scenario that is asked for everything at an interval.
fn asked_client(x: &mut Exchange, interval_ms: &str) -> String {
    let client = x.name("c");
    subscribe(x, &client, "*", interval_ms);
    x.called(Some(&client));
    client
}

/// A field of Protocol Buffers that holds bytes.
fn field(number: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    assert!(length < 1 << 14, "two bytes of length");
    let length = if length < 128 { vec![length as u8] } else { vec![length as u8 | 0x80, (length >> 7) as u8] };
    [&[number << 3 | 2], &*length, contents].concat()
}

/// One gauge: metrics → resource → scope → metric → gauge → point.
fn metrics(name: &str) -> Vec<u8> {
    let point = [&[4 << 3 | 1], &1.5f64.to_le_bytes()[..]].concat();
    let metric = [field(1, name.as_bytes()), field(5, &field(1, &point))].concat();
    field(1, &field(2, &field(2, &metric)))
}

/// A push of the first client.
fn pushed(x: &Exchange, subscription_id: i32) -> PushTelemetryRequest {
    PushTelemetryRequest {
        client_instance_id: id(x, 1),
        subscription_id,
        metrics: metrics("org.apache.kafka.twin").into(),
        ..Default::default()
    }
}

fn push(x: &mut Exchange, subscription_id: i32) {
    let request = pushed(x, subscription_id);
    x.ask(0, &request);
}

fn advertised(x: &mut Exchange) {
    for version in 0..=4 {
        let (client_software_name, client_software_version) = ("twin".to_owned(), "1".to_owned());
        x.ask(version, &ApiVersionsRequest { client_software_name, client_software_version });
    }
}

fn subscriptions(x: &mut Exchange) {
    let of_everybody = x.name("everybody");
    let (sixth, seventh) = (id(x, 6), id(x, 7));
    let mut set = |name: &str, clients: &str, metrics: &str, interval_ms: &str| {
        let values = [("match", clients), ("metrics", metrics), ("interval.ms", interval_ms)];
        let values = values.iter().filter(|(_, value)| !value.is_empty());
        let values: Vec<_> = values.map(|(key, value)| (SET, *key, Some(*value))).collect();
        let name = x.name(name);
        x.ask(1, &change(CLIENT_METRICS, &name, &values));
    };
    set("a", "client_id=telemetry-a.*", "a.one,a.two,org.apache.kafka.producer.", "9000");
    set("b", "client_id=telemetry-ab, client_software_name=twin", "b,a.one", "");
    set("c", "client_software_version = 1[.]2.*", "c", "8000");
    set("d", "client_source_address=127\\.0\\.0\\.1,client_id=telemetry-d", "*,d", "");
    set("e", "client_source_port=[0-9]+,client_id=telemetry-e", "e,f,g,h,i,j,k,l,m,n,o,p,q,r", "");
    set("f", &format!("client_instance_id={sixth}"), "", "3600000");
    set("g", &format!("client_instance_id={seventh}"), "", "299999");
    x.pause(APPLIED_MS);
    for (client, number) in [("a", 1), ("ab", 2), ("d", 3), ("e", 4), ("none", 5), ("none", 6), ("none", 7)] {
        x.called(Some(&format!("telemetry-{client}")));
        ask(x, number);
    }
    // The software is what ApiVersions said last; before version 3 it says nothing.
    x.called(Some("telemetry-ab"));
    for (number, version, name, software_version) in
        [(11, 3, "twin", "1.2.3"), (12, 4, "other", "1.2"), (13, 0, "", "")]
    {
        let (client_software_name, client_software_version) = (name.to_owned(), software_version.to_owned());
        x.quietly_here(version, &ApiVersionsRequest { client_software_name, client_software_version });
        ask(x, number);
    }
    x.called(None);
    ask(x, 20);
    x.quietly(1, &change(CLIENT_METRICS, &of_everybody, &[(SET, "metrics", Some("z"))]));
    x.pause(APPLIED_MS);
    ask(x, 21);
    x.quietly(1, &change(CLIENT_METRICS, &of_everybody, &[(DELETE, "metrics", None)]));
    x.pause(APPLIED_MS);
}

fn changes(x: &mut Exchange) {
    let client = asked_client(x, LONG);
    let known = ask(x, 1);
    ask(x, 1);
    push(x, known.subscription_id);
    subscribe(x, &client, "a.", LONG);
    push(x, known.subscription_id);
    let known = ask(x, 1);
    push(x, known.subscription_id);
    push(x, known.subscription_id);
    let keys = ["metrics", "interval.ms", "match"].map(|key| (DELETE, key, None));
    x.ask(1, &change(CLIENT_METRICS, &client, &keys));
    x.pause(APPLIED_MS);
    ask(x, 1);
}

fn new_ids(x: &mut Exchange) {
    asked_client(x, LONG);
    let nobody = GetTelemetrySubscriptionsRequest::default();
    let given = x.quietly(0, &nobody).unwrap_or_default();
    let other = x.quietly(0, &nobody).unwrap_or_default();
    let (one, two) = (given.client_instance_id, other.client_instance_id);
    x.found(&format!("error {}, and the ids are of version {} and {}", given.error_code, one.0[6] >> 4, two.0[6] >> 4));
    x.found(&format!("they are {}", if one == two { "the same" } else { "different" }));
    // An id that Kafka keeps for itself may ask, and may not push.
    let reserved = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let known = x.ask(0, &GetTelemetrySubscriptionsRequest { client_instance_id: reserved });
    for client_instance_id in [reserved, Uuid::ZERO] {
        let request = PushTelemetryRequest { client_instance_id, ..pushed(x, known.subscription_id) };
        x.ask(0, &request);
    }
}

fn intervals(x: &mut Exchange) {
    asked_client(x, LONG);
    let known = ask(x, 1);
    ask(x, 1);
    push(x, known.subscription_id);
    push(x, known.subscription_id);
    ask(x, 1);
    // Another client, which pushes before it has asked.
    let early = ask(x, 2).subscription_id;
    let other = PushTelemetryRequest { client_instance_id: id(x, 3), ..pushed(x, early) };
    x.ask(0, &other);
    x.ask(0, &other);
    ask(x, 3);
    let client = x.name("c");
    subscribe(x, &client, "*", SHORT.0);
    let known = ask(x, 1);
    for _ in 0..2 {
        push(x, known.subscription_id);
        x.pause(SHORT.1);
    }
    ask(x, 1);
    push(x, known.subscription_id);
    x.pause(SHORT.1);
    ask(x, 1);
}

fn refused(x: &mut Exchange) {
    asked_client(x, SHORT.0);
    let known = ask(x, 1).subscription_id;
    let right = pushed(x, known);
    let large: Bytes = vec![0; 1001].into();
    for wrong in [
        PushTelemetryRequest { subscription_id: known + 1, ..right.clone() },
        PushTelemetryRequest { compression_type: 5, ..right.clone() },
        PushTelemetryRequest { compression_type: -1, ..right.clone() },
        PushTelemetryRequest { metrics: large.clone(), ..right.clone() },
        PushTelemetryRequest { metrics: large, subscription_id: 0, compression_type: 9, ..right.clone() },
        PushTelemetryRequest { metrics: Bytes::from_static(b"\xff\xff"), ..right.clone() },
        PushTelemetryRequest { metrics: Bytes::new(), ..right },
    ] {
        x.pause(SHORT.1);
        x.ask(0, &wrong);
        ask(x, 1);
    }
}

fn contents(x: &mut Exchange) {
    asked_client(x, SHORT.0);
    let known = ask(x, 1).subscription_id;
    let mut push = |compression: Compression, metrics: Vec<u8>| {
        x.pause(SHORT.1);
        let (compression_type, metrics) = (compression as i8, metrics.into());
        let request = PushTelemetryRequest { compression_type, metrics, ..pushed(x, known) };
        x.ask(0, &request);
    };
    let large = metrics(&"n".repeat(950));
    for compression in Compression::ALL {
        push(compression, compression.pack(&metrics("org.apache.kafka.twin")));
        push(compression, compression.pack(&large));
        // Not of this codec.
        push(compression, b"no metrics".to_vec());
    }
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        // One byte too many when inflated, and very many.
        push(compression, compression.pack(&[&*large, &vec![0; 1001 - large.len()]].concat()));
        push(compression, compression.pack(&vec![0; 8_000]));
        push(compression, Vec::new());
    }
}

fn terminating(x: &mut Exchange) {
    asked_client(x, LONG);
    let known = ask(x, 1).subscription_id;
    let last = PushTelemetryRequest { terminating: true, ..pushed(x, known) };
    push(x, known);
    push(x, known);
    x.ask(0, &last);
    x.ask(0, &last);
    push(x, known);
    push(x, known);
    ask(x, 1);
    // Also one that is wrong was the last one.
    x.ask(0, &PushTelemetryRequest { subscription_id: 7, ..last.clone() });
    x.ask(0, &last);
}

fn forgotten(x: &mut Exchange) {
    asked_client(x, LONG);
    let known = ask(x.on("a"), 1);
    push(x, known.subscription_id);
    push(x.on("b"), known.subscription_id);
    x.on("a").send_garbage("a frame that ends the connection", b"\0\0\0\x02\0\0");
    x.receive_raw();
    x.pause(APPLIED_MS);
    push(x.on("b"), known.subscription_id);
    push(x, known.subscription_id);
    ask(x, 1);
}

fn settings(x: &mut Exchange) {
    let name = x.name("s");
    for (key, value) in [
        ("interval.ms", "100"),
        ("interval.ms", "3600000"),
        ("interval.ms", "99"),
        ("interval.ms", "3600001"),
        ("interval.ms", "-1"),
        ("interval.ms", "soon"),
        ("metrics", ""),
        ("metrics", "*"),
        ("metrics", "a,b"),
        ("metrics", "a,a"),
        ("metrics", "a,,b"),
        ("match", ""),
        ("match", "client_id=a,client_software_name=b"),
        ("match", "client_id=a,client_id=b"),
        ("match", "client_id = a "),
        ("match", "client_id=a="),
        ("match", "client_id=a==b"),
        ("match", "client_id="),
        ("match", "client_id"),
        ("match", "=a"),
        ("match", "Client_id=a"),
        ("match", "client_host=a"),
        ("match", "client_id=["),
        ("match", "client_id=*"),
        ("no.such.setting", "1"),
    ] {
        x.ask(1, &change(CLIENT_METRICS, &name, &[(SET, key, Some(value))]));
    }
    // What only Java's matcher knows.
    for only_java in ["a(?!b)", "(a)\\1", "a++", "[a-z&&[^b]]", "[a[b]]"] {
        let clients = format!("client_id={only_java}");
        x.ask(1, &change(CLIENT_METRICS, &x.name("java"), &[(SET, "match", Some(&clients))]));
    }
    for bad in ["", "with a blank", "ü"] {
        x.ask(1, &change(CLIENT_METRICS, bad, &[(SET, "interval.ms", Some("99"))]));
    }
    x.pause(APPLIED_MS);
    for version in [1, 4] {
        let resource = DescribeConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: name.clone(),
            configuration_keys: None,
        };
        let resources = vec![resource];
        x.ask(version, &DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() });
    }
}

fn without_a_receiver(x: &mut Exchange) {
    let known = ask(x, 1);
    let unread = PushTelemetryRequest { metrics: b"no metrics"[..].into(), ..pushed(x, known.subscription_id) };
    x.ask(0, &unread);
    push(x, known.subscription_id);
    ask(x, 1);
}
