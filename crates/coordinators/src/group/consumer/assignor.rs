//! Who shall own what: the server's assignors. Both are plain functions of members and topics, so that two
//! coordinators come to the same result.
//!
//! Source: `RangeAssignor`, `UniformAssignor`. Where Kafka follows the
//! order of a hash table over member ids, so do we ([`milena_metadata::java`]); over topic ids we take their own order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::Uuid;

use super::member::Partitions;
use super::{uneven, uniform};

/// A built-in assignor (`group.consumer.assignors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Balanced over all topics, and keeps what it can.
    Uniform,
    /// A range of each topic, in the order of the members: partitions of the same number meet.
    Range,
}

impl Assignor {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of that name.
    pub fn from_name(name: &str) -> Option<Assignor> {
        [Assignor::Uniform, Assignor::Range].into_iter().find(|assignor| assignor.name() == name)
    }
}

/// One member as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscriber {
    pub(super) instance_id: Option<String>,
    /// Topics that it subscribes to and that exist.
    pub(super) topics: Arc<BTreeSet<Uuid>>,
    /// Its target so far.
    pub(super) target: Partitions,
}

/// The members of a group, and how many partitions each subscribed topic has.
#[derive(Debug, Clone, Default)]
pub(super) struct Problem {
    pub(super) members: BTreeMap<String, Subscriber>,
    pub(super) counts: BTreeMap<Uuid, i32>,
    /// Whether all subscribe in the same words, as `ConsumerGroup::is_of_one_mind` has it.
    pub(super) is_of_one_mind: bool,
}

impl Problem {
    /// What each member shall own.
    pub(super) fn solve(&self, assignor: Assignor) -> BTreeMap<String, Partitions> {
        match assignor {
            Assignor::Range => self.range(),
            Assignor::Uniform if self.is_of_one_mind => uniform::same_topics(self),
            Assignor::Uniform => uneven::solve(self),
        }
    }

    fn range(&self) -> BTreeMap<String, Partitions> {
        let mut order: Vec<(&String, &Subscriber)> = self.members.iter().collect();
        // Static members first: their ranges stay while the others come and go.
        order.sort_by_key(|(id, member)| match &member.instance_id {
            Some(instance) => (0, instance, *id),
            None => (1, *id, *id),
        });
        let mut solved: BTreeMap<String, Partitions> =
            self.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
        for (topic, count) in &self.counts {
            let subscribers = || {
                let mut last: Option<(&Arc<BTreeSet<Uuid>>, bool)> = None;
                order.iter().filter(move |(_, member)| {
                    // Most have the same topics as the one before.
                    let known = last.filter(|(topics, _)| self.is_of_one_mind || Arc::ptr_eq(topics, &member.topics));
                    let is = known.map_or_else(|| member.topics.contains(topic), |(_, is)| is);
                    last = Some((&member.topics, is));
                    is
                })
            };
            let members = subscribers().count() as i32;
            let mut start = 0;
            for ((id, _), position) in subscribers().zip(0..) {
                let quota = count / members + i32::from(position < count % members);
                if quota == 0 {
                    // The others get nothing of it either.
                    break;
                }
                if let Some(partitions) = solved.get_mut(*id) {
                    partitions.insert(*topic, (start..start + quota).collect());
                }
                start += quota;
            }
        }
        solved
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::group::consumer) const A: Uuid = Uuid([1; 16]);
    pub(in crate::group::consumer) const B: Uuid = Uuid([2; 16]);

    pub(in crate::group::consumer) fn problem(members: &[(&str, &[Uuid])], counts: &[(Uuid, i32)]) -> Problem {
        let subscriber =
            |topics: &&[Uuid]| Subscriber { topics: Arc::new(topics.iter().copied().collect()), ..Default::default() };
        Problem {
            members: members.iter().map(|(id, topics)| ((*id).to_owned(), subscriber(topics))).collect(),
            counts: counts.iter().copied().collect(),
            is_of_one_mind: members.windows(2).all(|pair| pair[0].1 == pair[1].1),
        }
    }

    pub(in crate::group::consumer) fn partitions(pairs: &[(Uuid, &[i32])]) -> Partitions {
        pairs.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect())).collect()
    }

    #[test]
    fn ranges_follow_the_member_ids_and_the_first_get_what_is_left_over() {
        let problem = problem(&[("m2", &[A, B]), ("m1", &[A, B]), ("m3", &[B])], &[(A, 3), (B, 2)]);
        let solved = problem.solve(Assignor::Range);
        assert_eq!(solved["m1"], partitions(&[(A, &[0, 1]), (B, &[0])]));
        assert_eq!(solved["m2"], partitions(&[(A, &[2]), (B, &[1])]));
        assert_eq!(solved["m3"], partitions(&[]));
    }

    #[test]
    fn static_members_come_first_in_ranges_in_the_order_of_their_instance_ids() {
        let mut problem = problem(&[("m1", &[A]), ("m2", &[A]), ("m3", &[A])], &[(A, 3)]);
        problem.members.get_mut("m3").unwrap().instance_id = Some("i1".into());
        problem.members.get_mut("m1").unwrap().instance_id = Some("i2".into());
        let solved = problem.solve(Assignor::Range);
        assert_eq!(solved["m3"], partitions(&[(A, &[0])]));
        assert_eq!(solved["m1"], partitions(&[(A, &[1])]));
        assert_eq!(solved["m2"], partitions(&[(A, &[2])]));
    }
}
