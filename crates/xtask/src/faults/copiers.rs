//! Kafka's own `TransactionalMessageCopier`, unchanged, as processes that may be killed: each reads records of one topic,
//! writes them to another, and stores how far it has read, all in one transaction; some transactions it aborts on purpose.

use crate::repository;
use crate::shell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How copiers share the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Each has a partition of its own, and nobody is a member of the group whose offsets they store.
    Partitions,
    /// They are members of one group, which divides the partitions; their offsets are stored as members (KIP-447).
    Group,
}

/// What every copier of a run is told.
pub(super) struct Plan {
    pub(super) bootstrap: String,
    pub(super) input: &'static str,
    pub(super) output: &'static str,
    pub(super) sharing: Sharing,
    /// Records of a transaction.
    pub(super) transaction_records: u32,
    libraries: String,
}

impl Plan {
    pub(super) fn new(bootstrap: String, sharing: Sharing, transaction_records: u32) -> Result<Plan, String> {
        let root = repository::root();
        let mut script = shell::command(&root, "bash", &["interop/java/libraries"]);
        let libraries = shell::output(script.env("CACHE", repository::target().join("interop")))?.trim().to_owned();
        Ok(Plan { bootstrap, input: "in", output: "out", sharing, transaction_records, libraries })
    }
}

/// One copier, over all its lives.
pub(super) struct Copier {
    number: u32,
    child: Child,
    /// Records in transactions that it says are committed, over all its lives.
    committed: Arc<AtomicU64>,
}

impl Copier {
    pub(super) fn start(plan: &Plan, number: u32, log: &Path) -> Result<Copier, String> {
        let committed = Arc::new(AtomicU64::new(0));
        let child = spawn(plan, number, log, &committed)?;
        Ok(Copier { number, child, committed })
    }

    /// kill -9, and another one in its place with the same transactional id.
    pub(super) fn kill_and_restart(&mut self, plan: &Plan, log: &Path) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| format!("kill: {error}"))?;
        self.restart(plan, log)
    }

    pub(super) fn restart(&mut self, plan: &Plan, log: &Path) -> Result<(), String> {
        self.child = spawn(plan, self.number, log, &self.committed)?;
        Ok(())
    }

    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| format!("a copier cannot be asked: {error}"))
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        // Already ended is what we want here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(plan: &Plan, number: u32, log: &Path, committed: &Arc<AtomicU64>) -> Result<Child, String> {
    let log = std::fs::File::options().create(true).append(true).open(log);
    let mut command = Command::new("java");
    command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", &plan.libraries]);
    command.arg("org.apache.kafka.tools.TransactionalMessageCopier");
    command.args(["--broker-list", &plan.bootstrap, "--input-topic", plan.input, "--output-topic", plan.output]);
    command.args(["--consumer-group", "copiers", "--enable-random-aborts", "--transaction-timeout", "20000"]);
    command.args(["--transactional-id", &format!("copier-{number}")]);
    command.args(["--transaction-size", &plan.transaction_records.to_string()]);
    match plan.sharing {
        Sharing::Partitions => command.args(["--input-partition", &number.to_string()]),
        Sharing::Group => command.args(["--input-partition", "-1", "--group-mode", "--use-group-metadata"]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.map_err(|error| format!("a log: {error}"))?);
    let mut child = command.spawn().map_err(|error| format!("could not start java: {error}"))?;
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let committed = Arc::clone(committed);
    std::thread::spawn(move || {
        let mut counted = 0;
        for line in lines.map_while(Result::ok) {
            let Some(processed) = number_of(&line, "totalProcessed") else { continue };
            committed.fetch_add(processed.saturating_sub(counted), Ordering::Relaxed);
            counted = processed.max(counted);
        }
    });
    Ok(child)
}

/// A number in one of the copier's reports, which are JSON on a line.
fn number_of(line: &str, name: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let line = r#"{"transactionalId":"c0","stage":"ProcessLoop","totalProcessed":4000,"remaining":1000}"#;
        assert_eq!((number_of(line, "totalProcessed"), number_of(line, "remaining")), (Some(4000), Some(1000)));
        assert_eq!(number_of("Exception in thread", "totalProcessed"), None);
    }
}
