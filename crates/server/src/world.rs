//! The seam: everything that the server asks of the machine goes through [`World`]. `main` hands in the real
//! one ([`crate::cores::Machine`]); tests and simulation hand in one seeded thread with sockets in memory.
//!
//! **Invariant:** outside the implementations of these traits the server opens no socket, reads no clock,
//! draws no random number, starts no thread and runs no blocking call.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use milena_base::{Disk, Millis};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

/// A task without a result, ready to be spawned on any thread.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A call that may wait for the disk or take long.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// Where a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the data core of that number, counted from 0 and taken modulo the number of cores.
    Core(usize),
    /// On the control thread: quorum, controller, broker life cycle.
    Control,
    /// On the coordinator thread of that number, modulo the number of such threads.
    Coordinator(usize),
    /// With everything that nobody waits for: HTTP, checkpoints, accepting connections.
    Background,
}

/// The machine, as the server sees it.
///
/// Implementations MUST run a spawned task to its end unless the whole world stops, and MUST run jobs on
/// threads where waiting for the disk stops no task.
pub trait World: Send + Sync + 'static {
    /// Files.
    type Disk: Disk;
    /// An accepted connection that belongs to no thread yet.
    type Accepted: Send + 'static;
    /// A connection, bound to the thread that adopted it.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Where connections come in.
    type Listener: Listener<Accepted = Self::Accepted>;

    /// The files of this machine.
    fn disk(&self) -> Self::Disk;

    /// The wall clock.
    fn now(&self) -> Millis;

    /// Sixteen fresh random bytes.
    fn random(&self) -> [u8; 16];

    /// How many data cores there are; at least one.
    fn cores(&self) -> usize;

    /// Memory that this process may use, in bytes.
    fn memory_bytes(&self) -> u64;

    /// Starts to listen. Port 0 picks a free one.
    fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener>;

    /// Makes an accepted connection belong to the thread that calls this.
    fn adopt(&self, accepted: Self::Accepted) -> io::Result<Self::Stream>;

    /// The address of a host, by name or as it is; `None` where nobody knows it. May take as long as a name server likes.
    fn look_up(&self, host: &str) -> impl Future<Output = Option<IpAddr>> + Send;

    /// Starts a task at `place`.
    fn spawn(&self, place: Place, task: Task);

    /// Runs a job on the pool of the log directory. The queue is bounded by its callers: whoever calls [`on_pool`] (a
    /// connection, a shard, a timer) waits there for one job at a time, and a replica has at most one flush.
    fn run(&self, job: Job);
}

/// Accepts connections.
pub trait Listener: Send + 'static {
    /// What an accepted connection is before a thread adopts it.
    type Accepted;

    /// The address in use, with the real port.
    fn address(&self) -> SocketAddr;

    /// The next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Accepted, SocketAddr)>> + Send;
}

/// Runs `call` on the pool and waits for what it returns.
///
/// # Panics
/// If the call panicked: its caller's state is then as unknown as the callee's.
pub async fn on_pool<W: World, T: Send + 'static>(world: &W, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    world.run(Box::new(move || {
        // Nobody waits any more if the connection was closed meanwhile.
        let _ = sender.send(call());
    }));
    receiver.await.expect("a job of the pool panicked")
}
