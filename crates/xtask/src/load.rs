//! Many groups with many members, and what a rebalance costs: `cargo xtask load groups`, `load rebalance` and `load
//! consumers`.

mod assigned;
pub(crate) mod consumers;
pub(crate) mod groups;
mod ledger;
mod member;
pub(crate) mod rebalance;

use crate::counts;
use std::time::Duration;

/// What was found good, and what was not.
#[derive(Default)]
struct Report {
    results: Vec<(bool, String)>,
}

impl Report {
    fn judge(&mut self, good: bool, what: &str) {
        println!("{} {what}", if good { "ok    " } else { "FAILED" });
        self.results.push((good, what.to_owned()));
    }

    fn end(self, suite: &str) -> Result<(), String> {
        counts::announce(suite);
        let failed: Vec<&String> = self.results.iter().filter(|(good, _)| !good).map(|(_, what)| what).collect();
        println!("{} passed, {} failed", self.results.len() - failed.len(), failed.len());
        failed.first().map_or(Ok(()), |what| Err((*what).clone()))
    }
}

/// The value below which that part of the sorted values lie.
fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn ms(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

/// `--NAME VALUE` among the arguments, which hold nothing else.
fn option<'a>(arguments: &[&'a str], known: &[&str], name: &str) -> Result<Option<&'a str>, String> {
    let mut found = None;
    for pair in arguments.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} has no value", pair[0])) };
        if !known.contains(key) {
            return Err(format!("{key} is not known; there are {}", known.join(", ")));
        }
        if *key == name {
            found = Some(*value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let spans: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&spans, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&spans, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&spans, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn options_come_in_pairs_and_are_known() {
        assert_eq!(option(&["--a", "1"], &["--a"], "--a"), Ok(Some("1")));
        assert!(option(&["--b", "1"], &["--a"], "--a").is_err());
        assert!(option(&["--a"], &["--a"], "--a").is_err());
    }
}
