//! One step of a member towards its target. A partition goes from one member to another in three steps, each
//! confirmed by a heartbeat:
//!
//! ```text
//!   former owner   assigned ──► revoking (told to give it back) ──► gone (its heartbeat no longer names it)
//!   new owner      ............ waits, Unreleased ..................... assigned
//! ```
//!
//! A member stays at its epoch until it has given everything back, then goes to the target's epoch at once.
//!
//! Source: `CurrentAssignmentBuilder`.

use std::collections::BTreeSet;

use milena_protocol::Uuid;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::member::{Member, Owned, Partitions, State};

/// What a step looks at.
pub(super) struct Reconciliation<'a> {
    /// The epoch of the target.
    pub(super) target_epoch: i32,
    /// What the member shall own.
    pub(super) target: &'a Partitions,
    /// The topics that it subscribes to.
    pub(super) subscribed: &'a BTreeSet<Uuid>,
    /// Its subscription changed with this very request.
    pub(super) has_new_subscription: bool,
    /// Whether some member holds a partition.
    pub(super) is_held: &'a dyn Fn(Uuid, i32) -> bool,
    /// What the member says that it owns.
    pub(super) owned: Option<&'a [TopicPartitions]>,
}

/// A member of an unknown state must come again, owning nothing.
pub(super) struct MustRejoin;

impl Reconciliation<'_> {
    /// The member after the step; the same if there is nothing that it can do.
    pub(super) fn step(&self, member: &Member) -> Result<Member, MustRejoin> {
        match member.state {
            State::Stable if member.epoch != self.target_epoch => Ok(self.next(member, member.epoch)),
            State::Unrevoked if self.still_owns(&member.revoking) => Ok(self.narrowed(member)),
            State::Stable => Ok(self.narrowed(member)),
            State::Unrevoked | State::Unreleased => Ok(self.next(member, member.epoch)),
            State::Unknown if self.owned.is_none_or(|owned| !owned.is_empty()) => Err(MustRejoin),
            State::Unknown => Ok(self.next(member, self.target_epoch)),
        }
    }

    /// Whether the member still owns any of these. Without its word it does.
    fn still_owns(&self, revoking: &Owned) -> bool {
        let Some(owned) = self.owned else { return true };
        let is_revoking = |topic: &TopicPartitions| {
            let of_topic = revoking.get(&topic.topic_id);
            of_topic.is_some_and(|revoking| topic.partitions.iter().any(|partition| revoking.contains_key(partition)))
        };
        owned.iter().any(is_revoking)
    }

    /// Takes topics away that the member has just unsubscribed from, without looking for what it could get.
    fn narrowed(&self, member: &Member) -> Member {
        let mut narrowed = member.clone();
        if !self.has_new_subscription {
            return narrowed;
        }
        narrowed.assigned.retain(|topic, _| self.subscribed.contains(topic));
        if narrowed.assigned == member.assigned {
            return narrowed;
        }
        for (topic, partitions) in member.assigned.iter().filter(|(topic, _)| !self.subscribed.contains(*topic)) {
            narrowed.revoking.entry(*topic).or_default().extend(partitions);
        }
        narrowed.advance(member.epoch);
        if self.still_owns(&narrowed.revoking) {
            narrowed.state = State::Unrevoked;
        } else {
            narrowed.revoking = member.revoking.clone();
        }
        narrowed
    }

    /// Keeps what is in the target, gives back what is not, takes what is free.
    fn next(&self, member: &Member, epoch: i32) -> Member {
        let mut next = member.clone();
        next.revoking = Owned::new();
        let wanted = |topic: &Uuid, partition: &i32| {
            let of_topic = self.target.get(topic).filter(|_| self.subscribed.contains(topic));
            of_topic.is_some_and(|partitions| partitions.contains(partition))
        };
        for (topic, partitions) in &mut next.assigned {
            let leaving: Vec<(i32, i32)> =
                partitions.extract_if(.., |partition, _| !wanted(topic, partition)).collect();
            if !leaving.is_empty() {
                next.revoking.insert(*topic, leaving.into_iter().collect());
            }
        }
        next.assigned.retain(|_, partitions| !partitions.is_empty());
        if self.still_owns(&next.revoking) && !next.revoking.is_empty() {
            next.state = State::Unrevoked;
            next.advance(epoch);
            return next;
        }
        next.revoking = Owned::new();
        next.state = if self.take_free(member, &mut next) { State::Stable } else { State::Unreleased };
        next.advance(self.target_epoch);
        next
    }

    /// Whether everything that was missing was free. What the member was giving back itself is free for it.
    fn take_free(&self, member: &Member, next: &mut Member) -> bool {
        let mut is_complete = true;
        for (topic, partitions) in self.target.iter().filter(|(topic, _)| self.subscribed.contains(*topic)) {
            for partition in partitions {
                if next.assigned.get(topic).is_some_and(|assigned| assigned.contains_key(partition)) {
                    continue;
                }
                let own = member.revoking.get(topic).is_some_and(|revoking| revoking.contains_key(partition));
                if own || !(self.is_held)(*topic, *partition) {
                    next.assigned.entry(*topic).or_default().insert(*partition, self.target_epoch);
                } else {
                    is_complete = false;
                }
            }
        }
        is_complete
    }
}
