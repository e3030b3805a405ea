//! A machine of one seeded thread: sockets in memory, a disk in memory, a clock that stands still until everybody
//! waits. Several nodes live on it side by side.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milena_base::{Millis, Random};
use milena_disk::MemoryDisk;
use milena_server::world::{Job, Listener, Place, Task, World};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bytes that a connection holds in each direction.
const SOCKET_BYTES: usize = 64 * 1024;
/// No job of the pool takes longer, unless it is slowed down.
pub(crate) const JOB_MAX: Duration = Duration::from_millis(3);
/// Where the clocks of all nodes begin.
const EPOCH: Millis = Millis(1_700_000_000_000);

/// The wires between the nodes and their clients.
#[derive(Default)]
pub(crate) struct Network {
    listeners: Mutex<BTreeMap<u16, mpsc::UnboundedSender<(DuplexStream, SocketAddr)>>>,
}

impl Network {
    /// Connects to a port, if somebody listens there.
    pub(crate) fn connect(&self, port: u16) -> Option<DuplexStream> {
        let (near, far) = duplex(SOCKET_BYTES);
        let listeners = self.listeners.lock().expect("one thread");
        listeners.get(&port)?.send((far, loopback(50_000))).ok()?;
        Some(near)
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// One node's view of the machine.
pub(crate) struct SimWorld {
    disk: MemoryDisk,
    network: Arc<Network>,
    random: Mutex<Random>,
    start: Instant,
    /// By so much every job takes longer, in microseconds.
    delay_us: AtomicU64,
    /// Who knows the names of hosts answers so late.
    name_server: Mutex<Duration>,
}

impl SimWorld {
    /// A machine whose every choice follows from `seed`.
    pub(crate) fn new(network: &Arc<Network>, disk: &MemoryDisk, seed: u64) -> Arc<SimWorld> {
        Arc::new(SimWorld {
            disk: disk.clone(),
            network: Arc::clone(network),
            random: Mutex::new(Random::from_seed(seed)),
            start: Instant::now(),
            delay_us: AtomicU64::new(0),
            name_server: Mutex::default(),
        })
    }

    /// Lets every job of the pool take so much longer from now on.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Lets names of hosts be known so late from now on.
    pub(crate) fn slow_names(&self, delay: Duration) {
        *self.name_server.lock().expect("one thread") = delay;
    }
}

impl World for SimWorld {
    type Disk = MemoryDisk;
    type Accepted = DuplexStream;
    type Stream = DuplexStream;
    type Listener = SimListener;

    fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }

    fn now(&self) -> Millis {
        EPOCH + Millis(self.start.elapsed().as_millis() as i64)
    }

    fn random(&self) -> [u8; 16] {
        self.random.lock().expect("one thread").bytes16()
    }

    fn cores(&self) -> usize {
        2
    }

    fn memory_bytes(&self) -> u64 {
        1 << 30
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listeners = self.network.listeners.lock().expect("one thread");
        if listeners.get(&address.port()).is_some_and(|sender| !sender.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        listeners.insert(address.port(), sender);
        Ok(SimListener { receiver, address })
    }

    fn adopt(&self, accepted: DuplexStream) -> io::Result<DuplexStream> {
        Ok(accepted)
    }

    /// Every name is this machine's.
    async fn look_up(&self, host: &str) -> Option<IpAddr> {
        let delay = *self.name_server.lock().expect("one thread");
        tokio::time::sleep(delay).await;
        Some(host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    fn spawn(&self, _place: Place, task: Task) {
        tokio::spawn(task);
    }

    fn run(&self, job: Job) {
        let wait_us = self.random.lock().expect("one thread").below(JOB_MAX.as_micros() as u64);
        let wait = Duration::from_micros(wait_us + self.delay_us.load(Ordering::Relaxed));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            job();
        });
    }
}

/// A port of the network.
pub(crate) struct SimListener {
    receiver: mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>,
    address: SocketAddr,
}

impl Listener for SimListener {
    type Accepted = DuplexStream;

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.receiver.recv().await {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }
}
