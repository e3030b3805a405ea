//! Two transcripts of one scenario held against each other, value by value, and the list of the differences that
//! we want.

use std::collections::VecDeque;
use std::fmt;

use crate::transcript::{Step, Transcript};

/// Shown where one side says nothing.
const ABSENT: &str = "(absent)";

/// One value that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The step and the path in it, such as `< 3 Produce v9 Responses[0].ErrorCode`.
    pub line: String,
    /// What Kafka said.
    pub kafka: String,
    /// What was said now.
    pub milena: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}\n      kafka:  {}\n      milena: {}", self.line, self.kafka, self.milena)
    }
}

/// Differences that we want, with the reason. In each text but the reason `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    /// Which scenario.
    pub scenario: String,
    /// What differs.
    pub difference: Difference,
    /// Why.
    pub reason: String,
}

impl Intended {
    /// Whether it speaks of this difference.
    pub fn covers(&self, scenario: &str, found: &Difference) -> bool {
        let Difference { line, kafka, milena } = &self.difference;
        self.is_about(scenario)
            && matches(line, &found.line)
            && matches(kafka, &found.kafka)
            && matches(milena, &found.milena)
    }

    /// Whether it speaks of this scenario.
    pub fn is_about(&self, scenario: &str) -> bool {
        matches(&self.scenario, scenario)
    }
}

/// Whether `text` is what `pattern` says, where `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Every difference, in the order of Kafka's transcript.
pub fn compare(kafka: &Transcript, milena: &Transcript) -> Vec<Difference> {
    let mut differences = Vec::new();
    let steps = kafka.steps.len().max(milena.steps.len());
    for at in 0..steps {
        match (kafka.steps.get(at), milena.steps.get(at)) {
            (Some(kafka), Some(milena)) if same_step(kafka, milena) => compare_steps(kafka, milena, &mut differences),
            (kafka, milena) => {
                let title = |step: Option<&Step>| step.map_or(ABSENT.to_owned(), |step| step.title.clone());
                let (kafka, milena) = (title(kafka), title(milena));
                differences.push(Difference { line: format!("step {}", at + 1), kafka, milena });
                // What follows a different course of events says nothing more.
                break;
            }
        }
    }
    differences
}

fn same_step(kafka: &Step, milena: &Step) -> bool {
    kafka.title == milena.title
}

fn compare_steps(kafka: &Step, milena: &Step, differences: &mut Vec<Difference>) {
    let mut rest: VecDeque<&(String, String)> = milena.lines.iter().collect();
    for (path, expected) in &kafka.lines {
        let found = rest.iter().position(|(other, _)| other == path).and_then(|at| rest.remove(at));
        let actual = found.map_or(ABSENT, |(_, actual)| actual);
        if actual != expected {
            let line = format!("{} {path}", kafka.title);
            differences.push(Difference { line, kafka: expected.clone(), milena: actual.to_owned() });
        }
    }
    for (path, actual) in rest {
        let line = format!("{} {path}", kafka.title);
        differences.push(Difference { line, kafka: ABSENT.to_owned(), milena: actual.clone() });
    }
}

/// Reads the list of intended differences: blocks of `scenario`, one or more `line`, `kafka`, `milena` and `reason`,
/// one blank line between them. Each `line` becomes an entry.
///
/// # Errors
/// With the block that cannot be read.
pub fn parse_intended(text: &str) -> Result<Vec<Intended>, String> {
    let body: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let blocks = body.split(|line| line.is_empty()).filter(|block| !block.is_empty());
    let entries: Result<Vec<Vec<Intended>>, String> = blocks.map(intended_block).collect();
    Ok(entries?.concat())
}

fn intended_block(block: &[&str]) -> Result<Vec<Intended>, String> {
    let values = |name: &str| {
        let value = |line: &&str| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
        let found: Vec<String> = block.iter().filter_map(value).collect();
        if found.is_empty() { Err(format!("no `{name}` in:\n{}", block.join("\n"))) } else { Ok(found) }
    };
    let one = |name: &str| values(name).map(|found| found[0].clone());
    let (scenario, kafka, milena, reason) = (one("scenario")?, one("kafka")?, one("milena")?, one("reason")?);
    let entry = |line| Intended {
        scenario: scenario.clone(),
        difference: Difference { line, kafka: kafka.clone(), milena: milena.clone() },
        reason: reason.clone(),
    };
    Ok(values("line")?.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKA: &str = "> 1 Produce v9\nAcks: 5\n\n< 1 Produce v9\nErrorCode: 21 INVALID_REQUIRED_ACKS\nIndex: 0\n";

    #[test]
    fn a_wrong_error_code_is_the_only_difference() {
        let wrong = KAFKA.replace("21 INVALID_REQUIRED_ACKS", "0 NONE");
        let differences = compare(&Transcript::parse(KAFKA), &Transcript::parse(&wrong));
        let line = "< 1 Produce v9 ErrorCode".to_owned();
        let (kafka, milena) = ("21 INVALID_REQUIRED_ACKS".to_owned(), "0 NONE".to_owned());
        assert_eq!(differences, [Difference { line, kafka, milena }]);
    }

    #[test]
    fn missing_and_added_values_are_differences() {
        let other = KAFKA.replace("Index: 0", "Offset: 7");
        let differences = compare(&Transcript::parse(KAFKA), &Transcript::parse(&other));
        let lines: Vec<&str> = differences.iter().map(|difference| difference.line.as_str()).collect();
        assert_eq!(lines, ["< 1 Produce v9 Index", "< 1 Produce v9 Offset"]);
        assert_eq!((differences[0].milena.as_str(), differences[1].kafka.as_str()), (ABSENT, ABSENT));
    }

    #[test]
    fn a_closed_connection_in_place_of_an_answer_is_one_difference() {
        let closed = "> 1 Produce v9\nAcks: 5\n\n< 1 closed\n";
        let differences = compare(&Transcript::parse(KAFKA), &Transcript::parse(closed));
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].milena, "< 1 closed");
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("a/b", "a/b") && !matches("a/b", "a/bc") && !matches("a/b", "xa/b"));
        assert!(matches("api_versions/*", "api_versions/asked_again") && !matches("api_versions/*", "produce/acks"));
        assert!(matches("* ApiKeys[65]*", "< 3 ApiVersions v0 ApiKeys[65]") && matches("*", ""));
        assert!(matches("a*b*c", "a1b2c") && !matches("a*b*c", "a1c") && !matches("ab*bc", "abc"));
    }

    #[test]
    fn the_list_of_intended_differences_needs_a_reason_for_each() {
        let text = "# head\n\nscenario: a/b\nline: < 1 X\nkafka: 1\nmilena: 2\nreason: ours is better\n";
        assert_eq!(parse_intended(text).expect("well formed").len(), 1);
        let two = text.replace("kafka:", "line: < 2 Y\nkafka:");
        let lines: Vec<String> =
            parse_intended(&two).expect("well formed").into_iter().map(|entry| entry.difference.line).collect();
        assert_eq!(lines, ["< 1 X", "< 2 Y"]);
        assert!(parse_intended(&text.replace("reason: ours is better\n", "")).is_err());
    }
}
