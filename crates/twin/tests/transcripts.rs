//! What is recorded, held against what should be: no broker is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use milena_protocol::ApiKey;
use milena_twin::oracle::KAFKA_VERSION;
use milena_twin::{Recorded, scenarios};

/// What a single node serves to clients.
const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::DescribeTopicPartitions,
];

#[test]
fn every_api_is_answered_at_its_oldest_and_its_newest_version() {
    let recorded = Recorded::load();
    let steps = recorded.transcripts.iter().flat_map(|(_, transcript)| &transcript.steps);
    let answered: BTreeSet<(&str, &str)> = steps
        .filter_map(|step| match step.title.split(' ').collect::<Vec<_>>().as_slice() {
            ["<", _, api, version, ..] => Some((*api, *version)),
            _ => None,
        })
        .collect();
    for api in SERVED {
        for version in [api.oldest(), api.newest()] {
            let version = format!("v{version}");
            assert!(answered.contains(&(api.name(), version.as_str())), "{} {version} is nowhere", api.name());
        }
    }
}

#[test]
fn every_scenario_is_recorded_and_went_through() {
    let recorded = Recorded::load();
    for scenario in scenarios::all() {
        let found = recorded.transcripts.iter().find(|(name, _)| name == scenario.name);
        let (_, transcript) = found.unwrap_or_else(|| panic!("{} is not recorded", scenario.name));
        for step in &transcript.steps {
            assert!(!step.title.starts_with('!'), "{}: {}", scenario.name, step.title);
            assert!(!step.title.ends_with("no answer"), "{}: {}", scenario.name, step.title);
        }
    }
}

#[test]
fn every_transcript_names_its_kafka_and_belongs_to_a_scenario() {
    let names: BTreeSet<PathBuf> = scenarios::all().map(|scenario| format!("{}.txt", scenario.name).into()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut jars = BTreeSet::new();
    for area in fs::read_dir(&root).expect("the transcripts are there") {
        for file in fs::read_dir(area.expect("readable").path()).expect("areas are folders") {
            let path = file.expect("readable").path();
            assert!(names.contains(path.strip_prefix(&root).expect("below")), "{} is nobody's", path.display());
            let text = fs::read_to_string(&path).expect("readable");
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some(format!("# Apache Kafka {KAFKA_VERSION}").as_str()), "{}", path.display());
            let jar = lines.next().and_then(|line| line.split_once(" sha256 ")).expect("the jar's checksum");
            jars.insert(jar.1.to_owned());
        }
    }
    assert_eq!(jars.len(), 1, "all from one jar: {jars:?}");
}

/// What cannot be seen from outside of a single node that runs on: the log is loaded within milliseconds.
const WITHOUT_SCENARIO: &[u16] = &[129];

#[test]
fn every_trap_of_groups_has_a_scenario() {
    let covered: BTreeSet<u16> = scenarios::all().flat_map(|scenario| scenario.traps).copied().collect();
    for trap in [24, 25].into_iter().chain(106..=126).chain([128]).chain(130..=139) {
        assert!(covered.contains(&trap) || WITHOUT_SCENARIO.contains(&trap), "trap {trap}");
    }
}

#[test]
fn every_trap_that_a_scenario_names_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("traps.txt");
    let text = fs::read_to_string(path).expect("the list of traps is there");
    let explained: BTreeSet<u16> = text.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect();
    for scenario in scenarios::all() {
        for trap in scenario.traps {
            assert!(explained.contains(trap), "{}: trap {trap} is not in traps.txt", scenario.name);
        }
        let named = scenario.name.split_once("/trap_").map(|(_, name)| name.split_once('_').expect("a name").0);
        if let Some(number) = named {
            assert!(scenario.traps.iter().any(|trap| trap.to_string() == number), "{} is about it", scenario.name);
        }
    }
}

#[test]
fn every_intended_difference_speaks_of_a_scenario_and_gives_its_reason() {
    for entry in Recorded::load().intended {
        assert!(scenarios::all().any(|scenario| entry.is_about(scenario.name)), "{} is no scenario", entry.scenario);
        assert!(entry.reason.len() > 10, "{}: a reason, please", entry.scenario);
    }
}
