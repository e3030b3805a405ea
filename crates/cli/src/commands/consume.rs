//! `milena consume`: records on stdout, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::time::Duration;

use milena_base::Millis;
use milena_client::admin::OffsetSpec;
use milena_client::consumer::{FetchedRecords, Isolation, Reset, Start};
use milena_client::{Admin, Cluster, Consumer, ConsumerSettings, Event, Header, RecordView};
use milena_protocol::{Offset, TopicPartition};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::base64;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{self, Output, tell};
use crate::stop::Stop;
use crate::{names, numbers, time};

/// Read records and print them
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where they are from
    #[arg(value_parser = names::topic)]
    topic: String,
    /// Share the partitions with the other members of this group, and go on where it has been
    #[arg(short, long, value_parser = names::id)]
    group: Option<String>,
    /// Begin at the first record [default: read what comes from now on]
    #[arg(long)]
    from_beginning: bool,
    /// Begin at an offset: a number, earliest, latest, or -N for the last N records of each partition
    #[arg(short, long, allow_hyphen_values = true, conflicts_with_all = ["group", "from_beginning", "from_time"])]
    offset: Option<StartArgument>,
    /// Begin at the first record of this time or later
    #[arg(long, value_name = "TIME", value_parser = time::parse, conflicts_with_all = ["group", "from_beginning"])]
    from_time: Option<Millis>,
    /// Which partitions; may be repeated [default: all]
    #[arg(short, long, conflicts_with = "group", allow_negative_numbers = true, value_parser = numbers::natural::<i32>)]
    partition: Vec<i32>,
    /// Stop after so many records
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = numbers::positive::<u64>)]
    count: Option<u64>,
    /// Stop at the present end of the topic
    #[arg(short = 'e', long, conflicts_with = "group")]
    exit_at_end: bool,
    /// Stop when nothing has come for so long
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = numbers::natural::<u64>)]
    timeout_ms: Option<u64>,
    /// Give up when the group has not taken this member in for so long; once it was a member it waits
    #[arg(long, value_name = "MS", default_value_t = 60_000, allow_negative_numbers = true, value_parser = numbers::natural::<u64>)]
    join_timeout_ms: u64,
    /// How long the group waits for this member when it is silent, before others get its partitions
    #[arg(long, value_name = "MS", default_value_t = 45_000, allow_negative_numbers = true, value_parser = numbers::positive::<i32>)]
    session_timeout_ms: i32,
    /// What is printed of a record
    #[arg(short, long, value_enum)]
    format: Option<RecordFormat>,
    /// Which records of transactions are read
    #[arg(long, value_enum, default_value_t = IsolationArgument::ReadUncommitted)]
    isolation: IsolationArgument,
}

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum IsolationArgument {
    /// All of them, whatever becomes of their transaction
    ReadUncommitted,
    /// Those that were committed; reading ends before the first open transaction
    ReadCommitted,
}

impl IsolationArgument {
    fn isolation(self) -> Isolation {
        match self {
            IsolationArgument::ReadUncommitted => Isolation::ReadUncommitted,
            IsolationArgument::ReadCommitted => Isolation::ReadCommitted,
        }
    }

    /// Where reading ends.
    fn end(self) -> OffsetSpec {
        match self {
            IsolationArgument::ReadUncommitted => OffsetSpec::Latest,
            IsolationArgument::ReadCommitted => OffsetSpec::LastStable,
        }
    }
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartArgument {
    At(i64),
    Last(i64),
    Earliest,
    Latest,
}

impl std::str::FromStr for StartArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<StartArgument, String> {
        match (text, text.parse::<i64>()) {
            ("earliest", _) => Ok(StartArgument::Earliest),
            ("latest", _) => Ok(StartArgument::Latest),
            (_, Ok(number)) if number < 0 => Ok(StartArgument::Last(number.saturating_neg())),
            (_, Ok(number)) => Ok(StartArgument::At(number)),
            _ => Err(format!("\"{text}\" is no offset; give a number, earliest, latest, or -N")),
        }
    }
}

/// What is printed of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RecordFormat {
    /// Its value, and a line break
    Value,
    /// Its key, a tab, its value, and a line break
    KeyValue,
    /// An object on a line of its own
    Json,
}

pub(crate) async fn run(arguments: Arguments, target: &Target, output: &Output) -> Result<(), Failure> {
    let cluster = target.connect().await?;
    cluster.topic(&arguments.topic).await?;
    let usual = if output.is_json() { RecordFormat::Json } else { RecordFormat::Value };
    let format = arguments.format.unwrap_or(usual);
    let usual_settings = ConsumerSettings::default();
    let session_timeout = Duration::from_millis(arguments.session_timeout_ms.unsigned_abs().into());
    let settings = ConsumerSettings {
        group: arguments.group.clone(),
        reset: if arguments.from_beginning { Reset::Earliest } else { Reset::Latest },
        // Only what is printed is stored as read, so that is done here.
        commit_interval: None,
        join_timeout: Duration::from_millis(arguments.join_timeout_ms),
        session_timeout,
        // A third, as Kafka advises: one that is lost must not cost the place.
        heartbeat_interval: usual_settings.heartbeat_interval.min(session_timeout / 3),
        isolation: arguments.isolation.isolation(),
        ..usual_settings
    };
    let mut consumer = Consumer::open(&cluster, settings);
    let mut reading = Reading {
        printed: BTreeMap::new(),
        begun: BTreeSet::new(),
        left: arguments.count,
        ends: None,
        committed_at: Instant::now(),
        commits: arguments.group.is_some(),
        format,
    };
    match arguments.group {
        Some(_) => consumer.subscribe(std::slice::from_ref(&arguments.topic)).await?,
        None => {
            let starts = starts(&cluster, &arguments).await?;
            if arguments.exit_at_end {
                reading.ends = Some(ends(&cluster, &starts, arguments.isolation.end()).await?);
            }
            consumer.assign(&starts).await?;
        }
    }
    let ended = reading.print_all(&mut consumer, arguments.timeout_ms).await;
    let committed = reading.commit(&mut consumer).await;
    reading.give_up_printed();
    let closed = consumer.close().await.map_err(Failure::from);
    ended.and(committed).and(closed)
}

/// Every partition with the place to begin at.
async fn starts(cluster: &Cluster, arguments: &Arguments) -> Result<Vec<(TopicPartition, Start)>, Failure> {
    let topic = cluster.topic(&arguments.topic).await?;
    let mut starts = Vec::new();
    for number in topic.partitions.keys().filter(|number| wanted(&arguments.partition, **number)) {
        let partition = TopicPartition::new(topic.name.clone(), *number);
        let start = match (arguments.offset, arguments.from_time) {
            (Some(StartArgument::At(offset)), _) => Start::Offset(Offset(offset)),
            (Some(StartArgument::Last(records)), _) => {
                last(cluster, &partition, records, arguments.isolation.end()).await?
            }
            (Some(StartArgument::Earliest), _) => Start::Earliest,
            (Some(StartArgument::Latest), _) => Start::Latest,
            (None, Some(time)) => Start::Time(time),
            (None, None) if arguments.from_beginning => Start::Earliest,
            (None, None) => Start::Latest,
        };
        starts.push((partition, start));
    }
    match arguments.partition.iter().find(|number| !topic.partitions.contains_key(number)) {
        Some(missing) => Err(Failure::failed(format!(
            "topic \"{}\" has no partition {missing}; it has {}",
            topic.name,
            topic.partitions.len()
        ))),
        None => Ok(starts),
    }
}

fn wanted(partitions: &[i32], number: i32) -> bool {
    partitions.is_empty() || partitions.contains(&number)
}

async fn last(cluster: &Cluster, partition: &TopicPartition, records: i64, end: OffsetSpec) -> Result<Start, Failure> {
    let start = offset(cluster, partition, OffsetSpec::Earliest).await?;
    let end = offset(cluster, partition, end).await?;
    Ok(Start::Offset(Offset(end.0.saturating_sub(records)).max(start)))
}

async fn ends(
    cluster: &Cluster,
    starts: &[(TopicPartition, Start)],
    end: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, Offset>, Failure> {
    let mut ends = BTreeMap::new();
    for (partition, _) in starts {
        ends.insert(partition.clone(), offset(cluster, partition, end).await?);
    }
    Ok(ends)
}

async fn offset(cluster: &Cluster, partition: &TopicPartition, spec: OffsetSpec) -> Result<Offset, Failure> {
    let found = Admin::new(cluster).list_offsets(&[(partition.clone(), spec)]).await?;
    Ok(found.into_values().next().and_then(|found| found.offset).unwrap_or(Offset(0)))
}

/// What was printed, and what is left to do.
struct Reading {
    /// The offset behind the last printed record of each partition, where it is not stored yet.
    printed: BTreeMap<TopicPartition, Offset>,
    /// Partitions that records came from: what is printed of them counts, not how far they were read.
    begun: BTreeSet<TopicPartition>,
    left: Option<u64>,
    /// Where each partition ended at the start, if that is the end.
    ends: Option<BTreeMap<TopicPartition, Offset>>,
    committed_at: Instant,
    commits: bool,
    format: RecordFormat,
}

impl Reading {
    /// Prints until enough is printed, the end is reached, nothing comes, or somebody presses Ctrl-C.
    async fn print_all(&mut self, consumer: &mut Consumer, timeout_ms: Option<u64>) -> Result<(), Failure> {
        let patience = timeout_ms.map(Duration::from_millis);
        let mut heard = Instant::now();
        let mut stop = Stop::listen()?;
        while self.left != Some(0) && !self.is_at_end(consumer) && !output::is_unread() {
            let limit = patience.map_or(TICK, |patience| patience.saturating_sub(heard.elapsed()).min(TICK));
            let event = tokio::select! {
                event = consumer.next_within(limit) => event?,
                () = stop.ordered() => return Ok(()),
            };
            match event {
                Some(Event::Records(fetched)) => {
                    heard = Instant::now();
                    self.print(&fetched)?;
                }
                Some(Event::Revoked(_)) => self.commit(consumer).await?,
                Some(Event::Lost(_)) => self.give_up_printed(),
                Some(Event::Assigned(_)) => {
                    self.give_up_printed();
                    self.begun.clear();
                }
                None if patience.is_some_and(|patience| heard.elapsed() >= patience) => return Ok(()),
                None => {}
            }
            if self.committed_at.elapsed() >= COMMIT_INTERVAL {
                self.commit(consumer).await?;
            }
        }
        Ok(())
    }

    fn is_at_end(&self, consumer: &Consumer) -> bool {
        self.ends.as_ref().is_some_and(|ends| {
            ends.iter().all(|(partition, end)| consumer.position(partition).is_some_and(|position| position >= *end))
        })
    }

    fn print(&mut self, fetched: &FetchedRecords) -> Result<(), Failure> {
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        let end = self.ends.as_ref().and_then(|ends| ends.get(&fetched.partition)).copied();
        self.begun.insert(fetched.partition.clone());
        for record in &fetched.records {
            if self.left == Some(0) || end.is_some_and(|end| record.offset >= end) {
                break;
            }
            let written = write_record(&mut stdout, self.format, &fetched.partition, record);
            written.map_err(|error| Failure::io("stdout", &error))?;
            self.left = self.left.map(|left| left - 1);
            self.printed.insert(fetched.partition.clone(), record.offset.next());
        }
        stdout.flush().map_err(|error| Failure::io("stdout", &error))
    }

    /// What was printed and could not be stored is read again by whoever has its partition now.
    fn give_up_printed(&mut self) {
        if self.commits && !self.printed.is_empty() {
            self.printed.clear();
            tell("note: the group went on without this member: the records that it printed last are read again");
        }
    }

    /// Stores what was printed. Out of the group nothing can be stored: `printed` keeps it.
    async fn commit(&mut self, consumer: &mut Consumer) -> Result<(), Failure> {
        self.committed_at = Instant::now();
        if !self.commits {
            return Ok(());
        }
        // Where nothing was printed from yet, the group begins at the same place the next time.
        let mut offsets = consumer.uncommitted();
        offsets.retain(|partition, _| !self.begun.contains(partition));
        offsets.extend(self.printed.clone());
        match consumer.commit_offsets(&offsets).await {
            Ok(()) => {
                self.printed.clear();
                Ok(())
            }
            // The next event says what became of the partitions.
            Err(error) if error.is_group_change() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn write_record(
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

/// How often the command looks whether it is time to stop.
const TICK: Duration = Duration::from_millis(500);
/// How often offsets are stored.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_documented() {
        assert_eq!("5".parse(), Ok(StartArgument::At(5)));
        assert_eq!("-5".parse(), Ok(StartArgument::Last(5)));
        assert_eq!("earliest".parse(), Ok(StartArgument::Earliest));
        assert_eq!("latest".parse(), Ok(StartArgument::Latest));
        assert!("soon".parse::<StartArgument>().is_err());
    }
}
