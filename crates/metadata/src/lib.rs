//! The cluster's mind: the quorum that agrees on the metadata log, the records in it, the image that they add up
//! to, and the controller that decides what to write next.
//!
//! ```text
//! requests ─► controller::Controller::handle ─► records ─► log (owned by the shell) ─► raft: high watermark
//!                    ▲                                            │
//!             written image ◄── replay ───────────────────────────┤ committed
//!                                                                 ▼
//!                                        loader::Loader ─► image::Image + delta::Changes
//! ```
//!
//! **Invariant:** this crate opens no file, reads no clock, rolls no dice and starts no thread. Time and randomness
//! come in as arguments; what must be written, sent or armed goes out as values.

pub mod configs;
pub mod controller;
pub mod delta;
pub mod expression;
pub mod features;
pub mod format;
pub mod image;
pub mod java;
pub mod loader;
pub mod properties;
pub mod quotas;
pub mod raft;
mod re2;
pub mod records;
pub mod retention;
pub mod snapshot;
pub mod sorted;
pub mod telemetry;
pub mod topic_name;

/// Name of the topic that holds the metadata log; its only partition is 0.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
