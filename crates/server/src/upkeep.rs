//! What has to be done now and then: retention, checkpoints, removing files that nobody reads any more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::error;

use crate::directory;
use crate::node::Node;
use crate::partitions::Replica;
use crate::world::{World, on_pool};

/// How often this looks whether something is due.
const LOOK: Duration = Duration::from_secs(1);
/// Kafka waits this long after the start before the first retention run (`log.initial.task.delay.ms`).
const FIRST_RETENTION: Duration = Duration::from_secs(30);

/// Removes what a former run left, then runs until the node stops.
pub(crate) async fn run<W: World>(node: Arc<Node<W>>, leftovers: Vec<PathBuf>) {
    let disk = node.world.disk();
    on_pool(&*node.world, move || directory::remove_dirs(&disk, &leftovers)).await;
    let started = Instant::now();
    let mut retention = started + FIRST_RETENTION.min(node.settings.retention_check);
    let mut checkpoint = started + node.settings.checkpoint;
    loop {
        tokio::select! {
            biased;
            () = node.stopping() => return,
            () = sleep(LOOK) => {}
        }
        let now = Instant::now();
        if now >= retention {
            retention = now + node.settings.retention_check;
            tick_all(&node).await;
        }
        if now >= checkpoint {
            checkpoint = now + node.settings.checkpoint;
            write_checkpoints(&node).await;
        }
        flush_aged(&node);
        node.quotas.forget_idle();
        node.telemetry.forget_quiet();
        let (job_node, disk) = (Arc::clone(&node), node.world.disk());
        on_pool(&*node.world, move || job_node.directory.unlink_due(&disk, job_node.world.now())).await;
    }
}

/// Retention and forgotten producers, one partition after the other so that none is kept waiting for long.
async fn tick_all<W: World>(node: &Arc<Node<W>>) {
    for replica in node.partitions.all() {
        let (job_node, ticked) = (Arc::clone(node), Arc::clone(&replica));
        let effects = on_pool(&*node.world, move || {
            let now = job_node.world.now();
            ticked.with(|partition| partition.tick(now))
        })
        .await;
        match effects {
            None => {}
            Some(Err(failure)) => error!(partition = %replica.topic_partition(), %failure, "retention failed"),
            Some(Ok(effects)) => {
                node.directory.unlink_later(effects.unlinks);
                if effects.log_start_moved {
                    replica.wake();
                }
                if effects.flush_due {
                    flush(node, &replica).await;
                }
            }
        }
    }
}

/// Starts the flush of logs whose `flush.ms` has passed; most topics have none.
fn flush_aged<W: World>(node: &Arc<Node<W>>) {
    let now = node.world.now();
    for replica in node.partitions.all().into_iter().filter(|replica| replica.settings().flush_ms < i64::MAX) {
        if replica.with(|partition| partition.flush_due(now)) == Some(true)
            && let Some(marks) = replica.marks()
        {
            let _beside = replica.flush(&node.world, marks.log_end);
        }
    }
}

async fn flush<W: World>(node: &Arc<Node<W>>, replica: &Arc<Replica<W::Disk>>) {
    let Some(marks) = replica.marks() else { return };
    if let Err(failure) = replica.flush(&node.world, marks.log_end).wait().await {
        error!(partition = %replica.topic_partition(), %failure, "flush failed");
    }
}

async fn write_checkpoints<W: World>(node: &Arc<Node<W>>) {
    let (job_node, disk) = (Arc::clone(node), node.world.disk());
    let written = on_pool(&*node.world, move || job_node.directory.checkpoint(&disk, &job_node.partitions.all())).await;
    if let Err(failure) = written {
        error!(%failure, "checkpoints not written");
    }
}
