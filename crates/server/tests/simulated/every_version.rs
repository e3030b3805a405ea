//! Every version of every API that is advertised answers a real request, and the answer can be read.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::*;
use milena_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_protocol::{ApiKey, Request, Uuid};
use milena_server::dispatch::SERVED;

use crate::client::{Client, node};
use crate::world::Network;

const TOPIC: &str = "t";
const GROUP: &str = "g";

/// A client that remembers which APIs it has asked.
struct Asker {
    client: Client,
    topic_id: Uuid,
    asked: BTreeSet<ApiKey>,
}

impl Asker {
    /// Asks in every version; `request` says what fits the version.
    async fn every_version<R: Request>(&mut self, request: impl Fn(i16, Uuid) -> R)
    where
        R::Response: Debug,
    {
        for version in R::OLDEST..=R::NEWEST {
            self.client.ask(&request(version, self.topic_id), version).await;
        }
        self.asked.insert(R::KEY);
    }
}

fn topic_name(version: i16, by_id: i16) -> String {
    if version < by_id { TOPIC.to_owned() } else { String::new() }
}

fn topic_id(id: Uuid, version: i16, by_id: i16) -> Uuid {
    if version < by_id { Uuid::ZERO } else { id }
}

fn produce(version: i16, id: Uuid) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), Some(b"k"), Some(b"v"), &[]);
    let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
    let topic = produce_request::TopicProduceData {
        name: topic_name(version, 13),
        topic_id: topic_id(id, version, 13),
        partition_data: vec![produce_request::PartitionProduceData { index: 0, records }],
    };
    ProduceRequest { acks: 1, timeout_ms: 1000, topic_data: vec![topic], transactional_id: None }
}

fn fetch(version: i16, id: Uuid) -> FetchRequest {
    let topic = fetch_request::FetchTopic {
        topic: topic_name(version, 13),
        topic_id: topic_id(id, version, 13),
        partitions: vec![fetch_request::FetchPartition { partition_max_bytes: 1000, ..Default::default() }],
    };
    FetchRequest { max_wait_ms: 1, topics: vec![topic], ..Default::default() }
}

fn list_offsets(version: i16, _: Uuid) -> ListOffsetsRequest {
    let partitions = vec![list_offsets_request::ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![list_offsets_request::ListOffsetsTopic { name: TOPIC.to_owned(), partitions }];
    let isolation_level = i8::from(version >= 2);
    ListOffsetsRequest { replica_id: -1, isolation_level, topics, ..Default::default() }
}

fn offset_commit(version: i16, id: Uuid) -> OffsetCommitRequest {
    let partitions = vec![offset_commit_request::OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_metadata: Some(String::new()),
        ..Default::default()
    }];
    let topic = offset_commit_request::OffsetCommitRequestTopic {
        name: topic_name(version, 10),
        topic_id: topic_id(id, version, 10),
        partitions,
    };
    OffsetCommitRequest { group_id: GROUP.to_owned(), topics: vec![topic], ..Default::default() }
}

fn offset_fetch(version: i16, id: Uuid) -> OffsetFetchRequest {
    if version < 8 {
        let topic =
            offset_fetch_request::OffsetFetchRequestTopic { name: TOPIC.to_owned(), partition_indexes: vec![0] };
        return OffsetFetchRequest { group_id: GROUP.to_owned(), topics: Some(vec![topic]), ..Default::default() };
    }
    let topic = offset_fetch_request::OffsetFetchRequestTopics {
        name: topic_name(version, 10),
        topic_id: topic_id(id, version, 10),
        partition_indexes: vec![0],
    };
    let group = offset_fetch_request::OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

fn find_coordinator(version: i16, _: Uuid) -> FindCoordinatorRequest {
    match version {
        0..=3 => FindCoordinatorRequest { key: GROUP.to_owned(), ..Default::default() },
        _ => FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() },
    }
}

fn consumer_group_heartbeat(_: i16, _: Uuid) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "consumers".to_owned(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn consumer_group_describe(_: i16, _: Uuid) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest { group_ids: vec!["consumers".to_owned()], ..Default::default() }
}

fn leave_group(version: i16, _: Uuid) -> LeaveGroupRequest {
    let group_id = "empty".to_owned();
    match version {
        0..=2 => LeaveGroupRequest { group_id, member_id: "m".to_owned(), ..Default::default() },
        _ => {
            let member = leave_group_request::MemberIdentity { member_id: "m".to_owned(), ..Default::default() };
            LeaveGroupRequest { group_id, members: vec![member], ..Default::default() }
        }
    }
}

fn join_group(_: i16, _: Uuid) -> JoinGroupRequest {
    // A session that is too short is refused at once, in every version.
    JoinGroupRequest { group_id: GROUP.to_owned(), session_timeout_ms: 1, ..Default::default() }
}

fn create_topics(version: i16, _: Uuid) -> CreateTopicsRequest {
    let topic = create_topics_request::CreatableTopic {
        name: format!("new-{version}"),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }
}

fn delete_topics(version: i16, _: Uuid) -> DeleteTopicsRequest {
    let name = format!("new-{version}");
    match version {
        1..=5 => DeleteTopicsRequest { topic_names: vec![name], ..Default::default() },
        _ => {
            let topic = delete_topics_request::DeleteTopicState { name: Some(name), ..Default::default() };
            DeleteTopicsRequest { topics: vec![topic], ..Default::default() }
        }
    }
}

async fn ask_about_records(asker: &mut Asker) {
    asker.every_version(produce).await;
    asker.every_version(fetch).await;
    asker.every_version(list_offsets).await;
    asker
        .every_version(|_, _| {
            let partitions = vec![delete_records_request::DeleteRecordsPartition { offset: 1, ..Default::default() }];
            let topics = vec![delete_records_request::DeleteRecordsTopic { name: TOPIC.to_owned(), partitions }];
            DeleteRecordsRequest { topics, timeout_ms: 1000 }
        })
        .await;
    asker.every_version(|_, _| InitProducerIdRequest { transactional_id: None, ..Default::default() }).await;
    asker
        .every_version(|_, _| {
            let partitions = vec![offset_for_leader_epoch_request::OffsetForLeaderPartition::default()];
            let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic { topic: TOPIC.to_owned(), partitions };
            OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }
        })
        .await;
}

async fn ask_about_groups(asker: &mut Asker) {
    asker.every_version(find_coordinator).await;
    asker.every_version(offset_commit).await;
    asker.every_version(offset_fetch).await;
    asker.every_version(join_group).await;
    asker.every_version(leave_group).await;
    asker.every_version(consumer_group_heartbeat).await;
    asker.every_version(consumer_group_describe).await;
    asker.every_version(|_, _| HeartbeatRequest { group_id: GROUP.to_owned(), ..Default::default() }).await;
    asker.every_version(|_, _| SyncGroupRequest { group_id: GROUP.to_owned(), ..Default::default() }).await;
    asker.every_version(|_, _| DescribeGroupsRequest { groups: vec![GROUP.to_owned()], ..Default::default() }).await;
    asker.every_version(|_, _| ListGroupsRequest::default()).await;
    asker.every_version(|_, _| OffsetDeleteRequest { group_id: GROUP.to_owned(), ..Default::default() }).await;
    asker.every_version(|_, _| DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()] }).await;
}

async fn ask_about_transactions(asker: &mut Asker) {
    asker
        .every_version(|_, _| {
            let topic = write_txn_markers_request::WritableTxnMarkerTopic {
                name: TOPIC.to_owned(),
                partition_indexes: vec![0, 9],
            };
            let marker = write_txn_markers_request::WritableTxnMarker { topics: vec![topic], ..Default::default() };
            WriteTxnMarkersRequest { markers: vec![marker] }
        })
        .await;
    asker
        .every_version(|_, _| {
            let topic =
                describe_producers_request::TopicRequest { name: TOPIC.to_owned(), partition_indexes: vec![0, 9] };
            DescribeProducersRequest { topics: vec![topic] }
        })
        .await;
}

async fn ask_about_transactional_ids(asker: &mut Asker) {
    let transactional_id = || "x".to_owned();
    asker
        .every_version(|version, _| {
            let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                name: TOPIC.to_owned(),
                partitions: vec![0, 9],
            };
            if version < 4 {
                return AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: transactional_id(),
                    v3_and_below_topics: vec![topic],
                    ..Default::default()
                };
            }
            let transaction = add_partitions_to_txn_request::AddPartitionsToTxnTransaction {
                transactional_id: transactional_id(),
                topics: vec![topic],
                ..Default::default()
            };
            AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() }
        })
        .await;
    asker
        .every_version(|_, _| AddOffsetsToTxnRequest {
            transactional_id: transactional_id(),
            group_id: GROUP.to_owned(),
            ..Default::default()
        })
        .await;
    asker
        .every_version(|_, _| {
            let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
            let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic {
                name: TOPIC.to_owned(),
                partitions: vec![partition],
            };
            TxnOffsetCommitRequest {
                transactional_id: transactional_id(),
                group_id: GROUP.to_owned(),
                topics: vec![topic],
                ..Default::default()
            }
        })
        .await;
    asker.every_version(|_, _| EndTxnRequest { transactional_id: transactional_id(), ..Default::default() }).await;
    asker.every_version(|_, _| DescribeTransactionsRequest { transactional_ids: vec![transactional_id()] }).await;
    asker.every_version(|_, _| ListTransactionsRequest::default()).await;
}

async fn ask_about_the_cluster(asker: &mut Asker) {
    let named = |version: i16, name: &str| if version < 3 { String::new() } else { name.to_owned() };
    asker
        .every_version(|version, _| ApiVersionsRequest {
            client_software_name: named(version, "test"),
            client_software_version: named(version, "1"),
        })
        .await;
    asker
        .every_version(|_, _| {
            let topic = metadata_request::MetadataRequestTopic { name: Some(TOPIC.to_owned()), ..Default::default() };
            MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
        })
        .await;
    asker.every_version(|_, _| DescribeClusterRequest::default()).await;
    asker.every_version(|_, _| AlterReplicaLogDirsRequest::default()).await;
    asker.every_version(|_, _| DescribeLogDirsRequest::default()).await;
    asker.every_version(|_, _| DescribeQuorumRequest::default()).await;
    asker.every_version(|_, _| ElectLeadersRequest::default()).await;
    asker.every_version(|_, _| AlterPartitionReassignmentsRequest::default()).await;
    asker.every_version(|_, _| ListPartitionReassignmentsRequest::default()).await;
    asker.every_version(|_, _| UnregisterBrokerRequest { broker_id: 7 }).await;
    asker.every_version(|_, _| UpdateFeaturesRequest::default()).await;
    asker.every_version(|_, _| ListConfigResourcesRequest::default()).await;
    asker.every_version(|_, _| DescribeTopicPartitionsRequest::default()).await;
    asker.every_version(create_topics).await;
    asker.every_version(delete_topics).await;
    asker
        .every_version(|version, _| {
            let topic = create_partitions_request::CreatePartitionsTopic {
                name: TOPIC.to_owned(),
                count: 2 + i32::from(version),
                assignments: None,
            };
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, validate_only: false }
        })
        .await;
}

async fn ask_about_quotas(asker: &mut Asker) {
    asker
        .every_version(|_, _| {
            let entity = alter_client_quotas_request::EntityData { entity_type: "user".to_owned(), entity_name: None };
            let op = alter_client_quotas_request::OpData {
                key: "request_percentage".to_owned(),
                value: 400.0,
                remove: false,
            };
            let entry = alter_client_quotas_request::EntryData { entity: vec![entity], ops: vec![op] };
            AlterClientQuotasRequest { entries: vec![entry], validate_only: false }
        })
        .await;
    asker.every_version(|_, _| DescribeClientQuotasRequest::default()).await;
}

async fn ask_about_acls(asker: &mut Asker) {
    asker
        .every_version(|_, _| DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        })
        .await;
    asker.every_version(|_, _| CreateAclsRequest::default()).await;
    asker.every_version(|_, _| DeleteAclsRequest::default()).await;
}

async fn ask_about_settings(asker: &mut Asker) {
    let name = TOPIC.to_owned();
    asker
        .every_version(|_, _| {
            let resource = describe_configs_request::DescribeConfigsResource {
                resource_type: 2,
                resource_name: name.clone(),
                configuration_keys: None,
            };
            DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
        })
        .await;
    asker
        .every_version(|_, _| {
            let config = alter_configs_request::AlterableConfig {
                name: "retention.ms".to_owned(),
                value: Some("1000".to_owned()),
            };
            let resource = alter_configs_request::AlterConfigsResource {
                resource_type: 2,
                resource_name: name.clone(),
                configs: vec![config],
            };
            AlterConfigsRequest { resources: vec![resource], validate_only: false }
        })
        .await;
    asker
        .every_version(|_, _| {
            let config = incremental_alter_configs_request::AlterableConfig {
                name: "retention.ms".to_owned(),
                config_operation: 1,
                value: None,
            };
            let resource = incremental_alter_configs_request::AlterConfigsResource {
                resource_type: 2,
                resource_name: name.clone(),
                configs: vec![config],
            };
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
        })
        .await;
}

async fn ask_about_telemetry(asker: &mut Asker) {
    let client_instance_id = Uuid([7; 16]);
    asker.every_version(|_, _| GetTelemetrySubscriptionsRequest { client_instance_id }).await;
    asker.every_version(|_, _| PushTelemetryRequest { client_instance_id, ..Default::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn every_advertised_version_answers_a_real_request() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let mut client = Client::connect(&network, 9001);
    let topic = create_topics_request::CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let created = client.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7).await;
    let mut asker = Asker { client, topic_id: created.topics[0].topic_id, asked: BTreeSet::new() };
    ask_about_records(&mut asker).await;
    ask_about_groups(&mut asker).await;
    ask_about_transactions(&mut asker).await;
    ask_about_transactional_ids(&mut asker).await;
    ask_about_the_cluster(&mut asker).await;
    ask_about_acls(&mut asker).await;
    ask_about_settings(&mut asker).await;
    ask_about_quotas(&mut asker).await;
    ask_about_telemetry(&mut asker).await;
    let served: BTreeSet<ApiKey> = SERVED.iter().copied().collect();
    assert_eq!(asker.asked, served, "every API is asked, and no other answers");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_ends_the_connection() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let frame = Bytes::from_static(&[0, 0, 0, 10, 0x03, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    let mut client = Client::connect(&network, 9001);
    assert!(client.is_cut_off_by(&frame).await);
    running.stop().await;
}
