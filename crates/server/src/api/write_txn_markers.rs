//! WriteTxnMarkers: a transaction's coordinator ends it in the partitions that this node leads.
//!
//! Source: `KafkaApis.handleWriteTxnMarkersRequest`.

use std::collections::{BTreeMap, BTreeSet};

use milena_coordinators::Marker;
use milena_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use milena_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use milena_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use crate::dispatch::Call;
use crate::markers;
use crate::world::World;

/// Answers by producer: a producer that stands twice in a request has one answer, where the later marker counts. A
/// partition that stands twice in a marker has the marker once, which is all that its answer could tell; Kafka writes
/// one too, and never answers.
pub async fn write_txn_markers<W: World>(
    call: &Call<'_, W>,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut results: BTreeMap<i64, BTreeMap<String, BTreeMap<i32, ErrorCode>>> = BTreeMap::new();
    for asked in request.markers {
        let (marker, partitions) = read(asked);
        for (partition, error) in markers::write(call.node, marker, partitions).await {
            let topics = results.entry(marker.producer_id.0).or_default();
            topics.entry(partition.topic).or_default().insert(partition.partition, error);
        }
    }
    let markers = results.into_iter().map(|(producer_id, topics)| WritableTxnMarkerResult {
        producer_id,
        topics: topics.into_iter().map(|(name, partitions)| topic_result(name, partitions)).collect(),
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}

fn read(asked: WritableTxnMarker) -> (Marker, Vec<TopicPartition>) {
    let marker = Marker {
        producer_id: ProducerId(asked.producer_id),
        producer_epoch: ProducerEpoch(asked.producer_epoch),
        coordinator_epoch: asked.coordinator_epoch,
        committed: asked.transaction_result,
        transaction_version: asked.transaction_version,
    };
    let mut partitions = BTreeSet::new();
    for topic in asked.topics {
        let name = topic.name.as_str();
        partitions.extend(topic.partition_indexes.iter().map(|index| TopicPartition::new(name, *index)));
    }
    (marker, partitions.into_iter().collect())
}

fn topic_result(name: String, partitions: BTreeMap<i32, ErrorCode>) -> WritableTxnMarkerTopicResult {
    let partitions = partitions.into_iter().map(|(partition_index, error)| WritableTxnMarkerPartitionResult {
        partition_index,
        error_code: error.number(),
    });
    WritableTxnMarkerTopicResult { name, partitions: partitions.collect() }
}
