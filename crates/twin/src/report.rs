//! What a replay found, as people read it: only what differs, grouped by scenario, and one line of counts.

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
