//! Where a node listens: bound before anything else at the start, so that a taken port is told at once, and served last. While
//! it runs, listeners come and go as the broker's settings say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info};

use crate::node::{Node, StartError};
use crate::settings::{ListenerSettings, Settings};
use crate::world::{Listener, Place, World};
use crate::{http, listener};

/// Sockets that nobody is served at yet.
pub(crate) struct Bound<W: World> {
    listeners: Vec<W::Listener>,
    metrics: Option<W::Listener>,
}

impl<W: World> Bound<W> {
    /// Binds what the settings say.
    pub(crate) fn open(world: &W, settings: &Settings) -> Result<Bound<W>, StartError> {
        let listen = |address| world.listen(address).map_err(|source| StartError::Listen { address, source });
        let listeners = settings.listeners.iter().map(|listener| listen(listener.bind)).collect::<Result<_, _>>()?;
        Ok(Bound { listeners, metrics: settings.metrics_listen.map(listen).transpose()? })
    }

    /// In the order of the settings.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(Listener::address).collect()
    }

    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Listener::address)
    }

    /// Clients may come now, by the listeners that the settings name by now.
    pub(crate) fn serve(self, node: &Arc<Node<W>>) {
        let mut open = node.doors.open.lock();
        let doors = open.get_or_insert_default();
        for (listener, settings) in self.listeners.into_iter().zip(&node.settings.listeners) {
            doors.insert(Arc::clone(&settings.name), serve(node, Arc::clone(&settings.name), listener));
        }
        drop(open);
        node.doors.set(node, &node.changeable().listeners);
        if let Some(listener) = self.metrics {
            node.world.spawn(Place::Background, Box::pin(http::serve(Arc::clone(node), listener)));
        }
    }
}

/// Listeners that are served; `None` before any is.
#[derive(Debug, Default)]
pub struct Doors {
    open: Mutex<Option<BTreeMap<Arc<str>, watch::Sender<bool>>>>,
}

impl Doors {
    /// Opens the listeners that are new, and closes those that are not among them any more, with their connections.
    pub(crate) fn set<W: World>(&self, node: &Arc<Node<W>>, wanted: &[ListenerSettings]) {
        let mut open = self.open.lock();
        let Some(doors) = open.as_mut() else { return };
        let is_wanted = |name: &str| wanted.iter().any(|listener| *listener.name == *name);
        doors.retain(|name, closed| {
            if is_wanted(name) {
                return true;
            }
            info!(listener = %name, "listener closed");
            closed.send_replace(true);
            node.connections.send_away(name);
            false
        });
        for ListenerSettings { name, bind, .. } in wanted {
            if doors.contains_key(name) {
                continue;
            }
            match node.world.listen(*bind) {
                Ok(listener) => {
                    info!(listener = %name, address = %listener.address(), "listener opened");
                    doors.insert(Arc::clone(name), serve(node, Arc::clone(name), listener));
                }
                Err(failure) => error!(listener = %name, address = %bind, %failure, "listener not opened"),
            }
        }
    }
}

fn serve<W: World>(node: &Arc<Node<W>>, name: Arc<str>, listener: W::Listener) -> watch::Sender<bool> {
    let (close, closed) = watch::channel(false);
    let task = listener::accept(Arc::clone(node), name, listener, closed);
    node.world.spawn(Place::Background, Box::pin(task));
    close
}
