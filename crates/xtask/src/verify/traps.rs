//! The page of traps says of each what shows it: scenarios of the twin, which name their traps (`milena-twin list`), tests
//! that are called after it, tests that `crates/twin/traps.txt` names, or the feature that it waits for.

use crate::finding::Finding;
use crate::programs;
use crate::repository::{self, TextFile};
use crate::shell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

const LIST: &str = "crates/twin/traps.txt";
const PAGE: &str = "docs/reference/traps.md";
/// How many traps nothing shows, though nothing is missing for it: it may only become less.
const OPEN_MAX: &str = "# open at most:";

pub(super) fn check(root: &Path, files: &[TextFile]) -> Result<Vec<Finding>, String> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let (traps, told) = read(text(LIST), &scenarios(root)?, &test_names(files));
    let mut findings: Vec<Finding> = told.into_iter().map(|told| Finding::of(LIST, told)).collect();
    if text(PAGE) != page(&traps) {
        findings.push(Finding::of(PAGE, format!("is not what {LIST} and the scenarios say: run `cargo xtask fix`")));
    }
    Ok(findings)
}

/// Writes the page.
pub(super) fn write(root: &Path) -> Result<(), String> {
    let list = std::fs::read_to_string(root.join(LIST)).map_err(|error| format!("{LIST}: {error}"))?;
    let (traps, _) = read(&list, &scenarios(root)?, &test_names(&repository::text_files(root)?));
    std::fs::write(root.join(PAGE), page(&traps)).map_err(|error| format!("{PAGE}: {error}"))
}

#[derive(Debug, Default)]
struct Trap {
    number: u16,
    section: String,
    statement: String,
    scenarios: Vec<String>,
    tests: Vec<String>,
    waits: Option<String>,
}

impl Trap {
    fn is_shown(&self) -> bool {
        !self.scenarios.is_empty() || !self.tests.is_empty()
    }
}

/// `milena-twin list`: `NAME: what it shows (traps 1, 2)`, a line for each scenario.
fn scenarios(root: &Path) -> Result<Vec<(String, Vec<u16>)>, String> {
    let program = programs::TWIN.build()?;
    let listed = shell::output(&mut shell::command(root, &program.to_string_lossy(), &["list"]))?;
    Ok(listed.lines().filter_map(scenario).collect())
}

fn scenario(line: &str) -> Option<(String, Vec<u16>)> {
    let (name, rest) = line.split_once(": ")?;
    let numbers = rest.rsplit_once(" (trap").map_or("", |(_, end)| end);
    let numbers = numbers.trim_start_matches('s').trim_end_matches(')');
    Some((name.to_owned(), numbers.split(',').filter_map(|number| number.trim().parse().ok()).collect()))
}

/// The names of all functions: whatever is named as a test must be one of them.
fn test_names(files: &[TextFile]) -> BTreeSet<String> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs"));
    let lines = sources.flat_map(|file| file.text.lines());
    lines
        .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "))
        .filter_map(|rest| rest.split_once("()"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The numbers in `trap_124_and_128_every_answer_..`.
fn traps_of(test: &str) -> Vec<u16> {
    let Some(rest) = test.strip_prefix("trap_") else { return Vec::new() };
    rest.split('_').filter(|word| *word != "and").map_while(|word| word.parse().ok()).collect()
}

/// The traps of the list with all that shows them, and what is wrong with the list.
fn read(list: &str, scenarios: &[(String, Vec<u16>)], tests: &BTreeSet<String>) -> (Vec<Trap>, Vec<String>) {
    let mut told = Vec::new();
    let mut traps = parse(list, &mut told);
    for (at, trap) in traps.iter().enumerate() {
        if usize::from(trap.number) != at + 1 {
            told.push(format!("has trap {} where {} should be", trap.number, at + 1));
        }
    }
    let known: BTreeMap<u16, usize> = traps.iter().enumerate().map(|(at, trap)| (trap.number, at)).collect();
    for trap in &traps {
        let missing = trap.tests.iter().filter(|test| !tests.contains(*test));
        told.extend(missing.map(|test| format!("names {test} for trap {}: there is no such test", trap.number)));
    }
    let of_scenarios = scenarios.iter().map(|(name, numbers)| (name, numbers.clone(), true));
    for (name, numbers, is_scenario) in of_scenarios.chain(tests.iter().map(|test| (test, traps_of(test), false))) {
        for number in numbers {
            match known.get(&number) {
                None => told.push(format!("has no trap {number}, which {name} shows")),
                Some(at) if is_scenario => traps[*at].scenarios.push(name.clone()),
                Some(at) => traps[*at].tests.push(name.clone()),
            }
        }
    }
    let open = traps.iter().filter(|trap| !trap.is_shown() && trap.waits.is_none()).count();
    let most = list.lines().find_map(|line| line.strip_prefix(OPEN_MAX)?.trim().parse::<usize>().ok());
    println!("       {} traps, {open} of them open", traps.len());
    if most.is_none_or(|most| open > most) {
        told.push(format!("says \"{OPEN_MAX} {}\", but it is {open}", most.unwrap_or(0)));
    }
    (traps, told)
}

fn parse(list: &str, told: &mut Vec<String>) -> Vec<Trap> {
    let mut traps: Vec<Trap> = Vec::new();
    let mut section = String::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let numbered = line.split_once(". ").and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        } else if let Some((number, statement)) = numbered {
            let statement = statement.to_owned();
            traps.push(Trap { number, section: section.clone(), statement, ..Trap::default() });
        } else {
            match (line.trim_start().split_once(": "), traps.last_mut()) {
                (Some(("test", name)), Some(trap)) => trap.tests.push(name.to_owned()),
                (Some(("waits", feature)), Some(trap)) => trap.waits = Some(feature.to_owned()),
                _ => told.push(format!("has a line that is not understood: {line}")),
            }
        }
    }
    traps
}

const INTRODUCTION: &str = "\
# Traps of the protocol

What Kafka 4.3.1 does and an obvious reading gets wrong. Code and tests point here as \"trap N\"; numbers are never used again.

Behind each stands what shows it: *twin*, scenarios in which Kafka and Milena were asked the same (`cargo xtask twin replay NAME`
asks again; the answers of Kafka lie in `crates/twin/transcripts`); *tests* of ours (`cargo test --workspace NAME`); what it *waits for*,
since it cannot happen before that is there; *open* where nothing is missing but the test. Where something stands before *waits for*, a
part is shown, and the rest waits.

This page is made from `crates/twin/traps.txt` and the scenarios by `cargo xtask fix`.

| | traps | shown | in part | wait | open |
|---|---|---|---|---|---|
";

fn page(traps: &[Trap]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in traps.chunk_by(|a, b| a.section == b.section) {
        counts(&mut page, &section[0].section, section);
    }
    counts(&mut page, "all", traps);
    for section in traps.chunk_by(|a, b| a.section == b.section) {
        let _ = writeln!(page, "\n## {}\n", section[0].section);
        for trap in section {
            let _ = writeln!(page, "{}. {}  \n   {}", trap.number, trap.statement, shown_by(trap));
        }
    }
    page
}

fn counts(page: &mut String, title: &str, traps: &[Trap]) {
    let count = |is_shown: bool, waits: bool| {
        traps.iter().filter(|trap| trap.is_shown() == is_shown && trap.waits.is_some() == waits).count()
    };
    let (shown, in_part, wait, open) = (count(true, false), count(true, true), count(false, true), count(false, false));
    let _ = writeln!(page, "| {title} | {} | {shown} | {in_part} | {wait} | {open} |", traps.len());
}

fn shown_by(trap: &Trap) -> String {
    let names = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !trap.scenarios.is_empty() {
        parts.push(format!("*twin:* {}", names(&trap.scenarios)));
    }
    if !trap.tests.is_empty() {
        parts.push(format!("*tests:* {}", names(&trap.tests)));
    }
    parts.extend(trap.waits.iter().map(|feature| format!("*waits for:* {feature}")));
    if parts.is_empty() { "*open*".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST_OF_THREE: &str = "\
# open at most: 1

## One

1. Alpha.
2. Beta.
   test: it_holds
   waits: rain

## Two

3. Gamma.
";

    fn read_with(list: &str, listed: &str) -> (Vec<Trap>, Vec<String>) {
        let scenarios: Vec<_> = listed.lines().filter_map(scenario).collect();
        read(list, &scenarios, &["it_holds", "trap_1_and_2_hold"].map(str::to_owned).into())
    }

    #[test]
    fn the_page_says_what_shows_each_trap() {
        let (traps, told) = read_with(LIST_OF_THREE, "a/b: shows (x) this (traps 1, 2)\nc/d: shows that\n");
        assert_eq!(told, Vec::<String>::new());
        let page = page(&traps);
        assert!(page.contains("1. Alpha.  \n   *twin:* `a/b`; *tests:* `trap_1_and_2_hold`\n"), "{page}");
        assert!(page.contains("`it_holds`, `trap_1_and_2_hold`; *waits for:* rain\n"), "{page}");
        assert!(page.contains("3. Gamma.  \n   *open*\n"), "{page}");
        assert!(page.contains("| One | 2 | 1 | 1 | 0 | 0 |\n| Two | 1 | 0 | 0 | 0 | 1 |\n"), "{page}");
    }

    #[test]
    fn what_is_missing_doubled_or_named_and_not_there_is_found() {
        let found = |list: &str, listed: &str| read_with(list, listed).1.len();
        assert_eq!(found(&LIST_OF_THREE.replace("3. Gamma", "4. Gamma"), ""), 1, "a gap");
        assert_eq!(found(&LIST_OF_THREE.replace("3. Gamma", "2. Gamma"), ""), 1, "a number twice");
        assert_eq!(found(&LIST_OF_THREE.replace("it_holds", "it_breaks"), ""), 1, "no such test");
        assert_eq!(found(&LIST_OF_THREE.replace("waits:", "wishes:"), ""), 1, "no such word");
        assert_eq!(found(&LIST_OF_THREE.replace("most: 1", "most: 0"), ""), 1, "one more is open");
        assert_eq!(found(LIST_OF_THREE, "a/b: shows this (trap 9)\n"), 1, "a trap that is not explained");
        assert_eq!(found(LIST_OF_THREE, "a/b: shows this (trap 3)\n"), 0);
    }
}
