//! `milena group`: who reads what, and how far behind they are.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::Admin;
use milena_client::admin::{GroupDescription, OffsetSpec};
use milena_protocol::{ErrorCode, Offset, TopicPartition};
use serde::Serialize;

use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, Row};
use crate::time;

/// List, describe, reset and delete groups
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List groups
    List,
    /// Show the offsets, the lag and the members of a group
    Describe {
        /// Its id
        group: String,
    },
    /// Move the offsets of a group that has no members
    Reset {
        /// Its id
        group: String,
        /// Which topic; may be repeated [default: all that it has offsets in]
        #[arg(short, long)]
        topic: Vec<String>,
        /// Which partitions of them [default: all]
        #[arg(short, long)]
        partition: Vec<i32>,
        #[command(flatten)]
        to: To,
        /// Show what would be stored, and store nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete groups that have no members, with their offsets
    Delete {
        /// Their ids
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

/// Where offsets are moved.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct To {
    /// To the log start
    #[arg(long)]
    to_earliest: bool,
    /// To the log end
    #[arg(long)]
    to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// To the first record of this time or later
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to_time: Option<milena_base::Millis>,
    /// By so many records; negative is back
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    shift_by: Option<i64>,
}

#[derive(Serialize)]
struct GroupRow {
    group: String,
    state: String,
    r#type: String,
    protocol_type: String,
}

impl Row for GroupRow {
    const HEADINGS: &'static [&'static str] = &["GROUP", "STATE", "TYPE", "PROTOCOL"];

    fn cells(&self) -> Vec<String> {
        vec![self.group.clone(), self.state.clone(), self.r#type.clone(), self.protocol_type.clone()]
    }
}

/// A partition as the group sees it.
#[derive(Serialize)]
struct LagRow {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    log_end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client: Option<String>,
    host: Option<String>,
}

impl Row for LagRow {
    const HEADINGS: &'static [&'static str] = &["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER", "HOST"];

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            number(self.committed_offset),
            number(self.log_end),
            number(self.lag),
            text(&self.member),
            text(&self.host),
        ]
    }
}

#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    assignor: String,
    members: usize,
    partitions: Vec<LagRow>,
}

/// An offset that was moved.
#[derive(Serialize)]
struct MoveRow {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
}

impl Row for MoveRow {
    const HEADINGS: &'static [&'static str] = &["TOPIC", "PARTITION", "FROM", "TO"];

    fn cells(&self) -> Vec<String> {
        let from = self.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
        vec![self.topic.clone(), self.partition.to_string(), from, self.to.to_string()]
    }
}

#[derive(Serialize)]
struct Deleted<'a> {
    group: &'a str,
    change: &'static str,
}

pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    let admin = Admin::new(&target.connect().await?);
    match command {
        Command::List => {
            let groups = admin.list_groups().await?.into_iter();
            let rows = groups.map(|listing| GroupRow {
                group: listing.group,
                state: listing.state,
                r#type: listing.group_type,
                protocol_type: listing.protocol_type,
            });
            output.list(&rows.collect::<Vec<_>>())
        }
        Command::Describe { group } => describe(&admin, &group, output).await,
        Command::Reset { group, topic, partition, to, dry_run } => {
            let moves = plan(&admin, &group, &topic, &partition, &to).await?;
            if !dry_run {
                let offsets = moves.iter().map(|(partition, (_, to))| (partition.clone(), *to)).collect();
                admin.alter_group_offsets(&group, &offsets).await?;
            }
            let rows = moves.into_iter().map(|(partition, (from, to))| MoveRow {
                topic: partition.topic,
                partition: partition.partition,
                from: from.map(|offset| offset.0),
                to: to.0,
            });
            output.list(&rows.collect::<Vec<_>>())
        }
        Command::Delete { groups } => {
            for group in &groups {
                admin.delete_group(group).await?;
                output.result(&Deleted { group, change: "deleted" }, &format!("group \"{group}\" is deleted"))?;
            }
            Ok(())
        }
    }
}

async fn describe(admin: &Admin, group: &str, output: &Output) -> Result<(), Failure> {
    let description = admin.describe_group(group).await?;
    let partitions = lags(admin, &description).await?;
    if output.is_json() {
        let described = Described {
            group: description.group,
            state: description.state,
            assignor: description.assignor,
            members: description.members.len(),
            partitions,
        };
        return output.result(&described, "");
    }
    let state = description.state.to_lowercase();
    output.line(&format!("group \"{group}\" is {state} and has {} members", description.members.len()))?;
    if partitions.is_empty() { Ok(()) } else { output.list(&partitions) }
}

/// All partitions that the group has offsets in or that a member reads.
async fn lags(admin: &Admin, description: &GroupDescription) -> Result<Vec<LagRow>, Failure> {
    let committed = admin.group_offsets(&description.group).await?;
    let owners: BTreeMap<TopicPartition, usize> = (0..)
        .zip(&description.members)
        .flat_map(|(at, member)| member.partitions.iter().map(move |partition| (partition.clone(), at)))
        .collect();
    let partitions: BTreeSet<TopicPartition> = committed.keys().chain(owners.keys()).cloned().collect();
    let mut rows = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let end = match admin.list_offsets(&[(partition.clone(), OffsetSpec::Latest)]).await {
            Ok(found) => found.into_values().next().and_then(|found| found.offset),
            // A topic that is gone has offsets all the same.
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => None,
            Err(error) => return Err(error.into()),
        };
        let offset = committed.get(&partition).map(|stored| stored.offset);
        let member = owners.get(&partition).map(|at| &description.members[*at]);
        rows.push(LagRow {
            committed_offset: offset.map(|offset| offset.0),
            log_end: end.map(|end| end.0),
            lag: end.zip(offset).map(|(end, offset)| (end - offset).max(0)),
            member: member.map(|member| member.member_id.clone()),
            client: member.map(|member| member.client_id.clone()),
            host: member.map(|member| member.host.clone()),
            topic: partition.topic,
            partition: partition.partition,
        });
    }
    Ok(rows)
}

/// What a reset would store: from where, to where.
async fn plan(
    admin: &Admin,
    group: &str,
    topics: &[String],
    numbers: &[i32],
    to: &To,
) -> Result<BTreeMap<TopicPartition, (Option<Offset>, Offset)>, Failure> {
    let committed = admin.group_offsets(group).await?;
    let mut partitions: Vec<TopicPartition> = Vec::new();
    if topics.is_empty() {
        partitions.extend(committed.keys().cloned());
    }
    for topic in topics {
        let found = admin.describe_topic(topic).await?;
        partitions.extend(found.partitions.keys().map(|number| TopicPartition::new(topic.clone(), *number)));
    }
    partitions.retain(|partition| numbers.is_empty() || numbers.contains(&partition.partition));
    if partitions.is_empty() {
        return Err(Failure::failed(format!("group \"{group}\" has no offsets there; name a topic with --topic")));
    }
    let mut moves = BTreeMap::new();
    for partition in partitions {
        let from = committed.get(&partition).map(|stored| stored.offset);
        let offset = destination(admin, &partition, from, to).await?;
        moves.insert(partition, (from, offset));
    }
    Ok(moves)
}

/// Where one partition's offset goes; never outside of its log.
async fn destination(
    admin: &Admin,
    partition: &TopicPartition,
    from: Option<Offset>,
    to: &To,
) -> Result<Offset, Failure> {
    let find = async |spec| -> Result<Option<Offset>, Failure> {
        let found = admin.list_offsets(&[(partition.clone(), spec)]).await?;
        Ok(found.into_values().next().and_then(|found| found.offset))
    };
    let start = find(OffsetSpec::Earliest).await?.unwrap_or(Offset(0));
    let end = find(OffsetSpec::Latest).await?.unwrap_or(start);
    let wanted = match to {
        To { to_earliest: true, .. } => start,
        To { to_offset: Some(offset), .. } => Offset(*offset),
        To { to_time: Some(time), .. } => find(OffsetSpec::At(*time)).await?.unwrap_or(end),
        To { shift_by: Some(records), .. } => Offset(from.unwrap_or(start).0.saturating_add(*records)),
        To { .. } => end,
    };
    Ok(wanted.clamp(start, end.max(start)))
}
