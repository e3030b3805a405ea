//! The table of scenarios, one file for each area. The traps are those of `traps.txt`.

mod administration;
mod api_versions;
mod client_quotas;
mod configs;
mod connection;
mod consumer_group_commits;
mod consumer_group_traps;
mod consumer_group_words;
mod consumer_groups;
mod delete_records;
mod exhausted_epochs;
mod fetch;
mod first;
mod former;
mod group_generations;
mod group_instances;
mod group_migration;
mod group_traps;
mod groups;
mod list_offsets;
mod markers;
mod metadata;
mod offset_traps;
mod offsets;
mod produce;
mod producer_ids;
mod raised;
mod requests;
mod telemetry;
mod timed;
mod timed_logs;
mod topics;
mod transactional_ids;
mod transactions;

use std::fmt;

use crate::exchange::Exchange;
use crate::profile::Profile;

/// Questions to a broker that belong together.
#[derive(Debug)]
pub struct Scenario {
    /// Area and name; also the place of the transcript.
    pub name: &'static str,
    /// What it is about, in one sentence.
    pub shows: &'static str,
    /// The traps that it covers.
    pub traps: &'static [u16],
    /// Asks.
    pub play: fn(&mut Exchange),
}

impl Scenario {
    /// What the names of its topics and groups begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}.", self.name.replace(['/', '_'], "-"))
    }

    /// The broker that it is played on.
    pub fn profile(&self) -> Profile {
        let is_one_of = |scenarios: &[Scenario]| scenarios.iter().any(|scenario| scenario.name == self.name);
        if [timed::SCENARIOS, timed_logs::SCENARIOS, telemetry::WITHOUT_RECEIVER].into_iter().any(is_one_of) {
            Profile::Timed
        } else if is_one_of(telemetry::SCENARIOS) {
            Profile::Telemetry
        } else if is_one_of(former::SCENARIOS) {
            Profile::Former
        } else if is_one_of(raised::SCENARIOS) {
            Profile::Raised
        } else {
            Profile::Usual
        }
    }

    /// Whether it is played alone before the others: it is about a broker that nobody has asked anything yet, or would
    /// disturb others of its kind.
    pub(crate) fn plays_first(&self) -> bool {
        first::SCENARIOS.iter().chain(telemetry::SCENARIOS).any(|first| first.name == self.name)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.shows)?;
        let traps: Vec<String> = self.traps.iter().map(u16::to_string).collect();
        match traps.as_slice() {
            [] => Ok(()),
            [trap] => write!(f, " (trap {trap})"),
            _ => write!(f, " (traps {})", traps.join(", ")),
        }
    }
}

const AREAS: &[&[Scenario]] = &[
    first::SCENARIOS,
    connection::SCENARIOS,
    api_versions::SCENARIOS,
    metadata::SCENARIOS,
    administration::SCENARIOS,
    topics::SCENARIOS,
    client_quotas::SCENARIOS,
    configs::SCENARIOS,
    produce::SCENARIOS,
    producer_ids::SCENARIOS,
    fetch::SCENARIOS,
    list_offsets::SCENARIOS,
    delete_records::SCENARIOS,
    groups::SCENARIOS,
    group_traps::SCENARIOS,
    offsets::SCENARIOS,
    offset_traps::SCENARIOS,
    timed::SCENARIOS,
    timed_logs::SCENARIOS,
    former::SCENARIOS,
    raised::SCENARIOS,
    markers::SCENARIOS,
    transactions::SCENARIOS,
    consumer_groups::SCENARIOS,
    consumer_group_traps::SCENARIOS,
    transactional_ids::SCENARIOS,
    group_migration::SCENARIOS,
    consumer_group_commits::SCENARIOS,
    consumer_group_words::SCENARIOS,
    exhausted_epochs::SCENARIOS,
    group_generations::SCENARIOS,
    group_instances::SCENARIOS,
    telemetry::SCENARIOS,
    telemetry::WITHOUT_RECEIVER,
];

/// Every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    AREAS.iter().flat_map(|area| area.iter())
}

/// Waits until the broker is ready for everything that is not about its first moments.
pub(crate) fn settle(x: &mut Exchange) {
    first::settle(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_scenarios_share_a_name_or_a_prefix() {
        let mut prefixes: Vec<String> = all().map(Scenario::prefix).collect();
        let count = prefixes.len();
        prefixes.sort();
        prefixes.dedup();
        assert_eq!(prefixes.len(), count);
    }
}
