//! The uniform assignor: everybody gets as much as everybody else, and keeps what it had as far as that goes.
//!
//! Here for members that all subscribe in the same words; for the others see [`uneven`](super::uneven).
//!
//! Source: `UniformHomogeneousAssignmentBuilder`.

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::java::java_order;
use milena_protocol::Uuid;

use super::assignor::Problem;
use super::member::Partitions;

/// All members subscribe to the topics of the first.
pub(super) fn same_topics(problem: &Problem) -> BTreeMap<String, Partitions> {
    let order = java_order(problem.members.keys());
    let topics = order.first().map(|first| &problem.members[*first].topics);
    let is_wanted = |topic: &Uuid| topics.is_some_and(|topics| topics.contains(topic));
    let counts: BTreeMap<Uuid, i32> =
        problem.counts.iter().filter(|(topic, _)| is_wanted(topic)).map(|(topic, count)| (*topic, *count)).collect();
    let mut solved: BTreeMap<String, Partitions> =
        problem.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    let owned: BTreeSet<(Uuid, i32)> = problem.members.values().flat_map(|member| places(&member.target)).collect();
    let all = counts.iter().flat_map(|(topic, count)| (0..*count).map(|partition| (*topic, partition)));
    let mut free: Vec<(Uuid, i32)> = all.clone().filter(|place| !owned.contains(place)).collect();
    let (total, count) = (all.count(), problem.members.len());
    let mut extras = total % count;
    let mut unfilled: Vec<(&String, usize)> = Vec::new();
    for (index, id) in order.into_iter().enumerate() {
        let mut may_have_extra = extras > 0;
        let mut quota = total / count + usize::from(may_have_extra);
        let kept = solved.entry(id.clone()).or_default();
        let exists = |(topic, partition): &(Uuid, i32)| counts.get(topic).is_some_and(|count| partition < count);
        for (topic, partition) in places(&problem.members[id].target).filter(exists) {
            if quota > 0 {
                quota -= 1;
                kept.entry(topic).or_default().insert(partition);
            } else {
                free.push((topic, partition));
            }
        }
        // Whoever does not need its extra one leaves it to those behind, as long as there are enough of them.
        if quota > 0 && may_have_extra && count - index > extras {
            quota -= 1;
            may_have_extra = false;
        }
        if quota > 0 {
            unfilled.push((id, quota));
        }
        extras -= usize::from(may_have_extra);
    }
    let mut free = free.into_iter();
    for (id, quota) in unfilled {
        for (topic, partition) in free.by_ref().take(quota) {
            solved.entry(id.clone()).or_default().entry(topic).or_default().insert(partition);
        }
    }
    solved
}

pub(super) fn places(partitions: &Partitions) -> impl Iterator<Item = (Uuid, i32)> {
    partitions.iter().flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}

#[cfg(test)]
mod tests {
    use super::super::assignor::Assignor;
    use super::super::assignor::tests::{A, B, partitions, problem};
    use super::*;

    #[test]
    fn a_second_member_takes_half_and_the_first_keeps_the_rest() {
        let mut problem = problem(&[("a", &[A]), ("b", &[A])], &[(A, 4)]);
        problem.members.get_mut("a").unwrap().target = partitions(&[(A, &[0, 1, 2, 3])]);
        let solved = problem.solve(Assignor::Uniform);
        assert_eq!(solved["a"], partitions(&[(A, &[0, 1])]));
        assert_eq!(solved["b"], partitions(&[(A, &[2, 3])]));
    }

    #[test]
    fn whoever_has_more_than_its_share_already_keeps_the_extra_one() {
        let mut problem = problem(&[("a", &[A]), ("b", &[A])], &[(A, 3)]);
        problem.members.get_mut("b").unwrap().target = partitions(&[(A, &[0, 1])]);
        let solved = problem.solve(Assignor::Uniform);
        assert_eq!(solved["a"], partitions(&[(A, &[2])]));
        assert_eq!(solved["b"], partitions(&[(A, &[0, 1])]));
    }

    #[test]
    fn members_with_different_topics_are_balanced_too() {
        let problem = problem(&[("a", &[A]), ("b", &[A, B]), ("c", &[B])], &[(A, 3), (B, 3)]);
        let solved = problem.solve(Assignor::Uniform);
        let loads: Vec<usize> = solved.values().map(|target| places(target).count()).collect();
        assert_eq!(loads, [2, 2, 2]);
    }

    #[test]
    fn every_partition_has_exactly_one_owner_whatever_the_targets_were() {
        for seed in 0..500_u64 {
            let mut random = milena_base::Random::from_seed(seed);
            let topics: Vec<Uuid> = (0..3).map(|index| Uuid([index + 1; 16])).collect();
            let counts: Vec<(Uuid, i32)> = topics.iter().map(|topic| (*topic, 1 + random.below(6) as i32)).collect();
            let mut problem = problem(&[], &counts);
            let mut taken = BTreeSet::new();
            for index in 0..=random.below(5) {
                let subscribed: BTreeSet<Uuid> = topics.iter().copied().filter(|_| random.below(3) > 0).collect();
                let mut member = super::super::assignor::Subscriber { topics: subscribed.into(), ..Default::default() };
                for (topic, partition) in (0..4).map(|_| (topics[random.below(3) as usize], random.below(8) as i32)) {
                    if taken.insert((topic, partition)) {
                        member.target.entry(topic).or_default().insert(partition);
                    }
                }
                problem.members.insert(format!("m{index}"), member);
            }
            let wanted = |topic: &Uuid| problem.members.values().any(|member| member.topics.contains(topic));
            problem.counts = counts.iter().copied().filter(|(topic, _)| wanted(topic)).collect();
            let mut topics = problem.members.values().map(|member| &member.topics);
            let first = topics.next();
            problem.is_of_one_mind = topics.all(|topics| Some(topics) == first);
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let solved = problem.solve(assignor);
                let mut owners: Vec<(Uuid, i32)> = solved.values().flat_map(places).collect();
                owners.sort();
                let all = problem.counts.iter().flat_map(|(topic, count)| (0..*count).map(|index| (*topic, index)));
                assert_eq!(owners, all.collect::<Vec<_>>(), "seed {seed}, {assignor:?}");
                for (id, target) in &solved {
                    assert!(target.keys().all(|topic| problem.members[id].topics.contains(topic)), "seed {seed}");
                }
            }
        }
    }
}
