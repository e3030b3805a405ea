//! `milena-twin`: records what Kafka answers, and asks any broker the same.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use milena_twin::oracle::{Jars, Oracle};
use milena_twin::{Recorded, Report, record, replay, replay_against, scenarios};

const USAGE: &str = "usage:
  milena-twin list
  milena-twin replay --bootstrap HOST:PORT [FILTER]   compare a broker with the transcripts
  milena-twin replay --oracle [FILTER]                compare a fresh Kafka with them: are they steady?
  milena-twin record [FILTER]                         start Kafka and write the transcripts anew
  milena-twin oracle                                  start Kafka and keep it until stdin ends
FILTER is part of a scenario's name. A broker must have been started with crates/twin/broker.properties.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
fn run(words: &[&str]) -> Result<bool, String> {
    match words {
        ["list"] => scenarios::all().for_each(|scenario| println!("{scenario}")),
        ["record", filter @ ..] => {
            let count = record(only(filter)?).map_err(|error| error.to_string())?;
            println!("recorded {count} scenarios");
        }
        ["replay", "--oracle", filter @ ..] => {
            let oracle = start()?;
            // Kafka against itself: there no difference is intended.
            let recorded = Recorded { intended: Vec::new(), ..Recorded::load() };
            return Ok(show(&replay_against(&recorded, oracle.address(), only(filter)?)));
        }
        ["replay", "--bootstrap", address, filter @ ..] => {
            return Ok(show(&replay(resolve(address)?, only(filter)?)));
        }
        ["oracle"] => {
            let oracle = start()?;
            println!("{}", oracle.address());
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(|error| error.to_string())?;
        }
        _ => return Err(USAGE.to_owned()),
    }
    Ok(true)
}

fn only<'a>(filter: &[&'a str]) -> Result<&'a str, String> {
    match filter {
        [] => Ok(""),
        [filter] => Ok(filter),
        _ => Err(USAGE.to_owned()),
    }
}

fn start() -> Result<Oracle, String> {
    Jars::fetch().and_then(|jars| Oracle::start(&jars)).map_err(|error| error.to_string())
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let mut resolved = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    resolved.next().ok_or_else(|| format!("{address} has no address"))
}

fn show(report: &Report) -> bool {
    println!("{report}");
    report.is_clean()
}
