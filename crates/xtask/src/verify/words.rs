//! What may not stand in the repository: paths of one machine, holes, and anything but the product itself.

use crate::finding::Finding;
use crate::repository::TextFile;
use crate::rust_text;
use crate::shell;
use std::path::Path;

/// The repository speaks of the product alone, not of the tools and hosts around it. Each word is written in two
/// halves, so that this file does not hold what it looks for.
const FOREIGN_WORDS: [(&str, &str); 13] = [
    ("clau", "de"),
    ("anthro", "pic"),
    ("chat", "gpt"),
    ("copi", "lot"),
    ("open", "ai"),
    ("sub", "agent"),
    ("language ", "model"),
    ("../sha", "red"),
    (".libr", "ary/"),
    ("crates", ".io"),
    ("repo1", ".maven"),
    ("pypi", ".org"),
    ("proxy.go", "lang"),
];

/// Places that exist on one machine only.
const FOREIGN_PATHS: [(&str, &str); 4] = [("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/"), ("/wo", "rk/")];

/// A hole is filled, or written down where a user sees it.
const HOLES: [(&str, &str); 5] =
    [("todo", "!("), ("unimplemented", "!("), ("#[igno", "re"), ("allow(dead", "_code)"), ("panic!(\"not ", "impl")];

/// Files that tools write and own.
const TOOLS_OWN: [&str; 3] = ["Cargo.lock", "go.sum", "package-lock.json"];

pub(super) fn check(files: &[TextFile], machine_paths: &[String]) -> Vec<Finding> {
    let ours = files.iter().filter(|file| !TOOLS_OWN.iter().any(|name| file.path.ends_with(name)));
    ours.flat_map(|file| check_file(file, machine_paths)).collect()
}

/// The folder of this clone and of its user, wherever they are; but for a folder that every machine has, as that of
/// temporary files.
pub(super) fn machine_paths(root: &Path) -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let above = root.parent().filter(|above| above.components().count() > 2).unwrap_or(root);
    let places = [above.display().to_string(), home];
    places.into_iter().filter(|place| place.len() > 1).map(|place| place + "/").collect()
}

/// Commit messages speak of the product alone, too.
pub(super) fn check_messages(root: &Path) -> Result<Vec<Finding>, String> {
    let messages = shell::output(&mut shell::command(root, "git", &["log", "--format=%h %s%n%b"]))?;
    let log = TextFile { path: "git log".to_owned(), text: messages };
    Ok(check_file(&log, &[]))
}

fn check_file(file: &TextFile, machine_paths: &[String]) -> Vec<Finding> {
    let is_rust = file.path.ends_with(".rs");
    let code = if is_rust { rust_text::code_only(&file.text) } else { String::new() };
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let small = line.to_lowercase();
        for (left, right) in FOREIGN_WORDS {
            let word = format!("{left}{right}");
            if stands_alone(&small, &word) {
                findings.push(Finding::at_line(
                    &file.path,
                    number + 1,
                    format!("does not speak of the product: {word}"),
                ));
            }
        }
        let paths = FOREIGN_PATHS.iter().map(|(left, right)| format!("{left}{right}"));
        if let Some(path) = paths.chain(machine_paths.iter().cloned()).find(|path| starts_path(line, path)) {
            findings.push(Finding::at_line(&file.path, number + 1, format!("names a path of one machine: {path}")));
        }
    }
    for (number, line) in code.lines().enumerate() {
        if let Some((left, right)) = HOLES.iter().find(|(left, right)| line.contains(&format!("{left}{right}"))) {
            findings.push(Finding::at_line(&file.path, number + 1, format!("is a hole: {left}{right}")));
        }
    }
    findings
}

/// Whether the word stands in the line, and not as the middle of another word.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let inside_left = letter(before) && word.starts_with(char::is_alphanumeric);
        let inside_right = letter(after) && word.ends_with(char::is_alphanumeric);
        !inside_left && !inside_right
    })
}

/// Whether an absolute path starts here; `target/home/x` and `https://host/home/` do not start one.
fn starts_path(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "._-})*~/".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let files = [TextFile { path: path.into(), text: text.into() }];
        check(&files, &["/somewhere/clone/".to_owned()]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_clone_beside_others_is_a_place_of_its_own() {
        let of = |root: &str| machine_paths(Path::new(root)).remove(0);
        assert_eq!([of("/srv/one/milena"), of("/tmp/milena")], ["/srv/one/", "/tmp/milena/"]);
    }

    #[test]
    fn a_word_that_is_not_about_the_product_is_found_in_any_case() {
        let text = format!("a\nmade with {}{}", "Clau", "de");
        assert_eq!(found("README.md", &text).len(), 1);
        assert!(found("README.md", &text)[0].starts_with("README.md:2:"));
        assert!(found("README.md", "an openair festival").is_empty());
        assert!(found("Cargo.lock", &text).is_empty());
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        assert_eq!(found("a.sh", &format!("cd /{}/me", "home")).len(), 1);
        assert_eq!(found("a.sh", "cd '/somewhere/clone/x'").len(), 1);
        assert!(found("a.sh", "cd $dir/somewhere/clone/x; ls target/home/x").is_empty());
    }

    #[test]
    fn a_hole_is_found_in_code_but_not_in_a_comment() {
        assert_eq!(found("a.rs", &format!("fn a() {{ {}!() }}", "todo")).len(), 1);
        assert_eq!(found("a.rs", &format!("#[{}]\nfn a() {{}}", "ignore")).len(), 1);
        assert!(found("a.rs", &format!("// never {}!()", "todo")).is_empty());
    }
}
