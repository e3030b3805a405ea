//! AddPartitionsToTxn and AddOffsetsToTxn: what takes part in a transaction. Whether the partitions exist is settled
//! here, the rest by the shard that owns the transactional id.
//!
//! Source: `KafkaApis.handleAddPartitionsToTxnRequest`, `handleAddOffsetsToTxnRequest`.

use std::collections::BTreeMap;

use milena_coordinators::transaction::{Participation, Request, Response};
use milena_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use milena_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use milena_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
};
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use crate::api::groups;
use crate::dispatch::Call;
use crate::shards::GROUPS_TOPIC;
use crate::world::World;

/// First version in which the leaders of partitions ask, for many producers at once.
const BROKERS_SINCE: i16 = 4;

/// Adds partitions to transactions, or verifies that they take part.
pub async fn add_partitions_to_txn<W: World>(
    call: &Call<'_, W>,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if call.version() >= BROKERS_SINCE {
        let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            let transactional_id = transaction.transactional_id.clone();
            let topic_results = one(call, transaction).await;
            results_by_transaction.push(AddPartitionsToTxnResult { transactional_id, topic_results });
        }
        return AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() };
    }
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics,
    };
    let results = one(call, transaction).await;
    AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results, ..Default::default() }
}

/// One transaction of the request.
async fn one<W: World>(
    call: &Call<'_, W>,
    transaction: AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let AddPartitionsToTxnTransaction { transactional_id, producer_id, producer_epoch, verify_only, topics } =
        transaction;
    if let Some(refused) = refuse_missing(call, &topics) {
        return refused;
    }
    let partitions = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| TopicPartition::new(topic.name.as_str(), *index)));
    let named = Participation {
        transactional_id: transactional_id.clone(),
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(producer_epoch),
        partitions: partitions.collect(),
    };
    // A producer whose partitions' leaders ask has an epoch for each transaction (KIP-890).
    let client_level = if call.version() >= BROKERS_SINCE { 2 } else { 0 };
    let asked =
        if verify_only { Request::Verify(named) } else { Request::AddPartitions { added: named, client_level } };
    match call.node.transactions.ask_id(call.node, &transactional_id, call.version(), asked).await {
        Response::Added(error) => results(&topics, |_, _| error),
        Response::Verified(verified) => {
            let verified: BTreeMap<TopicPartition, ErrorCode> = verified.into_iter().collect();
            let code = |topic: &str, index: i32| verified.get(&TopicPartition::new(topic, index)).copied();
            results(&topics, |topic, index| code(topic, index).unwrap_or(ErrorCode::UnknownServerError))
        }
        other => unreachable!("the shard answered {other:?}"),
    }
}

/// Trap 154: one partition that does not exist spoils it for the others.
fn refuse_missing<W: World>(
    call: &Call<'_, W>,
    topics: &[AddPartitionsToTxnTopic],
) -> Option<Vec<AddPartitionsToTxnTopicResult>> {
    let image = call.node.image();
    let exists =
        |topic: &str, index: i32| image.topic(topic).is_some_and(|topic| topic.partitions.contains_key(&index));
    if topics.iter().all(|topic| topic.partitions.iter().all(|index| exists(&topic.name, *index))) {
        return None;
    }
    Some(results(topics, |topic, index| match exists(topic, index) {
        true => ErrorCode::OperationNotAttempted,
        false => ErrorCode::UnknownTopicOrPartition,
    }))
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    code: impl Fn(&str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let results = topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|index| AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: code(&topic.name, *index).number(),
            })
            .collect(),
    });
    results.collect()
}

/// Adds the partition that a group's offsets are in. Only producers without an epoch for each transaction ask for it.
pub async fn add_offsets_to_txn<W: World>(
    call: &Call<'_, W>,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let partition = groups::partition_of(call.node, &request.group_id);
    let added = Participation {
        transactional_id: request.transactional_id.clone(),
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        partitions: [TopicPartition::new(GROUPS_TOPIC, partition)].into(),
    };
    let asked = Request::AddPartitions { added, client_level: 0 };
    let answer = call.node.transactions.ask_id(call.node, &request.transactional_id, call.version(), asked).await;
    let error = expect!(answer, Response::Added);
    AddOffsetsToTxnResponse { error_code: error.number(), ..Default::default() }
}
