//! The commands, one file each.

mod bench;
mod completions;
mod config;
mod consume;
mod docs;
mod format;
mod group;
mod produce;
mod quota;
pub(crate) mod server;
mod topic;
mod transaction;

use crate::connect::Target;
use crate::demo;
use crate::failure::Failure;
use crate::output::Output;

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run a node: broker and controller
    Server(server::Arguments),
    /// Prepare an empty data directory for a node
    Format(format::Arguments),
    /// See it work: start a node, send events, read them in a group, check every one
    Demo(demo::Arguments),
    /// Create, list, describe, change and delete topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Send records from files or stdin
    Produce(produce::Arguments),
    /// Read records and print them
    Consume(consume::Arguments),
    /// List, describe, reset and delete groups
    #[command(subcommand)]
    Group(group::Command),
    /// List, describe, find and abort transactions
    #[command(subcommand)]
    Transaction(transaction::Command),
    /// Show and change settings
    #[command(subcommand)]
    Config(config::Command),
    /// Show and change quotas of clients
    #[command(subcommand)]
    Quota(quota::Command),
    /// Print settings, metrics and APIs of this binary
    Docs(docs::Arguments),
    /// Print a script with which a shell completes commands, and names of topics and groups
    Completions(completions::Arguments),
    /// Measure how fast records go in and come out
    #[command(subcommand)]
    Bench(bench::Command),
}

impl Command {
    /// The commands that speak to no broker.
    pub(crate) const WITHOUT_BROKER: [&str; 4] = ["server", "format", "docs", "completions"];

    /// Which of them it is.
    pub(crate) fn name_without_broker(&self) -> Option<&'static str> {
        match self {
            Command::Server(_) => Some("server"),
            Command::Format(_) => Some("format"),
            Command::Docs(_) => Some("docs"),
            Command::Completions(_) => Some("completions"),
            _ => None,
        }
    }
}

/// Does it.
pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Server(arguments) => server::run(arguments).await,
        Command::Format(arguments) => format::run(arguments, output).await,
        Command::Demo(arguments) => demo::run(arguments, target, output).await,
        Command::Topic(command) => topic::run(command, target, output).await,
        Command::Produce(arguments) => produce::run(arguments, target, output).await,
        Command::Consume(arguments) => consume::run(arguments, target, output).await,
        Command::Group(command) => group::run(command, target, output).await,
        Command::Transaction(command) => transaction::run(command, target, output).await,
        Command::Config(command) => config::run(command, target, output).await,
        Command::Quota(command) => quota::run(command, target, output).await,
        Command::Docs(arguments) => docs::run(&arguments, output),
        Command::Completions(arguments) => completions::run(&arguments, output),
        Command::Bench(command) => bench::run(command, target, output).await,
    }
}
