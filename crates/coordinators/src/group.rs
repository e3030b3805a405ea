//! Groups over one partition of `__consumer_offsets`: classic groups and committed offsets. What the wire says is
//! in [`request`]; the machine is [`GroupShard`]; consumer groups of KIP-848 are in `consumer`.
//!
//! Source: `GroupMetadataManager`, `ClassicGroup` and `OffsetMetadataManager` of Kafka 4.3.1.

mod admin;
mod classic;
mod commit;
mod consumer;
mod event;
mod expiry;
mod join;
mod kind;
mod list;
mod matching;
mod member;
mod offsets;
#[cfg(test)]
mod planted;
mod protocols;
mod rebalance;
mod record;
pub mod request;
mod settings;
mod shard;
mod sync;
#[cfg(test)]
mod tests;
mod weight;

pub use crate::partition::partition_for;
pub use consumer::Assignor;
pub use event::{Counts, DeletedTopic, Effect, Event};
pub use list::Filters;
pub use matching::Matching;
pub use request::{CheckedHeartbeat, Context, Request, Response, refuse};
pub use settings::{ConsumerSettings, MigrationPolicy, Settings};
pub use shard::GroupShard;
