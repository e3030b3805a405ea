//! A group changes its kind while it lives. A classic one becomes a consumer group with the first member of the new
//! protocol; a consumer group becomes a classic one when the last such member goes. The members that stay keep what they
//! have, and are told to join again.
//!
//! ```text
//!   generation n, assignments      ──►  group epoch n, members at epoch n, targets       and one more for the newcomer
//!   generation n, and a rebalance  ◄──  group epoch n, targets
//! ```
//!
//! Both ways the records of one kind are all removed, and those of the other written, in one batch.
//!
//! Source: `convertToConsumerGroup`, `convertToClassicGroup` of `GroupMetadataManager`.

use std::collections::BTreeSet;

use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use super::advance::Claim;
use super::group::ConsumerGroup;
use super::limits::{Limit, cancel_all, set_limit};
use super::member::{Member, Owned, Partitions};
use super::protocol::{self, CONSUMER, Subscription};
use super::target::Target;
use super::{Consumers, Refusal, record};
use crate::CoordinatorRecord;
use crate::group::Settings;
use crate::group::classic::{ClassicGroup, State, Step, Timer};
use crate::group::member::Member as ClassicMember;
#[cfg(test)]
use crate::group::planted::Bug;
use crate::group::record::{self as group_record, Parsed};

impl Consumers {
    /// The consumer group that a classic one with members becomes; its records are written down.
    ///
    /// # Errors
    /// If the settings or its members do not allow it.
    pub(super) fn upgrade(&self, step: &mut Step<'_>, classic: &ClassicGroup) -> Result<ConsumerGroup, Refusal> {
        let id = step.group_id;
        let settings = &step.settings.consumer;
        let refused = |why: &str| {
            let message = format!("Cannot upgrade classic group {id} to consumer group because {why}.");
            Refusal::new(ErrorCode::GroupIdNotFound, message)
        };
        if !settings.migration.allows_upgrade() {
            return Err(refused("online upgrade is disabled"));
        }
        if !classic.is_consumer() {
            return Err(refused("the group does not use the consumer embedded protocol"));
        }
        if classic.members.len() > settings.size_max {
            return Err(refused("the group size exceeds the consumer group maximum size"));
        }
        let mut taken = BTreeSet::new();
        let mut members = Vec::with_capacity(classic.members.len());
        for (member_id, member) in &classic.members {
            let upgraded = self.upgraded(classic, member_id, member, &mut taken);
            members.push(upgraded.ok_or_else(|| refused("its members use the embedded protocol in another way"))?);
        }
        #[cfg(test)]
        members.iter_mut().for_each(|member| member_with_planted_faults(step.settings, member));
        let from = step.records.len();
        self.write_upgraded(step, classic.generation, &members);
        Ok(with_records(ConsumerGroup::default(), &step.records[from..]))
    }

    /// A member as it is, with the partitions that exist and that no other member was given too.
    fn upgraded(
        &self,
        classic: &ClassicGroup,
        member_id: &str,
        member: &ClassicMember,
        taken: &mut BTreeSet<(milena_protocol::Uuid, i32)>,
    ) -> Option<Member> {
        // Before its first generation a group has not chosen among the protocols, which bring the same subscription.
        let chosen = classic.protocol_name.as_deref().or(member.protocols.first().map(|first| first.name.as_str()));
        let subscription = Subscription::read(&member.metadata(chosen))?;
        let mut assigned = Owned::new();
        for (topic, partitions) in protocol::read_assignment(&member.assignment, &self.image)? {
            for partition in partitions {
                if taken.insert((topic, partition)) {
                    assigned.entry(topic).or_default().insert(partition, classic.generation);
                }
            }
        }
        let protocols = member
            .protocols
            .iter()
            .map(|offered| ClassicProtocol { name: offered.name.clone(), metadata: offered.metadata.clone() });
        Some(Member {
            epoch: classic.generation,
            previous_epoch: classic.generation,
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: subscription.topics,
            assigned,
            classic: Some(ClassicMemberMetadata {
                session_timeout_ms: member.session_timeout_ms,
                supported_protocols: protocols.collect(),
            }),
            ..Member::new(member_id)
        })
    }

    /// The end of the classic group and all that the consumer group begins with.
    fn write_upgraded(&self, step: &mut Step<'_>, generation: i32, members: &[Member]) {
        let id = step.group_id;
        let hash = self.hash(members.iter().flat_map(|member| &member.topics).collect());
        let target = |member: &Member| -> Partitions {
            member.assigned.iter().map(|(topic, of)| (*topic, of.keys().copied().collect())).collect()
        };
        step.records.push(group_record::group_tombstone(id));
        step.records.extend(members.iter().map(|member| record::member(id, member)));
        step.records.push(record::epoch(id, generation, hash));
        step.records.extend(members.iter().map(|member| record::target(id, &member.id, &target(member))));
        step.records.push(record::target_epoch(id, generation, 0));
        step.records.extend(members.iter().map(|member| record::current(id, member)));
    }

    /// The classic group is no more: whoever waits in it is told to join again, and the session of everybody who stays
    /// goes on.
    pub(super) fn take_over<'a>(
        &self,
        step: &mut Step<'_>,
        staying: impl Iterator<Item = &'a Member>,
        classic: &mut ClassicGroup,
    ) {
        #[cfg(test)]
        let mut nobody = ClassicGroup::new(None);
        #[cfg(test)]
        let classic = if step.settings.has(Bug::WaitersForgotten) { &mut nobody } else { classic };
        classic.dismiss(step, ErrorCode::RebalanceInProgress);
        for member in staying {
            if let Some(classic) = &member.classic {
                set_limit(step, &member.id, Limit::Session, classic.session_timeout_ms);
            }
        }
    }

    /// Turns the group into a classic one if only classic members stay when these go. Whether it did.
    pub(super) fn downgrade_without(&self, step: &mut Step<'_>, group: &ConsumerGroup, leaving: &[&Member]) -> bool {
        let staying: Vec<&Member> = group.without(leaving).collect();
        let is_classic = !staying.is_empty() && staying.iter().all(|member| member.classic.is_some());
        is_classic
            && may_be_classic(step.settings, staying.len())
            && self.write_downgraded(step, group, &staying, group.epoch, true)
    }

    /// Whether the group becomes a classic one when a classic member takes the place of this static one, which may be
    /// itself under its own id.
    pub(super) fn may_downgrade_by(&self, settings: &Settings, group: &ConsumerGroup, replaced: &Member) -> bool {
        let mut others = group.members.values().filter(|member| member.id != replaced.id);
        replaced.classic.is_none()
            && others.all(|member| member.classic.is_some())
            && may_be_classic(settings, group.members.len())
    }

    /// A classic member takes the place of the last one of the new protocol. It has what that one had; only if the
    /// subscriptions changed there is a rebalance.
    pub(super) fn downgrade_with(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        claim: &Claim<'_>,
    ) -> Result<Member, Refusal> {
        let announced = self.announce(step, group, claim)?;
        let rebalances = group.target_epoch < announced.epoch;
        let mut member = claim.member.clone();
        if !rebalances {
            let partitions = group.target_of(&member).cloned().unwrap_or_default();
            let target = Target { epoch: group.target_epoch, partitions };
            member = self.reconcile(step, group, claim, &target, announced.has_new_subscription)?;
        }
        let after = with_records(group.clone(), step.records);
        let staying: Vec<&Member> = after.members.values().collect();
        if !self.write_downgraded(step, &after, &staying, group.epoch, rebalances) {
            return Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, "the members have no protocol in common"));
        }
        Ok(member)
    }

    /// The end of the consumer group and the classic one that it becomes. False, and nothing, if its members have no
    /// protocol in common.
    fn write_downgraded(
        &self,
        step: &mut Step<'_>,
        group: &ConsumerGroup,
        staying: &[&Member],
        generation: i32,
        rebalances: bool,
    ) -> bool {
        let id = step.group_id;
        let mut classic = ClassicGroup::new(Some(step.now));
        classic.state = State::Stable;
        classic.protocol_type = Some(CONSUMER.to_owned());
        classic.generation = generation;
        #[cfg(test)]
        if step.settings.has(Bug::DowngradeLosesEpoch) {
            classic.generation -= 1;
        }
        classic.members = staying.iter().filter_map(|member| self.downgraded(group, member)).collect();
        classic.leader = classic.members.keys().next().cloned();
        classic.protocol_name = classic.select_protocol();
        if classic.protocol_name.is_none() {
            return false;
        }
        for member_id in group.members.keys() {
            cancel_all(step.timers, id, member_id);
        }
        #[cfg(test)]
        let from = step.records.len();
        record::group_tombstones(step.records, id, group);
        #[cfg(test)]
        if step.settings.has(Bug::DowngradeLeavesRecords) {
            step.records.remove(from);
        }
        let photograph = classic.to_record(|_, member| member.assignment.clone());
        step.records.push(group_record::group(id, &photograph));
        for (member_id, member) in &classic.members {
            step.set_session(member_id, member.session_timeout_ms);
        }
        if rebalances {
            step.timers.set(Timer::Downgraded { group: id.to_owned() }, step.now);
        }
        true
    }

    /// A member as a classic group has it, with the part that it was meant to have.
    fn downgraded(&self, group: &ConsumerGroup, member: &Member) -> Option<(String, ClassicMember)> {
        let classic = member.classic.as_ref()?;
        let version = classic.supported_protocols.first().and_then(|first| Subscription::read(&first.metadata));
        let target = group.target.get(&member.id).into_iter().flatten();
        let target = target.map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()));
        let protocols = classic.supported_protocols.iter().map(|supported| JoinGroupRequestProtocol {
            name: supported.name.clone(),
            metadata: supported.metadata.clone(),
        });
        let downgraded = ClassicMember {
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            protocols: protocols.collect(),
            assignment: protocol::write_assignment(target, &self.image, version.map_or(0, |read| read.version)),
            join: None,
            sync: None,
            is_new: false,
        };
        Some((member.id.clone(), downgraded))
    }
}

fn may_be_classic(settings: &Settings, members: usize) -> bool {
    settings.consumer.migration.allows_downgrade() && members <= settings.size_max
}

/// A group once these records of ours are replayed.
fn with_records(mut group: ConsumerGroup, records: &[CoordinatorRecord]) -> ConsumerGroup {
    for written in records {
        if let Ok(Parsed::Consumer(change)) = group_record::parse(written) {
            group.replay(change.part);
        }
    }
    group
}

/// A member as a faulty coordinator takes it over.
#[cfg(test)]
fn member_with_planted_faults(settings: &Settings, member: &mut Member) {
    if settings.has(Bug::UpgradeForgetsParts) {
        member.assigned = Owned::new();
    }
    if settings.has(Bug::UpgradeLosesGeneration) {
        member.epoch -= 1;
    }
}
