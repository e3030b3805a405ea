//! JSON as Jackson writes it for the nodes that Kafka's converters make.

use std::fmt::Write;

use super::Records;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// JSON that is being written.
#[derive(Debug, Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// All that was written.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Begins an object or array, or something else that stands in one.
    pub fn open(&mut self, bracket: char) {
        self.separate();
        self.text.push(bracket);
    }

    /// Ends an object or array.
    pub fn close(&mut self, bracket: char) {
        self.text.push(bracket);
    }

    /// The name of what comes next.
    pub fn field(&mut self, name: &str) {
        self.text(name);
        self.text.push(':');
    }

    /// A number, a truth value or null.
    pub fn word(&mut self, word: impl std::fmt::Display) {
        self.separate();
        let _ = write!(self.text, "{word}");
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.separate();
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => self.text.extend(['\\', character]),
                '\n' => self.text += "\\n",
                '\t' => self.text += "\\t",
                '\r' => self.text += "\\r",
                control if control < ' ' => {
                    let _ = write!(self.text, "\\u{:04X}", u32::from(control));
                }
                plain => self.text.push(plain),
            }
        }
        self.text.push('"');
    }

    /// Bytes, as Base64.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for at in 0..4 {
                let digit = BASE64[(bits >> (18 - 6 * at)) as usize & 0x3f] as char;
                text.push(if at > three.len() { '=' } else { digit });
            }
        }
        self.text(&text);
    }

    /// A field of record batches: Kafka's converters tell only how many bytes they take.
    pub fn records(&mut self, name: &str, records: &Records) {
        match records {
            Records::Null => {
                self.field(name);
                self.word("null");
            }
            some => {
                self.field(&format!("{name}SizeInBytes"));
                self.word(some.size_bytes());
            }
        }
    }

    /// A comma, unless this is the first of its object or array, or belongs to a name.
    fn separate(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(['{', '[', ':']) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_jackson_writes_it() {
        let mut json = Json::default();
        json.open('{');
        json.field("text");
        json.text("a\"b\\\u{1}é");
        json.field("list");
        json.open('[');
        json.word(-1);
        json.bytes(&[0xff, 0xfe]);
        json.bytes(&[1, 2, 3, 4]);
        json.close(']');
        json.close('}');
        assert_eq!(json.into_text(), r#"{"text":"a\"b\\\u0001é","list":[-1,"//4=","AQIDBA=="]}"#);
    }
}
