//! Produce: one batch per partition, appended and answered.
//!
//! Source: `KafkaApis.handleProduceRequest`, `ReplicaManager.appendRecords`.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_partition::{AppendError, Appended, begins_transactional};
use milena_protocol::messages::produce_request::PartitionProduceData;
use milena_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use milena_protocol::messages::{ProduceRequest, ProduceResponse};
use milena_protocol::wire::Records;
use milena_protocol::{ApiKey, ErrorCode, Offset, Uuid};
use tokio::time::Instant;

use crate::api::metadata::View;
use crate::dispatch::{Call, Outcome, Progress};
use crate::durability::Durability;
use crate::partitions::{Refused, Replica, Written};
use crate::world::World;
use milena_metadata::topic_name::is_internal;

/// First version that names topics by id.
const BY_ID: i16 = 13;
/// First version that may be told who leads (KIP-951).
const LEADER_HINTS: i16 = 10;
/// The client id that may write to internal topics (trap 52).
const ADMIN_CLIENT: &str = "__admin_client";

/// What is to be appended, by topic and partition. A partition that stands twice in a request is appended to and
/// answered once: what came last counts.
type Asked = BTreeMap<(String, Uuid), BTreeMap<i32, PartitionProduceData>>;

/// Appends what is sent. The answer, unless the producer wants none, follows when everything is as durable as promised.
pub async fn produce<W: World>(call: &Call<'_, W>, request: ProduceRequest) -> Progress<W::Disk> {
    let started = Instant::now();
    let acks = request.acks;
    let mut asked = Asked::new();
    for topic in request.topic_data.into_iter().filter(|topic| !topic.partition_data.is_empty()) {
        let partitions = asked.entry((topic.name, topic.topic_id)).or_default();
        partitions.extend(topic.partition_data.into_iter().map(|data| (data.index, data)));
    }
    let (mut response, promises) = match check_first_batches(&asked, request.transactional_id.is_some()) {
        Ok(()) => append_all(call, asked, acks).await,
        Err((error, message)) => (refused_request(asked, error, message.as_deref()), Vec::new()),
    };
    if call.version() >= LEADER_HINTS {
        add_leader_hints(call, &mut response);
    }
    let (node, header) = (Arc::clone(call.node), call.answer_header());
    let finish = move |response: &ProduceResponse| {
        node.metrics.answered(ApiKey::Produce, started.elapsed());
        if acks == 0 { silence(response) } else { header.answer(response, Vec::new()) }
    };
    if promises.is_empty() {
        return Progress::Done(finish(&response));
    }
    Progress::Appended(Box::pin(async move {
        keep_all(&mut response, promises).await;
        finish(&response)
    }))
}

/// A partition of the answer that holds only if its records become durable.
struct Promise {
    /// Place of the topic in the answer.
    topic: usize,
    /// Place of the partition in the topic.
    partition: usize,
    durability: Durability,
}

/// Waits for every promise; the flushes behind them run side by side. One that is broken becomes an error.
async fn keep_all(response: &mut ProduceResponse, promises: Vec<Promise>) {
    for Promise { topic, partition, durability } in promises {
        if let Err(refused) = durability.wait().await {
            let answer = &mut response.responses[topic].partition_responses[partition];
            *answer = failed(answer.index, refused.code());
        }
    }
}

/// Trap 49: a request with a batch of a transaction needs a transactional id. To know that, Kafka looks at the first
/// batch of each partition, and where that is none, the whole request fails.
fn check_first_batches(asked: &Asked, has_transactional_id: bool) -> Result<(), (ErrorCode, Option<String>)> {
    for data in asked.values().flat_map(BTreeMap::values) {
        let Records::Bytes(bytes) = &data.records else { continue };
        match begins_transactional(bytes) {
            Ok(true) if has_transactional_id => return Ok(()),
            Ok(true) => return Err((ErrorCode::TransactionalIdAuthorizationFailed, None)),
            Ok(false) => {}
            Err(invalid) => {
                return Err((invalid.code, Some(format!("no batch begins the records of partition {}", data.index))));
            }
        }
    }
    Ok(())
}

async fn append_all<W: World>(call: &Call<'_, W>, asked: Asked, acks: i16) -> (ProduceResponse, Vec<Promise>) {
    let mut response = ProduceResponse::default();
    let mut promises = Vec::new();
    for ((name, topic_id), partitions) in asked {
        let found = named(call, &name, topic_id);
        let mut answers = Vec::with_capacity(partitions.len());
        for data in partitions.into_values() {
            let (answer, durability) = append(call, found.as_deref(), data, acks).await;
            let (topic, partition) = (response.responses.len(), answers.len());
            promises.extend(durability.map(|durability| Promise { topic, partition, durability }));
            answers.push(answer);
        }
        response.responses.push(TopicProduceResponse { name, topic_id, partition_responses: answers });
    }
    (response, promises)
}

fn refused_request(asked: Asked, error: ErrorCode, message: Option<&str>) -> ProduceResponse {
    let answer =
        |index: i32| PartitionProduceResponse { error_message: message.map(str::to_owned), ..failed(index, error) };
    let responses = asked.into_iter().map(|((name, topic_id), partitions)| TopicProduceResponse {
        name,
        topic_id,
        partition_responses: partitions.into_keys().map(answer).collect(),
    });
    ProduceResponse { responses: responses.collect(), ..Default::default() }
}

/// The topic's name; from version 13 on it must be found by its id.
fn named<W: World>(call: &Call<'_, W>, name: &str, id: Uuid) -> Option<String> {
    match call.version() >= BY_ID {
        true => call.node.partitions.topic_by_id(id).map(|hosted| hosted.name.clone()),
        false => Some(name.to_owned()),
    }
}

/// Trap 29: nobody reads an answer with acks=0; an error is told by closing the connection.
fn silence<D: milena_base::Disk>(response: &ProduceResponse) -> Outcome<D> {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match answers.find(|answer| answer.error_code != 0) {
        None => Outcome::Silence,
        Some(failed) => {
            let error = ErrorCode::from_number(failed.error_code);
            Outcome::Close(format!("produce with acks=0 failed: {error}"))
        }
    }
}

async fn append<W: World>(
    call: &Call<'_, W>,
    topic: Option<&str>,
    data: PartitionProduceData,
    acks: i16,
) -> (PartitionProduceResponse, Option<Durability>) {
    let answer = |error: ErrorCode| (failed(data.index, error), None);
    let Some(topic) = topic else { return answer(ErrorCode::UnknownTopicId) };
    let Some(replica) = call.node.partitions.replica(topic, data.index) else {
        return answer(ErrorCode::UnknownTopicOrPartition);
    };
    let Records::Bytes(bytes) = data.records else { return answer(ErrorCode::InvalidRecord) };
    if !(-1..=1).contains(&acks) {
        return answer(ErrorCode::InvalidRequiredAcks);
    }
    if is_internal(topic) && call.header.client_id.as_deref() != Some(ADMIN_CLIENT) {
        return answer(ErrorCode::InvalidTopicException);
    }
    let size_bytes = bytes.len() as u64;
    match replica.append(&call.node.world, bytes, call.version()).await {
        Ok(Written { appended, durability }) => {
            call.node.metrics.appended_bytes.inc_by(size_bytes);
            call.node.metrics.appended_batches.inc();
            (succeeded(data.index, &appended), durability)
        }
        Err(refused) => (refused_answer(data.index, &refused, &replica), None),
    }
}

fn succeeded(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time.0,
        log_start_offset: appended.log_start.0,
        ..answer_of(index)
    }
}

fn failed(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse { error_code: error.number(), ..answer_of(index) }
}

fn answer_of(index: i32) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: Offset::NONE.0,
        log_append_time_ms: Millis::NONE.0,
        log_start_offset: Offset::NONE.0,
        ..Default::default()
    }
}

fn refused_answer<D: milena_base::Disk>(
    index: i32,
    refused: &Refused,
    replica: &Arc<Replica<D>>,
) -> PartitionProduceResponse {
    let mut answer = failed(index, refused.code());
    match refused {
        Refused::Invalid(invalid) => {
            answer.error_message.clone_from(&invalid.message);
            answer.record_errors = invalid
                .record_errors
                .iter()
                .map(|record| BatchIndexAndErrorMessage {
                    batch_index: record.index,
                    batch_index_error_message: Some(record.message.clone()),
                })
                .collect();
            if invalid.with_log_start {
                answer.log_start_offset = replica.marks().map_or(Offset::NONE, |marks| marks.log_start).0;
            }
        }
        Refused::UnverifiedTransaction => answer.error_message = Some(refused.to_string()),
        // The errors that Kafka expects; what it does not expect has the log start, but never a message.
        Refused::Append(AppendError::NotLeader | AppendError::LargerThanSegment { .. } | AppendError::Disk(_)) => {}
        Refused::Append(_) => {
            answer.log_start_offset = replica.marks().map_or(Offset::NONE, |marks| marks.log_start).0;
        }
        Refused::Offline => {}
    }
    answer
}

/// Trap 56: a producer that asked the wrong node is told the right one.
fn add_leader_hints<W: World>(call: &Call<'_, W>, response: &mut ProduceResponse) {
    let image = call.node.image();
    let view = View { image: &image, listener: &call.peer.listener, version: call.version() };
    for topic in &mut response.responses {
        for answer in &mut topic.partition_responses {
            if answer.error_code == ErrorCode::NotLeaderOrFollower.number() {
                hint(&image, &view, &topic.name, topic.topic_id, answer, &mut response.node_endpoints);
            }
        }
    }
}

fn hint(
    image: &Image,
    view: &View<'_>,
    name: &str,
    id: Uuid,
    answer: &mut PartitionProduceResponse,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let topic = if id == Uuid::ZERO { image.topic(name) } else { image.topic_by_id(id) };
    let Some(partition) = topic.and_then(|topic| topic.partitions.get(&answer.index)) else { return };
    answer.current_leader = LeaderIdAndEpoch { leader_id: partition.leader.0, leader_epoch: partition.leader_epoch.0 };
    let Some(broker) = image.broker(partition.leader) else { return };
    let Some((host, port)) = view.address(broker) else { return };
    if endpoints.iter().all(|endpoint| endpoint.node_id != broker.id.0) {
        endpoints.push(NodeEndpoint { node_id: broker.id.0, host, port, rack: broker.rack.clone() });
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use milena_protocol::records::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(is_transactional: bool) -> Bytes {
        let mut builder = BatchBuilder::new();
        builder.add(Millis(0), None, Some(b"a"), &[]);
        builder.build(&BatchOptions { is_transactional, ..BatchOptions::default() }).expect("not compressed")
    }

    fn asked(partitions: &[Bytes]) -> Asked {
        let data = |(index, bytes): (i32, &Bytes)| {
            (index, PartitionProduceData { index, records: Records::Bytes(bytes.clone()) })
        };
        Asked::from([(("t".to_owned(), Uuid::ZERO), (0..).zip(partitions).map(data).collect())])
    }

    #[test]
    fn one_transactional_batch_refuses_the_whole_request_unless_it_names_its_transaction() {
        let mixed = asked(&[batch(false), batch(true)]);
        assert_eq!(check_first_batches(&mixed, false), Err((ErrorCode::TransactionalIdAuthorizationFailed, None)),);
        assert_eq!(check_first_batches(&mixed, true), Ok(()));
        assert_eq!(check_first_batches(&asked(&[batch(false)]), false), Ok(()));
    }

    #[test]
    fn one_partition_that_begins_with_no_batch_refuses_the_whole_request() {
        let mut damaged = BytesMut::from(&batch(false)[..]);
        damaged[8..12].copy_from_slice(&1i32.to_be_bytes());
        let (error, message) = check_first_batches(&asked(&[batch(false), damaged.freeze()]), false).unwrap_err();
        assert_eq!(error, ErrorCode::CorruptMessage);
        assert!(message.is_some_and(|message| message.ends_with("partition 1")));
    }
}
