//! `milena group`: who reads what, and how far behind they are.

mod destination;
mod reset;

use std::collections::{BTreeMap, BTreeSet};

use milena_client::Admin;
use milena_client::admin::{GroupDescription, OffsetSpec};
use milena_protocol::{ErrorCode, TopicPartition};
use serde::Serialize;

use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::names;
use crate::output::{Output, Row, harmless};
use crate::scope::{self, Scope};

/// List, describe, reset and delete groups
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List groups
    List,
    /// Show the offsets, the lag and the members of a group
    Describe {
        /// Its id
        #[arg(value_parser = names::id, add = completion::groups())]
        group: String,
    },
    /// Move the offsets of a group that has no members; without --execute it only shows where to
    Reset(reset::Reset),
    /// Delete groups that have no members, with their offsets
    Delete {
        /// Their ids
        #[arg(required = true, value_parser = names::id, add = completion::groups())]
        groups: Vec<String>,
    },
    /// Delete offsets that a group has stored; not those of topics that its members read
    DeleteOffsets {
        /// Its id
        #[arg(value_parser = names::id, add = completion::groups())]
        group: String,
        /// Which topic, `TOPIC` or `TOPIC:0,1` for some of its partitions; may be repeated
        #[arg(short, long, required = true, value_parser = scope::parse, add = completion::topics())]
        topic: Vec<Scope>,
    },
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

/// An offset that was deleted.
#[derive(Serialize)]
struct DeletedRow {
    topic: String,
    partition: i32,
    offset: i64,
}

impl Row for DeletedRow {
    const HEADINGS: &'static [&'static str] = &["TOPIC", "PARTITION", "OFFSET"];

    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.partition.to_string(), self.offset.to_string()]
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
        Command::Reset(reset) => reset.run(&admin, output).await,
        Command::DeleteOffsets { group, topic } => delete_offsets(&admin, &group, &topic, output).await,
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
    output.line(&harmless(&format!("group \"{group}\" is {state} and has {} members", description.members.len())))?;
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

async fn delete_offsets(admin: &Admin, group: &str, topics: &[Scope], output: &Output) -> Result<(), Failure> {
    let stored = admin.group_offsets(group).await?;
    let is_meant = |partition: &TopicPartition| topics.iter().any(|scope| scope.holds(partition));
    let meant: Vec<_> = stored.into_iter().filter(|(partition, _)| is_meant(partition)).collect();
    if meant.is_empty() {
        let advice = format!("see `milena group describe {group}`");
        return Err(Failure::failed(format!("group \"{group}\" has no offsets there; {advice}")));
    }
    let partitions: Vec<TopicPartition> = meant.iter().map(|(partition, _)| partition.clone()).collect();
    admin.delete_group_offsets(group, &partitions).await?;
    let rows = meant.into_iter().map(|(partition, stored)| DeletedRow {
        topic: partition.topic,
        partition: partition.partition,
        offset: stored.offset.0,
    });
    output.list(&rows.collect::<Vec<_>>())
}
