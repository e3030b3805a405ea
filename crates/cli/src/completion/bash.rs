//! Completion in bash, which cuts the line at colons and equals signs, so that `-b HOST:PORT` reaches a program in three
//! words. Here the line is cut as bash cuts it to run it.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine;
use clap_complete::env::EnvCompleter;

/// The line up to the cursor.
const LINE: &str = "MILENA_COMPLETE_LINE";
/// What bash takes for the word at its end, and puts the offered word in the place of.
const TYPED: &str = "MILENA_COMPLETE_TYPED";

const SCRIPT: &str = r#"_milena_complete() {
    local IFS=$'\n'
    COMPREPLY=($(@variable@=bash @line@="${COMP_LINE:0:COMP_POINT}" @typed@="$2" @completer@ -- milena))
    [[ ${COMPREPLY-} != *[=/:] ]] || compopt -o nospace
}
complete -o bashdefault -F _milena_complete @binary@"#;

/// Asks this binary from bash.
#[derive(Debug)]
pub(crate) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        binary: &str,
        completer: &str,
        to: &mut dyn Write,
    ) -> Result<(), Error> {
        let completer = quoted(completer);
        let names =
            [("variable", variable), ("line", LINE), ("typed", TYPED), ("completer", &completer), ("binary", binary)];
        let named = |script: String, (name, value): (&str, &str)| script.replace(&format!("@{name}@"), value);
        writeln!(to, "{}", names.into_iter().fold(SCRIPT.to_owned(), named))
    }

    fn write_complete(
        &self,
        command: &mut Command,
        _arguments: Vec<OsString>,
        folder: Option<&Path>,
        to: &mut dyn Write,
    ) -> Result<(), Error> {
        let words = line().unwrap_or_default();
        let Some(last) = words.last() else { return Ok(()) };
        let replaced = std::env::var(TYPED).unwrap_or_default();
        let kept = last.strip_suffix(&replaced).unwrap_or_default();
        let at = words.len() - 1;
        let words = words.iter().map(OsString::from).collect();
        for candidate in engine::complete(command, words, at, folder)? {
            let candidate = candidate.get_value().to_string_lossy();
            writeln!(to, "{}", candidate.strip_prefix(kept).unwrap_or(&candidate))?;
        }
        Ok(())
    }
}

/// The words of the line up to the cursor, if it is bash that asks.
pub(super) fn line() -> Option<Vec<String>> {
    std::env::var(LINE).ok().map(|line| words(&line))
}

/// For bash to read as one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Cuts a line that is not finished into words; the last one is empty behind a space. Quotes may be open.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote, mut escaped) = (vec![String::new()], None, false);
    let mut between = false;
    for character in line.chars() {
        let is_blank = character.is_whitespace() && quote.is_none() && !escaped;
        if is_blank && !between {
            words.push(String::new());
        }
        between = is_blank;
        let word = words.last_mut().expect("one at least");
        match character {
            _ if escaped => {
                word.push(character);
                escaped = false;
            }
            '\\' if quote != Some('\'') => escaped = true,
            '\'' | '"' if quote.is_none() => quote = Some(character),
            _ if quote == Some(character) => quote = None,
            _ if !is_blank => word.push(character),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_as_it_would_be_to_run_it() {
        let cases: [(&str, &[&str]); 8] = [
            ("milena -b h:1 consume us", &["milena", "-b", "h:1", "consume", "us"]),
            ("milena --bootstrap=h:1  topic ", &["milena", "--bootstrap=h:1", "topic", ""]),
            ("milena", &["milena"]),
            ("", &[""]),
            (r"a 'b c' d\ e", &["a", "b c", "d e"]),
            (r#"a "it's" 'not"yet"#, &["a", "it's", "not\"yet"]),
            (r"a b\", &["a", "b"]),
            ("a\u{a0}b é", &["a", "b", "é"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_path_with_quotes_stays_one_word() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
