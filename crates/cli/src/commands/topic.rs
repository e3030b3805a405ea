//! `milena topic`: what topics there are, and how they are cut.

use std::path::{Path, PathBuf};

use milena_base::Millis;
use milena_client::admin::{ConfigChange, ConfigResource, ConfigSource, NewTopic, OffsetSpec};
use milena_client::cluster::{PartitionView, TopicView};
use milena_client::{Admin, Error};
use milena_protocol::{ErrorCode, NodeId, Offset, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, Row};
use crate::{names, numbers, pairs, time};

/// Create, list, describe, change and delete topics
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Create a topic
    Create {
        /// Its name
        #[arg(value_parser = names::topic)]
        name: String,
        /// How many partitions [default: the broker's num.partitions]
        #[arg(short, long, allow_negative_numbers = true, value_parser = numbers::positive::<i32>)]
        partitions: Option<i32>,
        /// How many copies of each [default: the broker's default.replication.factor]
        #[arg(short, long, allow_negative_numbers = true, value_parser = numbers::positive::<i16>)]
        replication_factor: Option<i16>,
        /// A setting of the topic; may be repeated
        #[arg(short, long, value_name = "NAME=VALUE", value_parser = pairs::parse)]
        config: Vec<(String, String)>,
        /// Be content if it exists already
        #[arg(long)]
        if_not_exists: bool,
    },
    /// List topics
    List {
        /// Also those that the cluster keeps for itself
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, leaders and replicas
    Describe {
        /// Their names
        #[arg(required = true, value_parser = names::topic, add = completion::topics())]
        names: Vec<String>,
    },
    /// Add partitions, change settings
    Alter {
        /// Its name
        #[arg(value_parser = names::topic, add = completion::topics())]
        name: String,
        /// How many partitions it shall have
        #[arg(short, long, allow_negative_numbers = true, value_parser = numbers::positive::<i32>)]
        partitions: Option<i32>,
        /// Set a setting; may be repeated
        #[arg(short, long = "config", visible_alias = "set", value_name = "NAME=VALUE", value_parser = pairs::parse)]
        config: Vec<(String, String)>,
        /// Give a setting its default again; may be repeated
        #[arg(long, visible_alias = "unset", value_name = "NAME")]
        delete_config: Vec<String>,
    },
    /// Delete topics with all their records
    Delete {
        /// Their names
        #[arg(required = true, value_parser = names::topic, add = completion::topics())]
        names: Vec<String>,
        /// Be content if they do not exist
        #[arg(long)]
        if_exists: bool,
    },
    /// Show where each partition ends
    Offsets {
        /// Its name
        #[arg(value_parser = names::topic, add = completion::topics())]
        name: String,
        /// Where it begins instead
        #[arg(long, conflicts_with = "at")]
        earliest: bool,
        /// The first record of this time or later instead; no line where there is none
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        at: Option<Millis>,
    },
    /// Delete the records before an offset
    DeleteRecords {
        /// JSON as Kafka's tool takes it: {"partitions": [{"topic": "t", "partition": 0, "offset": 9}]}; -1 is the end
        #[arg(long)]
        file: PathBuf,
    },
}

/// One partition of `offsets` and `delete-records`.
#[derive(Serialize)]
struct OffsetRow {
    topic: String,
    partition: i32,
    offset: i64,
}

impl Row for OffsetRow {
    const HEADINGS: &'static [&'static str] = &["TOPIC", "PARTITION", "OFFSET"];

    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.partition.to_string(), self.offset.to_string()]
    }
}

/// The file of `delete-records`.
#[derive(Deserialize)]
struct Deletions {
    partitions: Vec<Deletion>,
}

#[derive(Deserialize)]
struct Deletion {
    topic: String,
    partition: i32,
    offset: i64,
}

/// One topic of `list`.
#[derive(Serialize)]
struct TopicRow {
    name: String,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

impl Row for TopicRow {
    const HEADINGS: &'static [&'static str] = &["NAME", "PARTITIONS", "REPLICATION"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.partitions.to_string(), self.replication_factor.to_string()]
    }
}

/// One partition of `describe`.
#[derive(Serialize)]
struct PartitionRow {
    topic: String,
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
}

impl Row for PartitionRow {
    const HEADINGS: &'static [&'static str] = &["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC"];

    fn cells(&self) -> Vec<String> {
        let list = |nodes: &[i32]| nodes.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            self.leader_epoch.to_string(),
            list(&self.replicas),
            list(&self.isr),
        ]
    }
}

/// One topic of `describe`, as programs get it.
#[derive(Serialize)]
struct Description {
    name: String,
    id: String,
    internal: bool,
    configs: std::collections::BTreeMap<String, Option<String>>,
    partitions: Vec<PartitionRow>,
}

/// A change that was made.
#[derive(Serialize)]
struct Change<'a> {
    topic: &'a str,
    change: &'static str,
}

pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    let admin = Admin::new(&target.connect().await?);
    match command {
        Command::Create { name, partitions, replication_factor, config, if_not_exists } => {
            let topic = NewTopic { name, partitions, replication_factor, configs: config.into_iter().collect() };
            create(&admin, &topic, if_not_exists, output).await
        }
        Command::List { internal } => {
            let topics = admin.list_topics().await?;
            let rows: Vec<_> = topics.iter().filter(|topic| internal || !topic.is_internal).map(topic_row).collect();
            output.list(&rows)
        }
        Command::Describe { names } => describe(&admin, &names, output).await,
        Command::Alter { name, partitions, config, delete_config } => {
            let set = config.into_iter().map(|(name, value)| (name, ConfigChange::Set(value)));
            let unset = delete_config.into_iter().map(|name| (name, ConfigChange::Delete));
            alter(&admin, &name, partitions, set.chain(unset).collect(), output).await
        }
        Command::Delete { names, if_exists } => {
            for name in &names {
                match admin.delete_topic(name).await {
                    Err(error) if if_exists && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => continue,
                    result => result?,
                }
                output.result(&Change { topic: name, change: "deleted" }, &format!("topic \"{name}\" is deleted"))?;
            }
            Ok(())
        }
        Command::Offsets { name, earliest, at } => {
            let spec = match at {
                Some(time) => OffsetSpec::At(time),
                None if earliest => OffsetSpec::Earliest,
                None => OffsetSpec::Latest,
            };
            offsets(&admin, &name, spec, output).await
        }
        Command::DeleteRecords { file } => delete_records(&admin, &file, output).await,
    }
}

async fn offsets(admin: &Admin, name: &str, spec: OffsetSpec, output: &Output) -> Result<(), Failure> {
    let topic = admin.describe_topic(name).await?;
    let partitions = topic.partitions.keys().map(|partition| (TopicPartition::new(name, *partition), spec));
    let found = admin.list_offsets(&partitions.collect::<Vec<_>>()).await?;
    let row = |(place, found): (TopicPartition, milena_client::admin::FoundOffset)| {
        Some(OffsetRow { topic: place.topic, partition: place.partition, offset: found.offset?.0 })
    };
    output.list(&found.into_iter().filter_map(row).collect::<Vec<_>>())
}

async fn delete_records(admin: &Admin, file: &Path, output: &Output) -> Result<(), Failure> {
    let path = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| Failure::unreadable(&path, &error))?;
    let deletions: Deletions =
        serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
    let mut rows = Vec::new();
    for Deletion { topic, partition, offset } in deletions.partitions {
        let place = TopicPartition::new(topic.clone(), partition);
        let before = (offset != -1).then_some(Offset(offset));
        let log_start = admin.delete_records(&place, before).await?;
        rows.push(OffsetRow { topic, partition, offset: log_start.0 });
    }
    output.list(&rows)
}

async fn create(admin: &Admin, topic: &NewTopic, if_not_exists: bool, output: &Output) -> Result<(), Failure> {
    let name = &topic.name;
    match admin.create_topic(topic).await {
        Err(error) if if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
            output.result(&Change { topic: name, change: "none" }, &format!("topic \"{name}\" exists already"))
        }
        Err(error) => Err(error.into()),
        Ok(()) => output.result(&Change { topic: name, change: "created" }, &format!("topic \"{name}\" is created")),
    }
}

async fn describe(admin: &Admin, names: &[String], output: &Output) -> Result<(), Failure> {
    let mut descriptions = Vec::new();
    for name in names {
        let topic = admin.describe_topic(name).await?;
        let configs = admin.describe_configs(&ConfigResource::Topic(name.clone())).await?;
        let own = configs.into_iter().filter(|entry| entry.source == ConfigSource::Topic);
        descriptions.push(Description {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            internal: topic.is_internal,
            configs: own.map(|entry| (entry.name, entry.value)).collect(),
            partitions: topic.partitions.iter().map(|(number, found)| partition_row(&topic, *number, found)).collect(),
        });
    }
    if output.is_json() {
        return output.line(&crate::output::json(&descriptions)?);
    }
    let rows: Vec<_> = descriptions.into_iter().flat_map(|description| description.partitions).collect();
    output.list(&rows)
}

async fn alter(
    admin: &Admin,
    name: &str,
    partitions: Option<i32>,
    changes: Vec<(String, ConfigChange)>,
    output: &Output,
) -> Result<(), Failure> {
    if partitions.is_none() && changes.is_empty() {
        return Err(Failure::usage("nothing to change; give --partitions, --config or --delete-config"));
    }
    if let Some(count) = partitions {
        admin.create_partitions(name, count).await?;
    }
    if !changes.is_empty() {
        admin.alter_configs(&ConfigResource::Topic(name.to_owned()), &changes).await.map_err(named(name))?;
    }
    output.result(&Change { topic: name, change: "altered" }, &format!("topic \"{name}\" is changed"))
}

/// A missing topic is told by its name.
fn named(name: &str) -> impl Fn(Error) -> Failure + '_ {
    move |error| match error {
        Error::Refused { code, message, .. } => {
            Error::Refused { what: format!("topic \"{name}\""), code, message }.into()
        }
        other => other.into(),
    }
}

fn topic_row(topic: &TopicView) -> TopicRow {
    TopicRow {
        name: topic.name.clone(),
        id: topic.id.to_string(),
        partitions: topic.partitions.len(),
        replication_factor: topic.partitions.values().map(|partition| partition.replicas.len()).max().unwrap_or(0),
        internal: topic.is_internal,
    }
}

fn partition_row(topic: &TopicView, number: i32, partition: &PartitionView) -> PartitionRow {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    PartitionRow {
        topic: topic.name.clone(),
        partition: number,
        leader: partition.leader.map(|node| node.0),
        leader_epoch: partition.leader_epoch.0,
        replicas: numbers(&partition.replicas),
        isr: numbers(&partition.isr),
        offline: numbers(&partition.offline),
    }
}
