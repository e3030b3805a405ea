//! What became of a record. All records of a batch share one outcome.

use milena_base::Millis;
use milena_protocol::{Offset, TopicPartition};
use tokio::sync::watch;

use crate::Error;

/// A record's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it is.
    pub partition: TopicPartition,
    /// Its offset; unknown without acknowledgements.
    pub offset: Option<Offset>,
    /// When the leader appended it, if the topic keeps that instead of the producer's time.
    pub append_time: Option<Millis>,
}

/// A batch's outcome.
#[derive(Debug, Clone)]
pub(super) struct Appended {
    pub(super) base_offset: Offset,
    pub(super) append_time: Option<Millis>,
}

/// `None` while it is not known.
pub(super) type Outcome = Option<Result<Appended, Error>>;

/// Tells what became of one record. It may be dropped; the record is delivered all the same.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub(super) partition: TopicPartition,
    pub(super) index: i32,
    pub(super) outcome: watch::Receiver<Outcome>,
}

impl Delivery {
    /// Which partition the record goes to.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Waits until the record is delivered, or given up.
    pub async fn wait(mut self) -> Result<Delivered, Error> {
        let outcome = self.outcome.wait_for(Option::is_some).await.map(|known| known.clone());
        match outcome {
            Ok(Some(appended)) => {
                appended.map(|batch| Delivered::at(batch.base_offset, self.index, self.partition, batch.append_time))
            }
            // The sender is gone: its runtime has ended.
            Ok(None) | Err(_) => Err(Error::Closed),
        }
    }
}
