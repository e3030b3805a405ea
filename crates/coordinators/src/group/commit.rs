//! OffsetCommit, OffsetFetch and OffsetDelete.
//!
//! Source: `OffsetMetadataManager`, `ClassicGroup.validateOffsetCommit`.

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use milena_protocol::messages::{
    OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue, OffsetDeleteRequest,
    OffsetDeleteResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
};
use milena_protocol::{ErrorCode, Uuid};

use super::Settings;
use super::classic::{ClassicGroup, State, Step};
use super::kind::Group;
use super::offsets::{Committed, Offsets};
#[cfg(test)]
use super::planted::Bug;
use super::record;
use super::request::no_offset;
use crate::CoordinatorRecord;

/// First version that learns that a group does not exist.
const GROUP_ID_NOT_FOUND_VERSION: i16 = 9;

impl ClassicGroup {
    /// Whether the sender of a commit may commit now. Without a generation it may only while nobody else is there.
    fn validate_commit(&self, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && request.member_id.is_empty() && request.group_instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // It knows the new generation, but not yet what it owns there.
        if self.state == State::Completing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether the sender may commit in a transaction (KIP-447). Those who name neither member nor generation are
    /// trusted, as the clients before version 3; the state of the group does not matter.
    fn validate_transactional_commit(&self, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
        let is_empty = request.generation_id < 0 && self.state == State::Empty;
        let names_nobody =
            request.generation_id < 0 && request.member_id.is_empty() && request.group_instance_id.is_none();
        if is_empty || names_nobody {
            return Ok(());
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        match request.generation_id == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    pub(super) fn validate_offset_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            State::Empty => Ok(()),
            _ if self.is_consumer() => Ok(()),
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }
}

/// One OffsetCommit. A group that does not exist is made by the replay of its first offset, if the sender claims
/// no generation in it.
pub(super) fn commit(
    step: &mut Step<'_>,
    group: Option<Group<'_>>,
    request: OffsetCommitRequest,
    version: i16,
) -> Result<OffsetCommitResponse, (OffsetCommitRequest, ErrorCode)> {
    let validated = validate(step.settings, group, &request, version);
    #[cfg(test)]
    let validated = match validated {
        Err(ErrorCode::IllegalGeneration) if step.settings.has(Bug::StaleGeneration) => Ok(()),
        Err(ErrorCode::RebalanceInProgress) if step.settings.has(Bug::CommitWithoutPart) => Ok(()),
        honest => honest,
    };
    if let Err(error) = validated {
        return Err((request, error));
    }
    #[cfg(test)]
    let group = group.filter(|_| !step.settings.has(Bug::CommitIsNoSignOfLife));
    if let Some(Group::Classic(group)) = group
        && matches!(group.state, State::Stable | State::Preparing { .. })
    {
        group.refresh_session(step, &request.member_id);
    }
    let expire_timestamp = match request.retention_time_ms {
        -1 => -1,
        retention => (step.now + Millis(retention)).0,
    };
    let mut response = OffsetCommitResponse::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let partition_index = partition.partition_index;
            let key = key(&request.group_id, &topic.name, partition_index);
            let value = OffsetCommitValue {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.unwrap_or_default(),
                commit_timestamp: step.now.0,
                expire_timestamp,
                topic_id: topic.topic_id,
            };
            let error_code = store(step, &key, &value).number();
            partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
        }
        response.topics.push(OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
    }
    Ok(response)
}

fn validate(
    settings: &Settings,
    group: Option<Group<'_>>,
    request: &OffsetCommitRequest,
    version: i16,
) -> Result<(), ErrorCode> {
    match group {
        Some(Group::Classic(group)) => group.validate_commit(request),
        Some(Group::Consumer(group)) => group.validate_commit(settings, request, version),
        None if request.generation_id_or_member_epoch < 0 => Ok(()),
        None if version >= GROUP_ID_NOT_FOUND_VERSION => Err(ErrorCode::GroupIdNotFound),
        None => Err(ErrorCode::IllegalGeneration),
    }
}

/// One TxnOffsetCommit. A group that does not exist is made as by [`commit`].
pub(super) fn commit_in_transaction(
    step: &mut Step<'_>,
    group: Option<Group<'_>>,
    image: &Image,
    request: &TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    match group {
        Some(Group::Classic(group)) => group.validate_transactional_commit(request)?,
        Some(Group::Consumer(group)) => group.validate_transactional_commit(step.settings, image, request)?,
        None if request.generation_id < 0 => {}
        None => return Err(ErrorCode::IllegalGeneration),
    }
    let mut response = TxnOffsetCommitResponse::default();
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let partition_index = partition.partition_index;
            let key = key(&request.group_id, &topic.name, partition_index);
            let value = OffsetCommitValue {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.clone().unwrap_or_default(),
                commit_timestamp: step.now.0,
                expire_timestamp: -1,
                topic_id: Uuid::ZERO,
            };
            let error_code = store(step, &key, &value).number();
            partitions.push(TxnOffsetCommitResponsePartition { partition_index, error_code });
        }
        response.topics.push(TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions });
    }
    Ok(response)
}

fn key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }
}

/// Whether that metadata may not be stored (trap 121).
pub(super) fn is_too_large(settings: &Settings, metadata: Option<&str>) -> bool {
    metadata.is_some_and(|metadata| metadata.encode_utf16().count() > settings.offset_metadata_max)
}

/// Adds an offset to the decision, unless its metadata is too large (trap 121).
fn store(step: &mut Step<'_>, key: &OffsetCommitKey, value: &OffsetCommitValue) -> ErrorCode {
    if is_too_large(step.settings, Some(&value.metadata)) {
        return ErrorCode::OffsetMetadataTooLarge;
    }
    step.records.push(record::offset(key, value));
    ErrorCode::None
}

/// One group of an OffsetFetch. What is not known has offset −1 and no error.
pub(super) fn fetch(
    offsets: &Offsets,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let id = group.group_id;
    let partition = |topic: &str, index: i32, committed: Option<&Committed>| {
        if require_stable && offsets.is_pending(&id, topic, index) {
            return no_offset(index, ErrorCode::UnstableOffsetCommit);
        }
        let Some(committed) = committed else { return no_offset(index, ErrorCode::None) };
        OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata.clone()),
            error_code: 0,
        }
    };
    let topics: Vec<OffsetFetchResponseTopics> = match group.topics {
        None => {
            let all =
                offsets.of_group(&id).into_iter().flatten().map(|(topic, partitions)| OffsetFetchResponseTopics {
                    name: topic.clone(),
                    topic_id: Uuid::ZERO,
                    partitions: partitions.iter().map(|(index, found)| partition(topic, *index, Some(found))).collect(),
                });
            all.collect()
        }
        Some(topics) => {
            let asked = topics.into_iter().map(|topic| {
                let of_topic = |index: &i32| {
                    let found = offsets.committed(&id, &topic.name, *index);
                    partition(&topic.name, *index, found.filter(|found| is_same_topic(found.topic_id, topic.topic_id)))
                };
                let partitions = topic.partition_indexes.iter().map(of_topic).collect();
                OffsetFetchResponseTopics { name: topic.name, topic_id: topic.topic_id, partitions }
            });
            asked.collect()
        }
    };
    OffsetFetchResponseGroup { group_id: id, topics, ..Default::default() }
}

/// Unknown ids are taken for the same: old records and old clients have none.
fn is_same_topic(one: Uuid, other: Uuid) -> bool {
    one == Uuid::ZERO || other == Uuid::ZERO || one == other
}

/// One OffsetDelete. Offsets of topics that a member is subscribed to stay.
pub(super) fn delete(
    records: &mut Vec<CoordinatorRecord>,
    group: Option<Group<'_>>,
    offsets: &Offsets,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let valid =
        group.ok_or(ErrorCode::GroupIdNotFound).and_then(|group| group.validate_offset_delete().map(|()| group));
    let group = match valid {
        Ok(group) => group,
        Err(error) => return OffsetDeleteResponse { error_code: error.number(), ..Default::default() },
    };
    let mut response = OffsetDeleteResponse::default();
    for topic in request.topics {
        let subscribed = group.is_subscribed(&topic.name);
        let error_code = if subscribed { ErrorCode::GroupSubscribedToTopic.number() } else { 0 };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let partition_index = partition.partition_index;
            let id = &request.group_id;
            let exists = offsets.committed(id, &topic.name, partition_index).is_some()
                || offsets.is_pending(id, &topic.name, partition_index);
            if exists && !subscribed {
                records.push(record::offset_tombstone(id, &topic.name, partition_index));
            }
            partitions.push(OffsetDeleteResponsePartition { partition_index, error_code });
        }
        response.topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions });
    }
    response
}
