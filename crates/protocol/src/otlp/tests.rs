//! What clients send, what they might send, and damage.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A field of the form for bytes.
fn field(number: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    varint(contents.len() as u64, &mut bytes);
    bytes.extend_from_slice(contents);
    bytes
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(at: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![at << 3];
    varint(value, &mut bytes);
    bytes
}

fn fixed64(at: u8, bits: u64) -> Vec<u8> {
    [&[at << 3 | 1][..], &bits.to_le_bytes()].concat()
}

fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, value)].concat()
}

fn double_point(value: f64, attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = fixed64(4, value.to_bits());
    for (key, value) in attributes {
        bytes.extend(field(7, &pair(key, &field(1, value.as_bytes()))));
    }
    bytes
}

fn metric_of(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, b"what it is"), field(kind, data)].concat()
}

/// One client's metrics, with an attribute of its resource.
fn message(metrics: &[Vec<u8>]) -> Vec<u8> {
    let scope: Vec<u8> = metrics.iter().flat_map(|metric| field(2, metric)).collect();
    let resource = field(1, &pair("client_rack", &field(1, b"r1")));
    // The resource stands behind what it belongs to, as it may.
    field(1, &[field(2, &scope), field(1, &resource)].concat())
}

/// Everything that is read, as text.
fn shown(bytes: &[u8]) -> Result<(Vec<String>, usize), OtlpError> {
    let mut all = Vec::new();
    let unread = read(bytes, &mut |point| {
        let attributes = point.resource.iter().chain(point.attributes);
        let attributes: Vec<String> = attributes.map(|said| format!("{}={}", said.key, said.value)).collect();
        all.push(format!("{} {:?} {} [{}]", point.name, point.kind, point.value, attributes.join(" ")));
    })?;
    Ok((all, unread))
}

#[test]
fn gauges_and_sums_are_read_with_all_that_is_said_of_them() {
    let points = [double_point(1.5, &[("topic", "a")]), double_point(-2.0, &[("topic", "b"), ("p", "0")])];
    let gauge: Vec<u8> = points.iter().flat_map(|point| field(1, point)).collect();
    let total = field(1, &fixed64(6, (-7i64) as u64));
    let delta = [total.clone(), number(2, 1), number(3, 1)].concat();
    let cumulative = [number(2, 2), total].concat();
    let bytes = message(&[metric_of("g", 5, &gauge), metric_of("d", 7, &delta), metric_of("c", 7, &cumulative)]);
    let expected = [
        "g Gauge 1.5 [client_rack=r1 topic=a]",
        "g Gauge -2 [client_rack=r1 topic=b p=0]",
        "d Sum { is_monotonic: true, is_delta: true } -7 [client_rack=r1]",
        "c Sum { is_monotonic: false, is_delta: false } -7 [client_rack=r1]",
    ];
    assert_eq!(shown(&bytes), Ok((expected.map(str::to_owned).to_vec(), 0)));
}

#[test]
fn attributes_of_every_kind_are_texts_but_for_lists_and_maps() {
    let values =
        [field(1, b"x"), number(2, 1), number(3, u64::MAX), fixed64(4, 0.5f64.to_bits()), field(5, b""), Vec::new()];
    let attributes = values.iter().flat_map(|value| field(7, &pair("k", value)));
    let point: Vec<u8> = fixed64(4, 0).into_iter().chain(attributes).collect();
    let (all, _) = shown(&message(&[metric_of("g", 5, &field(1, &point))])).expect("sound");
    assert_eq!(all, ["g Gauge 0 [client_rack=r1 k=x k=true k=-1 k=0.5 k=]"]);
}

#[test]
fn other_kinds_are_counted_and_points_without_a_value_left_out() {
    let without = [number(8, 1), fixed64(4, 1)].concat();
    let gauge = [field(1, &without), field(1, &[]), field(1, &double_point(3.0, &[]))].concat();
    let bytes = message(&[metric_of("h", 9, b""), metric_of("s", 11, b""), metric_of("g", 5, &gauge)]);
    assert_eq!(shown(&bytes), Ok((vec!["g Gauge 3 [client_rack=r1]".to_owned()], 2)));
}

#[test]
fn unknown_fields_and_forms_are_skipped() {
    let mut bytes = vec![15 << 3 | 5, 1, 2, 3, 4];
    bytes.extend(number(1, 7));
    bytes.extend(message(&[metric_of("g", 5, &field(1, &double_point(3.0, &[])))]));
    assert_eq!(shown(&bytes).map(|(all, _)| all.len()), Ok(1));
    assert_eq!(shown(&[]), Ok((vec![], 0)));
}

#[test]
fn what_is_no_message_is_refused() {
    for (bytes, error) in [
        (&[0x0a][..], OtlpError::Truncated),
        (&[0x0a, 5, 1], OtlpError::Truncated),
        (&[0x09, 1, 2], OtlpError::Truncated),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], OtlpError::Varint),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], OtlpError::Truncated),
        (&[0x02, 0], OtlpError::Tag),
        (&[0x0b], OtlpError::Tag),
        (&[0x0f], OtlpError::Tag),
    ] {
        assert_eq!(shown(bytes), Err(error), "{bytes:02x?}");
    }
    let bytes = message(&[metric_of("g", 5, &field(1, &double_point(3.0, &[])))]);
    let at = bytes.iter().position(|byte| *byte == b'g').expect("its name");
    let mut damaged = bytes.clone();
    damaged[at] = 0xff;
    assert_eq!(shown(&damaged), Err(OtlpError::Text));
}

#[test]
fn attributes_beyond_the_bound_are_left_out() {
    let many: Vec<(String, &str)> = (0..1000).map(|at| (format!("k{at}"), "v")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let bytes = message(&[metric_of("g", 5, &field(1, &double_point(3.0, &many)))]);
    let mut counted = 0;
    assert_eq!(read(&bytes, &mut |point| counted = point.attributes.len()), Ok(0));
    assert_eq!(counted, ATTRIBUTES_MAX);
}

/// The most memory that reading these bytes takes at a time.
fn most_bytes(bytes: &[u8]) -> u64 {
    let measured = allocation_counter::measure(|| {
        let _ = read(bytes, &mut |_| {});
    });
    measured.bytes_max
}

/// Two lists of attributes, at twice their bound as vectors grow, and texts of numbers.
const MEMORY_MAX: u64 = 2 * 2 * (ATTRIBUTES_MAX * size_of::<Attribute<'_>>()) as u64 + 64 * 512;

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_within_bounded_memory(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(most_bytes(&bytes) <= MEMORY_MAX);
    }

    #[test]
    fn damage_does_not_make_it_panic_or_take_memory(
        metrics in vec(("[a-z.]{0,9}", 4u8..12, vec((any::<f64>(), "[a-z]{0,4}", "\\PC{0,9}"), 0..5)), 0..9),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..9),
    ) {
        let metric = |(name, kind, points): &(String, u8, Vec<(f64, String, String)>)| {
            let point = |(value, key, said): &(f64, String, String)| field(1, &double_point(*value, &[(key, said)]));
            metric_of(name, *kind, &points.iter().flat_map(point).collect::<Vec<u8>>())
        };
        let mut bytes = message(&metrics.iter().map(metric).collect::<Vec<_>>());
        prop_assert!(shown(&bytes).is_ok());
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(most_bytes(&bytes) <= MEMORY_MAX);
    }

    #[test]
    fn what_is_cut_off_is_never_read_as_more(cut in any::<prop::sample::Index>()) {
        let gauge: Vec<u8> = (0..9).flat_map(|at| field(1, &double_point(f64::from(at), &[]))).collect();
        let bytes = message(&[metric_of("g", 5, &gauge)]);
        let kept = cut.index(bytes.len());
        prop_assert!(kept == 0 || shown(&bytes[..kept]).is_err());
    }
}

/// What [`shown`] says of one of the recorded pushes.
fn recorded(client: &str) -> Vec<String> {
    let lines = include_str!("../../golden/otlp.txt").lines();
    let text = lines.filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == client).expect("recorded").1;
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(digits).collect();
    let (all, unread) = shown(&bytes).expect("sound");
    assert_eq!(unread, 0);
    all
}

#[test]
fn what_clients_really_send_is_read() {
    let group = "group_id=telemetry-java group_member_id=telemetry-java-consumer-7cf6fca7-f1ea-4fa0-8869-6c711bf83b9f";
    let partition = format!("{group} partition=0 topic=tt");
    let java = [
        format!("fetch.manager.records.lag Gauge 0 [{partition}]"),
        format!("connection.creation.rate Gauge 0.09660280148124295 [{group}]"),
        format!("fetch.manager.records.lag.max Gauge 0 [{partition}]"),
        format!("fetch.manager.records.lag.max Gauge 0 [{group}]"),
        format!("connection.creation.total Sum {{ is_monotonic: true, is_delta: true }} 0 [{group}]"),
        format!("fetch.manager.records.lag.avg Gauge 0 [{partition}]"),
    ];
    assert_eq!(recorded("apache-kafka-java-4.3.1"), java.map(|line| format!("org.apache.kafka.consumer.{line}")));
    let librdkafka = [
        "connection.creation.rate Gauge 0 []",
        "connection.creation.total Sum { is_monotonic: true, is_delta: true } 0 []",
        "node.request.latency.avg Gauge 1.823 [node.id=1]",
        "node.request.latency.max Gauge 21 [node.id=1]",
    ];
    assert_eq!(recorded("librdkafka-2.16.0"), librdkafka.map(|line| format!("org.apache.kafka.producer.{line}")));
}
