//! A client for any broker that speaks Kafka's protocol: the [`transport`] alone for those who send single
//! requests, and with the feature `full` (the default) a [`Cluster`] that finds its way by itself, a [`Producer`], a
//! [`TransactionalProducer`], a [`Consumer`] and an [`Admin`].
//!
//! Everything runs on the tokio runtime that it is called from. Every queue has a bound, and what happens at it
//! stands beside the setting.
//!
//! **Invariant:** this crate starts no thread and no runtime; sockets are opened by a [`transport::Dial`] alone.

pub mod transport;

#[cfg(feature = "full")]
pub mod admin;
#[cfg(feature = "full")]
mod clock;
#[cfg(feature = "full")]
pub mod cluster;
#[cfg(feature = "full")]
pub mod consumer;
#[cfg(feature = "full")]
mod error;
#[cfg(feature = "full")]
pub mod producer;
#[cfg(feature = "full")]
mod record;
#[cfg(feature = "full")]
mod task;
#[cfg(feature = "full")]
pub mod transaction;

#[cfg(feature = "full")]
pub use admin::Admin;
#[cfg(feature = "full")]
pub use cluster::{Cluster, ClusterSettings};
#[cfg(feature = "full")]
pub use consumer::{Consumer, ConsumerSettings, Event};
#[cfg(feature = "full")]
pub use error::Error;
#[cfg(feature = "full")]
pub use milena_protocol::records::{Header, RecordView};
#[cfg(feature = "full")]
pub use producer::{Producer, ProducerSettings};
#[cfg(feature = "full")]
pub use record::ProducedRecord;
#[cfg(feature = "full")]
pub use transaction::{Transaction, TransactionSettings, TransactionalProducer};
