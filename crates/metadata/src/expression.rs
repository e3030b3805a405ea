//! Regular expressions of clients, over the names of topics and over transactional ids, as RE2 reads them: the whole name
//! has to match, in time linear in its length.
//!
//! Linear is not little: each character may cost as much as the expression has states. An expression is bounded, and
//! whoever matches very many names does so where nobody waits for it: never on a coordinator's thread.
//!
//! Source: `com.google.re2j.Pattern`; KIP-848, KIP-1152.

use regex::{Regex, RegexBuilder};

use crate::re2;

/// Longest expression, in bytes; beyond it it is refused. Kafka has no bound.
const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// What an expression may take when it is compiled, and again while it is matched; beyond it it is refused. Nothing of it
/// is taken before it is needed.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// An expression that names are held against.
#[derive(Debug, Clone)]
pub struct Expression(Regex);

impl Expression {
    /// Reads an expression; takes some milliseconds. Errors with what is wrong with it.
    pub fn compile(expression: &str) -> Result<Expression, String> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        let translated = re2::translate(expression)?;
        let build = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
        };
        // By itself first: "a)(b" would become valid between parentheses.
        let whole = build(&translated).and_then(|_| build(&format!(r"\A(?:{translated})\z")));
        whole.map(Expression).map_err(|error| describe(&error))
    }

    /// Whether the whole name matches. Takes time in proportion to the name and to the states of the expression.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// The last line of the parser's explanation: what is wrong, without the picture of where.
fn describe(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Expression::compile(pattern).expect("RE2 takes it").matches(text)
    }

    #[test]
    fn trap_136_the_whole_name_has_to_match() {
        assert!(matches("a.c", "abc"));
        assert!(!matches("a.c", "abcd") && !matches("b", "abc"));
        assert!(matches("a|bc", "bc") && !matches("a|bc", "ac") && !matches("abc", "abc\n"));
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
        for pattern in [
            "[",
            "*",
            "a)(b",
            r"(a)\1",
            "((a{1000}){1000}){1000}",
            "a(?!b)",
            "(?x) a",
            "(?u)a",
            "(a",
            "a)",
            "a{1001}{1001}",
            "\\",
        ] {
            assert!(Expression::compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_bounded_in_its_length_and_in_its_states() {
        assert!(matches("(?:my-application|another)-[a-z0-9-]{1,249}-[0-9]+", "another-one-7"));
        for long in ["a".repeat(EXPRESSION_BYTES_MAX + 1), "(.{0,100}x){0,100}".to_owned()] {
            assert!(Expression::compile(&long).is_err(), "{long}");
        }
        assert!(Expression::compile(&"a".repeat(EXPRESSION_BYTES_MAX)).is_ok());
    }
}
