//! Files in the syntax of Java's properties, in which Kafka's `server.properties` are written.

use std::collections::BTreeMap;

/// Reads `name=value`, `name:value` and `name value` lines. `#` and `!` begin comments, a backslash at the end of a
/// line joins the next one, and `\t`, `\n`, `\r`, `\f`, `\uXXXX` stand for characters. The last of equal names counts.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut properties = BTreeMap::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while ends_in_escape(&line) {
            line.pop();
            line.push_str(lines.next().map_or("", |(_, next)| next.trim_start()));
        }
        let (name, value) = split(&line);
        let unescaped = |part: &str| unescape(part).ok_or_else(|| format!("line {number}: a broken \\u escape"));
        properties.insert(unescaped(name)?, unescaped(value)?);
    }
    Ok(properties)
}

/// An odd number of backslashes at the end.
fn ends_in_escape(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// At the first separator that is not escaped, with the spaces around it.
fn split(line: &str) -> (&str, &str) {
    let mut is_escaped = false;
    let end = line.char_indices().find(|(_, character)| {
        let ends = !is_escaped && (matches!(character, '=' | ':') || character.is_whitespace());
        is_escaped = !is_escaped && *character == '\\';
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let rest = line[end..].trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], value.trim_start())
}

fn unescape(part: &str) -> Option<String> {
    let mut plain = String::with_capacity(part.len());
    let mut characters = part.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                plain.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let text =
            "# comment\n! another\n\na=1\n b : two words\nc three\nd\ne=x,\\\n   y\nf=a\\tb\\u0041\na=2\ng\\:h=i=j\n";
        let expected =
            [("a", "2"), ("b", "two words"), ("c", "three"), ("d", ""), ("e", "x,y"), ("f", "a\tbA"), ("g:h", "i=j")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), Ok(BTreeMap::from(expected)));
    }

    #[test]
    fn a_broken_escape_is_told_with_its_line() {
        assert_eq!(parse("a=1\nb=\\u00"), Err("line 2: a broken \\u escape".to_owned()));
    }
}
