//! `milena config`: settings of topics, brokers, groups and client-metrics subscriptions, under Kafka's names.

use milena_client::Admin;
use milena_client::admin::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
use milena_protocol::NodeId;
use serde::Serialize;

use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, Row};
use crate::{names, numbers, pairs};

/// Show and change settings
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List what clients are asked for their metrics by
    List {
        /// Subscriptions for client metrics
        #[arg(long, required = true)]
        client_metrics: bool,
    },
    /// Show settings
    Describe {
        #[command(flatten)]
        resource: Resource,
        /// Also those that nobody has changed
        #[arg(long)]
        all: bool,
    },
    /// Change settings
    Alter {
        #[command(flatten)]
        resource: Resource,
        /// Set a setting; may be repeated
        #[arg(short, long, value_name = "NAME=VALUE", value_parser = pairs::parse)]
        set: Vec<(String, String)>,
        /// Give a setting its default again; may be repeated
        #[arg(short, long, value_name = "NAME")]
        delete: Vec<String>,
        /// Add to a list; may be repeated
        #[arg(long, value_name = "NAME=VALUE", value_parser = pairs::parse)]
        append: Vec<(String, String)>,
        /// Take from a list; may be repeated
        #[arg(long, value_name = "NAME=VALUE", value_parser = pairs::parse)]
        subtract: Vec<(String, String)>,
    },
    /// Give all settings their defaults again; a client-metrics subscription is gone then
    Delete {
        #[command(flatten)]
        resource: Resource,
    },
}

/// Whose settings.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Resource {
    /// A topic's
    #[arg(short, long, value_name = "NAME", value_parser = names::topic, add = completion::topics())]
    topic: Option<String>,
    /// One broker's
    #[arg(long, value_name = "ID", allow_negative_numbers = true, value_parser = numbers::natural::<i32>)]
    broker: Option<i32>,
    /// The default of all brokers
    #[arg(long)]
    brokers: bool,
    /// A group's
    #[arg(short, long, value_name = "NAME", value_parser = names::id, add = completion::groups())]
    group: Option<String>,
    /// A client-metrics subscription's: which metrics clients are asked for
    #[arg(long, value_name = "NAME", value_parser = names::id, add = completion::client_metrics())]
    client_metrics: Option<String>,
}

impl Resource {
    fn into_client(self) -> ConfigResource {
        match self {
            Resource { topic: Some(name), .. } => ConfigResource::Topic(name),
            Resource { broker: Some(id), .. } => ConfigResource::Broker(NodeId(id)),
            Resource { group: Some(name), .. } => ConfigResource::Group(name),
            Resource { client_metrics: Some(name), .. } => ConfigResource::ClientMetrics(name),
            Resource { .. } => ConfigResource::Brokers,
        }
    }
}

#[derive(Serialize)]
struct ConfigRow {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

impl Row for ConfigRow {
    const HEADINGS: &'static [&'static str] = &["NAME", "VALUE", "SET BY"];

    fn cells(&self) -> Vec<String> {
        let value = match &self.value {
            Some(value) => value.clone(),
            None if self.sensitive => "(hidden)".to_owned(),
            None => "(none)".to_owned(),
        };
        vec![self.name.clone(), value, self.source.to_owned()]
    }
}

#[derive(Serialize)]
struct NameRow {
    name: String,
}

impl Row for NameRow {
    const HEADINGS: &'static [&'static str] = &["NAME"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

#[derive(Serialize)]
struct Changed {
    changed: usize,
}

pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    let admin = Admin::new(&target.connect().await?);
    match command {
        Command::List { .. } => {
            let names = admin.list_client_metrics().await?.into_iter();
            output.list(&names.map(|name| NameRow { name }).collect::<Vec<_>>())
        }
        Command::Describe { resource, all } => {
            let entries = admin.describe_configs(&resource.into_client()).await?;
            let rows: Vec<ConfigRow> =
                entries.into_iter().filter(|entry| all || entry.source != ConfigSource::Default).map(row).collect();
            output.list(&rows)
        }
        Command::Alter { resource, set, delete, append, subtract } => {
            let mut changes: Vec<(String, ConfigChange)> = Vec::new();
            changes.extend(set.into_iter().map(|(name, value)| (name, ConfigChange::Set(value))));
            changes.extend(delete.into_iter().map(|name| (name, ConfigChange::Delete)));
            changes.extend(append.into_iter().map(|(name, value)| (name, ConfigChange::Append(value))));
            changes.extend(subtract.into_iter().map(|(name, value)| (name, ConfigChange::Subtract(value))));
            if changes.is_empty() {
                return Err(Failure::usage("nothing to change; give --set, --delete, --append or --subtract"));
            }
            alter(&admin, &resource.into_client(), &changes, output).await
        }
        Command::Delete { resource } => {
            let resource = resource.into_client();
            let entries = admin.describe_configs(&resource).await?.into_iter();
            let own = entries.filter(|entry| is_own(&resource, entry.source));
            let changes: Vec<_> = own.map(|entry| (entry.name, ConfigChange::Delete)).collect();
            alter(&admin, &resource, &changes, output).await
        }
    }
}

async fn alter(
    admin: &Admin,
    resource: &ConfigResource,
    changes: &[(String, ConfigChange)],
    output: &Output,
) -> Result<(), Failure> {
    let changed = changes.len();
    if changed > 0 {
        admin.alter_configs(resource, changes).await?;
    }
    output.result(&Changed { changed }, &format!("{changed} changed"))
}

/// Whether somebody set it on the resource itself: it is not inherited, nor from a file.
fn is_own(resource: &ConfigResource, source: ConfigSource) -> bool {
    let own = match resource {
        ConfigResource::Topic(_) => ConfigSource::Topic,
        ConfigResource::Broker(_) => ConfigSource::DynamicBroker,
        ConfigResource::Brokers => ConfigSource::DynamicDefault,
        ConfigResource::Group(_) => ConfigSource::Group,
        ConfigResource::ClientMetrics(_) => ConfigSource::ClientMetrics,
    };
    source == own
}

fn row(entry: ConfigEntry) -> ConfigRow {
    ConfigRow {
        name: entry.name,
        value: entry.value,
        source: entry.source.name(),
        read_only: entry.is_read_only,
        sensitive: entry.is_sensitive,
    }
}
