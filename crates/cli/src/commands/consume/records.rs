//! How `milena consume` prints a record.

use std::io::Write;

use milena_client::{Header, RecordView};
use milena_protocol::TopicPartition;
use serde_json::{Map, Value, json};

use crate::{base64, time};

/// What is printed of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RecordFormat {
    /// Its value, and a line break
    Value,
    /// Its key, a tab, its value, and a line break
    KeyValue,
    /// Its time, topic and partition, offset, key and value, with tabs between them
    Placed,
    /// An object on a line of its own
    Json,
}

/// Prints a record, and a line break.
pub(super) fn write(
    out: &mut impl Write,
    format: RecordFormat,
    partition: &TopicPartition,
    record: &RecordView,
) -> std::io::Result<()> {
    let (key, value) = (record.key.as_deref(), record.value.as_deref().unwrap_or_default());
    match format {
        RecordFormat::Value => out.write_all(value)?,
        RecordFormat::KeyValue => {
            out.write_all(key.unwrap_or_default())?;
            out.write_all(b"\t")?;
            out.write_all(value)?;
        }
        RecordFormat::Placed => {
            write!(out, "{}\t{partition}\t{}\t", time::show(record.timestamp), record.offset.0)?;
            out.write_all(key.unwrap_or_default())?;
            out.write_all(b"\t")?;
            out.write_all(value)?;
        }
        RecordFormat::Json => write!(out, "{}", as_json(partition, record))?,
    }
    out.write_all(b"\n")
}

/// Headers are pairs, since names may repeat. Where bytes are no UTF-8, `NAME_base64` stands in the place of `NAME`.
fn as_json(partition: &TopicPartition, record: &RecordView) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(partition.topic));
    object.insert("partition".to_owned(), json!(partition.partition));
    object.insert("offset".to_owned(), json!(record.offset.0));
    object.insert("timestamp".to_owned(), json!(record.timestamp.0));
    for (name, bytes) in [("key", &record.key), ("value", &record.value)] {
        match bytes.as_deref().map(std::str::from_utf8) {
            None => object.insert(name.to_owned(), Value::Null),
            Some(Ok(text)) => object.insert(name.to_owned(), text.into()),
            Some(Err(_)) => {
                object.insert(format!("{name}_base64"), base64::encode(bytes.as_deref().unwrap_or_default()).into())
            }
        };
    }
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match headers(record, text) {
        Some(headers) => object.insert("headers".to_owned(), headers),
        None => {
            let headers = headers(record, |bytes| Some(base64::encode(bytes)));
            object.insert("headers_base64".to_owned(), headers.unwrap_or_default())
        }
    };
    Value::Object(object)
}

/// All names and values in one form; `None` if one of them does not have it.
fn headers(record: &RecordView, form: impl Fn(&[u8]) -> Option<String>) -> Option<Value> {
    let pair = |header: Header| {
        let value = match header.value.as_deref() {
            Some(value) => form(value)?.into(),
            None => Value::Null,
        };
        Some(json!([form(&header.key)?, value]))
    };
    record.headers.iter().map(pair).collect::<Option<Vec<Value>>>().map(Value::from)
}
