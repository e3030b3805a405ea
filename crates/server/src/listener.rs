//! Accepts connections and hands them to the data cores in turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::connection::{self, Peer};
use crate::connections::{NoPlace, Place};
use crate::node::Node;
use crate::world::{self, Listener, World};

/// Pause after a failed accept: out of file descriptors, most likely, and trying again at once helps nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are kept open only to be ended later.
const DELAYED_MAX: usize = 1_000;

/// Accepts on one listener until it is closed, or the world stops.
pub(crate) async fn accept<W: World>(
    node: Arc<Node<W>>,
    name: Arc<str>,
    mut listener: W::Listener,
    mut closed: watch::Receiver<bool>,
) {
    let mut turn = 0;
    let accepting = async {
        loop {
            let (accepted, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(listener = %name, %error, "no connection accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            node.metrics.accepted.inc();
            if let Some((accepted, place)) = let_in(&node, &name, accepted, address).await {
                turn += 1;
                let peer = Peer { address, listener: Arc::clone(&name), software: Default::default() };
                serve(&node, turn, accepted, peer, place);
            }
        }
    };
    tokio::select! {
        biased;
        () = node.stopping() => {}
        _ = closed.wait_for(|closed| *closed) => {}
        () = accepting => {}
    }
}

/// Gives a connection its place, when there is one; the next is accepted after it. `None` where it is not let in.
async fn let_in<W: World>(
    node: &Arc<Node<W>>,
    listener: &Arc<str>,
    accepted: W::Accepted,
    address: SocketAddr,
) -> Option<(W::Accepted, Place)> {
    let connections = &node.connections;
    connections.arrived(listener).await;
    connections.place_free(listener).await;
    if let Err(delay) = node.quotas.connected(address.ip()) {
        connections.take_back(listener);
        delay_end(node, accepted, delay);
        return None;
    }
    loop {
        match connections.enter(listener, address.ip()) {
            Ok(place) => return Some((accepted, place)),
            // Another listener was faster.
            Err(NoPlace::Full) => connections.place_free(listener).await,
            Err(NoPlace::TooMany) => {
                if let Some(unsaid) = node.offenders.say(address.ip(), node.world.now()) {
                    warn!(peer = %address, unsaid, "too many connections");
                }
                return None;
            }
        }
    }
}

fn serve<W: World>(node: &Arc<Node<W>>, turn: usize, accepted: W::Accepted, peer: Peer, place: Place) {
    let task_node = Arc::clone(node);
    let task = async move {
        match task_node.world.adopt(accepted) {
            Ok(stream) => {
                let address = peer.address;
                connection::run(Arc::clone(&task_node), stream, peer, place).await;
                task_node.telemetry.disconnected(address);
            }
            Err(error) => warn!(%error, "a connection was lost between accept and its core"),
        }
    };
    node.world.spawn(world::Place::Core(turn), Box::pin(task));
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
    node.world.spawn(world::Place::Background, Box::pin(task));
}
