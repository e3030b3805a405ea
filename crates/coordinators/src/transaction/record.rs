//! The records of `__transaction_state`, byte for byte as Kafka 4.3.1 writes them; a partition's place among the
//! others of its topic is chance there, and sorted here.
//!
//! ```text
//!   key    ┌──────────┬──────────────────────┐     value  ┌─────────────┬───────────────────────┐
//!          │ type i16 │ transactional id     │            │ version i16 │ TransactionLogValue   │   or none
//!          └──────────┴──────────────────────┘            └─────────────┴───────────────────────┘
//! ```
//!
//! Version 0 has no room for the former and the next producer id: it is written while `transaction.version` is 0.
//!
//! Source: `TransactionLog`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use milena_base::Millis;
use milena_protocol::messages::transaction_log_value::PartitionsSchema;
use milena_protocol::messages::{TransactionLogKey, TransactionLogValue};
use milena_protocol::wire::{DecodeError, Decoder};
use milena_protocol::{Message, ProducerEpoch, ProducerId, TopicPartition};

use super::state::{State, Transaction};
use crate::CoordinatorRecord;

/// Texts in records have a 16-bit length. Requests with longer ones never reach a record (see `request`), and
/// replay refuses them.
pub(super) const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// The only type of record.
const TRANSACTION: i16 = 0;
/// The newest version of its value.
const NEWEST: i16 = 1;

/// Why a record cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a transaction has no state {0}")]
    State(i8),
}

/// A record taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parsed {
    /// A transactional id and what is known of it; `None` where it is forgotten.
    Transaction(String, Option<Transaction>),
    /// A type or version that this machine does not know.
    Unknown,
}

/// A transactional id, as the finalized `level` of `transaction.version` has it written.
pub(super) fn transaction(id: &str, is: &Transaction, level: i8) -> CoordinatorRecord {
    let version = i16::from(level >= 1);
    let is_newest = version == NEWEST;
    let known = |id: ProducerId| if is_newest { id.0 } else { ProducerId::NONE.0 };
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &is.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topics =
        topics.into_iter().map(|(topic, partition_ids)| PartitionsSchema { topic: topic.to_owned(), partition_ids });
    let value = TransactionLogValue {
        producer_id: is.producer_id.0,
        previous_producer_id: known(is.previous_producer_id),
        next_producer_id: known(is.next_producer_id),
        producer_epoch: is.producer_epoch.0,
        transaction_timeout_ms: is.timeout_ms,
        transaction_status: is.state.number(),
        transaction_partitions: (is.state != State::Empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: is.updated_at.0,
        transaction_start_timestamp_ms: is.started_at.0,
        client_transaction_version: if is_newest { i16::from(is.client_level) } else { 0 },
        ..Default::default()
    };
    CoordinatorRecord { value: Some(prefixed(version, &value, version)), ..tombstone(id) }
}

/// The end of a transactional id.
pub(super) fn tombstone(id: &str) -> CoordinatorRecord {
    let key = TransactionLogKey { transactional_id: id.to_owned() };
    CoordinatorRecord { key: prefixed(TRANSACTION, &key, 0), value: None }
}

fn prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Bytes {
    let body = message.to_bytes(version).expect("texts of records are bounded");
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(prefix);
    bytes.put_slice(&body);
    bytes.freeze()
}

/// Takes a record apart.
pub(super) fn parse(record: &CoordinatorRecord) -> Result<Parsed, Damage> {
    let mut key = Decoder::new(record.key.clone());
    if key.i16()? != TRANSACTION {
        return Ok(Parsed::Unknown);
    }
    let id = TransactionLogKey::decode(&mut key, 0)?.transactional_id;
    bounded(&id)?;
    let Some(value) = &record.value else { return Ok(Parsed::Transaction(id, None)) };
    let mut value = Decoder::new(value.clone());
    let version = value.i16()?;
    if !(0..=NEWEST).contains(&version) {
        return Ok(Parsed::Unknown);
    }
    let value = TransactionLogValue::decode(&mut value, version)?;
    Ok(Parsed::Transaction(id, Some(of_value(value)?)))
}

fn of_value(value: TransactionLogValue) -> Result<Transaction, Damage> {
    let state = State::from_number(value.transaction_status);
    let state = state.ok_or(Damage::State(value.transaction_status))?;
    let mut partitions = BTreeSet::new();
    // Kafka looks at no partitions of an id without a transaction.
    let topics = value.transaction_partitions.filter(|_| state != State::Empty);
    for topic in topics.into_iter().flatten() {
        bounded(&topic.topic)?;
        let of_topic = topic.partition_ids.iter().map(|index| TopicPartition::new(topic.topic.as_str(), *index));
        partitions.extend(of_topic);
    }
    Ok(Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        producer_epoch: ProducerEpoch(value.producer_epoch),
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        started_at: Millis(value.transaction_start_timestamp_ms),
        updated_at: Millis(value.transaction_last_update_timestamp_ms),
        client_level: i8::try_from(value.client_transaction_version).unwrap_or(i8::MAX),
    })
}

/// Bytes that are not UTF-8 grow when they are read; such a text could not be written again.
fn bounded(text: &str) -> Result<(), DecodeError> {
    if text.len() > TEXT_BYTES_MAX { Err(DecodeError::Length(text.len() as i64)) } else { Ok(()) }
}
