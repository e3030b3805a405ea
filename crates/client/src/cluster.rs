//! The way through a cluster: which brokers there are, who leads which partition, who coordinates which group or
//! transactional id, with one connection per broker and purpose. What the cluster said last is kept as a [`View`]; it is asked again
//! when it is old, when a topic is missing in it, and when a broker says that it is wrong.

mod contact;
mod retry;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use milena_protocol::messages::{FindCoordinatorRequest, MetadataRequest, metadata_request};
use milena_protocol::{NodeId, TopicPartition, Uuid};
use tokio::sync::Mutex as AsyncMutex;

pub(crate) use retry::Retry;
pub use view::{BrokerView, Leader, PartitionView, TopicView, View};

use crate::Error;
use crate::transport::{Address, Connection, ConnectionSettings, Dial, TcpDialer};

/// How the cluster is found and how patiently it is asked.
#[derive(Clone)]
pub struct ClusterSettings {
    /// Where to ask first. One broker that answers is enough.
    pub bootstrap: Vec<Address>,
    /// How connections come into being.
    pub dialer: Arc<dyn Dial>,
    /// How each connection behaves.
    pub connection: ConnectionSettings,
    /// How long a broker that was named by another one is dialled before somebody else is tried.
    pub contact_timeout: Duration,
    /// The first pause before a retry (`retry.backoff.ms`); each further one is twice as long.
    pub retry_backoff: Duration,
    /// The longest pause before a retry (`retry.backoff.max.ms`).
    pub retry_backoff_max: Duration,
    /// How long an operation may take with all its retries (`default.api.timeout.ms`).
    pub operation_timeout: Duration,
    /// How long a missing topic is waited for, since it may be about to be created (`max.block.ms`).
    pub topic_timeout: Duration,
    /// How old a view may become before it is asked for anew (`metadata.max.age.ms`).
    pub view_age_max: Duration,
    /// Whether asking for a missing topic may create it, if the brokers allow that too.
    pub creates_topics: bool,
}

impl ClusterSettings {
    /// Kafka's defaults over plain TCP.
    pub fn new(bootstrap: Vec<Address>) -> ClusterSettings {
        ClusterSettings {
            bootstrap,
            dialer: Arc::new(TcpDialer),
            connection: ConnectionSettings::default(),
            contact_timeout: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            operation_timeout: Duration::from_secs(60),
            topic_timeout: Duration::from_secs(60),
            view_age_max: Duration::from_secs(300),
            creates_topics: true,
        }
    }
}

/// What a connection is used for. Brokers serve one request of a connection after the other, so that requests
/// which wait by intention need connections of their own, and every consumer its own ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Requests that are answered at once.
    Requests,
    /// Fetches, which wait for records.
    Fetches(ConsumerNumber),
    /// Join and sync, which wait for other members, and heartbeats, which must not.
    Group(ConsumerNumber),
}

/// Tells the consumers of one [`Cluster`] apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConsumerNumber(u64);

/// Which topics to ask about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topics<'a> {
    /// Every topic of the cluster.
    All,
    /// These.
    Named(&'a [String]),
}

/// What a coordinator looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coordinated {
    /// A group's members and offsets.
    Group,
    /// A transactional id.
    TransactionalId,
}

/// A cluster and the connections to it. Clones share both.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ClusterSettings,
    view: Mutex<(Arc<View>, Instant)>,
    slots: Mutex<BTreeMap<(NodeId, Lane), Slot>>,
    /// Brokers that [`Cluster::any`] could not reach, and when it tried.
    unreached: Mutex<BTreeMap<NodeId, Instant>>,
    coordinators: Mutex<BTreeMap<(Coordinated, String), NodeId>>,
    consumers: AtomicU64,
}

/// The connection of one broker and lane; the lock keeps two tasks from dialling at once.
type Slot = Arc<AsyncMutex<Option<Connection>>>;

impl Cluster {
    /// Asks the bootstrap brokers, one after the other, until one answers. Errors with [`Error::Unreached`] if none of the
    /// brokers that it names can be reached: everything else would wait for them in vain.
    pub async fn connect(settings: ClusterSettings) -> Result<Cluster, Error> {
        let cluster = Cluster {
            shared: Arc::new(Shared {
                settings,
                view: Mutex::new((Arc::default(), Instant::now())),
                slots: Mutex::default(),
                unreached: Mutex::default(),
                coordinators: Mutex::default(),
                consumers: AtomicU64::new(0),
            }),
        };
        let bootstrap = cluster.any().await?;
        cluster.refresh_from(&bootstrap, Topics::Named(&[])).await?;
        cluster.contact(bootstrap.address()).await?;
        Ok(cluster)
    }

    /// What it was opened with.
    pub fn settings(&self) -> &ClusterSettings {
        &self.shared.settings
    }

    /// What the cluster said last.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.shared.view.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// A topic, from the view or by asking for it. Waits for a topic that is just being created.
    pub async fn topic(&self, name: &str) -> Result<TopicView, Error> {
        let mut retry = self.retry().within(self.shared.settings.topic_timeout);
        loop {
            if !self.is_stale()
                && let Some(topic) = self.view().topics.get(name)
            {
                return Ok(topic.clone());
            }
            match self.refresh(Topics::Named(&[name.to_owned()])).await {
                Ok(view) if view.topics.contains_key(name) => {}
                Ok(view) => retry.again(view.absence(name)).await?,
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Who leads a partition. Waits for an election that is under way.
    pub async fn leader(&self, partition: &TopicPartition) -> Result<Leader, Error> {
        let mut retry = self.retry();
        loop {
            let topic = self.topic(&partition.topic).await?;
            match topic.leader(partition.partition) {
                Ok(leader) => return Ok(leader),
                Err(error) => retry.again(error).await?,
            }
            self.refresh(Topics::Named(std::slice::from_ref(&partition.topic))).await?;
        }
    }

    /// The topic with that id, if the view knows it.
    pub(crate) fn topic_name(&self, id: Uuid) -> Option<String> {
        self.view().topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.clone())
    }

    fn is_stale(&self) -> bool {
        let asked = self.shared.view.lock().unwrap_or_else(PoisonError::into_inner).1;
        asked.elapsed() > self.shared.settings.view_age_max
    }

    /// Asks once, whoever answers. Topics that were not asked for stay as they were known.
    pub(crate) async fn refresh(&self, topics: Topics<'_>) -> Result<Arc<View>, Error> {
        self.refresh_from(&self.any().await?, topics).await
    }

    async fn refresh_from(&self, broker: &Connection, topics: Topics<'_>) -> Result<Arc<View>, Error> {
        let named =
            |name: &String| metadata_request::MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: match topics {
                Topics::All => None,
                Topics::Named(names) => Some(names.iter().map(named).collect()),
            },
            allow_auto_topic_creation: self.shared.settings.creates_topics && matches!(topics, Topics::Named(_)),
            ..Default::default()
        };
        let response = broker.call(&request).await?;
        Error::check(response.error_code, || "the cluster's metadata".to_owned())?;
        let mut kept = self.shared.view.lock().unwrap_or_else(PoisonError::into_inner);
        let view = Arc::new(match topics {
            Topics::All => View::default().updated(response),
            Topics::Named(_) => kept.0.updated(response),
        });
        *kept = (Arc::clone(&view), Instant::now());
        Ok(view)
    }

    /// The connection to one broker for one purpose, opened if need be.
    pub(crate) async fn connection(&self, node: NodeId, lane: Lane) -> Result<Connection, Error> {
        let slot = {
            let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((node, lane)).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let Some(broker) = self.view().brokers.get(&node).cloned() else {
            return Err(Error::Missing { what: format!("broker {node}") });
        };
        let settings = &self.shared.settings;
        let opened = Connection::open(&*settings.dialer, &broker.address, settings.connection.clone()).await?;
        *slot = Some(opened.clone());
        Ok(opened)
    }

    /// The connection to a group's coordinator, found once and kept until [`Cluster::forget_coordinator`].
    pub(crate) async fn coordinator(&self, group: &str, lane: Lane) -> Result<Connection, Error> {
        let node = self.coordinator_of(Coordinated::Group, group).await?;
        self.connection(node, lane).await
    }

    /// The connection to a transactional id's coordinator, found once and kept until
    /// [`Cluster::forget_transaction_coordinator`].
    pub(crate) async fn transaction_coordinator(&self, transactional_id: &str) -> Result<Connection, Error> {
        let node = self.coordinator_of(Coordinated::TransactionalId, transactional_id).await?;
        self.connection(node, Lane::Requests).await
    }

    async fn coordinator_of(&self, what: Coordinated, key: &str) -> Result<NodeId, Error> {
        let known = self.coordinators().get(&(what, key.to_owned())).copied();
        match known {
            Some(node) => Ok(node),
            None => self.find_coordinator(what, key).await,
        }
    }

    fn unreached(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.shared.unreached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn coordinators(&self) -> MutexGuard<'_, BTreeMap<(Coordinated, String), NodeId>> {
        self.shared.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find_coordinator(&self, kind: Coordinated, key: &str) -> Result<NodeId, Error> {
        let (key_type, name) = match kind {
            Coordinated::Group => (0, "group"),
            Coordinated::TransactionalId => (1, "transactional id"),
        };
        let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() };
        let response = self.any().await?.call(&request).await?;
        let what = || format!("the coordinator of {name} \"{key}\"");
        let Some(found) = response.coordinators.into_iter().find(|found| found.key == key) else {
            return Err(Error::Missing { what: what() });
        };
        Error::check_with(found.error_code, found.error_message.as_deref(), what)?;
        let node = NodeId(found.node_id);
        if !self.view().brokers.contains_key(&node) {
            self.refresh(Topics::Named(&[])).await?;
        }
        self.coordinators().insert((kind, key.to_owned()), node);
        Ok(node)
    }

    /// The next [`Cluster::coordinator`] asks anew.
    pub(crate) fn forget_coordinator(&self, group: &str) {
        self.coordinators().remove(&(Coordinated::Group, group.to_owned()));
    }

    /// The next [`Cluster::transaction_coordinator`] asks anew.
    pub(crate) fn forget_transaction_coordinator(&self, transactional_id: &str) {
        self.coordinators().remove(&(Coordinated::TransactionalId, transactional_id.to_owned()));
    }

    /// A number for a new consumer.
    pub(crate) fn number_consumer(&self) -> ConsumerNumber {
        ConsumerNumber(self.shared.consumers.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets go of a consumer's connections.
    pub(crate) fn forget_consumer(&self, number: ConsumerNumber) {
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(_, lane), _| *lane != Lane::Fetches(number) && *lane != Lane::Group(number));
    }

    /// A fresh operation's patience.
    pub(crate) fn retry(&self) -> Retry {
        Retry::new(&self.shared.settings)
    }
}
