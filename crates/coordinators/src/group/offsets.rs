//! Committed offsets of all groups of a shard, and those of open transactions, which become visible at the marker.
//! Changed by replay alone.
//!
//! Source: `OffsetMetadataManager.Offsets`, `replay`, `replayEndTransactionMarker`.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Millis;
use milena_protocol::messages::{OffsetCommitKey, OffsetCommitValue};
use milena_protocol::{Offset, ProducerId, Uuid};

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    /// −1 where the client did not know.
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
    pub(super) committed_at: Millis,
    /// When it goes, where an old client said so.
    pub(super) expires_at: Option<Millis>,
    /// Zero where it was not known.
    pub(super) topic_id: Uuid,
    /// Where the record stands: the later record wins, whatever its transaction's marker says.
    pub(super) record: Offset,
}

/// Offsets of one group, by topic and partition.
pub(super) type GroupOffsets = BTreeMap<String, BTreeMap<i32, Committed>>;

/// A partition of a topic in a group: what a transaction may hold.
type Place = (String, String, i32);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Offsets {
    groups: BTreeMap<String, GroupOffsets>,
    count: usize,
    /// By producer: what its open transaction will commit.
    pending: BTreeMap<ProducerId, BTreeMap<Place, Committed>>,
    /// The other way round: which open transactions hold a place.
    open: BTreeMap<Place, BTreeSet<ProducerId>>,
    /// A planted fault: see `Bug::OffsetOvertaken`.
    #[cfg(test)]
    is_overtaken: bool,
}

impl Offsets {
    #[cfg(test)]
    pub(super) fn plant(&mut self, is_overtaken: bool) {
        self.is_overtaken = is_overtaken;
    }

    /// Committed offsets in all.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// Groups with offsets from `start` on, in order.
    pub(super) fn groups_from(&self, start: &str) -> impl Iterator<Item = (&String, &GroupOffsets)> {
        self.groups.range::<str, _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded))
    }

    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// Whether an open transaction holds the place.
    pub(super) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        !self.open.is_empty() && self.open.contains_key(&(group.to_owned(), topic.to_owned(), partition))
    }

    /// The places of a group that open transactions hold.
    pub(super) fn pending_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = (&'a str, i32)> {
        let from = (group.to_owned(), String::new(), i32::MIN);
        let places = self.open.range(from..).map(|(place, _)| place);
        places.take_while(move |place| place.0 == group).map(|place| (place.1.as_str(), place.2))
    }

    /// What open transactions will commit: place and the topic id of each.
    pub(super) fn pending(&self) -> impl Iterator<Item = (&str, &str, i32, Uuid)> {
        let places = self.pending.values().flatten();
        places.map(|(place, committed)| (place.0.as_str(), place.1.as_str(), place.2, committed.topic_id))
    }

    /// Replays a record.
    pub(super) fn replay(
        &mut self,
        at: Offset,
        producer: Option<ProducerId>,
        key: OffsetCommitKey,
        value: Option<OffsetCommitValue>,
    ) {
        let Some(value) = value else { return self.forget(key) };
        let committed = Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata,
            committed_at: Millis(value.commit_timestamp),
            expires_at: (value.expire_timestamp != -1).then_some(Millis(value.expire_timestamp)),
            topic_id: value.topic_id,
            record: at,
        };
        match producer {
            None => self.put((key.group, key.topic, key.partition), committed),
            Some(producer) => {
                let place = (key.group, key.topic, key.partition);
                self.open.entry(place.clone()).or_default().insert(producer);
                self.pending.entry(producer).or_default().insert(place, committed);
            }
        }
    }

    /// Replays the end of a transaction. An offset that a newer record has overtaken stays as it is.
    pub(super) fn end_transaction(&mut self, producer: ProducerId, is_committed: bool) {
        for (place, committed) in self.pending.remove(&producer).unwrap_or_default() {
            if let Some(holders) = self.open.get_mut(&place) {
                holders.remove(&producer);
                if holders.is_empty() {
                    self.open.remove(&place);
                }
            }
            let present = self.committed(&place.0, &place.1, place.2);
            #[cfg(test)]
            let present = present.filter(|_| !self.is_overtaken);
            if is_committed && present.is_none_or(|present| present.record < committed.record) {
                self.put(place, committed);
            }
        }
    }

    fn put(&mut self, (group, topic, partition): Place, committed: Committed) {
        let partitions = self.groups.entry(group).or_default().entry(topic).or_default();
        if partitions.insert(partition, committed).is_none() {
            self.count += 1;
        }
    }

    fn forget(&mut self, key: OffsetCommitKey) {
        if let Some(topics) = self.groups.get_mut(&key.group) {
            if let Some(partitions) = topics.get_mut(&key.topic) {
                self.count -= usize::from(partitions.remove(&key.partition).is_some());
                if partitions.is_empty() {
                    topics.remove(&key.topic);
                }
            }
            if topics.is_empty() {
                self.groups.remove(&key.group);
            }
        }
        let place = (key.group, key.topic, key.partition);
        for producer in self.open.remove(&place).unwrap_or_default() {
            if let Some(pending) = self.pending.get_mut(&producer) {
                pending.remove(&place);
            }
        }
    }

    /// Stops if the two sides of the transactions or the count disagree with what is stored.
    pub(super) fn check(&self) {
        let stored: usize = self.groups.values().flat_map(|topics| topics.values()).map(BTreeMap::len).sum();
        assert_eq!(stored, self.count, "offsets are counted");
        let no_empty = self.groups.values().all(|topics| !topics.is_empty() && topics.values().all(|p| !p.is_empty()));
        assert!(no_empty, "no empty maps stay behind");
        for (place, producers) in &self.open {
            assert!(!producers.is_empty(), "{place:?} is held by somebody");
            for producer in producers {
                assert!(self.pending.get(producer).is_some_and(|places| places.contains_key(place)), "{place:?}");
            }
        }
        for (producer, places) in &self.pending {
            let held = |place| self.open.get(place).is_some_and(|holders| holders.contains(producer));
            assert!(places.keys().all(held), "{producer} holds what it will commit");
        }
    }
}
