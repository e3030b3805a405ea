//! What a transaction asks of its coordinator, and of the coordinators of groups. Shared with the sender of records.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use milena_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest,
    add_partitions_to_txn_request, txn_offset_commit_request,
};
use milena_protocol::{ErrorCode, Message, Offset, ProducerEpoch, ProducerId, Request, TopicPartition};
use tokio::sync::Mutex as AsyncMutex;

use super::state::{Protocol, State, Step};
use crate::admin::{Committer, by_topic};
use crate::cluster::Lane;
use crate::producer::Identity;
use crate::{Cluster, Error};

/// One transactional id at its coordinator.
pub(crate) struct Scope {
    cluster: Cluster,
    transactional_id: String,
    timeout: Duration,
    state: Mutex<State>,
    /// Held while something is named to the coordinator, so that two senders do not name it twice.
    naming: AsyncMutex<()>,
}

impl Scope {
    /// Takes the transactional id over: whoever had it before is fenced, and what it left open is ended.
    pub(crate) async fn open(cluster: &Cluster, transactional_id: &str, timeout: Duration) -> Result<Scope, Error> {
        let nobody = State::new(Protocol::Explicit, Identity::NONE);
        let scope = Scope {
            cluster: cluster.clone(),
            transactional_id: transactional_id.to_owned(),
            timeout,
            state: Mutex::new(nobody),
            naming: AsyncMutex::new(()),
        };
        let identity = scope.ask_identity().await?;
        let protocol = scope.present_protocol().await;
        *scope.state() = State::new(protocol, identity);
        Ok(scope)
    }

    pub(crate) fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest version of a request that means what this transaction's protocol means: from `implicit` on the
    /// request adds to the transaction by itself.
    pub(crate) fn newest<R: Request>(&self, implicit: i16) -> i16 {
        match self.state().protocol() {
            Protocol::Implicit => R::NEWEST,
            Protocol::Explicit => implicit - 1,
        }
    }

    /// Makes sure that records may go to a partition.
    pub(crate) async fn include(&self, partition: &TopicPartition) -> Result<(), Error> {
        self.state().check_open()?;
        if self.state().must_name_partition(partition) {
            let _naming = self.naming.lock().await;
            if self.state().must_name_partition(partition) {
                let named = self.name_partition(partition).await;
                named.map_err(|error| self.state().fail(Step::AddPartition, error))?;
            }
        }
        self.state().note_partition(partition);
        Ok(())
    }

    async fn name_partition(&self, partition: &TopicPartition) -> Result<(), Error> {
        let identity = self.state().identity();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: identity.id.0,
            v3_and_below_producer_epoch: identity.epoch.0,
            v3_and_below_topics: vec![add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                name: partition.topic.clone(),
                partitions: vec![partition.partition],
            }],
            ..Default::default()
        };
        // From version 4 on it is the brokers' among themselves.
        let answered = self.ask(&request, 3, |answer| {
            let results = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
            let result = results.last().ok_or_else(|| Error::Missing { what: format!("partition {partition}") })?;
            Error::check(result.partition_error_code, || format!("partition {partition} in a transaction"))
        });
        answered.await.map(drop)
    }

    /// Stores a group's offsets as a part of the transaction.
    pub(crate) async fn commit_offsets(
        &self,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        self.state().check_open()?;
        if self.state().must_name_group(&committer.group) {
            let _naming = self.naming.lock().await;
            let named = self.name_group(&committer.group).await;
            named.map_err(|error| self.state().fail(Step::AddGroup, error))?;
        }
        self.state().note_group(&committer.group);
        let stored = self.store_offsets(committer, offsets).await;
        stored.map_err(|error| self.state().fail(Step::CommitOffsets, error))
    }

    async fn name_group(&self, group: &str) -> Result<(), Error> {
        let identity = self.state().identity();
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: identity.id.0,
            producer_epoch: identity.epoch.0,
            group_id: group.to_owned(),
        };
        let what = || format!("group \"{group}\" in a transaction");
        self.ask(&request, AddOffsetsToTxnRequest::NEWEST, |answer| Error::check(answer.error_code, what))
            .await
            .map(drop)
    }

    async fn store_offsets(
        &self,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        let identity = self.state().identity();
        let partition =
            |(partition_index, offset): (i32, Offset)| txn_offset_commit_request::TxnOffsetCommitRequestPartition {
                partition_index,
                committed_offset: offset.0,
                committed_metadata: Some(String::new()),
                ..Default::default()
            };
        let topics = by_topic(offsets.iter().map(|(partition, offset)| (partition, *offset))).into_iter();
        let topics = topics.map(|(name, partitions)| txn_offset_commit_request::TxnOffsetCommitRequestTopic {
            name,
            partitions: partitions.into_iter().map(partition).collect(),
        });
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: committer.group.clone(),
            producer_id: identity.id.0,
            producer_epoch: identity.epoch.0,
            generation_id: committer.generation,
            member_id: committer.member_id.clone(),
            group_instance_id: committer.instance_id.clone(),
            topics: topics.collect(),
        };
        let newest = self.newest::<TxnOffsetCommitRequest>(5);
        let mut retry = self.cluster.retry().pausing(CONCURRENT_PAUSE);
        loop {
            let attempt = async {
                let coordinator = self.cluster.coordinator(&committer.group, Lane::Requests).await?;
                let answer = coordinator.call_up_to(&request, newest).await?;
                let results = answer.topics.iter().flat_map(|topic| &topic.partitions);
                results.into_iter().try_for_each(|result| {
                    let what = || format!("offsets of group \"{}\" in a transaction", committer.group);
                    Error::check(result.error_code, what)
                })
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if error.code() != Some(ErrorCode::ConcurrentTransactions) {
                        self.cluster.forget_coordinator(&committer.group);
                    }
                    retry.again(error).await?;
                }
            }
        }
    }

    /// Ends the transaction, after whose last record nothing is under way any more, and gets ready for the next one.
    pub(crate) async fn end(&self, is_committed: bool) -> Result<(), Error> {
        let step = if is_committed { Step::Commit } else { Step::Abort };
        let must_tell = self.state().must_tell_end();
        let next = match must_tell {
            false => None,
            true => self.tell_end(is_committed).await.map_err(|error| self.state().fail(step, error))?,
        };
        let protocol = self.present_protocol().await;
        self.state().ended(next, protocol);
        if self.state().needs_epoch() {
            let renewed = self.ask_identity().await.map_err(|error| self.state().fail(Step::NextEpoch, error));
            match renewed {
                Ok(identity) => self.state().renewed(identity),
                // The end is told; that there is no next transaction is told at its beginning.
                Err(error) => tracing::debug!(%error, "the producer got no further epoch"),
            }
        }
        Ok(())
    }

    /// Answers the identity for the next transaction, if the coordinator gave another.
    async fn tell_end(&self, is_committed: bool) -> Result<Option<Identity>, Error> {
        let identity = self.state().identity();
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: identity.id.0,
            producer_epoch: identity.epoch.0,
            committed: is_committed,
        };
        let newest = self.newest::<EndTxnRequest>(5);
        let what = || format!("the end of a transaction of \"{}\"", self.transactional_id);
        match self.ask(&request, newest, |answer| Error::check(answer.error_code, what)).await {
            Ok(answer) => {
                let next = Identity { id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) };
                Ok(Some(next).filter(|next| next.id != ProducerId::NONE))
            }
            Err(error) if !is_committed && self.state().is_aborted_by(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first identity, or the same one with its next epoch.
    async fn ask_identity(&self) -> Result<Identity, Error> {
        let present = self.state().identity();
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
            producer_id: present.id.0,
            producer_epoch: present.epoch.0,
        };
        let what = || format!("transactional id \"{}\"", self.transactional_id);
        let answer =
            self.ask(&request, InitProducerIdRequest::NEWEST, |answer| Error::check(answer.error_code, what)).await?;
        Ok(Identity { id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) })
    }

    /// The protocol that the coordinator told when its connection was opened; the former one while it is away.
    async fn present_protocol(&self) -> Protocol {
        match self.cluster.transaction_coordinator(&self.transactional_id).await {
            Ok(coordinator) => Protocol::of_level(coordinator.versions().feature_level("transaction.version")),
            Err(_) => self.state().protocol(),
        }
    }

    /// Asks the transaction coordinator, wherever that moves meanwhile, until it no longer says that it will be ready
    /// soon. `check` looks for a refusal in the answer.
    async fn ask<R: Request>(
        &self,
        request: &R,
        newest: i16,
        check: impl Fn(&R::Response) -> Result<(), Error>,
    ) -> Result<R::Response, Error> {
        let mut retry = self.cluster.retry().pausing(CONCURRENT_PAUSE);
        loop {
            let attempt = async {
                let coordinator = self.cluster.transaction_coordinator(&self.transactional_id).await?;
                let answer = coordinator.call_up_to(request, newest).await?;
                check(&answer).map(|()| answer)
            };
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    if error.code() != Some(ErrorCode::ConcurrentTransactions) {
                        self.cluster.forget_transaction_coordinator(&self.transactional_id);
                    }
                    if error.code().is_none() {
                        self.state().note_unanswered();
                    }
                    retry.again(error).await?;
                }
            }
        }
    }
}

/// The first pause where a former transaction is still being ended, which takes a few milliseconds.
pub(crate) const CONCURRENT_PAUSE: Duration = Duration::from_millis(20);
