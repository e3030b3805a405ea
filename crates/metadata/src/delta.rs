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
    /// The new image came from a snapshot: the fields below were found by comparing.
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

    /// Applies one record. Copies what it touches once, and nothing else.
    pub fn replay(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        todo!()
    }

    /// The finished image.
    pub fn apply(self, provenance: Provenance) -> (Image, Changes) {
        todo!()
    }
}
