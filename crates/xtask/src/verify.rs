//! `cargo xtask verify`: what a machine can say about the source without running the product. It writes nothing.
//! `cargo xtask fix` mends what can be mended without a thought.

mod compatibility;
mod differences;
mod layers;
mod packages;
mod pages;
mod purity;
mod traps;
mod unsafe_code;
mod words;

use crate::finding::Finding;
use crate::repository;
use crate::shell;
use std::path::Path;

/// The crates that decide and never do: no clock, no thread, no file, no socket.
const PURE_CRATES: [&str; 5] = ["base", "protocol", "partition", "metadata", "coordinators"];

/// The messages that no node serves yet are looked at too.
const CLIPPY: &str =
    "clippy --quiet --locked --workspace --all-targets --features milena-protocol/all-messages -- -D warnings";
const DOC: &str =
    "doc --quiet --locked --workspace --no-deps --document-private-items --features milena-protocol/all-messages";

pub(crate) fn verify() -> Result<(), String> {
    let root = repository::root();
    let files = repository::text_files(&root)?;
    let metadata = repository::cargo_metadata(&root)?;
    let layers = read(&root, "crates/xtask/layers.txt")?;
    let licences = read(&root, "crates/xtask/licences.txt")?;

    let mut tally = Tally::default();
    tally.findings("layers", &layers::check(&layers, &metadata)?);
    tally.findings("purity", &purity::check(&files, &PURE_CRATES));
    tally.findings("unsafe code", &unsafe_code::check(&files));
    tally.findings("packages", &packages::check(&licences, &metadata, &read(&root, "Cargo.lock")?)?);
    tally.findings("words", &words::check(&files, &words::machine_paths(&root)));
    tally.findings("commit messages", &words::check_messages(&root)?);
    tally.findings("intended differences", &differences::check(&files));
    tally.findings("reference pages", &pages::check(&root, &files)?);
    tally.findings("traps", &traps::check(&root, &files)?);
    tally.command("format", &root, &["fmt", "--all", "--check", "--", "-l"], &[]);
    let split = |command: &'static str| command.split(' ').collect::<Vec<_>>();
    tally.command("clippy", &root, &split(CLIPPY), &[]);
    let links = "-D rustdoc::broken_intra_doc_links -A rustdoc::private_intra_doc_links";
    tally.command("doc links", &root, &split(DOC), &[("RUSTDOCFLAGS", links)]);
    tally.close()
}

pub(crate) fn fix() -> Result<(), String> {
    let root = repository::root();
    let clippy = ["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets"];
    shell::run(&mut shell::command(&root, "cargo", &clippy))?;
    shell::run(&mut shell::command(&root, "cargo", &["fmt", "--all"]))?;
    pages::write(&root)?;
    traps::write(&root)
}

fn read(root: &Path, path: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<&'static str>,
}

impl Tally {
    fn findings(&mut self, name: &'static str, findings: &[Finding]) {
        for finding in findings {
            eprintln!("{name}: {finding}");
        }
        self.record(name, findings.is_empty());
    }

    fn command(&mut self, name: &'static str, root: &Path, arguments: &[&str], environment: &[(&str, &str)]) {
        let mut command = shell::command(root, "cargo", arguments);
        command.envs(environment.iter().copied());
        let outcome = shell::run(&mut command);
        if let Err(reason) = &outcome {
            eprintln!("{name}: {reason}");
        }
        self.record(name, outcome.is_ok());
    }

    fn record(&mut self, name: &'static str, good: bool) {
        println!("{} {name}", if good { "ok    " } else { "FAILED" });
        if good {
            self.passed += 1;
        } else {
            self.failed.push(name);
        }
    }

    fn close(self) -> Result<(), String> {
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if self.failed.is_empty() { Ok(()) } else { Err(format!("verify found faults in: {}", self.failed.join(", "))) }
    }
}
