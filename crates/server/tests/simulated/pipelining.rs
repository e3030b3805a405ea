//! Produce requests of one connection overlap, and the partitions of one request are flushed side by side; nobody
//! else overtakes anybody.

use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::produce_response::PartitionProduceResponse;
use milena_protocol::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_server::Running;
use tokio::time::{Duration, Instant};

use crate::client::{Client, node_with};
use crate::world::{Network, SimWorld};

const TOPIC: &str = "t";
const VERSION: i16 = 9;
/// Longest time of a job on the simulated pool.
const JOB: Duration = Duration::from_millis(3);

/// A node that acknowledges after a flush, a topic on it, and a client.
async fn flushing_node(disk: &MemoryDisk, partitions: i32) -> (Running<SimWorld>, Client) {
    let network = Arc::new(Network::default());
    let running = node_with(&network, disk, 9001, 1, &[("log.flush.interval.messages", "1")]).await;
    let mut client = Client::connect(&network, 9001);
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(client.ask(&request, 7).await.topics[0].error_code, 0);
    (running, client)
}

fn one_record() -> Records {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(b"value"), &[]);
    Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"))
}

fn produce_to(partitions: std::ops::Range<i32>) -> ProduceRequest {
    let partition_data = partitions.map(|index| PartitionProduceData { index, records: one_record() }).collect();
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], transactional_id: None }
}

async fn acknowledged(client: &mut Client) -> PartitionProduceResponse {
    client.hear::<ProduceRequest>(VERSION).await.responses[0].partition_responses[0].clone()
}

#[tokio::test(start_paused = true)]
async fn consecutive_produce_requests_share_a_flush_and_are_answered_in_order() {
    let disk = MemoryDisk::new();
    let (running, mut client) = flushing_node(&disk, 1).await;
    client.ask(&produce_to(0..1), VERSION).await;
    let flushed_before = disk.flushes();
    for _ in 0..40 {
        client.tell(&produce_to(0..1), VERSION).await;
    }
    for offset in 1..=40 {
        let answer = acknowledged(&mut client).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
    // Sixteen at a time; the first of a batch of requests may be flushed alone. One by one it would be 40.
    let flushes = disk.flushes() - flushed_before;
    assert!((3..=8).contains(&flushes), "{flushes} flushes");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_request_is_answered_after_every_produce_before_it() {
    let (running, mut client) = flushing_node(&MemoryDisk::new(), 1).await;
    for _ in 0..3 {
        client.tell(&produce_to(0..1), VERSION).await;
    }
    client.tell(&MetadataRequest::default(), 9).await;
    client.tell(&produce_to(0..1), VERSION).await;
    for offset in 0..3 {
        assert_eq!(acknowledged(&mut client).await.base_offset, offset);
    }
    assert_eq!(client.hear::<MetadataRequest>(9).await.brokers.len(), 1);
    assert_eq!(acknowledged(&mut client).await.base_offset, 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn partitions_of_one_request_are_flushed_side_by_side() {
    let (running, mut client) = flushing_node(&MemoryDisk::new(), 32).await;
    let begun = Instant::now();
    let response = client.ask(&produce_to(0..32), VERSION).await;
    assert!(response.responses[0].partition_responses.iter().all(|answer| answer.error_code == 0));
    // One after another, 32 jobs would take half of the longest time each on average.
    assert!(begun.elapsed() < 2 * JOB, "{:?}", begun.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_no_more_still_gets_its_answers() {
    let (running, mut client) = flushing_node(&MemoryDisk::new(), 1).await;
    for _ in 0..3 {
        client.tell(&produce_to(0..1), VERSION).await;
    }
    client.say_no_more().await;
    for offset in 0..3 {
        assert_eq!(acknowledged(&mut client).await.base_offset, offset);
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_acknowledges_none_of_the_requests_that_waited_for_it() {
    let disk = MemoryDisk::new();
    let (running, mut client) = flushing_node(&disk, 1).await;
    client.ask(&produce_to(0..1), VERSION).await;
    disk.break_flushes();
    for _ in 0..5 {
        client.tell(&produce_to(0..1), VERSION).await;
    }
    for _ in 0..5 {
        let answer = acknowledged(&mut client).await;
        assert_eq!(ErrorCode::from_number(answer.error_code), ErrorCode::KafkaStorageError);
        assert_eq!(answer.base_offset, -1);
    }
    drop(running);
}
