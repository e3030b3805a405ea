//! `milena group reset`, which is Kafka's `--reset-offsets`: it shows where the offsets would go, and stores them only
//! when told to with `--execute`.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Millis;
use milena_client::Admin;
use milena_protocol::{ErrorCode, Offset, TopicPartition};
use serde::Serialize;

use super::destination::{self, Place, To};
use crate::completion;
use crate::failure::Failure;
use crate::output::{Output, Row, tell};
use crate::scope::{self, Scope};
use crate::{names, numbers};

#[derive(clap::Args)]
pub(crate) struct Reset {
    /// The group's id
    #[arg(value_parser = names::id, add = completion::groups())]
    group: String,
    /// Which topic, `TOPIC` or `TOPIC:0,1` for some of its partitions; may be repeated [default: all that the group has
    /// offsets in]
    #[arg(short, long, value_parser = scope::parse, add = completion::topics())]
    topic: Vec<Scope>,
    /// All topics that the group has offsets in, which is the default
    #[arg(long, conflicts_with_all = ["topic", "from_file"])]
    all_topics: bool,
    /// Which partitions of them [default: all]
    #[arg(short, long, allow_negative_numbers = true, value_parser = numbers::natural::<i32>)]
    partition: Vec<i32>,
    #[command(flatten)]
    to: To,
    /// Store the offsets
    #[arg(long, conflicts_with = "dry_run")]
    execute: bool,
    /// Only show what would be stored, which is the default
    #[arg(long)]
    dry_run: bool,
    /// Print TOPIC,PARTITION,OFFSET line by line, for --from-file
    #[arg(long)]
    export: bool,
}

/// An offset that is moved.
#[derive(Serialize)]
struct MoveRow {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
    /// Whether it is there now.
    stored: bool,
}

impl Row for MoveRow {
    const HEADINGS: &'static [&'static str] = &["TOPIC", "PARTITION", "FROM", "TO"];

    fn cells(&self) -> Vec<String> {
        let from = self.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
        vec![self.topic.clone(), self.partition.to_string(), from, self.to.to_string()]
    }
}

impl Reset {
    pub(super) async fn run(self, admin: &Admin, output: &Output) -> Result<(), Failure> {
        self.check_group(admin).await?;
        let moves = self.plan(admin).await?;
        if self.execute {
            let offsets = moves.iter().map(|(partition, (_, to))| (partition.clone(), *to)).collect();
            admin.alter_group_offsets(&self.group, &offsets).await?;
        } else if !self.dry_run && !self.export {
            tell("note: nothing was stored; add --execute to store it");
        }
        let rows = moves.into_iter().map(|(partition, (from, to))| MoveRow {
            topic: partition.topic,
            partition: partition.partition,
            from: from.map(|offset| offset.0),
            to: to.0,
            stored: self.execute,
        });
        let rows: Vec<MoveRow> = rows.collect();
        if !self.export {
            return output.list(&rows);
        }
        rows.iter().try_for_each(|row| output.line(&format!("{},{},{}", row.topic, row.partition, row.to)))
    }

    /// Members would go on where they are, and store that again.
    async fn check_group(&self, admin: &Admin) -> Result<(), Failure> {
        let state = match admin.describe_group(&self.group).await {
            Ok(description) => description.state,
            // Its offsets may come before its members.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if state == "Empty" || state == "Dead" {
            return Ok(());
        }
        let (group, state) = (&self.group, state.to_lowercase());
        let advice = "stop them and ask again, or wait until their sessions have ended";
        Err(Failure::failed(format!("group \"{group}\" has members and is {state}; {advice}")))
    }

    /// What would be stored: from where, to where.
    async fn plan(&self, admin: &Admin) -> Result<BTreeMap<TopicPartition, (Option<Offset>, Offset)>, Failure> {
        let stored = admin.group_offsets(&self.group).await?;
        let stored: BTreeMap<TopicPartition, Offset> =
            stored.into_iter().map(|(partition, stored)| (partition, stored.offset)).collect();
        let listed = match &self.to.from_file {
            Some(file) => destination::read(file, &self.group)?,
            None => BTreeMap::new(),
        };
        let named = if self.to.from_file.is_some() { &listed } else { &stored };
        let partitions = self.partitions(admin, named.keys()).await?;
        if partitions.is_empty() && !self.topic.is_empty() && !self.partition.is_empty() {
            return Err(Failure::failed(
                "no topic that is named has a partition of these numbers; see `milena topic describe`",
            ));
        }
        if partitions.is_empty() {
            let advice = "name a topic with --topic";
            return Err(Failure::failed(format!("group \"{}\" has no offsets there; {advice}", self.group)));
        }
        let now = Millis(jiff::Timestamp::now().as_millisecond());
        let mut moves = BTreeMap::new();
        for partition in partitions {
            let from = stored.get(&partition).copied();
            let place = Place { partition: &partition, stored: from, listed: listed.get(&partition).copied() };
            let (to, wanted) = destination::destination(admin, &place, &self.to, now).await?;
            if let Some(wanted) = wanted {
                tell(&format!("note: {partition} has no offset {wanted}; it goes to {to}"));
            }
            moves.insert(partition, (from, to));
        }
        Ok(moves)
    }

    /// Those that are named, or those of the topics that are.
    async fn partitions(
        &self,
        admin: &Admin,
        named: impl Iterator<Item = &TopicPartition>,
    ) -> Result<BTreeSet<TopicPartition>, Failure> {
        let mut partitions: BTreeSet<TopicPartition> = BTreeSet::new();
        if self.topic.is_empty() || self.to.from_file.is_some() {
            let is_meant = |partition: &&TopicPartition| {
                self.topic.is_empty() || self.topic.iter().any(|scope| scope.holds(partition))
            };
            partitions.extend(named.filter(is_meant).cloned());
        } else {
            for scope in &self.topic {
                partitions.extend(exists(admin, scope).await?);
            }
        }
        partitions.retain(|partition| self.partition.is_empty() || self.partition.contains(&partition.partition));
        Ok(partitions)
    }
}

/// The partitions of a scope; one that is not there is an error.
async fn exists(admin: &Admin, scope: &Scope) -> Result<Vec<TopicPartition>, Failure> {
    let found = admin.describe_topic(&scope.topic).await?;
    let numbers: BTreeSet<i32> = found.partitions.keys().copied().collect();
    let wanted = scope.partitions.clone().unwrap_or_else(|| numbers.clone());
    if let Some(missing) = wanted.difference(&numbers).next() {
        let (topic, count) = (&scope.topic, numbers.len());
        let advice = format!("it has {count}, counted from 0");
        return Err(Failure::failed(format!("topic \"{topic}\" has no partition {missing}; {advice}")));
    }
    Ok(wanted.into_iter().map(|number| TopicPartition::new(scope.topic.clone(), number)).collect())
}
