//! `milena format`: prepares an empty data directory, as `kafka-storage format` does.

use std::path::PathBuf;

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;
use milena_metadata::properties;

use crate::{names, node};

/// Prepare an empty data directory for a node
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A file with settings, as Kafka's server.properties
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The cluster that the node will belong to [default: a new one]
    #[arg(short = 't', long, value_name = "ID", value_parser = names::id)]
    cluster_id: Option<String>,
}

#[derive(Serialize)]
struct Formatted {
    cluster_id: String,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<(), Failure> {
    let path = arguments.config.display();
    let text = std::fs::read_to_string(&arguments.config).map_err(|error| Failure::unreadable(&path, &error))?;
    let settings = properties::parse(&text).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
    let cluster_id = node::format(settings, arguments.cluster_id).await?;
    let sentence = format!("formatted for cluster {cluster_id}");
    output.result(&Formatted { cluster_id }, &sentence)
}
