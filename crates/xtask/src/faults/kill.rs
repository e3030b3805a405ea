//! kill -9 under load. A load process of its own (librdkafka, idempotent) writes numbered records and keeps the list of
//! what was acknowledged; the server is killed with at least a thousand records in flight and started again; then kcat
//! reads everything back and the list is held against it.

use super::early_ack::EarlyAck;
use super::read_back::{self, Place};
use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use crate::shell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const TOPIC: &str = "kill";
const PARTITIONS: u32 = 4;
/// Records sent and not acknowledged when the server is killed.
const IN_FLIGHT_MIN: u64 = 1000;
/// Acknowledged since the last kill, before the next: a round that acknowledged nothing proves nothing.
const ACKNOWLEDGED_MIN: u64 = 3000;
/// A load that does not come that far in this time is not served.
const PROGRESS_TIME_MAX: Duration = Duration::from_secs(90);
const ROUNDS: u32 = 10;

pub(crate) fn kill(arguments: &[&str]) -> Result<(), String> {
    let (mut rounds, mut plant) = (ROUNDS, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (*argument, rest.next()) {
            ("--rounds", Some(number)) => rounds = number.parse().map_err(|_| "--rounds wants a number")?,
            ("--plant", Some(&"early-ack")) => plant = true,
            _ => return Err("faults kill [--rounds N] [--plant early-ack]".to_owned()),
        }
    }
    node::build()?;
    let folder = repository::target().join("faults/kill");
    if plant {
        counts::announce("faults-kill-planted");
        return planted(&folder);
    }
    counts::announce("faults-kill");
    let mut passed = 0;
    let outcome = run(&folder, rounds, None, &mut passed);
    println!("{passed} passed, {} failed", u32::from(outcome.is_err()));
    outcome
}

/// The checks must be able to fail: something acknowledges before the server has appended, and they have to notice.
fn planted(folder: &Path) -> Result<(), String> {
    let mut passed = 0;
    let outcome = run(folder, 3, Some(EarlyAck::listen()?), &mut passed);
    match outcome {
        Err(fault) if fault.contains("lost: ") => {
            println!("noticed, as it must be: {fault}\n1 passed, 0 failed");
            Ok(())
        }
        other => {
            println!("0 passed, 1 failed");
            Err(format!("an acknowledgement before the append was not noticed: {other:?}"))
        }
    }
}

fn run(folder: &Path, rounds: u32, plant: Option<EarlyAck>, passed: &mut u32) -> Result<(), String> {
    let mut plan = Plan::fresh(folder)?;
    let acknowledged_file = folder.join("acknowledged");
    if let Some(plant) = &plant {
        plan = plan.option(format!("advertised.listeners=PLAINTEXT://{}", plant.address));
    }
    let mut node = Node::start(&plan)?;
    plan.listen.clone_from(&node.address);
    if let Some(plant) = &plant {
        plant.forward_to(&node.address);
    }
    let bootstrap = plant.as_ref().map_or(node.address.clone(), |plant| plant.address.clone());

    let mut load = Load::start(&bootstrap, &acknowledged_file)?;
    let mut before = 0;
    for round in 1..=rounds {
        let report = load.wait_until(|report| {
            report.in_flight >= IN_FLIGHT_MIN && report.acknowledged >= before + ACKNOWLEDGED_MIN
        })?;
        node.kill()?;
        // What was in flight is sent again, and nothing new until everything was read: reading has an end.
        load.say("pause")?;
        node = Node::start(&plan)?;
        let places = read(&acknowledged_file)?;
        check(&places, &read_all(&bootstrap)?)?;
        load.say("go")?;
        before = places.len() as u64;
        *passed += 1;
        let ready = node.ready_after.as_millis();
        println!(
            "ok     round {round}: killed with {} in flight, ready again after {ready} ms, all {} acknowledged records are there",
            report.in_flight,
            places.len()
        );
    }
    let sent = load.stop()?;
    let (acknowledged, stored) = (read(&acknowledged_file)?, read_all(&bootstrap)?);
    check(&acknowledged, &stored)?;
    // In the end everything was acknowledged, so that nothing else may be there either.
    if acknowledged.len() as u64 != sent || stored.len() as u64 != sent {
        return Err(format!("{sent} sent, {} acknowledged, {} stored", acknowledged.len(), stored.len()));
    }
    *passed += 1;
    println!("ok     at the end: {sent} sent, acknowledged and stored, each once and in order");
    node.stop()
}

fn check(acknowledged: &[Place], stored: &[Place]) -> Result<(), String> {
    let faults = read_back::faults(acknowledged, stored);
    match faults.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} faults, the first: {first}", faults.len())),
    }
}

fn read(path: &Path) -> Result<Vec<Place>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // The load still writes: what follows the last line end is half a line.
    read_back::parse(text.rfind('\n').map_or("", |end| &text[..end]))
}

/// Every record of the topic, read by kcat from the first offset to the last.
fn read_all(bootstrap: &str) -> Result<Vec<Place>, String> {
    let format = ["-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", "%p %o %s\\n"];
    let text = shell::output(Command::new("kcat").args(["-b", bootstrap]).args(format).stdin(Stdio::null()))?;
    read_back::parse(text.trim_end())
}

/// What the load says of itself, twenty times a second.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    in_flight: u64,
    acknowledged: u64,
}

struct Load {
    child: Child,
    lines: Receiver<String>,
}

impl Load {
    fn start(bootstrap: &str, acknowledged: &PathBuf) -> Result<Self, String> {
        let root = repository::root();
        let mut command = shell::command(&root, "bash", &["interop/librdkafka/load", bootstrap, TOPIC]);
        command.arg(PARTITIONS.to_string()).arg(acknowledged).env("CACHE", repository::target().join("interop"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("could not start the load: {error}"))?;
        let out = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn wait_until(&mut self, enough: impl Fn(Report) -> bool) -> Result<Report, String> {
        let until = Instant::now() + PROGRESS_TIME_MAX;
        let mut last = Report::default();
        while Instant::now() < until {
            let Ok(line) = self.lines.recv_timeout(PROGRESS_TIME_MAX) else {
                return Err(format!("the load ended; its last report: {last:?}"));
            };
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let (Some(Ok(in_flight)), Some(Ok(acknowledged))) = (numbers.next(), numbers.next()) else {
                return Err(format!("the load says: {line}"));
            };
            last = Report { in_flight, acknowledged };
            // Reports queue up while we read back; only the newest says how it stands.
            if self.lines.try_iter().last().is_none() && enough(last) {
                return Ok(last);
            }
        }
        Err(format!("the load makes no progress: {last:?}"))
    }

    fn say(&mut self, word: &str) -> Result<(), String> {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped and never taken");
        writeln!(stdin, "{word}").map_err(|error| format!("the load cannot be told to {word}: {error}"))
    }

    /// Lets the load finish what it has sent; returns how many records that were in all.
    fn stop(mut self) -> Result<u64, String> {
        self.say("stop")?;
        let until = Instant::now() + PROGRESS_TIME_MAX;
        while Instant::now() < until {
            let line = self.lines.recv_timeout(PROGRESS_TIME_MAX).map_err(|_| "the load ended without a last word")?;
            if let Some(sent) = line.strip_prefix("sent ") {
                return sent.parse().map_err(|_| format!("the load says: {line}"));
            }
        }
        Err("the load does not finish".to_owned())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Already ended is what we want here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
