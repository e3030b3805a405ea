//! DescribeCluster and DescribeTopicPartitions.

use milena_metadata::image::{Partition, Topic};
use milena_metadata::topic_name;
use milena_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use milena_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use milena_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use milena_protocol::{ErrorCode, NodeId};

use crate::api::metadata::{View, ids};
use crate::api::operations;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::share::Lookups;
use crate::world::World;
use milena_metadata::topic_name::is_internal;

/// A topic of DescribeTopicPartitions on the wire without its name and partitions: error, id, flag, operations, tags.
const TOPIC_BYTES: usize = 2 + 3 + 16 + 1 + 5 + 4 + 1;
/// A partition without its lists of brokers: error, index, leader and its epoch, tags.
const PARTITION_BYTES: usize = 2 + 4 + 4 + 4 + 5 * 5 + 1;
/// `EndpointType.BROKER`
const BROKERS: i8 = 1;
/// `EndpointType.CONTROLLER`
const CONTROLLERS: i8 = 2;

/// Cluster id and brokers.
pub async fn describe_cluster<W: World>(
    call: &Call<'_, W>,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        let error = match request.endpoint_type {
            CONTROLLERS => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        let error_message = Some("this listener answers for brokers only".to_owned());
        return DescribeClusterResponse { error_code: error.number(), error_message, ..Default::default() };
    }
    let image = call.node.image();
    let view = View { image: &image, listener: &call.peer.listener, version: call.version() };
    let shown = image.brokers().filter(|broker| !broker.fenced || request.include_fenced_brokers);
    let brokers = shown.filter_map(|broker| {
        let (host, port) = view.address(broker)?;
        let is_fenced = broker.fenced;
        Some(DescribeClusterBroker { broker_id: broker.id.0, host, port, rack: broker.rack.clone(), is_fenced })
    });
    let brokers: Vec<DescribeClusterBroker> = brokers.collect();
    // Unlike Metadata, this names nobody who cannot be reached by this listener.
    let controller = view.any_broker();
    let is_shown = brokers.iter().any(|broker| broker.broker_id == controller.0);
    let mut response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: call.node.cluster_id.clone(),
        controller_id: if is_shown { controller.0 } else { NodeId::NONE.0 },
        brokers,
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    response
}

/// Partitions of topics in the order of their names, page by page (trap 23).
pub async fn describe_topic_partitions<W: World>(
    call: &Call<'_, W>,
    request: &DescribeTopicPartitionsRequest,
    growing: &mut Growing<'_>,
) -> Result<DescribeTopicPartitionsResponse, NoRoom> {
    let image = call.node.image();
    let view = View { image: &image, listener: &call.peer.listener, version: call.version() };
    let from = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
    let all = request.topics.is_empty();
    let mut names: Vec<&str> = match all {
        true => image.topics_from(from).map(|topic| &*topic.name).collect(),
        false => request.topics.iter().map(|topic| topic.name.as_str()).filter(|name| *name >= from).collect(),
    };
    names.sort_unstable();
    names.dedup();
    if let Some(cursor) = &request.cursor
        && (cursor.partition_index < 0 || (!all && !names.contains(&from)))
    {
        return Ok(invalid(request));
    }
    let limit = call.node.settings.described_partitions_max;
    let mut page = Page { view, left: request.response_partition_limit.min(limit).max(1), topics: Vec::new() };
    let mut next_cursor = None;
    let mut lookups = Lookups::default();
    for name in names {
        let start = request.cursor.as_ref().filter(|_| name == from).map_or(0, |cursor| cursor.partition_index);
        if !growing.part(page.weigh(name, start)).await? && !page.topics.is_empty() {
            next_cursor = Some(Cursor { topic_name: name.to_owned(), partition_index: start });
            break;
        }
        let left = page.left;
        next_cursor = page.add(name, start, !all);
        lookups.done(1 + (left - page.left) as usize).await;
        if next_cursor.is_some() {
            break;
        }
    }
    Ok(DescribeTopicPartitionsResponse { topics: page.topics, next_cursor, ..Default::default() })
}

/// Every topic of the request with INVALID_REQUEST, as Kafka answers a cursor that cannot be.
fn invalid(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.number(),
        name: Some(topic.name.clone()),
        ..Default::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

/// One answer being filled.
struct Page<'a> {
    view: View<'a>,
    /// Partitions that still fit.
    left: i32,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
}

impl Page<'_> {
    /// What a topic from partition `start` on would take on the wire.
    fn weigh(&self, name: &str, start: i32) -> usize {
        let partitions = self.view.image.topic(name).map(|topic| topic.partitions.range_from(&start));
        let partitions = partitions.into_iter().flatten().take(self.left as usize);
        let partition = |partition: &Partition| {
            let brokers = 2 * partition.replicas.len() + partition.isr.len();
            PARTITION_BYTES + size_of::<i32>() * (brokers + partition.elr.len() + partition.last_known_elr.len())
        };
        TOPIC_BYTES + name.len() + partitions.map(|(_, found)| partition(found)).sum::<usize>()
    }

    /// Adds a topic from partition `start` on; returns where the next page begins if this one is full.
    fn add(&mut self, name: &str, start: i32, say_missing: bool) -> Option<Cursor> {
        if self.left == 0 {
            return Some(Cursor { topic_name: name.to_owned(), partition_index: 0 });
        }
        let Some(topic) = self.view.image.topic(name) else {
            if say_missing {
                self.topics.push(missing(name));
            }
            return None;
        };
        let partitions = self.partitions(topic, start);
        self.left -= partitions.len() as i32;
        let next = start + partitions.len() as i32;
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(topic.name.to_string()),
            topic_id: topic.id,
            is_internal: is_internal(name),
            partitions,
            topic_authorized_operations: operations::TOPIC,
            ..Default::default()
        });
        let more = (next as usize) < topic.partitions.len();
        more.then(|| Cursor { topic_name: name.to_owned(), partition_index: next })
    }

    fn partitions(&self, topic: &Topic, start: i32) -> Vec<DescribeTopicPartitionsResponsePartition> {
        let from_start = topic.partitions.range_from(&start).take(self.left as usize);
        from_start
            .map(|(index, partition)| DescribeTopicPartitionsResponsePartition {
                partition_index: *index,
                leader_id: self.view.leader(partition).map_or(-1, |leader| leader.0),
                leader_epoch: partition.leader_epoch.0,
                replica_nodes: ids(&partition.replicas),
                isr_nodes: ids(&partition.isr),
                eligible_leader_replicas: Some(ids(&partition.elr)),
                last_known_elr: Some(ids(&partition.last_known_elr)),
                offline_replicas: self.view.offline(partition),
                ..Default::default()
            })
            .collect()
    }
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let error = match topic_name::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.number(),
        name: Some(name.to_owned()),
        is_internal: is_internal(name),
        topic_authorized_operations: operations::TOPIC,
        ..Default::default()
    }
}
