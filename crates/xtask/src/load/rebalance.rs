//! What a rebalance costs: the time in which a partition has no reader when one of fifty members leaves, in groups of the
//! classic protocol and in groups that the broker assigns. Members beat like clients do. Those of the classic protocol,
//! here the eager form of it, give up all they own when they hear of the rebalance, join and sync again; those of the other
//! keep what they are not told to give up. Several brokers can be asked in turn, round after round, so that what the
//! machine does meanwhile hits all.

use super::assigned::Member;
use super::ledger::{Call, Ledger};
use super::member::{COORDINATOR_ERRORS, Joined, NONE, REBALANCE_IN_PROGRESS, Sessions, connect};
use super::{Report, ms, option, quantile};
use crate::faults::line::Line;
use crate::node::{self, Node, Plan};
use crate::repository;
use std::time::Duration;

const MEMBERS: usize = 50;
/// Each member's part, as long as all are there.
const PARTITIONS_EACH: usize = 4;
const PARTITIONS: usize = MEMBERS * PARTITIONS_EACH;
const SESSIONS: Sessions = Sessions { session_ms: 45_000, rebalance_ms: 60_000 };
/// A member leaves a group that is at rest: the broker may assign at once, since its last assignment is long ago enough.
const REST: Duration = Duration::from_millis(1_500);
/// A group that does not come together in this time never will.
const TOGETHER_MAX: Duration = Duration::from_secs(90);
/// Besides one heartbeat, with which members hear of it: assignments are made once a second, the rest is for a busy machine.
const WITHOUT_READER_MAX: Duration = Duration::from_secs(5);
const KNOWN: [&str; 3] = ["--bootstrap", "--rounds", "--heartbeat-ms"];

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Classic,
    /// KIP-848: the broker assigns.
    Consumer,
}

/// A broker and a protocol, with what its rounds showed: of each partition the longest time without a reader, sorted.
struct Results<'a> {
    name: &'a str,
    address: &'a str,
    protocol: Protocol,
    rounds: Vec<Vec<Duration>>,
}

/// Who takes part in a round.
#[derive(Clone, Copy)]
struct Group<'a> {
    address: &'a str,
    name: &'a str,
    topic: &'a [u8; 16],
    beat: Duration,
}

/// `--bootstrap NAME=HOST:PORT,..`: those brokers in turn; without it a Milena that is started here.
pub(crate) fn rebalance(arguments: &[&str]) -> Result<(), String> {
    let number = |name: &str, default: u64| match option(arguments, &KNOWN, name)? {
        Some(text) => text.parse().map_err(|_| format!("{name} {text} is no number")),
        None => Ok(default),
    };
    let (rounds, beat) = (number("--rounds", 4)?, Duration::from_millis(number("--heartbeat-ms", 3_000)?.max(1)));
    let given = option(arguments, &KNOWN, "--bootstrap")?;
    let node = if given.is_some() { None } else { Some(start(beat)?) };
    let own = node.as_ref().map(|node| format!("milena={}", node.address));
    let brokers = brokers(given.or(own.as_deref()).unwrap_or_default())?;
    let mut results: Vec<Results<'_>> = [Protocol::Classic, Protocol::Consumer]
        .into_iter()
        .flat_map(|protocol| brokers.iter().map(move |(name, address)| (protocol, *name, *address)))
        .map(|(protocol, name, address)| Results { name, address, protocol, rounds: Vec::new() })
        .collect();
    for number in 1..=rounds {
        // How soon partitions have a reader again depends on where between two heartbeats the member leaves: rounds divide the
        // interval evenly.
        let place = (number as f64 - 0.5) / rounds as f64;
        for results in &mut results {
            let group = format!("rebalance-{:?}-{}-{number}", results.protocol, std::process::id());
            let mut spans = round(results.address, results.protocol, &group, (beat, place))?;
            spans.sort();
            let (name, protocol) = (results.name, results.protocol);
            println!("{name}, {protocol:?}: round {number}: {} at most", ms(quantile(&spans, 1.0)));
            results.rounds.push(spans);
        }
    }
    let mut report = Report::default();
    results.iter().for_each(|results| results.judge(beat, &mut report));
    node.map_or(Ok(()), Node::stop)?;
    report.end("load-rebalance")
}

fn start(beat: Duration) -> Result<Node, String> {
    node::build()?;
    let mut plan = Plan::fresh(&repository::target().join("load/rebalance"))?;
    plan = plan.option("offsets.topic.replication.factor=1");
    for name in ["group.consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms"] {
        plan = plan.option(format!("{name}={}", beat.as_millis()));
    }
    Node::start(&plan)
}

fn brokers(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let named = text.split(',').map(|broker| broker.split_once('='));
    named.collect::<Option<Vec<_>>>().ok_or_else(|| format!("\"{text}\" is not NAME=HOST:PORT,.."))
}

impl Results<'_> {
    fn judge(&self, beat: Duration, report: &mut Report) {
        let sorted = |mut spans: Vec<Duration>| {
            spans.sort();
            spans
        };
        let all = sorted(self.rounds.concat());
        let stood: Vec<Duration> = all.iter().copied().filter(|span| !span.is_zero()).collect();
        let worst = sorted(self.rounds.iter().map(|spans| quantile(spans, 1.0)).collect());
        let most = quantile(&worst, 1.0);
        report.judge(
            most <= beat + WITHOUT_READER_MAX,
            &format!(
                "{}, {:?}: one of {MEMBERS} left, heartbeats every {}: {} of {} partitions had no reader for a while; all: \
                 median {}; those: median {}; the worst of a round: median {}, most {}",
                self.name,
                self.protocol,
                ms(beat),
                stood.len(),
                all.len(),
                ms(quantile(&all, 0.5)),
                ms(quantile(&stood, 0.5)),
                ms(quantile(&worst, 0.5)),
                ms(most)
            ),
        );
    }
}

/// A group comes together, one member leaves at that place between two heartbeats, the others go on: for each partition the
/// longest time without a reader.
fn round(
    address: &str,
    protocol: Protocol,
    name: &str,
    (beat, place): (Duration, f64),
) -> Result<Vec<Duration>, String> {
    let mut line = connect(address)?;
    line.prepare(i32::try_from(PARTITIONS).expect("few"))?;
    let topic = line.topic_id()?;
    let group = Group { address, name, topic: &topic, beat };
    let ledger = Ledger::open(MEMBERS, beat);
    std::thread::scope(|scope| {
        for at in 0..MEMBERS {
            let ledger = &ledger;
            scope.spawn(move || {
                ledger.ended(match protocol {
                    Protocol::Classic => live_classic(group, at, ledger),
                    Protocol::Consumer => live_assigned(group, at, ledger),
                });
            });
        }
        let spans = conduct(&ledger, beat, place);
        ledger.call(Call::End);
        spans
    })
}

fn conduct(ledger: &Ledger, beat: Duration, place: f64) -> Result<Vec<Duration>, String> {
    ledger.wait(TOGETHER_MAX, |owned| owned.iter().all(|part| part.len() == PARTITIONS_EACH))?;
    std::thread::sleep(beat.max(REST));
    std::thread::sleep(ledger.until(place));
    let left = ledger.call(Call::Leave);
    ledger.wait(TOGETHER_MAX, |owned| {
        owned[MEMBERS - 1].is_empty() && owned.iter().map(|part| part.len()).sum::<usize>() == PARTITIONS
    })?;
    // Who has more than its share may still have to give something up.
    std::thread::sleep(beat);
    ledger.without_reader(left, i32::try_from(PARTITIONS).expect("few"))
}

/// A member of the classic protocol, until it is called to leave or the round ends.
fn live_classic(group: Group<'_>, at: usize, ledger: &Ledger) -> Result<(), String> {
    let mut line = connect(group.address)?;
    let mut member = Joined::default();
    loop {
        let (joined, part) = enter(&mut line, group.name, member)?;
        member = joined;
        ledger.own(at, &part);
        let call = beat_on(&mut line, group.name, &member, || ledger.pause(at))?;
        if call == Call::End {
            return Ok(());
        }
        ledger.own(at, &[]);
        if call == Call::Leave {
            return line.leave(group.name, &member);
        }
    }
}

/// Joins until it has a part.
fn enter(line: &mut Line, group: &str, mut member: Joined) -> Result<(Joined, Vec<i32>), String> {
    loop {
        line.send_join(group, &member.member, SESSIONS)?;
        let joined = line.receive_join()?;
        if COORDINATOR_ERRORS.contains(&joined.error) {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        if joined.error != NONE {
            return Err(format!("a join is answered {}", joined.error));
        }
        member = joined;
        line.send_sync(group, &member, i32::try_from(PARTITIONS).expect("few"))?;
        match line.receive_sync()? {
            (NONE, part) => return Ok((member, part)),
            (REBALANCE_IN_PROGRESS, _) => {}
            (error, _) => return Err(format!("a sync is answered {error}")),
        }
    }
}

/// Beats until it hears of a rebalance, which is answered as [`Call::Beat`], or is called for something else.
fn beat_on(line: &mut Line, group: &str, member: &Joined, pause: impl Fn() -> Call) -> Result<Call, String> {
    loop {
        match pause() {
            Call::Beat => line.send_heartbeat(group, member)?,
            call => return Ok(call),
        }
        match line.receive_error()? {
            NONE => {}
            REBALANCE_IN_PROGRESS => return Ok(Call::Beat),
            error => return Err(format!("a heartbeat is answered {error}")),
        }
    }
}

/// A member of a group that the broker assigns, until it is called to leave or the round ends.
fn live_assigned(group: Group<'_>, at: usize, ledger: &Ledger) -> Result<(), String> {
    let mut line = connect(group.address)?;
    let mut member = Member { id: format!("member-{at:05}"), ..Default::default() };
    loop {
        line.send_beat(group.name, group.topic, &member)?;
        let answer = line.receive_beat()?;
        if COORDINATOR_ERRORS.contains(&answer.error) {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        if answer.error == NONE && answer.interval != group.beat {
            let told = ms(answer.interval);
            return Err(format!("the broker wants heartbeats every {told}: set group.consumer.heartbeat.interval.ms"));
        }
        if member.take_over(answer)? {
            ledger.own(at, &member.owned);
            // What it gave up or took it says at once.
            continue;
        }
        match ledger.pause(at) {
            Call::Beat => {}
            Call::End => return Ok(()),
            Call::Leave => break,
        }
    }
    ledger.own(at, &[]);
    member.owned.clear();
    member.epoch = -1;
    line.send_beat(group.name, group.topic, &member)?;
    member.take_over(line.receive_beat()?).map(|_| ())
}
