//! `milena server`: runs a node until it is told to stop.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::failure::Failure;
use crate::stop::Stop;
use milena_metadata::properties;

use crate::{names, node, pairs};

/// Run a node: broker and controller
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A file with settings, as Kafka's server.properties
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data is kept [default: ./milena-data]
    #[arg(short, long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect; port 0 finds a free one [default: 127.0.0.1:9092]
    #[arg(short, long, value_name = "HOST:PORT", value_parser = names::listen)]
    listen: Option<String>,
    /// A setting under Kafka's name; counts more than the file and the other options; may be repeated
    #[arg(short, value_name = "NAME=VALUE", value_parser = pairs::parse)]
    o: Vec<(String, String)>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    // Heard from the beginning: whoever sees `ready` may send a signal at once.
    let mut stop = Stop::listen()?;
    let mut node = node::start(settings(arguments)?).await?;
    // A node serves on though nobody reads what it says.
    let _ = writeln!(io::stdout(), "ready {}", node.address());
    tokio::select! {
        () = stop.ordered() => {}
        failure = node.failed() => return Err(failure),
    }
    node.stop().await
}

/// Defaults, then the file, then the options, then `-o`: each counts more than the one before.
fn settings(arguments: Arguments) -> Result<BTreeMap<String, String>, Failure> {
    let mut settings = match &arguments.config {
        None => defaults(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path.display(), &error))?;
            properties::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?
        }
    };
    if let Some(dir) = arguments.data_dir {
        settings.remove("log.dir");
        settings.insert("log.dirs".to_owned(), dir.display().to_string());
    }
    if let Some(listen) = arguments.listen {
        settings.insert("listeners".to_owned(), format!("PLAINTEXT://{listen}"));
        settings.remove("advertised.listeners");
    }
    settings.extend(arguments.o);
    Ok(settings)
}

/// The settings of a node that nobody has given a file.
pub(crate) fn defaults() -> BTreeMap<String, String> {
    DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What holds without a file: a node that is a cluster by itself, as the server.properties that comes with Kafka
/// sets it up.
const DEFAULTS: &[(&str, &str)] = &[
    ("log.dirs", "./milena-data"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(config: Option<PathBuf>) -> Arguments {
        Arguments {
            config,
            data_dir: Some("flag".into()),
            listen: None,
            o: vec![("node.id".to_owned(), "7".to_owned())],
        }
    }

    #[test]
    fn options_count_more_than_defaults_and_o_most() {
        let settings =
            settings(Arguments { o: vec![("log.dirs".to_owned(), "set".to_owned())], ..arguments(None) }).unwrap();
        assert_eq!(settings["log.dirs"], "set");
        assert_eq!(settings["listeners"], "PLAINTEXT://127.0.0.1:9092");
    }

    #[test]
    fn options_count_more_than_the_file_whose_keys_are_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "log.dirs=file\nnode.id=1\nlisteners=PLAINTEXT://:1\n").unwrap();
        let settings = settings(arguments(Some(file.path().to_owned()))).unwrap();
        assert_eq!(settings["log.dirs"], "flag");
        assert_eq!(settings["node.id"], "7");
        assert_eq!(settings["listeners"], "PLAINTEXT://:1");
    }
}
