//! How transactions are shown: the same values as a line of a table and as an object of JSON.

use milena_base::Millis;
use milena_client::admin::{HangingTransaction, PartitionProducer, TransactionDescription, TransactionListing};
use milena_protocol::{Sequence, TopicPartition};
use serde::Serialize;

use crate::output::Row;

/// What `list` shows of a transactional id.
#[derive(Serialize)]
pub(super) struct ListedRow {
    transactional_id: String,
    coordinator: i32,
    producer_id: i64,
    state: String,
}

impl From<TransactionListing> for ListedRow {
    fn from(listing: TransactionListing) -> ListedRow {
        ListedRow {
            transactional_id: listing.transactional_id,
            coordinator: listing.coordinator.0,
            producer_id: listing.producer_id.0,
            state: listing.state,
        }
    }
}

impl Row for ListedRow {
    const HEADINGS: &'static [&'static str] = &["TRANSACTIONAL-ID", "COORDINATOR", "PRODUCER", "STATE"];

    fn cells(&self) -> Vec<String> {
        let (coordinator, producer) = (self.coordinator.to_string(), self.producer_id.to_string());
        vec![self.transactional_id.clone(), coordinator, producer, self.state.clone()]
    }
}

/// What `describe` shows of one.
#[derive(Serialize)]
pub(super) struct DescribedRow {
    transactional_id: String,
    coordinator: i32,
    producer_id: i64,
    producer_epoch: i16,
    state: String,
    timeout_ms: i32,
    started: Option<i64>,
    duration_ms: Option<i64>,
    partitions: Vec<String>,
}

impl DescribedRow {
    pub(super) fn at(now: Millis, found: TransactionDescription) -> DescribedRow {
        DescribedRow {
            transactional_id: found.transactional_id,
            coordinator: found.coordinator.0,
            producer_id: found.producer_id.0,
            producer_epoch: found.producer_epoch.0,
            timeout_ms: found.timeout_ms,
            started: found.started.map(|started| started.0),
            duration_ms: found.started.filter(|_| is_open(&found.state)).map(|started| now.0 - started.0),
            partitions: found.partitions.iter().map(TopicPartition::to_string).collect(),
            state: found.state,
        }
    }
}

/// Whether readers of committed records still wait for it; afterwards the coordinator remembers when it began, too.
fn is_open(state: &str) -> bool {
    matches!(state, "Ongoing" | "PrepareCommit" | "PrepareAbort" | "PrepareEpochFence")
}

impl Row for DescribedRow {
    const HEADINGS: &'static [&'static str] = &[
        "TRANSACTIONAL-ID",
        "COORDINATOR",
        "PRODUCER",
        "EPOCH",
        "STATE",
        "TIMEOUT-MS",
        "STARTED-MS",
        "OPEN-FOR-MS",
        "PARTITIONS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.transactional_id.clone(),
            self.coordinator.to_string(),
            self.producer_id.to_string(),
            self.producer_epoch.to_string(),
            self.state.clone(),
            self.timeout_ms.to_string(),
            number(self.started),
            number(self.duration_ms),
            if self.partitions.is_empty() { "-".to_owned() } else { self.partitions.join(",") },
        ]
    }
}

/// What `describe-producers` shows of one.
#[derive(Serialize)]
pub(super) struct ProducerRow {
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i32,
    coordinator_epoch: Option<i32>,
    last_sequence: Option<i32>,
    last_timestamp: i64,
    open_since_offset: Option<i64>,
}

impl ProducerRow {
    pub(super) fn new(partition: &TopicPartition, producer: PartitionProducer) -> ProducerRow {
        ProducerRow {
            topic: partition.topic.clone(),
            partition: partition.partition,
            producer_id: producer.producer_id.0,
            producer_epoch: producer.producer_epoch,
            coordinator_epoch: producer.coordinator_epoch,
            last_sequence: Some(producer.last_sequence).filter(|last| *last != Sequence::NONE).map(|last| last.0),
            last_timestamp: producer.last_timestamp.0,
            open_since_offset: producer.open_since.map(|offset| offset.0),
        }
    }
}

impl Row for ProducerRow {
    const HEADINGS: &'static [&'static str] = &[
        "TOPIC",
        "PARTITION",
        "PRODUCER",
        "EPOCH",
        "COORDINATOR-EPOCH",
        "LAST-SEQUENCE",
        "LAST-TIMESTAMP",
        "OPEN-SINCE-OFFSET",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.producer_id.to_string(),
            self.producer_epoch.to_string(),
            number(self.coordinator_epoch),
            number(self.last_sequence),
            self.last_timestamp.to_string(),
            number(self.open_since_offset),
        ]
    }
}

/// What `find-hanging` shows of a transaction.
#[derive(Serialize)]
pub(super) struct HangingRow {
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i32,
    coordinator_epoch: Option<i32>,
    start_offset: i64,
    last_timestamp: i64,
    silent_ms: i64,
}

impl HangingRow {
    pub(super) fn at(now: Millis, hanging: HangingTransaction) -> HangingRow {
        let producer = hanging.producer;
        HangingRow {
            topic: hanging.partition.topic,
            partition: hanging.partition.partition,
            producer_id: producer.producer_id.0,
            producer_epoch: producer.producer_epoch,
            coordinator_epoch: producer.coordinator_epoch,
            start_offset: producer.open_since.map_or(-1, |offset| offset.0),
            last_timestamp: producer.last_timestamp.0,
            silent_ms: now.0 - producer.last_timestamp.0,
        }
    }
}

impl Row for HangingRow {
    const HEADINGS: &'static [&'static str] = &[
        "TOPIC",
        "PARTITION",
        "PRODUCER",
        "EPOCH",
        "COORDINATOR-EPOCH",
        "START-OFFSET",
        "LAST-TIMESTAMP",
        "SILENT-FOR-MS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.producer_id.to_string(),
            self.producer_epoch.to_string(),
            number(self.coordinator_epoch),
            self.start_offset.to_string(),
            self.last_timestamp.to_string(),
            self.silent_ms.to_string(),
        ]
    }
}

/// What was changed, for programs.
#[derive(Serialize)]
pub(super) struct Changed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transactional_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partition: Option<String>,
    pub(super) change: &'static str,
}

fn number<N: ToString>(value: Option<N>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
