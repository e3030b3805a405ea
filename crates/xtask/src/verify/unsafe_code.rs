//! No crate writes unsafe code: the workspace forbids it, and every crate takes the workspace's lints.

use crate::finding::Finding;
use crate::repository::TextFile;

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let path = file.path.as_str();
        if path == "Cargo.toml" && !has_line(&file.text, "[workspace.lints.rust]", "unsafe_code = \"forbid\"") {
            findings.push(Finding::of(path, "does not forbid unsafe code in [workspace.lints.rust]"));
        }
        let is_crate = path.starts_with("crates/") && path.ends_with("/Cargo.toml");
        if is_crate && !has_line(&file.text, "[lints]", "workspace = true") {
            findings.push(Finding::of(path, "does not take the workspace's lints"));
        }
        if path.ends_with(".rs") {
            let lines = file.text.lines().enumerate();
            let loosened = lines.filter(|(_, line)| line.contains("allow(unsafe_code") && line.trim().starts_with("#"));
            findings.extend(loosened.map(|(number, _)| Finding::at_line(path, number + 1, "allows unsafe code")));
        }
    }
    findings
}

fn has_line(text: &str, section: &str, wanted: &str) -> bool {
    let inside = text.lines().skip_while(|line| line.trim() != section).skip(1);
    inside.take_while(|line| !line.starts_with('[')).any(|line| line.trim() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&[TextFile { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn a_workspace_that_does_not_forbid_unsafe_code_is_found() {
        assert_eq!(found("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"), 0);
        assert_eq!(found("Cargo.toml", "[workspace.lints.rust]\n\n[x]\nunsafe_code = \"forbid\"\n"), 1);
    }

    #[test]
    fn a_crate_that_does_not_take_the_lints_is_found() {
        assert_eq!(found("crates/base/Cargo.toml", "[lints]\nworkspace = true\n"), 0);
        assert_eq!(found("crates/base/Cargo.toml", "[package]\nname = \"x\"\n"), 1);
    }

    #[test]
    fn a_loosened_lint_is_found() {
        assert_eq!(found("crates/base/src/lib.rs", concat!("#![all", "ow(unsafe_code)]\n")), 1);
    }
}
