//! What the product is built from: how many packages, under which licences, and pinned by a lock file.

use crate::finding::Finding;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Packages that the shipped binary is built from, build scripts included.
const BINARY_PACKAGES_MAX: usize = 200;
/// Packages in the whole lock file, tests and other platforms included.
const WORKSPACE_PACKAGES_MAX: usize = 450;
const BINARY: &str = "milena-cli";

pub(super) fn check(licences: &str, metadata: &Value, lock: &str) -> Result<Vec<Finding>, String> {
    let allowed: Vec<&str> =
        licences.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !licence_allows(licence, &allowed) {
            let what = format!("its licence {licence:?} is not in crates/xtask/licences.txt");
            findings.push(Finding::of(name, what));
        }
    }

    let binary = reachable(metadata, BINARY).len();
    let workspace = lock.lines().filter(|line| line.trim() == "[[package]]").count();
    println!(
        "       {binary} packages in the binary (at most {BINARY_PACKAGES_MAX}), {workspace} in the workspace (at most {WORKSPACE_PACKAGES_MAX})"
    );
    if binary > BINARY_PACKAGES_MAX {
        findings.push(Finding::of(BINARY, format!("is built from {binary} packages, more than {BINARY_PACKAGES_MAX}")));
    }
    if workspace > WORKSPACE_PACKAGES_MAX {
        let what = format!("names {workspace} packages, more than {WORKSPACE_PACKAGES_MAX}");
        findings.push(Finding::of("Cargo.lock", what));
    }
    Ok(findings)
}

/// The ids of all packages that `binary` needs to be built, tests left out.
fn reachable(metadata: &Value, binary: &str) -> BTreeSet<String> {
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| node["id"].as_str().map(|id| (id, node)))
        .collect();
    let start = metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == binary);
    let mut open: Vec<&str> = start.and_then(|package| package["id"].as_str()).into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id.to_owned()) {
            continue;
        }
        for dependency in nodes.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten() {
            let mut kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            if kinds.any(|kind| kind["kind"].as_str() != Some("dev")) {
                open.extend(dependency["pkg"].as_str());
            }
        }
    }
    seen
}

/// Whether an SPDX expression can be satisfied with allowed licences alone. `/` is the old way to write OR.
fn licence_allows(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let satisfied = any_of(&words, &mut at, allowed);
    satisfied && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut satisfied = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        satisfied |= all_of(words, at, allowed);
    }
    satisfied
}

fn all_of(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut satisfied = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        satisfied &= one(words, at, allowed);
    }
    satisfied
}

fn one(words: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let satisfied = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return satisfied && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let full = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
        return allowed.contains(&full.as_str());
    }
    allowed.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn licences_are_judged_by_their_expression() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        for good in
            ["MIT", "MIT/GPL-3.0", "(MIT OR GPL-3.0) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception OR GPL-2.0"]
        {
            assert!(licence_allows(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT WITH other-exception", "MIT GPL-3.0"] {
            assert!(!licence_allows(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_package_under_another_licence_is_found() {
        let metadata = json!({"packages": [{"name": "copyleft", "license": "GPL-3.0-only", "id": "1"}]});
        assert_eq!(check("# list\nMIT\n", &metadata, "").unwrap().len(), 1);
    }

    #[test]
    fn too_many_packages_are_found_and_test_packages_do_not_count_for_the_binary() {
        let edges = |kind: Value| {
            (1..=BINARY_PACKAGES_MAX).map(|n| json!({"pkg": n.to_string(), "dep_kinds": [{"kind": kind}]})).collect()
        };
        let metadata = |edges: Vec<Value>| {
            json!({"packages": [{"name": BINARY, "license": "MIT", "id": "cli"}],
                   "resolve": {"nodes": [{"id": "cli", "deps": edges}]}})
        };
        assert_eq!(check("MIT", &metadata(edges(Value::Null)), "").unwrap().len(), 1);
        assert_eq!(check("MIT", &metadata(edges(json!("dev"))), "").unwrap().len(), 0);
        let lock = "[[package]]\n".repeat(WORKSPACE_PACKAGES_MAX + 1);
        assert_eq!(check("MIT", &metadata(Vec::new()), &lock).unwrap().len(), 1);
    }
}
