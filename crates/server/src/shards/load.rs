//! Brings a shard's log to it.

use std::sync::Arc;

use tracing::{debug, error};

use super::Kind;
use super::door::Message;
use crate::loading;
use crate::node::Node;
use crate::partitions::Replica;
use crate::world::World;

/// Sends the whole log to the shard, piece by piece.
pub(super) async fn load<W: World, S: Kind<W>>(
    node: &Arc<Node<W>>,
    partition: i32,
    load: u64,
    replica: Arc<Replica<W::Disk>>,
) {
    let mailbox = S::door(node).mailbox(partition);
    let mut reader = loading::Reader::new(replica);
    let complete = loop {
        match reader.next(&*node.world).await {
            Ok(Some(entries)) => {
                if mailbox.send(Message::Replay { partition, load, entries }).await.is_err() {
                    return;
                }
            }
            Ok(None) => break true,
            // While a node starts again nobody leads yet: nothing is wrong then.
            Err(failure) if failure.is_of_leadership() => {
                debug!(topic = S::TOPIC, partition, %failure, "a coordinator's log is not led here; trying again");
                break false;
            }
            Err(failure) => {
                error!(topic = S::TOPIC, partition, %failure, "a coordinator's log cannot be read; trying again");
                break false;
            }
        }
    };
    let _ = mailbox.send(Message::LoadEnded { partition, load, complete }).await;
}
