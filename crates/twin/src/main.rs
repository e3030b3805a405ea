//! `milena-twin`: records what Kafka answers, and asks any broker the same.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use milena_twin::oracle::{Jars, Oracle};
use milena_twin::{Brokers, Profile, Recorded, Report, oracles, record, replay, replay_against, scenarios};

const USAGE: &str = "usage:
  milena-twin list
  milena-twin replay --bootstrap HOST:PORT [--timed HOST:PORT] [--former HOST:PORT]
          [--raised HOST:PORT] [--telemetry HOST:PORT] [FILTER]
                                                      compare brokers with the transcripts
  milena-twin replay --oracle [FILTER]                compare a fresh Kafka with them: are they steady?
  milena-twin record [FILTER]                         start Kafka and write the transcripts anew
  milena-twin oracle                                  start Kafka and keep it until stdin ends
FILTER is part of a scenario's name. A broker must have been started with crates/twin/broker.properties, the timed one
with crates/twin/timed.properties as well, the former one and the raised one on directories that have
crates/twin/former.checkpoint for their bootstrap.checkpoint, the telemetry one with crates/twin/telemetry.properties as
well; the scenarios of those that are not named are left out.";

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
            let jars = Jars::fetch().map_err(|error| error.to_string())?;
            let (_oracles, brokers) = oracles(&jars, only(filter)?).map_err(|error| error.to_string())?;
            // Kafka against itself: there no difference is intended.
            let recorded = Recorded { intended: Vec::new(), ..Recorded::load() };
            return Ok(show(&replay_against(&recorded, &brokers, only(filter)?)));
        }
        ["replay", rest @ ..] => {
            let (brokers, filter) = brokers(rest)?;
            return Ok(show(&replay(&brokers, only(filter)?)));
        }
        ["oracle"] => {
            let jars = Jars::fetch().map_err(|error| error.to_string())?;
            let oracle = Oracle::start(&jars, Profile::Usual).map_err(|error| error.to_string())?;
            println!("{}", oracle.address());
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(|error| error.to_string())?;
        }
        _ => return Err(USAGE.to_owned()),
    }
    Ok(true)
}

/// The brokers that are named first, and what follows them.
fn brokers<'a, 'b>(words: &'b [&'a str]) -> Result<(Brokers, &'b [&'a str]), String> {
    let (mut brokers, mut rest) = (Brokers::default(), words);
    while let [flag, address, left @ ..] = rest {
        let profile = match *flag {
            "--bootstrap" => Profile::Usual,
            "--timed" => Profile::Timed,
            "--former" => Profile::Former,
            "--raised" => Profile::Raised,
            "--telemetry" => Profile::Telemetry,
            _ => break,
        };
        (brokers, rest) = (brokers.with(profile, resolve(address)?), left);
    }
    if brokers.all().next().is_some() { Ok((brokers, rest)) } else { Err(USAGE.to_owned()) }
}

fn only<'a>(filter: &[&'a str]) -> Result<&'a str, String> {
    match filter {
        [] => Ok(""),
        [filter] => Ok(filter),
        _ => Err(USAGE.to_owned()),
    }
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let mut resolved = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    resolved.next().ok_or_else(|| format!("{address} has no address"))
}

fn show(report: &Report) -> bool {
    println!("{report}");
    report.is_clean()
}
