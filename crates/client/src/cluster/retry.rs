//! How often and how long an operation is tried again.

use std::time::{Duration, Instant};

use super::ClusterSettings;
use crate::Error;

/// The patience of one operation: pauses that double up to a bound, and a deadline.
pub(crate) struct Retry {
    started: Instant,
    limit: Duration,
    pause: Duration,
    pause_max: Duration,
}

impl Retry {
    pub(crate) fn new(settings: &ClusterSettings) -> Retry {
        Retry {
            started: Instant::now(),
            limit: settings.operation_timeout,
            pause: settings.retry_backoff,
            pause_max: settings.retry_backoff_max,
        }
    }

    /// The same pauses, with another deadline.
    pub(crate) fn within(self, limit: Duration) -> Retry {
        Retry { limit, ..self }
    }

    /// The same deadline, beginning with another pause.
    pub(crate) fn pausing(self, pause: Duration) -> Retry {
        Retry { pause, ..self }
    }

    /// Waits before the next attempt. Gives the error back if another attempt cannot help or the time is up.
    pub(crate) async fn again(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        let pause = match error {
            Error::Throttled { wait, .. } => self.pause.max(wait),
            _ => self.pause,
        };
        let spent = self.started.elapsed();
        if spent + pause >= self.limit {
            return Err(Error::Deadline { after: spent, last: Box::new(error) });
        }
        tracing::debug!(%error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(self.pause_max);
        Ok(())
    }
}
