//! What a node goes through without harm to others: peers that vanish, groups whose records do not fit.

use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, ListOffsetsRequest, OffsetCommitRequest, ProduceRequest,
    list_offsets_request,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, Uuid};
use tokio::time::{Duration, sleep};

use crate::client::{Client, node, node_with};
use crate::world::Network;

const TOPIC: &str = "t";

#[tokio::test(start_paused = true)]
async fn what_a_vanished_producer_had_sent_is_appended() {
    let network = Arc::new(Network::default());
    // A flush for every batch: the second one is still waiting when the producer goes.
    let flushed = [("log.flush.interval.messages", "1")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &flushed).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    let mut producer = Client::connect(&network, 9001);
    for value in 0..5u8 {
        let mut builder = BatchBuilder::new();
        builder.add(Millis(1), None, Some(&[value]), &[]);
        let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
        producer.tell(&ProduceRequest { acks: 0, topic_data: vec![topic], ..Default::default() }, 9).await;
    }
    drop(producer);
    sleep(Duration::from_secs(1)).await;
    let partitions = vec![list_offsets_request::ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![list_offsets_request::ListOffsetsTopic { name: TOPIC.to_owned(), partitions }];
    let ends = client.ask(&ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }, 5).await;
    assert_eq!(ends.topics[0].partitions[0].offset, 5);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_does_not_fit_its_log_harms_no_other_group() {
    let network = Arc::new(Network::default());
    let one_shard = [("offsets.topic.num.partitions", "1"), ("offsets.topic.replication.factor", "1")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &one_shard).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 400).await;
    while client.ask(&FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() }, 1).await.error_code != 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(commit(&mut client, "g", 400, 4000).await, ErrorCode::UnknownServerError);
    // Were the shard thrown away, the next one would be told NOT_COORDINATOR.
    assert_eq!(commit(&mut client, "other", 1, 10).await, ErrorCode::None);
    let heartbeat = HeartbeatRequest { group_id: "other".to_owned(), member_id: "m".to_owned(), ..Default::default() };
    let told = client.ask(&heartbeat, 0).await.error_code;
    assert_eq!(ErrorCode::from_number(told), ErrorCode::UnknownMemberId);
    running.stop().await;
}

/// Commits an offset with `metadata_bytes` of metadata for each of so many partitions; answers the first one's code.
async fn commit(client: &mut Client, group: &str, partitions: i32, metadata_bytes: usize) -> ErrorCode {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        committed_metadata: Some("m".repeat(metadata_bytes)),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.to_owned(),
        topic_id: Uuid::ZERO,
        partitions: (0..partitions).map(partition).collect(),
    };
    let request = OffsetCommitRequest { group_id: group.to_owned(), topics: vec![topic], ..Default::default() };
    let response = client.ask(&request, 2).await;
    ErrorCode::from_number(response.topics[0].partitions[0].error_code)
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_at_once_when_its_topic_is_deleted() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 3).await;
    let mut client = Client::connect(&network, 9001);
    for _ in 0..3 {
        client.create(TOPIC, 2).await;
        let topic = milena_protocol::messages::delete_topics_request::DeleteTopicState {
            name: Some(TOPIC.to_owned()),
            ..Default::default()
        };
        let delete = milena_protocol::messages::DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
        assert_eq!(client.ask(&delete, 6).await.responses[0].error_code, 0);
    }
    running.stop().await;
}
