//! Whom to ask when anybody will do, and what to do about brokers that cannot be reached: an address that a broker
//! advertises need not lead anywhere from here.

use std::time::{Duration, Instant};

use milena_protocol::NodeId;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Cluster, Lane};
use crate::Error;
use crate::task::outcome;
use crate::transport::{Address, Connection, TransportError};

impl Cluster {
    /// Opens a connection to one of the brokers that `bootstrap` named, whoever is the first.
    pub(super) async fn contact(&self, bootstrap: &Address) -> Result<(), Error> {
        let brokers: Vec<(NodeId, Address)> =
            self.view().brokers.iter().map(|(node, broker)| (*node, broker.address.clone())).collect();
        let mut last = None;
        for some in brokers.chunks(CONTACTS_MAX) {
            let mut dialling = JoinSet::new();
            for (node, _) in some {
                let (cluster, node) = (self.clone(), *node);
                dialling.spawn(async move { cluster.reach(node).await });
            }
            while let Some(joined) = dialling.join_next().await {
                match outcome(joined).await {
                    Ok(_) => return Ok(()),
                    Err(error) => last = Some(error),
                }
            }
        }
        match last {
            Some(last) => Err(Error::Unreached { bootstrap: bootstrap.clone(), brokers, last: Box::new(last) }),
            None => Ok(()),
        }
    }

    /// A connection to whichever broker answers: a known one, else one of the bootstrap brokers, else a known one that
    /// could not be reached a moment ago.
    pub(crate) async fn any(&self) -> Result<Connection, Error> {
        let (avoided, likely): (Vec<NodeId>, Vec<NodeId>) =
            self.view().brokers.keys().partition(|node| self.is_avoided(**node));
        if let Some(connection) = self.first_of(&likely).await {
            return Ok(connection);
        }
        let error = match self.bootstrap().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        self.first_of(&avoided).await.ok_or(error)
    }

    async fn first_of(&self, nodes: &[NodeId]) -> Option<Connection> {
        for node in nodes {
            match self.reach(*node).await {
                Ok(connection) => return Some(connection),
                Err(error) => tracing::debug!(%node, %error, "trying the next broker"),
            }
        }
        None
    }

    async fn bootstrap(&self) -> Result<Connection, Error> {
        let settings = self.settings();
        let mut last = None;
        for address in &settings.bootstrap {
            match Connection::open(&*settings.dialer, address, settings.connection.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(last) => Err(Error::NoBroker { tried: settings.bootstrap.clone(), last }),
            None => Err(Error::Misuse("a cluster needs at least one bootstrap address")),
        }
    }

    /// The connection to a broker, in time, and a note of how that went.
    async fn reach(&self, node: NodeId) -> Result<Connection, Error> {
        let limit = self.settings().contact_timeout;
        let reached = match timeout(limit, self.connection(node, Lane::Requests)).await {
            Ok(reached) => reached,
            Err(_) => Err(self.too_late(node, limit)),
        };
        let mut unreached = self.unreached();
        match &reached {
            Ok(_) => unreached.remove(&node),
            Err(_) => unreached.insert(node, Instant::now()),
        };
        reached
    }

    fn too_late(&self, node: NodeId, limit: Duration) -> Error {
        match self.view().brokers.get(&node) {
            Some(broker) => TransportError::too_late(&broker.address, limit).into(),
            None => Error::Missing { what: format!("broker {node}") },
        }
    }

    fn is_avoided(&self, node: NodeId) -> bool {
        self.unreached().get(&node).is_some_and(|tried| tried.elapsed() < AVOIDED_FOR)
    }
}

/// How many brokers are dialled at once.
const CONTACTS_MAX: usize = 8;
/// How long others are preferred to a broker that could not be reached.
const AVOIDED_FOR: Duration = Duration::from_secs(30);
