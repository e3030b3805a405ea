//! Creates topics that somebody asked about: those of clients with the cluster's defaults, the internal ones
//! with theirs. The asker is told that the topic does not exist yet, and asks again (traps 18 and 24).

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_metadata::controller::{Caller, Request, Response};
use milena_protocol::ErrorCode;
use milena_protocol::messages::CreateTopicsRequest;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::node::Node;
use crate::shards::{GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use crate::world::{Place, World};

/// Topics that are being created at the same time; more are left for the next request.
const IN_FLIGHT_MAX: usize = 1000;
/// How long the controller may take, in ms.
const TIMEOUT_MS: i32 = 30_000;

/// The topics that are being created now: repeated requests must not create twice.
#[derive(Debug, Default)]
pub struct InFlight {
    topics: Mutex<BTreeSet<String>>,
}

/// Starts to create those of `topics` that are not being created already. They count for the quota of whoever asked
/// about them, if anybody did.
pub(crate) fn start<'a, W: World>(node: &Arc<Node<W>>, topics: impl Iterator<Item = &'a String>, by: Option<Caller>) {
    let wanted: Vec<String> = {
        let mut in_flight = node.auto_creation.topics.lock();
        topics.filter(|topic| in_flight.len() < IN_FLIGHT_MAX && in_flight.insert((*topic).clone())).cloned().collect()
    };
    if wanted.is_empty() {
        return;
    }
    let task_node = Arc::clone(node);
    node.world.spawn(Place::Background, Box::pin(async move { create(&task_node, wanted, by).await }));
}

async fn create<W: World>(node: &Arc<Node<W>>, topics: Vec<String>, by: Option<Caller>) {
    let wanted = topics.iter().map(|topic| creatable(node, topic)).collect();
    let request = CreateTopicsRequest { topics: wanted, timeout_ms: TIMEOUT_MS, ..Default::default() };
    if let Some(Response::CreateTopics(response)) =
        node.control.ask(Request::CreateTopics { request, hidden: BTreeSet::new(), by }).await
    {
        for topic in response.topics {
            match ErrorCode::from_number(topic.error_code) {
                ErrorCode::None => info!(topic = topic.name, "topic created on demand"),
                ErrorCode::TopicAlreadyExists => {}
                ErrorCode::InvalidReplicationFactor if topic.name == GROUPS_TOPIC => {
                    warn!("groups cannot work: offsets.topic.replication.factor is above the number of brokers");
                }
                ErrorCode::InvalidReplicationFactor if topic.name == TRANSACTIONS_TOPIC => {
                    warn!(
                        "transactions cannot work: transaction.state.log.replication.factor is above the number of brokers"
                    );
                }
                error => warn!(topic = topic.name, %error, "topic not created on demand"),
            }
        }
    }
    let mut in_flight = node.auto_creation.topics.lock();
    topics.iter().for_each(|topic| {
        in_flight.remove(topic);
    });
}

/// Source: `DefaultAutoTopicCreationManager.creatableTopic`, `GroupCoordinatorService.groupMetadataTopicConfigs`,
/// `TransactionStateManager.transactionTopicConfigs`.
fn creatable<W: World>(node: &Node<W>, topic: &str) -> CreatableTopic {
    let settings = &node.settings;
    let (num_partitions, replication_factor, configs) = match topic {
        GROUPS_TOPIC => {
            let segment_bytes = settings.offsets_segment_bytes.to_string();
            let configs = vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", segment_bytes),
            ];
            (settings.offsets_partitions, settings.offsets_replication, configs)
        }
        TRANSACTIONS_TOPIC => {
            let configs = vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("min.insync.replicas", settings.transactions_min_isr.to_string()),
                ("segment.bytes", settings.transactions_segment_bytes.to_string()),
                ("unclean.leader.election.enable", "false".to_owned()),
            ];
            (settings.transactions_partitions, settings.transactions_replication, configs)
        }
        _ => (settings.default_partitions, settings.default_replication, Vec::new()),
    };
    let config = |(name, value): (&str, String)| CreatableTopicConfig { name: name.to_owned(), value: Some(value) };
    CreatableTopic {
        name: topic.to_owned(),
        num_partitions,
        replication_factor,
        configs: configs.into_iter().map(config).collect(),
        ..Default::default()
    }
}
