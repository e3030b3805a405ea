//! A log that an attacker can fill is an attack of its own: at most one line per offender and second.

use std::collections::BTreeMap;
use std::time::Duration;

/// Every line of `log` that is more than one per source and second, given the sources that misbehaved and for how long.
/// Lines that name no source share one allowance of their own.
pub(super) fn faults(log: &str, sources: &[String], lasted: Duration) -> Vec<String> {
    let allowed = lasted.as_secs() + 2;
    let mut lines: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for line in log.lines() {
        let source = sources.iter().find(|source| names(line, source)).map_or("no source", String::as_str);
        let (count, _) = lines.entry(source).or_insert((0, line));
        *count += 1;
    }
    let too_many = lines.into_iter().filter(|(_, (count, _))| *count > allowed);
    too_many
        .map(|(source, (count, first))| {
            format!("{count} log lines for {source} in {} s, for example: {first}", lasted.as_secs())
        })
        .collect()
}

/// Whether the line names this address and not a longer one that starts with it.
fn names(line: &str, source: &str) -> bool {
    line.match_indices(source).any(|(at, _)| {
        let after = line[at + source.len()..].chars().next();
        !after.is_some_and(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_allowed_and_more_are_not() {
        let sources = ["127.0.0.2".to_owned(), "127.0.0.20".to_owned()];
        let line = "WARN bad frame from 127.0.0.20:999\n";
        assert!(faults(&line.repeat(5), &sources, Duration::from_secs(3)).is_empty());
        let found = faults(&line.repeat(6), &sources, Duration::from_secs(3));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("6 log lines for 127.0.0.20 "));
    }

    #[test]
    fn lines_without_a_source_are_counted_together() {
        assert_eq!(faults(&"WARN something\n".repeat(9), &[], Duration::from_secs(1)).len(), 1);
    }
}
