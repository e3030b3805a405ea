//! The broker's own life in the cluster: register, keep alive, be unfenced, leave.
//!
//! Source: `BrokerLifecycleManager`.

use std::sync::Arc;
use std::time::Duration;

use milena_metadata::controller::{Request, Response};
use milena_metadata::features;
use milena_protocol::messages::broker_registration_request::{Feature, Listener};
use milena_protocol::messages::{BrokerHeartbeatRequest, BrokerRegistrationRequest};
use milena_protocol::{BrokerEpoch, ErrorCode, Uuid};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::node::Node;
use crate::world::World;

/// Pause between heartbeats until the broker is unfenced, and until it may go.
const EAGER: Duration = Duration::from_millis(5);
/// Pause after a registration was refused: the reason seldom goes away at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// Security protocol number of PLAINTEXT.
const PLAINTEXT: i16 = 0;
/// How long leaving may take: whoever is left notices a silent broker anyway.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Registers and sends heartbeats until the node stops. `unfenced` is told once the broker may serve.
pub(crate) async fn run<W: World>(node: Arc<Node<W>>, directory: Uuid, unfenced: oneshot::Sender<()>) {
    let mut unfenced = Some(unfenced);
    if register(&node, directory).await.is_none() {
        return;
    }
    loop {
        let Some(state) = heartbeat(&node, false).await else { return };
        if !state.fenced
            && let Some(unfenced) = unfenced.take()
        {
            let _ = unfenced.send(());
        }
        let pause = if unfenced.is_some() { EAGER } else { Duration::from_millis(node.settings.heartbeat_ms as u64) };
        tokio::select! {
            biased;
            () = node.stopping() => return,
            () = sleep(pause) => {}
        }
    }
}

/// Tells the controller that this broker goes, and waits until it may.
pub(crate) async fn leave<W: World>(node: &Arc<Node<W>>) {
    let left = async {
        while let Some(state) = heartbeat(node, true).await {
            if state.may_go {
                return;
            }
            sleep(EAGER).await;
        }
    };
    if timeout(LEAVE_MAX, left).await.is_err() {
        warn!("the controller did not let this broker go in time; it goes all the same");
    }
}

/// Registers until the controller accepts. `None` when the node stops.
async fn register<W: World>(node: &Arc<Node<W>>, directory: Uuid) -> Option<()> {
    let incarnation = Uuid(node.world.random());
    loop {
        let request = registration(node, directory, incarnation);
        let Response::RegisterBroker(response) = node.control.ask(Request::RegisterBroker(request)).await? else {
            unreachable!("the controller answers a registration with a registration");
        };
        match ErrorCode::from_number(response.error_code) {
            ErrorCode::None => {
                node.set_broker_epoch(BrokerEpoch(response.broker_epoch));
                info!(epoch = response.broker_epoch, "broker registered");
                return Some(());
            }
            // These do not go away: the directory is another cluster's, or a feature is finalized that is not known here.
            error @ (ErrorCode::UnsupportedVersion
            | ErrorCode::InvalidRegistration
            | ErrorCode::InconsistentClusterId) => {
                error!(%error, about = error.about(), "the controller does not take this broker");
                return None;
            }
            error => {
                warn!(%error, "broker not registered; trying again");
                sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

fn registration<W: World>(node: &Node<W>, directory: Uuid, incarnation: Uuid) -> BrokerRegistrationRequest {
    let listeners = node.advertised.iter().filter_map(|listener| {
        let (host, port) = listener.advertised.clone()?;
        Some(Listener { name: listener.name.to_string(), host, port, security_protocol: PLAINTEXT })
    });
    let features = features::supported().map(|feature| Feature {
        name: feature.name.to_owned(),
        min_supported_version: feature.supported.min,
        max_supported_version: feature.supported.max,
    });
    BrokerRegistrationRequest {
        broker_id: node.settings.node_id.0,
        cluster_id: node.cluster_id.clone(),
        incarnation_id: incarnation,
        listeners: listeners.collect(),
        features: features.collect(),
        rack: node.settings.rack.clone(),
        log_dirs: vec![directory],
        ..Default::default()
    }
}

/// What the controller thinks of this broker.
struct State {
    fenced: bool,
    may_go: bool,
}

/// `None` when the node stops.
async fn heartbeat<W: World>(node: &Arc<Node<W>>, want_shut_down: bool) -> Option<State> {
    let request = BrokerHeartbeatRequest {
        broker_id: node.settings.node_id.0,
        broker_epoch: node.broker_epoch().0,
        current_metadata_offset: node.image().provenance().last.0,
        want_shut_down,
        ..Default::default()
    };
    let Response::BrokerHeartbeat(response) = node.control.ask(Request::BrokerHeartbeat(request)).await? else {
        unreachable!("the controller answers a heartbeat with a heartbeat");
    };
    let error = ErrorCode::from_number(response.error_code);
    if !error.is_none() {
        warn!(%error, "heartbeat refused");
    }
    // Of a broker that was unregistered the controller knows nothing that it could wait for.
    let may_go = response.should_shut_down || error == ErrorCode::StaleBrokerEpoch;
    Some(State { fenced: response.is_fenced || !error.is_none(), may_go })
}
