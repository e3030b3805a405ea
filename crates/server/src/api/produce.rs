//! Produce: one batch per partition, appended and answered.
//!
//! Source: `KafkaApis.handleProduceRequest`, `ReplicaManager.handleProduceAppend`.

mod answers;
mod append;
mod leaders;

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_partition::first_header;
use milena_protocol::messages::produce_request::PartitionProduceData;
use milena_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use milena_protocol::messages::{ProduceRequest, ProduceResponse};
use milena_protocol::records::BatchHeader;
use milena_protocol::wire::Records;
use milena_protocol::{ApiKey, ErrorCode, ProducerEpoch, ProducerId, Uuid};
use tokio::time::Instant;

use self::answers::failed;
use self::append::{Promise, Terms, answers, append_all};
use crate::dispatch::{Call, Outcome, Progress};
use crate::quotas::Measure;
use crate::verification::Transaction;
use crate::world::World;

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
///
/// A client that is over its quota is answered, and then not read for a while: what it sends next is not appended
/// meanwhile, so neither does a promise wait beside it. `size_bytes` is the size of the request without its header.
pub async fn produce<W: World>(call: &Call<'_, W>, request: ProduceRequest, size_bytes: usize) -> Progress<W::Disk> {
    let started = Instant::now();
    let acks = request.acks;
    let mut asked = Asked::new();
    for topic in request.topic_data.into_iter().filter(|topic| !topic.partition_data.is_empty()) {
        let partitions = asked.entry((topic.name, topic.topic_id)).or_default();
        partitions.extend(topic.partition_data.into_iter().map(|data| (data.index, data)));
    }
    let (responses, promises) = match transaction_of(&asked, request.transactional_id) {
        Ok(transaction) => {
            let terms = Terms { acks, transaction: transaction.as_ref() };
            answers(append_all(call, asked, &terms).await)
        }
        Err(refusal) => (refused_request(asked, &refusal), Vec::new()),
    };
    let mut response = ProduceResponse { responses, ..Default::default() };
    if call.version() >= LEADER_HINTS {
        leaders::add_leader_hints(call, &mut response);
    }
    let delay_ms = throttled(call, acks, size_bytes);
    response.throttle_time_ms = i32::try_from(delay_ms).unwrap_or(i32::MAX);
    let (node, header) = (Arc::clone(call.node), call.answer_header());
    let finish = move |response: &ProduceResponse| {
        node.metrics.answered(ApiKey::Produce, started.elapsed());
        if acks == 0 { silence(response) } else { header.answer(response, Vec::new()) }
    };
    if delay_ms > 0 {
        keep_all(&mut response, promises).await;
        call.throttle.delay(delay_ms);
        return Progress::Done(finish(&response));
    }
    if promises.is_empty() {
        return Progress::Done(finish(&response));
    }
    Progress::Appended(Box::pin(async move {
        keep_all(&mut response, promises).await;
        finish(&response)
    }))
}

/// Counts a request. Nobody is throttled for the time of one that wants no answer.
fn throttled<W: World>(call: &Call<'_, W>, acks: i16, size_bytes: usize) -> u32 {
    let for_bytes = call.node.quotas.record(Measure::Produced, call.client_id(), size_bytes as f64);
    let for_time = if acks == 0 { 0 } else { call.throttled_for_time() };
    for_bytes.max(for_time)
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

/// Why a request is refused as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
}

/// The transaction that the batches of a request belong to, if one does.
///
/// Trap 49: a request with a batch of a transaction needs a transactional id. To know that, Kafka looks at the first
/// batch of each partition, and where that is none, the whole request fails; so it does with several producers.
fn transaction_of(asked: &Asked, transactional_id: Option<String>) -> Result<Option<Transaction>, Refusal> {
    let mut found: Option<BatchHeader> = None;
    for data in asked.values().flat_map(BTreeMap::values) {
        let Records::Bytes(bytes) = &data.records else { continue };
        match first_header(bytes) {
            Ok(Some(header)) if header.attributes.is_transactional() => match found {
                _ if transactional_id.is_none() => {
                    return Err(Refusal { error: ErrorCode::TransactionalIdAuthorizationFailed, message: None });
                }
                Some(first) if producer(&first) != producer(&header) => {
                    let message = Some("the batches are of several producers or epochs".to_owned());
                    return Err(Refusal { error: ErrorCode::InvalidProducerIdMapping, message });
                }
                _ => found = Some(header),
            },
            // What follows a batch of a transaction is looked at when it is appended.
            Err(invalid) if found.is_none() => {
                let message = Some(format!("no batch begins the records of partition {}", data.index));
                return Err(Refusal { error: invalid.code, message });
            }
            Ok(_) | Err(_) => {}
        }
    }
    let found = found.filter(|header| header.producer_id != ProducerId::NONE).zip(transactional_id);
    Ok(found.map(|(header, id)| {
        let (producer_id, producer_epoch) = producer(&header);
        Transaction { id, producer_id, producer_epoch }
    }))
}

fn producer(header: &BatchHeader) -> (ProducerId, ProducerEpoch) {
    (header.producer_id, header.producer_epoch)
}

fn refused_request(asked: Asked, refusal: &Refusal) -> Vec<TopicProduceResponse> {
    let answer = |index: i32| PartitionProduceResponse {
        error_message: refusal.message.clone(),
        ..failed(index, refusal.error)
    };
    let responses = asked.into_iter().map(|((name, topic_id), partitions)| TopicProduceResponse {
        name,
        topic_id,
        partition_responses: partitions.into_keys().map(answer).collect(),
    });
    responses.collect()
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

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use milena_base::Millis;
    use milena_protocol::records::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(options: &BatchOptions) -> Bytes {
        let mut builder = BatchBuilder::new();
        builder.add(Millis(0), None, Some(b"a"), &[]);
        builder.build(options).expect("not compressed")
    }

    fn plain() -> Bytes {
        batch(&BatchOptions::default())
    }

    fn of_producer(id: i64, epoch: i16) -> Bytes {
        let (producer_id, producer_epoch) = (ProducerId(id), ProducerEpoch(epoch));
        batch(&BatchOptions { producer_id, producer_epoch, is_transactional: true, ..BatchOptions::default() })
    }

    fn asked(partitions: &[Bytes]) -> Asked {
        let data = |(index, bytes): (i32, &Bytes)| {
            (index, PartitionProduceData { index, records: Records::Bytes(bytes.clone()) })
        };
        Asked::from([(("t".to_owned(), Uuid::ZERO), (0..).zip(partitions).map(data).collect())])
    }

    fn error(partitions: &[Bytes], transactional_id: Option<&str>) -> Option<ErrorCode> {
        let found = transaction_of(&asked(partitions), transactional_id.map(str::to_owned));
        found.err().map(|refusal| refusal.error)
    }

    #[test]
    fn one_transactional_batch_refuses_the_whole_request_unless_it_names_its_transaction() {
        let mixed = [plain(), of_producer(7, 0)];
        assert_eq!(error(&mixed, None), Some(ErrorCode::TransactionalIdAuthorizationFailed));
        let transaction = transaction_of(&asked(&mixed), Some("a".to_owned())).expect("may be appended");
        let producer = (ProducerId(7), ProducerEpoch(0));
        assert_eq!(transaction.map(|it| (it.producer_id, it.producer_epoch)), Some(producer));
        assert_eq!(transaction_of(&asked(&[plain()]), None), Ok(None));
    }

    #[test]
    fn one_transaction_has_one_producer_in_one_epoch() {
        assert_eq!(error(&[of_producer(7, 0), of_producer(7, 0)], Some("a")), None);
        for other in [of_producer(7, 1), of_producer(8, 0)] {
            assert_eq!(error(&[of_producer(7, 0), other], Some("a")), Some(ErrorCode::InvalidProducerIdMapping));
        }
    }

    #[test]
    fn one_partition_that_begins_with_no_batch_refuses_the_whole_request() {
        let mut damaged = BytesMut::from(&plain()[..]);
        damaged[8..12].copy_from_slice(&1i32.to_be_bytes());
        let refusal = transaction_of(&asked(&[plain(), damaged.freeze()]), None).unwrap_err();
        assert_eq!(refusal.error, ErrorCode::CorruptMessage);
        assert!(refusal.message.is_some_and(|message| message.ends_with("partition 1")));
    }
}
