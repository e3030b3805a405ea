//! Patterns over transactional ids, as RE2 reads them: the whole id matches, in time linear in its length.
//!
//! The engine is another one. Where it reads the same text otherwise, the text is translated: `\Q..\E` quotes, `\d`,
//! `\s`, `\w` and `\b` are about ASCII, `&`, `~` and `[` are nothing special inside of a class, and there are no other
//! flags than `i`, `m`, `s` and `U`.
//!
//! Linear is not little: each character may cost as much as the pattern has states. A pattern is bounded, and whoever
//! matches very many ids does so where nobody waits for it.
//!
//! Source: `com.google.re2j.Pattern`; KIP-1152.

use milena_protocol::ErrorCode;
use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes; beyond it the pattern is refused. Kafka has no bound.
const PATTERN_BYTES_MAX: usize = 4 * 1024;
/// What a pattern may take when it is compiled, and again while it is matched; beyond it the pattern is refused.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// A pattern that transactional ids are held against.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern; takes some milliseconds. Errors with INVALID_REGULAR_EXPRESSION.
    pub fn compile(pattern: &str) -> Result<Pattern, ErrorCode> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(ErrorCode::InvalidRegularExpression);
        }
        let translated = translate(pattern).ok_or(ErrorCode::InvalidRegularExpression)?;
        let build = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
        };
        // By itself first: in brackets two halves of nonsense could become a whole.
        build(&translated)
            .and_then(|_| build(&format!("^(?:{translated})$")))
            .map(Pattern)
            .map_err(|_| ErrorCode::InvalidRegularExpression)
    }

    /// Whether the whole id matches. Takes time in proportion to the id and to the states of the pattern.
    pub fn matches(&self, transactional_id: &str) -> bool {
        self.0.is_match(transactional_id)
    }
}

/// `None` where RE2 knows no such flag.
fn translate(pattern: &str) -> Option<String> {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut is_in_class = false;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        match character {
            '\\' => {
                let (piece, left) = escape(after);
                translated.push_str(&piece);
                rest = left;
                continue;
            }
            '[' if is_in_class && !after.starts_with(':') => translated.push_str("\\["),
            '&' | '~' if is_in_class => {
                translated.push('\\');
                translated.push(character);
            }
            '[' if !is_in_class => {
                is_in_class = true;
                translated.push('[');
                rest = first_of_class(after, &mut translated);
                continue;
            }
            ']' => {
                is_in_class = false;
                translated.push(']');
            }
            '(' if !is_in_class && has_unknown_flag(after) => return None,
            _ => translated.push(character),
        }
        // A named class, `[:alpha:]`, ends with a bracket of its own.
        if character == '['
            && is_in_class
            && let Some(end) = after.find(":]")
        {
            translated.push_str(&after[..end + 2]);
            rest = &after[end + 2..];
        } else {
            rest = after;
        }
    }
    Some(translated)
}

/// A bracket that comes first in a class, perhaps behind the `^`, stands for itself.
fn first_of_class<'a>(after: &'a str, translated: &mut String) -> &'a str {
    let is_negated = after.starts_with('^');
    let rest = &after[usize::from(is_negated)..];
    if is_negated {
        translated.push('^');
    }
    match rest.strip_prefix(']') {
        Some(left) => {
            translated.push_str("\\]");
            left
        }
        None => rest,
    }
}

/// What follows a backslash, and what is left behind it.
fn escape(after: &str) -> (String, &str) {
    if let Some(quoted) = after.strip_prefix('Q') {
        let (text, left) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        return (regex::escape(text), left);
    }
    let Some(character) = after.chars().next() else { return ("\\".to_owned(), after) };
    let left = &after[character.len_utf8()..];
    let piece = match character {
        'd' => "[0-9]".to_owned(),
        'D' => "[^0-9]".to_owned(),
        's' => "[\\t\\n\\f\\r ]".to_owned(),
        'S' => "[^\\t\\n\\f\\r ]".to_owned(),
        'w' => "[0-9A-Za-z_]".to_owned(),
        'W' => "[^0-9A-Za-z_]".to_owned(),
        'b' => "(?-u:\\b)".to_owned(),
        other => format!("\\{other}"),
    };
    (piece, left)
}

/// Whether a group begins with flags of which RE2 does not know one.
fn has_unknown_flag(after: &str) -> bool {
    let Some(flags) = after.strip_prefix('?') else { return false };
    let end = flags.find(|character: char| !character.is_ascii_alphabetic() && character != '-');
    let (flags, closing) = flags.split_at(end.unwrap_or(flags.len()));
    closing.starts_with([':', ')']) && !flags.chars().all(|flag| "imsU-".contains(flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::compile(pattern).expect("RE2 takes it").matches(text)
    }

    #[test]
    fn the_whole_id_matches() {
        assert!(matches("a.c", "abc"));
        assert!(!matches("a.c", "abcd") && !matches("b", "abc"));
        assert!(matches("a|bc", "bc") && !matches("a|bc", "ac"));
    }

    #[test]
    fn quotes_and_classes_are_read_as_re2_reads_them() {
        assert!(matches("\\Qa.b\\E.", "a.bc") && !matches("\\Qa.b\\E", "axb"));
        assert!(matches("\\Qa[", "a["));
        assert!(matches("[a&&b]+", "a&b") && matches("[a[]+", "[a") && matches("[]a]+", "]a") && matches("[^]a]", "b"));
        assert!(matches("[[:digit:]x]+", "1x2") && !matches("[[:digit:]x]+", "y"));
        assert!(matches("[\\d.]+", "1.2"));
        assert!(!matches("\\d", "\u{663}") && matches("\\D", "\u{663}"));
        assert!(matches("(?i)ABC", "abc"));
    }

    #[test]
    fn what_re2_does_not_know_is_refused() {
        for pattern in ["[", "*", "a(?!b)", "(?x) a", "(?u)a", "(a", "a)", "a{1001}{1001}", "\\"] {
            assert_eq!(Pattern::compile(pattern).err(), Some(ErrorCode::InvalidRegularExpression), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_bounded_in_its_length_and_in_its_states() {
        assert!(matches("(?:my-application|another)-[a-z0-9-]{1,249}-[0-9]+", "another-one-7"));
        for long in ["a".repeat(PATTERN_BYTES_MAX + 1), "(.{0,100}x){0,100}".to_owned()] {
            assert_eq!(Pattern::compile(&long).err(), Some(ErrorCode::InvalidRegularExpression), "{long}");
        }
        assert!(Pattern::compile(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
    }
}
