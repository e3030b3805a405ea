//! Expressions of RE2, as Kafka takes them, in the words of the matcher that we have. Both are the same family; where
//! they part, one refuses what the other reads: nested repetitions, large counts, quoting, octal numbers, classes in
//! classes, braces that are no counts. Whatever is not looked at here is passed on, and refused there if it is wrong.
//!
//! Digits, white space, letters of words and their ends are those of ASCII.
//!
//! Source: the syntax of RE2 (`com.google.re2j.Parser`). Held against Kafka's answers by `trap_136_syntax`.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

/// Most repetitions that a count may ask for.
const COUNT_MAX: u32 = 1_000;

/// The expression in our words, or what RE2 does not know in it.
pub(crate) fn translate(expression: &str) -> Result<String, &'static str> {
    let mut parser = Parser { rest: expression, out: String::new(), after_repetition: false };
    while parser.step()? {}
    Ok(parser.out)
}

struct Parser<'a> {
    rest: &'a str,
    out: String,
    /// The last thing was a repetition, which cannot be repeated.
    after_repetition: bool,
}

impl Parser<'_> {
    /// Takes one thing; false at the end.
    fn step(&mut self) -> Result<bool, &'static str> {
        let Some(first) = self.rest.chars().next() else { return Ok(false) };
        let after_repetition = std::mem::take(&mut self.after_repetition);
        match first {
            '*' | '+' | '?' => self.repetition(1, after_repetition)?,
            '{' => match count_bytes(self.rest)? {
                Some(bytes) => self.repetition(bytes, after_repetition)?,
                None => self.literal('{'),
            },
            '[' => self.class()?,
            '(' if self.rest.starts_with("(?") => self.group()?,
            '\\' => self.escape()?,
            '(' | ')' | '|' | '^' | '$' | '.' => self.pass(1),
            other => self.literal(other),
        }
        Ok(true)
    }

    /// Hands bytes on as they are.
    fn pass(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.out.push_str(passed);
        self.rest = rest;
    }

    /// Puts other words in the place of bytes.
    fn replace(&mut self, bytes: usize, words: &str) {
        self.rest = &self.rest[bytes..];
        self.out.push_str(words);
    }

    /// `\d` and its like, inside a class or outside; false if there is none here.
    fn group_of_characters(&mut self) -> bool {
        if let Some(words) = self.rest.get(..2).and_then(perl_group) {
            self.replace(2, words);
            return true;
        }
        let Some(bytes) = unicode_group_bytes(self.rest) else { return false };
        self.pass(bytes);
        true
    }

    fn literal(&mut self, character: char) {
        self.rest = &self.rest[character.len_utf8()..];
        write_character(&mut self.out, character);
    }

    fn repetition(&mut self, bytes: usize, after_repetition: bool) -> Result<(), &'static str> {
        if after_repetition {
            return Err("invalid nested repetition operator");
        }
        self.pass(bytes);
        if self.rest.starts_with('?') {
            self.pass(1);
        }
        self.after_repetition = true;
        Ok(())
    }

    /// `(?flags)`, `(?flags:`, `(?P<name>` and `(?<name>`.
    fn group(&mut self) -> Result<(), &'static str> {
        let named = ["(?P<", "(?<"].into_iter().find(|start| self.rest.starts_with(start));
        if let Some(start) = named {
            let name = self.rest[start.len()..].split_once('>').map_or("", |(name, _)| name);
            let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err("invalid named capture");
            }
            self.pass(start.len() + name.len() + 1);
            return Ok(());
        }
        let flags = self.rest[2..].find([':', ')']).map(|end| &self.rest[2..2 + end]);
        match flags {
            Some(flags) if flags.chars().all(|flag| "imsU-".contains(flag)) => {
                self.pass(2 + flags.len() + 1);
                Ok(())
            }
            _ => Err("invalid or unsupported Perl syntax"),
        }
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        if let Some(quoted) = self.rest.strip_prefix(r"\Q") {
            let (quoted, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            quoted.chars().for_each(|character| write_character(&mut self.out, character));
            self.rest = rest;
            return Ok(());
        }
        if self.group_of_characters() {
            return Ok(());
        }
        match self.rest.chars().nth(1) {
            Some('b') => self.replace(2, r"(?-u:\b)"),
            Some('A' | 'B' | 'z') => self.pass(2),
            _ => {
                let character = self.character()?;
                write_character(&mut self.out, character);
            }
        }
        Ok(())
    }

    /// A class, as single characters, ranges and groups.
    fn class(&mut self) -> Result<(), &'static str> {
        self.pass(1);
        if self.rest.starts_with('^') {
            self.pass(1);
        }
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if self.rest.is_empty() {
                return Err("missing closing ]");
            }
            if let Some(bytes) = posix_bytes(self.rest)? {
                self.pass(bytes);
                continue;
            }
            if self.group_of_characters() {
                continue;
            }
            let low = self.character()?;
            let mut high = low;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.rest = &self.rest[1..];
                high = self.character()?;
            }
            if high < low {
                return Err("invalid character class range");
            }
            write_character(&mut self.out, low);
            self.out.push('-');
            write_character(&mut self.out, high);
        }
        self.pass(1);
        Ok(())
    }

    /// One character, escaped or not.
    fn character(&mut self) -> Result<char, &'static str> {
        const INVALID: &str = "invalid escape sequence";
        let mut rest = self.rest.chars();
        let first = rest.next().ok_or("missing argument")?;
        let mut rest = rest.peekable();
        let found = match first {
            '\\' => escaped(&mut rest).ok_or(INVALID)?,
            other => other,
        };
        let left: usize = rest.map(char::len_utf8).sum();
        self.rest = &self.rest[self.rest.len() - left..];
        Ok(found)
    }
}

fn write_character(out: &mut String, character: char) {
    if character.is_alphanumeric() {
        out.push(character);
    } else {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(character));
    }
}

/// What stands behind a backslash, if it stands for one character.
fn escaped(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let octal = |rest: &mut Peekable<Chars<'_>>, first: u32, more: usize| {
        let mut number = first;
        for _ in 0..more {
            let Some(digit) = rest.peek().and_then(|next| next.to_digit(8)) else { break };
            rest.next();
            number = number * 8 + digit;
        }
        char::from_u32(number)
    };
    match rest.next()? {
        '0' => octal(rest, 0, 2),
        // A single digit would be a reference to a group.
        first @ '1'..='7' if rest.peek().is_some_and(|next| next.is_digit(8)) => octal(rest, first.to_digit(8)?, 2),
        'x' => hexadecimal(rest),
        'a' => Some('\x07'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        other => (other.is_ascii() && !other.is_ascii_alphanumeric()).then_some(other),
    }
}

/// Two digits, or any number of them between braces.
fn hexadecimal(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let digits: String = match rest.next()? {
        '{' => rest.by_ref().take_while(|next| *next != '}').collect(),
        first => [first, rest.next()?].into_iter().collect(),
    };
    if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}

/// How long a named class is that stands here inside of another: `[:alpha:]`, `[:^space:]`.
fn posix_bytes(text: &str) -> Result<Option<usize>, &'static str> {
    const NAMES: &[&str] = &[
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
        "word", "xdigit",
    ];
    let inner = text.strip_prefix("[:").and_then(|rest| rest.split_once(":]"));
    let Some((name, _)) = inner else { return Ok(None) };
    match NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        true => Ok(Some(name.len() + 4)),
        false => Err("invalid character class range"),
    }
}

/// A group of ASCII characters, as a class.
fn perl_group(escape: &str) -> Option<&'static str> {
    match escape {
        r"\d" => Some("[0-9]"),
        r"\D" => Some("[^0-9]"),
        r"\s" => Some(r"[\t\n\f\r ]"),
        r"\S" => Some(r"[^\t\n\f\r ]"),
        r"\w" => Some("[0-9A-Za-z_]"),
        r"\W" => Some("[^0-9A-Za-z_]"),
        _ => None,
    }
}

/// How long a group of characters is that stands here by its name in Unicode: `\pL`, `\p{Greek}`.
fn unicode_group_bytes(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('\\')?;
    match rest.chars().next()? {
        'p' | 'P' if rest[1..].starts_with('{') => text.find('}').map(|end| end + 1),
        'p' | 'P' => rest[1..].chars().next().map(|name| 2 + name.len_utf8()),
        _ => None,
    }
}

/// How long a count is that stands here, if it is one; other braces stand for themselves.
fn count_bytes(text: &str) -> Result<Option<usize>, &'static str> {
    let Some((inner, _)) = text[1..].split_once('}') else { return Ok(None) };
    let (low, high) = match inner.split_once(',') {
        None => (inner, Some(inner)),
        Some((low, "")) => (low, None),
        Some((low, high)) => (low, Some(high)),
    };
    let is_number = |digits: &str| {
        let has_zero_in_front = digits.len() > 1 && digits.starts_with('0');
        !digits.is_empty() && !has_zero_in_front && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    if !is_number(low) || !high.is_none_or(is_number) {
        return Ok(None);
    }
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|number| *number <= COUNT_MAX);
    match (number(low), high.map(number)) {
        (Some(_), None) => {}
        (Some(low), Some(Some(high))) if low <= high => {}
        _ => return Err("invalid repeat count"),
    }
    Ok(Some(1 + inner.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: &str) -> bool {
        let translated = translate(expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
        regex::Regex::new(&format!(r"\A(?:{translated})\z")).expect("is known here").is_match(text)
    }

    #[test]
    fn what_reads_alike_matches_alike() {
        for (expression, good, bad) in [
            (r"a\Q.*\Eb", "a.*b", "axb"),
            (r"\Qa.b", "a.b", "axb"),
            ("a{,2}", "a{,2}", "aa"),
            ("a{2}{", "aa{", "aa"),
            ("[a&&b]+", "&&ab", "c"),
            ("[a[b]+", "[ab", "c"),
            ("[]a]+", "]a", "["),
            (r"[\d-z]+", "0-z", "y"),
            ("[^a-c]", "d", "b"),
            ("[[:alpha:]_]+", "a_b", "1"),
            ("[[:^digit:]]+", "a_b", "1"),
            (r"\<a\>", "<a>", "a"),
            (r"\101\x42\x{43}", "ABC", "abc"),
            (r"(?i)ab", "AB", "ac"),
            (r"(?P<n>a)|(?<m>b)", "b", "c"),
            ("a b#c", "a b#c", "abc"),
        ] {
            assert!(matches(expression, good), "{expression} matches {good}");
            assert!(!matches(expression, bad), "{expression} does not match {bad}");
        }
    }

    #[test]
    fn nothing_makes_it_panic() {
        let pieces = [
            "(", "?", "P<", "[", "^", "]", "-", "\\", "Q", "E", "{", "1,", "}", "x", "é", "*", "p", "0", "7", ":", "|",
        ];
        for seed in 0..20_000 {
            let mut random = milena_base::Random::from_seed(seed);
            let count = random.below(9);
            let text: String = (0..count).map(|_| pieces[random.below(pieces.len() as u64) as usize]).collect();
            let _ = translate(&text);
        }
    }
}
