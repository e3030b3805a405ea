//! Requests that name very many things take time in proportion to the names, not to their product: whoever sends one must
//! not keep a core, a coordinator or the controller from others.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_disk::MemoryDisk;
use milena_protocol::messages::*;
use milena_protocol::{ErrorCode, Request};
use milena_server::Running;
use rustix::time::{ClockId, clock_gettime};

use crate::client::{Client, node_with};
use crate::world::{Network, SimWorld};

const TOPIC: &str = "t";
const GROUP: &str = "g";
const NAMES: usize = 50_000;
/// Of this thread's work, which is all of the node's: other tests run beside it. Each name beside each other one would take
/// minutes.
const ANSWER_MAX: Duration = Duration::from_secs(10);

fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|number| format!("name-{number:06}"))
}

/// Asks, and holds the answer against the limit.
async fn asked<R: Request>(client: &mut Client, request: R, version: i16) -> R::Response
where
    R::Response: Debug,
{
    let begin = worked();
    let response = client.ask(&request, version).await;
    let took = worked() - begin;
    assert!(took < ANSWER_MAX, "{} took {took:?}", R::NAME);
    response
}

/// How long this thread has had a processor.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it grows from zero")
}

/// A node with a topic and a group's coordinator, and a client.
async fn node_with_a_coordinator() -> (Running<SimWorld>, Client) {
    let network = Arc::new(Network::default());
    let more = [("offsets.topic.replication.factor", "1"), ("offsets.topic.num.partitions", "1")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &more).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    find_coordinator(&mut client).await;
    (running, client)
}

/// Asks until the group has a coordinator.
async fn find_coordinator(client: &mut Client) {
    let find = FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() };
    while client.ask(&find, 4).await.coordinators[0].error_code != 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let heartbeat = HeartbeatRequest { group_id: GROUP.to_owned(), ..Default::default() };
    while client.ask(&heartbeat, 4).await.error_code != ErrorCode::UnknownMemberId.number() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ask_about_offsets(client: &mut Client) {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default();
    let topic = |name: String| offset_commit_request::OffsetCommitRequestTopic {
        name,
        partitions: vec![partition.clone()],
        ..Default::default()
    };
    let topics = [TOPIC.to_owned()].into_iter().chain(names()).map(topic).collect();
    let commit = OffsetCommitRequest { group_id: GROUP.to_owned(), topics, ..Default::default() };
    let committed = asked(client, commit, 9).await;
    assert_eq!(committed.topics.len(), NAMES + 1);
    assert!(committed.topics.iter().any(|topic| topic.partitions[0].error_code == 0), "{:?}", committed.topics[0]);

    let topic = |name: String| offset_delete_request::OffsetDeleteRequestTopic {
        name,
        partitions: vec![offset_delete_request::OffsetDeleteRequestPartition::default()],
    };
    let topics = [TOPIC.to_owned()].into_iter().chain(names()).map(topic).collect();
    let delete = OffsetDeleteRequest { group_id: GROUP.to_owned(), topics };
    let deleted = asked(client, delete, 0).await;
    assert_eq!((deleted.error_code, deleted.topics.len()), (0, NAMES + 1));

    let topic = |name: String| txn_offset_commit_request::TxnOffsetCommitRequestTopic {
        name,
        partitions: vec![txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()],
    };
    let topics = [TOPIC.to_owned()].into_iter().chain(names()).map(topic).collect();
    let commit = TxnOffsetCommitRequest {
        transactional_id: "x".to_owned(),
        group_id: GROUP.to_owned(),
        topics,
        ..Default::default()
    };
    assert_eq!(asked(client, commit, 3).await.topics.len(), NAMES + 1);

    let group = |group_id| offset_fetch_request::OffsetFetchRequestGroup { group_id, ..Default::default() };
    let fetch = OffsetFetchRequest { groups: names().map(group).collect(), ..Default::default() };
    assert_eq!(asked(client, fetch, 9).await.groups.len(), NAMES);
}

async fn ask_about_groups(client: &mut Client) {
    let describe = DescribeGroupsRequest { groups: names().collect(), ..Default::default() };
    let described = asked(client, describe, 5).await;
    assert!(described.groups.iter().map(|group| group.group_id.clone()).eq(names()), "in the order of the request");
    let describe = ConsumerGroupDescribeRequest { group_ids: names().collect(), ..Default::default() };
    assert_eq!(asked(client, describe, 1).await.groups.len(), NAMES);
    let list = ListGroupsRequest { states_filter: names().collect(), types_filter: names().collect() };
    assert_eq!(asked(client, list, 5).await.error_code, 0);
    let delete = DeleteGroupsRequest { groups_names: names().collect() };
    assert_eq!(asked(client, delete, 2).await.results.len(), NAMES);
    let find = FindCoordinatorRequest { coordinator_keys: names().collect(), ..Default::default() };
    assert_eq!(asked(client, find, 4).await.coordinators.len(), NAMES);
    let member = |member_id| leave_group_request::MemberIdentity { member_id, ..Default::default() };
    let leave =
        LeaveGroupRequest { group_id: GROUP.to_owned(), members: names().map(member).collect(), ..Default::default() };
    asked(client, leave, 5).await;
}

/// Members of one group that have one protocol in common, the last of very many.
async fn join_with_many_protocols(client: &mut Client) {
    for number in 0..2 {
        let own = names().map(|name| format!("{name}-of-{number}")).chain(["common".to_owned()]);
        let protocol = |name| join_group_request::JoinGroupRequestProtocol { name, metadata: Bytes::from_static(b"m") };
        let join = JoinGroupRequest {
            group_id: "many".to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 1000,
            protocol_type: "test".to_owned(),
            protocols: own.map(protocol).collect(),
            ..Default::default()
        };
        // In a version without the round for a member id.
        assert_eq!(asked(client, join, 3).await.error_code, 0);
    }
}

async fn ask_about_transactions(client: &mut Client) {
    let describe = DescribeTransactionsRequest { transactional_ids: names().collect() };
    assert_eq!(asked(client, describe, 0).await.transaction_states.len(), NAMES);
    let list = ListTransactionsRequest { state_filters: names().collect(), ..Default::default() };
    assert_eq!(asked(client, list, 1).await.unknown_state_filters.len(), NAMES);
    let topic = |name| describe_producers_request::TopicRequest { name, partition_indexes: vec![0] };
    let describe = DescribeProducersRequest { topics: names().map(topic).collect() };
    assert_eq!(asked(client, describe, 0).await.topics.len(), NAMES);
}

async fn ask_about_topics(client: &mut Client) {
    let topic = |name| metadata_request::MetadataRequestTopic { name: Some(name), ..Default::default() };
    let metadata = MetadataRequest { topics: Some(names().map(topic).collect()), ..Default::default() };
    assert_eq!(asked(client, metadata, 12).await.topics.len(), NAMES);
    let topic = |name| describe_topic_partitions_request::TopicRequest { name };
    let describe = DescribeTopicPartitionsRequest { topics: names().map(topic).collect(), ..Default::default() };
    assert_eq!(asked(client, describe, 0).await.topics.len(), NAMES);
    let topic = |name: String| delete_topics_request::DeleteTopicState { name: Some(name), ..Default::default() };
    let twice = names().chain(names()).map(topic).collect();
    let delete = DeleteTopicsRequest { topics: twice, timeout_ms: 60_000, ..Default::default() };
    assert_eq!(asked(client, delete, 6).await.responses.len(), NAMES);
    let topic = |name| create_partitions_request::CreatePartitionsTopic { name, count: 2, assignments: None };
    let twice = names().chain(names()).map(topic).collect();
    let grow = CreatePartitionsRequest { topics: twice, timeout_ms: 60_000, validate_only: false };
    assert_eq!(asked(client, grow, 3).await.results.len(), NAMES);
}

async fn ask_about_settings(client: &mut Client) {
    let resource = |resource_name| describe_configs_request::DescribeConfigsResource {
        resource_type: 2,
        resource_name,
        configuration_keys: None,
    };
    let describe = DescribeConfigsRequest { resources: names().map(resource).collect(), ..Default::default() };
    assert_eq!(asked(client, describe, 4).await.results.len(), NAMES);
    let resource = |resource_name| alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name,
        configs: Vec::new(),
    };
    let twice = names().chain(names()).map(resource).collect();
    asked(client, AlterConfigsRequest { resources: twice, validate_only: true }, 2).await;
    let resource = |resource_name| incremental_alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name,
        configs: Vec::new(),
    };
    let twice = names().chain(names()).map(resource).collect();
    asked(client, IncrementalAlterConfigsRequest { resources: twice, validate_only: true }, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_with_very_many_names_takes_time_in_proportion() {
    let (running, mut client) = node_with_a_coordinator().await;
    ask_about_offsets(&mut client).await;
    ask_about_groups(&mut client).await;
    join_with_many_protocols(&mut client).await;
    ask_about_transactions(&mut client).await;
    ask_about_topics(&mut client).await;
    ask_about_settings(&mut client).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_named_a_thousand_times_is_answered_a_few_times() {
    let (running, mut client) = node_with_a_coordinator().await;
    let name = |name: &str| vec![name.to_owned(); 1000];
    let describe = DescribeGroupsRequest { groups: name(GROUP), ..Default::default() };
    assert_eq!(client.ask(&describe, 5).await.groups.len(), 8);
    let describe = ConsumerGroupDescribeRequest { group_ids: name(GROUP), ..Default::default() };
    assert_eq!(client.ask(&describe, 1).await.groups.len(), 8);
    let describe = DescribeTransactionsRequest { transactional_ids: name("x") };
    assert_eq!(client.ask(&describe, 0).await.transaction_states.len(), 8);
    let topic = describe_producers_request::TopicRequest { name: TOPIC.to_owned(), partition_indexes: vec![0; 1000] };
    let answered = client.ask(&DescribeProducersRequest { topics: vec![topic; 3] }, 0).await;
    assert_eq!(answered.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 8);

    let topic = offset_fetch_request::OffsetFetchRequestTopics {
        name: TOPIC.to_owned(),
        partition_indexes: vec![0; 1000],
        ..Default::default()
    };
    let group = offset_fetch_request::OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let fetch = OffsetFetchRequest { groups: vec![group.clone(); 3], ..Default::default() };
    let answered = client.ask(&fetch, 9).await;
    let partitions = answered.groups.iter().flat_map(|group| &group.topics).map(|topic| topic.partitions.len());
    assert_eq!(partitions.sum::<usize>(), 8);
    let all = offset_fetch_request::OffsetFetchRequestGroup { topics: None, ..group };
    let fetch = OffsetFetchRequest { groups: vec![all; 1000], ..Default::default() };
    assert_eq!(client.ask(&fetch, 9).await.groups.len(), 8);
    running.stop().await;
}
