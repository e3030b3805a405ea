//! The same requests to Milena and to Apache Kafka, compared answer by answer. The comparison is `crates/twin`; here it
//! is built, and given a Milena to speak to.

use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use crate::shell;
use std::process::Command;

/// What every broker of a comparison is given.
const SETTINGS: &str = "crates/twin/broker.properties";

pub(crate) fn twin(arguments: &[&str]) -> Result<(), String> {
    let root = repository::root();
    let build = ["build", "--locked", "--quiet", "--package", "milena-twin"];
    shell::run(&mut shell::command(&root, "cargo", &build))?;
    let program = repository::target().join("debug/milena-twin");
    let mut command = Command::new(program);
    command.current_dir(&root);
    let filter = match arguments {
        [] | ["replay"] => None,
        ["replay", filter] if !filter.starts_with("--") => Some(*filter),
        other => return shell::run(command.args(other)),
    };
    node::build()?;
    let settings = std::fs::read_to_string(root.join(SETTINGS)).map_err(|error| format!("{SETTINGS}: {error}"))?;
    let mut plan = Plan::fresh(&repository::target().join("twin/node"))?;
    plan.options
        .extend(settings.lines().filter(|line| line.contains('=') && !line.starts_with('#')).map(str::to_owned));
    let node = Node::start(&plan)?;
    counts::announce("twin");
    let outcome = shell::run(command.args(["replay", "--bootstrap", &node.address]).args(filter));
    node.stop()?;
    outcome
}
