//! Reading one value. Source: `ConfigDef.parseType` and its validators; the texts are those that clients see.

use super::{Check, ConfigError, Setting, Type};

/// The value as Kafka would print it after reading it (blanks off, numbers plain, duplicates in lists dropped), or why
/// it is refused.
pub fn normalize(setting: &Setting, value: &str) -> Result<String, ConfigError> {
    let text = value.trim();
    match setting.kind {
        Type::Boolean => boolean(setting, value),
        Type::Text | Type::Class | Type::Password => words_check(setting, text).map(|()| text.to_string()),
        Type::Int => number(setting, value, text.parse::<i32>().ok().map(i64::from), "INT"),
        Type::Short => number(setting, value, text.parse::<i16>().ok().map(i64::from), "SHORT"),
        Type::Long => number(setting, value, text.parse::<i64>().ok(), "LONG"),
        Type::Double => double(setting, value),
        Type::List => list(setting, text),
    }
}

/// The words of a list value: split at commas with the blanks around them.
pub(crate) fn words(text: &str) -> Vec<&str> {
    let text = text.trim();
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

fn refused(setting: &Setting, value: &str, why: &str) -> ConfigError {
    ConfigError::invalid(format!("Invalid value {value} for configuration {}: {why}", setting.name))
}

fn boolean(setting: &Setting, value: &str) -> Result<String, ConfigError> {
    let text = value.trim().to_ascii_lowercase();
    match text.as_str() {
        "true" | "false" => Ok(text),
        _ => Err(refused(setting, value, "Expected value to be either true or false")),
    }
}

fn number(setting: &Setting, value: &str, parsed: Option<i64>, kind: &str) -> Result<String, ConfigError> {
    let Some(number) = parsed else {
        return Err(refused(setting, value, &format!("Not a number of type {kind}")));
    };
    let shown = number.to_string();
    match setting.check {
        Check::AtLeast(min) | Check::Between(min, _) if number < min => {
            Err(refused(setting, &shown, &format!("Value must be at least {min}")))
        }
        Check::Between(_, max) if number > max => {
            Err(refused(setting, &shown, &format!("Value must be no more than {max}")))
        }
        Check::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
            Err(refused(setting, &shown, "Value must be between 1 and 9 or equal to -1"))
        }
        _ => Ok(shown),
    }
}

fn double(setting: &Setting, value: &str) -> Result<String, ConfigError> {
    let Ok(number) = value.trim().parse::<f64>() else {
        return Err(refused(setting, value, "Not a number of type DOUBLE"));
    };
    let shown = match number == f64::MAX {
        true => "1.7976931348623157E308".to_string(),
        false => format!("{number:?}"),
    };
    match setting.check {
        Check::DoubleBetween(min, _) if number < min => {
            Err(refused(setting, &shown, &format!("Value must be at least {min}")))
        }
        Check::DoubleBetween(_, max) if number > max => {
            Err(refused(setting, &shown, &format!("Value must be no more than {max}")))
        }
        _ => Ok(shown),
    }
}

fn words_check(setting: &Setting, text: &str) -> Result<(), ConfigError> {
    match setting.check {
        Check::OneOf(known) if !known.contains(&text) => {
            Err(refused(setting, text, &format!("String must be one of: {}", known.join(", "))))
        }
        Check::OneOfAnyCase(known) if !known.iter().any(|word| word.eq_ignore_ascii_case(text)) => {
            Err(refused(setting, text, &format!("String must be one of (case insensitive): {}", known.join(", "))))
        }
        Check::NotEmpty if text.is_empty() => Err(refused(setting, text, "String must be non-empty")),
        Check::OffsetReset if !is_offset_reset(text) => Err(refused(
            setting,
            text,
            &format!(
                "Invalid value `{text}` for configuration {}. The value must be either 'earliest', 'latest' or of the \
                 format 'by_duration:<PnDTnHnMn.nS>'.",
                setting.name
            ),
        )),
        _ => Ok(()),
    }
}

fn list(setting: &Setting, text: &str) -> Result<String, ConfigError> {
    let mut values = words(text);
    let name = setting.name;
    match setting.check {
        Check::Words { known, empty } => {
            let mut seen = Vec::new();
            values.retain(|word| !seen.contains(word) && (seen.push(*word), true).1);
            if values.is_empty() && !empty {
                let valid =
                    if known.is_empty() { "any non-empty value".into() } else { format!("[{}]", known.join(", ")) };
                let why = format!("Configuration '{name}' must not be empty. Valid values include: {valid}");
                return Err(ConfigError::invalid(why));
            }
            if values.iter().any(|word| word.is_empty()) {
                return Err(ConfigError::invalid(format!("Configuration '{name}' values must not be empty.")));
            }
            if let Some(word) = values.iter().find(|word| !known.is_empty() && !known.contains(word)) {
                return Err(refused(setting, word, &format!("String must be one of: {}", known.join(", "))));
            }
        }
        Check::ThrottledReplicas if !(text == "*" || values.iter().all(|pair| is_replica(pair))) => {
            let why = format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            );
            return Err(refused(setting, &format!("[{}]", values.join(", ")), &why));
        }
        Check::HostPorts => {
            if let Some(word) = values.iter().find(|word| !is_host_port(word)) {
                return Err(refused(setting, word, "every entry must be host:port"));
            }
        }
        Check::Voters => {
            let fits = |word: &&str| {
                word.split_once('@').is_some_and(|(id, at)| id.parse::<u32>().is_ok() && is_host_port(at))
            };
            if let Some(word) = values.iter().find(|word| !fits(word)) {
                return Err(refused(setting, word, "every entry must be id@host:port"));
            }
        }
        _ => {}
    }
    Ok(values.join(","))
}

fn is_replica(pair: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    pair.is_empty() || pair.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// `earliest`, `latest`, or `by_duration:` and a span like `P1DT2H3M4.5S` that is not negative.
fn is_offset_reset(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("by_duration:") {
        None => lower == "earliest" || lower == "latest",
        Some(span) => is_span(span),
    }
}

fn is_span(span: &str) -> bool {
    let Some(rest) = span.strip_prefix('p') else { return false };
    let (days, time) = match rest.split_once('t') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let parts = |mut text: &str, units: &str| {
        let mut units = units.chars();
        while !text.is_empty() {
            let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(0);
            let Some(unit) = text[end..].chars().next() else { return false };
            if end == 0 || text[..end].parse::<f64>().is_err() || !units.any(|known| known == unit) {
                return false;
            }
            text = &text[end + 1..];
        }
        true
    };
    let some = !days.is_empty() || time.is_some();
    some && parts(days, "d") && time.is_none_or(|time| !time.is_empty() && parts(time, "hms"))
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, find};
    use super::*;

    fn topic(name: &str, value: &str) -> Result<String, String> {
        normalize(find(Kind::Topic, name).expect("known"), value).map_err(|error| error.message)
    }

    /// The texts are those of a real Kafka 4.3.1, asked for the same change.
    #[test]
    fn refusals_read_as_kafkas() {
        let cases = [
            ("retention.ms", "-5", "Invalid value -5 for configuration retention.ms: Value must be at least -1"),
            ("retention.ms", "abc", "Invalid value abc for configuration retention.ms: Not a number of type LONG"),
            (
                "preallocate",
                "abc",
                "Invalid value abc for configuration preallocate: Expected value to be either true or false",
            ),
            (
                "cleanup.policy",
                "foo",
                "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                "min.cleanable.dirty.ratio",
                "2",
                "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "follower.replication.throttled.replicas",
                "a",
                "Invalid value [a] for configuration follower.replication.throttled.replicas: \
                 follower.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
                 format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            ),
        ];
        for (name, value, message) in cases {
            assert_eq!(topic(name, value), Err(message.to_string()));
        }
    }

    #[test]
    fn values_are_shown_as_read() {
        assert_eq!(topic("retention.ms", " +7 "), Ok("7".into()));
        assert_eq!(topic("cleanup.policy", "delete , compact,delete"), Ok("delete,compact".into()));
        assert_eq!(topic("cleanup.policy", ""), Ok("".into()));
        assert_eq!(topic("preallocate", "TRUE"), Ok("true".into()));
        assert_eq!(topic("min.cleanable.dirty.ratio", "1"), Ok("1.0".into()));
        assert_eq!(topic("leader.replication.throttled.replicas", "*"), Ok("*".into()));
    }

    #[test]
    fn offset_resets_are_words_or_spans() {
        for good in ["earliest", "latest", "by_duration:PT1H", "by_duration:P1DT2H3M4.5S"] {
            assert!(is_offset_reset(good), "{good}");
        }
        for bad in
            ["none", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:-PT1H", "by_duration:PT1M1H"]
        {
            assert!(!is_offset_reset(bad), "{bad}");
        }
    }
}
