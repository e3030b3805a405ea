//! Our half of `cargo xtask interop codec`: answers one line for each line that the other half, with Kafka's own classes, writes.
//!
//! ```text
//! list                              NAME OLDEST NEWEST FLEXIBLE; ..
//! recode NAME VERSION HEX           HEX JSON     what those bytes say, written again and told
//! make NAME VERSION SEED            HEX JSON     a message made up
//! request NAME HEX                  HEX          a request with its header, made a whole frame again
//! response NAME VERSION HEX         HEX          the same for the response to that request
//! ```
//! What cannot be done is answered with `error` and why.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, Write};

use bytes::Bytes;
use milena_protocol::proof::{Api, Row, Told, apis, rows};

struct Answers {
    rows: BTreeMap<&'static str, Row>,
    apis: BTreeMap<&'static str, Api>,
}

fn main() {
    let answers = Answers {
        rows: rows().into_iter().map(|row| (row.name, row)).collect(),
        apis: apis().into_iter().map(|api| (api.request, api)).collect(),
    };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let answer = answers.answer(&line).unwrap_or_else(|reason| format!("error {reason}"));
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

impl Answers {
    fn answer(&self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["list"] => Ok(self.list()),
            ["recode", name, version, hex] => {
                let recoded = (self.row(name)?.recode)(unhex(hex)?, number(version)?).map_err(text)?;
                recoded.map(told).map_err(text)
            }
            ["make", name, version, seed] => {
                (self.row(name)?.make_up)(number(seed)?, number(version)?).map(told).map_err(text)
            }
            ["request", name, hex] => (self.api(name)?.recode_request)(unhex(hex)?).map(|bytes| hex_of(&bytes)),
            ["response", name, version, hex] => {
                (self.api(name)?.recode_response)(unhex(hex)?, number(version)?).map(|bytes| hex_of(&bytes))
            }
            _ => Err("unknown word".to_owned()),
        }
    }

    fn list(&self) -> String {
        let row = |row: &Row| format!("{} {} {} {}", row.name, row.versions.0, row.versions.1, row.flexible);
        self.rows.values().map(row).collect::<Vec<_>>().join(";")
    }

    fn row(&self, name: &str) -> Result<&Row, String> {
        self.rows.get(name).ok_or_else(|| format!("no message {name}"))
    }

    fn api(&self, name: &str) -> Result<&Api, String> {
        self.apis.get(name).ok_or_else(|| format!("no request {name}"))
    }
}

fn told(told: Told) -> String {
    format!("{} {}", hex_of(&told.bytes), told.json)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is no such number"))
}

/// Bytes in hex; nothing at all is a dash, so that it stays a word.
fn hex_of(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Result<Bytes, String> {
    let hex = if hex == "-" { "" } else { hex };
    let byte = |at| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    (0..hex.len()).step_by(2).map(byte).collect::<Option<Bytes>>().ok_or_else(|| "no hex".to_owned())
}
