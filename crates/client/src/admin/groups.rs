//! Groups and their members.

use std::collections::BTreeMap;

use milena_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest, DescribeGroupsRequest,
    ListGroupsRequest, consumer_group_describe_response, describe_groups_response,
};
use milena_protocol::{ErrorCode, Message, TopicPartition};

use super::Admin;
use crate::Error;
use crate::cluster::{Lane, Topics};
use crate::transport::TransportError;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// What it does: `consumer`, `connect`, or empty where only offsets were stored.
    pub protocol_type: String,
    /// Kafka's word for its state.
    pub state: String,
    /// Kafka's word for its type: `Classic`, `Consumer`, `Share`, ...
    pub group_type: String,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// Kafka's word for its state.
    pub state: String,
    /// The assignor in use; empty without members.
    pub assignor: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Given by the coordinator.
    pub member_id: String,
    /// Given by the user, for static membership.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it is to read; empty too where the assignment is not a consumer's.
    pub partitions: Vec<TopicPartition>,
}

impl Admin {
    /// The groups of all brokers.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, Error> {
        let view = self.retried(|| self.cluster.refresh(Topics::Named(&[]))).await?;
        let mut groups = BTreeMap::new();
        for node in view.brokers.keys() {
            let answer = self
                .retried(|| async {
                    let connection = self.cluster.connection(*node, Lane::Requests).await?;
                    let answer = connection.call(&ListGroupsRequest::default()).await?;
                    Error::check(answer.error_code, || format!("the groups of broker {node}"))?;
                    Ok(answer)
                })
                .await?;
            for group in answer.groups {
                let listing = GroupListing {
                    group: group.group_id.clone(),
                    protocol_type: group.protocol_type,
                    state: group.group_state,
                    group_type: group.group_type,
                };
                groups.insert(group.group_id, listing);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// A group of consumers, of either protocol. Errors with GROUP_ID_NOT_FOUND if there is none.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let missing = match self.describe_classic_group(group).await {
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => error,
            known => return known,
        };
        match self.describe_consumer_group(group).await {
            // A broker without the new protocol has told all that it knows.
            Err(Error::Transport(TransportError::NoCommonVersion { .. })) => Err(missing),
            Err(error) if error.code() == Some(ErrorCode::UnsupportedVersion) => Err(missing),
            known => known,
        }
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
        self.retried_at(group, || async {
            let answer = self.cluster.coordinator(group, Lane::Requests).await?.call(&request).await?;
            let what = || format!("group \"{group}\"");
            let found = answer.groups.into_iter().next().ok_or_else(|| Error::Missing { what: what() })?;
            Error::check_with(found.error_code, found.error_message.as_deref(), what)?;
            Ok(GroupDescription {
                group: found.group_id,
                state: found.group_state,
                assignor: found.assignor_name,
                members: found.members.into_iter().map(consumer_member).collect(),
            })
        })
        .await
    }

    async fn describe_classic_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        self.retried_at(group, || async {
            let answer = self.cluster.coordinator(group, Lane::Requests).await?.call(&request).await?;
            let what = || format!("group \"{group}\"");
            let found = answer.groups.into_iter().next().ok_or_else(|| Error::Missing { what: what() })?;
            Error::check_with(found.error_code, found.error_message.as_deref(), what)?;
            // Before version 6 a group that does not exist is described as a dead one (KIP-1043).
            if found.group_state == "Dead" {
                return Err(Error::Refused { what: what(), code: ErrorCode::GroupIdNotFound, message: None });
            }
            Ok(GroupDescription {
                group: found.group_id,
                state: found.group_state,
                assignor: found.protocol_data,
                members: found.members.into_iter().map(member).collect(),
            })
        })
        .await
    }

    /// Deletes a group that has no members, with its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        self.retried_at(group, || async {
            let answer = self.cluster.coordinator(group, Lane::Requests).await?.call(&request).await?;
            let what = || format!("group \"{group}\"");
            let result = answer.results.first().ok_or_else(|| Error::Missing { what: what() })?;
            Error::check(result.error_code, what)
        })
        .await
    }
}

fn member(member: describe_groups_response::DescribedGroupMember) -> GroupMember {
    GroupMember {
        partitions: assigned_partitions(member.member_assignment).unwrap_or_default(),
        member_id: member.member_id,
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
    }
}

fn consumer_member(member: consumer_group_describe_response::Member) -> GroupMember {
    let topics = member.assignment.topic_partitions.into_iter();
    let partitions = topics.flat_map(|topic| {
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(topic.topic_name.clone(), partition))
    });
    GroupMember {
        partitions: partitions.collect(),
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
    }
}

/// What a consumer's assignment says: version, then the message (`ConsumerProtocol`).
pub(crate) fn assigned_partitions(bytes: bytes::Bytes) -> Option<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut decoder = milena_protocol::wire::Decoder::new(bytes);
    let version = decoder.i16().ok()?.min(ConsumerProtocolAssignment::NEWEST);
    let assignment = ConsumerProtocolAssignment::decode(&mut decoder, version).ok()?;
    let topics = assignment.assigned_partitions.into_iter();
    let partitions = topics.flat_map(|topic| {
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(topic.topic.clone(), partition))
    });
    Some(partitions.collect())
}
