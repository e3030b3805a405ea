//! Offsets: where logs begin and end, where a time is, what to delete, and what groups have stored.

use std::collections::BTreeMap;

use milena_base::Millis;
use milena_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    delete_records_request, list_offsets_request, offset_commit_request, offset_delete_request, offset_fetch_request,
};
use milena_protocol::{LeaderEpoch, Offset, TopicPartition};

use super::{Admin, CHANGE_TIMEOUT_MS};
use crate::cluster::{Lane, Topics};
use crate::consumer::Isolation;
use crate::{Cluster, Error};

/// Which offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start.
    Earliest,
    /// The high watermark: the offset of the next record for consumers.
    Latest,
    /// The last stable offset: where reading of committed records ends.
    LastStable,
    /// The first record with this timestamp or a later one.
    At(Millis),
}

impl OffsetSpec {
    /// `ListOffsetsRequest`'s numbers.
    fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest | OffsetSpec::LastStable => -1,
            OffsetSpec::At(time) => time.0,
        }
    }

    fn isolation(self) -> Isolation {
        match self {
            OffsetSpec::LastStable => Isolation::ReadCommitted,
            OffsetSpec::Earliest | OffsetSpec::Latest | OffsetSpec::At(_) => Isolation::ReadUncommitted,
        }
    }
}

/// An offset that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; `None` if no record is that young.
    pub offset: Option<Offset>,
    /// The record's timestamp, when looked for by time.
    pub timestamp: Option<Millis>,
}

/// What a group has stored for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, if the group knew.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the group wrote beside it.
    pub metadata: String,
}

impl Admin {
    /// Looks up offsets in several partitions.
    pub async fn list_offsets(
        &self,
        partitions: &[(TopicPartition, OffsetSpec)],
    ) -> Result<BTreeMap<TopicPartition, FoundOffset>, Error> {
        let mut found = BTreeMap::new();
        for (partition, spec) in partitions {
            found.insert(partition.clone(), find_offset(&self.cluster, partition, *spec).await?);
        }
        Ok(found)
    }

    /// Moves the log start of a partition forward to `before`; `None` is the high watermark. Answers the log start.
    pub async fn delete_records(&self, partition: &TopicPartition, before: Option<Offset>) -> Result<Offset, Error> {
        let request = DeleteRecordsRequest {
            topics: vec![delete_records_request::DeleteRecordsTopic {
                name: partition.topic.clone(),
                partitions: vec![delete_records_request::DeleteRecordsPartition {
                    partition_index: partition.partition,
                    offset: before.unwrap_or(Offset::NONE).0,
                }],
            }],
            timeout_ms: CHANGE_TIMEOUT_MS,
        };
        let mut retry = self.cluster.retry();
        loop {
            let attempt = async {
                let leader = self.cluster.leader(partition).await?;
                let answer = self.cluster.connection(leader.node, Lane::Requests).await?.call(&request).await?;
                let what = || format!("partition {partition}");
                let result = answer.topics.first().and_then(|topic| topic.partitions.first());
                let result = result.ok_or_else(|| Error::Missing { what: what() })?;
                Error::check(result.error_code, what)?;
                Ok(Offset(result.low_watermark))
            };
            match attempt.await {
                Ok(start) => return Ok(start),
                Err(error) => retry.again(error).await?,
            }
            self.cluster.refresh(Topics::Named(std::slice::from_ref(&partition.topic))).await?;
        }
    }

    /// Every offset that a group has stored; empty if there is no such group.
    pub async fn group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Error> {
        self.retried_at(group, || fetch_group_offsets(&self.cluster, group, None)).await
    }

    /// Stores offsets for a group that has no members.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        let committer = Committer::nobody(group);
        self.retried_at(group, || commit_group_offsets(&self.cluster, &committer, offsets)).await
    }

    /// Forgets offsets of a group in partitions that none of its members subscribes to.
    pub async fn delete_group_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), Error> {
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())));
        let topic = |(name, partitions): (String, Vec<(i32, ())>)| offset_delete_request::OffsetDeleteRequestTopic {
            name,
            partitions: partitions
                .into_iter()
                .map(|(partition_index, ())| offset_delete_request::OffsetDeleteRequestPartition { partition_index })
                .collect(),
        };
        let request =
            OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.into_iter().map(topic).collect() };
        self.retried_at(group, || async {
            let answer = self.cluster.coordinator(group, Lane::Requests).await?.call(&request).await?;
            Error::check(answer.error_code, || format!("group \"{group}\""))?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    Error::check(partition.error_code, || {
                        format!("group \"{group}\", partition {}-{}", topic.name, partition.partition_index)
                    })?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Looks up one offset at the partition's leader, wherever that moves meanwhile.
pub(crate) async fn find_offset(
    cluster: &Cluster,
    partition: &TopicPartition,
    spec: OffsetSpec,
) -> Result<FoundOffset, Error> {
    let mut retry = cluster.retry();
    loop {
        match ask_offset(cluster, partition, spec).await {
            Ok(found) => return Ok(found),
            Err(error) => retry.again(error).await?,
        }
        cluster.refresh(Topics::Named(std::slice::from_ref(&partition.topic))).await?;
    }
}

async fn ask_offset(cluster: &Cluster, partition: &TopicPartition, spec: OffsetSpec) -> Result<FoundOffset, Error> {
    let leader = cluster.leader(partition).await?;
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: spec.isolation().number(),
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: partition.topic.clone(),
            partitions: vec![list_offsets_request::ListOffsetsPartition {
                partition_index: partition.partition,
                current_leader_epoch: leader.epoch.0,
                timestamp: spec.timestamp(),
            }],
        }],
        timeout_ms: CHANGE_TIMEOUT_MS,
    };
    let answer = cluster.connection(leader.node, Lane::Requests).await?.call(&request).await?;
    let what = || format!("partition {partition}");
    let result = answer.topics.first().and_then(|topic| topic.partitions.first());
    let result = result.ok_or_else(|| Error::Missing { what: what() })?;
    Error::check(result.error_code, what)?;
    Ok(FoundOffset {
        offset: Some(Offset(result.offset)).filter(|offset| *offset != Offset::NONE),
        timestamp: Some(Millis(result.timestamp)).filter(|timestamp| *timestamp != Millis::NONE),
    })
}

/// Who stores offsets of a group: a member in its generation, or nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committer {
    /// The group.
    pub group: String,
    /// The generation that the member is in; -1 is nobody's.
    pub generation: i32,
    /// The member's id; empty is nobody.
    pub member_id: String,
    /// The member's instance id, if it is static.
    pub instance_id: Option<String>,
}

impl Committer {
    /// Whoever stores offsets of a group without members.
    pub fn nobody(group: impl Into<String>) -> Committer {
        Committer { group: group.into(), generation: -1, member_id: String::new(), instance_id: None }
    }
}

/// Stores offsets once. Topics go by name and id; the version decides which is written.
pub(crate) async fn commit_group_offsets(
    cluster: &Cluster,
    committer: &Committer,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), Error> {
    let group = &committer.group;
    let mut topics = Vec::new();
    for (name, partitions) in by_topic(offsets.iter().map(|(partition, offset)| (partition, *offset))) {
        let topic_id = cluster.topic(&name).await?.id;
        let partition =
            |(partition_index, offset): (i32, Offset)| offset_commit_request::OffsetCommitRequestPartition {
                partition_index,
                committed_offset: offset.0,
                committed_metadata: Some(String::new()),
                ..Default::default()
            };
        let partitions = partitions.into_iter().map(partition).collect();
        topics.push(offset_commit_request::OffsetCommitRequestTopic { name, topic_id, partitions });
    }
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id.clone(),
        group_instance_id: committer.instance_id.clone(),
        topics,
        ..Default::default()
    };
    let answer = cluster.coordinator(group, Lane::Requests).await?.call(&request).await?;
    for topic in answer.topics {
        let name =
            if topic.name.is_empty() { cluster.topic_name(topic.topic_id).unwrap_or_default() } else { topic.name };
        for partition in topic.partitions {
            Error::check(partition.error_code, || {
                format!("group \"{group}\", partition {name}-{}", partition.partition_index)
            })?;
        }
    }
    Ok(())
}

/// Reads what a group has stored, for these partitions or all. Partitions without an offset are left out.
///
/// Since version 10 topics are identified rather than named; then the ids of all topics must be known.
pub(crate) async fn fetch_group_offsets(
    cluster: &Cluster,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Error> {
    let topics = match partitions {
        None => None,
        Some(partitions) => {
            let mut topics = Vec::new();
            for (name, partitions) in by_topic(partitions.iter().map(|partition| (partition, ()))) {
                let topic_id = cluster.topic(&name).await?.id;
                let partition_indexes = partitions.into_iter().map(|(partition, ())| partition).collect();
                topics.push(offset_fetch_request::OffsetFetchRequestTopics { name, topic_id, partition_indexes });
            }
            Some(topics)
        }
    };
    let asked =
        offset_fetch_request::OffsetFetchRequestGroup { group_id: group.to_owned(), topics, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![asked], require_stable: true, ..Default::default() };
    let answer = cluster.coordinator(group, Lane::Requests).await?.call(&request).await?;
    let Some(found) = answer.groups.into_iter().next() else {
        return Err(Error::Missing { what: format!("group \"{group}\"") });
    };
    Error::check(found.error_code, || format!("group \"{group}\""))?;
    if found.topics.iter().any(|topic| topic.name.is_empty() && cluster.topic_name(topic.topic_id).is_none()) {
        cluster.refresh(Topics::All).await?;
    }
    let mut offsets = BTreeMap::new();
    for topic in found.topics {
        // A topic that was deleted meanwhile has no name any more, and its offsets no meaning.
        let name = Some(topic.name).filter(|name| !name.is_empty()).or_else(|| cluster.topic_name(topic.topic_id));
        let Some(name) = name else { continue };
        for partition in topic.partitions {
            Error::check(partition.error_code, || {
                format!("group \"{group}\", partition {name}-{}", partition.partition_index)
            })?;
            if partition.committed_offset >= 0 {
                let committed = CommittedOffset {
                    offset: Offset(partition.committed_offset),
                    leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                    metadata: partition.metadata.unwrap_or_default(),
                };
                offsets.insert(TopicPartition::new(name.clone(), partition.partition_index), committed);
            }
        }
    }
    Ok(offsets)
}

/// Groups partitions under their topics, as requests want them.
pub(crate) fn by_topic<'a, T>(
    partitions: impl Iterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<String, Vec<(i32, T)>> {
    let mut topics: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics.entry(partition.topic.clone()).or_default().push((partition.partition, value));
    }
    topics
}
