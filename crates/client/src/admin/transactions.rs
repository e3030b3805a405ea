//! Transactions: those that coordinators know, the producers that leaders remember, and what is left open by mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_base::Millis;
use milena_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest, WriteTxnMarkersRequest,
    describe_producers_request, describe_producers_response, describe_transactions_response, write_txn_markers_request,
};
use milena_protocol::{ErrorCode, NodeId, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};

use super::Admin;
use crate::Error;
use crate::cluster::{Lane, Topics};
use crate::transaction::Scope;

/// Which transactions to list; an empty filter lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Kafka's words for states: `Ongoing`, `PrepareCommit`, ...
    pub states: Vec<String>,
    /// Producers.
    pub producer_ids: Vec<ProducerId>,
    /// Only what has been open for longer (KIP-994).
    pub longer_than: Option<Millis>,
    /// A regular expression that the whole transactional id has to match (KIP-1152).
    pub id_pattern: Option<String>,
}

/// A transactional id in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// Its producer.
    pub producer_id: ProducerId,
    /// Kafka's word for its state.
    pub state: String,
}

/// A transactional id and its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The id.
    pub transactional_id: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Kafka's word for its state.
    pub state: String,
    /// How long a transaction may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// When the present transaction began; `None` without one.
    pub started: Option<Millis>,
    /// The partitions that belong to it.
    pub partitions: BTreeSet<TopicPartition>,
}

/// A producer that a partition's leader remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence of its last record; [`Sequence::NONE`] where only a marker is remembered.
    pub last_sequence: Sequence,
    /// The timestamp of its last record.
    pub last_timestamp: Millis,
    /// The epoch of the coordinator that wrote its last marker; `None` before the first.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins; `None` without one.
    pub open_since: Option<Offset>,
}

/// A transaction that is open in a partition and that no coordinator will end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HangingTransaction {
    /// Where it is open.
    pub partition: TopicPartition,
    /// Its producer there.
    pub producer: PartitionProducer,
}

impl Admin {
    /// The transactional ids of all coordinators. Errors if a broker does not know one of the states, or cannot filter
    /// as asked.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<TransactionListing>, Error> {
        let request = ListTransactionsRequest {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.iter().map(|id| id.0).collect(),
            duration_filter: filter.longer_than.map_or(-1, |longer_than| longer_than.0),
            transactional_id_pattern: filter.id_pattern.clone(),
        };
        let view = self.retried(|| self.cluster.refresh(Topics::Named(&[]))).await?;
        let mut listed = BTreeMap::new();
        for node in view.brokers.keys() {
            let answer = self
                .retried(|| async {
                    let answer = self.cluster.connection(*node, Lane::Requests).await?.call(&request).await?;
                    Error::check(answer.error_code, || format!("the transactions of broker {node}"))?;
                    Ok(answer)
                })
                .await?;
            if let Some(unknown) = answer.unknown_state_filters.first() {
                let what = format!("state \"{unknown}\" of transactions");
                return Err(Error::Refused { what, code: ErrorCode::InvalidRequest, message: None });
            }
            for found in answer.transaction_states {
                let listing = TransactionListing {
                    transactional_id: found.transactional_id.clone(),
                    coordinator: *node,
                    producer_id: ProducerId(found.producer_id),
                    state: found.transaction_state,
                };
                listed.insert(found.transactional_id, listing);
            }
        }
        Ok(listed.into_values().collect())
    }

    /// What the coordinator knows of a transactional id. Errors with TRANSACTIONAL_ID_NOT_FOUND if that is nothing.
    pub async fn describe_transaction(&self, transactional_id: &str) -> Result<TransactionDescription, Error> {
        let request = DescribeTransactionsRequest { transactional_ids: vec![transactional_id.to_owned()] };
        let mut retry = self.cluster.retry();
        loop {
            let attempt = async {
                let coordinator = self.cluster.transaction_coordinator(transactional_id).await?;
                let answer = coordinator.call(&request).await?;
                let what = || format!("transactional id \"{transactional_id}\"");
                let found =
                    answer.transaction_states.into_iter().next().ok_or_else(|| Error::Missing { what: what() })?;
                Error::check(found.error_code, what)?;
                let view = self.cluster.view();
                let is_it = |node: &&NodeId| view.brokers[*node].address == *coordinator.address();
                let node = view.brokers.keys().find(is_it).copied().unwrap_or(NodeId::NONE);
                Ok(description(node, found))
            };
            match attempt.await {
                Ok(description) => return Ok(description),
                Err(error) => {
                    self.cluster.forget_transaction_coordinator(transactional_id);
                    retry.again(error).await?;
                }
            }
        }
    }

    /// The producers that a partition's leader remembers, or another broker that holds a replica.
    pub async fn describe_producers(
        &self,
        partition: &TopicPartition,
        broker: Option<NodeId>,
    ) -> Result<Vec<PartitionProducer>, Error> {
        let request = DescribeProducersRequest {
            topics: vec![describe_producers_request::TopicRequest {
                name: partition.topic.clone(),
                partition_indexes: vec![partition.partition],
            }],
        };
        if let Some(broker) = broker {
            self.check_broker(broker).await?;
        }
        self.retried_in(partition, async || {
            let node = match broker {
                Some(broker) => broker,
                None => self.cluster.leader(partition).await?.node,
            };
            let answer = self.cluster.connection(node, Lane::Requests).await?.call(&request).await?;
            let what = || format!("partition {partition}");
            let result = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
            let result = result.ok_or_else(|| Error::Missing { what: what() })?;
            Error::check_with(result.error_code, result.error_message.as_deref(), what)?;
            Ok(result.active_producers.into_iter().map(producer).collect())
        })
        .await
    }

    /// Aborts what a producer has open in one partition, past its coordinator: only for transactions that no
    /// coordinator will end ([`Admin::find_hanging`]).
    pub async fn abort_open(&self, partition: &TopicPartition, producer: &PartitionProducer) -> Result<(), Error> {
        let epoch = i16::try_from(producer.producer_epoch).map_err(|_| Error::Misuse("the epoch is no producer's"))?;
        let request = WriteTxnMarkersRequest {
            markers: vec![write_txn_markers_request::WritableTxnMarker {
                producer_id: producer.producer_id.0,
                producer_epoch: epoch,
                transaction_result: false,
                topics: vec![write_txn_markers_request::WritableTxnMarkerTopic {
                    name: partition.topic.clone(),
                    partition_indexes: vec![partition.partition],
                }],
                coordinator_epoch: producer.coordinator_epoch.unwrap_or(0).max(0),
                transaction_version: 0,
            }],
        };
        self.retried_in(partition, async || {
            let leader = self.cluster.leader(partition).await?;
            let answer = self.cluster.connection(leader.node, Lane::Requests).await?.call(&request).await?;
            let results = answer.markers.into_iter().flat_map(|marker| marker.topics);
            let result = results.flat_map(|topic| topic.partitions).next();
            let what = || format!("the abort of producer {} in partition {partition}", producer.producer_id);
            let result = result.ok_or_else(|| Error::Missing { what: what() })?;
            Error::check(result.error_code, what)
        })
        .await
    }

    /// Takes a transactional id over and lets it go again: its producer is fenced, and what it had open is aborted when
    /// this returns.
    pub async fn terminate_transaction(&self, transactional_id: &str) -> Result<(), Error> {
        Scope::open(&self.cluster, transactional_id, TERMINATION_TIMEOUT).await.map(drop)
    }

    /// Transactions that are open in these partitions for longer than any may be, and that no coordinator will end
    /// (KIP-664). `now` and `longer_than` are held against the timestamps of the producers' last records.
    pub async fn find_hanging(
        &self,
        partitions: &[TopicPartition],
        broker: Option<NodeId>,
        now: Millis,
        longer_than: Millis,
    ) -> Result<Vec<HangingTransaction>, Error> {
        let mut suspects = Vec::new();
        for partition in partitions {
            let producers = self.describe_producers(partition, broker).await?.into_iter();
            let overdue = producers.filter(|producer| {
                producer.open_since.is_some() && now.0.saturating_sub(producer.last_timestamp.0) >= longer_than.0
            });
            suspects.extend(overdue.map(|producer| HangingTransaction { partition: partition.clone(), producer }));
        }
        if suspects.is_empty() {
            return Ok(suspects);
        }
        let producer_ids: BTreeSet<ProducerId> = suspects.iter().map(|suspect| suspect.producer.producer_id).collect();
        let filter =
            TransactionFilter { producer_ids: producer_ids.into_iter().collect(), ..TransactionFilter::default() };
        let mut known = BTreeMap::new();
        for listing in self.list_transactions(&filter).await? {
            match self.describe_transaction(&listing.transactional_id).await {
                Ok(description) => known.insert(listing.producer_id, description),
                // It is gone since it was listed.
                Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => None,
                Err(error) => return Err(error),
            };
        }
        suspects.retain(|suspect| is_hanging(suspect, known.get(&suspect.producer.producer_id)));
        Ok(suspects)
    }

    /// Tries again where that can help, at whoever leads the partition by then.
    async fn retried_in<T>(
        &self,
        partition: &TopicPartition,
        mut attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut retry = self.cluster.retry();
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => retry.again(error).await?,
            }
            self.cluster.refresh(Topics::Named(std::slice::from_ref(&partition.topic))).await?;
        }
    }
}

/// Whether nobody will end what is open: the producer has no transactional id, or its transaction does not hold the
/// partition.
fn is_hanging(suspect: &HangingTransaction, known: Option<&TransactionDescription>) -> bool {
    known.is_none_or(|description| !description.partitions.contains(&suspect.partition))
}

fn description(node: NodeId, found: describe_transactions_response::TransactionState) -> TransactionDescription {
    let partitions = found.topics.into_iter().flat_map(|topic| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
    });
    TransactionDescription {
        transactional_id: found.transactional_id,
        coordinator: node,
        producer_id: ProducerId(found.producer_id),
        producer_epoch: ProducerEpoch(found.producer_epoch),
        state: found.transaction_state,
        timeout_ms: found.transaction_timeout_ms,
        started: Some(Millis(found.transaction_start_time_ms)).filter(|time| time.0 >= 0),
        partitions: partitions.collect(),
    }
}

fn producer(found: describe_producers_response::ProducerState) -> PartitionProducer {
    PartitionProducer {
        producer_id: ProducerId(found.producer_id),
        producer_epoch: found.producer_epoch,
        last_sequence: Sequence(found.last_sequence),
        last_timestamp: Millis(found.last_timestamp),
        coordinator_epoch: Some(found.coordinator_epoch).filter(|epoch| *epoch >= 0),
        open_since: Some(Offset(found.current_txn_start_offset)).filter(|offset| offset.0 >= 0),
    }
}

/// The id keeps this timeout until its next producer says another; no transaction is begun with it.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect() -> HangingTransaction {
        let state = describe_producers_response::ProducerState {
            producer_id: 7,
            current_txn_start_offset: 3,
            coordinator_epoch: -1,
            ..Default::default()
        };
        HangingTransaction { partition: TopicPartition::new("t", 1), producer: producer(state) }
    }

    fn transaction(partitions: Vec<i32>) -> TransactionDescription {
        let topics = vec![describe_transactions_response::TopicData { topic: "t".to_owned(), partitions }];
        description(NodeId(1), describe_transactions_response::TransactionState { topics, ..Default::default() })
    }

    #[test]
    fn what_no_coordinator_holds_is_hanging() {
        assert!(is_hanging(&suspect(), None), "the producer has no transactional id any more");
        assert!(is_hanging(&suspect(), Some(&transaction(vec![0]))), "its transaction is another one");
        assert!(!is_hanging(&suspect(), Some(&transaction(vec![0, 1]))), "its coordinator will end it");
    }

    #[test]
    fn values_that_are_not_there_are_none() {
        assert_eq!((suspect().producer.coordinator_epoch, suspect().producer.open_since), (None, Some(Offset(3))));
    }
}
