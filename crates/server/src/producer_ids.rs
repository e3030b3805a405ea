//! Producer ids: a block at a time from the controller, one at a time to producers.
//!
//! Source: `ProducerIdManager` (KIP-730).

use std::ops::Range;
use std::sync::Arc;

use milena_metadata::controller::{Request, Response};
use milena_protocol::messages::AllocateProducerIdsRequest;
use milena_protocol::{ErrorCode, ProducerId};
use tokio::sync::Mutex;

use crate::node::Node;
use crate::world::World;

/// The rest of the current block.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// Held across the request for the next block, so that two producers do not ask for one each.
    left: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// An id that nobody else has. Errors with COORDINATOR_LOAD_IN_PROGRESS (retriable) where the controller
    /// gives no block.
    pub async fn next<W: World>(&self, node: &Arc<Node<W>>) -> Result<ProducerId, ErrorCode> {
        let mut left = self.left.lock().await;
        if left.is_empty() {
            *left = block(node).await?;
        }
        left.next().map(ProducerId).ok_or(ErrorCode::CoordinatorLoadInProgress)
    }
}

async fn block<W: World>(node: &Arc<Node<W>>) -> Result<Range<i64>, ErrorCode> {
    let request =
        AllocateProducerIdsRequest { broker_id: node.settings.node_id.0, broker_epoch: node.broker_epoch().0 };
    let Some(Response::AllocateProducerIds(response)) = node.control.ask(Request::AllocateProducerIds(request)).await
    else {
        return Err(ErrorCode::CoordinatorLoadInProgress);
    };
    match ErrorCode::from_number(response.error_code) {
        ErrorCode::None => {
            let start = response.producer_id_start;
            Ok(start..start + i64::from(response.producer_id_len))
        }
        _ => Err(ErrorCode::CoordinatorLoadInProgress),
    }
}
