//! Transactional ids and their transactions, over `__transaction_state`.

use std::sync::Arc;

use milena_coordinators::Marker;
use milena_coordinators::transaction::{
    Context, Effect, Event, Marked, Request, Response, TransactionShard, partition_for, refuse,
};
use milena_metadata::features::TRANSACTION_VERSION;
use milena_protocol::{ErrorCode, LeaderEpoch, TopicPartition};

use super::{Kind, Shards};
use crate::markers;
use crate::node::Node;
use crate::world::World;

/// The topic of transactional ids.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

impl<W: World> Kind<W> for TransactionShard {
    const TOPIC: &'static str = TRANSACTIONS_TOPIC;

    fn empty(node: &Node<W>, epoch: LeaderEpoch) -> TransactionShard {
        TransactionShard::new(node.settings.transactions, epoch, level(node))
    }

    fn door(node: &Node<W>) -> &Shards<W, TransactionShard> {
        &node.transactions
    }

    async fn carry_out(node: &Arc<Node<W>>, effect: Effect) -> Event {
        match effect {
            Effect::ProducerId { transactional_id } => {
                Event::ProducerId { transactional_id, id: node.producer_ids.next(node).await }
            }
            Effect::WriteMarkers { transactional_id, marker, partitions } => {
                Event::Marked { transactional_id, results: write_markers(node, marker, partitions).await }
            }
        }
    }
}

/// Writes markers where there is something to write them to.
async fn write_markers<W: World>(
    node: &Arc<Node<W>>,
    marker: Marker,
    partitions: Vec<TopicPartition>,
) -> Vec<(TopicPartition, Marked)> {
    let image = node.image();
    let exists = |partition: &TopicPartition| {
        image.topic(&partition.topic).is_some_and(|topic| topic.partitions.contains_key(&partition.partition))
    };
    let (present, deleted): (Vec<_>, Vec<_>) = partitions.into_iter().partition(exists);
    let mut results: Vec<_> = deleted.into_iter().map(|partition| (partition, Marked::Deleted)).collect();
    results.extend(markers::write(node, marker, present).await.into_iter().map(|(partition, error)| match error {
        ErrorCode::None => (partition, Marked::Written),
        error => (partition, Marked::Refused(error)),
    }));
    results
}

/// The finalized level of `transaction.version`.
pub(crate) fn level<W: World>(node: &Node<W>) -> i8 {
    i8::try_from(node.image().feature(TRANSACTION_VERSION)).unwrap_or(i8::MAX)
}

/// How many partitions the transactional ids are spread over: those of the topic, or those that it will have.
pub fn partitions<W: World>(node: &Node<W>) -> i32 {
    let image = node.image();
    image.topic(TRANSACTIONS_TOPIC).map_or(node.settings.transactions_partitions, |topic| topic.partitions.len() as i32)
}

impl<W: World> Shards<W, TransactionShard> {
    /// Asks the shard of a transactional id on behalf of `node`, whose door this is, unless the request is refused
    /// before.
    pub async fn ask_id(&self, node: &Node<W>, transactional_id: &str, version: i16, request: Request) -> Response {
        if let Some(refusal) = refuse(&request, version, &node.settings.transactions) {
            return refusal;
        }
        self.ask(partition_for(transactional_id, partitions(node)), Context { version }, request).await
    }
}
