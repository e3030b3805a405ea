//! What was said in a scenario, as text: one step after another, one line for each value, so that a difference
//! names a single value. Both sides of a comparison are this type.
//!
//! ```text
//! > 3 Produce v9
//! Acks: 5
//! TopicData[0].Name: "produce-acks-a"
//!
//! < 3 Produce v9
//! Responses[0].PartitionResponses[0].ErrorCode: 21 INVALID_REQUIRED_ACKS
//! ```

use std::fmt;

use bytes::Bytes;
use milena_protocol::ErrorCode;

use crate::normal::{KEYED, Names, arrange, field_of};
use crate::value::Value;

/// Longer bytes are shown by their beginning, length and checksum.
const SHOWN_BYTES_MAX: usize = 200;

/// One request, answer, or other thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Direction, number and name, such as `> 3 Produce v9`.
    pub title: String,
    /// Path and value of everything in it.
    pub lines: Vec<(String, String)>,
}

/// All steps of one scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// In the order in which they happened.
    pub steps: Vec<Step>,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "\n{}", step.title)?;
            for (path, value) in &step.lines {
                writeln!(f, "{path}: {value}")?;
            }
        }
        Ok(())
    }
}

impl Transcript {
    /// Reads what `Display` wrote; lines that begin with `#` are the file's head. What is no line of a transcript
    /// becomes a path without a value and so a difference.
    pub fn parse(text: &str) -> Transcript {
        let mut steps: Vec<Step> = Vec::new();
        let mut at_title = true;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match (line.is_empty(), at_title, steps.last_mut()) {
                (true, ..) => at_title = true,
                (false, false, Some(step)) => {
                    let (path, value) = line.split_once(": ").unwrap_or((line, ""));
                    step.lines.push((path.to_owned(), value.to_owned()));
                }
                _ => {
                    steps.push(Step { title: line.to_owned(), lines: Vec::new() });
                    at_title = false;
                }
            }
        }
        Transcript { steps }
    }
}

/// Turns the values of one message into lines.
pub(crate) struct Lines<'a> {
    /// Kafka's name of the API.
    pub(crate) api: &'a str,
    /// Names for what varies.
    pub(crate) names: &'a mut Names,
    /// Whether it is an answer: the order of a request is the scenario's and stays.
    pub(crate) answer: bool,
    /// Shared lists show only elements whose names begin like this.
    pub(crate) mine: Option<&'a str>,
    /// What was written so far.
    pub(crate) lines: Vec<(String, String)>,
}

impl Lines<'_> {
    /// Adds a value and all in it.
    pub(crate) fn add(&mut self, path: &str, field: &str, value: &Value) {
        match value {
            Value::Struct(fields) if fields.is_empty() && !path.is_empty() => self.put(path, "{}"),
            Value::Struct(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.add(&path, name, value);
                }
            }
            Value::List(elements) => {
                let elements = match self.answer {
                    true => arrange(self.api, field, elements, self.mine, self.names),
                    false => elements.clone(),
                };
                match KEYED.iter().find(|(api, list, ..)| *api == self.api && *list == field) {
                    Some((.., key, one_line)) if !elements.is_empty() => {
                        self.add_keyed(path, key, *one_line, &elements)
                    }
                    _ => self.add_elements(path, field, &elements),
                }
            }
            Value::Batches(batches) => {
                let lines = std::mem::take(&mut self.lines);
                let mut inner = Lines { api: "Batch", names: &mut *self.names, answer: self.answer, mine: None, lines };
                inner.add_elements(path, field, batches);
                self.lines = inner.lines;
            }
            _ => {
                let text = self.simple(field, value);
                self.put(path, &text);
            }
        }
    }

    fn add_elements(&mut self, path: &str, field: &str, elements: &[Value]) {
        let plain = |element: &Value| !matches!(element, Value::Struct(_) | Value::Word(_));
        if elements.iter().all(plain) {
            let texts: Vec<String> = elements.iter().map(|element| self.simple(field, element)).collect();
            return self.put(path, &format!("[{}]", texts.join(", ")));
        }
        for (at, element) in elements.iter().enumerate() {
            self.add(&format!("{path}[{at}]"), field, element);
        }
    }

    fn add_keyed(&mut self, path: &str, key: &str, one_line: bool, elements: &[Value]) {
        for element in elements {
            let Value::Struct(fields) = element else { continue };
            let name = field_of(element, key).map(|value| self.simple(key, value)).unwrap_or_default();
            let path = format!("{path}[{}]", name.trim_matches('"'));
            let rest: Vec<(String, Value)> = fields.iter().filter(|(field, _)| field != key).cloned().collect();
            if one_line {
                let texts: Vec<String> =
                    rest.iter().map(|(field, value)| format!("{field} {}", self.simple(field, value))).collect();
                self.put(&path, &texts.join(", "));
            } else {
                self.add(&path, key, &Value::Struct(rest));
            }
        }
    }

    fn put(&mut self, path: &str, text: &str) {
        self.lines.push((path.to_owned(), text.to_owned()));
    }

    fn simple(&mut self, field: &str, value: &Value) -> String {
        if let Some(name) = self.names.replace(self.api, field, value) {
            return name;
        }
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(number) => number_text(field, *number),
            Value::Float(number) => number.to_string(),
            Value::Uuid(id) => id.to_string(),
            Value::Text(text) if text.len() <= SHOWN_BYTES_MAX => format!("{text:?}"),
            Value::Text(text) => bytes_text(text.as_bytes()),
            Value::Bytes(bytes) => bytes_text(bytes),
            Value::Word(word) => word.clone(),
            Value::Struct(_) | Value::List(_) | Value::Batches(_) => unreachable!("not a simple value"),
        }
    }
}

fn number_text(field: &str, number: i64) -> String {
    match i16::try_from(number) {
        Ok(code) if field.ends_with("ErrorCode") => format!("{code} {}", ErrorCode::from_number(code)),
        _ => number.to_string(),
    }
}

/// Bytes as quoted text with escapes.
pub(crate) fn bytes_text(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES_MAX {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let shown = Bytes::copy_from_slice(&bytes[..16]);
    format!("\"{}\"... {} bytes, crc {:08x}", shown.escape_ascii(), bytes.len(), crate::batch::crc32c(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_read_as_it_was_written() {
        let lines = vec![
            ("Name".to_owned(), "\"a: b\\n\"".to_owned()),
            ("Topics[0].ErrorCode".to_owned(), "3 UNKNOWN_TOPIC_OR_PARTITION".to_owned()),
        ];
        let steps = vec![
            Step { title: "> 1 Metadata v0".to_owned(), lines: Vec::new() },
            Step { title: "< 1 Metadata v0".to_owned(), lines },
        ];
        let transcript = Transcript { steps };
        assert_eq!(Transcript::parse(&format!("# head\n{transcript}")), transcript);
    }
}
