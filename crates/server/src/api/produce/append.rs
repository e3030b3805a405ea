//! The way of a request's batches into their logs. A batch whose transaction has begun in its partition, or that has
//! none, is appended at once; for the others the transaction's coordinator is asked, once for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_base::Disk;
use milena_metadata::topic_name::is_internal;
use milena_partition::{AppendError, Guard, ValidBatch, Voucher};
use milena_protocol::messages::produce_request::PartitionProduceData;
use milena_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, TopicPartition, Uuid};

use super::answers::{failed, refused_answer, succeeded, unverified};
use super::{ADMIN_CLIENT, Asked, BY_ID};
use crate::dispatch::Call;
use crate::durability::Durability;
use crate::partitions::{Refused, Replica, Written};
use crate::share::{APPEND_LOOKUPS, Lookups};
use crate::verification::{self, Operation, Refusals, Transaction};
use crate::world::World;

/// How the batches of a request are appended.
pub(super) struct Terms<'a> {
    pub(super) acks: i16,
    /// The transaction that the request names, if a batch belongs to it.
    pub(super) transaction: Option<&'a Transaction>,
}

/// A topic of the request with what became of its partitions.
pub(super) struct Topic<T> {
    name: String,
    id: Uuid,
    partitions: Vec<T>,
}

/// A partition that is answered, perhaps once something has come true.
pub(super) struct Settled {
    answer: PartitionProduceResponse,
    /// The answer holds only if the records become durable.
    durability: Option<Durability>,
}

/// What became of a partition at first.
enum Fate<W: World> {
    Settled(Settled),
    /// The batch begins a transaction here.
    Unverified {
        replica: Arc<Replica<W::Disk>>,
        batch: ValidBatch,
        guard: Guard,
    },
}

/// Appends what may be appended.
pub(super) async fn append_all<W: World>(call: &Call<'_, W>, asked: Asked, terms: &Terms<'_>) -> Vec<Topic<Settled>> {
    let voucher = voucher(call, terms);
    let mut topics = Vec::with_capacity(asked.len());
    let mut lookups = Lookups::default();
    for ((name, id), partitions) in asked {
        let found = named(call, &name, id);
        let mut fates = Vec::with_capacity(partitions.len());
        for data in partitions.into_values() {
            lookups.done(APPEND_LOOKUPS).await;
            fates.push(append(call, found.as_deref(), data, terms.acks, voucher).await);
        }
        topics.push(Topic { name, id, partitions: fates });
    }
    verify(call, terms.transaction, topics).await
}

/// Who has to answer for the request's transaction. Where the setting says so, nobody has to for producers that add
/// partitions by a request of its own.
fn voucher<W: World>(call: &Call<'_, W>, terms: &Terms<'_>) -> Voucher {
    let bumps_epoch = Operation::of_produce(call.version()).bumps_epoch();
    match terms.transaction {
        Some(_) if bumps_epoch || call.node.changeable().verifies => Voucher::Wanted { bumps_epoch },
        _ => Voucher::NotNeeded,
    }
}

/// The topic's name; from version 13 on it must be found by its id.
fn named<W: World>(call: &Call<'_, W>, name: &str, id: Uuid) -> Option<String> {
    match call.version() >= BY_ID {
        true => call.node.partitions.topic_by_id(id).map(|hosted| hosted.name.clone()),
        false => Some(name.to_owned()),
    }
}

async fn append<W: World>(
    call: &Call<'_, W>,
    topic: Option<&str>,
    data: PartitionProduceData,
    acks: i16,
    voucher: Voucher,
) -> Fate<W> {
    let answer = |error: ErrorCode| Fate::Settled(Settled { answer: failed(data.index, error), durability: None });
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
    let batch = match replica.validated(&*call.node.world, bytes, call.version()).await {
        Ok(batch) => batch,
        Err(refused) => return Fate::Settled(settled(&replica, Err(refused))),
    };
    match append_valid(call, &replica, &batch, voucher).await {
        Err(Refused::Append(AppendError::NeedsVerification(guard))) => Fate::Unverified { replica, batch, guard },
        // Said before there is anything to verify, so without the log's start.
        Err(refused @ Refused::Append(AppendError::InvalidProducerEpoch { .. }))
            if voucher != Voucher::NotNeeded && batch.header().attributes.is_transactional() =>
        {
            answer(refused.code())
        }
        result => Fate::Settled(settled(&replica, result)),
    }
}

async fn append_valid<W: World>(
    call: &Call<'_, W>,
    replica: &Arc<Replica<W::Disk>>,
    batch: &ValidBatch,
    voucher: Voucher,
) -> Result<Written, Refused> {
    let written = replica.append(&call.node.world, batch, voucher).await?;
    call.node.metrics.appended_bytes.inc_by(batch.size_bytes() as u64);
    call.node.metrics.appended_batches.inc();
    Ok(written)
}

fn settled<D: Disk>(replica: &Arc<Replica<D>>, result: Result<Written, Refused>) -> Settled {
    let index = replica.topic_partition().partition;
    match result {
        Ok(Written { appended, durability }) => Settled { answer: succeeded(index, &appended), durability },
        Err(refused) => Settled { answer: refused_answer(index, &refused, replica), durability: None },
    }
}

/// Asks the coordinator about every partition in which the transaction begins, then appends there what it allows.
async fn verify<W: World>(
    call: &Call<'_, W>,
    transaction: Option<&Transaction>,
    topics: Vec<Topic<Fate<W>>>,
) -> Vec<Topic<Settled>> {
    let operation = Operation::of_produce(call.version());
    let refusals = match (transaction, beginning(&topics)) {
        (Some(transaction), partitions) if !partitions.is_empty() => {
            verification::ask_patiently(call.node, transaction, &partitions, operation).await
        }
        _ => Refusals::new(),
    };
    let mut all = Vec::with_capacity(topics.len());
    let mut lookups = Lookups::default();
    for Topic { name, id, partitions } in topics {
        let mut settled = Vec::with_capacity(partitions.len());
        for fate in partitions {
            if matches!(fate, Fate::Unverified { .. }) {
                lookups.done(APPEND_LOOKUPS).await;
            }
            settled.push(settle(call, fate, &refusals, operation).await);
        }
        all.push(Topic { name, id, partitions: settled });
    }
    all
}

async fn settle<W: World>(call: &Call<'_, W>, fate: Fate<W>, refusals: &Refusals, operation: Operation) -> Settled {
    match fate {
        Fate::Settled(settled) => settled,
        Fate::Unverified { replica, batch, guard } => match refusals.get(replica.topic_partition()) {
            Some(error) => {
                let answer = unverified(replica.topic_partition().partition, *error, operation);
                Settled { answer, durability: None }
            }
            None => settled(&replica, append_valid(call, &replica, &batch, Voucher::Verified(guard)).await),
        },
    }
}

/// The partitions in which the transaction begins.
fn beginning<W: World>(topics: &[Topic<Fate<W>>]) -> BTreeSet<TopicPartition> {
    let fates = topics.iter().flat_map(|topic| &topic.partitions);
    let unverified = fates.filter_map(|fate| match fate {
        Fate::Unverified { replica, .. } => Some(replica.topic_partition().clone()),
        Fate::Settled(_) => None,
    });
    unverified.collect()
}

/// A partition of the answer that holds only if its records become durable.
pub(super) struct Promise {
    /// Place of the topic in the answer.
    pub(super) topic: usize,
    /// Place of the partition in the topic.
    pub(super) partition: usize,
    pub(super) durability: Durability,
}

/// The answer as far as it is known, and what has to come true for it.
pub(super) fn answers(topics: Vec<Topic<Settled>>) -> (Vec<TopicProduceResponse>, Vec<Promise>) {
    let mut responses = Vec::with_capacity(topics.len());
    let mut promises = Vec::new();
    for (topic, Topic { name, id, partitions }) in topics.into_iter().enumerate() {
        let mut answers = Vec::with_capacity(partitions.len());
        for (partition, Settled { answer, durability }) in partitions.into_iter().enumerate() {
            promises.extend(durability.map(|durability| Promise { topic, partition, durability }));
            answers.push(answer);
        }
        responses.push(TopicProduceResponse { name, topic_id: id, partition_responses: answers });
    }
    (responses, promises)
}
