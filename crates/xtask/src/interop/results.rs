//! What came of the last whole runs of a suite, in `interop/NAME/results.txt`: a line for each broker.

/// Below a suite's folder.
pub(crate) const FILE: &str = "results.txt";
const INTRODUCTION: &str = "# What came of the last whole runs. Written by `cargo xtask interop NAME --record`.\n";
const BETWEEN: &str = " | ";

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Against what, with its version.
    pub(crate) broker: String,
    /// The day.
    pub(crate) date: String,
    /// `N passed, M failed`.
    pub(crate) result: String,
    /// What else was counted; empty, if nothing.
    pub(crate) remark: String,
}

/// The runs that a file tells of.
pub(crate) fn read(text: &str) -> Result<Vec<Run>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| run(line).ok_or_else(|| format!("{line:?} is no run"))).collect()
}

fn run(line: &str) -> Option<Run> {
    let mut parts = line.split(BETWEEN).map(str::to_owned);
    let (broker, date, result) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Run { broker, date, result, remark: parts.next().unwrap_or_default() })
}

/// The file's text with a run in the place of an earlier one against the same broker, of whatever version.
pub(crate) fn with(text: &str, run: Run) -> Result<String, String> {
    let mut runs = read(text)?;
    runs.retain(|other| name(&other.broker) != name(&run.broker));
    runs.push(run);
    runs.sort_by(|one, other| other.broker.cmp(&one.broker));
    Ok(written(&runs))
}

/// A broker without its version.
pub(crate) fn name(broker: &str) -> &str {
    broker.rsplit_once(' ').map_or(broker, |(name, _)| name)
}

fn written(runs: &[Run]) -> String {
    let line = |run: &Run| {
        let parts = [&run.broker, &run.date, &run.result, &run.remark];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        parts.join(BETWEEN) + "\n"
    };
    runs.iter().fold(INTRODUCTION.to_owned(), |text, run| text + &line(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(broker: &str, result: &str, remark: &str) -> Run {
        let [broker, result, remark] = [broker, result, remark].map(str::to_owned);
        Run { broker, date: "2026-01-02".to_owned(), result, remark }
    }

    #[test]
    fn a_run_takes_the_place_of_the_last_one_of_its_broker() {
        let other = run_of("Other Broker 1", "3 passed, 1 failed", "");
        let newer = run_of("Milena 0.2", "5 passed, 0 failed", "1 fails as expected");
        let runs = [run_of("Milena 0.1", "4 passed, 0 failed", ""), other.clone(), newer.clone()];
        let text = runs.into_iter().fold(String::new(), |text, run| with(&text, run).unwrap());
        assert_eq!(read(&text), Ok(vec![other, newer]));
        assert!(read("a line of something else").is_err());
    }
}
