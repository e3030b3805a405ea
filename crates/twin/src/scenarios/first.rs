//! What a broker answers before it has internal topics. Played one after another, before everything else.

use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use milena_protocol::messages::{FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, ListGroupsRequest};

use super::Scenario;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "first/internal_topics",
    shows: "without its topic a coordinator is nowhere; asking for it makes the topic",
    traps: &[24],
    play: internal_topics,
}];

fn internal_topics(x: &mut Exchange) {
    x.ask(4, &HeartbeatRequest { group_id: x.name("g"), generation_id: 1, ..HeartbeatRequest::default() });
    x.ask(5, &ListGroupsRequest::default());
    x.ask(0, &FindCoordinatorRequest { key: x.name("g"), ..FindCoordinatorRequest::default() });
    let group = FindCoordinatorRequest { coordinator_keys: vec![x.name("g")], ..FindCoordinatorRequest::default() };
    x.ask_until(6, &group, |answer| answer.coordinators[0].error_code == 0);
    let metadata = super::requests::metadata_of(&["__consumer_offsets"]);
    x.ask_until(9, &metadata, |answer| answer.topics[0].error_code == 0);
}

/// Asks until every coordinator has loaded what it coordinates.
pub(super) fn settle(x: &mut Exchange) {
    let group = FindCoordinatorRequest { coordinator_keys: vec![x.name("g")], ..FindCoordinatorRequest::default() };
    x.wait_until(6, &group, |answer| answer.coordinators.iter().all(|coordinator| coordinator.error_code == 0));
    // Enough names that every partition of the internal topic has one.
    let named =
        |at: usize| OffsetFetchRequestGroup { group_id: x.name(&format!("g{at}")), topics: None, ..Default::default() };
    let groups = OffsetFetchRequest { groups: (0..20).map(named).collect(), ..OffsetFetchRequest::default() };
    x.wait_until(8, &groups, |answer| answer.groups.iter().all(|group| group.error_code == 0));
    let producer = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    x.wait_until(4, &producer, |answer| answer.error_code == 0);
}
