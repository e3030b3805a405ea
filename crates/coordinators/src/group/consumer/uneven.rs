//! The uniform assignor for members that subscribe to different topics: everybody keeps what it had, what is free goes to
//! whoever has least, and then those who have most give to those who have least, topic by topic.
//!
//! Every choice is Kafka's, so that two coordinators come to the same result: members are numbered in the order of
//! Java's hash table, and in a topic it is the turn of one after the other on the same level, not of the least loaded
//! one each time.
//!
//! Source: `UniformHeterogeneousAssignmentBuilder`.

use std::collections::BTreeMap;

use milena_metadata::java::java_order;
use milena_protocol::Uuid;

use super::assignor::Problem;
use super::member::Partitions;
use super::uniform::places;

/// Rounds of moves over all topics: each roughly halves what is out of balance.
const ROUNDS_MAX: usize = 16;

/// What each member shall own.
pub(super) fn solve(problem: &Problem) -> BTreeMap<String, Partitions> {
    let mut balance = Balance::of(problem);
    balance.keep_targets(problem);
    let topics = balance.sorted_topics(problem);
    for topic in &topics {
        balance.give_free(*topic, problem.counts[topic]);
    }
    balance.level_all(&topics);
    balance.ids.iter().map(|id| (*id).clone()).zip(balance.solved).collect()
}

/// Members by number, with what they have so far.
struct Balance<'a> {
    ids: Vec<&'a String>,
    solved: Vec<Partitions>,
    loads: Vec<usize>,
    /// Members by topic.
    subscribers: BTreeMap<Uuid, Vec<usize>>,
}

impl<'a> Balance<'a> {
    fn of(problem: &'a Problem) -> Balance<'a> {
        let ids = java_order(problem.members.keys());
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (index, id) in ids.iter().enumerate() {
            for topic in problem.members[*id].topics.iter() {
                subscribers.entry(*topic).or_default().push(index);
            }
        }
        Balance { solved: vec![Partitions::new(); ids.len()], loads: vec![0; ids.len()], subscribers, ids }
    }

    /// Everybody keeps what it had, as far as it still subscribes to it.
    fn keep_targets(&mut self, problem: &Problem) {
        for (index, id) in self.ids.clone().into_iter().enumerate() {
            let member = &problem.members[id];
            for (topic, partition) in places(&member.target) {
                let exists = problem.counts.get(&topic).is_some_and(|count| partition < *count);
                if exists && member.topics.contains(&topic) {
                    self.give(index, topic, partition);
                }
            }
        }
    }

    fn give(&mut self, member: usize, topic: Uuid, partition: i32) {
        if self.solved[member].entry(topic).or_default().insert(partition) {
            self.loads[member] += 1;
        }
    }

    fn take(&mut self, member: usize, topic: Uuid, partition: i32) {
        let Some(partitions) = self.solved[member].get_mut(&topic) else { return };
        self.loads[member] -= usize::from(partitions.remove(&partition));
        if partitions.is_empty() {
            self.solved[member].remove(&topic);
        }
    }

    /// Most partitions per subscriber first, then the fewest subscribers, then by id as Java compares them.
    fn sorted_topics(&self, problem: &Problem) -> Vec<Uuid> {
        let mut topics: Vec<Uuid> = self.subscribers.keys().copied().collect();
        topics.sort_by(|one, other| {
            let weight = |topic: &Uuid| (i64::from(problem.counts[topic]), self.subscribers[topic].len() as i64);
            let ((count, members), (other_count, other_members)) = (weight(one), weight(other));
            let by_weight = (other_count * members).cmp(&(count * other_members));
            by_weight.then(members.cmp(&other_members)).then(java_halves(*one).cmp(&java_halves(*other)))
        });
        topics
    }

    /// What nobody has goes to the least loaded subscribers.
    fn give_free(&mut self, topic: Uuid, count: i32) {
        let mut owned = vec![false; count as usize];
        for member in &self.subscribers[&topic] {
            for partition in self.solved[*member].get(&topic).into_iter().flatten() {
                owned[*partition as usize] = true;
            }
        }
        let mut levels = Levels::of(&self.subscribers[&topic], &self.loads);
        for partition in (0..count).filter(|partition| !owned[*partition as usize]) {
            let least = levels.next_least(&self.loads);
            self.give(least, topic, partition);
        }
    }

    /// Moves within each topic, round after round, until one went by without any.
    fn level_all(&mut self, topics: &[Uuid]) {
        let topics: Vec<Uuid> = topics.iter().copied().filter(|topic| self.subscribers[topic].len() >= 2).collect();
        let mut last_moved = None;
        for _ in 0..ROUNDS_MAX {
            for topic in &topics {
                if last_moved == Some(*topic) {
                    return;
                }
                let has_moved = self.level(*topic);
                if has_moved || last_moved.is_none() {
                    last_moved = Some(*topic);
                }
            }
        }
    }

    /// Moves partitions of a topic from its most to its least loaded subscribers, each at most once. Whether any moved.
    fn level(&mut self, topic: Uuid) -> bool {
        let subscribers = &self.subscribers[&topic];
        let mut levels = Levels::of(subscribers, &self.loads);
        if levels.spread(&self.loads) <= 1 {
            return false;
        }
        let held = |member: &usize| self.solved[*member].get(&topic).into_iter().flatten().copied().collect();
        let mut to_give: BTreeMap<usize, Vec<i32>> = subscribers.iter().map(|member| (*member, held(member))).collect();
        let mut has_moved = false;
        while !levels.are_even() {
            let Some((most, partition)) = levels.next_to_give(&self.loads, &mut to_give) else { break };
            let least = levels.next_least(&self.loads);
            if levels.are_even() {
                break;
            }
            self.take(most, topic, partition);
            self.give(least, topic, partition);
            has_moved = true;
        }
        has_moved
    }
}

/// Java compares the halves of an id as signed numbers.
fn java_halves(id: Uuid) -> [i64; 2] {
    let half = |at: usize| i64::from_be_bytes(std::array::from_fn(|byte| id.0[at + byte]));
    [half(0), half(8)]
}

/// The subscribers of one topic by load. Two ranges grow towards each other: the low one takes, the high one gives, and
/// in each the members come one after the other before the range goes on to the next level.
///
/// ```text
///   load             ▓   ▓ = of no more use: nothing of this topic to give
///      ^           ▓ ▓
///      |   low   ▓▓▓ ▓
///      | ──────► ▓▓▓ ▓
///      | ▓▓▓▓▓▓▓ ▓▓▓ ▓
///      +─────────────────► order
///               high ◄──
/// ```
struct Levels {
    order: Vec<usize>,
    low_end: usize,
    low_level: i64,
    low_next: usize,
    high_start: usize,
    high_end: usize,
    high_level: i64,
    /// One behind who is next to give, so that it is never below nothing.
    high_next: usize,
}

impl Levels {
    /// `subscribers` are not empty.
    fn of(subscribers: &[usize], loads: &[usize]) -> Levels {
        let mut order = subscribers.to_vec();
        order.sort_by_key(|member| (loads[*member], *member));
        let end = order.len();
        Levels {
            low_end: 0,
            low_level: loads[order[0]] as i64 - 1,
            low_next: 0,
            high_start: end,
            high_end: end,
            high_level: loads[order[end - 1]] as i64 + 1,
            high_next: end,
            order,
        }
    }

    fn spread(&self, loads: &[usize]) -> usize {
        loads[self.order[self.order.len() - 1]] - loads[self.order[0]]
    }

    fn are_even(&self) -> bool {
        self.high_level - self.low_level <= 1
    }

    /// Who is next to get a partition.
    fn next_least(&mut self, loads: &[usize]) -> usize {
        if self.low_next >= self.low_end {
            self.low_level += 1;
            let is_on_level = |member: &&usize| loads[**member] as i64 == self.low_level;
            self.low_end += self.order[self.low_end..].iter().take_while(is_on_level).count();
            self.low_next = 0;
        }
        self.low_next += 1;
        self.order[self.low_next - 1]
    }

    /// Who is next to give a partition, if it has some.
    fn next_most(&mut self, loads: &[usize]) -> Option<usize> {
        if self.high_next <= self.high_start {
            self.high_level = match self.high_end <= self.high_start && self.high_start > 0 {
                // All of the range had nothing to give: it goes on wherever there is somebody.
                true => loads[self.order[self.high_start - 1]] as i64,
                false => self.high_level - 1,
            };
            let is_on_level = |member: &&usize| loads[**member] as i64 == self.high_level;
            self.high_start -= self.order[..self.high_start].iter().rev().take_while(is_on_level).count();
            self.high_next = self.high_end;
        }
        self.high_next = self.high_next.checked_sub(1)?;
        Some(self.order[self.high_next])
    }

    /// Takes whoever was last to give out of the range.
    fn exclude(&mut self) {
        self.high_end -= 1;
        self.order.swap(self.high_next, self.high_end);
    }

    /// Who is next to give a partition that it had from the start, and its last one.
    fn next_to_give(&mut self, loads: &[usize], to_give: &mut BTreeMap<usize, Vec<i32>>) -> Option<(usize, i32)> {
        loop {
            let most = self.next_most(loads)?;
            match to_give.get_mut(&most).and_then(Vec::pop) {
                Some(partition) => return Some((most, partition)),
                None => self.exclude(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::assignor::{Assignor, Subscriber};
    use super::*;

    /// What Kafka's own class answered: counts of the topics, then for each member its topics, its target before and
    /// its target after.
    const OF_KAFKA: &str = include_str!("../../../golden/uniform.txt");

    fn topic(number: i32) -> Uuid {
        Uuid([(number * 67 + 13) as u8; 16])
    }

    fn placed(text: &str) -> Partitions {
        let mut partitions = Partitions::new();
        for (number, partition) in text.split(',').filter_map(|place| place.split_once('-')) {
            partitions.entry(topic(number.parse().unwrap())).or_default().insert(partition.parse().unwrap());
        }
        partitions
    }

    #[test]
    fn each_member_gets_what_kafka_gives_it() {
        let mut moved = 0;
        for line in OF_KAFKA.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let counts = words.next().unwrap().split(',').zip(0..);
            let mut problem = Problem::default();
            let mut wanted = BTreeMap::new();
            for member in words {
                let [id, topics, before, after] = member.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let topics = topics.split(',').filter(|number| !number.is_empty());
                let topics: BTreeSet<Uuid> = topics.map(|number| topic(number.parse().unwrap())).collect();
                let target = placed(before);
                moved += usize::from(!target.is_empty() && target != placed(after));
                problem
                    .members
                    .insert(id.to_owned(), Subscriber { topics: topics.into(), target, ..Default::default() });
                wanted.insert(id.to_owned(), placed(after));
            }
            let is_subscribed = |topic: &Uuid| problem.members.values().any(|member| member.topics.contains(topic));
            let counts = counts.map(|(count, number)| (topic(number), count.parse().unwrap()));
            problem.counts = counts.filter(|(topic, _)| is_subscribed(topic)).collect();
            assert_eq!(problem.solve(Assignor::Uniform), wanted, "{line}");
        }
        assert!(moved > 100, "the golden problems ask for moves");
    }
}
