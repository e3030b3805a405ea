//! InitProducerId: a producer id for whoever only wants to be idempotent; whoever has a transactional id is answered by
//! the shard that owns it.
//!
//! Source: `KafkaApis.handleInitProducerIdRequest`.

use milena_coordinators::transaction::{Request, Response};
use milena_protocol::ErrorCode;
use milena_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::dispatch::Call;
use crate::world::World;

/// Where there is no producer id, or no epoch.
const NONE: i64 = -1;

/// Gives out the next producer id with epoch 0, or what the transactional id calls for. Who claims an id must know its
/// epoch, and the other way round (trap 145).
pub async fn init_producer_id<W: World>(call: &Call<'_, W>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let node = call.node;
    if let Some(transactional_id) = request.transactional_id.clone() {
        let asked = Request::InitProducerId(request);
        let answer = node.transactions.ask_id(node, &transactional_id, call.version(), asked).await;
        return expect!(answer, Response::InitProducerId);
    }
    let claims_half = (request.producer_id == NONE) != (request.producer_epoch == NONE as i16);
    let granted = if claims_half { Err(ErrorCode::InvalidRequest) } else { node.producer_ids.next(node).await };
    match granted {
        Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
        Err(error) => InitProducerIdResponse {
            error_code: error.number(),
            producer_id: NONE,
            producer_epoch: NONE as i16,
            ..Default::default()
        },
    }
}
