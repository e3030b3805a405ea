//! The same requests to Milena and to Apache Kafka, compared answer by answer. The comparison is `crates/twin`; here it
//! is built, and given a Milena to speak to.

use crate::counts;
use crate::node::{self, Node, Plan};
use crate::programs;
use crate::repository;
use crate::shell;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// What every broker of a comparison is given, and what the second one is given besides.
const SETTINGS: [&str; 2] = ["crates/twin/broker.properties", "crates/twin/timed.properties"];
/// What the one that takes metrics of clients is given.
const TELEMETRY_SETTINGS: [&str; 2] = [SETTINGS[0], "crates/twin/telemetry.properties"];

pub(crate) fn twin(arguments: &[&str]) -> Result<(), String> {
    let root = repository::root();
    let mut command = Command::new(programs::TWIN.build()?);
    command.current_dir(&root);
    let filter = match arguments {
        [] | ["replay"] => None,
        ["replay", filter] if !filter.starts_with("--") => Some(*filter),
        other => return shell::run(command.args(other)),
    };
    node::build()?;
    let usual = start("twin/node", &SETTINGS[..1], None)?;
    let timed = start("twin/timed", &SETTINGS, None)?;
    let former = start("twin/former", &SETTINGS[..1], Some(FORMER_CHECKPOINT))?;
    let raised = start("twin/raised", &SETTINGS[..1], Some(FORMER_CHECKPOINT))?;
    let telemetry = start("twin/telemetry", &TELEMETRY_SETTINGS, None)?;
    counts::announce("twin");
    let mut sum = None;
    command.args(["replay", "--bootstrap", &usual.address, "--timed", &timed.address]);
    command.args(["--former", &former.address, "--raised", &raised.address]);
    command.args(["--telemetry", &telemetry.address]);
    let replay = command.args(filter);
    let outcome = shell::watch(replay, |line| {
        println!("{line}");
        sum = scenarios(line).or(sum);
    });
    let (same, all) = sum.unwrap_or((0, 1));
    println!("{same} passed, {} failed", all - same);
    usual.stop()?;
    timed.stop()?;
    former.stop()?;
    raised.stop()?;
    telemetry.stop()?;
    outcome
}

/// What Kafka's own format tool leaves in the directory of a cluster with fewer features.
const FORMER_CHECKPOINT: &str = "crates/twin/former.checkpoint";

/// A fresh node with the settings of those files; where a key comes twice the later one counts. With a checkpoint it is
/// formatted before, and these are its first records.
fn start(directory: &str, files: &[&str], checkpoint: Option<&str>) -> Result<Node, String> {
    let mut settings = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(repository::root().join(file)).map_err(|error| format!("{file}: {error}"))?;
        let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        settings.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    let mut plan = Plan::fresh(&repository::target().join(directory))?;
    plan.options.extend(settings.iter().map(|(key, value)| format!("{key}={value}")));
    if let Some(checkpoint) = checkpoint {
        plan.format()?;
        let bootstrap = plan.data.join("bootstrap.checkpoint");
        fs::copy(repository::root().join(checkpoint), &bootstrap).map_err(|error| format!("{checkpoint}: {error}"))?;
    }
    Node::start(&plan)
}

/// From the replay's last line, `12 of 13 scenarios answer as Kafka does; ..`: how many do, and how many there are.
fn scenarios(line: &str) -> Option<(usize, usize)> {
    let (same, rest) = line.split_once(" of ")?;
    let (all, _) = rest.split_once(" scenarios answer as Kafka does")?;
    let (same, all) = (same.parse().ok()?, all.parse().ok()?);
    (same <= all).then_some((same, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_replay_is_read_from_its_last_line() {
        assert_eq!(scenarios("12 of 13 scenarios answer as Kafka does; 2 intended differences"), Some((12, 13)));
        assert_eq!(scenarios("a line of something"), None);
    }
}
