//! Tests of whole nodes on one seeded thread: sockets, disk and clock are in memory, so a run takes milliseconds
//! and can be repeated.

mod classic_groups;
mod client;
mod connection_limits;
mod consumer_groups;
mod dynamic_settings;
mod endurance;
mod every_version;
mod fairness;
mod fetch_sessions;
mod large_answers;
mod listeners;
mod many_names;
mod markers;
mod memory;
mod metadata_log;
mod metrics;
mod offline;
mod pipelining;
mod quotas;
mod seam;
mod start_settings;
mod telemetry;
mod transactions;
mod unflushed;
mod unregistered;
mod world;
