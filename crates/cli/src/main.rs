//! The binary `milena`: the server and every command beside it. One file per command; how results look is in
//! [`output`], how failures end in [`failure`].

mod base64;
mod commands;
mod completion;
mod connect;
mod demo;
mod failure;
mod input;
mod latencies;
mod names;
mod node;
mod numbers;
mod output;
mod pairs;
mod scope;
mod stop;
mod time;

use std::process::ExitCode;

/// Buffers are made on one thread and freed on another, where glibc's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::{CommandFactory, FromArgMatches, Parser};

use commands::Command;
use connect::Target;
use failure::Failure;
use output::{Format, Output};

/// A distributed event streaming platform that speaks Kafka's protocol.
#[derive(Parser)]
#[command(name = "milena", version, arg_required_else_help = true)]
struct Arguments {
    /// The broker to ask first; several with commas between them [default: 127.0.0.1:9092]
    #[arg(short, long, global = true, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    completion::answer(command);
    // Wrong usage ends here, with 2; help and version with 0.
    let arguments = parse();
    start_logging(&arguments.command);
    if let (Some(name), true) = (arguments.command.name_without_broker(), arguments.bootstrap.is_some()) {
        return Failure::usage(format!("`milena {name}` speaks to no broker: leave --bootstrap out")).report();
    }
    let target = Target { bootstrap: arguments.bootstrap };
    let output = Output::new(arguments.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("no runtime: {error}")).report(),
    };
    let result = runtime.block_on(commands::run(arguments.command, &target, &output));
    // A thread that waits for more of stdin must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn parse() -> Arguments {
    Arguments::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

/// The command line. Where no broker is spoken to, help does not offer to name one.
fn command() -> clap::Command {
    let mut command = Arguments::command();
    for name in Command::WITHOUT_BROKER {
        let hidden = clap::Arg::new("bootstrap").short('b').long("bootstrap").hide(true);
        command = command.mut_subcommand(name, |subcommand| subcommand.arg(hidden));
    }
    command
}

/// Logs go to stderr. A server tells what it does, a command only what is wrong; `MILENA_LOG` says otherwise.
fn start_logging(command: &Command) {
    let usual = if matches!(command, Command::Server(_)) { "info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MILENA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
