//! Ids of idempotent producers: InitProducerId without a transactional id.

use milena_protocol::messages::InitProducerIdRequest;

use super::Scenario;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "producer_ids/every_version",
        shows: "each version gives an id that was never given, with epoch 0",
        traps: &[],
        play: every_version,
    },
    Scenario {
        name: "producer_ids/refused",
        shows: "a claimed id without an epoch and the other way round, an empty transactional id",
        traps: &[],
        play: refused,
    },
];

/// An id that no broker gives out during a run.
const FAR_OFF: i64 = 1 << 40;

fn without_transactions() -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    }
}

fn every_version(x: &mut Exchange) {
    for version in 0..=5 {
        x.ask(version, &without_transactions());
        x.ask(version, &InitProducerIdRequest { transaction_timeout_ms: 0, ..without_transactions() });
    }
}

fn refused(x: &mut Exchange) {
    for version in [3, 5] {
        for (producer_id, producer_epoch) in [(FAR_OFF, -1), (-1, 7), (FAR_OFF, 7), (-2, -2)] {
            x.ask(version, &InitProducerIdRequest { producer_id, producer_epoch, ..without_transactions() });
        }
    }
    for version in [0, 5] {
        x.ask(version, &InitProducerIdRequest { transactional_id: Some(String::new()), ..without_transactions() });
    }
    x.ask(5, &InitProducerIdRequest { transaction_timeout_ms: -1, ..without_transactions() });
}
