//! Exactly once through kills: copiers move numbered records from one topic to another in transactions, some of which they
//! abort, while in turn a copier and the server are killed with -9 and started again. In the end a reader of committed
//! records must have each record exactly once, and in order; a reader of everything must have more, or nothing was tested.

use super::copiers::{Copier, Plan as CopierPlan, Sharing};
use super::read_back::{self, Place};
use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use crate::shell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const COPIERS: u32 = 3;
const RECORDS: u64 = 50_000;
const KILLS: u32 = 6;
const TRANSACTION_RECORDS: u32 = 100;
/// A copier that does not come on in this time is not served.
const PROGRESS_TIME_MAX: Duration = Duration::from_secs(120);
/// A copier may give up while its server is away; one that does so without end is not served.
const FALLS_MAX: u32 = 50;

struct Run {
    records: u64,
    kills: u32,
    sharing: Sharing,
    folder: PathBuf,
}

pub(crate) fn transactions(arguments: &[&str]) -> Result<(), String> {
    let folder = repository::target().join("faults/transactions");
    let mut run = Run { records: RECORDS, kills: KILLS, sharing: Sharing::Partitions, folder };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (*argument, rest.next()) {
            ("--records", Some(number)) => run.records = number.parse().map_err(|_| "--records wants a number")?,
            ("--kills", Some(number)) => run.kills = number.parse().map_err(|_| "--kills wants a number")?,
            ("--sharing", Some(&"partitions")) => run.sharing = Sharing::Partitions,
            ("--sharing", Some(&"group")) => run.sharing = Sharing::Group,
            _ => return Err("faults transactions [--records N] [--kills N] [--sharing partitions|group]".to_owned()),
        }
    }
    node::build()?;
    counts::announce("faults-transactions");
    let mut passed = 0;
    let outcome = run.go(&mut passed);
    println!("{passed} passed, {} failed", u32::from(outcome.is_err()));
    outcome
}

impl Run {
    fn go(&self, passed: &mut u32) -> Result<(), String> {
        let mut plan = Plan::fresh(&self.folder)?
            .option(format!("num.partitions={COPIERS}"))
            .option("offsets.topic.num.partitions=4")
            .option("transaction.state.log.num.partitions=4")
            .option("group.initial.rebalance.delay.ms=0");
        for topic in ["offsets.topic", "transaction.state.log"] {
            plan = plan.option(format!("{topic}.replication.factor=1"));
        }
        plan = plan.option("transaction.state.log.min.isr=1");
        let mut node = Node::start(&plan)?;
        plan.listen.clone_from(&node.address);
        let copying = CopierPlan::new(node.address.clone(), self.sharing, TRANSACTION_RECORDS)?;
        self.fill(&copying)?;
        let log = self.folder.join("copiers.log");
        let mut copiers =
            (0..COPIERS).map(|number| Copier::start(&copying, number, &log)).collect::<Result<Vec<_>, _>>()?;
        for kill in 0..self.kills {
            let due = self.records * u64::from(kill + 1) / u64::from(self.kills + 1);
            let mut falls = Falls::default();
            wait(&mut copiers, &copying, &log, &mut falls, |copiers| committed(copiers) >= due)?;
            let what = match kill % 2 {
                0 => {
                    let number = (kill / 2) % COPIERS;
                    copiers[number as usize].kill_and_restart(&copying, &log)?;
                    format!("copier {number}")
                }
                _ => {
                    node.kill()?;
                    node = Node::start(&plan)?;
                    format!("the server (ready again after {} ms)", node.ready_after.as_millis())
                }
            };
            println!("ok     killed {what} after {} committed records", committed(&copiers));
            *passed += 1;
        }
        let mut falls = Falls::default();
        let mut done = vec![false; copiers.len()];
        wait(&mut copiers, &copying, &log, &mut falls, |copiers| {
            for (copier, done) in copiers.iter_mut().zip(&mut done) {
                *done |= matches!(copier.ended(), Ok(Some(status)) if status.success());
            }
            done.iter().all(|done| *done)
        })?;
        self.check(&copying, passed)?;
        node.stop()
    }

    /// Numbered records of a hundred bytes, number N in partition N mod [`COPIERS`].
    fn fill(&self, copying: &CopierPlan) -> Result<(), String> {
        for partition in 0..COPIERS {
            let arguments = ["-P", "-t", copying.input, "-p", &partition.to_string(), "-X", "linger.ms=5"];
            let mut kcat = Command::new("kcat");
            kcat.args(["-b", &copying.bootstrap]).args(arguments).stdin(Stdio::piped());
            let mut kcat = kcat.spawn().map_err(|error| format!("could not start kcat: {error}"))?;
            let mut lines = std::io::BufWriter::new(kcat.stdin.take().expect("stdin is piped"));
            for number in (u64::from(partition)..self.records).step_by(COPIERS as usize) {
                writeln!(lines, "{number:0100}").map_err(|error| format!("kcat takes no more: {error}"))?;
            }
            lines.flush().map_err(|error| format!("kcat takes no more: {error}"))?;
            drop(lines);
            let status = kcat.wait().map_err(|error| format!("kcat: {error}"))?;
            if !status.success() {
                return Err(format!("kcat could not write the input: {status}"));
            }
        }
        Ok(())
    }

    fn check(&self, copying: &CopierPlan, passed: &mut u32) -> Result<(), String> {
        let committed = read(copying, "read_committed")?;
        if let Some(first) = faults(&committed, self.records).first() {
            return Err(format!("a reader of committed records: {first}"));
        }
        println!("ok     a reader of committed records has all {} once, in order", self.records);
        let everything = read(copying, "read_uncommitted")?;
        let aborted = everything.len() - committed.len();
        if aborted == 0 || faults(&everything, self.records).is_empty() {
            return Err("nothing was aborted, so nothing was tested".to_owned());
        }
        println!("ok     {aborted} more records were aborted, which a reader of everything sees");
        *passed += 2;
        Ok(())
    }
}

/// How often copiers gave up by themselves.
#[derive(Default)]
struct Falls(u32);

/// Waits until it is enough; copiers that give up are started again, those that are done stay.
fn wait(
    copiers: &mut [Copier],
    copying: &CopierPlan,
    log: &Path,
    falls: &mut Falls,
    mut enough: impl FnMut(&mut [Copier]) -> bool,
) -> Result<(), String> {
    let mut last = (0, Instant::now());
    while !enough(copiers) {
        for copier in copiers.iter_mut() {
            if copier.ended()?.is_some_and(|status| !status.success()) {
                falls.0 += 1;
                copier.restart(copying, log)?;
            }
        }
        let now = committed(copiers);
        if now > last.0 {
            last = (now, Instant::now());
        }
        if falls.0 > FALLS_MAX || last.1.elapsed() > PROGRESS_TIME_MAX {
            return Err(format!("no progress: {now} committed, {} times given up; see {}", falls.0, log.display()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn committed(copiers: &[Copier]) -> u64 {
    copiers.iter().map(Copier::committed).sum()
}

/// The output, read by kcat from the first offset to the last.
fn read(copying: &CopierPlan, isolation: &str) -> Result<Vec<Place>, String> {
    let isolation = format!("isolation.level={isolation}");
    let format = ["-C", "-t", copying.output, "-o", "beginning", "-e", "-q", "-X", &isolation, "-f", "%p %o %s\\n"];
    let text = shell::output(Command::new("kcat").args(["-b", &copying.bootstrap]).args(format).stdin(Stdio::null()))?;
    read_back::parse(text.trim_end())
}

/// What is wrong with the copies of the records from 0 to `records`: each number once, in the partition that it was read
/// from, those of a partition in rising order.
fn faults(copies: &[Place], records: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let mut last: BTreeMap<u32, Place> = BTreeMap::new();
    let mut seen = vec![0_u32; usize::try_from(records).unwrap_or(usize::MAX)];
    for copy in copies {
        match usize::try_from(copy.value).ok().and_then(|value| seen.get_mut(value)) {
            Some(count) => *count += 1,
            None => faults.push(format!("foreign: value {} at {}/{}", copy.value, copy.partition, copy.offset)),
        }
        if let Some(before) = last.insert(copy.partition, *copy)
            && copy.value <= before.value
        {
            faults.push(format!("order: partition {} holds {} before {}", copy.partition, before.value, copy.value));
        }
    }
    for (value, count) in seen.iter().enumerate().filter(|(_, count)| **count != 1) {
        faults.push(format!("value {value} is there {count} times"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(text: &str) -> Vec<Place> {
        read_back::parse(text).unwrap()
    }

    #[test]
    fn each_record_once_and_in_order_is_no_fault() {
        assert!(faults(&copies("0 0 0\n1 0 1\n0 3 2\n1 7 3"), 4).is_empty());
    }

    #[test]
    fn what_is_missing_doubled_misplaced_or_foreign_is_found() {
        assert_eq!(faults(&copies("0 0 0"), 2), ["value 1 is there 0 times"]);
        assert_eq!(faults(&copies("0 0 0\n1 0 1\n1 1 1"), 2).len(), 2, "it is there twice, and out of order");
        assert!(faults(&copies("0 0 1\n0 1 0"), 2)[0].starts_with("order: "));
        assert!(faults(&copies("0 0 0\n0 1 5"), 1)[0].starts_with("foreign: "));
    }
}
