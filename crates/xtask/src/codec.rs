//! Kafka's own message classes against our codec, in both directions: no node is needed. `interop/codec/check` holds the other half;
//! ours is `crates/protocol/examples/codec.rs`, built with every message that Kafka has.

use crate::counts;
use crate::interop;
use crate::repository;
use crate::shell;

/// With all of the workspace, so that the other crates are those that the tests have built.
const BUILD: &str = "build --quiet --locked --workspace --features milena-protocol/all-messages --example codec";

pub(crate) fn codec(arguments: &[&str]) -> Result<(), String> {
    let seed = match arguments {
        [] => None,
        ["--seed", seed] => Some(*seed),
        _ => return Err("interop codec [--seed N]".to_owned()),
    };
    let root = repository::root();
    shell::run(&mut shell::command(&root, "cargo", &BUILD.split(' ').collect::<Vec<_>>()))?;
    let program = repository::target().join("debug/examples/codec").display().to_string();
    counts::announce("interop-codec");
    let script = "interop/codec/check";
    let mut command = shell::command(&root, "bash", &[script, &program]);
    command.args(seed).env("CACHE", interop::cache());
    let mut result = None;
    let outcome = shell::watch(&mut command, |line| {
        println!("{line}");
        result = counts::result_line(line).or(result);
    });
    counts::conclude(script, result, outcome)
}
