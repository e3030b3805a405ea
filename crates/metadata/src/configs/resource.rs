//! Checking all settings of a resource together, as they would be after a change.
//!
//! Source: `ControllerConfigurationValidator`, `LogConfig.validate`, `GroupConfig.validate`,
//! `ClientMetricsConfigs.validate`, `DynamicBrokerConfig.validateConfigs`.

use super::check::{normalize, words};
use super::effective::{Layers, effective};
use super::{ConfigError, Dynamic, Kind, Resource, Values, find, synonyms};
use crate::telemetry::Selectors;
use crate::topic_name;

/// Whether `settings` (everything that the resource would have) may stand. `layers.own` is not looked at.
pub fn validate_resource(resource: &Resource, settings: &Values, layers: Layers) -> Result<(), ConfigError> {
    let layers = Layers { own: settings, ..layers };
    match resource.kind {
        Kind::Topic => topic(&resource.name, settings, layers),
        Kind::Broker => broker(&resource.name, settings),
        Kind::ClientMetrics => client_metrics(&resource.name, settings),
        Kind::Group => group(&resource.name, settings, layers),
    }
}

/// Checks server.properties; the answer lists the keys that no table knows (they deserve a warning each).
pub fn check_file(file: &Values) -> Result<Vec<String>, ConfigError> {
    let mut unknown = Vec::new();
    for (name, value) in file {
        match find(Kind::Broker, name) {
            Some(setting) => drop(normalize(setting, value)?),
            None if synonyms::listener_setting(name).is_some() => {}
            None => unknown.push(name.clone()),
        }
    }
    Ok(unknown)
}

/// The refusal of a name that is in no table.
pub(super) fn unknown(kind: Kind, name: &str) -> ConfigError {
    match kind {
        Kind::Topic => ConfigError::invalid(format!("Unknown topic config name: {name}")),
        Kind::Group => ConfigError::invalid(format!("Unknown group config name: {name}")),
        Kind::ClientMetrics => ConfigError::request(format!("Unknown client metrics configuration: {name}")),
        Kind::Broker => ConfigError::request(format!("Unknown broker config name: {name}")),
    }
}

fn known_and_readable(kind: Kind, settings: &Values) -> Result<(), ConfigError> {
    if let Some(name) = settings.keys().find(|name| find(kind, name).is_none()) {
        return Err(unknown(kind, name));
    }
    for (name, value) in settings {
        if let Some(setting) = find(kind, name) {
            normalize(setting, value)?;
        }
    }
    Ok(())
}

fn topic(name: &str, settings: &Values, layers: Layers) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::request("Default topic resources are not allowed."));
    }
    topic_name::validate(name)
        .map_err(|message| ConfigError { code: milena_protocol::ErrorCode::InvalidTopicException, message })?;
    known_and_readable(Kind::Topic, settings)?;
    let lag = |name: &str| number(Kind::Topic, name, layers);
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min > max {
        return Err(ConfigError::invalid(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    let remote = effective(Kind::Topic, "remote.storage.enable", layers).is_some_and(|value| value == "true");
    let system =
        effective(Kind::Broker, "remote.log.storage.system.enable", layers).is_some_and(|value| value == "true");
    if remote && !system {
        return Err(ConfigError::invalid(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ));
    }
    Ok(())
}

fn broker(name: &str, settings: &Values) -> Result<(), ConfigError> {
    if !name.is_empty() {
        match name.parse::<i32>() {
            Err(_) => return Err(ConfigError::request("Unable to parse broker name as a base 10 number.")),
            Ok(id) if id < 0 => return Err(ConfigError::request("Invalid negative broker ID.")),
            Ok(_) => {}
        }
    }
    let offenders = |is_offence: &dyn Fn(&str) -> bool, what: &str| {
        let names: Vec<&str> = settings.keys().map(String::as_str).filter(|name| is_offence(name)).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::request(format!("{what}: [{}]", names.join(", ")))),
        }
    };
    let dynamic = |name: &str| find(Kind::Broker, name).map(|setting| setting.dynamic);
    offenders(&|name| dynamic(name) == Some(Dynamic::ReadOnly), "Cannot update these configs dynamically")?;
    offenders(
        &|name| is_key_material(name),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )?;
    for (name, value) in settings {
        let base = synonyms::listener_setting(name).unwrap_or(name);
        if let Some(setting) = find(Kind::Broker, base) {
            normalize(setting, value).map_err(|error| ConfigError::request(error.message))?;
        }
    }
    if name.is_empty() {
        let per_broker = |name: &str| match synonyms::listener_setting(name) {
            Some(base) => dynamic(base) != Some(Dynamic::ClusterWide),
            None => dynamic(name) == Some(Dynamic::PerBroker),
        };
        offenders(&per_broker, "Cannot update these configs at default cluster level, broker id must be specified")?;
    }
    Ok(())
}

/// Keys, certificates and their stores: one set for all listeners is never changed at run time.
fn is_key_material(name: &str) -> bool {
    name.starts_with("ssl.keystore.") || name.starts_with("ssl.truststore.") || name == "ssl.key.password"
}

fn client_metrics(name: &str, settings: &Values) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::request("Subscription name can't be empty"));
    }
    known_and_readable(Kind::ClientMetrics, settings)?;
    let interval = settings.get("interval.ms").and_then(|value| value.trim().parse::<i32>().ok());
    if let Some(interval) = interval.filter(|interval| !(100..=3_600_000).contains(interval)) {
        return Err(ConfigError::request(format!(
            "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        )));
    }
    let patterns = settings.get("match").map_or_else(Vec::new, |value| words(value));
    match Selectors::parse(&patterns) {
        Ok(_) => Ok(()),
        Err(pattern) => Err(ConfigError::invalid(format!("Illegal client matching pattern: {pattern}"))),
    }
}

/// Group settings that the broker bounds: the setting, the broker's lower bound, its upper one, and whether it is
/// looked at only when set.
const GROUP_BOUNDS: &[(&str, Option<&str>, &str, bool)] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        "group.consumer.max.heartbeat.interval.ms",
        false,
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        "group.consumer.max.session.timeout.ms",
        false,
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        "group.consumer.max.assignment.interval.ms",
        true,
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        "group.share.max.heartbeat.interval.ms",
        false,
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        "group.share.max.session.timeout.ms",
        false,
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        "group.share.max.record.lock.duration.ms",
        false,
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        "group.share.max.delivery.count.limit",
        false,
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        "group.share.max.partition.max.record.locks",
        false,
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        "group.share.max.assignment.interval.ms",
        true,
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        "group.streams.max.heartbeat.interval.ms",
        false,
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        "group.streams.max.session.timeout.ms",
        false,
    ),
    ("streams.num.standby.replicas", None, "group.streams.max.standby.replicas", false),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        "group.streams.max.assignment.interval.ms",
        true,
    ),
];

fn group(name: &str, settings: &Values, layers: Layers) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::request("Default group resources are not allowed."));
    }
    known_and_readable(Kind::Group, settings)?;
    for (name, min, max, only_when_set) in GROUP_BOUNDS {
        if *only_when_set && !settings.contains_key(*name) {
            continue;
        }
        let value = number(Kind::Group, name, layers);
        if let Some(min) = min.filter(|min| value < number(Kind::Broker, min, layers)) {
            return Err(ConfigError::invalid(format!("{name} must be greater than or equal to {min}")));
        }
        if value > number(Kind::Broker, max, layers) {
            return Err(ConfigError::invalid(format!("{name} must be less than or equal to {max}")));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        if number(Kind::Group, &session, layers) <= number(Kind::Group, &heartbeat, layers) {
            return Err(ConfigError::invalid(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}

/// A numeric setting in force. Every numeric row has a default, so that nothing is missing.
fn number(kind: Kind, name: &str, layers: Layers) -> i64 {
    effective(kind, name, layers).and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_protocol::ErrorCode;

    fn refusal(resource: Resource, pairs: &[(&str, &str)]) -> Option<(ErrorCode, String)> {
        let settings = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let none = Values::new();
        let layers = Layers { own: &none, broker: &none, all_brokers: &none, file: &none };
        validate_resource(&resource, &settings, layers).err().map(|error| (error.code, error.message))
    }

    fn client_metrics(name: &str) -> Resource {
        Resource { kind: Kind::ClientMetrics, name: name.into() }
    }

    /// Codes and texts are those of a real Kafka 4.3.1, asked for the same change.
    #[test]
    fn refusals_are_kafkas() {
        let invalid = ErrorCode::InvalidConfig;
        let request = ErrorCode::InvalidRequest;
        let cases = [
            (Resource::topic("one"), ("nope", "x"), invalid, "Unknown topic config name: nope"),
            (Resource::topic(""), ("retention.ms", "5"), request, "Default topic resources are not allowed."),
            (
                Resource::topic("one"),
                ("remote.storage.enable", "true"),
                invalid,
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                 storage.",
            ),
            (Resource::all_brokers(), ("node.id", "5"), request, "Cannot update these configs dynamically: [node.id]"),
            (
                Resource::all_brokers(),
                ("log.retention.ms", "x"),
                request,
                "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
            ),
            (
                Resource::all_brokers(),
                ("ssl.keystore.type", "5"),
                request,
                "These security configs can be dynamically updated only per-listener using the listener prefix: \
                 [ssl.keystore.type]",
            ),
            (
                Resource::group("g"),
                ("consumer.heartbeat.interval.ms", "5"),
                invalid,
                "consumer.heartbeat.interval.ms must be greater than or equal to \
                 group.consumer.min.heartbeat.interval.ms",
            ),
            (client_metrics("m"), ("nope", "5"), request, "Unknown client metrics configuration: nope"),
            (
                client_metrics("m"),
                ("interval.ms", "5"),
                request,
                "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (client_metrics("m"), ("match", "a"), invalid, "Illegal client matching pattern: a"),
        ];
        for (resource, pair, code, message) in cases {
            assert_eq!(refusal(resource, &[pair]), Some((code, message.to_string())));
        }
    }

    #[test]
    fn compaction_lags_must_not_cross() {
        let both = [("min.compaction.lag.ms", "9223372036854775807"), ("max.compaction.lag.ms", "5")];
        let expected = "conflict topic config setting min.compaction.lag.ms (9223372036854775807) > \
                        max.compaction.lag.ms (5)";
        assert_eq!(refusal(Resource::topic("one"), &both), Some((ErrorCode::InvalidConfig, expected.to_string())));
    }

    #[test]
    fn a_session_must_be_longer_than_its_heartbeat() {
        let share = [("share.session.timeout.ms", "45000"), ("share.heartbeat.interval.ms", "15000")];
        assert_eq!(refusal(Resource::group("g"), &share), None);
    }

    #[test]
    fn brokers_accept_what_no_table_knows() {
        assert_eq!(refusal(Resource::all_brokers(), &[("some.unknown", "5")]), None);
    }

    #[test]
    fn the_file_may_hold_any_key_but_no_bad_value() {
        let file = |name: &str, value: &str| Values::from([(name.to_string(), value.to_string())]);
        assert_eq!(check_file(&file("my.own", "x")), Ok(vec!["my.own".to_string()]));
        assert_eq!(check_file(&file("listener.name.x.ssl.keystore.type", "PEM")), Ok(vec![]));
        assert!(check_file(&file("num.partitions", "0")).is_err());
    }
}
