//! What goes to stdout: results, as a table for people or as JSON for programs. Nothing else is printed there. What else is
//! to be said goes to stderr.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::failure::Failure;

/// A line for people, on stderr. If they have closed it, nobody wants to hear it.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// A line of a table; as JSON it is an object.
pub(crate) trait Row: Serialize {
    /// The table's first line.
    const HEADINGS: &'static [&'static str];

    /// As many cells as there are headings.
    fn cells(&self) -> Vec<String>;
}

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Output {
        Output { format }
    }

    /// Whether programs are to read it.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a list: a table, or an array of objects.
    pub(crate) fn list<R: Row>(&self, rows: &[R]) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&json(&rows)?),
            Format::Table => self.line(&table(R::HEADINGS, rows.iter().map(Row::cells))),
        }
    }

    /// Prints one result: a sentence, or an object. What a sentence holds of others' names is shown harmless.
    pub(crate) fn result<T: Serialize>(&self, value: &T, sentence: &str) -> Result<(), Failure> {
        self.report(value, &harmless(sentence))
    }

    /// Prints a result of several lines, or an object. All the words are our own, or harmless already.
    pub(crate) fn report<T: Serialize>(&self, value: &T, lines: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&json(value)?),
            Format::Table => self.line(lines),
        }
    }

    /// Prints text as it is, and a line break.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| Failure::io("stdout", &error))
    }
}

/// Text of others on one line: names of clients and groups may hold what moves a terminal's cursor, or turns the direction of
/// what follows. Such characters are shown as Rust writes them, like `\u{1b}`.
pub(crate) fn harmless(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() || turns(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// A value as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::failed(format!("the result cannot be printed: {error}")))
}

/// Whether whoever read our output has gone. A command that waits for more to print would else wait in vain.
pub(crate) fn is_unread() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let asked = poll(&mut polled, Some(&Timespec::default()));
    asked.is_ok_and(|count| count > 0) && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Columns with two spaces between them: easy on the eye, and on `awk`.
fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rows = rows.map(|row| row.iter().map(|cell| harmless(cell)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).filter_map(width).collect();
    let padded = |(cell, width): (&String, &usize)| format!("{cell:width$}");
    let line = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(padded).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_table_moves_the_cursor_or_turns_the_text() {
        let rows =
            [vec!["a\u{1b}[2Jb\n\u{9b}1A".to_owned(), "c\u{202e}d".to_owned()], vec!["é\t".to_owned(), "1".to_owned()]];
        let shown = table(&["NAME", "N"], rows.into_iter());
        assert_eq!(shown, "NAME                   N\na\\u{1b}[2Jb\\n\\u{9b}1A  c\\u{202e}d\né\\t                    1");
    }

    #[test]
    fn columns_line_up_without_trailing_spaces() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["NAME", "N"], rows.into_iter()), "NAME    N\na       1\nlonger  2");
    }
}
