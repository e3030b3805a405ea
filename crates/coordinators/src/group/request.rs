//! Requests and responses of the group coordinator as the shard sees them, what is refused before any shard is
//! asked, and how an error looks in the answer of each API.
//!
//! Source: `GroupCoordinatorService`, and the `getErrorResponse` of each request in kafka-clients 4.3.1.

use core::net::IpAddr;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::messages::consumer_group_describe_response::DescribedGroup as DescribedConsumerGroup;
use milena_protocol::messages::describe_groups_response::DescribedGroup;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::leave_group_response::MemberResponse;
use milena_protocol::messages::list_groups_response::ListedGroup;
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use milena_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    delete_groups_response::DeletableGroupResult, offset_commit_response::OffsetCommitResponsePartition,
    offset_commit_response::OffsetCommitResponseTopic, txn_offset_commit_response::TxnOffsetCommitResponsePartition,
    txn_offset_commit_response::TxnOffsetCommitResponseTopic,
};

use super::record::TEXT_BYTES_MAX;
use super::{Filters, Settings};
use crate::log_error::coordinator_error;
use crate::{Expression, Marker, Page};

/// Who asks, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The request's API version: the answer is written in it.
    pub version: i16,
    /// From the request header; empty where it was null.
    pub client_id: String,
    /// Where the connection comes from; shown in group descriptions as Java prints it.
    pub client_address: IpAddr,
    /// Fresh random bytes, used when a member id has to be made.
    pub random: [u8; 16],
}

/// One request to one shard. Requests that name several groups are split by
/// [`partition_for`](super::partition_for) before, and their answers put together after.
///
/// Authorization and the existence of topics are the caller's: topics of offset requests carry both name and id
/// (the id of an unknown topic is zero).
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// JoinGroup 0–9.
    Join(JoinGroupRequest),
    /// SyncGroup 0–5.
    Sync(SyncGroupRequest),
    /// Heartbeat 0–4.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup 0–5, as it came: `member_id` up to version 2, `members` later.
    Leave(LeaveGroupRequest),
    /// OffsetCommit 2–10.
    OffsetCommit(OffsetCommitRequest),
    /// TxnOffsetCommit 0–5, whose transaction its coordinator has vouched for.
    TxnOffsetCommit(TxnOffsetCommitRequest),
    /// The end of a transaction that may have committed offsets here.
    EndTransaction(Marker),
    /// One group of an OffsetFetch 1–10; see [`offset_fetch_groups`].
    OffsetFetch {
        /// The group; no topics means all of them.
        group: OffsetFetchRequestGroup,
        /// Answer UNSTABLE_OFFSET_COMMIT where a transaction is open.
        require_stable: bool,
    },
    /// OffsetDelete 0.
    OffsetDelete(OffsetDeleteRequest),
    /// ConsumerGroupHeartbeat 0–1.
    ConsumerHeartbeat(CheckedHeartbeat),
    /// Those groups of a ConsumerGroupDescribe 0–1 that the shard owns.
    ConsumerDescribe(Vec<String>),
    /// Those groups of a DescribeGroups 0–6 that the shard owns.
    DescribeGroups(Vec<String>),
    /// ListGroups 0–5: every shard is asked, page by page.
    ListGroups {
        /// Which groups are wanted.
        filters: Arc<Filters>,
        /// The last group of the page before.
        after: Option<String>,
    },
    /// Those groups of a DeleteGroups 0–2 that the shard owns.
    DeleteGroups(Vec<String>),
}

/// A heartbeat whose expression, if it brings one, was compiled beforehand: that takes too long for whoever answers it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckedHeartbeat {
    pub(super) request: ConsumerGroupHeartbeatRequest,
    /// What is wrong with its expression.
    pub(super) fault: Option<String>,
}

impl CheckedHeartbeat {
    /// Takes some milliseconds if the request [brings an expression](CheckedHeartbeat::brings_expression).
    pub fn of(request: ConsumerGroupHeartbeatRequest) -> CheckedHeartbeat {
        let expression =
            request.subscribed_topic_regex.as_deref().filter(|_| CheckedHeartbeat::brings_expression(&request));
        let fault = expression.and_then(|expression| Expression::compile(expression).err());
        CheckedHeartbeat { request, fault }
    }

    /// Whether there is something to be compiled.
    pub fn brings_expression(request: &ConsumerGroupHeartbeatRequest) -> bool {
        request.subscribed_topic_regex.as_ref().is_some_and(|text| !text.is_empty())
    }
}

/// The answer to the [`Request`] of the same name, final for the request's version but for throttle times.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To JoinGroup.
    Join(JoinGroupResponse),
    /// To SyncGroup.
    Sync(SyncGroupResponse),
    /// To Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To LeaveGroup.
    Leave(LeaveGroupResponse),
    /// To OffsetCommit.
    OffsetCommit(OffsetCommitResponse),
    /// To TxnOffsetCommit.
    TxnOffsetCommit(TxnOffsetCommitResponse),
    /// To the end of a transaction: the log's error as it is.
    EndTransaction(ErrorCode),
    /// To one group of an OffsetFetch; see [`offset_fetch_response`].
    OffsetFetch(OffsetFetchResponseGroup),
    /// To OffsetDelete.
    OffsetDelete(OffsetDeleteResponse),
    /// To ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To ConsumerGroupDescribe, in the order asked; authorized operations are the caller's.
    ConsumerDescribe(Vec<DescribedConsumerGroup>),
    /// To DescribeGroups, in the order asked; authorized operations are the caller's.
    DescribeGroups(Vec<DescribedGroup>),
    /// To ListGroups: a page of the shard's part, sorted by group id.
    ListGroups(Result<Page<ListedGroup>, ErrorCode>),
    /// To DeleteGroups, in the order asked.
    DeleteGroups(Vec<DeletableGroupResult>),
}

/// What a request is answered with when it can be refused without asking any shard: wrong group ids, timeouts out
/// of bounds, missing protocols. To be called before the group's partition is looked for.
pub fn refuse(request: &Request, version: i16, settings: &Settings) -> Option<Response> {
    let error = match request {
        Request::ConsumerHeartbeat(beat) => {
            let refusal = super::consumer::refuse(&beat.request, version, settings)?;
            return Some(Response::ConsumerHeartbeat(refusal.into_heartbeat()));
        }
        Request::Join(join) => {
            let sessions = settings.session_timeout_min_ms..=settings.session_timeout_max_ms;
            if join.group_id.is_empty() {
                ErrorCode::InvalidGroupId
            } else if !sessions.contains(&join.session_timeout_ms) {
                ErrorCode::InvalidSessionTimeout
            } else {
                return None;
            }
        }
        // KIP-559: from version 5 on both are mandatory, though they may be null on the wire.
        Request::Sync(sync) if version >= 5 && (sync.protocol_type.is_none() || sync.protocol_name.is_none()) => {
            ErrorCode::InconsistentGroupProtocol
        }
        Request::Sync(SyncGroupRequest { group_id, .. })
        | Request::Heartbeat(HeartbeatRequest { group_id, .. })
        | Request::Leave(LeaveGroupRequest { group_id, .. })
        | Request::OffsetDelete(OffsetDeleteRequest { group_id, .. })
        | Request::TxnOffsetCommit(TxnOffsetCommitRequest { group_id, .. })
            if group_id.is_empty() =>
        {
            ErrorCode::InvalidGroupId
        }
        // For the sake of old clients, offsets may live in the group without a name.
        _ => return None,
    };
    Some(request.failure(version, error))
}

/// A member id is a client's or instance's name, a dash and 36 characters.
const UUID_SUFFIX_BYTES: usize = 37;

impl Request {
    /// Whether all texts are short enough to be written into records. On the wire they are, but bytes that are not
    /// UTF-8 grow when they are read, and names grow into member ids.
    pub(super) fn fits_records(&self, context: &Context) -> bool {
        let mut texts: Vec<&str> = vec![&context.client_id];
        match self {
            Request::Join(join) => {
                texts.extend([&*join.group_id, &*join.member_id, &*join.protocol_type]);
                texts.extend(join.group_instance_id.as_deref());
                texts.extend(join.protocols.iter().map(|protocol| &*protocol.name));
            }
            Request::OffsetCommit(commit) => {
                texts.push(&commit.group_id);
                for topic in &commit.topics {
                    texts.push(&topic.name);
                    texts.extend(
                        topic.partitions.iter().filter_map(|partition| partition.committed_metadata.as_deref()),
                    );
                }
            }
            Request::ConsumerHeartbeat(CheckedHeartbeat { request: beat, .. }) => {
                texts.extend([&*beat.group_id, &*beat.member_id]);
                let optional = [&beat.instance_id, &beat.rack_id, &beat.subscribed_topic_regex, &beat.server_assignor];
                texts.extend(optional.into_iter().filter_map(|text| text.as_deref()));
                texts.extend(beat.subscribed_topic_names.iter().flatten().map(String::as_str));
            }
            Request::TxnOffsetCommit(commit) => {
                texts.push(&commit.group_id);
                for topic in &commit.topics {
                    texts.push(&topic.name);
                    texts.extend(
                        topic.partitions.iter().filter_map(|partition| partition.committed_metadata.as_deref()),
                    );
                }
            }
            // No other request brings texts into records that are not there yet.
            _ => {}
        }
        texts.iter().all(|text| text.len() + UUID_SUFFIX_BYTES <= TEXT_BYTES_MAX)
    }

    /// The answer that says `error`. Kafka answers a heartbeat with success while the group is being loaded.
    pub fn failure(&self, version: i16, error: ErrorCode) -> Response {
        let error_code = error.number();
        match self {
            Request::Join(join) => {
                let refused = [ErrorCode::InvalidGroupId, ErrorCode::InvalidSessionTimeout].contains(&error);
                let member_id = if refused { join.member_id.clone() } else { String::new() };
                Response::Join(join_response(
                    version,
                    JoinGroupResponse { error_code, member_id, ..Default::default() },
                ))
            }
            Request::Sync(_) => Response::Sync(SyncGroupResponse { error_code, ..Default::default() }),
            Request::Heartbeat(_) => {
                let error_code = if error == ErrorCode::CoordinatorLoadInProgress { 0 } else { error_code };
                Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
            }
            Request::Leave(_) => Response::Leave(LeaveGroupResponse { error_code, ..Default::default() }),
            Request::OffsetCommit(commit) => Response::OffsetCommit(offset_commit_error(commit, error)),
            Request::TxnOffsetCommit(commit) => {
                Response::TxnOffsetCommit(txn_offset_commit_error(commit, version, error))
            }
            Request::EndTransaction(_) => Response::EndTransaction(error),
            Request::OffsetFetch { group, .. } => Response::OffsetFetch(offset_fetch_error(group, version, error)),
            Request::OffsetDelete(_) => {
                Response::OffsetDelete(OffsetDeleteResponse { error_code, ..Default::default() })
            }
            Request::ConsumerHeartbeat(_) => {
                Response::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse { error_code, ..Default::default() })
            }
            Request::ConsumerDescribe(groups) => {
                let described = |group_id: &String| DescribedConsumerGroup {
                    group_id: group_id.clone(),
                    error_code,
                    ..Default::default()
                };
                Response::ConsumerDescribe(groups.iter().map(described).collect())
            }
            Request::DescribeGroups(groups) => {
                let described =
                    |group_id: &String| DescribedGroup { group_id: group_id.clone(), error_code, ..Default::default() };
                Response::DescribeGroups(groups.iter().map(described).collect())
            }
            Request::ListGroups { .. } => Response::ListGroups(Err(error)),
            Request::DeleteGroups(groups) => {
                let result = |group_id: &String| DeletableGroupResult { group_id: group_id.clone(), error_code };
                Response::DeleteGroups(groups.iter().map(result).collect())
            }
        }
    }
}

impl Response {
    /// The same answer when the append of its decision failed, or the high watermark did not pass in time
    /// (REQUEST_TIMED_OUT): the log's `error` as the API's clients know it.
    pub fn failed(self, version: i16, error: ErrorCode) -> Response {
        let request = match self {
            Response::Join(_) => Request::Join(JoinGroupRequest::default()),
            Response::Sync(_) => Request::Sync(SyncGroupRequest::default()),
            Response::Heartbeat(_) => Request::Heartbeat(HeartbeatRequest::default()),
            Response::Leave(_) => Request::Leave(LeaveGroupRequest::default()),
            Response::OffsetDelete(_) => Request::OffsetDelete(OffsetDeleteRequest::default()),
            Response::ListGroups(_) => return Response::ListGroups(Err(coordinator_error(error))),
            Response::ConsumerHeartbeat(_) => Request::ConsumerHeartbeat(CheckedHeartbeat::default()),
            Response::ConsumerDescribe(groups) => {
                Request::ConsumerDescribe(groups.into_iter().map(|group| group.group_id).collect())
            }
            Response::DescribeGroups(groups) => {
                Request::DescribeGroups(groups.into_iter().map(|group| group.group_id).collect())
            }
            Response::DeleteGroups(results) => {
                Request::DeleteGroups(results.into_iter().map(|result| result.group_id).collect())
            }
            Response::OffsetCommit(mut response) => {
                let error_code = coordinator_error(error).number();
                let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.error_code = error_code);
                return Response::OffsetCommit(response);
            }
            Response::TxnOffsetCommit(mut response) => {
                let error_code = coordinator_error(error).number();
                let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.error_code = error_code);
                return Response::TxnOffsetCommit(response);
            }
            // Told to another coordinator, not to a client.
            Response::EndTransaction(_) => return Response::EndTransaction(error),
            Response::OffsetFetch(group) => {
                let topics = group.topics.into_iter().map(|topic| OffsetFetchRequestTopics {
                    name: topic.name,
                    topic_id: topic.topic_id,
                    partition_indexes: topic.partitions.iter().map(|partition| partition.partition_index).collect(),
                });
                let group_id = group.group_id;
                let group = OffsetFetchRequestGroup { group_id, topics: Some(topics.collect()), ..Default::default() };
                // Consumers before 3.9 know COORDINATOR_NOT_AVAILABLE here as little as the log's errors.
                let error = match coordinator_error(error) {
                    ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
                    other => other,
                };
                return Response::OffsetFetch(offset_fetch_error(&group, version, error));
            }
        };
        request.failure(version, coordinator_error(error))
    }
}

/// Before version 7 no protocol is the empty string, later it is null.
pub(super) fn join_response(version: i16, mut response: JoinGroupResponse) -> JoinGroupResponse {
    response.protocol_name = match response.protocol_name {
        None if version < 7 => Some(String::new()),
        Some(name) if version >= 7 && name.is_empty() => None,
        given => given,
    };
    response
}

/// Who wants to leave, whatever the version.
pub(super) fn leaving_members(request: &LeaveGroupRequest, version: i16) -> Vec<MemberIdentity> {
    if version >= 3 {
        return request.members.clone();
    }
    vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }]
}

/// Up to version 2 there is one member, and its error is the answer's.
pub(super) fn leave_response(version: i16, members: Vec<MemberResponse>) -> LeaveGroupResponse {
    if version >= 3 {
        return LeaveGroupResponse { members, ..Default::default() };
    }
    let error_code = members.first().map_or(0, |member| member.error_code);
    LeaveGroupResponse { error_code, ..Default::default() }
}

/// Every partition of the request with the same error.
pub fn offset_commit_error(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let mut response = OffsetCommitResponse::default();
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: error.number(),
        });
        response.topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        });
    }
    response
}

/// Every partition of the request with the same error. Producers before version 2 may fall over a coordinator that
/// loads (KAFKA-7296).
pub fn txn_offset_commit_error(
    request: &TxnOffsetCommitRequest,
    version: i16,
    error: ErrorCode,
) -> TxnOffsetCommitResponse {
    let error = match error {
        ErrorCode::CoordinatorLoadInProgress if version < 2 => ErrorCode::CoordinatorNotAvailable,
        other => other,
    };
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.number(),
            })
            .collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// The groups of an OffsetFetch of any version, and whether only stable offsets will do. Before version 8 there
/// is one group.
pub fn offset_fetch_groups(request: OffsetFetchRequest, version: i16) -> (Vec<OffsetFetchRequestGroup>, bool) {
    if version >= 8 {
        return (request.groups, request.require_stable);
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    (vec![group], request.require_stable)
}

/// Puts the groups' answers together. Before version 8 only the first one can be said.
pub fn offset_fetch_response(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= 8 {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    if groups.is_empty() {
        return OffsetFetchResponse::default();
    }
    let group = groups.swap_remove(0);
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    let topics = group.topics.into_iter().map(topic).collect();
    OffsetFetchResponse { topics, error_code: group.error_code, ..Default::default() }
}

/// One group's error: version 1 has no place for it but each partition.
pub fn offset_fetch_error(group: &OffsetFetchRequestGroup, version: i16, error: ErrorCode) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    if version >= 2 {
        return OffsetFetchResponseGroup { group_id, error_code: error.number(), ..Default::default() };
    }
    let topics = group.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(|index| no_offset(*index, error)).collect(),
        ..Default::default()
    });
    OffsetFetchResponseGroup { group_id, topics: topics.collect(), ..Default::default() }
}

/// What is said of a partition without a committed offset.
pub(super) fn no_offset(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: error.number(),
    }
}
