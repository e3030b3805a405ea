//! Settings of the group coordinator.

use milena_base::Millis;
use milena_coordinators::group::{Assignor, ConsumerSettings};

use super::{SettingsError, Values, wrong};

pub(super) fn groups(values: &Values<'_>) -> Result<milena_coordinators::group::Settings, SettingsError> {
    let minutes: i64 = values.number("offsets.retention.minutes")?;
    Ok(milena_coordinators::group::Settings {
        session_timeout_min_ms: values.number("group.min.session.timeout.ms")?,
        session_timeout_max_ms: values.number("group.max.session.timeout.ms")?,
        initial_rebalance_delay_ms: values.number("group.initial.rebalance.delay.ms")?,
        size_max: values.count("group.max.size")?,
        offset_metadata_max: values.count("offset.metadata.max.bytes")?,
        consumer: consumer_groups(values)?,
        offsets_retention: Millis(minutes.saturating_mul(60_000)),
        offsets_retention_check_interval: Millis(values.number("offsets.retention.check.interval.ms")?),
        ..Default::default()
    })
}

/// The classic protocol cannot be switched off.
pub(super) fn serves_consumer_groups(values: &Values<'_>) -> Result<bool, SettingsError> {
    const KEY: &str = "group.coordinator.rebalance.protocols";
    let text = values.text(KEY).unwrap_or_default();
    let mut named = text.split(',').map(|name| name.trim().to_lowercase());
    if !named.clone().any(|name| name == "classic") {
        return Err(wrong(KEY, &text, "must name classic"));
    }
    Ok(named.any(|name| name == "consumer"))
}

fn consumer_groups(values: &Values<'_>) -> Result<ConsumerSettings, SettingsError> {
    let bounded = |name: &str| -> Result<i32, SettingsError> {
        let [key, min, max] = ["", "min.", "max."].map(|bound| format!("group.consumer.{bound}{name}"));
        let value: i32 = values.number(&key)?;
        if value < values.number(&min)? || value > values.number(&max)? {
            return Err(wrong(&key, &value.to_string(), format!("must not be outside of {min} and {max}")));
        }
        Ok(value)
    };
    let settings = ConsumerSettings {
        session_timeout_ms: bounded("session.timeout.ms")?,
        heartbeat_interval_ms: bounded("heartbeat.interval.ms")?,
        assignment_interval_ms: bounded("assignment.interval.ms")?,
        size_max: values.count("group.consumer.max.size")?,
        assignors: assignors(values)?,
        regex_refresh_interval_ms: values.number("group.consumer.regex.refresh.interval.ms")?,
    };
    if settings.heartbeat_interval_ms >= settings.session_timeout_ms {
        let (key, value) = ("group.consumer.heartbeat.interval.ms", settings.heartbeat_interval_ms);
        return Err(wrong(key, &value.to_string(), "must be less than group.consumer.session.timeout.ms"));
    }
    Ok(settings)
}

/// Only the built-in ones: a class of somebody else's cannot be loaded here.
fn assignors(values: &Values<'_>) -> Result<&'static [Assignor], SettingsError> {
    const KEY: &str = "group.consumer.assignors";
    let text = values.text(KEY).unwrap_or_default();
    match text.split(',').map(|name| Assignor::from_name(name.trim())).collect::<Vec<_>>().as_slice() {
        [Some(Assignor::Uniform)] => Ok(&[Assignor::Uniform]),
        [Some(Assignor::Range)] => Ok(&[Assignor::Range]),
        [Some(Assignor::Uniform), Some(Assignor::Range)] => Ok(&[Assignor::Uniform, Assignor::Range]),
        [Some(Assignor::Range), Some(Assignor::Uniform)] => Ok(&[Assignor::Range, Assignor::Uniform]),
        _ => Err(wrong(KEY, &text, "only uniform and range are known, each once")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn is_refused(pairs: &[(&str, &str)], named: &str) -> bool {
        matches!(read(pairs), Err(SettingsError::Value { key, .. }) if key == named)
    }

    #[test]
    fn times_of_consumer_groups_stay_within_their_bounds() {
        for name in ["session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms"] {
            let key = format!("group.consumer.{name}");
            let [min, max] = ["min", "max"].map(|bound| format!("group.consumer.{bound}.{name}"));
            assert!(is_refused(&[(&min, "9000"), (&max, "10000"), (&key, "8999")], &key), "{key}");
            assert!(is_refused(&[(&min, "9000"), (&max, "10000"), (&key, "10001")], &key), "{key}");
        }
        let given = read(&[
            ("group.consumer.assignment.interval.ms", "15000"),
            ("group.consumer.heartbeat.interval.ms", "15000"),
            ("group.consumer.session.timeout.ms", "60000"),
            ("group.consumer.max.size", "7"),
        ]);
        let consumer = given.expect("within the bounds").groups.consumer;
        let times = [consumer.assignment_interval_ms, consumer.heartbeat_interval_ms, consumer.session_timeout_ms];
        assert_eq!((times, consumer.size_max), ([15_000, 15_000, 60_000], 7));
    }

    #[test]
    fn members_are_told_to_beat_within_their_session() {
        let session = ("group.consumer.min.session.timeout.ms", "5000");
        let both = [session, ("group.consumer.session.timeout.ms", "5000")];
        assert!(is_refused(&both, "group.consumer.heartbeat.interval.ms"));
    }

    #[test]
    fn only_the_assignors_that_are_here_can_be_named() {
        let named =
            |text| read(&[("group.consumer.assignors", text)]).map(|settings| settings.groups.consumer.assignors);
        assert_eq!(named("range").ok(), Some(&[Assignor::Range][..]));
        assert_eq!(named("range, uniform").ok(), Some(&[Assignor::Range, Assignor::Uniform][..]));
        assert!(is_refused(&[("group.consumer.assignors", "org.example.Own")], "group.consumer.assignors"));
    }

    #[test]
    fn the_new_protocol_can_be_switched_off_and_the_classic_one_cannot() {
        let key = "group.coordinator.rebalance.protocols";
        assert!(read(&[]).expect("defaults").serves_consumer_groups);
        assert!(!read(&[(key, "classic")]).expect("valid").serves_consumer_groups);
        assert!(is_refused(&[(key, "consumer")], key));
    }
}
