//! Writes the markers that end transactions into the partitions that this node leads: for WriteTxnMarkers of another
//! coordinator, and for our own.
//!
//! A partition of `__consumer_offsets` is written by the shard that owns it, so that the offsets of the transaction
//! become visible with the marker (trap 159).
//!
//! Source: `KafkaApis.handleWriteTxnMarkersRequest`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_coordinators::Marker;
use milena_coordinators::group::{Context, Request, Response};
use milena_partition::Voucher;
use milena_protocol::records::{BatchOptions, ControlRecordType, EndTransactionMarker, control_batch};
use milena_protocol::{ErrorCode, TopicPartition};
use tokio::time::timeout;

use crate::node::Node;
use crate::partitions::Refused;
use crate::shards::GROUPS_TOPIC;
use crate::share::{APPEND_LOOKUPS, Lookups, collected_by};
use crate::world::World;

/// Ends one transaction in the partitions given. Answers each of them, in the order given, once the high watermark has
/// passed its marker, or with the reason why there is none:
///
/// * UNKNOWN_TOPIC_OR_PARTITION: no such replica here;
/// * NOT_LEADER_OR_FOLLOWER: another node leads, or the shard that owns it is loading: to be tried again;
/// * TRANSACTION_COORDINATOR_FENCED: a newer coordinator has ended a transaction of this producer here;
/// * INVALID_PRODUCER_EPOCH: the marker is older than what the producer has written;
/// * UNKNOWN_SERVER_ERROR: a negative producer id or epoch;
/// * REQUEST_TIMED_OUT: the marker was written, but is not safe after `request.timeout.ms`.
pub async fn write<W: World>(
    node: &Arc<Node<W>>,
    marker: Marker,
    partitions: Vec<TopicPartition>,
) -> Vec<(TopicPartition, ErrorCode)> {
    if marker.producer_id.0 < 0 || marker.producer_epoch.0 < 0 {
        // No batch can say so, and Kafka has no answer but this one.
        return partitions.into_iter().map(|partition| (partition, ErrorCode::UnknownServerError)).collect();
    }
    // All are appended before the first is waited for.
    let appended = partitions.iter().map(|partition| append(node, &marker, partition));
    let appended = collected_by(appended, |_| APPEND_LOOKUPS).await;
    let mut lookups = Lookups::default();
    let mut results = Vec::with_capacity(partitions.len());
    for (partition, appended) in partitions.into_iter().zip(appended) {
        let error = match appended {
            Appended::Waits(future) => timeout(node.settings.request_timeout, future).await,
            Appended::Refused(error) => Ok(error),
        };
        results.push((partition, error.unwrap_or(ErrorCode::RequestTimedOut)));
        lookups.done(1).await;
    }
    results
}

/// A marker on its way.
enum Appended<F> {
    /// Until it is safe.
    Waits(F),
    Refused(ErrorCode),
}

fn append<W: World>(
    node: &Arc<Node<W>>,
    marker: &Marker,
    partition: &TopicPartition,
) -> Appended<std::pin::Pin<Box<dyn Future<Output = ErrorCode> + Send>>> {
    let Some(replica) = node.partitions.replica(&partition.topic, partition.partition) else {
        return Appended::Refused(ErrorCode::UnknownTopicOrPartition);
    };
    let (node, marker) = (Arc::clone(node), *marker);
    if &*partition.topic == GROUPS_TOPIC {
        let shard = partition.partition;
        return Appended::Waits(Box::pin(async move { end_in_shard(&node, marker, shard).await }));
    }
    let now = node.world.now();
    match replica.append_own(now, batch_of(&marker, now), None, voucher_of(&marker)) {
        Ok(appended) => Appended::Waits(Box::pin(async move {
            let committed = replica.committed(&node.world, appended.last_offset).await;
            committed.err().as_ref().map_or(ErrorCode::None, Refused::code)
        })),
        Err(refused) => Appended::Refused(refused.code()),
    }
}

async fn end_in_shard<W: World>(node: &Arc<Node<W>>, marker: Marker, shard: i32) -> ErrorCode {
    let context = Context {
        version: 0,
        client_id: String::new(),
        client_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        random: [0; 16],
    };
    let Response::EndTransaction(error) = node.shards.ask(shard, context, Request::EndTransaction(marker)).await else {
        unreachable!("the shard answers what it was asked");
    };
    match error {
        // A coordinator of transactions knows no other word for "not yet".
        ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => {
            ErrorCode::NotLeaderOrFollower
        }
        other => other,
    }
}

/// The control batch of a marker.
pub(crate) fn batch_of(marker: &Marker, now: Millis) -> Bytes {
    let kind = if marker.committed { ControlRecordType::Commit } else { ControlRecordType::Abort };
    let value = EndTransactionMarker { coordinator_epoch: marker.coordinator_epoch }.to_bytes();
    let options = BatchOptions {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        is_transactional: true,
        ..BatchOptions::default()
    };
    control_batch(kind, &value, now, &options)
}

/// By which rules it is appended.
pub(crate) fn voucher_of(marker: &Marker) -> Voucher {
    Voucher::Marker { transaction_version: marker.transaction_version }
}
