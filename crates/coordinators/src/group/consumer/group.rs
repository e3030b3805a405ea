//! A consumer group as its records tell it, and what follows from that at once. Nothing here decides.
//!
//! ```text
//!   group epoch      goes up when members, subscriptions or topics change
//!   assignment epoch the group epoch that the target assignment was made for
//!   member epoch     the assignment epoch that a member has got to
//! ```
//!
//! Source: `ConsumerGroup`, `ModernGroup`.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_protocol::{Offset, Uuid};

use super::member::{LEAVING, Member, Partitions};
use super::record::Part;

/// What a regular expression matched.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Resolved {
    pub(super) topics: BTreeSet<String>,
    /// The image that it was matched against.
    pub(super) version: i64,
    pub(super) timestamp: Millis,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::group) struct ConsumerGroup {
    pub(super) epoch: i32,
    /// Over the topics that it subscribes to: see `hash`.
    pub(super) metadata_hash: i64,
    pub(super) target_epoch: i32,
    /// When the target was made; 0 where not known.
    pub(super) target_timestamp: i64,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) target: BTreeMap<String, Partitions>,
    /// Member ids by instance id.
    pub(super) static_members: BTreeMap<String, String>,
    pub(super) regexes: BTreeMap<String, Resolved>,
    /// How many members subscribe to each name. Whoever has very many members with very many names must not look through
    /// all of them whenever one comes.
    names: BTreeMap<String, usize>,
    /// How many members subscribe to each expression, resolved or not.
    pub(super) subscribers: BTreeMap<String, usize>,
    /// How many members hold a partition: one, but for what a compacted log passes through while it is replayed.
    held: BTreeMap<(Uuid, i32), u32>,
    /// A record of Kafka before 4.1 is to be removed.
    pub(super) has_partition_metadata: bool,
    /// The last record that touched the group.
    pub(in crate::group) written: Option<Offset>,
    /// Soft: the state of the topics that its hash was last compared with.
    pub(super) topics_seen: Option<u64>,
}

impl Default for ConsumerGroup {
    /// A group that no record has been written of. It begins at epoch 1, so that its first member never stays at 0,
    /// which would mean that it has not joined.
    fn default() -> ConsumerGroup {
        ConsumerGroup {
            epoch: 1,
            metadata_hash: 0,
            target_epoch: 0,
            target_timestamp: 0,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            static_members: BTreeMap::new(),
            regexes: BTreeMap::new(),
            names: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            held: BTreeMap::new(),
            has_partition_metadata: false,
            written: None,
            topics_seen: None,
        }
    }
}

/// Where a group stands, as DescribeGroups and ListGroups spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) enum State {
    Empty,
    Assigning,
    Reconciling,
    Stable,
}

impl State {
    pub(in crate::group) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Assigning => "Assigning",
            State::Reconciling => "Reconciling",
            State::Stable => "Stable",
        }
    }
}

impl ConsumerGroup {
    /// Looks at every member.
    pub(in crate::group) fn state(&self) -> State {
        if self.members.is_empty() {
            State::Empty
        } else if self.epoch > self.target_epoch {
            State::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(in crate::group) fn has_member(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    /// Whether a member holds that partition.
    pub(super) fn is_held(&self, topic: Uuid, partition: i32) -> bool {
        self.held.contains_key(&(topic, partition))
    }

    pub(super) fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.members.get(self.static_members.get(instance_id)?)
    }

    /// The target of a member; a static one that comes back under a new id has that of its former one.
    pub(super) fn target_of(&self, member: &Member) -> Option<&Partitions> {
        let former = member.instance_id.as_ref().and_then(|instance| self.static_members.get(instance));
        self.target.get(former.unwrap_or(&member.id))
    }

    /// How many members subscribe to that expression.
    pub(super) fn subscribers_of(&self, regex: &str) -> usize {
        self.subscribers.get(regex).copied().unwrap_or(0)
    }

    /// The members as they will be once `changed` took the place of its former self.
    pub(super) fn with<'a>(&'a self, changed: &'a Member) -> impl Iterator<Item = &'a Member> {
        let former = changed.instance_id.as_ref().and_then(|instance| self.static_members.get(instance));
        let stays = move |member: &&Member| member.id != changed.id && Some(&member.id) != former;
        self.members.values().filter(stays).chain([changed])
    }

    /// The members that stay when these go.
    pub(super) fn without<'a>(&'a self, leaving: &'a [&'a Member]) -> impl Iterator<Item = &'a Member> {
        let leaving: BTreeSet<&String> = leaving.iter().map(|member| &member.id).collect();
        self.members.values().filter(move |member| !leaving.contains(&member.id))
    }

    /// The names of the topics that the members subscribe to, by name or by a resolved expression, once `leaving` are
    /// gone and `coming` is there.
    pub(super) fn topic_names<'a>(&'a self, leaving: &[&Member], coming: Option<&'a Member>) -> BTreeSet<&'a String> {
        let stays = |count: usize, leaves: &dyn Fn(&Member) -> bool| {
            count > leaving.iter().filter(|member| leaves(member)).count()
        };
        let by_name = self.names.iter().filter(|(name, count)| stays(**count, &|member| member.topics.contains(*name)));
        let mut names: BTreeSet<&String> = by_name.map(|(name, _)| name).collect();
        names.extend(coming.into_iter().flat_map(|member| &member.topics));
        for (regex, resolved) in &self.regexes {
            let count = self.subscribers_of(regex);
            let comes = coming.is_some_and(|member| member.regex() == Some(regex));
            if comes || stays(count, &|member| member.regex() == Some(regex)) {
                names.extend(&resolved.topics);
            }
        }
        names
    }

    /// The members whose place `changed` takes: its former self, and the static one of its instance id.
    pub(super) fn displaced_by(&self, changed: &Member) -> Vec<&Member> {
        let own = self.members.get(&changed.id);
        let of_instance = changed.instance_id.as_ref().and_then(|instance| self.static_member(instance));
        own.into_iter().chain(of_instance.filter(|member| member.id != changed.id)).collect()
    }

    /// Whether all members subscribe in the same words, once `changed` is one of them. Two that get to the same topics
    /// by different words, a name of a topic that does not exist, or an expression beside names, make them different; the
    /// order of names does not.
    ///
    /// Source: `ConsumerGroup.subscriptionType`.
    pub(super) fn is_of_one_mind(&self, changed: Option<&Member>) -> bool {
        let displaced = changed.map(|changed| self.displaced_by(changed)).unwrap_or_default();
        let members = self.members.len() - displaced.len() + usize::from(changed.is_some());
        let have = |count: usize, has: &dyn Fn(&Member) -> bool| {
            let leave = displaced.iter().filter(|member| has(member)).count();
            count - leave + usize::from(changed.is_some_and(has))
        };
        let of_changed = changed.into_iter().flat_map(|member| &member.topics);
        let mut counts = self
            .names
            .keys()
            .chain(of_changed)
            .map(|name| have(self.names.get(name).copied().unwrap_or(0), &|member| member.topics.contains(name)));
        let expressions = self.subscribers.keys().map(String::as_str).chain(changed.and_then(Member::regex));
        let expression = expressions
            .map(|regex| have(self.subscribers_of(regex), &|member| member.regex() == Some(regex)))
            .find(|count| *count > 0);
        match expression {
            None => counts.all(|count| count == 0 || count == members),
            Some(count) => count == members && counts.all(|count| count == 0),
        }
    }

    /// The ids of the topics that a member subscribes to and that exist.
    pub(super) fn topic_ids(&self, member: &Member, image: &Image) -> BTreeSet<Uuid> {
        let by_regex = member.regex().and_then(|regex| self.regexes.get(regex)).map(|resolved| &resolved.topics);
        let names = member.topics.iter().chain(by_regex.into_iter().flatten());
        names.filter_map(|name| Some(image.topic(name)?.id)).collect()
    }

    /// Whether any member subscribes to that topic.
    pub(in crate::group) fn is_subscribed(&self, topic: &str) -> bool {
        let by_regex = |member: &Member| {
            member.regex().and_then(|regex| self.regexes.get(regex)).is_some_and(|found| found.topics.contains(topic))
        };
        self.members.values().any(|member| member.topics.contains(topic) || by_regex(member))
    }

    /// Follows one record. False if the group is gone with it.
    pub(super) fn replay(&mut self, part: Part) -> bool {
        match part {
            Part::Group(None) => return false,
            Part::Group(Some(value)) => (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash),
            Part::PartitionMetadata(exists) => self.has_partition_metadata = exists,
            Part::TargetMetadata(value) => {
                let known = value.map(|value| (value.assignment_epoch, value.assignment_timestamp));
                (self.target_epoch, self.target_timestamp) = known.unwrap_or((-1, 0));
            }
            Part::Target(id, None) => drop(self.target.remove(&id)),
            Part::Target(id, Some(value)) => {
                let topics = value.topic_partitions.into_iter();
                let topics = topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()));
                self.target.insert(id, topics.collect());
            }
            Part::Regex(regex, None) => drop(self.regexes.remove(&regex)),
            Part::Regex(regex, Some(value)) => {
                let topics = value.topics.into_iter().collect();
                let resolved = Resolved { topics, version: value.version, timestamp: Millis(value.timestamp) };
                self.regexes.insert(regex, resolved);
            }
            Part::Member(id, None) => self.remove(&id),
            Part::Member(id, Some(value)) => {
                self.uncount_names(&id);
                for name in value.subscribed_topic_names.iter().collect::<BTreeSet<_>>() {
                    *self.names.entry(name.clone()).or_default() += 1;
                }
                self.change(&id, |member| member.adopt_metadata(value));
            }
            Part::Current(id, Some(value)) => self.change(&id, |member| member.adopt_assignment(value)),
            Part::Current(id, None) if self.members.contains_key(&id) => self.change(&id, |member| {
                (member.epoch, member.previous_epoch) = (LEAVING, LEAVING);
                (member.assigned, member.revoking) = Default::default();
            }),
            Part::Current(..) => {}
        }
        true
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = self.members.remove(id).unwrap_or_else(|| Member::new(id));
        self.release(&member);
        let former = member.instance_id.clone();
        change(&mut member);
        if let Some(former) = former.filter(|former| Some(former) != member.instance_id.as_ref()) {
            self.static_members.remove(&former);
        }
        for place in member.held() {
            *self.held.entry(place).or_default() += 1;
        }
        if let Some(regex) = member.regex() {
            *self.subscribers.entry(regex.to_owned()).or_default() += 1;
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), id.to_owned());
        }
        self.members.insert(id.to_owned(), member);
    }

    fn uncount_names(&mut self, id: &str) {
        for name in self.members.get(id).into_iter().flat_map(|member| &member.topics) {
            if let Some(count) = self.names.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.names.remove(name);
                }
            }
        }
    }

    fn remove(&mut self, id: &str) {
        self.uncount_names(id);
        let Some(member) = self.members.remove(id) else { return };
        self.release(&member);
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id).is_some_and(|current| current == id)
        {
            self.static_members.remove(instance_id);
        }
    }

    fn release(&mut self, member: &Member) {
        if let Some(regex) = member.regex()
            && let Some(count) = self.subscribers.get_mut(regex)
        {
            *count -= 1;
            if *count == 0 {
                self.subscribers.remove(regex);
            }
        }
        for place in member.held() {
            if let Some(holders) = self.held.get_mut(&place) {
                *holders -= 1;
                if *holders == 0 {
                    self.held.remove(&place);
                }
            }
        }
    }

    /// Stops if the group is in a state that no sequence of decisions may lead to.
    pub(in crate::group) fn check(&self) {
        let mut holders: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for (id, member) in &self.members {
            assert_eq!(*id, member.id);
            assert!(member.epoch <= self.epoch, "{id} is not ahead of the group");
            for place in member.held() {
                let former = holders.insert(place, id);
                assert_eq!(former, None, "{place:?} belongs to {id} alone");
            }
            if let Some(instance_id) = &member.instance_id {
                assert_eq!(self.static_members.get(instance_id), Some(id), "{instance_id} leads to its member");
            }
        }
        assert_eq!(holders.len(), self.held.len(), "what is held is counted");
        assert!(self.held.values().all(|holders| *holders == 1), "one holder each");
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.members.values().flat_map(|member| &member.topics) {
            *names.entry(name.clone()).or_default() += 1;
        }
        assert_eq!(names, self.names, "subscribers of names are counted");
        let mut subscribers: BTreeMap<String, usize> = BTreeMap::new();
        for regex in self.members.values().filter_map(Member::regex) {
            *subscribers.entry(regex.to_owned()).or_default() += 1;
        }
        assert_eq!(subscribers, self.subscribers, "subscribers of expressions are counted");
        assert!(self.static_members.values().all(|id| self.members.contains_key(id)), "static members are members");
        assert!(self.target_epoch <= self.epoch, "no target for an epoch to come");
        let mut wanted = BTreeSet::new();
        for (id, target) in &self.target {
            for place in target.iter().flat_map(|(topic, of)| of.iter().map(|partition| (*topic, *partition))) {
                assert!(wanted.insert(place), "{place:?} is meant for {id} alone");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::consumer_group_member_metadata_value::ConsumerGroupMemberMetadataValue;

    use super::*;

    fn group(members: &[(&[&str], &str)]) -> ConsumerGroup {
        let mut group = ConsumerGroup::default();
        for (at, (topics, regex)) in members.iter().enumerate() {
            let value = ConsumerGroupMemberMetadataValue {
                instance_id: None,
                subscribed_topic_names: topics.iter().map(|topic| (*topic).to_owned()).collect(),
                subscribed_topic_regex: Some((*regex).to_owned()),
                ..Default::default()
            };
            group.replay(Part::Member(format!("m{at}"), Some(value)));
        }
        group.check();
        group
    }

    /// As members that are there, and with the last one only coming.
    fn is_of_one_mind(members: &[(&[&str], &str)]) -> bool {
        let all = group(members);
        let is = all.is_of_one_mind(None);
        if let Some((_, others)) = members.split_last() {
            let last = &all.members[&format!("m{}", others.len())];
            assert_eq!(group(others).is_of_one_mind(Some(last)), is, "{members:?}");
            assert_eq!(all.is_of_one_mind(Some(last)), is, "it changes nothing: {members:?}");
        }
        is
    }

    #[test]
    fn members_are_of_one_mind_by_their_words_and_not_by_their_topics() {
        assert!(is_of_one_mind(&[]) && is_of_one_mind(&[(&["a", "b"], ""), (&["b", "a", "a"], "")]));
        assert!(!is_of_one_mind(&[(&["a"], ""), (&["a", "not there"], "")]));
        assert!(is_of_one_mind(&[(&[], "a.*"), (&[], "a.*")]));
        assert!(!is_of_one_mind(&[(&[], "a.*"), (&[], "a|a.*")]));
        assert!(!is_of_one_mind(&[(&[], "a"), (&["a"], "")]));
        assert!(!is_of_one_mind(&[(&["a"], "a")]), "an expression beside names, alone");
        assert!(!is_of_one_mind(&[(&["a"], ""), (&[], "")]), "nothing is something else");
    }

    #[test]
    fn names_are_those_of_whoever_stays_and_comes() {
        let group = group(&[(&["a", "b"], ""), (&["b"], "")]);
        let [first, second] = [&group.members["m0"], &group.members["m1"]];
        let names =
            |leaving: &[&Member], coming| group.topic_names(leaving, coming).into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(&[], None), ["a", "b"]);
        assert_eq!(names(&[first], None), ["b"]);
        assert_eq!(names(&[second], None), ["a", "b"]);
        assert_eq!(names(&[first, second], Some(second)), ["b"]);
    }
}
