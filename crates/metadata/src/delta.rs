//! What a run of records changes in an image.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::messages::MetadataRecord;
use milena_protocol::{NodeId, Offset, Uuid};

use crate::configs::Resource;
use crate::image::{Image, Provenance};

/// What happened to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicChange {
    /// It is new.
    Created,
    /// Some of its partitions changed or are new.
    Changed,
    /// It is gone (a topic of the same name, created since, has an entry of its own id).
    Deleted,
}

/// One topic in [`Changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedTopic {
    /// Its name.
    pub name: String,
    /// What happened.
    pub change: TopicChange,
    /// Which partitions have new or changed state (all of them when created or deleted).
    pub partitions: BTreeSet<i32>,
}

/// What is different between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new image came from a snapshot: the fields below name all that it holds and all that was there before.
    pub from_snapshot: bool,
    /// By topic id.
    pub topics: BTreeMap<Uuid, ChangedTopic>,
    /// Resources whose settings changed.
    pub configs: BTreeSet<Resource>,
    /// Brokers that registered, changed or left.
    pub brokers: BTreeSet<NodeId>,
    /// Controllers that registered.
    pub controllers: BTreeSet<NodeId>,
    /// Features whose finalized level changed.
    pub features: BTreeSet<String>,
    /// A block of producer ids was given out.
    pub producer_ids: bool,
    /// A quota changed.
    pub quotas: bool,
    /// An ACL changed.
    pub acls: bool,
    /// A SCRAM credential changed.
    pub scram: bool,
    /// A delegation token changed.
    pub tokens: bool,
}

/// A record that does not fit the image: the log and the image disagree, which no valid log does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot replay the record at offset {offset}: {reason}")]
pub struct ReplayError {
    /// Offset of the record.
    pub offset: Offset,
    /// What does not fit.
    pub reason: String,
}

/// An image being built, with what was changed on the way.
#[derive(Debug, Clone)]
pub struct Delta {
    image: Image,
    changes: Changes,
}

impl Delta {
    /// Nothing changed yet. Costs a few reference counts.
    pub fn new(image: &Image) -> Delta {
        Delta { image: image.clone(), changes: Changes::default() }
    }

    /// The image as it stands.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Applies one record: copies what it touches once, and nothing else. After an error nothing is changed.
    pub fn replay(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        self.image.replay(record, &mut self.changes).map_err(|reason| ReplayError { offset, reason })
    }

    /// The finished image, as of `provenance`.
    pub fn apply(self, provenance: Provenance) -> (Image, Changes) {
        (self.image.at(provenance), self.changes)
    }
}

impl Changes {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    pub(crate) fn note_topic(&mut self, id: Uuid, name: &str, change: TopicChange) {
        let created_before = self.topics.get(&id).is_some_and(|known| known.change == TopicChange::Created);
        if change == TopicChange::Deleted && created_before {
            // Nobody has seen it.
            self.topics.remove(&id);
            return;
        }
        let entry = ChangedTopic { name: name.to_string(), change, partitions: BTreeSet::new() };
        self.topics.entry(id).or_insert(entry).change = change;
    }

    pub(crate) fn note_partition(&mut self, id: Uuid, name: &str, partition: i32) {
        let entry = ChangedTopic { name: name.to_string(), change: TopicChange::Changed, partitions: BTreeSet::new() };
        self.topics.entry(id).or_insert(entry).partitions.insert(partition);
    }

    /// More partitions of a topic that is noted already.
    pub(crate) fn note_partitions(&mut self, id: Uuid, partitions: impl Iterator<Item = i32>) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.partitions.extend(partitions);
        }
    }

    /// What is different when `new`, read from a snapshot, takes the place of `old`: everything that either holds.
    pub(crate) fn between(old: &Image, new: &Image) -> Changes {
        let mut changes = Changes { from_snapshot: true, ..Changes::default() };
        for topic in new.topics() {
            let change = match old.topic_by_id(topic.id) {
                Some(_) => TopicChange::Changed,
                None => TopicChange::Created,
            };
            changes.note_topic(topic.id, &topic.name, change);
            changes.note_partitions(topic.id, topic.partitions.keys().copied());
        }
        for topic in old.topics().filter(|topic| new.topic_by_id(topic.id).is_none()) {
            changes.note_topic(topic.id, &topic.name, TopicChange::Deleted);
            changes.note_partitions(topic.id, topic.partitions.keys().copied());
        }
        for image in [old, new] {
            changes.configs.extend(image.configs().map(|(resource, _)| resource.clone()));
            changes.brokers.extend(image.brokers().map(|broker| broker.id));
            changes.controllers.extend(image.controllers().map(|controller| controller.id));
            changes.features.extend(image.features().keys().cloned());
        }
        Changes { producer_ids: true, quotas: true, acls: true, scram: true, tokens: true, ..changes }
    }
}
