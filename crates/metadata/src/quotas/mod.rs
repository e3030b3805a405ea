//! Client quotas: what stands in the image, whom it is for, and the arithmetic by which it acts (KIP-13, KIP-55, KIP-124,
//! KIP-599, KIP-612). Whoever measures and delays is the server; nothing here knows a connection.

mod bucket;
mod describe;
mod limits;
mod rate;

pub use bucket::TokenBucket;
pub use describe::describe;
pub use limits::{Limits, Owner};
pub use rate::{Rate, Window};

/// Entity types, and the keys that their quotas may have. Source: `ClientQuotaEntity`, `QuotaConfig`.
pub const USER: &str = "user";
/// See [`USER`].
pub const CLIENT_ID: &str = "client-id";
/// See [`USER`].
pub const IP: &str = "ip";
/// Bytes per second that a client may produce.
pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// Bytes per second that a client may fetch.
pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
/// Percent of the time of one thread that a client's requests may take.
pub const REQUEST_PERCENTAGE: &str = "request_percentage";
/// Partitions per second that a client may create or delete.
pub const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
/// Connections per second that an address may open.
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";
