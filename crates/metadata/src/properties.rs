//! Java's `.properties` syntax: comments, escapes, continuation lines, and `=`, `:` or blanks after the key.
//!
//! Source: the documentation of `java.util.Properties.load`.

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
    let mut values = BTreeMap::new();
    let mut lines = text.split(['\n', '\r']).enumerate();
    // A CR LF pair gives an empty line in between, which is skipped like any blank one.
    while let Some((at, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_string();
        while ends_with_open_backslash(&logical) {
            logical.pop();
            let Some((_, mut next)) = lines.next() else { break };
            if next.is_empty() && text_has_crlf(text) {
                next = lines.next().map_or("", |(_, line)| line);
            }
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        let (key, value) = split(&logical);
        let error = PropertiesError { line: at + 1 };
        values.insert(unescape(key).ok_or(error.clone())?, unescape(value).ok_or(error)?);
    }
    Ok(values)
}

/// Text that [`parse`] and Java read back, one line per key, sorted.
pub fn write(values: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in values {
        escape(&mut text, key, true);
        text.push('=');
        escape(&mut text, value, false);
        text.push('\n');
    }
    text
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

fn text_has_crlf(text: &str) -> bool {
    text.contains("\r\n")
}

fn ends_with_open_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped: the key ends at the first `=`, `:` or blank that no backslash precedes; one `=` or
/// `:` and the blanks around it separate.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .find(|character: char| {
            let ends = !escaped && (matches!(character, '=' | ':') || BLANKS.contains(&character));
            escaped = character == '\\' && !escaped;
            ends
        })
        .unwrap_or(line.len());
    let rest = line[end..].trim_start_matches(BLANKS);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = characters.by_ref().take(4).collect();
                    let hexadecimal = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| hexadecimal)?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn escape(text: &mut String, part: &str, is_key: bool) {
    for (at, character) in part.chars().enumerate() {
        match character {
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\u{c}' => text.push_str("\\f"),
            ' ' if is_key || at == 0 => text.push_str("\\ "),
            '\\' | '=' | ':' | '#' | '!' => {
                text.push('\\');
                text.push(character);
            }
            ' '..='~' => text.push(character),
            other => other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04X}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_escapes_and_continuations_are_javas() {
        let text =
            "# comment\n! too\n\n a=1\nb : 2\nc 3\r\nd=4 \\\n   5\ne\\=f=g=h\ni=\\u00e4\\t\\\\\nj\nk=x\\\r\n  y\n";
        let expected =
            [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4 5"), ("e=f", "g=h"), ("i", "ä\t\\"), ("j", ""), ("k", "xy")];
        let expected = expected.map(|(key, value)| (key.to_string(), value.to_string()));
        assert_eq!(parse(text), Ok(BTreeMap::from(expected)));
    }

    #[test]
    fn the_last_of_a_repeated_key_holds() {
        assert_eq!(parse("a=1\na=2").expect("well formed")["a"], "2");
    }

    #[test]
    fn a_broken_unicode_escape_names_its_line() {
        assert_eq!(parse("a=1\nb=\\u12"), Err(PropertiesError { line: 2 }));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let values = [(" a:b", " x=y "), ("k", "ä\n😀#!"), ("plain", "C:\\path")];
        let values = BTreeMap::from(values.map(|(key, value)| (key.to_string(), value.to_string())));
        assert_eq!(parse(&write(&values)), Ok(values));
    }
}
