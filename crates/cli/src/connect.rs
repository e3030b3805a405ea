//! From `--bootstrap` to a cluster.

use std::time::Duration;

use milena_client::transport::Address;
use milena_client::{Cluster, ClusterSettings};

use crate::failure::Failure;

/// Which cluster a command speaks to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As given; `None` is [`BOOTSTRAP`].
    pub(crate) bootstrap: Option<String>,
}

impl Target {
    /// Connects, or says that nobody is there.
    pub(crate) async fn connect(&self) -> Result<Cluster, Failure> {
        self.connect_creating(false).await
    }

    /// Like [`Target::connect`]; missing topics are created at first use if `creates_topics`.
    pub(crate) async fn connect_creating(&self, creates_topics: bool) -> Result<Cluster, Failure> {
        let text = self.bootstrap.as_deref().unwrap_or(BOOTSTRAP);
        let bootstrap = Address::list(text)
            .map_err(|error| Failure::usage(format!("--bootstrap: {error}; write it like {BOOTSTRAP}")))?;
        let mut settings = ClusterSettings::new(bootstrap);
        settings.creates_topics = creates_topics;
        settings.topic_timeout = if creates_topics { TOPIC_CREATION_TIMEOUT } else { TOPIC_TIMEOUT };
        settings.operation_timeout = OPERATION_TIMEOUT;
        settings.contact_timeout = CONTACT_TIMEOUT;
        settings.connection.client_id = "milena-cli".to_owned();
        Ok(Cluster::connect(settings).await?)
    }
}

/// Kafka's port on this machine.
const BOOTSTRAP: &str = "127.0.0.1:9092";
/// How long a person waits for a command.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long for a broker at the address that it advertises.
const CONTACT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long for a topic that is not there.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(1);
/// How long for one that is created at first use.
const TOPIC_CREATION_TIMEOUT: Duration = Duration::from_secs(15);
