//! `milena quota`: how much users, client ids and addresses may do, under Kafka's names.

use std::collections::BTreeMap;

use milena_client::Admin;
use milena_client::admin::{Quota, QuotaEntity};
use milena_metadata::quotas::{CLIENT_ID, IP, USER};
use serde::Serialize;

use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, Row};
use crate::{numbers, pairs};

/// Show and change quotas of clients
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show quotas: all, or those that are for somebody, whoever else they are for
    Describe {
        #[command(flatten)]
        of: Entity,
    },
    /// Change the quota of somebody
    Alter {
        #[command(flatten)]
        of: Entity,
        /// Set a bound, like producer_byte_rate=10000000; may be repeated
        #[arg(short, long, value_name = "NAME=VALUE", value_parser = bound)]
        set: Vec<(String, f64)>,
        /// Remove a bound; may be repeated
        #[arg(short, long, value_name = "NAME")]
        delete: Vec<String>,
    },
}

/// Whom it is for. A user and a client id together are for that client id of that user.
#[derive(clap::Args)]
pub(crate) struct Entity {
    /// A user
    #[arg(long, value_name = "NAME", conflicts_with = "users")]
    user: Option<String>,
    /// Every user who has no quota of his own
    #[arg(long)]
    users: bool,
    /// A client id
    #[arg(long, value_name = "ID", conflicts_with = "client_ids")]
    client_id: Option<String>,
    /// Every client id that has no quota of its own
    #[arg(long)]
    client_ids: bool,
    /// An address, or the name of a host
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ips")]
    ip: Option<String>,
    /// Every address that has no quota of its own
    #[arg(long)]
    ips: bool,
}

impl Entity {
    fn into_client(self) -> QuotaEntity {
        let parts =
            [(USER, self.user, self.users), (CLIENT_ID, self.client_id, self.client_ids), (IP, self.ip, self.ips)];
        let named = parts.into_iter().filter(|(_, name, is_default)| name.is_some() || *is_default);
        named.map(|(kind, name, _)| (kind.to_owned(), name)).collect()
    }
}

fn bound(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pairs::parse(text)?;
    Ok((name, numbers::finite(&value)?))
}

#[derive(Serialize)]
struct QuotaRow {
    entity: QuotaEntity,
    quotas: BTreeMap<String, f64>,
}

impl Row for QuotaRow {
    const HEADINGS: &'static [&'static str] = &["FOR", "QUOTAS"];

    fn cells(&self) -> Vec<String> {
        let quotas: Vec<String> = self.quotas.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![whom(&self.entity), quotas.join(",")]
    }
}

fn whom(entity: &QuotaEntity) -> String {
    let part = |(kind, name): (&String, &Option<String>)| match name {
        Some(name) => format!("{kind} {name}"),
        None => format!("any {kind}"),
    };
    entity.iter().map(part).collect::<Vec<_>>().join(", ")
}

#[derive(Serialize)]
struct Changed {
    changed: usize,
}

pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Describe { of } => {
            let admin = Admin::new(&target.connect().await?);
            let mut found = admin.describe_quotas(&of.into_client()).await?;
            found.sort_by(|one, other| one.entity.cmp(&other.entity));
            let row = |Quota { entity, values }| QuotaRow { entity, quotas: values };
            output.list(&found.into_iter().map(row).collect::<Vec<_>>())
        }
        Command::Alter { of, set, delete } => {
            let of = of.into_client();
            if of.is_empty() {
                return Err(Failure::usage(
                    "whose quota? give --user, --client-id or --ip, or one of --users, --client-ids and --ips for everybody else",
                ));
            }
            let mut changes: Vec<(String, Option<f64>)> = Vec::new();
            changes.extend(set.into_iter().map(|(name, value)| (name, Some(value))));
            changes.extend(delete.into_iter().map(|name| (name, None)));
            if changes.is_empty() {
                return Err(Failure::usage("nothing to change; give --set or --delete"));
            }
            Admin::new(&target.connect().await?).alter_quotas(&of, &changes).await?;
            let changed = changes.len();
            output.result(&Changed { changed }, &format!("{changed} changed"))
        }
    }
}
