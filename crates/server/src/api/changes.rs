//! UpdateFeatures and UnregisterBroker: forwarded to the controller, and answered when this node has applied what was decided, so that the
//! client finds the cluster as the answer says it is.

use milena_metadata::controller::{Request, Response};
use milena_protocol::messages::{
    UnregisterBrokerRequest, UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use crate::control::ask;
use crate::dispatch::Call;
use crate::world::World;

/// Raises and lowers the levels of features.
pub async fn update_features<W: World>(call: &Call<'_, W>, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    ask!(call, Request::UpdateFeatures { request, version: call.version() }, Response::UpdateFeatures)
}

/// Forgets a broker.
pub async fn unregister_broker<W: World>(
    call: &Call<'_, W>,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    ask!(call, Request::UnregisterBroker(request), Response::UnregisterBroker)
}
