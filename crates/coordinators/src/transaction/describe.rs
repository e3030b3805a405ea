//! DescribeTransactions.
//!
//! Source: `TransactionCoordinator.handleDescribeTransactions`.

use std::collections::BTreeSet;

use milena_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use milena_protocol::{ErrorCode, TopicPartition};

use super::request::described_error;
use super::state::{State, Transaction};
use crate::weight::{ARRAY, text};

/// An id without its text and partitions: error, name of the state, timeout, start, producer, tags.
const ID: usize = 2 + 32 + 4 + 8 + 8 + 2 + ARRAY + 1;

/// What [`describe`] takes on the wire: bytes in the version that takes most, and a few more.
pub(super) fn weigh(id: &str, partitions: Option<&BTreeSet<TopicPartition>>) -> usize {
    let mut last = None;
    let topics = partitions.into_iter().flatten().map(|TopicPartition { topic, .. }| {
        let is_new = last.replace(topic) != Some(topic);
        4 + if is_new { text(topic) + ARRAY + 1 } else { 0 }
    });
    ID + text(id) + topics.sum::<usize>()
}

/// One transactional id. `partitions` are those of its transaction that have no marker yet.
pub(super) fn describe(id: &str, is: Option<(&Transaction, &BTreeSet<TopicPartition>)>) -> TransactionState {
    if id.is_empty() {
        return described_error(id, ErrorCode::InvalidRequest);
    }
    let Some((is, partitions)) = is.filter(|(is, _)| is.state != State::Dead) else {
        return described_error(id, ErrorCode::TransactionalIdNotFound);
    };
    let mut topics: Vec<TopicData> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        match topics.last_mut().filter(|last| last.topic == *topic) {
            Some(last) => last.partitions.push(*partition),
            None => topics.push(TopicData { topic: topic.clone(), partitions: vec![*partition] }),
        }
    }
    TransactionState {
        error_code: 0,
        transactional_id: id.to_owned(),
        transaction_state: is.state.name().to_owned(),
        transaction_timeout_ms: is.timeout_ms,
        transaction_start_time_ms: is.started_at.0,
        producer_id: is.producer_id.0,
        producer_epoch: is.producer_epoch.0,
        topics,
    }
}
