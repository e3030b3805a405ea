//! What an operator can set for transactions, with Kafka's names and defaults.

use milena_base::Millis;

/// Settings of the transaction coordinator.
///
/// Source: `TransactionStateManagerConfig` of Kafka 4.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `transaction.max.timeout.ms`
    pub timeout_max_ms: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_interval: Millis,
    /// `transactional.id.expiration.ms`
    pub id_expiration: Millis,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_interval: Millis,
    /// Transactional ids of one shard; at the bound a new one is answered COORDINATOR_LOAD_IN_PROGRESS, upon which
    /// clients try again. Not Kafka's: it has no bound.
    pub ids_max: usize,
    /// A fault that a test has planted.
    #[cfg(test)]
    pub(super) planted: Option<super::planted::Bug>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeout_max_ms: 900_000,
            abort_interval: Millis(10_000),
            id_expiration: Millis(7 * 24 * 60 * 60 * 1_000),
            expiry_interval: Millis(60 * 60 * 1_000),
            ids_max: 1_000_000,
            #[cfg(test)]
            planted: None,
        }
    }
}
