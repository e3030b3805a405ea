//! The reference pages say what the binary says of itself (`milena docs --json`): settings and metrics; of APIs see
//! [`compatibility`]. Pages are made from it by `cargo xtask fix`, and compared here. Every setting that acts names the test that shows it.

use super::compatibility;
use crate::finding::Finding;
use crate::programs;
use crate::repository::{self, TextFile};
use crate::shell;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const SETTINGS: &str = "docs/reference/settings.md";
const METRICS: &str = "docs/reference/metrics.md";
/// `KIND NAME: TEST` for each setting that acts.
const TESTS: &str = "crates/xtask/settings.txt";

pub(super) fn check(root: &Path, files: &[TextFile]) -> Result<Vec<Finding>, String> {
    let docs = ask(root)?;
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    for (path, made) in made(&docs, text(TESTS)) {
        if text(path) != made {
            findings.push(Finding::of(path, "is not what the binary says: run `cargo xtask fix`"));
        }
    }
    findings.extend(compatibility::check(&docs, files));
    findings.extend(check_tests(&docs, text(TESTS), files));
    Ok(findings)
}

/// Writes the pages.
pub(super) fn write(root: &Path) -> Result<(), String> {
    let docs = ask(root)?;
    let files = repository::text_files(root)?;
    let tests = files.iter().find(|file| file.path == TESTS).map_or("", |file| file.text.as_str());
    let compatibility = (compatibility::PAGE, compatibility::made(&docs, &files, &mut Vec::new()));
    for (path, made) in made(&docs, tests).into_iter().chain([compatibility]) {
        std::fs::write(root.join(path), made).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn ask(root: &Path) -> Result<Value, String> {
    let program = programs::MILENA.build()?;
    let told = shell::output(&mut shell::command(root, &program.to_string_lossy(), &["docs", "--json"]))?;
    serde_json::from_str(&told).map_err(|error| format!("milena docs --json: {error}"))
}

fn made(docs: &Value, tests: &str) -> [(&'static str, String); 2] {
    [(SETTINGS, settings_page(docs, &named_tests(tests))), (METRICS, metrics_page(docs))]
}

/// The test of each setting, by its kind and name.
fn named_tests(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
}

fn list<'a>(docs: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    docs[name].as_array().into_iter().flatten()
}

fn word<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

const SETTINGS_INTRODUCTION: &str = "\
# Settings

Every key of Kafka 4.3.1's `server.properties`, of its topics, groups and client-metrics subscriptions is accepted, checked and shown by
DescribeConfigs with Kafka's default. Those in the tables act, and name the test that shows it: a function of the tests, or with a slash a scenario of
the twin. The others, below each table, have one value that is built in, or no effect, so that Kafka's files work as they are; what would promise
something that is not there (TLS, several voters, several directories) is refused at the start instead.

Settings of brokers that change at run time can be set for one broker and for all, or only `of one broker`; a broker's own value counts more than
that of all, that more than the file's. `max.connections` and `max.connection.creation.rate` can be said of one listener, with
`listener.name.LISTENER.` before them.

This page is made from `milena docs --json` by `cargo xtask fix`.

## Our own

They are given with `-o` or in the file, never leave the node, and no client sees them.

| setting | default | meaning |
|---|---|---|
";

fn settings_page(docs: &Value, tests: &BTreeMap<&str, &str>) -> String {
    let mut page = SETTINGS_INTRODUCTION.to_owned();
    for own in list(docs, "own_settings") {
        let _ = writeln!(page, "| `{}` | {} | {} |", word(own, "name"), word(own, "default"), word(own, "doc"));
    }
    page.push_str(
        "\nThe environment variable `MILENA_LOG` chooses the level of logs, see [observe a node](../guides/observe.md).\n",
    );
    for (kind, title) in [
        ("topic", "Topics"),
        ("broker", "Brokers"),
        ("group", "Groups"),
        ("client-metrics", "Client-metrics subscriptions"),
    ] {
        settings_section(&mut page, docs, tests, (kind, title));
    }
    page
}

fn settings_section(page: &mut String, docs: &Value, tests: &BTreeMap<&str, &str>, (kind, title): (&str, &str)) {
    let is_shown = |setting: &&Value| word(setting, "kind") == kind && setting["public"] == true;
    let all: Vec<&Value> = list(docs, "settings").filter(is_shown).collect();
    let (acting, idle): (Vec<&Value>, Vec<&Value>) =
        all.into_iter().partition(|setting| word(setting, "effect") == "acts");
    let _ = writeln!(page, "\n## {title}");
    if kind == "topic" {
        page.push_str(
            "\nA topic without a value of its own takes the broker's (`log.*` and so on), in Kafka's order: this broker's, all\n\
             brokers', the file's, the default.\n",
        );
    }
    if !acting.is_empty() {
        page.push_str("\n| setting | default | changes | meaning | shown by |\n|---|---|---|---|---|\n");
    }
    for setting in acting {
        let (name, changes, doc) = (word(setting, "name"), word(setting, "changes"), word(setting, "doc"));
        let default = match setting["default"].as_str() {
            None => String::new(),
            Some("") => "empty".to_owned(),
            Some("9223372036854775807") => "never".to_owned(),
            Some(text) => format!("`{text}`"),
        };
        let test = tests.get(format!("{kind} {name}").as_str()).copied().unwrap_or_default();
        let _ = writeln!(page, "| `{name}` | {default} | {changes} | {doc} | `{test}` |");
    }
    let (fixed, idle): (Vec<&Value>, Vec<&Value>) =
        idle.into_iter().partition(|setting| word(setting, "effect") == "fixed");
    if !fixed.is_empty() {
        let _ = writeln!(page, "\nOne value is built in, others are accepted ({}):\n", fixed.len());
    }
    for setting in fixed {
        let _ = writeln!(page, "* `{}`: {}", word(setting, "name"), word(setting, "doc"));
    }
    if !idle.is_empty() {
        let names: Vec<String> = idle.iter().map(|setting| format!("`{}`", word(setting, "name"))).collect();
        let _ = writeln!(page, "\nWithout effect today ({}): {}.", names.len(), names.join(", "));
    }
}

const METRICS_INTRODUCTION: &str = "\
# Metrics

`milena server -o metrics.listen=HOST:PORT` tells them at `/metrics` as OpenMetrics text, for Prometheus
([how](../guides/observe.md)). Counters begin at 0 with the process.

The metrics of topics and partitions are read from the logs when somebody asks. At most `metrics.partitions.max` partitions (1000 unless set)
are told one by one: whole topics, in the order of their names; `milena_partitions_untold` says how many are left out. Records that
readers took are not counted, as in Kafka: a batch is sent without being opened.

This page is made from `milena docs --json` by `cargo xtask fix`.

| metric | kind | by | meaning |
|---|---|---|---|
";

fn metrics_page(docs: &Value) -> String {
    let mut page = METRICS_INTRODUCTION.to_owned();
    for metric in list(docs, "metrics") {
        let labels: Vec<&str> = metric["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (name, kind, doc) = (word(metric, "name"), word(metric, "kind"), word(metric, "doc"));
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {doc} |", labels.join(", "));
    }
    page
}

/// Each setting that acts has a line; the test on it exists, as a function or as a scenario of the twin.
fn check_tests(docs: &Value, text: &str, files: &[TextFile]) -> Vec<Finding> {
    let lines = named_tests(text);
    let acting: Vec<String> = list(docs, "settings")
        .filter(|setting| word(setting, "effect") == "acts")
        .map(|setting| format!("{} {}", word(setting, "kind"), word(setting, "name")))
        .collect();
    let is_known = |test: &str| {
        let (function, scenario) = (format!("fn {test}("), format!("crates/twin/transcripts/{test}.txt"));
        files.iter().any(|file| file.path == scenario || file.path.ends_with(".rs") && file.text.contains(&function))
    };
    let mut told = Vec::new();
    for setting in &acting {
        match lines.get(setting.as_str()).copied() {
            None => told.push(format!("has no line for {setting}, which acts: name the test that shows it")),
            Some(test) if is_known(test) => {}
            Some(test) => told.push(format!("names {test} for {setting}: there is no such test")),
        }
    }
    let surplus = lines.keys().filter(|name| !acting.iter().any(|setting| setting == *name));
    told.extend(surplus.map(|name| format!("has a line for {name}, which does not act")));
    told.into_iter().map(|told| Finding::of(TESTS, told)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn docs() -> Value {
        json!({
            "settings": [
                {"kind": "topic", "name": "a.b", "default": "1", "effect": "acts", "changes": "at run time", "public": true, "doc": "A."},
                {"kind": "topic", "name": "d", "default": "1", "effect": "fixed", "changes": "at run time", "public": true, "doc": "D."},
                {"kind": "topic", "name": "c", "default": null, "effect": "no effect", "changes": "", "public": true, "doc": "C."},
            ],
            "own_settings": [], "metrics": [{"name": "m", "kind": "gauge", "labels": ["x", "y"], "doc": "M."}],
        })
    }

    #[test]
    fn pages_hold_what_acts_and_name_what_does_not() {
        let page = settings_page(&docs(), &named_tests("topic a.b: it_holds"));
        assert!(page.contains("| `a.b` | `1` | at run time | A. | `it_holds` |"), "{page}");
        assert!(page.contains("others are accepted (1):\n\n* `d`: D.\n") && page.contains("today (1): `c`."), "{page}");
        assert!(metrics_page(&docs()).contains("| `m` | gauge | x, y | M. |"));
    }

    #[test]
    fn a_setting_that_acts_names_a_test_that_exists() {
        let source = TextFile { path: "x.rs".into(), text: "fn it_holds() {}".into() };
        let found = |text: &str| check_tests(&docs(), text, std::slice::from_ref(&source)).len();
        assert_eq!(found("# words\ntopic a.b: it_holds\n"), 0);
        assert_eq!(found("topic a.b: it_breaks\n"), 1, "no such test");
        assert_eq!(found("topic a.b: it_holds\ntopic c: it_holds\n"), 1, "it does not act");
        assert_eq!(found("# words\n"), 1, "no line");
    }
}
