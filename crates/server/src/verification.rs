//! What a partition's leader asks of a transaction's coordinator before it lets a transaction begin (KIP-890): whether
//! the partitions belong to it, or, for producers whose epoch rises with each transaction, that they are added.
//!
//! Source: `AddPartitionsToTxnManager`, `ReplicaManager.handleProduceAppend`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use milena_coordinators::transaction::{Participation, Request, Response};
use milena_protocol::{ApiKey, ErrorCode, ProducerEpoch, ProducerId, TopicPartition};
use tokio::time::{Instant, sleep};

use crate::node::Node;
use crate::world::World;

/// First version of Produce and of TxnOffsetCommit whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE: (i16, i16) = (11, 4);
/// First version of Produce and of TxnOffsetCommit that adds to the transaction by itself (transaction version 2).
const ADDING: (i16, i16) = (12, 5);

/// What a client's version allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Verify; an abortable transaction is told as INVALID_TXN_STATE.
    Verify,
    /// Verify, for clients that know TRANSACTION_ABORTABLE.
    VerifyAbortable,
    /// Add to the transaction.
    Add,
}

impl Operation {
    /// Of a Produce request.
    pub fn of_produce(version: i16) -> Operation {
        Operation::by(version, ABORTABLE.0, ADDING.0)
    }

    /// Of a TxnOffsetCommit request.
    pub fn of_offsets(version: i16) -> Operation {
        Operation::by(version, ABORTABLE.1, ADDING.1)
    }

    fn by(version: i16, abortable: i16, adding: i16) -> Operation {
        match version {
            _ if version >= adding => Operation::Add,
            _ if version >= abortable => Operation::VerifyAbortable,
            _ => Operation::Verify,
        }
    }

    /// Whether the producer's epoch rises with each transaction.
    pub fn bumps_epoch(self) -> bool {
        self == Operation::Add
    }
}

/// The transaction that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its transactional id.
    pub id: String,
    /// Who writes in it.
    pub producer_id: ProducerId,
    /// In which epoch.
    pub producer_epoch: ProducerEpoch,
}

/// The partitions that may not be written, and why.
pub type Refusals = BTreeMap<TopicPartition, ErrorCode>;

/// How the coordinator is asked.
#[derive(Debug, Clone, Copy)]
pub struct VerificationSettings {
    /// `add.partitions.to.txn.retry.backoff.ms`: the pause before a coordinator that ends the last transaction is
    /// asked again.
    pub backoff: Duration,
    /// `add.partitions.to.txn.retry.backoff.max.ms`: how long it is asked again.
    pub backoff_max: Duration,
}

/// Asks the coordinator of a transaction. A partition that it does not refuse may be written.
pub async fn ask<W: World>(
    node: &Arc<Node<W>>,
    transaction: &Transaction,
    partitions: &BTreeSet<TopicPartition>,
    operation: Operation,
) -> Refusals {
    let claimed = Participation {
        transactional_id: transaction.id.clone(),
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
        partitions: partitions.clone(),
    };
    let request = match operation {
        Operation::Add => Request::AddPartitions { added: claimed, client_level: 2 },
        Operation::Verify | Operation::VerifyAbortable => Request::Verify(claimed),
    };
    let version = ApiKey::AddPartitionsToTxn.newest();
    let codes = match node.transactions.ask_id(node, &transaction.id, version, request).await {
        Response::Added(error) => partitions.iter().map(|partition| (partition.clone(), error)).collect(),
        Response::Verified(codes) => codes,
        other => unreachable!("the shard answered {other:?}"),
    };
    refusals(codes, operation)
}

/// Asks as for records: while the last transaction of a producer that adds by producing ends, the coordinator is asked
/// again. To have the request sent again would take far longer.
pub async fn ask_patiently<W: World>(
    node: &Arc<Node<W>>,
    transaction: &Transaction,
    partitions: &BTreeSet<TopicPartition>,
    operation: Operation,
) -> Refusals {
    let settings = node.settings.verification;
    let until = Instant::now() + settings.backoff_max.min(node.settings.request_timeout);
    loop {
        let refused = ask(node, transaction, partitions, operation).await;
        let is_busy = refused.values().any(|error| *error == ErrorCode::ConcurrentTransactions);
        if operation != Operation::Add || !is_busy || Instant::now() >= until {
            return refused;
        }
        sleep(settings.backoff).await;
    }
}

/// The coordinator's words as a leader understands them.
fn refusals(codes: Vec<(TopicPartition, ErrorCode)>, operation: Operation) -> Refusals {
    let told = |error| match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if operation == Operation::Verify => ErrorCode::InvalidTxnState,
        error => error,
    };
    let refused = codes.into_iter().filter(|(_, error)| *error != ErrorCode::None);
    refused.map(|(partition, error)| (partition, told(error))).collect()
}

/// What the producer of a batch is told of a refusal (trap 50): what it may not know how to try again becomes
/// NOT_ENOUGH_REPLICAS, which needs no new metadata.
pub fn of_produce(error: ErrorCode, operation: Operation) -> ErrorCode {
    match error {
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        // Common while the last transaction ends, and known to those who add by producing.
        ErrorCode::ConcurrentTransactions if operation != Operation::Add => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_verify_and_new_ones_add() {
        let of = [3, 10, 11, 12, 13].map(Operation::of_produce);
        let (verify, abortable, add) = (Operation::Verify, Operation::VerifyAbortable, Operation::Add);
        assert_eq!(of, [verify, verify, abortable, add, add]);
        assert_eq!([3, 4, 5].map(Operation::of_offsets), [verify, abortable, add]);
    }

    #[test]
    fn only_what_the_coordinator_refuses_is_refused_in_the_clients_words() {
        let [first, second] = [0, 1].map(|index| TopicPartition::new("a", index));
        let of =
            |error, operation| refusals(vec![(first.clone(), ErrorCode::None), (second.clone(), error)], operation);
        let refused = |error| BTreeMap::from([(second.clone(), error)]);
        let (abortable, invalid) = (ErrorCode::TransactionAbortable, ErrorCode::InvalidTxnState);
        assert_eq!(of(abortable, Operation::Verify), refused(invalid));
        assert_eq!(of(abortable, Operation::VerifyAbortable), refused(abortable));
        assert_eq!(of(ErrorCode::ProducerFenced, Operation::Add), refused(ErrorCode::InvalidProducerEpoch));
        assert_eq!(of(ErrorCode::None, Operation::Add), Refusals::new());
    }

    #[test]
    fn trap_50_a_coordinator_that_is_busy_makes_the_producer_try_again() {
        for error in [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator] {
            assert_eq!(of_produce(error, Operation::Add), ErrorCode::NotEnoughReplicas);
        }
        let busy = ErrorCode::ConcurrentTransactions;
        assert_eq!(of_produce(busy, Operation::Verify), ErrorCode::NotEnoughReplicas);
        assert_eq!(of_produce(busy, Operation::Add), busy);
    }
}
