//! Fetches that are under way: at most one per broker, each a task of its own, so that records come in while the
//! owner works. Their number bounds the memory: one answer per broker, besides the records at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_protocol::messages::{FetchRequest, FetchResponse, fetch_request, fetch_response};
use milena_protocol::{NodeId, Offset, TopicPartition};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ConsumerSettings;
use super::positions::Positions;
use crate::cluster::{ConsumerNumber, Lane, Leader};
use crate::task::outcome;
use crate::{Cluster, Error};

/// The fetches of one consumer. Dropping it gives them up.
pub(super) struct Fetching {
    consumer: ConsumerNumber,
    tasks: JoinSet<Fetched>,
    busy: BTreeSet<NodeId>,
}

/// What one broker answered.
pub(super) struct Fetched {
    node: NodeId,
    pub(super) partitions: Vec<FetchedPartition>,
}

/// What it answered about one partition.
pub(super) struct FetchedPartition {
    pub(super) partition: TopicPartition,
    /// The offset that was asked for.
    pub(super) asked: Offset,
    pub(super) result: Result<fetch_response::PartitionData, Error>,
}

/// One partition in a request.
struct Wanted {
    partition: TopicPartition,
    offset: Offset,
    leader: Leader,
}

impl Fetching {
    pub(super) fn new(consumer: ConsumerNumber) -> Fetching {
        Fetching { consumer, tasks: JoinSet::new(), busy: BTreeSet::new() }
    }

    /// Asks every idle broker for the partitions that it leads and that run low.
    pub(super) fn start(&mut self, cluster: &Cluster, settings: &ConsumerSettings, positions: &mut Positions) {
        let view = cluster.view();
        let mut by_leader: BTreeMap<NodeId, Vec<Wanted>> = BTreeMap::new();
        let mut leaderless = Vec::new();
        for (partition, offset) in positions.hungry(Instant::now(), settings.event_records_max) {
            let leader = view.topics.get(&partition.topic).and_then(|topic| topic.leader(partition.partition).ok());
            match leader {
                Some(leader) => {
                    by_leader.entry(leader.node).or_default().push(Wanted { partition, offset, leader });
                }
                None => leaderless.push((partition, offset)),
            }
        }
        for (node, wanted) in by_leader {
            if self.busy.insert(node) {
                self.tasks.spawn(fetch(
                    cluster.clone(),
                    settings.clone(),
                    (node, Lane::Fetches(self.consumer)),
                    wanted,
                ));
            }
        }
        // The answer "no leader" makes the consumer ask for the leaders after a pause.
        if !leaderless.is_empty() && self.busy.insert(NodeId::NONE) {
            self.tasks.spawn(async move { answer_missing(leaderless) });
        }
    }

    /// Waits for the next answer; for ever if there is none under way.
    pub(super) async fn next(&mut self) -> Fetched {
        match self.tasks.join_next().await {
            Some(joined) => {
                let fetched = outcome(joined).await;
                self.busy.remove(&fetched.node);
                fetched
            }
            None => std::future::pending().await,
        }
    }
}

async fn fetch(cluster: Cluster, settings: ConsumerSettings, from: (NodeId, Lane), wanted: Vec<Wanted>) -> Fetched {
    let request = request(&settings, &wanted);
    let limit = cluster.settings().connection.request_timeout + settings.fetch_wait;
    let partitions = match ask(&cluster, from, &request, limit).await {
        Ok(response) => answer(response, wanted),
        Err(error) => wanted
            .into_iter()
            .map(|wanted| FetchedPartition {
                partition: wanted.partition,
                asked: wanted.offset,
                result: Err(error.clone()),
            })
            .collect(),
    };
    Fetched { node: from.0, partitions }
}

async fn ask(
    cluster: &Cluster,
    (node, lane): (NodeId, Lane),
    request: &FetchRequest,
    limit: Duration,
) -> Result<FetchResponse, Error> {
    let response = cluster.connection(node, lane).await?.call_within(request, limit).await?;
    Error::check(response.error_code, || format!("the fetch from broker {node}"))?;
    Ok(response)
}

fn request(settings: &ConsumerSettings, wanted: &[Wanted]) -> FetchRequest {
    let mut topics: Vec<fetch_request::FetchTopic> = Vec::new();
    for wanted in wanted {
        let partition = fetch_request::FetchPartition {
            partition: wanted.partition.partition,
            current_leader_epoch: wanted.leader.epoch.0,
            fetch_offset: wanted.offset.0,
            partition_max_bytes: settings.partition_bytes_max,
            ..Default::default()
        };
        match topics.last_mut().filter(|topic| topic.topic == wanted.partition.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(fetch_request::FetchTopic {
                topic: wanted.partition.topic.clone(),
                topic_id: wanted.leader.topic_id,
                partitions: vec![partition],
            }),
        }
    }
    FetchRequest {
        max_wait_ms: i32::try_from(settings.fetch_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: settings.fetch_bytes_min,
        max_bytes: settings.fetch_bytes_max,
        isolation_level: settings.isolation.number(),
        // No fetch session: every request is complete.
        session_id: 0,
        session_epoch: -1,
        topics,
        ..Default::default()
    }
}

/// Finds each partition in the answer, whose topics are named, or identified from version 13 on.
fn answer(response: FetchResponse, wanted: Vec<Wanted>) -> Vec<FetchedPartition> {
    let mut topics = response.responses;
    let found = wanted.into_iter().map(|wanted| {
        let is_it = |topic: &&mut fetch_response::FetchableTopicResponse| match topic.topic.is_empty() {
            true => topic.topic_id == wanted.leader.topic_id,
            false => topic.topic == wanted.partition.topic,
        };
        let number = wanted.partition.partition;
        let data = topics
            .iter_mut()
            .filter(is_it)
            .flat_map(|topic| topic.partitions.iter_mut())
            .find(|data| data.partition_index == number);
        let missing = || Error::Missing { what: format!("partition {}", wanted.partition) };
        let result = data.map(std::mem::take).ok_or_else(missing);
        FetchedPartition { partition: wanted.partition, asked: wanted.offset, result }
    });
    found.collect()
}

fn answer_missing(partitions: Vec<(TopicPartition, Offset)>) -> Fetched {
    let missing = |(partition, asked): (TopicPartition, Offset)| {
        let what = format!("the leader of partition {partition}");
        FetchedPartition { partition, asked, result: Err(Error::Missing { what }) }
    };
    Fetched { node: NodeId::NONE, partitions: partitions.into_iter().map(missing).collect() }
}
