//! TxnOffsetCommit: offsets that count once their transaction commits. Before the group hears of them, the
//! transaction's coordinator says whether they belong to it.
//!
//! Source: `KafkaApis.handleTxnOffsetCommitRequest`, `CoordinatorRuntime.scheduleTransactionalWriteOperation`.

use std::collections::BTreeSet;

use milena_coordinators::coordinator_error;
use milena_coordinators::group::request::txn_offset_commit_error;
use milena_coordinators::group::{Request, Response, refuse};
use milena_metadata::image::Image;
use milena_partition::{Beginning, Voucher};
use milena_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use milena_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use milena_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, Sequence};

use super::groups::{context, join_topics, partition_of};
use crate::dispatch::Call;
use crate::partitions::Refused;
use crate::shards::GROUPS_TOPIC;
use crate::share::Lookups;
use crate::verification::{self, Operation, Transaction};
use crate::world::World;

/// Stores offsets of partitions that exist; the others are answered here.
pub async fn txn_offset_commit<W: World>(
    call: &Call<'_, W>,
    mut request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let (known, unknown) = split(&call.node.image(), std::mem::take(&mut request.topics)).await;
    if known.is_empty() {
        return TxnOffsetCommitResponse { topics: unknown, ..Default::default() };
    }
    request.topics = known;
    let mut response = commit(call, request).await;
    join_topics(&mut response.topics, unknown, |topic| Some(topic.name.clone()), |topic| &mut topic.partitions);
    response
}

/// Topics with the partitions that exist, and the answers for those that do not.
async fn split(
    image: &Image,
    topics: Vec<TxnOffsetCommitRequestTopic>,
) -> (Vec<TxnOffsetCommitRequestTopic>, Vec<TxnOffsetCommitResponseTopic>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut lookups = Lookups::default();
    for mut topic in topics {
        lookups.done(1 + topic.partitions.len()).await;
        let found = image.topic(&topic.name);
        let exists = |index| found.is_some_and(|topic| topic.partitions.contains_key(&index));
        let (good, bad): (Vec<_>, Vec<_>) =
            topic.partitions.into_iter().partition(|partition| exists(partition.partition_index));
        if !bad.is_empty() {
            let refused = bad.into_iter().map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.number(),
            });
            unknown.push(TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions: refused.collect() });
        }
        if !good.is_empty() {
            topic.partitions = good;
            known.push(topic);
        }
    }
    (known, unknown)
}

async fn commit<W: World>(call: &Call<'_, W>, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let version = call.version();
    let shard = partition_of(call.node, &request.group_id);
    let asked = Request::TxnOffsetCommit(request.clone());
    let response = match refuse(&asked, version, &call.node.settings.groups) {
        Some(refusal) => refusal,
        None => match vouched(call, &request, shard).await {
            Ok(voucher) => call.node.shards.ask_vouched(shard, context(call), asked, voucher).await,
            Err(error) => return txn_offset_commit_error(&request, version, coordinator_error(error)),
        },
    };
    match response {
        Response::TxnOffsetCommit(response) => response,
        other => unreachable!("the shard answered {other:?}"),
    }
}

/// Has the transaction's coordinator answer for the partition of the group, unless the transaction has begun there.
async fn vouched<W: World>(
    call: &Call<'_, W>,
    request: &TxnOffsetCommitRequest,
    shard: i32,
) -> Result<Voucher, ErrorCode> {
    let operation = Operation::of_offsets(call.version());
    let bumps_epoch = operation.bumps_epoch();
    if !bumps_epoch && !call.node.changeable().verifies {
        return Ok(Voucher::NotNeeded);
    }
    let replica = call.node.partitions.replica(GROUPS_TOPIC, shard).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let (producer, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
    let beginning = Beginning { producer, epoch, sequence: Sequence::NONE, bumps_epoch };
    let question = replica.with(|partition| partition.question(call.node.world.now(), &beginning));
    let question = question.ok_or(Refused::Offline).and_then(|asked| Ok(asked?)).map_err(|refused| refused.code())?;
    let Some(guard) = question else { return Ok(Voucher::Wanted { bumps_epoch }) };
    let transaction =
        Transaction { id: request.transactional_id.clone(), producer_id: producer, producer_epoch: epoch };
    let asked = BTreeSet::from([replica.topic_partition().clone()]);
    let refusals = verification::ask(call.node, &transaction, &asked, operation).await;
    match refusals.get(replica.topic_partition()) {
        Some(error) => Err(*error),
        None => Ok(Voucher::Verified(guard)),
    }
}
