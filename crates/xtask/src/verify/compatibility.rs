//! COMPATIBILITY.md holds tables that are made: of the APIs, from what the binary serves and what Apache Kafka said in a
//! recorded answer, and of clients, from their folders below `interop/` and what came of their last whole runs.

use crate::finding::Finding;
use crate::interop::results::{self, Run};
use crate::repository::TextFile;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) const PAGE: &str = "COMPATIBILITY.md";
/// `NAME: what is to be said of it`, for APIs that need a word.
const NOTES: &str = "crates/xtask/apis.txt";
/// Holds Kafka's answer to ApiVersions.
const TRANSCRIPT: &str = "crates/twin/transcripts/api_versions/asked_again.txt";
const DIFFERENCES: &str = "crates/twin/differences.txt";
const DEFINITIONS: &str = "crates/protocol/definitions/";
const INTEROP: &str = "interop/";
/// What a suite is, in its folder: `client:`, `version:`, `checks:`.
const ABOUT: &str = "about.txt";
/// What does not pass there, with the reason.
const EXPECTED: &str = "expected.txt";

type Versions = (i64, i64);

/// The findings, and the page as it has to be.
pub(super) fn check(docs: &Value, files: &[TextFile]) -> Vec<Finding> {
    let mut told = Vec::new();
    let page = made(docs, files, &mut told);
    let mut findings: Vec<Finding> = told.into_iter().map(|(path, what)| Finding::of(&path, what)).collect();
    if page != text(files, PAGE) {
        findings.push(Finding::of(PAGE, "is not what the runs and the binary say: run `cargo xtask fix`"));
    }
    findings
}

/// The page with its tables made anew. What is wrong with their sources goes to `told`, each with its file.
pub(super) fn made(docs: &Value, files: &[TextFile], told: &mut Vec<(String, String)>) -> String {
    let suites = suites(files, told);
    let sections =
        [("apis", apis(docs, files, told)), ("clients", clients(&suites)), ("failures", failures(files, &suites))];
    let mut page = text(files, PAGE).to_owned();
    for (name, made) in sections {
        match replaced(&page, name, &made) {
            Some(new) => page = new,
            None => told.push((PAGE.to_owned(), format!("has no place for {name}: {}", mark(name)))),
        }
    }
    page
}

fn text<'a>(files: &'a [TextFile], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
}

fn mark(name: &str) -> String {
    format!("<!-- {name}: made by `cargo xtask fix` -->\n")
}

/// The page with the part between the marks of that name replaced.
fn replaced(page: &str, name: &str, made: &str) -> Option<String> {
    let (begin, end) = (mark(name), format!("<!-- end of {name} -->\n"));
    let (head, rest) = page.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}{made}{end}{tail}"))
}

/// A row for each API that is served, and a sentence about the others.
fn apis(docs: &Value, files: &[TextFile], told: &mut Vec<(String, String)>) -> String {
    let kafka = kafka_versions(text(files, TRANSCRIPT));
    let mut notes = named_lines(text(files, NOTES));
    let mut table = "| key | API | versions | Kafka 4.3.1 | notes |\n|---:|---|---|---|---|\n".to_owned();
    let mut served = BTreeMap::new();
    for api in docs["apis"].as_array().into_iter().flatten() {
        let number = |name: &str| api[name].as_i64().unwrap_or(-1);
        served.insert(number("key"), (api["name"].as_str().unwrap_or_default(), (number("oldest"), number("newest"))));
    }
    for (key, (name, versions)) in &served {
        let of_kafka = kafka.get(key).map_or("not there".to_owned(), |versions| range(*versions));
        let note = notes.remove(name).unwrap_or_default();
        let _ = writeln!(table, "| {key} | {name} | {} | {of_kafka} | {note} |", range(*versions));
    }
    told.extend(notes.keys().map(|name| (NOTES.to_owned(), format!("has a note on {name}, which is not served"))));
    let missing: Vec<i64> = kafka.keys().filter(|key| !served.contains_key(key)).copied().collect();
    table + &unserved(&missing, files)
}

/// Which of Kafka's APIs are not advertised, by the reason that the intended differences give.
fn unserved(missing: &[i64], files: &[TextFile]) -> String {
    let (names, reasons) = (api_names(files), reasons(text(files, DIFFERENCES)));
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in missing {
        let reason = reasons.get(key).copied().unwrap_or("no reason is given");
        by_reason.entry(reason).or_default().push(names.get(key).copied().unwrap_or("?"));
    }
    let mut text = format!("\nOf Kafka's APIs {} are not advertised:\n\n", missing.len());
    for (reason, names) in by_reason {
        let reason = reason.split(';').next().unwrap_or_default();
        let _ = writeln!(text, "* {reason}: {}", names.join(", "));
    }
    text
}

fn range((oldest, newest): Versions) -> String {
    if oldest == newest { oldest.to_string() } else { format!("{oldest}–{newest}") }
}

/// `ApiKeys[3]: MinVersion 0, MaxVersion 13`. Produce is told from 0 on, for the sake of clients that look there for
/// codecs; versions below 3 are refused.
fn kafka_versions(transcript: &str) -> BTreeMap<i64, Versions> {
    let entry = |line: &str| {
        let (key, rest) = line.strip_prefix("ApiKeys[")?.split_once("]: MinVersion ")?;
        let (oldest, newest) = rest.split_once(", MaxVersion ")?;
        let (key, oldest): (i64, i64) = (key.parse().ok()?, oldest.parse().ok()?);
        Some((key, (if key == 0 { 3 } else { oldest }, newest.trim().parse().ok()?)))
    };
    transcript.lines().filter_map(entry).collect()
}

/// `api NAME KEY` in the definitions.
fn api_names(files: &[TextFile]) -> BTreeMap<i64, &str> {
    let definitions = files.iter().filter(|file| file.path.starts_with(DEFINITIONS));
    let entry = |line| {
        let (name, key) = str::strip_prefix(line, "api ")?.split_once(' ')?;
        Some((key.trim().parse().ok()?, name))
    };
    definitions.flat_map(|file| file.text.lines()).filter_map(entry).collect()
}

/// Why an API is not advertised: the blocks of the intended differences whose lines are `*ApiKeys[N]`.
fn reasons(differences: &str) -> BTreeMap<i64, &str> {
    let mut found = BTreeMap::new();
    for block in differences.split("\n\n") {
        let Some(reason) = block.lines().find_map(|line| line.strip_prefix("reason: ")) else { continue };
        let keys = block.lines().filter_map(|line| line.strip_prefix("line: *ApiKeys[")?.strip_suffix(']'));
        found.extend(keys.filter_map(|key| Some((key.parse().ok()?, reason))));
    }
    found
}

fn named_lines(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
}

struct Suite<'a> {
    name: &'a str,
    client: &'a str,
    version: &'a str,
    checks: &'a str,
    runs: Vec<Run>,
}

/// The folders below `interop/` that hold a `run`.
fn suites<'a>(files: &'a [TextFile], told: &mut Vec<(String, String)>) -> Vec<Suite<'a>> {
    let names = files.iter().filter_map(|file| file.path.strip_prefix(INTEROP)?.strip_suffix("/run"));
    let mut suites = Vec::new();
    for name in names {
        let path = |file: &str| format!("{INTEROP}{name}/{file}");
        let about = named_lines(text(files, &path(ABOUT)));
        let mut part = |part: &str| {
            about.get(part).copied().unwrap_or_else(|| {
                told.push((path(ABOUT), format!("has no line \"{part}: ..\"")));
                ""
            })
        };
        let (client, version, checks) = (part("client"), part("version"), part("checks"));
        let runs = results::read(text(files, &path(results::FILE))).unwrap_or_else(|fault| {
            told.push((path(results::FILE), fault));
            Vec::new()
        });
        suites.push(Suite { name, client, version, checks, runs });
    }
    suites
}

fn clients(suites: &[Suite<'_>]) -> String {
    let mut table =
        "| client | version | what is checked | Milena | Apache Kafka |\n|---|---|---|---|---|\n".to_owned();
    for Suite { name, client, version, checks, runs } in suites {
        let of = |broker: &str| {
            let run = runs.iter().find(|run| results::name(&run.broker) == broker);
            run.map_or("not recorded".to_owned(), told)
        };
        let (milena, kafka) = (of("Milena"), of("Apache Kafka"));
        let _ = writeln!(table, "| {client} | {version} | {checks} (`interop/{name}`) | {milena} | {kafka} |");
    }
    table
}

fn told(run: &Run) -> String {
    let remark = if run.remark.is_empty() { String::new() } else { format!("; {}", run.remark) };
    format!("{}{remark} ({})", run.result, run.date)
}

/// What stands in `expected.txt`, by suite and reason.
fn failures(files: &[TextFile], suites: &[Suite<'_>]) -> String {
    let mut table = "| suite | what | why | tests |\n|---|---|---|---|\n".to_owned();
    for Suite { name, .. } in suites {
        let mut by_reason: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let expected = text(files, &format!("{INTEROP}{name}/{EXPECTED}"));
        for line in expected.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (Some(test), Some(place), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
            let place = if place == "both" { String::new() } else { format!(" ({place})") };
            let reason = words.collect::<Vec<_>>().join(" ");
            by_reason.entry((format!("{kind}{place}"), reason)).or_default().push(format!("`{test}`"));
        }
        for ((what, why), tests) in by_reason {
            let _ = writeln!(table, "| `{name}` | {what} | {why} | {} |", tests.join(", "));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files() -> Vec<TextFile> {
        let places: String =
            ["apis", "clients", "failures"].map(|name| format!("{}<!-- end of {name} -->\n", mark(name))).concat();
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        vec![
            file(PAGE, &format!("By hand.\n{places}By hand.\n")),
            file(NOTES, "# remark\nProduce: with a word\n"),
            file(TRANSCRIPT, "ApiKeys[0]: MinVersion 0, MaxVersion 13\nApiKeys[17]: MinVersion 0, MaxVersion 1\n"),
            file(DIFFERENCES, "scenario: a\nline: *ApiKeys[17]\nreason: not yet; so\n"),
            file("crates/protocol/definitions/unserved/api/x.txt", "api Handshake 17\n"),
            file("interop/one/run", ""),
            file("interop/one/about.txt", "client: One\nversion: 1\nchecks: all\n"),
            file("interop/one/results.txt", "Milena 0.1 | 2026-01-02 | 4 passed, 0 failed | 1 fails as expected\n"),
            file(
                "interop/one/expected.txt",
                "# Test\na both fails no reason\nb milena skips another\nc both fails no reason\n",
            ),
        ]
    }

    fn docs() -> Value {
        json!({"apis": [{"key": 0, "name": "Produce", "oldest": 3, "newest": 13}]})
    }

    #[test]
    fn tables_are_made_from_what_was_said_and_run() {
        let mut told = Vec::new();
        let page = made(&docs(), &files(), &mut told);
        for line in [
            "| 0 | Produce | 3–13 | 3–13 | with a word |\n",
            "Of Kafka's APIs 1 are not advertised:\n\n* not yet: Handshake\n",
            "| One | 1 | all (`interop/one`) | 4 passed, 0 failed; 1 fails as expected (2026-01-02) | not recorded |\n",
            "| `one` | fails | no reason | `a`, `c` |\n",
            "| `one` | skips (milena) | another | `b` |\n",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
        assert!(page.starts_with("By hand.\n") && page.ends_with("By hand.\n") && told.is_empty(), "{told:?}");
    }

    #[test]
    fn a_page_that_is_old_or_has_no_place_is_found_and_so_is_a_suite_that_says_nothing_of_itself() {
        let mut files = files();
        assert_eq!(check(&docs(), &files).len(), 1, "it is not made yet");
        files[0].text = made(&docs(), &files, &mut Vec::new());
        assert_eq!(check(&docs(), &files).len(), 0);
        files[1].text = "Fetch: is not served\n".to_owned();
        files.retain(|file| file.path != "interop/one/about.txt");
        files[0].text = files[0].text.replace("failures", "faults");
        let mut told = Vec::new();
        made(&docs(), &files, &mut told);
        assert_eq!(told.len(), 5, "{told:?}");
    }
}
