//! Real clients, unchanged, against Milena or any broker: one folder below `interop/` per client, whose `run HOST:PORT`
//! fetches the client from its own registry, checks one thing after the other, and ends at the first wrong one. A client may
//! ask for the node to be killed while it works. A folder with a file `settings` gets a node of its own with these settings,
//! and takes so long that it is run by name only.

pub(crate) mod results;

use self::results::Run;
use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use crate::shell;
use std::path::{Path, PathBuf};

/// Tells a client that the node is ours: it may be killed.
const MAY_BE_KILLED: &str = "BROKER_MAY_BE_KILLED";
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

/// Where the last run's node kept its data, for `interop dump-log`.
pub(crate) fn folder() -> PathBuf {
    cache().join("node")
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
    let mut broker = match given {
        Some(address) => Broker::Given(address.to_owned()),
        None => Broker::start(settings(&root, name)?)?,
    };
    let outcome = run_all(&root, &chosen, &mut broker, is_recorded);
    // A clean shutdown is part of what is checked: dump-log reads what it leaves.
    let stopped = broker.stop();
    outcome.and(stopped)
}

/// What the clients are run against.
enum Broker {
    Given(String),
    /// Started here; `None` after a restart that failed.
    Own {
        plan: Plan,
        node: Option<Node>,
    },
}

impl Broker {
    fn start(settings: Vec<String>) -> Result<Broker, String> {
        node::build()?;
        let mut plan = settings.into_iter().fold(Plan::fresh(&folder())?, Plan::option);
        let node = Node::start(&plan)?;
        // Clients know the address, so that whoever takes the node's place must have it too.
        plan.listen.clone_from(&node.address);
        Ok(Broker::Own { plan, node: Some(node) })
    }

    fn address(&self) -> &str {
        match self {
            Broker::Given(address) => address,
            Broker::Own { plan, .. } => &plan.listen,
        }
    }

    /// kill -9, and another one in its place: the same port, the same data.
    fn restart(&mut self) -> Result<(), String> {
        let Broker::Own { plan, node } = self else { return Err("only our own node can be killed".to_owned()) };
        node.take().ok_or("the server did not come back")?.kill()?;
        let started = Node::start(plan)?;
        println!("the server was killed, and is ready again after {} ms", started.ready_after.as_millis());
        *node = Some(started);
        Ok(())
    }

    fn stop(self) -> Result<(), String> {
        match self {
            Broker::Own { node: Some(node), .. } => node.stop(),
            Broker::Own { node: None, .. } | Broker::Given(_) => Ok(()),
        }
    }
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

fn run_all(root: &Path, clients: &[&String], broker: &mut Broker, is_recorded: bool) -> Result<(), String> {
    let mut failed = Vec::new();
    for client in clients {
        counts::announce(&format!("interop-{client}"));
        let mut ending = Ending::default();
        if let Err(reason) = run_client(root, client, broker, &mut ending) {
            println!("{client}: {reason}");
            failed.push(client.as_str());
        }
        if is_recorded {
            record(root, client, ending)?;
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not served as Kafka would: {}", failed.join(", "))) }
}

/// What the last lines of a run say.
#[derive(Default)]
struct Ending {
    /// `N passed, M failed`.
    result: String,
    /// `N fail as expected, ..`, if the suite has a list of these.
    remark: String,
}

fn run_client(root: &Path, client: &str, broker: &mut Broker, ending: &mut Ending) -> Result<(), String> {
    let script = format!("interop/{client}/run");
    let mut command = shell::command(root, "bash", &[&script, broker.address()]);
    command.env("CACHE", cache());
    if matches!(broker, Broker::Own { .. }) {
        command.env(MAY_BE_KILLED, "yes");
    }
    let (mut result, mut restarts) = (None, Ok(()));
    let outcome = shell::watch(&mut command, |line| {
        if let Some(count) = counts::result_line(line) {
            (result, ending.result) = (Some(count), line.to_owned());
        } else if line.contains(" as expected, ") {
            ending.remark = line.to_owned();
        }
        if line == KILL && restarts.is_ok() {
            restarts = broker.restart();
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
    let is_kafka = std::env::var(AGAINST).is_ok_and(|broker| broker == "kafka");
    let broker = if is_kafka { APACHE_KAFKA } else { concat!("Milena ", env!("CARGO_PKG_VERSION")) };
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
