//! Points in time on the command line.

use milena_base::Millis;

/// Now, as brokers and producers count it.
pub(crate) fn now() -> Millis {
    Millis(jiff::Timestamp::now().as_millisecond())
}

/// Milliseconds since 1970, or RFC 3339 like `2025-10-16T14:07:00Z`; without a zone it is UTC, as for Kafka's tools.
pub(crate) fn parse(text: &str) -> Result<Millis, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Millis(millis));
    }
    let with_zone: Result<jiff::Timestamp, _> = text.parse();
    let timestamp = with_zone.or_else(|_| format!("{text}Z").parse()).map_err(|_| {
        format!("\"{text}\" is no time; write it like 2025-10-16T14:07:00Z, or as milliseconds since 1970")
    })?;
    Ok(Millis(timestamp.as_millisecond()))
}

/// As [`parse`] reads it, in UTC and with milliseconds; a time that no calendar has stays a number.
pub(crate) fn show(time: Millis) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"))
}

/// A span of time as ISO 8601 says it, like `P7D` or `PT1H30M`; a day has 24 hours. Never negative.
pub(crate) fn parse_duration(text: &str) -> Result<Millis, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let exact = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    match exact {
        Ok(exact) if !exact.is_negative() => Ok(Millis(exact.as_millis().try_into().unwrap_or(i64::MAX))),
        _ => Err(format!("\"{text}\" is no span of time; write it like P7D for days, PT1H30M for hours and minutes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(parse("1760623620000"), Ok(Millis(1_760_623_620_000)));
        assert_eq!(parse("2025-10-16T14:07:00Z"), Ok(Millis(1_760_623_620_000)));
        assert_eq!(parse("2025-10-16T14:07:00.000"), Ok(Millis(1_760_623_620_000)));
        assert_eq!(parse("2025-10-16T16:07:00+02:00"), Ok(Millis(1_760_623_620_000)));
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn times_are_shown_as_they_are_read() {
        assert_eq!(show(Millis(1_760_623_620_000)), "2025-10-16T14:07:00.000Z");
        assert_eq!(show(Millis(i64::MAX)), i64::MAX.to_string());
    }

    #[test]
    fn spans_of_time_are_read_as_javas() {
        assert_eq!(parse_duration("P1DT1H1M1.5S"), Ok(Millis(90_061_500)));
        assert_eq!(parse_duration("PT0S"), Ok(Millis(0)));
        assert!(parse_duration("-PT1S").is_err() && parse_duration("P1M").is_err() && parse_duration("1").is_err());
    }
}
