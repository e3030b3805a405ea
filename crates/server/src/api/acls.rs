//! DescribeAcls, CreateAcls and DeleteAcls of a node without an authorizer: everybody may do everything, and no access rule can
//! be kept. Each is refused with SECURITY_DISABLED, in Kafka's words.
//!
//! Source: `AclApis`, and the checks in the constructors of `DescribeAclsRequest`, `CreateAclsRequest` and `DeleteAclsRequest`.

use milena_protocol::ErrorCode;
use milena_protocol::messages::create_acls_response::AclCreationResult;
use milena_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use milena_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};

/// An element of a rule that is unknown by intent. Kafka reads no request that says so; a number that it merely does not know passes.
const UNKNOWN: i8 = 0;

/// Why a request is not read, which ends its connection.
pub type Unreadable = &'static str;

/// Rules that match a filter: there are none to look for.
pub fn describe_acls(request: &DescribeAclsRequest) -> Result<DescribeAclsResponse, Unreadable> {
    let filter =
        [request.resource_type_filter, request.pattern_type_filter, request.operation, request.permission_type];
    all_known([filter])?;
    Ok(DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.number(),
        error_message: Some("No Authorizer is configured on the broker".to_owned()),
        ..Default::default()
    })
}

/// New rules, each refused for itself.
pub fn create_acls(request: &CreateAclsRequest) -> Result<CreateAclsResponse, Unreadable> {
    let creations = request.creations.iter();
    all_known(creations.map(|it| [it.resource_type, it.resource_pattern_type, it.operation, it.permission_type]))?;
    let refused = || AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.number(),
        error_message: Some(NO_AUTHORIZER.to_owned()),
    };
    let results = request.creations.iter().map(|_| refused()).collect();
    Ok(CreateAclsResponse { results, ..Default::default() })
}

/// Rules to be removed, each filter refused for itself.
pub fn delete_acls(request: &DeleteAclsRequest) -> Result<DeleteAclsResponse, Unreadable> {
    let filters = request.filters.iter();
    all_known(filters.map(|it| [it.resource_type_filter, it.pattern_type_filter, it.operation, it.permission_type]))?;
    let refused = || DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.number(),
        error_message: Some(NO_AUTHORIZER.to_owned()),
        ..Default::default()
    };
    let filter_results = request.filters.iter().map(|_| refused()).collect();
    Ok(DeleteAclsResponse { filter_results, ..Default::default() })
}

fn all_known(rules: impl IntoIterator<Item = [i8; 4]>) -> Result<(), Unreadable> {
    match rules.into_iter().flatten().any(|element| element == UNKNOWN) {
        true => Err("it contains unknown elements"),
        false => Ok(()),
    }
}

const NO_AUTHORIZER: &str = "No Authorizer is configured.";
