//! Who may commit and read offsets of a consumer group (trap 137). Source: `ConsumerGroup.validateOffsetCommit`,
//! `validateOffsetFetch`.

use milena_protocol::ErrorCode;
use milena_protocol::messages::OffsetCommitRequest;
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

use super::group::ConsumerGroup;
use super::member::Member;

/// First version of OffsetCommit that carries a member epoch.
const MEMBER_EPOCH_VERSION: i16 = 9;

impl ConsumerGroup {
    /// Whether the sender of a commit may commit now. An older epoch will do for partitions that the member has
    /// had since then (KIP-1251).
    pub(in crate::group) fn validate_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id_or_member_epoch;
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&request.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.classic.is_none() && version < MEMBER_EPOCH_VERSION {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if epoch == member.epoch {
            return Ok(());
        }
        let has_had = |topic, partition| member.assignment_epoch(topic, partition).is_some_and(|since| epoch >= since);
        let partitions =
            request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| (topic.topic_id, one)));
        let mut partitions = partitions.map(|(topic, partition)| (topic, partition.partition_index));
        if epoch < member.epoch && partitions.all(|(topic, partition)| has_had(topic, partition)) {
            return Ok(());
        }
        Err(stale(member))
    }

    /// Whether the sender of a fetch may know the offsets: tools, which name no member, always.
    pub(in crate::group) fn validate_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
        let Some(member_id) = &request.member_id else {
            return if request.member_epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if request.member_epoch == member.epoch { Ok(()) } else { Err(stale(member)) }
    }
}

fn stale(member: &Member) -> ErrorCode {
    if member.classic.is_some() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}
