//! InitProducerId for idempotent producers. A transactional id is refused: transactions are not served yet, and
//! a producer that believed otherwise would lose its atomicity.

use milena_protocol::ErrorCode;
use milena_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::dispatch::Call;
use crate::world::World;

/// Where there is no producer id, or no epoch.
const NONE: i64 = -1;

/// Gives out the next producer id, with epoch 0. Who claims an id must know its epoch, and the other way round.
pub async fn init_producer_id<W: World>(call: &Call<'_, W>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let claims_half = (request.producer_id == NONE) != (request.producer_epoch == NONE as i16);
    let granted = match request.transactional_id.as_deref() {
        _ if claims_half => Err(ErrorCode::InvalidRequest),
        None => call.node.producer_ids.next(call.node).await,
        // Kafka refuses the empty id outright; any other one would need a transaction coordinator.
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::CoordinatorNotAvailable),
    };
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
