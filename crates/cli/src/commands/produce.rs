//! `milena produce`: lines or JSON become records.
//!
//! As JSON a line is an object with any of these members; whatever is no string is sent as JSON text:
//! ```text
//! {"key": "k", "value": "v", "headers": {"name": "value"}, "partition": 0, "timestamp": 1760623620000}
//! ```
//! `key_base64`, `value_base64` and `headers_base64` (pairs) stand for bytes that are no text, as `consume` prints them.

mod transactions;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use milena_base::Millis;
use milena_client::admin::ConfigResource;
use milena_client::producer::{Acks, Delivery};
use milena_client::transaction::Transaction;
use milena_client::{Admin, Header, ProducedRecord, Producer, ProducerSettings};
use milena_protocol::compression::Codec;
use milena_protocol::records::{HEADER_BYTES, record_size_bytes};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::base64;
use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::input::{self, Line};
use crate::output::Output;
use crate::stop::Stop;
use crate::{names, numbers, pairs};

/// Send records from files or stdin
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where they go; it is created at first use if the broker allows that
    #[arg(value_parser = names::topic, add = completion::topics())]
    topic: String,
    /// Files to read, one after the other; - is stdin [default: stdin]
    files: Vec<String>,
    /// What a line is
    #[arg(short, long, value_enum, default_value_t = LineFormat::Lines)]
    format: LineFormat,
    /// What stands between key and value of a line [default: lines have no key]
    #[arg(short = 's', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// The key of every record that has none
    #[arg(short, long)]
    key: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = pairs::parse)]
    header: Vec<(String, String)>,
    /// Which partition [default: by key]
    #[arg(short, long, allow_negative_numbers = true, value_parser = numbers::natural::<i32>)]
    partition: Option<i32>,
    /// Who must have a record
    #[arg(long, value_enum, default_value_t = AcksArgument::All)]
    acks: AcksArgument,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(short, long, default_value = "none", value_parser = codec)]
    compression: Codec,
    #[command(flatten)]
    transactions: transactions::Transactions,
}

/// What a line is.
#[derive(Clone, Copy, clap::ValueEnum)]
enum LineFormat {
    /// A value
    Lines,
    /// An object with key, value, headers, partition and timestamp
    Json,
}

/// Who must have a record before it counts as sent.
#[derive(Clone, Copy, clap::ValueEnum)]
enum AcksArgument {
    /// Nobody
    None,
    /// The leader
    Leader,
    /// All in-sync replicas
    All,
}

/// For the command line.
pub(crate) fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| format!("\"{name}\" is none of none, gzip, snappy, lz4 and zstd"))
}

#[derive(Serialize)]
struct Produced<'a> {
    topic: &'a str,
    records: u64,
    bytes: u64,
    seconds: f64,
}

pub(crate) async fn run(arguments: Arguments, target: &Target, output: &Output) -> Result<(), Failure> {
    let mut lines = Lines::open(&arguments.files)?;
    let cluster = target.connect_creating(true).await?;
    let acks = match arguments.acks {
        AcksArgument::None => Acks::None,
        AcksArgument::Leader => Acks::Leader,
        AcksArgument::All => Acks::All,
    };
    if arguments.transactions.transactional_id.is_some() && acks != Acks::All {
        return Err(Failure::usage("a transaction needs --acks all"));
    }
    let settings = ProducerSettings {
        acks,
        is_idempotent: acks == Acks::All,
        codec: arguments.compression,
        delivery_timeout: Duration::from_secs(30),
        record_bytes_max: RECORD_BYTES_MAX,
        buffer_bytes: 2 * RECORD_BYTES_MAX,
        ..ProducerSettings::default()
    };
    let admin = Admin::new(&cluster);
    let limit = Limit { admin, topic: &arguments.topic, codec: arguments.compression, bytes: None };
    let mut sending = Sending { arguments: &arguments, limit, sent: Sent::new() };
    match &arguments.transactions.transactional_id {
        Some(id) => {
            let how = (id.as_str(), &arguments.transactions);
            transactions::send_all(&cluster, settings, how, &mut lines, &mut sending).await?;
            sending.sent.finish().await?;
        }
        None => send_all(Producer::open(&cluster, settings)?, &mut lines, &mut sending).await?,
    }
    let sent = sending.sent;
    let seconds = sent.started.elapsed().as_secs_f64();
    let (topic, records, bytes) = (arguments.topic.as_str(), sent.records, sent.bytes);
    output.result(
        &Produced { topic, records, bytes, seconds },
        &format!("{records} {} sent to \"{topic}\"", if records == 1 { "record" } else { "records" }),
    )
}

async fn send_all(producer: Producer, lines: &mut Lines, sending: &mut Sending<'_>) -> Result<(), Failure> {
    let mut ended = Ok(());
    while let Some(line) = lines.next().await {
        ended = sending.send(Way::Plain(&producer), line).await;
        if ended.is_err() {
            break;
        }
    }
    // What was taken in before a bad line is delivered all the same.
    producer.flush().await;
    let delivered = sending.sent.finish().await;
    ended.and(delivered)
}

/// What is to be sent, until it ends or somebody presses Ctrl-C.
struct Lines {
    lines: mpsc::Receiver<Result<Line, Failure>>,
    stop: Stop,
    is_interrupted: bool,
}

impl Lines {
    fn open(files: &[String]) -> Result<Lines, Failure> {
        Ok(Lines { lines: input::lines(files)?, stop: Stop::listen()?, is_interrupted: false })
    }

    async fn next(&mut self) -> Option<Result<Line, Failure>> {
        tokio::select! {
            line = self.lines.recv() => line,
            () = self.stop.ordered() => {
                self.is_interrupted = true;
                None
            }
        }
    }

    fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }
}

/// What a line becomes, and what became of those before.
struct Sending<'a> {
    arguments: &'a Arguments,
    limit: Limit<'a>,
    sent: Sent,
}

/// Which way a record goes.
#[derive(Clone, Copy)]
enum Way<'a> {
    Plain(&'a Producer),
    Transaction(&'a Transaction<'a>),
}

impl Sending<'_> {
    fn records(&self) -> u64 {
        self.sent.records
    }

    async fn send(&mut self, way: Way<'_>, line: Result<Line, Failure>) -> Result<(), Failure> {
        let line = line?;
        let number = line.number;
        let told = |message: String| Failure::failed(format!("line {number}: {message}"));
        let record = record(self.arguments, line).map_err(told)?;
        self.limit.check(&record).await.map_err(told)?;
        self.sent.note(&record);
        let delivery = match way {
            Way::Plain(producer) => producer.send(record).await?,
            Way::Transaction(transaction) => transaction.send(record).await?,
        };
        self.sent.await_later(delivery).await
    }
}

/// What was sent so far, and how far it is known to have arrived.
struct Sent {
    started: Instant,
    records: u64,
    bytes: u64,
    /// Outcomes to come, in the order of sending.
    deliveries: VecDeque<Delivery>,
    progress: ProgressBar,
}

impl Sent {
    fn new() -> Sent {
        let progress = match std::io::stderr().is_terminal() && !std::io::stdin().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}, {elapsed}");
        progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Sent { started: Instant::now(), records: 0, bytes: 0, deliveries: VecDeque::new(), progress }
    }

    fn note(&mut self, record: &ProducedRecord) {
        self.records += 1;
        self.bytes += record.value.as_ref().map_or(0, Bytes::len) as u64;
        self.progress.inc(1);
    }

    /// Old outcomes are looked at as we go, so that their number stays bounded and a failure ends it early.
    async fn await_later(&mut self, delivery: Delivery) -> Result<(), Failure> {
        self.deliveries.push_back(delivery);
        if self.deliveries.len() > DELIVERIES_MAX
            && let Some(delivery) = self.deliveries.pop_front()
        {
            delivery.wait().await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        for delivery in self.deliveries.drain(..) {
            delivery.wait().await?;
        }
        self.progress.finish_and_clear();
        Ok(())
    }
}

/// The largest record that the topic takes.
struct Limit<'a> {
    admin: Admin,
    topic: &'a str,
    codec: Codec,
    /// Asked for at the first large record.
    bytes: Option<usize>,
}

impl Limit<'_> {
    /// Says what a broker would only refuse after it was sent. How small a compressed record becomes is not known
    /// here: that is for the broker to decide.
    async fn check(&mut self, record: &ProducedRecord) -> Result<(), String> {
        let size = record_size_bytes(0, 0, record.key.as_deref(), record.value.as_deref(), &record.headers);
        let size = size + HEADER_BYTES;
        if size <= SMALL_BYTES || self.codec != Codec::None {
            return Ok(());
        }
        let limit = match self.bytes {
            Some(limit) => limit,
            None => *self.bytes.insert(self.ask().await),
        };
        match size <= limit {
            true => Ok(()),
            false => Err(format!(
                "a record of {size} bytes is larger than the topic takes (max.message.bytes={limit}); send a smaller one, \
                 compress it, or `milena config alter --topic {} --set max.message.bytes={size}`",
                self.topic
            )),
        }
    }

    /// Without an answer the broker decides.
    async fn ask(&self) -> usize {
        let asked = self.admin.describe_configs(&ConfigResource::Topic(self.topic.to_owned())).await;
        let entry = asked.ok().and_then(|entries| entries.into_iter().find(|entry| entry.name == "max.message.bytes"));
        entry.and_then(|entry| entry.value?.parse().ok()).unwrap_or(usize::MAX)
    }
}

/// A broker reads requests of up to 100 MiB unless told otherwise (`socket.request.max.bytes`); a record needs a frame.
const RECORD_BYTES_MAX: usize = (100 << 20) - (64 << 10);
/// Below this size nobody asks for the topic's limit beforehand.
const SMALL_BYTES: usize = 1 << 20;

/// How many outcomes may be waited for.
const DELIVERIES_MAX: usize = 100_000;

fn record(arguments: &Arguments, line: Line) -> Result<ProducedRecord, String> {
    let mut record = match arguments.format {
        LineFormat::Json => from_json(&line.bytes)?,
        LineFormat::Lines => from_line(line.bytes, arguments.key_separator.as_deref())?,
    };
    record.topic = arguments.topic.clone();
    record.partition = record.partition.or(arguments.partition);
    record.key = record.key.or_else(|| arguments.key.clone().map(Bytes::from));
    let header = |(name, value): &(String, String)| header(name.clone(), Some(value.clone().into()));
    record.headers.extend(arguments.header.iter().map(header));
    Ok(record)
}

fn from_line(line: Vec<u8>, key_separator: Option<&str>) -> Result<ProducedRecord, String> {
    let line = Bytes::from(line);
    let Some(separator) = key_separator.filter(|separator| !separator.is_empty()) else {
        return Ok(ProducedRecord { value: Some(line), ..ProducedRecord::default() });
    };
    let found = line.windows(separator.len()).position(|window| window == separator.as_bytes());
    let at = found.ok_or_else(|| format!("no key: \"{separator}\" does not occur"))?;
    let (key, value) = (line.slice(..at), line.slice(at + separator.len()..));
    Ok(ProducedRecord { key: Some(key), value: Some(value), ..ProducedRecord::default() })
}

fn from_json(line: &[u8]) -> Result<ProducedRecord, String> {
    let object: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(members) = object else { return Err("not a JSON object".to_owned()) };
    let mut record = ProducedRecord::default();
    for (name, value) in members {
        match name.as_str() {
            "key" => record.key = text(value),
            "value" => record.value = text(value),
            "headers" => record.headers = headers(value)?,
            "key_base64" => record.key = binary(&value)?,
            "value_base64" => record.value = binary(&value)?,
            "headers_base64" => record.headers = binary_headers(value)?,
            "partition" => record.partition = Some(partition(&value)?),
            "timestamp" => record.timestamp = Some(Millis(value.as_i64().ok_or("timestamp is no number")?)),
            // What `consume` writes can be sent again.
            "topic" | "offset" => {}
            other => return Err(format!("\"{other}\" is none of key, value, headers, partition and timestamp")),
        }
    }
    Ok(record)
}

fn partition(value: &Value) -> Result<i32, String> {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(|| "partition is no number".to_owned())
}

/// Strings without their quotes, null as null, the rest as JSON.
fn text(value: Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

/// An object, or an array of pairs where names repeat.
fn headers(value: Value) -> Result<Vec<Header>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(members) => Ok(members.into_iter().map(|(name, value)| header(name, text(value))).collect()),
        Value::Array(pairs) => pairs
            .into_iter()
            .map(|pair| match pair {
                Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                    Ok([Value::String(name), value]) => Ok(header(name, text(value))),
                    _ => Err("a header is no [name, value]".to_owned()),
                },
                _ => Err("a header is no [name, value]".to_owned()),
            })
            .collect(),
        _ => Err("headers are no object".to_owned()),
    }
}

/// Bytes in base64, null as null.
fn binary(value: &Value) -> Result<Option<Bytes>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => match base64::decode(text) {
            Some(bytes) => Ok(Some(bytes.into())),
            None => Err(format!("\"{text}\" is no base64")),
        },
        _ => Err("base64 is no string".to_owned()),
    }
}

/// Like [`headers`], but names and values are base64.
fn binary_headers(value: Value) -> Result<Vec<Header>, String> {
    let decoded = |header: Header| {
        let bytes = |bytes: &Bytes| binary(&String::from_utf8_lossy(bytes).into());
        let value = header.value.as_ref().map(bytes).transpose()?.flatten();
        Ok(Header { key: bytes(&header.key)?.unwrap_or_default(), value })
    };
    headers(value)?.into_iter().map(decoded).collect()
}

fn header(name: String, value: Option<Bytes>) -> Header {
    Header { key: name.into(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_the_first_separator() {
        let record = from_line(b"k:v:w".to_vec(), Some(":")).unwrap();
        assert_eq!((record.key.unwrap(), record.value.unwrap()), (Bytes::from("k"), Bytes::from("v:w")));
        assert!(from_line(b"none".to_vec(), Some(":")).is_err());
        assert_eq!(from_line(b"k:v".to_vec(), None).unwrap().key, None);
    }

    #[test]
    fn json_gives_every_part_of_a_record() {
        let line = br#"{"key":"k","value":{"a":1},"headers":{"h":"x"},"partition":2,"timestamp":5}"#;
        let record = from_json(line).unwrap();
        assert_eq!(record.key, Some(Bytes::from("k")));
        assert_eq!(record.value, Some(Bytes::from(r#"{"a":1}"#)));
        assert_eq!(record.headers, [header("h".to_owned(), Some("x".into()))]);
        assert_eq!((record.partition, record.timestamp), (Some(2), Some(Millis(5))));
        assert_eq!(from_json(br#"{"value":null}"#).unwrap().value, None);
        let binary =
            from_json(br#"{"key_base64":"AP8=","value_base64":null,"headers_base64":[["aA==","/w=="]]}"#).unwrap();
        assert_eq!((binary.key, binary.value), (Some(Bytes::from_static(&[0, 0xff])), None));
        assert_eq!(binary.headers, [header("h".to_owned(), Some(Bytes::from_static(&[0xff])))]);
        assert_eq!(from_json(br#"{"headers":[["h",null]]}"#).unwrap().headers, [header("h".to_owned(), None)]);
    }

    #[test]
    fn json_that_is_no_record_is_refused() {
        for line in ["[]", "{", r#"{"vlaue":1}"#, r#"{"partition":"x"}"#, r#"{"headers":[1]}"#, r#"{"key_base64":"A"}"#]
        {
            assert!(from_json(line.as_bytes()).is_err(), "{line}");
        }
    }
}
