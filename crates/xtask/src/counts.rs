//! How many tests passed, per suite, held against `.ci/floor.txt`: a suite that shrinks or does not run is a failure.
//! A log names a suite with a line `== suite NAME`; below it stand cargo's own result lines, or `N passed, M failed`.

use crate::repository;
use std::collections::BTreeMap;

const FLOOR: &str = ".ci/floor.txt";
const MARK: &str = "== suite ";

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Announces a suite, so that what follows is counted for it.
pub(crate) fn announce(suite: &str) {
    println!("{}", announcement(suite));
}

/// The line that announces a suite.
pub(crate) fn announcement(suite: &str) -> String {
    format!("{MARK}{suite}")
}

pub(crate) fn counts(arguments: &[&str]) -> Result<(), String> {
    let [path, broken @ ..] = arguments else { return Err("counts LOG [FAILED-PART..]".to_owned()) };
    let log = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let suites = count(&String::from_utf8_lossy(&log));
    let floor = std::fs::read_to_string(repository::root().join(FLOOR)).map_err(|error| format!("{FLOOR}: {error}"))?;
    let mut faults = judge(&suites, &parse_floor(&floor)?);
    faults.extend(broken.iter().map(|part| format!("{part}: failed, whatever its tests say")));
    println!();
    for (suite, count) in &suites {
        println!("{:6} passed {:4} failed  {suite}", count.passed, count.failed);
    }
    for fault in &faults {
        println!("{fault}");
    }
    let passed: usize = suites.values().map(|count| count.passed).sum();
    let failed: usize = suites.values().map(|count| count.failed).sum();
    println!("{passed} passed, {} failed", failed.max(faults.len()));
    // The sum stays the last line.
    if faults.is_empty() { Ok(()) } else { Err(String::new()) }
}

fn count(log: &str) -> BTreeMap<String, Count> {
    let mut suites: BTreeMap<String, Count> = BTreeMap::new();
    let mut suite = None;
    for line in log.lines() {
        if let Some(name) = line.strip_prefix(MARK) {
            suite = Some(name.trim().to_owned());
            suites.entry(name.trim().to_owned()).or_default();
        } else if let (Some(found), Some(name)) = (result_line(line), &suite) {
            let count = suites.entry(name.clone()).or_default();
            count.passed += found.passed;
            count.failed += found.failed;
        }
    }
    suites
}

/// `12 passed, 0 failed`, or cargo's `test result: ok. 12 passed; 0 failed; 1 ignored; ..`, where ignored is failed.
pub(crate) fn result_line(line: &str) -> Option<Count> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("test result: ") {
        let rest = rest.split_once(". ")?.1;
        let number = |what: &str| {
            let part = rest.split(';').find(|part| part.trim().ends_with(what))?;
            part.split_whitespace().next()?.parse::<usize>().ok()
        };
        return Some(Count { passed: number("passed")?, failed: number("failed")? + number("ignored")? });
    }
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Count { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

/// What a script's result and its end mean together: without a result, or with one fault, it has failed.
pub(crate) fn conclude(script: &str, result: Option<Count>, outcome: Result<(), String>) -> Result<(), String> {
    match result {
        Some(Count { passed, failed: 0 }) if passed > 0 => outcome,
        Some(_) => Err(format!("{script} found a fault")),
        None => Err(format!("{script} ended without a result: {outcome:?}")),
    }
}

fn parse_floor(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (suite, minimum) = line.split_once(char::is_whitespace)?;
        Some((suite.to_owned(), minimum.trim().parse().ok()?))
    };
    lines.map(|line| entry(line).ok_or_else(|| format!("{FLOOR}: {line:?} is not a suite and a number"))).collect()
}

fn judge(suites: &BTreeMap<String, Count>, floor: &BTreeMap<String, usize>) -> Vec<String> {
    let mut faults = Vec::new();
    for (suite, minimum) in floor {
        match suites.get(suite) {
            None => faults.push(format!("{suite}: did not run; its floor is {minimum}")),
            Some(count) if count.passed < *minimum => {
                faults.push(format!("{suite}: {} passed, fewer than its floor of {minimum}", count.passed));
            }
            Some(_) => {}
        }
    }
    for (suite, count) in suites {
        if count.failed > 0 {
            faults.push(format!("{suite}: {} failed", count.failed));
        }
        if !floor.contains_key(suite) {
            faults.push(format!("{suite}: has no floor in {FLOOR}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "noise 1 passed, 0 failed ignored before a suite\n== suite unit\n\
        test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\n== suite java\nok x\n7 passed, 0 failed\n";

    fn faults(log: &str, floor: &str) -> Vec<String> {
        judge(&count(log), &parse_floor(floor).unwrap())
    }

    #[test]
    fn results_are_added_up_per_suite() {
        let suites = count(LOG);
        assert_eq!(suites["unit"], Count { passed: 15, failed: 0 });
        assert_eq!(suites["java"], Count { passed: 7, failed: 0 });
        assert!(faults(LOG, "unit 15\njava 7").is_empty());
    }

    #[test]
    fn a_suite_below_its_floor_missing_or_without_a_floor_is_a_fault() {
        assert_eq!(faults(LOG, "unit 16\njava 7").len(), 1);
        assert_eq!(faults(LOG, "unit 15\njava 7\ngo 1").len(), 1);
        assert_eq!(faults(LOG, "unit 15").len(), 1);
    }

    #[test]
    fn failed_and_ignored_tests_are_faults() {
        let log = "== suite unit\ntest result: FAILED. 9 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(faults(log, "unit 9").len(), 1);
        let log = "== suite unit\ntest result: ok. 9 passed; 0 failed; 1 ignored; 0 measured\n";
        assert_eq!(faults(log, "unit 9").len(), 1);
    }
}
