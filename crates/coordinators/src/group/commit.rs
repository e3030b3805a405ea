//! OffsetCommit, OffsetFetch and OffsetDelete.
//!
//! Source: `OffsetMetadataManager`, `ClassicGroup.validateOffsetCommit`.

use milena_base::Millis;
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use milena_protocol::messages::{
    OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue, OffsetDeleteRequest,
    OffsetDeleteResponse,
};
use milena_protocol::{ErrorCode, Uuid};

use super::classic::{ClassicGroup, State, Step};
use super::kind::Group;
use super::offsets::{Committed, Offsets};
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
    group: Option<&ClassicGroup>,
    request: OffsetCommitRequest,
    version: i16,
) -> Result<OffsetCommitResponse, (OffsetCommitRequest, ErrorCode)> {
    if let Err(error) = validate(group, &request, version) {
        return Err((request, error));
    }
    if let Some(group) = group
        && matches!(group.state, State::Stable | State::Preparing { .. })
    {
        group.refresh_session(step, &request.member_id);
    }
    Ok(write(step, request))
}

/// Writes the offsets of a commit that may be made, but for those whose metadata is too long.
pub(super) fn write(step: &mut Step<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let expire_timestamp = match request.retention_time_ms {
        -1 => -1,
        retention => (step.now + Millis(retention)).0,
    };
    let mut response = OffsetCommitResponse::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let metadata = partition.committed_metadata.unwrap_or_default();
            let fits = metadata.encode_utf16().count() <= step.settings.offset_metadata_max;
            let error = if fits { ErrorCode::None } else { ErrorCode::OffsetMetadataTooLarge };
            let partition_index = partition.partition_index;
            partitions.push(OffsetCommitResponsePartition { partition_index, error_code: error.number() });
            if !fits {
                continue;
            }
            let group = request.group_id.clone();
            let key = OffsetCommitKey { group, topic: topic.name.clone(), partition: partition_index };
            let value = OffsetCommitValue {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata,
                commit_timestamp: step.now.0,
                expire_timestamp,
                topic_id: topic.topic_id,
            };
            step.records.push(record::offset(&key, &value));
        }
        response.topics.push(OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
    }
    response
}

fn validate(group: Option<&ClassicGroup>, request: &OffsetCommitRequest, version: i16) -> Result<(), ErrorCode> {
    match group {
        Some(group) => group.validate_commit(request),
        None if request.generation_id_or_member_epoch < 0 => Ok(()),
        None if version >= GROUP_ID_NOT_FOUND_VERSION => Err(ErrorCode::GroupIdNotFound),
        None => Err(ErrorCode::IllegalGeneration),
    }
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
