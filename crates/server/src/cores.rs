//! The real machine: threads, runtimes, sockets, the clock and the pool. Nothing else in this crate makes any
//! of these.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use milena_base::Millis;
use milena_disk::RealDisk;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::world::{Job, Listener, Place, Task, World};

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 1024;
/// Threads that may wait for the disk at the same time.
const POOL_THREADS: usize = 8;
/// How much memory there is taken to be where the system does not tell.
const MEMORY_BYTES_UNTOLD: u64 = 4 << 30;
/// Coordinator threads: shards are many and small, and one thread serves many of them.
const COORDINATOR_THREADS: usize = 2;

/// The threads of one process. Dropping it stops them all; tasks end where they wait.
pub struct Machine {
    cores: Vec<Handle>,
    control: Handle,
    coordinators: Vec<Handle>,
    background: Handle,
    pool: Handle,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Machine {
    /// Starts the threads: `cores` data cores, the control thread, coordinators, background and the pool.
    pub fn start(cores: usize) -> io::Result<Arc<Machine>> {
        raise_file_limit();
        let mut threads = Vec::new();
        let mut named = |name: String| one_thread(name, &mut threads);
        let machine_cores = (0..cores.max(1)).map(|core| named(format!("core-{core}"))).collect::<io::Result<_>>()?;
        let control = named("control".to_owned())?;
        let coordinators =
            (0..COORDINATOR_THREADS).map(|thread| named(format!("coordinator-{thread}"))).collect::<io::Result<_>>()?;
        let background = named("background".to_owned())?;
        let pool = named("pool".to_owned())?;
        Ok(Arc::new(Machine { cores: machine_cores, control, coordinators, background, pool, threads }))
    }
}

/// Raises the soft limit of open files to the hard one, as a JVM does by itself (trap 105): every connection and
/// every active segment takes some.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        // Not being allowed to is no reason not to start.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// A thread that drives a runtime of its own until its sender is dropped.
fn one_thread(name: String, threads: &mut Vec<(oneshot::Sender<()>, JoinHandle<()>)>) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(POOL_THREADS)
        .thread_name(format!("{name}-job"))
        .build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name(name).spawn(move || drive(runtime, stopped))?;
    threads.push((stop, thread));
    Ok(handle)
}

fn drive(runtime: Runtime, stopped: oneshot::Receiver<()>) {
    // An error means that the sender was dropped, which is the order to stop.
    let _ = runtime.block_on(stopped);
    runtime.shutdown_background();
}

impl Drop for Machine {
    fn drop(&mut self) {
        let own = thread::current().id();
        for (stop, thread) in self.threads.drain(..) {
            drop(stop);
            // The last owner may be a task on one of our own threads; that one ends by itself.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}

impl World for Machine {
    type Disk = RealDisk;
    type Accepted = std::net::TcpStream;
    type Stream = TcpStream;
    type Listener = SocketListener;

    fn disk(&self) -> RealDisk {
        RealDisk
    }

    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(since.as_millis() as i64)
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        bytes
    }

    fn cores(&self) -> usize {
        self.cores.len()
    }

    fn memory_bytes(&self) -> u64 {
        milena_disk::memory_limit_bytes().unwrap_or(MEMORY_BYTES_UNTOLD)
    }

    fn listen(&self, address: SocketAddr) -> io::Result<SocketListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        let address = listener.local_addr()?;
        let _entered = self.background.enter();
        Ok(SocketListener { listener: TcpListener::from_std(listener)?, address })
    }

    fn adopt(&self, accepted: std::net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(accepted)
    }

    async fn look_up(&self, host: &str) -> Option<IpAddr> {
        Some(tokio::net::lookup_host((host, 0)).await.ok()?.next()?.ip())
    }

    fn spawn(&self, place: Place, task: Task) {
        let handle = match place {
            Place::Core(core) => &self.cores[core % self.cores.len()],
            Place::Control => &self.control,
            Place::Coordinator(thread) => &self.coordinators[thread % self.coordinators.len()],
            Place::Background => &self.background,
        };
        handle.spawn(task);
    }

    fn run(&self, job: Job) {
        self.pool.spawn_blocking(job);
    }
}

/// A listening TCP socket.
pub struct SocketListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener for SocketListener {
    type Accepted = std::net::TcpStream;

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&mut self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        // Answers are written whole; waiting to fill a packet would only delay them.
        stream.set_nodelay(true)?;
        Ok((stream.into_std()?, peer))
    }
}
