//! Rust source with everything blanked that is not code, so that a plain search finds code alone.
//! Not a parser: it knows comments, string and character literals, braces, and `#[cfg(test)]`.

/// The text with comments and the contents of literals replaced by spaces. Lines keep their numbers.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' | b'b' if starts_raw_string(bytes, at) => raw_string_end(bytes, at),
            b'\'' if starts_character(bytes, at) => character_end(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("only whole literals and comments were blanked")
}

/// The code with every item under `#[cfg(test)]` blanked too.
pub(crate) fn code_without_tests(text: &str) -> String {
    let mut code = code_only(text).into_bytes();
    let mark = b"#[cfg(test)]";
    let mut at = 0;
    while let Some(found) = find(&code, mark, at) {
        let end = item_end(&code, found + mark.len());
        for byte in &mut code[found..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("only whole items were blanked")
}

/// A function's name, the line where it starts (from 1), and its number of lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// All functions with a body, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut functions = Vec::new();
    let mut at = 0;
    while let Some(found) = find(bytes, b"fn ", at) {
        at = found + 3;
        if found > 0 && is_word(bytes[found - 1]) {
            continue;
        }
        let name: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let open = bytes[at..].iter().position(|byte| matches!(byte, b'{' | b';')).map(|offset| at + offset);
        let Some(open) = open.filter(|open| bytes[*open] == b'{' && !name.is_empty()) else { continue };
        let line = line_of(bytes, found);
        functions.push(Function { name, line, lines: line_of(bytes, braces_end(bytes, open) - 1) - line + 1 });
    }
    functions
}

/// Whether `word` stands at `at` as a word of its own, not as a part of a longer name.
pub(crate) fn is_whole_word(text: &str, at: usize, word: &str) -> bool {
    let bytes = text.as_bytes();
    let after = bytes.get(at + word.len());
    (at == 0 || !is_word(bytes[at - 1])) && !after.is_some_and(|byte| is_word(*byte))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn find(bytes: &[u8], what: &[u8], from: usize) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|offset| from + offset)
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    find(bytes, b"\n", from).unwrap_or(bytes.len())
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn starts_raw_string(bytes: &[u8], at: usize) -> bool {
    if at > 0 && is_word(bytes[at - 1]) {
        return false;
    }
    let r = if bytes[at] == b'b' { at + 1 } else { at };
    if bytes.get(r) != Some(&b'r') {
        return false;
    }
    bytes[r + 1..].iter().find(|byte| **byte != b'#') == Some(&b'"')
}

fn raw_string_end(bytes: &[u8], from: usize) -> usize {
    let hashes = bytes[from..].iter().skip_while(|byte| **byte != b'#' && **byte != b'"');
    let hashes = hashes.take_while(|byte| **byte == b'#').count();
    let Some(open) = find(bytes, b"\"", from) else { return bytes.len() };
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    find(bytes, &close, open + 1).map_or(bytes.len(), |at| at + close.len())
}

/// A lifetime is no literal: only a literal has a closing quote after one character or one escape.
fn starts_character(bytes: &[u8], at: usize) -> bool {
    bytes.get(at + 1) == Some(&b'\\') || bytes.get(at + 1 + width(bytes, at + 1)) == Some(&b'\'')
}

fn character_end(bytes: &[u8], from: usize) -> usize {
    if bytes.get(from + 1) == Some(&b'\\') {
        return find(bytes, b"'", from + 3).map_or(bytes.len(), |at| at + 1);
    }
    from + 1 + width(bytes, from + 1) + 1
}

/// Bytes of the UTF-8 character that starts here.
fn width(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    }
}

fn item_end(code: &[u8], from: usize) -> usize {
    match code[from..].iter().position(|byte| matches!(byte, b'{' | b';')).map(|offset| from + offset) {
        Some(at) if code[at] == b'{' => braces_end(code, at),
        Some(at) => at + 1,
        None => code.len(),
    }
}

fn braces_end(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_lines_keep_their_numbers() {
        let text =
            "a // std::fs\nb /* std /* x */ fs */ c\n\"std::fs \\\" x\" d r#\"std\"fs\"# e '{' 'x f<'a>('\\u{7d}')";
        let code = code_only(text);
        assert_eq!(code.lines().count(), 3);
        assert!(!code.contains("std") && !code.contains("fs") && !code.contains('}'));
        for kept in ["a", "b", "c", "d", "e", "'x f<'a>("] {
            assert!(code.contains(kept), "{kept} is missing in {code}");
        }
    }

    #[test]
    fn items_under_cfg_test_are_blank() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { '}'; }\n}\nfn c() {}\n#[cfg(test)]\nuse d;\nfn e() {}";
        let code = code_without_tests(text);
        let names: Vec<String> = functions(&code).into_iter().map(|function| function.name).collect();
        assert_eq!(names, ["a", "c", "e"]);
        assert!(!code.contains("use d"));
    }

    #[test]
    fn a_function_is_measured_from_its_name_to_its_last_brace() {
        let code = "trait T { fn x(); }\nfn long() {\n  if a {\n  }\n}\n";
        assert_eq!(functions(code), [Function { name: "long".into(), line: 2, lines: 4 }]);
    }

    #[test]
    fn a_part_of_a_longer_name_is_not_the_word() {
        assert!(is_whole_word("use tokio::net", 4, "tokio"));
        assert!(!is_whole_word("use tokio_like", 4, "tokio"));
        assert!(!is_whole_word("atokio", 1, "tokio"));
    }
}
