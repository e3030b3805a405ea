//! The server: sockets, threads and time around the machines of the other crates. One function per API, runtimes
//! that drive the controller, the quorum and the coordinators, and the life of a node.
//!
//! **Invariants:** everything that touches the machine goes through [`world::World`]; what decides anything lives
//! in the crates below.

pub mod account;
pub mod answer;
pub mod answers;
pub mod api;
mod applier;
mod auto_create;
mod broker;
pub mod connection;
pub mod connections;
pub mod control;
pub mod cores;
pub mod directory;
pub mod dispatch;
mod doors;
pub mod durability;
pub mod frames;
pub mod growing;
mod http;
mod listener;
mod loading;
pub mod markers;
pub mod memory;
pub mod metadata_log;
pub mod metrics;
pub mod node;
pub mod offenders;
pub mod partitions;
mod pipeline;
mod producer_ids;
pub mod quotas;
pub mod sessions;
pub mod settings;
pub mod shards;
mod share;
mod software;
pub mod startup;
pub mod telemetry;
pub mod throttle;
pub mod unflushed;
mod upkeep;
pub mod verification;
mod waits;
pub mod watch;
pub mod work;
pub mod world;

pub use node::{Running, StartError, start};
pub use settings::{OWN_KEYS, OwnKey, Settings, SettingsError};
