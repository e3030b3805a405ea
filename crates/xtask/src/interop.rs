//! Real clients, unchanged, against Milena or any broker: one folder below `interop/` per client, whose `run HOST:PORT`
//! fetches the client from its own registry, checks one thing after the other, and ends at the first wrong one. A client may
//! ask for the node to be killed while it works. A folder with a file `settings` gets a node of its own with these settings,
//! and takes so long that it is run by name only.

mod broker;
mod lanes;
pub(crate) mod results;

use self::broker::Broker;
use self::lanes::Said;
use self::results::Run;
use crate::counts;
use crate::node;
use crate::repository;
use crate::shell;
use std::path::{Path, PathBuf};

/// Clients beside each other, each on a node that it shares with those before it and after it.
const LANES: usize = 2;
/// A client that writes this line wants the node killed with -9 and started again, while it goes on.
const KILL: &str = "kill the broker";
/// `kafka` in the environment says that the broker is not ours but Apache Kafka, of which more is expected.
const AGAINST: &str = "AGAINST";
/// As `interop/java/pom.xml` has it.
const APACHE_KAFKA: &str = "Apache Kafka 4.3.1";

const SHARED_SETTINGS: [&str; 7] = [
    "num.partitions=3",
    "group.initial.rebalance.delay.ms=0",
    "group.consumer.min.session.timeout.ms=6000",
    "group.consumer.session.timeout.ms=6000",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
    "offsets.topic.num.partitions=8",
];

/// Where the nodes of the last run kept their data, for `interop dump-log`.
pub(crate) fn data_directories() -> Result<Vec<PathBuf>, String> {
    broker::data_directories()
}

/// Where the checks keep what they fetch.
pub(crate) fn cache() -> PathBuf {
    repository::target().join("interop")
}

pub(crate) fn interop(arguments: &[&str]) -> Result<(), String> {
    let root = repository::root();
    let known = clients(&root)?;
    let (arguments, is_recorded) = match arguments {
        [rest @ .., "--record"] => (rest, true),
        _ => (arguments, false),
    };
    let (name, given) = match arguments {
        ["list"] => {
            println!("{}", known.join("\n"));
            return Ok(());
        }
        [name] => (*name, None),
        [name, "--bootstrap", address] => (*name, Some(*address)),
        _ => return Err("interop NAME|all|list [--bootstrap HOST:PORT] [--record]".to_owned()),
    };
    let chosen = choose(&root, &known, name);
    if chosen.is_empty() {
        return Err(format!("there is no client {name}; there are: {}", known.join(", ")));
    }
    if is_recorded {
        check_known(given)?;
    }
    let brokers = match given {
        Some(address) => vec![Broker::Given(address.to_owned())],
        None => start_nodes(&settings(&root, name)?, LANES.min(chosen.len()))?,
    };
    lanes::run(&chosen, brokers, |client, broker, said| run_one(&root, client, broker, said, is_recorded))
}

/// Nodes for so many clients beside each other.
fn start_nodes(settings: &[String], lanes: usize) -> Result<Vec<Broker>, String> {
    node::build()?;
    broker::clear()?;
    (0..lanes).map(|lane| Broker::start(&lane.to_string(), settings.to_vec())).collect()
}

/// A result is kept under a broker's name, so that the broker must be known: our own, or one that is said to be Kafka.
fn check_known(given: Option<&str>) -> Result<(), String> {
    let is_known = is_apache_kafka() || (given.is_none() && node::is_ours());
    if is_known { Ok(()) } else { Err(format!("only a broker that is known can be recorded: say {AGAINST}=kafka")) }
}

fn is_apache_kafka() -> bool {
    std::env::var(AGAINST).is_ok_and(|broker| broker == "kafka")
}

/// The settings of a client's own node, `key=value` a line with remarks behind `#`; or of the node that the others share.
fn settings(root: &Path, client: &str) -> Result<Vec<String>, String> {
    let path = settings_file(root, client);
    if !path.is_file() {
        return Ok(SHARED_SETTINGS.map(str::to_owned).to_vec());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn settings_file(root: &Path, client: &str) -> PathBuf {
    root.join("interop").join(client).join("settings")
}

/// The folders below `interop/` that hold a `run`.
fn clients(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("interop");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let entries = entries.filter_map(Result::ok).filter(|entry| entry.path().join("run").is_file());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The client of that name, or all that share a node.
fn choose<'a>(root: &Path, known: &'a [String], name: &str) -> Vec<&'a String> {
    let all = |client: &str| name == "all" && !settings_file(root, client).is_file();
    known.iter().filter(|client| *client == name || all(client)).collect()
}

/// One client on one broker, from its start to its result.
fn run_one(root: &Path, client: &str, broker: &mut Broker, said: &mut Said, is_recorded: bool) -> Result<(), String> {
    let mut ending = Ending::default();
    let outcome = run_client(root, client, broker, said, &mut ending);
    if is_recorded {
        record(root, client, ending)?;
    }
    outcome
}

/// What the last lines of a run say.
#[derive(Default)]
struct Ending {
    /// `N passed, M failed`.
    result: String,
    /// `N fail as expected, ..`, if the suite has a list of these.
    remark: String,
}

fn run_client(
    root: &Path,
    client: &str,
    broker: &mut Broker,
    said: &mut Said,
    ending: &mut Ending,
) -> Result<(), String> {
    let script = format!("interop/{client}/run");
    let mut command = shell::command(root, "bash", &[&script, broker.address()]);
    command.env("CACHE", cache());
    broker.introduce(&mut command);
    let (mut result, mut restarts) = (None, Ok(()));
    let outcome = shell::watch(&mut command, |line| {
        said.line(line);
        if let Some(count) = counts::result_line(line) {
            (result, ending.result) = (Some(count), line.to_owned());
        } else if line.contains(" as expected, ") {
            ending.remark = line.to_owned();
        }
        if line == KILL && restarts.is_ok() {
            restarts = broker.restart(said);
        }
    });
    restarts?;
    counts::conclude(&script, result, outcome)
}

/// Keeps what a run came to, for COMPATIBILITY.md.
fn record(root: &Path, client: &str, ending: Ending) -> Result<(), String> {
    if ending.result.is_empty() {
        return Err(format!("{client}: there is no result to record"));
    }
    let broker = if is_apache_kafka() { APACHE_KAFKA } else { concat!("Milena ", env!("CARGO_PKG_VERSION")) };
    let date = shell::output(&mut shell::command(root, "date", &["--utc", "+%F"]))?;
    let Ending { result, remark } = ending;
    let run = Run { broker: broker.to_owned(), date: date.trim().to_owned(), result, remark };
    let path = root.join("interop").join(client).join(results::FILE);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, results::with(&text, run)?).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_settings_of_its_own_is_run_by_name_only() {
        let root = repository::root();
        let known = clients(&root).unwrap();
        let own = "groups-librdkafka".to_owned();
        assert_eq!(choose(&root, &known, &own), [&own]);
        let all = choose(&root, &known, "all");
        assert!(!all.contains(&&own) && all.contains(&&"kcat".to_owned()), "{all:?}");
        assert!(settings(&root, &own).unwrap().contains(&"num.partitions=4".to_owned()));
        assert_eq!(settings(&root, "all").unwrap(), SHARED_SETTINGS);
    }
}
