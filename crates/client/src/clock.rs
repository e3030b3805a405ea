//! The only place of the client that reads the machine's clock for timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

use milena_base::Millis;

/// Now, since the Unix epoch. A clock before 1970 reads as 0.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
