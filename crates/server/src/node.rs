//! A node: everything that its connections and threads share, how it starts, and how it stops.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use milena_base::Disk;
use milena_coordinators::group::GroupShard;
use milena_coordinators::transaction::TransactionShard;
use milena_metadata::image::Image;
use milena_partition::Marks;
use milena_protocol::{BrokerEpoch, Offset, TopicPartition, Uuid};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::auto_create::InFlight;
use crate::connections::Connections;
use crate::control::{ControlError, ControlHandle, control, report};
use crate::directory::{Directory, DirectoryError};
use crate::doors::{Bound, Doors};
use crate::memory::{self, Memory};
use crate::metrics::Metrics;
use crate::offenders::Offenders;
use crate::partitions::{Partitions, Replica};
use crate::producer_ids::ProducerIds;
use crate::quotas::Quotas;
use crate::sessions::Sessions;
use crate::settings::{Changeable, ListenerSettings, Settings};
use crate::shards::{self, Shards};
use crate::startup::{self, Opened, StartupError};
use crate::telemetry::Telemetry;
use crate::unflushed::{self, Unflushed};
use crate::world::{Place, World, on_pool};
use crate::{applier, broker, upkeep};

/// Replicas are opened and closed in so many jobs at the same time.
const PARTS: usize = 8;

/// What the threads of a node share.
pub struct Node<W: World> {
    /// The machine.
    pub world: Arc<W>,
    /// As given at the start.
    pub settings: Settings,
    /// The cluster's id.
    pub cluster_id: String,
    /// Level of `kraft.version`: 1 where the quorum's voters stand in its log, as in every directory that we format.
    pub kraft_version: i16,
    /// What clients are told about the listeners, with the real ports.
    pub advertised: Vec<ListenerSettings>,
    /// The replicas here.
    pub partitions: Partitions<W::Disk>,
    /// The door to the controller.
    pub control: ControlHandle,
    /// The door to the group coordinator.
    pub shards: Shards<W, GroupShard>,
    /// The door to the transaction coordinator.
    pub transactions: Shards<W, TransactionShard>,
    /// Fetch sessions.
    pub sessions: Sessions,
    /// What requests may take.
    pub memory: Memory,
    /// What is appended to the log directory and not flushed.
    pub unflushed: Arc<Unflushed>,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// Where they come in.
    pub doors: Doors,
    /// Counters.
    pub metrics: Metrics,
    /// Who misbehaved lately.
    pub offenders: Offenders,
    /// What clients do, against their quotas.
    pub quotas: Quotas,
    /// Clients that push their metrics, and these.
    pub telemetry: Telemetry,
    /// Producer ids to give out.
    pub producer_ids: ProducerIds,
    /// Topics that are being created on demand.
    pub auto_creation: InFlight,
    /// The log directory.
    pub directory: Directory<W::Disk>,
    image: ArcSwap<Image>,
    changeable: ArcSwap<Changeable>,
    broker_epoch: AtomicI64,
    stop: watch::Sender<bool>,
}

impl<W: World> Node<W> {
    /// The metadata as far as it is applied here.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Makes an image visible, once everything in it is in place.
    pub(crate) fn set_image(&self, image: Image) {
        self.image.store(Arc::new(image));
    }

    /// What is in force of the settings that may change.
    pub fn changeable(&self) -> Arc<Changeable> {
        self.changeable.load_full()
    }

    /// Other settings act from now on.
    pub(crate) fn set_changeable(self: &Arc<Self>, changeable: Changeable) {
        let changeable = Arc::new(changeable);
        self.changeable.store(Arc::clone(&changeable));
        self.connections.set_limits(changeable.connections.clone());
        self.look_up_hosts();
        self.doors.set(self, &changeable.listeners);
    }

    /// Finds the addresses of hosts that may have another number of connections.
    fn look_up_hosts(self: &Arc<Self>) {
        let unknown = self.connections.unknown_hosts();
        self.look_up_beside(
            unknown,
            "this host of max.connections.per.ip.overrides has no address",
            |node, host, address| {
                node.connections.found(host, address);
            },
        );
    }

    /// Finds the addresses of hosts while everything else goes on; the log says of which there is none.
    pub(crate) fn look_up_beside(
        self: &Arc<Self>,
        hosts: Vec<String>,
        unknown: &'static str,
        found: impl Fn(&Node<W>, String, IpAddr) + Send + 'static,
    ) {
        if hosts.is_empty() {
            return;
        }
        let node = Arc::clone(self);
        let look_up = async move {
            for host in hosts {
                match node.world.look_up(&host).await {
                    Some(address) => found(&node, host, address),
                    None => warn!(host, "{unknown}"),
                }
            }
        };
        self.world.spawn(Place::Background, Box::pin(look_up));
    }

    /// The epoch of the last registration; −1 before the first.
    pub fn broker_epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.broker_epoch.load(Ordering::Acquire))
    }

    pub(crate) fn set_broker_epoch(&self, epoch: BrokerEpoch) {
        self.broker_epoch.store(epoch.0, Ordering::Release);
    }

    /// Waits until the node is told to stop.
    pub async fn stopping(&self) {
        // The sender lives as long as the node, so the only way out is the value.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Whether requests can be served.
    pub fn health(&self) -> Result<(), &'static str> {
        if *self.stop.borrow() {
            return Err("the node is stopping");
        }
        let image = self.image();
        match image.broker(self.settings.node_id) {
            Some(broker) if !broker.fenced && self.partitions.all().iter().any(|replica| replica.is_refusing()) => {
                Err("the disk takes no records of some partitions; the log says why")
            }
            Some(broker) if !broker.fenced => Ok(()),
            Some(_) => Err("the broker is fenced"),
            None => Err("the broker is not registered"),
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {}; choose another (--listen for clients, -o metrics.listen for metrics)",
        unlistenable(source)
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log directory, or the metadata in it, cannot be used.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The control thread ended before the broker could serve.
    #[error("the broker could not join its cluster; the log says why")]
    NotJoined,
}

/// Why an address cannot be listened on, for people.
fn unlistenable(source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => "another process listens there, which may be stopped".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not use that port".to_owned(),
        _ => source.to_string(),
    }
}

/// A node that serves requests.
pub struct Running<W: World> {
    node: Arc<Node<W>>,
    ended: oneshot::Receiver<Result<(), ControlError>>,
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
}

/// Starts a node and waits until it serves requests. An empty directory is formatted as a cluster of its own.
pub async fn start<W: World>(world: Arc<W>, settings: Settings) -> Result<Running<W>, StartError> {
    let bound = Bound::open(&*world, &settings)?;
    let (addresses, metrics_address) = (bound.addresses(), bound.metrics_address());
    let (open_world, open_settings) = (Arc::clone(&world), settings.clone());
    let opened = on_pool(&*world, move || startup::open(&open_world, &open_settings)).await?;
    let changeable = settings.at_start();
    let Opened { meta, directory, leftovers, parts, start, tail } = opened;
    let directory_id = meta.directory;
    let memory_bytes = settings.memory_bytes.unwrap_or_else(|| memory::default_bytes(world.memory_bytes()));
    let unflushed_bytes = settings.unflushed_bytes.unwrap_or_else(|| unflushed::default_bytes(world.memory_bytes()));
    let kraft_version = i16::from(parts.voters.is_some());
    let (control, control_thread, changes) = control(parts);
    let (shards, group_mailboxes) = Shards::new();
    let (transactions, transaction_mailboxes) = Shards::new();
    let node = Arc::new(Node {
        advertised: advertised(&settings, &addresses),
        cluster_id: meta.cluster_id,
        kraft_version,
        partitions: Partitions::new(),
        control,
        shards,
        transactions,
        sessions: Sessions::new(settings.fetch_sessions_max),
        memory: Memory::new(memory_bytes, settings.request_bytes_max, world.cores()),
        unflushed: Unflushed::new(unflushed_bytes),
        connections: Arc::new(Connections::new(changeable.connections.clone(), settings.quota_window)),
        doors: Doors::default(),
        metrics: Metrics::new(),
        offenders: Offenders::default(),
        quotas: Quotas::new(settings.quota_window),
        telemetry: Telemetry::new(&settings),
        producer_ids: ProducerIds::default(),
        auto_creation: InFlight::default(),
        directory,
        image: ArcSwap::from_pointee(Image::default()),
        changeable: ArcSwap::from_pointee(changeable),
        broker_epoch: AtomicI64::new(-1),
        stop: watch::Sender::new(false),
        settings,
        world,
    });
    node.look_up_hosts();
    let ended = spawn_control(&node, control_thread.run(start, tail));
    node.world.spawn(Place::Background, Box::pin(applier::run(Arc::clone(&node), changes)));
    shards::spawn(&node, group_mailboxes);
    shards::spawn(&node, transaction_mailboxes);
    join(&node, directory_id).await?;
    bound.serve(&node);
    node.world.spawn(Place::Background, Box::pin(unflushed::run(Arc::clone(&node))));
    node.world.spawn(Place::Background, Box::pin(upkeep::run(Arc::clone(&node), leftovers)));
    info!(cluster = node.cluster_id, node = %node.settings.node_id, ?addresses, memory_bytes, unflushed_bytes, "serving");
    Ok(Running { node, ended, addresses, metrics_address })
}

/// Spawns the control thread's task; what it ends with comes out of the receiver.
fn spawn_control<W: World>(
    node: &Node<W>,
    task: impl Future<Output = Result<(), ControlError>> + Send + 'static,
) -> oneshot::Receiver<Result<(), ControlError>> {
    let (end, ended) = oneshot::channel();
    let task = async move {
        let result = task.await;
        report(&result);
        // Nobody listens while the node stops.
        let _ = end.send(result);
    };
    node.world.spawn(Place::Control, Box::pin(task));
    ended
}

/// Starts the broker's life in its cluster and waits until it may serve.
async fn join<W: World>(node: &Arc<Node<W>>, directory: Uuid) -> Result<(), StartError> {
    let (unfenced, ready) = oneshot::channel();
    node.world.spawn(Place::Control, Box::pin(broker::run(Arc::clone(node), directory, unfenced)));
    ready.await.map_err(|_| StartError::NotJoined)
}

/// Port 0 stands for the port that was found free.
fn advertised(settings: &Settings, addresses: &[SocketAddr]) -> Vec<ListenerSettings> {
    let mut listeners = settings.listeners.clone();
    for (listener, address) in listeners.iter_mut().zip(addresses) {
        if let Some((_, port @ 0)) = &mut listener.advertised {
            *port = address.port();
        }
    }
    listeners
}

impl<W: World> Running<W> {
    /// Where it listens, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health and metrics are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Waits until the node fails by itself.
    pub async fn failed(&mut self) -> ControlError {
        match (&mut self.ended).await {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) | Err(_) => ControlError::Log(std::io::Error::other("the control thread is gone")),
        }
    }

    /// Stops cleanly: leaves the cluster, closes every log, and marks the directory so that the next start has
    /// nothing to recover.
    pub async fn stop(self) {
        let node = self.node;
        broker::leave(&node).await;
        // Whoever waits for a group or a transaction is told that it is coordinated elsewhere; then connections and threads
        // end.
        node.shards.lead(Default::default()).await;
        node.transactions.lead(Default::default()).await;
        node.stop.send_replace(true);
        let closed = close_all(&node).await;
        node.control.stop().await;
        node.directory.release();
        match closed {
            Ok(()) => info!("stopped"),
            Err(failure) => warn!(%failure, "stopped, but not cleanly: the next start recovers the logs"),
        }
    }
}

/// Closes every replica, several at a time since each waits for the disk, then writes the checkpoints.
async fn close_all<W: World>(node: &Arc<Node<W>>) -> Result<(), DirectoryError> {
    let replicas = node.partitions.all();
    let mut checkpoints = node.directory.kept();
    let mut clean = true;
    for closed in in_parts(node, replicas, |replica| close_one(&replica)).await {
        match closed {
            Some((name, recovery_point, marks)) => {
                checkpoints.add(&name, recovery_point, marks.high_watermark, marks.log_start);
            }
            None => clean = false,
        }
    }
    let (job_node, disk) = (Arc::clone(node), node.world.disk());
    on_pool(&*node.world, move || {
        checkpoints.write(&disk, &job_node.settings.data_dir)?;
        if clean { job_node.directory.mark_clean(&disk, job_node.broker_epoch().0) } else { Ok(()) }
    })
    .await
}

/// `None` where the replica was offline before, or its log cannot be closed cleanly.
fn close_one<D: Disk>(replica: &Replica<D>) -> Option<(TopicPartition, Offset, Marks)> {
    let partition = replica.close()?;
    let marks = partition.marks();
    match partition.close() {
        Ok(recovery_point) => Some((replica.topic_partition().clone(), recovery_point, marks)),
        Err(failure) => {
            warn!(partition = %replica.topic_partition(), %failure, "log not closed cleanly");
            None
        }
    }
}

/// Runs `call` for each item on the pool, in [`PARTS`] jobs at the same time. The results come in no order.
pub(crate) async fn in_parts<W: World, T: Send + 'static, R: Send + 'static>(
    node: &Arc<Node<W>>,
    mut items: Vec<T>,
    call: impl Fn(T) -> R + Clone + Send + 'static,
) -> Vec<R> {
    let (sender, mut finished) = mpsc::channel(PARTS);
    let share = items.len().div_ceil(PARTS).max(1);
    while !items.is_empty() {
        let part = items.split_off(items.len().saturating_sub(share));
        let (task_node, sender, call) = (Arc::clone(node), sender.clone(), call.clone());
        let task = async move {
            let results: Vec<R> = on_pool(&*task_node.world, move || part.into_iter().map(call).collect()).await;
            let _ = sender.send(results).await;
        };
        node.world.spawn(Place::Background, Box::pin(task));
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(results) = finished.recv().await {
        all.extend(results);
    }
    all
}
