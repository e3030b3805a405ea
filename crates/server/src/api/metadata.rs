//! Metadata: brokers, topics, leaders.
//!
//! Source: `KafkaApis.handleTopicMetadataRequest`, `KRaftMetadataCache`.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_metadata::image::{Broker, Image, Partition, Topic};
use milena_metadata::topic_name;
use milena_protocol::messages::metadata_request::MetadataRequestTopic;
use milena_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_protocol::messages::{MetadataRequest, MetadataResponse};
use milena_protocol::{ErrorCode, NodeId, Uuid};

use crate::api::operations;
use crate::auto_create;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::share::Lookups;
use crate::world::World;
use milena_metadata::topic_name::is_internal;

/// First version that may name topics by id.
const BY_ID: i16 = 12;
/// A topic on the wire without its name and partitions: error, id, flag, operations, tags.
const TOPIC_BYTES: usize = 2 + 3 + 16 + 1 + 5 + 4 + 1;
/// A partition without its lists of brokers: error, index, leader and its epoch, tags.
const PARTITION_BYTES: usize = 2 + 4 + 4 + 4 + 3 * 5 + 1;

/// Answers from the applied image; creates missing topics where that is wanted and allowed.
pub async fn metadata<W: World>(
    call: &Call<'_, W>,
    request: &MetadataRequest,
    growing: &mut Growing<'_>,
) -> Result<MetadataResponse, NoRoom> {
    let image = call.node.image();
    let version = call.version();
    if let Some(refused) = refused(request, version) {
        return Ok(refused);
    }
    let view = View { image: &image, listener: &call.peer.listener, version };
    let mut topics = match asked(request, version) {
        None => view.topics(image.topics().map(|topic| Found::Topic(topic)), growing).await?,
        Some(asked) => named(call, &view, asked, request.allow_auto_topic_creation, growing).await?,
    };
    if version >= 8 && request.include_topic_authorized_operations {
        for topic in &mut topics {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    let mut response = MetadataResponse {
        brokers: view.brokers(),
        cluster_id: Some(call.node.cluster_id.clone()),
        controller_id: view.any_broker().0,
        topics,
        ..Default::default()
    };
    if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    Ok(response)
}

/// A topic must have a name or an id, and before ids could be meant, a name and no id.
fn refused(request: &MetadataRequest, version: i16) -> Option<MetadataResponse> {
    let topics = request.topics.as_ref()?;
    let by_id = version >= BY_ID && topics.iter().any(|topic| topic.topic_id != Uuid::ZERO);
    let wrong = |topic: &MetadataRequestTopic| topic.name.is_none() || topic.topic_id != Uuid::ZERO;
    if by_id || !topics.iter().any(wrong) {
        return None;
    }
    let topics = topics.iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.number(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    Some(MetadataResponse { topics: topics.collect(), ..Default::default() })
}

/// The topics that are asked for; `None` for all. Trap 14: in version 0 an empty list means all.
fn asked(request: &MetadataRequest, version: i16) -> Option<&[MetadataRequestTopic]> {
    match &request.topics {
        Some(topics) if version == 0 && topics.is_empty() => None,
        topics => topics.as_deref(),
    }
}

/// Topics that are asked for by name or id, each once.
async fn named<W: World>(
    call: &Call<'_, W>,
    view: &View<'_>,
    asked: &[MetadataRequestTopic],
    may_create: bool,
    growing: &mut Growing<'_>,
) -> Result<Vec<MetadataResponseTopic>, NoRoom> {
    // As soon as one topic is named by id, names are not looked at.
    let ids: BTreeSet<Uuid> = asked.iter().map(|topic| topic.topic_id).filter(|id| *id != Uuid::ZERO).collect();
    if !ids.is_empty() {
        let found = ids.into_iter().map(|id| view.image.topic_by_id(id).map_or(Found::NoId(id), |it| Found::Topic(it)));
        return view.topics(found, growing).await;
    }
    let names: BTreeSet<&String> = asked.iter().filter_map(|topic| topic.name.as_ref()).collect();
    let found = names.into_iter().map(|name| view.image.topic(name).map_or(Found::NoName(name), |it| Found::Topic(it)));
    let named = view.topics(found, growing).await?;
    let (mut answered, missing): (Vec<_>, Vec<_>) = named.into_iter().partition(|topic| topic.error_code == 0);
    if may_create && call.node.settings.auto_create_topics {
        let unknown = ErrorCode::UnknownTopicOrPartition.number();
        let creatable = missing.iter().filter(|topic| topic.error_code == unknown);
        auto_create::start(call.node, creatable.filter_map(|topic| topic.name.as_ref()), Some(call.caller(true)));
    }
    answered.extend(missing);
    Ok(answered)
}

/// What was looked for.
#[derive(Clone, Copy)]
enum Found<'a> {
    Topic(&'a Topic),
    NoName(&'a str),
    NoId(Uuid),
}

impl Found<'_> {
    /// What its answer takes on the wire.
    fn weigh(self) -> usize {
        match self {
            Found::Topic(topic) => {
                let partition = |partition: &Arc<Partition>| {
                    PARTITION_BYTES + size_of::<i32>() * (2 * partition.replicas.len() + partition.isr.len())
                };
                TOPIC_BYTES + topic.name.len() + topic.partitions.values().map(partition).sum::<usize>()
            }
            Found::NoName(name) => TOPIC_BYTES + name.len(),
            Found::NoId(_) => TOPIC_BYTES,
        }
    }
}

/// Trap 18: a topic that is only being created does not exist yet.
fn absent(name: &str) -> MetadataResponseTopic {
    let error = match topic_name::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    let (name, is_internal) = (Some(name.to_owned()), is_internal(name));
    MetadataResponseTopic { error_code: error.number(), name, is_internal, ..Default::default() }
}

fn too_large(found: Found<'_>) -> MetadataResponseTopic {
    let (name, topic_id) = match found {
        Found::Topic(topic) => (Some(topic.name.to_string()), topic.id),
        Found::NoName(name) => (Some(name.to_owned()), Uuid::ZERO),
        Found::NoId(id) => (None, id),
    };
    MetadataResponseTopic { error_code: ErrorCode::InvalidRequest.number(), name, topic_id, ..Default::default() }
}

/// The image as one listener's clients see it.
pub(crate) struct View<'a> {
    pub(crate) image: &'a Image,
    pub(crate) listener: &'a str,
    pub(crate) version: i16,
}

impl View<'_> {
    /// Where a broker is reached by this listener's clients.
    pub(crate) fn address(&self, broker: &Broker) -> Option<(String, i32)> {
        let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == *self.listener)?;
        Some((endpoint.host.clone(), i32::from(endpoint.port)))
    }

    /// Trap 22: fenced brokers are no part of the broker list.
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let alive = self.image.brokers().filter(|broker| !broker.fenced);
        alive
            .filter_map(|broker| {
                let (host, port) = self.address(broker)?;
                Some(MetadataResponseBroker { node_id: broker.id.0, host, port, rack: broker.rack.clone() })
            })
            .collect()
    }

    /// Trap 15: clients are shown any broker that is alive as controller; it forwards.
    pub(crate) fn any_broker(&self) -> NodeId {
        self.image.brokers().find(|broker| !broker.fenced).map_or(NodeId::NONE, |broker| broker.id)
    }

    /// The answers for what was found. What would make the whole too large is refused.
    async fn topics<'t>(
        &self,
        found: impl Iterator<Item = Found<'t>>,
        growing: &mut Growing<'_>,
    ) -> Result<Vec<MetadataResponseTopic>, NoRoom> {
        let mut topics = Vec::with_capacity(found.size_hint().0);
        let mut lookups = Lookups::default();
        for found in found {
            let topic = match found {
                _ if !growing.part(found.weigh()).await? => too_large(found),
                Found::Topic(topic) => self.topic(topic),
                Found::NoName(name) => absent(name),
                Found::NoId(topic_id) => {
                    let error_code = ErrorCode::UnknownTopicId.number();
                    MetadataResponseTopic { error_code, name: None, topic_id, ..Default::default() }
                }
            };
            lookups.done(1 + topic.partitions.len()).await;
            topics.push(topic);
        }
        Ok(topics)
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().map(|(index, partition)| self.partition(*index, partition));
        MetadataResponseTopic {
            name: Some(topic.name.to_string()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: partitions.collect(),
            ..Default::default()
        }
    }

    fn partition(&self, index: i32, partition: &Partition) -> MetadataResponsePartition {
        // In version 0 a replica that is down is an error; later it is merely listed as offline.
        let (replicas, isr) = match self.version {
            0 => (self.reachable(&partition.replicas), self.reachable(&partition.isr)),
            _ => (ids(&partition.replicas), ids(&partition.isr)),
        };
        let leader = self.leader(partition);
        let error = match leader {
            Err(error) => error,
            Ok(_) if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() => {
                ErrorCode::ReplicaNotAvailable
            }
            Ok(_) => ErrorCode::None,
        };
        MetadataResponsePartition {
            error_code: error.number(),
            partition_index: index,
            leader_id: leader.unwrap_or(NodeId::NONE).0,
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: replicas,
            isr_nodes: isr,
            offline_replicas: self.offline(partition),
        }
    }

    /// Traps 16 and 17: the leader, or why there is none that this listener's clients can reach.
    pub(crate) fn leader(&self, partition: &Partition) -> Result<NodeId, ErrorCode> {
        let Some(broker) = self.image.broker(partition.leader) else { return Err(ErrorCode::LeaderNotAvailable) };
        match self.address(broker) {
            Some(_) => Ok(broker.id),
            None if self.version >= 6 => Err(ErrorCode::ListenerNotFound),
            None => Err(ErrorCode::LeaderNotAvailable),
        }
    }

    fn reachable(&self, nodes: &[NodeId]) -> Vec<i32> {
        nodes.iter().filter(|node| !self.is_offline(**node)).map(|node| node.0).collect()
    }

    pub(crate) fn offline(&self, partition: &Partition) -> Vec<i32> {
        partition.replicas.iter().filter(|node| self.is_offline(**node)).map(|node| node.0).collect()
    }

    fn is_offline(&self, node: NodeId) -> bool {
        match self.image.broker(node) {
            Some(broker) => broker.fenced || self.address(broker).is_none(),
            None => true,
        }
    }
}

/// Node ids as the wire carries them.
pub(crate) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}
