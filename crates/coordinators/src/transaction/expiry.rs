//! Transactional ids that nobody has used for long are forgotten.
//!
//! Source: `TransactionStateManager.removeExpiredTransactionalIds`.

use milena_base::Millis;

use super::state::Transaction;

/// One step writes tombstones of about so many bytes: they are one batch, which has to fit the log.
pub(super) const TOMBSTONE_BYTES_PER_STEP: usize = 64 << 10;
/// What a tombstone takes beside the id itself.
pub(super) const TOMBSTONE_BYTES: usize = 16;
/// One step looks at no more transactional ids than this.
pub(super) const IDS_PER_STEP: usize = 10_000;

impl Transaction {
    /// Whether it may be forgotten.
    pub(super) fn has_expired(&self, now: Millis, expiration: Millis) -> bool {
        self.state.is_at_rest() && now.0.saturating_sub(self.updated_at.0) >= expiration.0
    }
}
