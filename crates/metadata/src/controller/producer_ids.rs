//! Blocks of producer ids. Source: `ProducerIdControlManager`.

use milena_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, MetadataRecord, ProducerIdsRecord,
};
use milena_protocol::{BrokerEpoch, ErrorCode, NodeId};

use super::{Active, Response};

/// Ids in a block.
const BLOCK_LEN: i32 = 1000;

impl Active {
    pub(super) fn allocate_producer_ids(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        let refused = |code: ErrorCode| {
            let response = AllocateProducerIdsResponse { error_code: code.number(), ..Default::default() };
            (Vec::new(), Response::AllocateProducerIds(response))
        };
        if let Err(refusal) = self.check_broker_epoch(NodeId(request.broker_id), BrokerEpoch(request.broker_epoch)) {
            return refused(refusal.code);
        }
        let first = self.image.next_producer_id().0;
        let Some(next) = first.checked_add(i64::from(BLOCK_LEN)) else {
            return refused(ErrorCode::UnknownServerError);
        };
        let record = ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
        };
        let response =
            AllocateProducerIdsResponse { producer_id_start: first, producer_id_len: BLOCK_LEN, ..Default::default() };
        (vec![record.into()], Response::AllocateProducerIds(response))
    }
}
