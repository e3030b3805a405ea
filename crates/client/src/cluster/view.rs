//! What a cluster looks like from outside: brokers, topics, leaders. A view is a value; asking again makes another.

use std::collections::BTreeMap;

use milena_protocol::messages::{MetadataResponse, metadata_response};
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Uuid};

use crate::Error;
use crate::transport::Address;

/// What a Metadata answer said, and earlier ones about topics that it did not mention.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The cluster's id, once a broker named it.
    pub cluster_id: Option<String>,
    /// Where requests for the controller go; brokers pass them on.
    pub controller: Option<NodeId>,
    /// Brokers that are alive.
    pub brokers: BTreeMap<NodeId, BrokerView>,
    /// Topics that were asked for and exist.
    pub topics: BTreeMap<String, TopicView>,
    /// Why topics that were asked for are not among them.
    refused: BTreeMap<String, ErrorCode>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerView {
    /// Where it can be reached from here.
    pub address: Address,
    /// Where it stands.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// The topic's name.
    pub name: String,
    /// Its id; zero from brokers before 2.8.
    pub id: Uuid,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
    /// Its partitions by number.
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// Who leads it, if anybody.
    pub leader: Option<NodeId>,
    /// Counts its leaders.
    pub leader_epoch: LeaderEpoch,
    /// Who keeps a copy, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Copies that are up to date.
    pub isr: Vec<NodeId>,
    /// Copies that are not alive.
    pub offline: Vec<NodeId>,
}

/// Whom to ask about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// The leading broker.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The topic's id.
    pub topic_id: Uuid,
}

impl View {
    /// This view with what a newer answer says.
    pub(crate) fn updated(&self, response: MetadataResponse) -> View {
        let mut view = View {
            cluster_id: response.cluster_id,
            controller: Some(NodeId(response.controller_id)).filter(|node| *node != NodeId::NONE),
            brokers: response.brokers.into_iter().map(broker).collect(),
            topics: self.topics.clone(),
            refused: BTreeMap::new(),
        };
        for topic in response.topics {
            let Some(name) = topic.name.clone() else { continue };
            match ErrorCode::from_number(topic.error_code) {
                ErrorCode::None => {
                    let fresh = topic_view(name.clone(), topic, self.topics.get(&name));
                    view.topics.insert(name, fresh);
                }
                code => {
                    view.topics.remove(&name);
                    view.refused.insert(name, code);
                }
            }
        }
        view
    }

    /// Why a topic that was just asked for is not in the view.
    pub(crate) fn absence(&self, name: &str) -> Error {
        match self.refused.get(name) {
            Some(code) => Error::Refused { what: format!("topic \"{name}\""), code: *code, message: None },
            None => Error::Missing { what: format!("topic \"{name}\"") },
        }
    }
}

impl TopicView {
    /// Who leads one of its partitions.
    pub fn leader(&self, partition: i32) -> Result<Leader, Error> {
        let Some(found) = self.partitions.get(&partition) else {
            return Err(Error::NoSuchPartition { topic: self.name.clone(), partition });
        };
        let what = || format!("partition {}-{partition}", self.name);
        match found.leader {
            Some(node) => Ok(Leader { node, epoch: found.leader_epoch, topic_id: self.id }),
            None => Err(Error::Refused { what: what(), code: ErrorCode::LeaderNotAvailable, message: None }),
        }
    }
}

fn broker(broker: metadata_response::MetadataResponseBroker) -> (NodeId, BrokerView) {
    let port = u16::try_from(broker.port).unwrap_or_default();
    (NodeId(broker.node_id), BrokerView { address: Address::new(broker.host, port), rack: broker.rack })
}

/// A topic as the answer has it. A partition's leader stays if the answer comes from a broker that lags behind:
/// its leader epoch is smaller (KIP-320).
fn topic_view(name: String, topic: metadata_response::MetadataResponseTopic, known: Option<&TopicView>) -> TopicView {
    let known = known.filter(|known| known.id == topic.topic_id);
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect::<Vec<_>>();
    let partitions = topic.partitions.into_iter().map(|partition| {
        let fresh = PartitionView {
            leader: Some(NodeId(partition.leader_id)).filter(|leader| *leader != NodeId::NONE),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            replicas: nodes(partition.replica_nodes),
            isr: nodes(partition.isr_nodes),
            offline: nodes(partition.offline_replicas),
        };
        let number = partition.partition_index;
        let newer = known
            .and_then(|known| known.partitions.get(&number))
            .filter(|kept| fresh.leader_epoch != LeaderEpoch::NONE && kept.leader_epoch > fresh.leader_epoch);
        (number, newer.cloned().unwrap_or(fresh))
    });
    TopicView { id: topic.topic_id, is_internal: topic.is_internal, partitions: partitions.collect(), name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(epoch: i32, leader: i32) -> MetadataResponse {
        let partition = metadata_response::MetadataResponsePartition {
            leader_id: leader,
            leader_epoch: epoch,
            ..Default::default()
        };
        let topic = metadata_response::MetadataResponseTopic {
            name: Some("t".to_owned()),
            partitions: vec![partition],
            ..Default::default()
        };
        MetadataResponse { topics: vec![topic], ..Default::default() }
    }

    fn leader(view: &View) -> Option<NodeId> {
        view.topics["t"].partitions[&0].leader
    }

    #[test]
    fn an_answer_with_an_older_leader_epoch_changes_no_leader() {
        let view = View::default().updated(answer(5, 1));
        assert_eq!(leader(&view), Some(NodeId(1)));
        assert_eq!(leader(&view.updated(answer(4, 2))), Some(NodeId(1)));
        assert_eq!(leader(&view.updated(answer(6, 2))), Some(NodeId(2)));
    }

    #[test]
    fn a_topic_that_is_refused_leaves_the_view_with_its_reason() {
        let view = View::default().updated(answer(1, 1));
        let mut gone = answer(1, 1);
        gone.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.number();
        let view = view.updated(gone);
        assert!(view.topics.is_empty());
        assert_eq!(view.absence("t").code(), Some(ErrorCode::UnknownTopicOrPartition));
    }
}
