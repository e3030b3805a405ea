//! Real clients, unchanged, against Milena or any broker: one folder below `interop/` per client, whose `run HOST:PORT`
//! fetches the client from its own registry, checks one thing after the other, and ends at the first wrong one.

use crate::counts::{self, Count};
use crate::node::{self, Node, Plan};
use crate::repository;
use crate::shell;
use std::path::{Path, PathBuf};

/// Where the last run's node kept its data, for `interop dump-log`.
pub(crate) fn folder() -> PathBuf {
    repository::target().join("interop/node")
}

pub(crate) fn interop(arguments: &[&str]) -> Result<(), String> {
    let root = repository::root();
    let known = clients(&root)?;
    let (name, given) = match arguments {
        ["list"] => {
            println!("{}", known.join("\n"));
            return Ok(());
        }
        [name] => (*name, None),
        [name, "--bootstrap", address] => (*name, Some(*address)),
        _ => return Err("interop NAME|all|list [--bootstrap HOST:PORT]".to_owned()),
    };
    let chosen: Vec<&String> = known.iter().filter(|client| name == "all" || *client == name).collect();
    if chosen.is_empty() {
        return Err(format!("there is no client {name}; there are: {}", known.join(", ")));
    }
    let Some(address) = given else {
        node::build()?;
        let node = Node::start(&plan()?)?;
        let outcome = run_all(&root, &chosen, &node.address);
        // A clean shutdown is part of what is checked: dump-log reads what it leaves.
        let stopped = node.stop();
        return outcome.and(stopped);
    };
    run_all(&root, &chosen, address)
}

fn plan() -> Result<Plan, String> {
    let plan = Plan::fresh(&folder())?;
    Ok(plan
        .option("num.partitions=3")
        .option("group.initial.rebalance.delay.ms=0")
        .option("group.consumer.min.session.timeout.ms=6000")
        .option("group.consumer.session.timeout.ms=6000")
        .option("group.consumer.min.heartbeat.interval.ms=500")
        .option("group.consumer.heartbeat.interval.ms=500")
        .option("offsets.topic.num.partitions=8"))
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

fn run_all(root: &Path, clients: &[&String], address: &str) -> Result<(), String> {
    let mut failed = Vec::new();
    for client in clients {
        counts::announce(&format!("interop-{client}"));
        if let Err(reason) = run_client(root, client, address) {
            println!("{client}: {reason}");
            failed.push(client.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not served as Kafka would: {}", failed.join(", "))) }
}

fn run_client(root: &Path, client: &str, address: &str) -> Result<(), String> {
    let script = format!("interop/{client}/run");
    let mut command = shell::command(root, "bash", &[&script, address]);
    command.env("CACHE", repository::target().join("interop"));
    let mut result = None;
    let outcome = shell::watch(&mut command, |line| result = counts::result_line(line).or(result));
    match result {
        Some(Count { passed, failed: 0 }) if passed > 0 => outcome,
        Some(_) => Err(format!("{script} found a fault")),
        None => {
            println!("0 passed, 1 failed");
            Err(format!("{script} ended without a result: {outcome:?}"))
        }
    }
}
