//! UnregisterBroker: a broker is taken out of the metadata, also one that lives. It is not told: its heartbeats are
//! refused from then on, and it comes back when it is started again.
//!
//! Source: `ReplicationControlManager.unregisterBroker`.

use milena_protocol::messages::{
    MetadataRecord, UnregisterBrokerRecord, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use milena_protocol::{ErrorCode, NodeId};

use super::elections::Cause;
use super::refusal::{Refusal, answer};
use super::{Active, Options, RECORDS_MAX, Response};

impl Active {
    pub(super) fn unregister_broker(
        &self,
        options: &Options,
        request: &UnregisterBrokerRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        match self.unregistration(options, NodeId(request.broker_id)) {
            Ok(records) => (records, Response::UnregisterBroker(UnregisterBrokerResponse::default())),
            Err(refusal) => {
                let (error_code, error_message) = answer(Err(refusal));
                let response = UnregisterBrokerResponse { error_code, error_message, ..Default::default() };
                (Vec::new(), Response::UnregisterBroker(response))
            }
        }
    }

    /// Its partitions first, so that nobody sees them led by a broker that is not there.
    fn unregistration(&self, options: &Options, id: NodeId) -> Result<Vec<MetadataRecord>, Refusal> {
        let broker = self.image.broker(id).ok_or_else(|| {
            let message = format!("Broker ID {id} is not currently registered");
            Refusal::new(ErrorCode::BrokerIdNotRegistered, message)
        })?;
        let mut records = self.leader_changes(options, Cause::Gone(id), |partition| {
            partition.isr.contains(&id) || partition.elr.contains(&id)
        });
        if records.len() >= RECORDS_MAX {
            let message = "Unable to perform excessively large batch operation.";
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        records.push(UnregisterBrokerRecord { broker_id: id.0, broker_epoch: broker.epoch.0 }.into());
        Ok(records)
    }
}
