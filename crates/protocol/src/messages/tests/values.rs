//! Messages with values of our choosing, so that a field in another's place would show: what Kafka's setters and
//! ours make of the same values.

use super::*;
use api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    SnapshotId,
};
use find_coordinator_response::Coordinator;
use join_group_request::JoinGroupRequestProtocol;
use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use produce_request::{PartitionProduceData, TopicProduceData};
use register_broker_record::{BrokerEndpoint, BrokerFeature};

fn id(number: u8) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].fill(0x11 * number);
    bytes[15] = number;
    Uuid(bytes)
}

fn records(bytes: &'static [u8]) -> Records {
    Records::Bytes(Bytes::from_static(bytes))
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// The value is written as Kafka writes it, and read as what it was.
fn holds<M: Message + PartialEq + std::fmt::Debug>(message: M, version: i16) {
    let golden = golden(include_str!("../../../golden/values.txt"))[&(M::NAME, version)].clone();
    assert_eq!(message.to_bytes(version), Ok(golden.clone()), "{} {version}", M::NAME);
    assert_eq!(M::from_bytes(golden, version), Ok(message), "{} {version}", M::NAME);
}

#[test]
fn produce_requests_are_kafkas() {
    let partition_data = vec![
        PartitionProduceData { index: 1, records: records(&[1, 2, 3]) },
        PartitionProduceData { index: 2, records: Records::Null },
    ];
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData { name: "topic".into(), partition_data, ..Default::default() }],
        ..Default::default()
    };
    holds(request.clone(), 3);
    let topic = TopicProduceData { name: String::new(), topic_id: id(1), ..request.topic_data[0].clone() };
    holds(ProduceRequest { transactional_id: text("tx"), topic_data: vec![topic], ..request }, 13);
}

#[test]
fn fetch_responses_are_kafkas() {
    let full = PartitionData {
        partition_index: 1,
        error_code: 2,
        high_watermark: 3,
        last_stable_offset: 4,
        aborted_transactions: Some(vec![AbortedTransaction { producer_id: 5, first_offset: 6 }]),
        records: records(&[7, 8]),
        ..Default::default()
    };
    let bare =
        PartitionData { partition_index: 9, high_watermark: 10, aborted_transactions: None, ..Default::default() };
    let topic = |partitions| FetchableTopicResponse { partitions, ..Default::default() };
    let named = FetchableTopicResponse { topic: "topic".into(), ..topic(vec![full.clone(), bare.clone()]) };
    holds(FetchResponse { throttle_time_ms: 11, responses: vec![named], ..Default::default() }, 4);
    let fuller = PartitionData {
        log_start_offset: 14,
        preferred_read_replica: 15,
        diverging_epoch: EpochEndOffset { epoch: 16, end_offset: 17 },
        current_leader: LeaderIdAndEpoch { leader_id: 18, leader_epoch: 19 },
        snapshot_id: SnapshotId { end_offset: 20, epoch: 21 },
        ..full
    };
    let identified = FetchableTopicResponse { topic_id: id(2), ..topic(vec![fuller, bare]) };
    let response = FetchResponse {
        throttle_time_ms: 11,
        error_code: 12,
        session_id: 13,
        responses: vec![identified],
        node_endpoints: vec![NodeEndpoint { node_id: 21, host: "h".into(), port: 22, rack: None }],
    };
    holds(response, 18);
}

#[test]
fn metadata_responses_are_kafkas() {
    let partition = MetadataResponsePartition {
        error_code: 1,
        partition_index: 2,
        leader_id: 3,
        replica_nodes: vec![4, 5],
        isr_nodes: vec![6],
        ..Default::default()
    };
    let topic = MetadataResponseTopic { error_code: 7, name: text("topic"), ..Default::default() };
    let broker = MetadataResponseBroker { node_id: 8, host: "host".into(), port: 9, ..Default::default() };
    let oldest = MetadataResponse {
        brokers: vec![broker.clone()],
        topics: vec![MetadataResponseTopic { partitions: vec![partition.clone()], ..topic.clone() }],
        ..Default::default()
    };
    holds(oldest, 0);
    let partition = MetadataResponsePartition { leader_epoch: 10, offline_replicas: vec![11], ..partition };
    let topic = MetadataResponseTopic {
        topic_id: id(3),
        is_internal: true,
        topic_authorized_operations: 12,
        partitions: vec![partition],
        ..topic
    };
    let newest = MetadataResponse {
        throttle_time_ms: 13,
        brokers: vec![MetadataResponseBroker { rack: text("rack"), ..broker }],
        cluster_id: text("cluster"),
        controller_id: 14,
        topics: vec![topic],
        error_code: 15,
        ..Default::default()
    };
    holds(newest, 13);
}

#[test]
fn api_versions_responses_are_kafkas() {
    let oldest = ApiVersionsResponse {
        error_code: 35,
        api_keys: vec![ApiVersion { api_key: 1, min_version: 2, max_version: 3 }],
        ..Default::default()
    };
    holds(oldest.clone(), 0);
    let newest = ApiVersionsResponse {
        throttle_time_ms: 4,
        supported_features: vec![SupportedFeatureKey { name: "f".into(), min_version: 0, max_version: 7 }],
        finalized_features_epoch: 5,
        finalized_features: vec![FinalizedFeatureKey { name: "g".into(), max_version_level: 8, min_version_level: 9 }],
        zk_migration_ready: true,
        ..oldest
    };
    holds(newest, 4);
}

#[test]
fn create_topics_requests_are_kafkas() {
    let topic = CreatableTopic {
        name: "topic".into(),
        num_partitions: 3,
        replication_factor: 2,
        assignments: vec![CreatableReplicaAssignment { partition_index: 1, broker_ids: vec![4, 5] }],
        configs: vec![
            CreatableTopicConfig { name: "k".into(), value: text("v") },
            CreatableTopicConfig { name: "n".into(), value: None },
        ],
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 6, validate_only: false };
    holds(request.clone(), 2);
    holds(CreateTopicsRequest { validate_only: true, ..request }, 7);
}

#[test]
fn init_producer_id_requests_are_kafkas() {
    let oldest = InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 1, ..Default::default() };
    holds(oldest.clone(), 0);
    holds(InitProducerIdRequest { transactional_id: text("tx"), producer_id: 2, producer_epoch: 3, ..oldest }, 5);
}

#[test]
fn join_group_requests_are_kafkas() {
    let oldest = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 1,
        member_id: "m".into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(&[1, 2]) }],
        ..Default::default()
    };
    holds(oldest.clone(), 0);
    let newest =
        JoinGroupRequest { rebalance_timeout_ms: 2, group_instance_id: text("i"), reason: text("why"), ..oldest };
    holds(newest, 9);
}

#[test]
fn offset_commit_requests_are_kafkas() {
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: 2,
        committed_metadata: None,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic { partitions: vec![partition.clone()], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 3,
        member_id: "m".into(),
        ..Default::default()
    };
    let named = OffsetCommitRequestTopic { name: "topic".into(), ..topic.clone() };
    holds(OffsetCommitRequest { retention_time_ms: 4, topics: vec![named], ..request.clone() }, 2);
    let partition =
        OffsetCommitRequestPartition { committed_leader_epoch: 5, committed_metadata: text("meta"), ..partition };
    let identified = OffsetCommitRequestTopic { topic_id: id(4), partitions: vec![partition], ..topic };
    holds(OffsetCommitRequest { group_instance_id: text("i"), topics: vec![identified], ..request }, 10);
}

#[test]
fn list_offsets_responses_are_kafkas() {
    let partition = ListOffsetsPartitionResponse {
        partition_index: 1,
        error_code: 2,
        timestamp: 3,
        offset: 4,
        ..Default::default()
    };
    let response = |throttle_time_ms, partition| ListOffsetsResponse {
        throttle_time_ms,
        topics: vec![ListOffsetsTopicResponse { name: "topic".into(), partitions: vec![partition] }],
    };
    let newest = ListOffsetsPartitionResponse { leader_epoch: 5, ..partition.clone() };
    holds(response(0, partition), 1);
    holds(response(6, newest), 11);
}

#[test]
fn find_coordinator_responses_are_kafkas() {
    holds(FindCoordinatorResponse { error_code: 1, node_id: 2, host: "h".into(), port: 3, ..Default::default() }, 0);
    let coordinator =
        Coordinator { key: "k".into(), node_id: 5, host: "h".into(), port: 6, error_code: 7, error_message: None };
    holds(FindCoordinatorResponse { throttle_time_ms: 4, coordinators: vec![coordinator], ..Default::default() }, 6);
}

#[test]
fn partition_records_are_kafkas() {
    let oldest = PartitionRecord {
        partition_id: 1,
        topic_id: id(5),
        replicas: vec![2, 3],
        isr: vec![4],
        adding_replicas: vec![5],
        leader: 6,
        leader_recovery_state: 1,
        leader_epoch: 7,
        partition_epoch: 8,
        ..Default::default()
    };
    holds(oldest.clone(), 0);
    let newest = PartitionRecord {
        directories: vec![id(6), id(7)],
        eligible_leader_replicas: Some(vec![9]),
        last_known_elr: Some(vec![10]),
        ..oldest
    };
    holds(newest, 2);
}

#[test]
fn register_broker_records_are_kafkas() {
    let end_point = BrokerEndpoint { name: "PLAINTEXT".into(), host: "h".into(), port: u16::MAX, security_protocol: 3 };
    let oldest = RegisterBrokerRecord {
        broker_id: 1,
        incarnation_id: id(8),
        broker_epoch: 2,
        end_points: vec![end_point],
        features: vec![BrokerFeature { name: "f".into(), min_supported_version: 4, max_supported_version: 5 }],
        rack: text("r"),
        fenced: true,
        ..Default::default()
    };
    holds(oldest.clone(), 0);
    holds(RegisterBrokerRecord { in_controlled_shutdown: true, log_dirs: vec![id(9)], ..oldest }, 4);
}
