//! What a client's metric is called where it is read: names and labels in the words of OpenMetrics.
//!
//! `org.apache.kafka.producer.record.send.total` becomes `org_apache_kafka_producer_record_send_total`, as other receivers of
//! OpenTelemetry's metrics write it for Prometheus. Names that do not begin as Kafka's do get `client_` in front, so that no
//! client can speak in the name of this node, or of another program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use milena_metadata::java::java_address;
use milena_metadata::telemetry::Client;
use milena_protocol::otlp::Point;

/// What the names of KIP-714 begin with.
const KAFKA: &str = "org.apache.kafka.";
/// Longer names are not told, since cut ones would be the same.
const NAME_BYTES_MAX: usize = 200;
/// Longer values of labels are cut.
const VALUE_BYTES_MAX: usize = 256;
/// The ending of counters, which is not part of a family's name.
pub(super) const TOTAL: &str = "_total";

/// Of a counter's family it is the time of its beginning: no other metric may be called so.
const CREATED: &str = "_created";

/// The name of a metric's family, if it can have one.
pub(super) fn family(name: &str) -> Option<String> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let sound = sound(name);
    let sound = sound.trim_end_matches(TOTAL);
    if sound.is_empty() || sound.ends_with(CREATED) {
        return None;
    }
    Some(if name.starts_with(KAFKA) { sound.to_owned() } else { format!("client_{sound}") })
}

/// The labels of a value as text, in the order of their names: what is said of the metric, and who says it.
pub(super) fn labels(client: &Client, point: &Point<'_>) -> String {
    let mut labels: BTreeMap<Cow<'_, str>, Cow<'_, str>> = BTreeMap::new();
    for attribute in point.resource.iter().chain(point.attributes) {
        labels.insert(label_name(attribute.key), Cow::Borrowed(cut(&attribute.value)));
    }
    // These are said by the connection, and not by the metrics: they win.
    labels.insert("client_instance_id".into(), client.instance.to_string().into());
    labels.insert("client_id".into(), cut(client.id.as_deref().unwrap_or_default()).into());
    labels.insert("client_software_name".into(), client.software_name.as_str().into());
    labels.insert("client_software_version".into(), client.software_version.as_str().into());
    labels.insert("client_source_address".into(), java_address(client.address.ip()).into());
    let mut text = String::new();
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{}\"", escaped(value));
    }
    text
}

/// What stands between quotes, or behind HELP.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

/// The beginning of a text, within what a value may take.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(VALUE_BYTES_MAX)]
}

/// Two underlines in front are Prometheus' own, and digits may not stand there.
fn label_name(key: &str) -> Cow<'_, str> {
    let sound = sound(cut(key));
    match sound.starts_with("__") || !sound.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic()) {
        true => format!("attribute_{sound}").into(),
        false => sound,
    }
}

/// Letters, digits and underlines.
fn sound(name: &str) -> Cow<'_, str> {
    let is_sound = |character: char| character.is_ascii_alphanumeric() || character == '_';
    match name.chars().all(is_sound) {
        true => name.into(),
        false => name.replace(|character| !is_sound(character), "_").into(),
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;
    use milena_protocol::otlp::{Attribute, Kind};

    use super::*;

    fn labels_of(resource: &[(&str, &str)], attributes: &[(&str, &str)]) -> String {
        let client = Client {
            instance: Uuid([0; 16]),
            id: Some("a \"b\"".to_owned()),
            software_name: "twin".to_owned(),
            software_version: "1".to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
        };
        let said = |pairs: &[(&'static str, &'static str)]| -> Vec<Attribute<'static>> {
            pairs.iter().map(|(key, value)| Attribute { key, value: (*value).into() }).collect()
        };
        // Texts of tests live for ever.
        let (resource, attributes) = (said(&leak(resource)), said(&leak(attributes)));
        let kind = Kind::Gauge;
        let point =
            Point { name: "n", description: "", kind, value: 0.0, resource: &resource, attributes: &attributes };
        labels(&client, &point)
    }

    fn leak(pairs: &[(&str, &str)]) -> Vec<(&'static str, &'static str)> {
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        pairs.iter().map(|(key, value)| (leak(key), leak(value))).collect()
    }

    #[test]
    fn names_are_kafkas_or_marked_as_a_clients() {
        for (name, expected) in [
            ("org.apache.kafka.producer.record.send.total", Some("org_apache_kafka_producer_record_send")),
            ("org.apache.kafka.consumer.lag", Some("org_apache_kafka_consumer_lag")),
            ("milena_connections", Some("client_milena_connections")),
            ("org_apache_kafka_x", Some("client_org_apache_kafka_x")),
            ("7é", Some("client_7_")),
            ("", None),
        ] {
            assert_eq!(family(name).as_deref(), expected, "{name}");
        }
        assert_eq!(family(&"x".repeat(NAME_BYTES_MAX + 1)), None);
    }

    #[test]
    fn labels_say_whose_value_it_is_and_of_what() {
        let who = "client_id=\"a \\\"b\\\"\",client_instance_id=\"AAAAAAAAAAAAAAAAAAAAAA\"";
        let software = "client_software_name=\"twin\",client_software_version=\"1\"";
        let expected =
            format!("{who},client_rack=\"r\",{software},client_source_address=\"127.0.0.1\",topic=\"a\\\\\\nb\"");
        assert_eq!(labels_of(&[("client_rack", "r"), ("topic", "z")], &[("topic", "a\\\nb"), ("empty", "")]), expected);
    }

    #[test]
    fn no_attribute_speaks_for_another_client_or_for_prometheus() {
        let text = labels_of(&[("client_id", "other"), ("client.id", "other")], &[("__name__", "up"), ("9", "9")]);
        assert!(!text.contains("other"), "{text}");
        assert!(text.contains("attribute___name__=\"up\"") && text.contains("attribute_9=\"9\""), "{text}");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = labels_of(&[], &[("long", &"é".repeat(1000))]);
        assert!(text.contains(&format!("long=\"{}\"", "é".repeat(128))), "{text}");
    }
}
