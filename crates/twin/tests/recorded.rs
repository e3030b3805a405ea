//! Milena, started here with the settings that Kafka was recorded with, is asked everything.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use milena_server::cores::Machine;
use milena_server::{Running, Settings};
use milena_twin::transcript::Step;
use milena_twin::{Brokers, FORMER_CHECKPOINT, Profile, Recorded, replay, replay_against};
use tempfile::TempDir;

/// A node that is stopped and removed when dropped.
struct Broker {
    node: Option<Running<Machine>>,
    /// Its threads end after the node.
    _machine: Arc<Machine>,
    runtime: tokio::runtime::Runtime,
    _directory: TempDir,
}

impl Broker {
    fn start(profile: Profile) -> Broker {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let machine = Machine::start(2).expect("threads");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let settings = settings(profile, directory.path());
        if profile.is_made_formerly() {
            milena_server::startup::format(&*machine, &settings).expect("an empty directory");
            fs::write(directory.path().join("bootstrap.checkpoint"), FORMER_CHECKPOINT).expect("it can be written");
        }
        let started = milena_server::start(Arc::clone(&machine), settings);
        let node = runtime.block_on(started).unwrap_or_else(|error| panic!("{error}"));
        Broker { node: Some(node), _machine: machine, runtime, _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        self.node.as_ref().expect("it runs until it is dropped").addresses()[0]
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
    }
}

fn settings(profile: Profile, directory: &Path) -> Settings {
    let mut file: BTreeMap<String, String> =
        profile.settings().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    file.insert("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0".to_owned());
    file.insert("log.dirs".to_owned(), directory.display().to_string());
    Settings::read(file).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn milena_answers_as_kafka_did() {
    let started: Vec<(Profile, Broker)> = Profile::ALL.map(|profile| (profile, Broker::start(profile))).into();
    let brokers =
        started.iter().fold(Brokers::default(), |all, (profile, broker)| all.with(*profile, broker.address()));
    let report = replay(&brokers, "");
    assert!(report.is_clean(), "\n{report}\nrecorded answers lie in crates/twin/transcripts");
}

#[test]
fn a_planted_wrong_error_code_makes_the_run_fail() {
    const SCENARIO: &str = "produce/acks";
    let mut recorded = Recorded::load();
    let (_, transcript) = recorded.transcripts.iter_mut().find(|(name, _)| name == SCENARIO).expect("it is recorded");
    let answers = |step: &&mut Step| step.title.starts_with('<');
    let mut lines = transcript.steps.iter_mut().filter(answers).flat_map(|step| &mut step.lines);
    let code = lines.find(|(_, value)| value == "21 INVALID_REQUIRED_ACKS").expect("it is about refused acks");
    code.1 = "74 FENCED_LEADER_EPOCH".to_owned();
    let path = code.0.clone();

    let broker = Broker::start(Profile::Usual);
    let brokers = Brokers::default().with(Profile::Usual, broker.address());
    let report = replay_against(&recorded, &brokers, SCENARIO);
    assert!(!report.is_clean());
    let differences = report.outcomes.iter().flat_map(|outcome| &outcome.differences);
    let planted: Vec<_> = differences.filter(|found| found.kafka == "74 FENCED_LEADER_EPOCH").collect();
    assert_eq!(planted.len(), 1, "{report}");
    assert!(planted[0].line.ends_with(&path), "{report}");
}
