//! DescribeClientQuotas from the applied image; AlterClientQuotas by the controller.

use std::collections::BTreeSet;

use milena_metadata::controller::{Request, Response};
use milena_metadata::quotas::{self, IP};
use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_client_quotas_response::EntryData;
use milena_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};

use crate::control::ask;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::world::World;

/// Sets and removes quotas. A host among the entities must have an address.
pub async fn alter_client_quotas<W: World>(
    call: &Call<'_, W>,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let parts = request.entries.iter().flat_map(|entry| &entry.entity);
    let hosts: BTreeSet<String> =
        parts.filter(|part| part.entity_type == IP).filter_map(|part| part.entity_name.clone()).collect();
    let mut unresolved = BTreeSet::new();
    for host in hosts {
        if call.node.world.look_up(&host).await.is_none() {
            unresolved.insert(host);
        }
    }
    ask!(call, Request::AlterClientQuotas { request, unresolved }, Response::AlterClientQuotas)
}

/// Finds quotas.
pub async fn describe_client_quotas<W: World>(
    call: &Call<'_, W>,
    request: &DescribeClientQuotasRequest,
    growing: &mut Growing<'_>,
) -> Result<DescribeClientQuotasResponse, NoRoom> {
    let image = call.node.image();
    let found = match quotas::describe(&image, request) {
        Ok(found) => found,
        Err((error, message)) => return Ok(refused(error, message)),
    };
    let mut entries = Vec::new();
    for entry in found {
        if !growing.part(size_bytes_of(&entry)).await? {
            return Ok(refused(ErrorCode::InvalidRequest, crate::growing::TOO_LARGE.to_owned()));
        }
        entries.push(entry);
    }
    Ok(DescribeClientQuotasResponse { entries: Some(entries), ..Default::default() })
}

fn refused(error: ErrorCode, message: String) -> DescribeClientQuotasResponse {
    let (error_code, error_message) = (error.number(), Some(message));
    DescribeClientQuotasResponse { error_code, error_message, entries: None, ..Default::default() }
}

/// What an entry takes on the wire, but for a few bytes.
fn size_bytes_of(entry: &EntryData) -> usize {
    let parts = entry.entity.iter();
    let parts = parts.map(|part| part.entity_type.len() + part.entity_name.as_ref().map_or(0, String::len) + 4);
    parts.sum::<usize>() + entry.values.iter().map(|value| value.key.len() + 12).sum::<usize>() + 8
}
