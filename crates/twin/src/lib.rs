//! Twin tests: scenarios on the raw wire, written once, whose answers were recorded from a real Apache Kafka and are
//! asked of Milena again. `transcripts/` holds Kafka's side, `differences.txt` the differences that we want.
//!
//! **Invariant:** answers are taken apart by the definition texts alone, batches by code of this crate: a fault in
//! Milena's codec shows as a difference. Nothing is recorded from a broker that this crate did not start itself.

pub mod batch;
mod batch_view;
pub mod compare;
mod connection;
pub mod exchange;
mod normal;
pub mod oracle;
mod profile;
mod report;
pub mod scenarios;
pub mod transcript;
pub mod value;

use std::fs;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use compare::{Intended, compare, parse_intended};
use exchange::Exchange;
use oracle::{Jars, KAFKA_VERSION, Oracle, OracleError};
pub use profile::{Brokers, FORMER_CHECKPOINT, Profile};
pub use report::{Outcome, Report};
use scenarios::Scenario;
use transcript::Transcript;

/// Scenarios that run at the same time: most of their time they wait.
const WORKERS: usize = 8;

/// Kafka's transcripts, one for each scenario, and the differences that we want.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Name of the scenario, and what Kafka said.
    pub transcripts: Vec<(String, Transcript)>,
    /// The list.
    pub intended: Vec<Intended>,
}

impl Recorded {
    /// Reads what is in the repository.
    ///
    /// # Panics
    /// If the list of intended differences cannot be read.
    pub fn load() -> Recorded {
        let transcripts = scenarios::all().filter_map(|scenario| {
            let text = fs::read_to_string(transcript_file(scenario.name)).ok()?;
            Some((scenario.name.to_owned(), Transcript::parse(&text)))
        });
        let list = fs::read_to_string(root().join("differences.txt")).expect("differences.txt is there");
        let intended = parse_intended(&list).unwrap_or_else(|error| panic!("differences.txt: {error}"));
        Recorded { transcripts: transcripts.collect(), intended }
    }
}

/// Asks the brokers everything whose scenario's name contains `filter`, and holds the answers against Kafka's.
/// Scenarios of a broker that is not there are left out.
pub fn replay(brokers: &Brokers, filter: &str) -> Report {
    replay_against(&Recorded::load(), brokers, filter)
}

/// The same, against transcripts that the caller brings.
pub fn replay_against(recorded: &Recorded, brokers: &Brokers, filter: &str) -> Report {
    let there = |scenario: &&Scenario| brokers.of(scenario.profile()).is_some();
    let chosen: Vec<&Scenario> = chosen(filter).into_iter().filter(there).collect();
    let mut happened = vec![false; recorded.intended.len()];
    let mut outcomes = Vec::new();
    for (scenario, milena, took) in perform(brokers, &chosen) {
        let kafka = recorded.transcripts.iter().find(|(name, _)| name == scenario.name);
        let mut differences = kafka.map(|(_, kafka)| compare(kafka, &milena)).unwrap_or_default();
        let all = differences.len();
        differences.retain(|difference| {
            let entry = recorded.intended.iter().position(|entry| entry.covers(scenario.name, difference));
            entry.inspect(|at| happened[*at] = true).is_none()
        });
        let intended = all - differences.len();
        outcomes.push(Outcome { scenario, differences, intended, unrecorded: kafka.is_none(), took });
    }
    let played = |entry: &Intended| {
        let mut about = scenarios::all().filter(|scenario| entry.is_about(scenario.name));
        about.all(|scenario| chosen.iter().any(|chosen| chosen.name == scenario.name))
    };
    let unseen = recorded.intended.iter().zip(happened).filter(|(entry, happened)| !happened && played(entry));
    Report { outcomes, vanished: unseen.map(|(entry, _)| entry.clone()).collect() }
}

/// Starts a Kafka, plays the scenarios whose name contains `filter`, and writes their transcripts down. Answers how
/// many.
///
/// # Errors
/// When there is no Kafka, or a file cannot be written.
pub fn record(filter: &str) -> Result<usize, OracleError> {
    let jars = Jars::fetch()?;
    let head = format!("# Apache Kafka {KAFKA_VERSION}\n# kafka_2.13-{KAFKA_VERSION}.jar sha256 {}\n", jars.sha256()?);
    let chosen = chosen(filter);
    let (_oracles, brokers) = oracles(&jars, filter)?;
    for (scenario, transcript, _) in perform(&brokers, &chosen) {
        let file = transcript_file(scenario.name);
        let text = format!("{head}# {scenario}\n{transcript}");
        let folder = file.parent().expect("a transcript lies in a folder");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| OracleError::Io { doing: format!("writing {}", file.display()), error })?;
    }
    Ok(chosen.len())
}

/// The scenarios whose name contains `filter`.
fn chosen(filter: &str) -> Vec<&'static Scenario> {
    scenarios::all().filter(|scenario| scenario.name.contains(filter)).collect()
}

/// A fresh Kafka for each profile that the scenarios with `filter` in their names need, and where they listen. They run
/// until the first value is dropped.
///
/// # Errors
/// When Kafka does not start.
pub fn oracles(jars: &Jars, filter: &str) -> Result<(Vec<Oracle>, Brokers), OracleError> {
    let mut brokers = Brokers::default();
    let mut oracles = Vec::new();
    for profile in Profile::ALL {
        if chosen(filter).iter().all(|scenario| scenario.profile() != profile) {
            continue;
        }
        let oracle = Oracle::start(jars, profile)?;
        brokers = brokers.with(profile, oracle.address());
        oracles.push(oracle);
    }
    Ok((oracles, brokers))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn transcript_file(scenario: &str) -> PathBuf {
    root().join("transcripts").join(format!("{scenario}.txt"))
}

/// Plays the scenarios, several at a time; the results come in the order of the table.
fn perform<'a>(brokers: &Brokers, chosen: &[&'a Scenario]) -> Vec<(&'a Scenario, Transcript, Duration)> {
    let (first, mut rest): (Vec<&Scenario>, Vec<_>) = chosen.iter().partition(|scenario| scenario.plays_first());
    let timed = |scenario: &'a Scenario| {
        let started = Instant::now();
        let broker = brokers.of(scenario.profile()).expect("scenarios without a broker are not chosen");
        (scenario, play(broker, scenario), started.elapsed())
    };
    let mut played: Vec<_> = first.into_iter().map(timed).collect();
    for broker in brokers.all() {
        scenarios::settle(&mut Exchange::begin(broker, "settle.".to_owned()));
    }
    // Those that wait for long begin first, so that nobody waits for them in the end.
    rest.sort_by_key(|scenario| scenario.profile() != Profile::Timed);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(scenario) = rest.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = timed(scenario);
                    done.lock().expect("no worker panics").push(result);
                }
            });
        }
    });
    played.extend(done.into_inner().expect("no worker panics"));
    played.sort_by_key(|(scenario, ..)| scenarios::all().position(|known| known.name == scenario.name));
    played
}

/// One scenario. It may index answers as it likes: an answer that is too short for it breaks it off, which stands
/// in the transcript.
fn play(broker: SocketAddr, scenario: &Scenario) -> Transcript {
    let mut exchange = Exchange::begin(broker, scenario.prefix());
    let whole = catch_unwind(AssertUnwindSafe(|| (scenario.play)(&mut exchange)));
    if whole.is_err() {
        exchange.note("the scenario cannot go on with these answers");
    }
    exchange.into_transcript()
}
