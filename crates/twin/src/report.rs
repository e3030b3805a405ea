//! What a replay found, as people read it: only what differs, grouped by scenario, and one line of counts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::compare::{Difference, Intended};
use crate::scenarios::Scenario;

/// More differences than these of one scenario say nothing new.
const SHOWN_MAX: usize = 12;

/// How one scenario went.
#[derive(Debug)]
pub struct Outcome {
    /// Which one.
    pub scenario: &'static Scenario,
    /// Differences that we do not want.
    pub differences: Vec<Difference>,
    /// How many differences are there that we want.
    pub intended: usize,
    /// Whether Kafka's answers were never recorded.
    pub unrecorded: bool,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether the scenario went as it should.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && !self.unrecorded
    }
}

/// How all went.
#[derive(Debug)]
pub struct Report {
    /// In the order of the table.
    pub outcomes: Vec<Outcome>,
    /// Entries of the list that speak of nothing that happened, though everything they are about was played.
    pub vanished: Vec<Intended>,
}

impl Report {
    /// Whether everything went as it should, and there was something at all.
    pub fn is_clean(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(Outcome::is_clean) && self.vanished.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.is_clean()) {
            writeln!(f, "{}", outcome.scenario)?;
            if outcome.unrecorded {
                writeln!(f, "  Kafka's answers are not recorded: run `milena-twin record`")?;
            }
            for difference in outcome.differences.iter().take(SHOWN_MAX) {
                writeln!(f, "{difference}")?;
            }
            if let Some(more) = outcome.differences.len().checked_sub(SHOWN_MAX + 1) {
                writeln!(f, "  ... and {} more", more + 1)?;
            }
            writeln!(f)?;
        }
        for entry in &self.vanished {
            writeln!(f, "{}: differences.txt lists what does not happen\n{}\n", entry.scenario, entry.difference)?;
        }
        self.commonest(f)?;
        let clean = self.outcomes.iter().filter(|outcome| outcome.is_clean()).count();
        let intended: usize = self.outcomes.iter().map(|outcome| outcome.intended).sum();
        let slowest = self.outcomes.iter().max_by_key(|outcome| outcome.took);
        write!(f, "{clean} of {} scenarios answer as Kafka does", self.outcomes.len())?;
        write!(f, "; {intended} intended differences")?;
        match slowest {
            Some(slowest) => write!(f, "; slowest: {} ({:.1} s)", slowest.scenario.name, slowest.took.as_secs_f64()),
            None => write!(f, "; nothing was asked"),
        }
    }
}

impl Report {
    /// The same value that is wrong in the same way in many places is one thing to mend.
    fn commonest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<(String, &str, &str), usize> = BTreeMap::new();
        for found in self.outcomes.iter().flat_map(|outcome| &outcome.differences) {
            let api = found.line.split(' ').nth(2).unwrap_or_default();
            let field = found.line.rsplit(['.', ' ']).next().unwrap_or_default();
            *counts.entry((format!("{api} {field}"), &found.kafka, &found.milena)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 2).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if !counts.is_empty() {
            writeln!(f, "most often:")?;
        }
        for ((field, kafka, milena), count) in counts.iter().take(SHOWN_MAX) {
            writeln!(f, "{count:5} times {field}: kafka {kafka}, milena {milena}")?;
        }
        Ok(())
    }
}
