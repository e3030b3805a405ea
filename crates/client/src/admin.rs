//! Looks after a cluster: topics, settings, quotas, groups, offsets, transactions. Each function is one request of the protocol, or the
//! few that belong together, tried again where that can help.

mod configs;
mod groups;
mod offsets;
mod quotas;
mod topics;
mod transactions;

use std::future::Future;

use milena_protocol::{ErrorCode, NodeId};

pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub(crate) use groups::assigned_partitions;
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use offsets::{CommittedOffset, Committer, FoundOffset, OffsetSpec};
pub(crate) use offsets::{by_topic, commit_group_offsets, fetch_group_offsets, find_offset};
pub use quotas::{Quota, QuotaEntity};
pub use topics::NewTopic;
pub use transactions::{
    HangingTransaction, PartitionProducer, TransactionDescription, TransactionFilter, TransactionListing,
};

use crate::cluster::{Topics, View};
use crate::{Cluster, Error};

/// The administrator's requests. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    cluster: Cluster,
}

impl Admin {
    /// An administrator of that cluster.
    pub fn new(cluster: &Cluster) -> Admin {
        Admin { cluster: cluster.clone() }
    }

    /// The cluster as it is now, with all its topics.
    pub async fn describe_cluster(&self) -> Result<std::sync::Arc<View>, Error> {
        self.retried(async || self.cluster.refresh(Topics::All).await).await
    }

    /// A broker that is asked itself has to be there; waiting for one that is not brings nothing.
    async fn check_broker(&self, node: NodeId) -> Result<(), Error> {
        let view = self.cluster.refresh(Topics::Named(&[])).await?;
        match view.brokers.contains_key(&node) {
            true => Ok(()),
            false => Err(Error::NoSuchBroker { node, known: view.brokers.keys().copied().collect() }),
        }
    }

    /// Tries again while that can help and time is left. A missing topic does not appear by waiting.
    async fn retried<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut retry = self.cluster.retry();
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => return Err(error),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// The same for requests to a group's coordinator, which may move.
    async fn retried_at<T, F: Future<Output = Result<T, Error>>>(
        &self,
        group: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut retry = self.cluster.retry();
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    self.cluster.forget_coordinator(group);
                    retry.again(error).await?;
                }
            }
        }
    }
}

/// How long the broker may take for changes.
const CHANGE_TIMEOUT_MS: i32 = 30_000;
