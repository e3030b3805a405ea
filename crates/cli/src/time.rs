//! Points in time on the command line.

use milena_base::Millis;

/// Milliseconds since 1970, or RFC 3339 like `2025-10-16T14:07:00Z`.
pub(crate) fn parse(text: &str) -> Result<Millis, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Millis(millis));
    }
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| {
        format!("\"{text}\" is no time; write it like 2025-10-16T14:07:00Z, or as milliseconds since 1970")
    })?;
    Ok(Millis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(parse("1760623620000"), Ok(Millis(1_760_623_620_000)));
        assert_eq!(parse("2025-10-16T14:07:00Z"), Ok(Millis(1_760_623_620_000)));
        assert!(parse("yesterday").is_err());
    }
}
