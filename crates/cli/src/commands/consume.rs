//! `milena consume`: records on stdout, one after the other.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::time::Duration;

use milena_base::Millis;
use milena_client::admin::OffsetSpec;
use milena_client::consumer::{FetchedRecords, Isolation, Reset, Start};
use milena_client::{Admin, Cluster, Consumer, ConsumerSettings, Event};
use milena_protocol::{Offset, TopicPartition};
use tokio::time::Instant;

use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{self, Output, tell};
use crate::stop::Stop;
use crate::{names, numbers, time};
use records::RecordFormat;

/// Read records and print them
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where they are from: one topic or several
    #[arg(value_name = "TOPIC", required = true, value_parser = names::topic, add = completion::topics())]
    topics: Vec<String>,
    /// Share the partitions with the other members of this group, and go on where it has been
    #[arg(short, long, value_parser = names::id, add = completion::groups())]
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
    /// Begin with the last N records of each partition, 10 if not said, and go on with what comes; each with its time and place
    #[arg(
        long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "10",
        allow_negative_numbers = true, value_parser = numbers::natural::<i64>,
        conflicts_with_all = ["group", "from_beginning", "from_time", "offset"],
    )]
    tail: Option<i64>,
    /// Which partitions; may be repeated [default: all]
    #[arg(short, long, conflicts_with = "group", allow_negative_numbers = true, value_parser = numbers::natural::<i32>)]
    partition: Vec<i32>,
    /// Stop after so many records
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = numbers::positive::<u64>)]
    count: Option<u64>,
    /// Stop at the present end of the topics
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
    /// What is printed of a record [default: value; placed with --tail or several topics]
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
    Time(Millis),
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

pub(crate) async fn run(arguments: Arguments, target: &Target, output: &Output) -> Result<(), Failure> {
    let cluster = target.connect().await?;
    for topic in &arguments.topics {
        cluster.topic(topic).await?;
    }
    let format = arguments.format(output);
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
        Some(_) => consumer.subscribe(&arguments.topics).await?,
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

impl Arguments {
    /// Whoever reads of several places wants to know which is which.
    fn format(&self, output: &Output) -> RecordFormat {
        let has_places = self.tail.is_some() || self.topics.len() > 1;
        self.format.unwrap_or(match (output.is_json(), has_places) {
            (true, _) => RecordFormat::Json,
            (false, true) => RecordFormat::Placed,
            (false, false) => RecordFormat::Value,
        })
    }

    /// Where reading begins in each partition.
    fn start(&self) -> StartArgument {
        match (self.offset, self.tail, self.from_time) {
            (Some(offset), ..) => offset,
            (None, Some(records), _) => StartArgument::Last(records),
            (None, None, Some(time)) => StartArgument::Time(time),
            (None, None, None) if self.from_beginning => StartArgument::Earliest,
            (None, None, None) => StartArgument::Latest,
        }
    }
}

/// Every partition with the place to begin at.
async fn starts(cluster: &Cluster, arguments: &Arguments) -> Result<Vec<(TopicPartition, Start)>, Failure> {
    let mut starts = Vec::new();
    for topic in &arguments.topics {
        let topic = cluster.topic(topic).await?;
        if let Some(missing) = arguments.partition.iter().find(|number| !topic.partitions.contains_key(number)) {
            let count = topic.partitions.len();
            let told = format!("topic \"{}\" has no partition {missing}; it has {count}", topic.name);
            return Err(Failure::failed(told));
        }
        for number in topic.partitions.keys().filter(|number| wanted(&arguments.partition, **number)) {
            let partition = TopicPartition::new(topic.name.clone(), *number);
            let start = match arguments.start() {
                StartArgument::At(offset) => Start::Offset(Offset(offset)),
                StartArgument::Last(records) => last(cluster, &partition, records, arguments.isolation.end()).await?,
                StartArgument::Time(time) => Start::Time(time),
                StartArgument::Earliest => Start::Earliest,
                StartArgument::Latest => Start::Latest,
            };
            starts.push((partition, start));
        }
    }
    Ok(starts)
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
            let written = records::write(&mut stdout, self.format, &fetched.partition, record);
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
