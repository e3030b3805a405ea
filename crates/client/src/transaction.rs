//! Transactions: records in many partitions, and a group's offsets, that readers of committed records see all or not at
//! all (KIP-98, KIP-447, KIP-890).
//!
//! ```text
//!   TransactionalProducer::open ──► begin ──► send, send_offsets ──► commit or abort ──► begin ..
//! ```
//! A failure that costs only the transaction is an [`Error::TransactionFailed`]: it is aborted, and the next one can begin.
//! After an [`Error::ProducerFailed`] this producer is of no use any more: another one took its transactional id over, or
//! nobody knows what became of the last transaction. Opening another producer with the same id settles that.

mod scope;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::{Offset, TopicPartition};

pub(crate) use scope::{CONCURRENT_PAUSE, Scope};
pub(crate) use state::Step;

use crate::admin::Committer;
use crate::producer::Delivery;
use crate::{Cluster, Error, ProducedRecord, Producer, ProducerSettings};

/// How a transactional producer behaves. The names in brackets are Kafka's.
#[derive(Debug, Clone)]
pub struct TransactionSettings {
    /// Who it is, over restarts: the newest producer with an id fences the others (`transactional.id`).
    pub transactional_id: String,
    /// How long a transaction may stay open before its coordinator aborts it (`transaction.timeout.ms`). Brokers bound it
    /// with `transaction.max.timeout.ms`.
    pub timeout: Duration,
    /// How records are sent; idempotence and the acknowledgement of all in-sync replicas are required.
    pub producer: ProducerSettings,
}

impl TransactionSettings {
    /// Kafka's defaults.
    pub fn new(transactional_id: impl Into<String>) -> TransactionSettings {
        TransactionSettings {
            transactional_id: transactional_id.into(),
            timeout: Duration::from_secs(60),
            producer: ProducerSettings::default(),
        }
    }
}

/// Sends records in transactions, one after the other.
pub struct TransactionalProducer {
    producer: Producer,
    scope: Arc<Scope>,
}

impl TransactionalProducer {
    /// Takes the transactional id over. Waits until what its former owner left open has ended.
    pub async fn open(cluster: &Cluster, settings: TransactionSettings) -> Result<TransactionalProducer, Error> {
        if !settings.producer.is_idempotent {
            return Err(Error::Misuse("a transactional producer has to be idempotent"));
        }
        settings.producer.check()?;
        let scope = Arc::new(Scope::open(cluster, &settings.transactional_id, settings.timeout).await?);
        let producer = Producer::open_in(cluster, settings.producer, Some(Arc::clone(&scope)))?;
        Ok(TransactionalProducer { producer, scope })
    }

    /// Who it is.
    pub fn transactional_id(&self) -> &str {
        self.scope.transactional_id()
    }

    /// Begins a transaction. One that was dropped, rather than committed or aborted, is aborted first.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        let is_unfinished = self.scope.state().is_unfinished();
        if is_unfinished {
            self.abort().await?;
        }
        self.scope.state().begin()?;
        Ok(Transaction { owner: self })
    }

    async fn abort(&mut self) -> Result<(), Error> {
        self.scope.state().start_abort()?;
        self.producer.flush().await;
        self.scope.end(false).await
    }

    /// Ends what is open by aborting it.
    pub async fn close(mut self) -> Result<(), Error> {
        let is_unfinished = self.scope.state().is_unfinished();
        let aborted = if is_unfinished { self.abort().await } else { Ok(()) };
        self.producer.close().await;
        aborted
    }
}

/// An open transaction. Dropping it leaves it to the next [`TransactionalProducer::begin`], or to the coordinator's
/// patience, to abort it.
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    owner: &'a mut TransactionalProducer,
}

impl Transaction<'_> {
    /// Takes a record in, as [`Producer::send`] does. That it was delivered does not say that it was committed.
    pub async fn send(&self, record: ProducedRecord) -> Result<Delivery, Error> {
        self.owner.producer.send(record).await
    }

    /// Stores offsets of a group if the transaction commits: each that of the next record to be read.
    /// [`crate::Consumer::committer`] says as whom, so that a member that was left behind is refused (KIP-447).
    pub async fn send_offsets(
        &self,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.owner.scope.commit_offsets(committer, offsets).await
    }

    /// Waits for every record's delivery and commits. If one was not delivered, or anything else went wrong before, the
    /// transaction is aborted and that failure told.
    pub async fn commit(self) -> Result<(), Error> {
        self.owner.producer.flush().await;
        let failed = self.owner.scope.state().check_open();
        let outcome = match failed {
            Ok(()) => self.owner.scope.end(true).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure @ Error::TransactionFailed { .. }) = outcome {
            self.owner.abort().await?;
            return Err(failure);
        }
        outcome
    }

    /// Gives up what was not sent yet, and takes back what was.
    pub async fn abort(self) -> Result<(), Error> {
        self.owner.abort().await
    }
}
