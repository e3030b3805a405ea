//! The machines behind Kafka's internal topics: each shard owns one partition, decides by itself and remembers
//! only what its log tells it. Here: groups and their offsets over `__consumer_offsets` ([`group`]), transactional ids and
//! their transactions over `__transaction_state` ([`transaction`]).
//!
//! The contract between a shard and the shell that runs it, for every event:
//!
//! ```text
//!   handle(now, event) ──► Decision { records, replies, effects }
//!                              │         │        └── carried out once the records are safe; answered by an event
//!                              │         └── each leaves when the high watermark has passed
//!                              ▼             both its `written` and this decision's records
//!                     one batch, appended at once
//!                              ▼
//!   replay(origin, entry) for each record, before the next handle or tick
//! ```
//!
//! Durable state changes only in `replay`, soft state (parked joins, sessions, timers) only in `handle`, `tick`
//! and `loaded`. Nothing is ever undone: when an append fails, the shell unloads the shard and loads it again.
//!
//! **Invariant:** no clock, no random numbers, no threads, no files, no connections; nothing a client sends and
//! nothing a log holds may panic.

mod contract;
mod decision;
pub mod group;
mod log_error;
mod page;
mod partition;
#[cfg(test)]
mod simulated;
mod timers;
pub mod transaction;
mod weight;

pub use contract::{ReplayError, Shard};
pub use decision::{BatchKind, CoordinatorRecord, Decision, Entry, Marker, Origin, Reply, ReplyTo};
pub use log_error::coordinator_error;
pub use milena_metadata::expression::Expression;
pub use page::Page;
