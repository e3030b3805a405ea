//! Java's `.properties` syntax: comments, escapes, continuation lines, and `=`, `:` or blanks after the key.

use std::collections::BTreeMap;

/// Why a text is not a properties file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: malformed \\u escape")]
pub struct PropertiesError {
    /// Counted from 1.
    pub line: usize,
}

/// The keys and values; of a repeated key the last one holds.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PropertiesError> {
    todo!()
}

/// Text that [`parse`] and Java read back, one line per key.
pub fn write(values: &BTreeMap<String, String>) -> String {
    todo!()
}
