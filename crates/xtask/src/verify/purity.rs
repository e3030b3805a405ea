//! Pure crates decide and never do. Clippy forbids types and methods there (each pure crate's `clippy.toml`); this
//! check rejects whole modules by name, and a `clippy.toml` that is missing or says less than the others.

use crate::finding::Finding;
use crate::repository::TextFile;
use crate::rust_text;

/// What may not be named in a pure crate outside its tests.
const TOKENS: [&str; 12] = [
    "std::fs",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::process",
    "std::env",
    "tokio",
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
];

pub(super) fn check(files: &[TextFile], pure_crates: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let model = text_of(&format!("crates/{}/clippy.toml", pure_crates[0]));
    for name in pure_crates {
        let path = format!("crates/{name}/clippy.toml");
        match text_of(&path) {
            None => findings.push(Finding::of(path, "is missing: clippy would not guard this crate's purity")),
            text if text != model => {
                findings.push(Finding::of(path, "differs from the other pure crates' clippy.toml"))
            }
            Some(_) => {}
        }
        let source = format!("crates/{name}/src/");
        let files = files.iter().filter(|file| file.path.starts_with(&source) && !is_test_file(&file.path));
        findings.extend(files.flat_map(check_file));
    }
    findings
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/") || !path.ends_with(".rs")
}

fn check_file(file: &TextFile) -> Vec<Finding> {
    let code = rust_text::code_without_tests(&file.text);
    let mut findings = Vec::new();
    for (number, line) in code.lines().enumerate() {
        // `use std::{fs, thread}` names the same modules in another way.
        let grouped = ["fs", "thread", "process", "env"].into_iter().find(|module| {
            let group = line.split_once("std::{").map_or("", |(_, rest)| rest);
            group.match_indices(module).any(|(at, _)| rust_text::is_whole_word(group, at, module))
        });
        let token = TOKENS
            .into_iter()
            .find(|token| line.match_indices(token).any(|(at, _)| rust_text::is_whole_word(line, at, token)));
        if let Some(token) = token.or(grouped) {
            findings.push(Finding::at_line(&file.path, number + 1, format!("a pure crate may not use {token}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_source(text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [file("crates/base/clippy.toml", "x"), file("crates/base/src/lib.rs", text)];
        check(&files, &["base"]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_forbidden_module_in_a_pure_crate_is_found_with_its_line() {
        let found = check_source("//! doc\nuse std::fs::File;\n");
        assert_eq!(found, ["crates/base/src/lib.rs:2: a pure crate may not use std::fs"]);
        assert_eq!(check_source("use std::{io, thread};").len(), 1);
        assert_eq!(check_source("fn now() -> std::time::Instant {}").len(), 1);
    }

    #[test]
    fn comments_longer_names_and_tests_may_say_it() {
        assert!(check_source("// std::fs lives in disk\nstruct HashMapLike;").is_empty());
        assert!(check_source("fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::thread;\n}").is_empty());
    }

    #[test]
    fn a_missing_or_different_clippy_toml_is_found() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [file("crates/base/clippy.toml", "x"), file("crates/protocol/clippy.toml", "y")];
        assert_eq!(check(&files, &["base", "protocol"]).len(), 1);
        assert_eq!(check(&files[..1], &["base", "protocol"]).len(), 1);
    }
}
