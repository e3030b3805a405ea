//! What a rebalance costs: the time without progress when one of fifty members leaves. Members beat like clients do,
//! hear of the rebalance, join and sync again; from hearing until it has its part a member of the eager protocol stands
//! still. Several brokers can be asked in turn, round after round, so that what the machine does meanwhile hits all.

use super::member::{Joined, Line, NONE, REBALANCE_IN_PROGRESS, Sessions};
use super::{ms, option, quantile};
use crate::node::{self, Node, Plan};
use crate::repository;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

const MEMBERS: usize = 50;
const SESSIONS: Sessions = Sessions { session_ms: 30_000, rebalance_ms: 30_000 };
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
const COORDINATOR_ERRORS: std::ops::RangeInclusive<i16> = 14..=16;
const KNOWN: [&str; 3] = ["--bootstrap", "--rounds", "--heartbeat-ms"];

/// What one round showed.
struct Round {
    /// From the leave until the last member has its part.
    whole: Duration,
    /// Of each member: from hearing of the rebalance until it has its part.
    still: Vec<Duration>,
}

/// `--bootstrap NAME=HOST:PORT,..`: those brokers in turn; without it a Milena that is started here.
pub(crate) fn rebalance(arguments: &[&str]) -> Result<(), String> {
    let number = |name: &str, default: u64| match option(arguments, &KNOWN, name)? {
        Some(text) => text.parse().map_err(|_| format!("{name} {text} is no number")),
        None => Ok(default),
    };
    let (rounds, beat) = (number("--rounds", 4)?, Duration::from_millis(number("--heartbeat-ms", 3_000)?));
    let given = option(arguments, &KNOWN, "--bootstrap")?;
    let node = match given {
        Some(_) => None,
        None => {
            node::build()?;
            let plan = Plan::fresh(&repository::target().join("load/rebalance"))?;
            Some(Node::start(&plan.option("offsets.topic.replication.factor=1"))?)
        }
    };
    let own = node.as_ref().map(|node| format!("milena={}", node.address));
    let brokers = brokers(given.or(own.as_deref()).unwrap_or_default())?;
    let mut results: Vec<(&str, Vec<Round>)> = brokers.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for number in 0..rounds {
        for ((name, address), (_, results)) in brokers.iter().zip(&mut results) {
            let round = round(address, &format!("rebalance-{}-{number}", std::process::id()), beat)?;
            println!("{name}: round {}: {} until the last of {} goes on", number + 1, ms(round.whole), MEMBERS - 1);
            results.push(round);
        }
    }
    for (name, rounds) in results {
        let mut whole: Vec<Duration> = rounds.iter().map(|round| round.whole).collect();
        let mut still: Vec<Duration> = rounds.into_iter().flat_map(|round| round.still).collect();
        whole.sort();
        still.sort();
        println!(
            "{name}: {MEMBERS} members, one leaves, heartbeats every {}: whole rebalance median {}; a member stands still \
             median {}, p99 {}",
            ms(beat),
            ms(quantile(&whole, 0.5)),
            ms(quantile(&still, 0.5)),
            ms(quantile(&still, 0.99))
        );
    }
    node.map_or(Ok(()), Node::stop)
}

fn brokers(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let named = text.split(',').map(|broker| broker.split_once('='));
    named.collect::<Option<Vec<_>>>().ok_or_else(|| format!("\"{text}\" is not NAME=HOST:PORT,.."))
}

/// A group forms, one member leaves, the others go on.
fn round(address: &str, group: &str, beat: Duration) -> Result<Round, String> {
    Line::open(address)?.prepare(i32::try_from(MEMBERS).expect("few"))?;
    let settled = Barrier::new(MEMBERS);
    let left: Mutex<Option<Instant>> = Mutex::new(None);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for at in 0..MEMBERS {
            let (settled, left, results) = (&settled, &left, &results);
            scope.spawn(move || {
                let result = if at + 1 == MEMBERS {
                    leaver(address, group, beat, settled, left).map(|()| None)
                } else {
                    follower(address, group, beat, at, settled).map(Some)
                };
                results.lock().expect("no member panics").push(result);
            });
        }
    });
    let results = results.into_inner().expect("no member panics").into_iter().collect::<Result<Vec<_>, String>>()?;
    let left = left.into_inner().expect("no member panics").ok_or("nobody left")?;
    let spans: Vec<(Instant, Instant)> = results.into_iter().flatten().collect();
    let last = spans.iter().map(|(_, end)| *end).max().ok_or("nobody stayed")?;
    Ok(Round { whole: last - left, still: spans.into_iter().map(|(heard, end)| end - heard).collect() })
}

/// Joins until it has a part in a generation of `whole` members.
fn enter(line: &mut Line, group: &str, mut member: Joined, whole: usize, beat: Duration) -> Result<Joined, String> {
    loop {
        line.send_join(group, &member.member, SESSIONS)?;
        let joined = line.receive_join()?;
        if COORDINATOR_ERRORS.contains(&joined.error) {
            // It has just been started, and still reads its log.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        if joined.error != NONE {
            return Err(format!("a join is answered {}", joined.error));
        }
        member = joined;
        line.send_sync(group, &member)?;
        match line.receive_sync()? {
            (NONE, _) if member.leader != member.member || member.members.len() == whole => return Ok(member),
            // Somebody comes late: there will be another generation.
            (NONE, _) => {
                await_rebalance(line, group, &member, beat)?;
            }
            (REBALANCE_IN_PROGRESS, _) => {}
            (error, _) => return Err(format!("a sync is answered {error}")),
        }
    }
}

/// Beats until a rebalance begins, and answers when it heard of it.
fn await_rebalance(line: &mut Line, group: &str, member: &Joined, beat: Duration) -> Result<Instant, String> {
    loop {
        line.send_heartbeat(group, member)?;
        match line.receive_error()? {
            NONE => std::thread::sleep(beat),
            REBALANCE_IN_PROGRESS => return Ok(Instant::now()),
            error => return Err(format!("a heartbeat is answered {error}")),
        }
    }
}

/// Waits until the first generation is whole.
fn settle(line: &mut Line, group: &str, beat: Duration) -> Result<Joined, String> {
    let mut member = Joined::default();
    // The first delay takes all of them in, unless the machine is very slow.
    for _ in 0..5 {
        member = enter(line, group, member, MEMBERS, beat)?;
        line.send_heartbeat(group, &member)?;
        match line.receive_error()? {
            NONE => return Ok(member),
            REBALANCE_IN_PROGRESS => {}
            error => return Err(format!("a heartbeat is answered {error}")),
        }
    }
    Err("the group does not come together".to_owned())
}

fn leaver(
    address: &str,
    group: &str,
    beat: Duration,
    settled: &Barrier,
    left: &Mutex<Option<Instant>>,
) -> Result<(), String> {
    let mut line = Line::open(address)?;
    let member = settle(&mut line, group, beat);
    settled.wait();
    let member = member?;
    std::thread::sleep(beat);
    *left.lock().expect("no member panics") = Some(Instant::now());
    line.leave(group, &member)
}

fn follower(
    address: &str,
    group: &str,
    beat: Duration,
    at: usize,
    settled: &Barrier,
) -> Result<(Instant, Instant), String> {
    let mut line = Line::open(address)?;
    let member = settle(&mut line, group, beat);
    settled.wait();
    let member = member?;
    // Clients do not beat at the same moment.
    std::thread::sleep(beat * u32::try_from(at).expect("few") / u32::try_from(MEMBERS).expect("few"));
    let heard = await_rebalance(&mut line, group, &member, beat)?;
    enter(&mut line, group, member, MEMBERS - 1, beat)?;
    Ok((heard, Instant::now()))
}
