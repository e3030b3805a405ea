//! Groups and their offsets: who asks goes to the shard that owns the group; what concerns topics is settled here.
//!
//! Source: the group handlers of `KafkaApis`.

use std::collections::HashMap;
use std::sync::Arc;

use milena_coordinators::group::{
    Context, Filters, Request, Response, Settings, partition_for, refuse, request::offset_fetch_groups,
    request::offset_fetch_response,
};
use milena_metadata::image::{Image, Topic};
use milena_protocol::messages::list_groups_response::ListedGroup;
use milena_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use milena_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use milena_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use milena_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use milena_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use milena_protocol::{ErrorCode, Uuid};

use super::repeated::{Repeated, bounded};
use crate::api::operations;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::node::Node;
use crate::shards::{GROUPS_TOPIC, by_shard, code};
use crate::share::Lookups;
use crate::world::World;

/// First version of OffsetCommit and OffsetFetch that names topics by id.
const BY_ID: i16 = 10;

pub(super) fn context<W: World>(call: &Call<'_, W>) -> Context {
    Context {
        version: call.version(),
        client_id: call.header.client_id.clone().unwrap_or_default(),
        client_address: call.peer.address.ip(),
        random: call.node.world.random(),
    }
}

/// How many partitions the groups are spread over: those of the topic, or those that it will have.
pub(super) fn partitions<W: World>(node: &Node<W>) -> i32 {
    let image = node.image();
    image.topic(GROUPS_TOPIC).map_or(node.settings.offsets_partitions, |topic| topic.partitions.len() as i32)
}

/// The partition of `__consumer_offsets` that a group belongs to.
pub fn partition_of<W: World>(node: &Node<W>, group_id: &str) -> i32 {
    partition_for(group_id, partitions(node))
}

/// Asks the shard of `group_id`, unless the request is refused before.
pub(super) async fn ask<W: World>(call: &Call<'_, W>, group_id: &str, request: Request) -> Response {
    let settings: &Settings = &call.node.settings.groups;
    if let Some(refusal) = refuse(&request, call.version(), settings) {
        return refusal;
    }
    call.node.shards.ask_group(partitions(call.node), group_id, context(call), request).await
}

/// Enters a group.
pub async fn join_group<W: World>(call: &Call<'_, W>, request: JoinGroupRequest) -> JoinGroupResponse {
    let group_id = request.group_id.clone();
    expect!(ask(call, &group_id, Request::Join(request)).await, Response::Join)
}

/// Hands in or waits for the assignment.
pub async fn sync_group<W: World>(call: &Call<'_, W>, request: SyncGroupRequest) -> SyncGroupResponse {
    let group_id = request.group_id.clone();
    expect!(ask(call, &group_id, Request::Sync(request)).await, Response::Sync)
}

/// Keeps a member alive.
pub async fn heartbeat<W: World>(call: &Call<'_, W>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group_id = request.group_id.clone();
    expect!(ask(call, &group_id, Request::Heartbeat(request)).await, Response::Heartbeat)
}

/// Leaves a group.
pub async fn leave_group<W: World>(call: &Call<'_, W>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group_id = request.group_id.clone();
    expect!(ask(call, &group_id, Request::Leave(request)).await, Response::Leave)
}

/// Stores offsets of partitions that exist; the others are answered here.
pub async fn offset_commit<W: World>(call: &Call<'_, W>, mut request: OffsetCommitRequest) -> OffsetCommitResponse {
    let image = call.node.image();
    let by_id = call.version() >= BY_ID;
    let mut refused = Vec::new();
    let mut known = Vec::new();
    let mut lookups = Lookups::default();
    for topic in std::mem::take(&mut request.topics) {
        lookups.done(1 + topic.partitions.len()).await;
        let (good, bad) = split_commit(&image, topic, by_id);
        known.extend(good);
        refused.extend(bad);
    }
    if known.is_empty() {
        return OffsetCommitResponse { topics: refused, ..Default::default() };
    }
    request.topics = known;
    let group_id = request.group_id.clone();
    let mut response = expect!(ask(call, &group_id, Request::OffsetCommit(request)).await, Response::OffsetCommit);
    // A topic that is named by an unknown id alone stays by itself.
    let name = |topic: &OffsetCommitResponseTopic| Some(topic.name.clone()).filter(|name| !name.is_empty());
    join_topics(&mut response.topics, refused, name, |topic| &mut topic.partitions);
    response
}

/// Adds the topics that were refused here to those that the shard answered: one of each name. Takes time in proportion to
/// the topics, for a request may name very many.
pub(super) fn join_topics<T, P>(
    answered: &mut Vec<T>,
    refused: Vec<T>,
    name: impl Fn(&T) -> Option<String>,
    partitions: impl Fn(&mut T) -> &mut Vec<P>,
) {
    if refused.is_empty() {
        return;
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, topic) in answered.iter().enumerate() {
        name(topic).map(|name| places.entry(name).or_insert(at));
    }
    for mut topic in refused {
        let place = name(&topic).map(|name| *places.entry(name).or_insert(answered.len()));
        match place.and_then(|at| answered.get_mut(at)) {
            Some(known) => partitions(known).append(partitions(&mut topic)),
            None => answered.push(topic),
        }
    }
}

/// The partitions of a topic that exist, with its name and id filled in, and the answer for those that do not.
fn split_commit(
    image: &Image,
    mut topic: OffsetCommitRequestTopic,
    by_id: bool,
) -> (Option<OffsetCommitRequestTopic>, Option<OffsetCommitResponseTopic>) {
    let found = find(image, &topic.name, topic.topic_id, by_id);
    let error = if by_id && found.is_none() { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let asked = std::mem::take(&mut topic.partitions);
    let exists = |index| found.is_some_and(|topic| topic.partitions.contains_key(&index));
    let (good, bad): (Vec<_>, Vec<_>) = asked.into_iter().partition(|partition| exists(partition.partition_index));
    if let Some(found) = found {
        topic.name = found.name.to_string();
        topic.topic_id = found.id;
    }
    let bad = bad.into_iter().map(|partition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: error.number(),
    });
    let refused =
        OffsetCommitResponseTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions: bad.collect() };
    topic.partitions = good;
    let known = (!topic.partitions.is_empty()).then_some(topic);
    (known, (!refused.partitions.is_empty()).then_some(refused))
}

fn find<'a>(image: &'a Image, name: &str, id: Uuid, by_id: bool) -> Option<&'a Arc<Topic>> {
    if by_id { image.topic_by_id(id) } else { image.topic(name) }
}

/// Reads offsets of one or many groups.
pub async fn offset_fetch<W: World>(
    call: &Call<'_, W>,
    request: OffsetFetchRequest,
    growing: &mut Growing<'_>,
) -> OffsetFetchResponse {
    let (mut groups, require_stable) = offset_fetch_groups(request, call.version());
    bound_repeated(&mut groups);
    let mut answers = Vec::with_capacity(groups.len());
    for group in groups {
        answers.push(fetch_group(call, group, require_stable, growing).await);
    }
    offset_fetch_response(answers, call.version())
}

/// Leaves out what is named too often: partitions of a group, and groups of which everything is asked.
fn bound_repeated(groups: &mut Vec<OffsetFetchRequestGroup>) {
    let mut whole = Repeated::new();
    groups.retain(|group| group.topics.is_some() || whole.lets_pass(group.group_id.clone()));
    let mut repeated = Repeated::new();
    for OffsetFetchRequestGroup { group_id, topics, .. } in groups {
        for OffsetFetchRequestTopics { name, topic_id, partition_indexes } in topics.iter_mut().flatten() {
            let place = |index: i32| (group_id.as_str(), name.as_str(), *topic_id, index);
            partition_indexes.retain(|index| repeated.lets_pass(place(*index)));
        }
    }
}

async fn fetch_group<W: World>(
    call: &Call<'_, W>,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
    growing: &mut Growing<'_>,
) -> OffsetFetchResponseGroup {
    let image = call.node.image();
    let by_id = call.version() >= BY_ID;
    let all = group.topics.is_none();
    let mut unknown = Vec::new();
    if by_id && let Some(topics) = group.topics.take() {
        let (known, missing) = name_topics(&image, topics);
        group.topics = Some(known);
        unknown = missing;
    }
    let shard = partition_of(call.node, &group.group_id);
    let asked = Request::OffsetFetch { group, require_stable };
    let answer = call.node.shards.ask_growing(shard, &context(call), &asked, growing).await;
    let answer = answer.unwrap_or_else(|refused| asked.failure(call.version(), code(refused)));
    let mut answer = expect!(answer, Response::OffsetFetch);
    if all && by_id {
        // An offset whose topic has no id any more cannot be said in this version.
        for topic in answer.topics.iter_mut().filter(|topic| topic.topic_id == Uuid::ZERO) {
            topic.topic_id = image.topic(&topic.name).map_or(Uuid::ZERO, |topic| topic.id);
        }
        answer.topics.retain(|topic| topic.topic_id != Uuid::ZERO);
    }
    if answer.error_code == 0 {
        answer.topics.extend(unknown);
    }
    answer
}

/// Gives topics their names; those without one are answered with an error.
fn name_topics(
    image: &Image,
    topics: Vec<OffsetFetchRequestTopics>,
) -> (Vec<OffsetFetchRequestTopics>, Vec<OffsetFetchResponseTopics>) {
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for mut topic in topics {
        if let Some(found) = image.topic_by_id(topic.topic_id) {
            topic.name = found.name.to_string();
            known.push(topic);
            continue;
        }
        let partitions = topic.partition_indexes.iter().map(|index| OffsetFetchResponsePartitions {
            partition_index: *index,
            committed_offset: -1,
            error_code: ErrorCode::UnknownTopicId.number(),
            ..Default::default()
        });
        unknown.push(OffsetFetchResponseTopics {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        });
    }
    (known, unknown)
}

/// Deletes offsets of partitions that exist; the others are answered here.
pub async fn offset_delete<W: World>(call: &Call<'_, W>, mut request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = call.node.image();
    let mut refused: Vec<OffsetDeleteResponseTopic> = Vec::new();
    let mut known: Vec<OffsetDeleteRequestTopic> = Vec::new();
    let mut lookups = Lookups::default();
    for mut topic in std::mem::take(&mut request.topics) {
        lookups.done(1 + topic.partitions.len()).await;
        let found = image.topic(&topic.name);
        let exists = |index| found.is_some_and(|topic| topic.partitions.contains_key(&index));
        let (good, bad): (Vec<_>, Vec<_>) =
            topic.partitions.into_iter().partition(|partition| exists(partition.partition_index));
        let bad = bad.into_iter().map(|partition| OffsetDeleteResponsePartition {
            partition_index: partition.partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.number(),
        });
        refused.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: bad.collect() });
        topic.partitions = good;
        known.push(topic);
    }
    known.retain(|topic| !topic.partitions.is_empty());
    refused.retain(|topic| !topic.partitions.is_empty());
    request.topics = known;
    let group_id = request.group_id.clone();
    let mut response = expect!(ask(call, &group_id, Request::OffsetDelete(request)).await, Response::OffsetDelete);
    if response.error_code != 0 {
        return response;
    }
    join_topics(&mut response.topics, refused, |topic| Some(topic.name.clone()), |topic| &mut topic.partitions);
    response
}

/// State and members of groups.
pub async fn describe_groups<W: World>(
    call: &Call<'_, W>,
    request: DescribeGroupsRequest,
    growing: &mut Growing<'_>,
) -> DescribeGroupsResponse {
    let with_operations = call.version() >= 3 && request.include_authorized_operations;
    let mut groups = Vec::with_capacity(request.groups.len());
    let described = |response| expect!(response, Response::DescribeGroups);
    for asked in by_shard(partitions(call.node), &bounded(&request.groups)) {
        let shards = &call.node.shards;
        groups.extend(shards.ask_names(asked, &context(call), growing, Request::DescribeGroups, described).await);
    }
    let places: HashMap<&String, usize> = request.groups.iter().enumerate().rev().map(|(at, id)| (id, at)).collect();
    groups.sort_by_key(|group| places.get(&group.group_id));
    for group in groups.iter_mut().filter(|group| with_operations && group.error_code == 0) {
        group.authorized_operations = operations::GROUP;
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

/// The groups of every shard on this node.
pub async fn list_groups<W: World>(
    call: &Call<'_, W>,
    request: &ListGroupsRequest,
    growing: &mut Growing<'_>,
) -> Result<ListGroupsResponse, NoRoom> {
    let filters = Arc::new(Filters::of_request(request));
    let mut groups = Vec::new();
    for shard in call.node.shards.led() {
        match list_shard(call, shard, &filters, &mut groups, growing).await? {
            // The shard moved away between the two questions.
            ErrorCode::None | ErrorCode::NotCoordinator => {}
            error => return Ok(ListGroupsResponse { error_code: error.number(), ..Default::default() }),
        }
    }
    Ok(ListGroupsResponse { groups, ..Default::default() })
}

/// Adds the groups of one shard.
async fn list_shard<W: World>(
    call: &Call<'_, W>,
    shard: i32,
    filters: &Arc<Filters>,
    groups: &mut Vec<ListedGroup>,
    growing: &mut Growing<'_>,
) -> Result<ErrorCode, NoRoom> {
    let mut after = None;
    loop {
        let asked = Request::ListGroups { filters: Arc::clone(filters), after };
        let page = match expect!(call.node.shards.ask(shard, context(call), asked).await, Response::ListGroups) {
            Ok(page) => page,
            Err(error) => return Ok(error),
        };
        if !growing.part(page.size_bytes).await? {
            return Ok(ErrorCode::InvalidRequest);
        }
        groups.extend(page.listed);
        after = page.last;
        if after.is_none() {
            return Ok(ErrorCode::None);
        }
    }
}

/// Deletes empty groups. A group without a name was possible once and may be deleted.
pub async fn delete_groups<W: World>(call: &Call<'_, W>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for (shard, asked) in by_shard(partitions(call.node), &request.groups_names) {
        let response = call.node.shards.ask(shard, context(call), Request::DeleteGroups(asked)).await;
        results.extend(expect!(response, Response::DeleteGroups));
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
