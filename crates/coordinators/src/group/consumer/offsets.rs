//! Who may commit and read offsets of a consumer group (trap 137). Source: `ConsumerGroup.validateOffsetCommit`,
//! `validateOffsetFetch`.

use milena_metadata::image::Image;
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::{OffsetCommitRequest, TxnOffsetCommitRequest};
use milena_protocol::{ErrorCode, Uuid};

use super::group::ConsumerGroup;
use super::member::Member;
use crate::group::Settings;
use crate::group::commit::is_too_large;
#[cfg(test)]
use crate::group::planted::Bug;

/// First version of OffsetCommit that carries a member epoch.
const MEMBER_EPOCH_VERSION: i16 = 9;

impl ConsumerGroup {
    /// Whether the sender of a commit may commit now. Without an epoch it may only while nobody is there.
    pub(in crate::group) fn validate_commit(
        &self,
        settings: &Settings,
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
        #[cfg(test)]
        let planted = if member.classic.is_some() { Bug::ClassicStaleCommit } else { Bug::StaleCommit };
        #[cfg(test)]
        if settings.has(planted) && epoch < member.epoch {
            return Ok(());
        }
        let places = request.topics.iter().flat_map(|topic| {
            let stored = topic.partitions.iter();
            let stored = stored.filter(|one| !is_too_large(settings, one.committed_metadata.as_deref()));
            stored.map(|one| (topic.topic_id, one.partition_index))
        });
        member.may_commit(epoch, places)
    }

    /// Whether the sender may commit in a transaction (KIP-447). Those who name neither member nor epoch are
    /// trusted, as the clients before version 3. Topics have no ids there: they are those that `image` knows by name.
    pub(in crate::group) fn validate_transactional_commit(
        &self,
        settings: &Settings,
        image: &Image,
        request: &TxnOffsetCommitRequest,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id;
        let names_nobody = epoch == -1 && request.member_id.is_empty() && request.group_instance_id.is_none();
        if names_nobody || epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&request.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        let places = request.topics.iter().flat_map(|topic| {
            let id = image.topic(&topic.name).map_or(Uuid::ZERO, |known| known.id);
            let stored = topic.partitions.iter();
            // A topic that is gone belongs to nobody, whatever is to be stored.
            let stored = stored
                .filter(move |one| id == Uuid::ZERO || !is_too_large(settings, one.committed_metadata.as_deref()));
            stored.map(move |one| (id, one.partition_index))
        });
        member.may_commit(epoch, places).map_err(|_| ErrorCode::IllegalGeneration)
    }

    /// Whether the sender of a fetch may know the offsets: tools, which name no member, always.
    pub(in crate::group) fn validate_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
        let Some(member_id) = &request.member_id else {
            return if request.member_epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if request.member_epoch == member.epoch { Ok(()) } else { Err(member.is_stale()) }
    }
}

impl Member {
    /// An older epoch will do for partitions that the member has had since then (KIP-1251).
    fn may_commit(&self, epoch: i32, mut places: impl Iterator<Item = (Uuid, i32)>) -> Result<(), ErrorCode> {
        let has_had = |(topic, partition)| self.assignment_epoch(topic, partition).is_some_and(|since| epoch >= since);
        if epoch == self.epoch || epoch < self.epoch && places.all(has_had) { Ok(()) } else { Err(self.is_stale()) }
    }

    /// What a member is told whose epoch is not its present one.
    fn is_stale(&self) -> ErrorCode {
        if self.classic.is_some() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
    }
}
