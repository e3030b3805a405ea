//! Runs coordinators: of each kind one shard per partition of its internal topic that this node leads, each on one
//! coordinator thread. The machines decide; here their records are appended and replayed, answers are held until the
//! high watermark has passed what they know of, and effects are carried out.
//!
//! [`Shards`] is the door; behind it are the thread's loop, one owned shard, and how a log is loaded.

mod door;
mod groups;
mod load;
mod owned;
mod thread;
pub mod transactions;
mod within;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use milena_coordinators::Shard;
use milena_coordinators::group::partition_for;
use milena_protocol::LeaderEpoch;
use tokio::time::Duration;

pub use self::door::Shards;
pub(crate) use self::door::{Led, Mailboxes};
pub use self::groups::GROUPS_TOPIC;
pub use self::transactions::TRANSACTIONS_TOPIC;
pub(crate) use self::within::code;
use crate::node::Node;
use crate::world::{Place, World};

/// Events that may wait for a coordinator thread; beyond it requests are answered COORDINATOR_NOT_AVAILABLE.
const MAILBOX: usize = 10_000;
/// Coordinator threads.
const THREADS: usize = 2;
/// Groups or transactional ids that a shard is asked for at a time: some hundred microseconds of its thread.
const NAMES_MAX: usize = 256;
/// Pause before a shard whose append failed is loaded again.
const RELOAD_AFTER: Duration = Duration::from_millis(500);

/// What the threads must know of a kind of shard to run it on this node.
pub trait Kind<W: World>: Shard {
    /// The internal topic whose partitions the shards own.
    const TOPIC: &'static str;

    /// An empty shard for a partition that this node leads since `epoch`.
    fn empty(node: &Node<W>, epoch: LeaderEpoch) -> Self;

    /// Tells a shard whose log is replayed what it must know of this node before it begins.
    fn begin(&mut self, _node: &Node<W>) {}

    /// The door to the shards of this kind.
    fn door(node: &Node<W>) -> &Shards<W, Self>;

    /// Does what a shard wants done outside of it, and answers with what the shard is to hear of it. Runs beside the
    /// coordinator threads; MUST end in bounded time.
    fn carry_out(node: &Arc<Node<W>>, effect: Self::Effect) -> impl Future<Output = Self::Event> + Send;
}

/// Splits groups or transactional ids by the shard that owns them among `partitions`, keeping the order within each. A
/// shard is asked for so few at a time that others have their turn in between.
pub(crate) fn by_shard(partitions: i32, names: &[String]) -> Vec<(i32, Vec<String>)> {
    let mut shards: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for name in names {
        shards.entry(partition_for(name, partitions)).or_default().push(name.clone());
    }
    let parts = |(shard, names): (i32, Vec<String>)| {
        names.chunks(NAMES_MAX).map(|part| (shard, part.to_vec())).collect::<Vec<_>>()
    };
    shards.into_iter().flat_map(parts).collect()
}

/// Starts the loops of one kind of shard, one on each coordinator thread.
pub(crate) fn spawn<W: World, S: Kind<W>>(node: &Arc<Node<W>>, mailboxes: Mailboxes<W, S>) {
    for (number, mailbox) in mailboxes.into_iter().enumerate() {
        node.world.spawn(Place::Coordinator(number), Box::pin(thread::run(Arc::clone(node), mailbox)));
    }
}
