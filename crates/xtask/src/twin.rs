//! The same requests to Milena and to Apache Kafka, compared answer by answer. The comparison is `crates/twin`; here it
//! is built, and given a Milena to speak to.

use crate::node::{self, Node, Plan};
use crate::repository;
use crate::shell;
use std::process::Command;

pub(crate) fn twin(arguments: &[&str]) -> Result<(), String> {
    let root = repository::root();
    let build = ["build", "--release", "--locked", "--quiet", "--package", "milena-twin"];
    shell::run(&mut shell::command(&root, "cargo", &build))?;
    let program = repository::target().join("release/milena-twin");
    let mut command = Command::new(program);
    command.current_dir(&root);
    match arguments {
        [] | ["replay"] => {
            node::build()?;
            let node = Node::start(&Plan::fresh(&repository::target().join("twin/node"))?)?;
            shell::run(command.args(["replay", "--bootstrap", &node.address]))?;
            node.stop()
        }
        other => shell::run(command.args(other)),
    }
}
