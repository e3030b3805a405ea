//! The task that sends a producer's batches: one batch per partition and one request per leader in each round.
//!
//! ```text
//!   accumulator ──ready──► by leader ──Produce──► answers ──► resolved, put back, or a new producer id
//! ```
//! When a batch is given up after it had a sequence, the broker would refuse those behind it. Then nothing more is
//! sent until all that is in flight has come back, a fresh producer id is asked for, and sequences begin at 0 again.
//! In a transaction the identity is its owner's to ask for, and a batch that is given up costs the whole transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_base::Millis;
use milena_protocol::messages::{
    InitProducerIdRequest, ProduceRequest, ProduceResponse, produce_request, produce_response,
};
use milena_protocol::records::BatchOptions;
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, Message, NodeId, Offset, ProducerEpoch, ProducerId, TopicPartition, Uuid};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::batch::{Batch, Identity};
use super::delivery::Appended;
use super::{Acks, Shared};
use crate::Error;
use crate::cluster::{Lane, Topics};
use crate::task::outcome;
use crate::transaction::{CONCURRENT_PAUSE, Step};
use crate::transport::TransportError;

/// Runs until the producer is closed and everything has an outcome.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender {
        identity: None,
        must_restart: false,
        stale: BTreeSet::new(),
        in_flight: BTreeMap::new(),
        answers: JoinSet::new(),
        paused_until: Instant::now(),
        shared,
    };
    while !sender.shared.accumulator().is_done() {
        sender.expire();
        sender.send_ready().await;
        sender.wait().await;
    }
}

/// A request that came back: its batches, and what was answered.
struct Answer {
    node: NodeId,
    batches: Vec<(Uuid, Batch)>,
    result: Result<ProduceResponse, TransportError>,
}

struct Sender {
    shared: Arc<Shared>,
    identity: Option<Identity>,
    /// A sequence was lost: a fresh identity is due.
    must_restart: bool,
    /// Topics whose leaders have to be asked for.
    stale: BTreeSet<String>,
    /// Requests under way, by broker.
    in_flight: BTreeMap<NodeId, usize>,
    answers: JoinSet<Answer>,
    /// No metadata or identity is asked for before.
    paused_until: Instant,
}

impl Sender {
    /// Sends every batch that may leave now.
    async fn send_ready(&mut self) {
        if !self.is_prepared().await {
            return;
        }
        for (node, partitions) in self.ready_by_leader() {
            let batches = self.take(&partitions);
            if !batches.is_empty() {
                self.send(node, batches).await;
            }
        }
    }

    /// Makes sure that leaders and identity are known; answers false where that has to wait.
    async fn is_prepared(&mut self) -> bool {
        if !self.shared.accumulator().has_waiting() || !self.follow_transaction() {
            return false;
        }
        if Instant::now() < self.paused_until {
            return false;
        }
        if !self.stale.is_empty() {
            let names: Vec<String> = self.stale.iter().cloned().collect();
            match self.shared.cluster.refresh(Topics::Named(&names)).await {
                Ok(_) => self.stale.clear(),
                Err(error) => return self.pause(&error),
            }
        }
        if self.must_restart && self.shared.accumulator().has_in_flight() {
            return false;
        }
        if self.identity.is_some() && !self.must_restart {
            return true;
        }
        match self.ask_identity().await {
            Ok(identity) => {
                self.shared.accumulator().restart_sequences();
                self.identity = Some(identity);
                self.must_restart = false;
                true
            }
            Err(error) if error.is_retriable() => self.pause(&error),
            Err(error) => {
                let waiting = self.shared.accumulator().take_all();
                waiting.into_iter().for_each(|batch| self.resolve(batch, Err(error.clone())));
                false
            }
        }
    }

    /// Takes the transaction's identity over. Without an open transaction what waits is given up; then it answers false.
    fn follow_transaction(&mut self) -> bool {
        let Some(transaction) = self.shared.transaction.clone() else { return true };
        let (open, identity) = {
            let state = transaction.state();
            (state.check_open(), state.identity())
        };
        match open {
            Ok(()) if self.identity != Some(identity) => {
                // A transaction ends after its last answer, so nothing has a sequence of the former identity.
                self.shared.accumulator().restart_sequences();
                self.identity = Some(identity);
                true
            }
            Ok(()) => true,
            Err(error) => {
                let waiting = self.shared.accumulator().take_all();
                waiting.into_iter().for_each(|batch| self.give_up(batch, error.clone()));
                false
            }
        }
    }

    /// Nothing can be sent for a moment. Answers false, for its caller to pass on.
    fn pause(&mut self, error: &Error) -> bool {
        tracing::debug!(%error, "the producer waits");
        self.paused_until = Instant::now() + self.shared.cluster.settings().retry_backoff;
        false
    }

    async fn ask_identity(&self) -> Result<Identity, Error> {
        if !self.shared.settings.is_idempotent {
            return Ok(Identity::NONE);
        }
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: ProducerId::NONE.0,
            producer_epoch: ProducerEpoch::NONE.0,
        };
        let answer = self.shared.cluster.any().await?.call(&request).await?;
        Error::check(answer.error_code, || "a producer id".to_owned())?;
        Ok(Identity { id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) })
    }

    /// Ready partitions, grouped by leader, without those of busy brokers. One without a leader makes its topic stale.
    fn ready_by_leader(&mut self) -> BTreeMap<NodeId, Vec<(Uuid, TopicPartition)>> {
        let in_flight_max = self.shared.settings.requests_in_flight_max;
        let view = self.shared.cluster.view();
        let mut by_leader: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        for partition in self.shared.accumulator().ready(Instant::now(), in_flight_max) {
            let leader = view.topics.get(&partition.topic).and_then(|topic| topic.leader(partition.partition).ok());
            match leader {
                None => drop(self.stale.insert(partition.topic)),
                Some(leader) if self.in_flight.get(&leader.node).copied().unwrap_or(0) >= in_flight_max => {}
                Some(leader) => by_leader.entry(leader.node).or_default().push((leader.topic_id, partition)),
            }
        }
        if !self.stale.is_empty() {
            self.paused_until = Instant::now() + self.shared.cluster.settings().retry_backoff;
        }
        by_leader
    }

    fn take(&mut self, partitions: &[(Uuid, TopicPartition)]) -> Vec<(Uuid, Batch)> {
        let is_idempotent = self.shared.settings.is_idempotent;
        let mut accumulator = self.shared.accumulator();
        let taken =
            partitions.iter().filter_map(|(id, partition)| Some((*id, accumulator.take(partition, is_idempotent)?)));
        taken.collect()
    }

    /// Encodes and sends one request. Its answer comes through [`Sender::wait`].
    async fn send(&mut self, node: NodeId, batches: Vec<(Uuid, Batch)>) {
        let settings = &self.shared.settings;
        let identity = self.identity.unwrap_or(Identity::NONE);
        let mut request = ProduceRequest {
            acks: match settings.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            timeout_ms: i32::try_from(settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
            transactional_id: self.shared.transaction.as_ref().map(|scope| scope.transactional_id().to_owned()),
            ..Default::default()
        };
        let options = BatchOptions {
            codec: settings.codec,
            level: settings.codec_level,
            is_transactional: self.shared.transaction.is_some(),
            ..BatchOptions::default()
        };
        let mut sent = Vec::with_capacity(batches.len());
        for (topic_id, mut batch) in batches {
            match batch.encode(&options, identity) {
                Ok(bytes) => {
                    put_batch(&mut request, topic_id, &batch.partition, bytes);
                    sent.push((topic_id, batch));
                }
                Err(error) => self.give_up(batch, error),
            }
        }
        if self.shared.settings.acks == Acks::None {
            self.send_unanswered(node, &request, sent).await;
            return;
        }
        let limit = self.shared.cluster.settings().connection.request_timeout;
        // From version 12 on a request adds its partitions to the transaction.
        let newest = self.shared.transaction.as_ref().map(|scope| scope.newest::<ProduceRequest>(12));
        let newest = newest.unwrap_or(ProduceRequest::NEWEST);
        let reply = async {
            let connection = self.shared.cluster.connection(node, Lane::Requests).await?;
            connection.send_up_to(&request, newest).await.map_err(Error::from)
        };
        match reply.await {
            Ok(reply) => {
                *self.in_flight.entry(node).or_default() += 1;
                self.answers.spawn(async move { Answer { node, batches: sent, result: reply.within(limit).await } });
            }
            Err(error) => sent.into_iter().for_each(|(_, batch)| self.retry_or_give_up(batch, error.clone())),
        }
    }

    async fn send_unanswered(&mut self, node: NodeId, request: &ProduceRequest, sent: Vec<(Uuid, Batch)>) {
        let connection = self.shared.cluster.connection(node, Lane::Requests).await;
        let result = match connection {
            Ok(connection) => connection.send_unanswered(request).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        for (_, batch) in sent {
            match &result {
                Ok(()) => self.resolve(batch, Ok(Appended { base_offset: Offset::NONE, append_time: None })),
                Err(error) => self.retry_or_give_up(batch, error.clone()),
            }
        }
    }

    /// Waits for whichever comes first: an answer, new records, or the time of a batch.
    async fn wait(&mut self) {
        let due = self.shared.accumulator().next_due(self.shared.settings.requests_in_flight_max);
        let due = due.map(|due| due.max(self.paused_until));
        let shared = Arc::clone(&self.shared);
        let is_blocked = self.is_blocked();
        tokio::select! {
            biased;
            Some(joined) = self.answers.join_next() => self.settle(outcome(joined).await),
            () = shared.wake.notified() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !is_blocked => {}
        }
    }

    /// Whether only an answer can change anything: every broker is busy, or a restart waits for what is in flight.
    fn is_blocked(&self) -> bool {
        let in_flight_max = self.shared.settings.requests_in_flight_max;
        let is_busy = self.in_flight.values().any(|count| *count >= in_flight_max);
        !self.answers.is_empty() && (self.must_restart || is_busy)
    }

    fn settle(&mut self, answer: Answer) {
        if let Some(count) = self.in_flight.get_mut(&answer.node) {
            *count -= 1;
        }
        let response = match answer.result {
            Ok(response) => response,
            Err(error) => {
                let batches = answer.batches.into_iter();
                batches.for_each(|(_, batch)| self.retry_or_give_up(batch, error.clone().into()));
                return;
            }
        };
        for (topic_id, batch) in answer.batches {
            match find(&response, topic_id, &batch.partition) {
                Some(found) => self.settle_batch(batch, found),
                None => {
                    let what = format!("partition {}", batch.partition);
                    self.retry_or_give_up(batch, Error::Missing { what });
                }
            }
        }
    }

    fn settle_batch(&mut self, batch: Batch, answer: &produce_response::PartitionProduceResponse) {
        let error = match ErrorCode::from_number(answer.error_code) {
            ErrorCode::None => {
                let append_time = Some(Millis(answer.log_append_time_ms)).filter(|time| *time != Millis::NONE);
                return self.resolve(batch, Ok(Appended { base_offset: Offset(answer.base_offset), append_time }));
            }
            // The record is there; only its place is forgotten (trap 43 says that no broker sends it any more).
            ErrorCode::DuplicateSequenceNumber => {
                return self.resolve(batch, Ok(Appended { base_offset: Offset::NONE, append_time: None }));
            }
            code => Error::Refused {
                what: format!("partition {}", batch.partition),
                code,
                message: refusal_message(answer),
            },
        };
        self.retry_or_give_up(batch, error);
    }

    /// Sends a batch again if that can help. A sequence that the broker did not expect can, while an earlier batch
    /// is to be sent again or the producer is about to begin anew.
    fn retry_or_give_up(&mut self, batch: Batch, error: Error) {
        let comes_too_early = error.code() == Some(ErrorCode::OutOfOrderSequenceNumber)
            && (self.must_restart || self.shared.accumulator().has_earlier(&batch));
        if !comes_too_early && !error.is_retriable() {
            return self.give_up(batch, error);
        }
        tracing::debug!(partition = %batch.partition, attempts = batch.attempts, %error, "sending a batch again");
        let settings = self.shared.cluster.settings();
        let first = match error.code() {
            // The former transaction is still being ended; the leader is the right one.
            Some(ErrorCode::ConcurrentTransactions) => CONCURRENT_PAUSE,
            _ => {
                self.stale.insert(batch.partition.topic.clone());
                settings.retry_backoff
            }
        };
        let doubled = first.saturating_mul(1 << batch.attempts.min(10));
        let not_before = Instant::now() + doubled.min(settings.retry_backoff_max);
        self.shared.accumulator().put_back(batch, not_before);
    }

    /// A batch that had a sequence leaves a hole.
    fn give_up(&mut self, batch: Batch, error: Error) {
        let leaves_hole = batch.sequence.is_some();
        let error = match &self.shared.transaction {
            None => {
                self.must_restart |= leaves_hole;
                error
            }
            Some(transaction) => {
                let mut state = transaction.state();
                if leaves_hole {
                    state.note_lost_sequence();
                }
                state.fail(Step::Produce, error)
            }
        };
        self.resolve(batch, Err(error));
    }

    fn resolve(&self, batch: Batch, result: Result<Appended, Error>) {
        batch.resolve(result);
        let oldest = self.shared.accumulator().resolved(&batch);
        self.shared.memory.add_permits(batch.reserved_bytes);
        self.shared.unresolved.send_replace(oldest);
    }

    fn expire(&mut self) {
        let after = self.shared.settings.delivery_timeout;
        let expired = self.shared.accumulator().take_expired(Instant::now());
        for batch in expired {
            let last = Box::new(Error::Missing { what: format!("partition {}", batch.partition) });
            self.give_up(batch, Error::Deadline { after, last });
        }
    }
}

/// Adds a batch to the request, beside others of its topic.
fn put_batch(request: &mut ProduceRequest, topic_id: Uuid, partition: &TopicPartition, bytes: bytes::Bytes) {
    let data = produce_request::PartitionProduceData { index: partition.partition, records: Records::Bytes(bytes) };
    match request.topic_data.last_mut().filter(|topic| topic.name == partition.topic) {
        Some(topic) => topic.partition_data.push(data),
        None => request.topic_data.push(produce_request::TopicProduceData {
            name: partition.topic.clone(),
            topic_id,
            partition_data: vec![data],
        }),
    }
}

/// What the answer says about a partition. Topics are named, or identified from version 13 on.
fn find<'a>(
    response: &'a ProduceResponse,
    topic_id: Uuid,
    partition: &TopicPartition,
) -> Option<&'a produce_response::PartitionProduceResponse> {
    let is_it = |topic: &&produce_response::TopicProduceResponse| match topic.name.is_empty() {
        true => topic.topic_id == topic_id,
        false => topic.name == partition.topic,
    };
    let topic = response.responses.iter().find(is_it)?;
    topic.partition_responses.iter().find(|found| found.index == partition.partition)
}

/// The broker's words, those about a single record first.
fn refusal_message(answer: &produce_response::PartitionProduceResponse) -> Option<String> {
    let record = answer.record_errors.iter().find_map(|error| {
        let message = error.batch_index_error_message.as_ref()?;
        Some(format!("record {} of the batch: {message}", error.batch_index))
    });
    record.or_else(|| answer.error_message.clone())
}
