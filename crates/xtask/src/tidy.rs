//! `cargo xtask tidy`: a mirror, not a gate. It shows what deserves a look: the longest functions and files, names that
//! say nothing, words that STYLE.md would say otherwise. It always succeeds.

use crate::repository::{self, TextFile};
use crate::rust_text;

/// A function fits a screen.
const FUNCTION_LINES: usize = 40;
const FILE_LINES: usize = 600;
const SHOWN: usize = 20;

/// Parts of type names that say what kind of thing it is in code, not what it is.
const VAGUE: [&str; 8] = ["Manager", "Helper", "Util", "Impl", "Wrapper", "Processor", "Service", "Handler"];

/// Identifiers as another project would say them, and the word of the glossary.
const WORDS: [(&str, &str); 14] = [
    ("hw", "high_watermark"),
    ("leo", "log_end"),
    ("lso", "last_stable"),
    ("pid", "producer_id"),
    ("term", "leader_epoch"),
    ("ballot", "leader_epoch"),
    ("master", "leader"),
    ("slave", "follower"),
    ("commit_index", "high_watermark"),
    ("peer", "voter"),
    ("strategy", "assignor"),
    ("rollback", "abort"),
    ("gc", "expire"),
    ("message_set", "batch"),
];

pub(crate) fn tidy() -> Result<(), String> {
    let files = repository::text_files(&repository::root())?;
    let sources: Vec<&TextFile> = files.iter().filter(|file| file.path.ends_with(".rs")).collect();

    show("Longest functions", FUNCTION_LINES, sources.iter().flat_map(|file| long_functions(file)).collect());
    let lengths = sources.iter().map(|file| (file.text.lines().count(), file.path.clone()));
    show("Longest files", FILE_LINES, lengths.filter(|(lines, _)| *lines > FILE_LINES).collect());
    let named: Vec<String> = sources.iter().flat_map(|file| names(file)).collect();
    println!("\nNames to say otherwise ({})", named.len());
    for line in named {
        println!("  {line}");
    }
    Ok(())
}

fn show(title: &str, bound: usize, mut rows: Vec<(usize, String)>) {
    rows.sort_by(|left, right| right.cmp(left));
    println!("\n{title} ({} above {bound} lines)", rows.len());
    for (lines, place) in rows.iter().take(SHOWN) {
        println!("  {lines:5}  {place}");
    }
}

fn long_functions(file: &TextFile) -> Vec<(usize, String)> {
    let functions = rust_text::functions(&rust_text::code_only(&file.text)).into_iter();
    let long = functions.filter(|function| function.lines > FUNCTION_LINES);
    long.map(|function| (function.lines, format!("{}:{} {}", file.path, function.line, function.name))).collect()
}

fn names(file: &TextFile) -> Vec<String> {
    let code = rust_text::code_only(&file.text);
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let mut before = "";
        for word in words {
            let gives_name = ["struct", "enum", "trait", "fn", "let", "mut", "mod", "type"].contains(&before);
            if let Some(why) = reproach(word).filter(|_| gives_name) {
                found.push(format!("{}:{} {word}: {why}", file.path, number + 1));
            }
            before = word;
        }
    }
    found
}

/// Why a name might be said otherwise.
fn reproach(name: &str) -> Option<String> {
    if let Some(part) = VAGUE.into_iter().find(|part| name.ends_with(part)) {
        return Some(format!("{part} says nothing"));
    }
    if name.starts_with("get_") {
        return Some("leave out get_".to_owned());
    }
    let (_, instead) = WORDS.into_iter().find(|(word, _)| *word == name)?;
    Some(format!("the glossary says {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_are_held_against_the_glossary() {
        let text =
            "struct LogManager;\nfn get_offset() {}\nfn f() { let hw = 1; use_of(hw); }\n// struct XUtil\nstruct Log;";
        let file = TextFile { path: "a.rs".into(), text: text.into() };
        let found = names(&file);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("a.rs:1 LogManager"));
    }

    #[test]
    fn a_long_function_is_shown_with_its_place() {
        let text = format!("\nfn long() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES));
        let found = long_functions(&TextFile { path: "a.rs".into(), text });
        assert_eq!(found, [(FUNCTION_LINES + 2, "a.rs:2 long".to_owned())]);
    }
}
