//! Accepts connections and hands them to the data cores in turn.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::warn;

use crate::connection::{self, Peer};
use crate::node::Node;
use crate::world::{Listener, Place, World};

/// Pause after a failed accept: out of file descriptors, most likely, and trying again at once helps nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are kept open only to be ended later.
const DELAYED_MAX: usize = 1_000;

/// Accepts on one listener until the world stops.
pub(crate) async fn accept<W: World>(node: Arc<Node<W>>, name: Arc<str>, mut listener: W::Listener) {
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = node.stopping() => return,
        };
        let (accepted, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(listener = %name, %error, "no connection accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        node.metrics.accepted.inc();
        if let Err(delay) = node.quotas.connected(address.ip()) {
            delay_end(&node, accepted, delay);
            continue;
        }
        let Some(place) = Taken::take(&node, address.ip()) else {
            if let Some(unsaid) = node.offenders.say(address.ip(), node.world.now()) {
                warn!(peer = %address, unsaid, "too many connections");
            }
            continue;
        };
        turn += 1;
        let peer = Peer { address, listener: Arc::clone(&name), software: Default::default() };
        let task_node = Arc::clone(&node);
        let task = async move {
            match task_node.world.adopt(accepted) {
                Ok(stream) => {
                    connection::run(Arc::clone(&task_node), stream, peer).await;
                    task_node.telemetry.disconnected(address);
                }
                Err(error) => warn!(%error, "a connection was lost between accept and its core"),
            }
            drop(place);
        };
        node.world.spawn(Place::Core(turn), Box::pin(task));
    }
}

/// Whoever opens too many connections learns of the end of the last one only after a while, or would open the next at once.
/// Where very many wait already, it is ended at once.
fn delay_end<W: World>(node: &Arc<Node<W>>, accepted: W::Accepted, delay: Duration) {
    let waiting = Arc::clone(&node.connections.waiting_to_end);
    if Arc::strong_count(&waiting) > DELAYED_MAX {
        return;
    }
    let task = async move {
        tokio::time::sleep(delay).await;
        drop((accepted, waiting));
    };
    node.world.spawn(Place::Background, Box::pin(task));
}

/// Open connections by address.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<Open>,
    /// One reference for each that is to be ended.
    waiting_to_end: Arc<()>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place among those allowed; free again on drop.
struct Taken<W: World> {
    node: Arc<Node<W>>,
    address: IpAddr,
}

impl<W: World> Taken<W> {
    /// `None` where `max.connections` or `max.connections.per.ip` is reached.
    fn take(node: &Arc<Node<W>>, address: IpAddr) -> Option<Taken<W>> {
        let mut open = node.connections.open.lock();
        let from_address = open.by_address.get(&address).copied().unwrap_or(0);
        if open.total >= node.settings.connections_max || from_address >= node.settings.connections_per_ip_max {
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, from_address + 1);
        node.metrics.connections.inc();
        Some(Taken { node: Arc::clone(node), address })
    }
}

impl<W: World> Drop for Taken<W> {
    fn drop(&mut self) {
        let mut open = self.node.connections.open.lock();
        open.total -= 1;
        match open.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.by_address.remove(&self.address);
            }
        }
        self.node.metrics.connections.dec();
    }
}
