//! Transactional ids and their transactions over one partition of `__transaction_state`. What is asked is in
//! [`request`]; the machine is [`TransactionShard`].
//!
//! ```text
//!                  InitProducerId                    AddPartitions
//!   (no record) ───────────────────► Empty ─────────────────────────────► Ongoing ──┐ AddPartitions
//!                                    ▲   ▲                                ▲  │  ▲────┘
//!                     InitProducerId │   └── expires ──► (no record)      │  │ EndTxn, a timeout,
//!                                    │                                    │  ▼ a new InitProducerId
//!                            CompleteCommit ◄── every partition ── PrepareCommit
//!                            CompleteAbort  ◄── has its marker ─── PrepareAbort
//! ```
//!
//! Each arrow is one record; replay alone follows it. The effects are two: a fresh producer id, and markers. Both are
//! at most once under way for one transactional id.
//!
//! Source: `TransactionCoordinator`, `TransactionStateManager`, `TransactionMetadata` and
//! `TransactionMarkerChannelManager` of Kafka 4.3.1; KIP-98, KIP-360, KIP-890, KIP-994, KIP-1152.

mod add_partitions;
mod describe;
mod end;
mod event;
mod expiry;
mod init_producer_id;
mod list;
mod marking;
#[cfg(test)]
mod planted;
mod record;
pub mod request;
mod settings;
mod shard;
mod state;
#[cfg(test)]
mod tests;
mod timeout;

pub use crate::partition::partition_for;
pub use event::{Counts, Effect, Event, Marked};
pub use list::{Filters, listed_bytes};
pub use request::{Context, Participation, Request, Response, refuse};
pub use settings::Settings;
pub use shard::TransactionShard;
pub use state::State;
