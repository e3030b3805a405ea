//! What a shard is asked and told, and what it counts.

use std::collections::BTreeSet;

use milena_metadata::image::Image;
use milena_protocol::Uuid;

use super::{Context, Matching, Request, Settings};
use crate::ReplyTo;

/// What a shard is asked or told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A request of a client that [`refuse`](super::refuse) let pass.
    Request {
        /// Where the answer goes.
        to: ReplyTo,
        /// Who asks.
        context: Context,
        /// What is asked.
        request: Request,
    },
    /// A newer image. What consumer groups subscribe to may have changed.
    Metadata {
        /// The image.
        image: Image,
        /// Whether it has topics that the one before did not have.
        has_new_topics: bool,
        /// Whether any topic is new, gone or grown, or a replica's rack another one.
        have_topics_changed: bool,
    },
    /// Other settings from now on; running timers keep their deadlines.
    Settings(Settings),
    /// Topics that the metadata no longer holds: their offsets are forgotten, a bounded number per tick.
    TopicsDeleted(Vec<DeletedTopic>),
    /// What came of [`Effect::Match`].
    Matched {
        /// The group.
        group: String,
        /// Each expression with the topics that it matches.
        matches: Vec<(String, BTreeSet<String>)>,
        /// Offset of the image that they were matched against.
        version: i64,
    },
}

/// What the shell is to do for a shard.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Matches expressions of a consumer group against the names of topics, and answers with
    /// [`Matching::into_event`]. There is one at most under way for each group.
    Match(Matching),
}

/// A topic that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its id: offsets of a newer topic of the same name stay.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Groups, simple ones included.
    pub groups: usize,
    /// Members of all groups, without pending ones.
    pub members: usize,
    /// Committed offsets, without those of open transactions.
    pub offsets: usize,
    /// Records of types that are not known here, skipped in replay.
    pub skipped_records: u64,
}
