//! Settings of transactions.

use milena_base::Millis;
use milena_coordinators::transaction::Settings;

use super::{SettingsError, Values};
use crate::verification::VerificationSettings;

/// How coordinators are asked.
pub(super) fn verification(values: &Values<'_>) -> Result<VerificationSettings, SettingsError> {
    Ok(VerificationSettings {
        backoff: values.millis("add.partitions.to.txn.retry.backoff.ms")?,
        backoff_max: values.millis("add.partitions.to.txn.retry.backoff.max.ms")?,
    })
}

/// Of the coordinator itself.
pub(super) fn transactions(values: &Values<'_>) -> Result<Settings, SettingsError> {
    Ok(Settings {
        timeout_max_ms: values.number("transaction.max.timeout.ms")?,
        abort_interval: Millis(values.number("transaction.abort.timed.out.transaction.cleanup.interval.ms")?),
        id_expiration: Millis(values.number("transactional.id.expiration.ms")?),
        expiry_interval: Millis(values.number("transaction.remove.expired.transaction.cleanup.interval.ms")?),
        ..Default::default()
    })
}
