//! Consecutive Produce requests of one connection overlap while the device is at work; nothing else does, and answers
//! keep the order of requests. Time stands still but for the device, so it counts the flushes that were waited for.

use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{ListOffsetsRequest, ProduceRequest, list_offsets_request};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use tokio::time::{Duration, Instant};

use crate::client::{Client, node_with};
use crate::world::{JOB_MAX, Network};

pub(crate) const TOPIC: &str = "t";

/// One record for each of the first `partitions` partitions.
pub(crate) fn produce(partitions: i32) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(b"value"), &[]);
    let batch = builder.build(&BatchOptions::default()).expect("not compressed");
    let data = |index| PartitionProduceData { index, records: Records::Bytes(batch.clone()) };
    let partition_data = (0..partitions).map(data).collect();
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

pub(crate) fn log_end() -> ListOffsetsRequest {
    let partitions = vec![list_offsets_request::ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![list_offsets_request::ListOffsetsTopic { name: TOPIC.to_owned(), partitions }];
    ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
}

/// A node that acknowledges after a flush, and a client of it.
macro_rules! flushing_node {
    ($running:ident, $client:ident, $partitions:expr) => {
        let network = Arc::new(Network::default());
        let flushed = [("log.flush.interval.messages", "1")];
        let $running = node_with(&network, &MemoryDisk::new(), 9001, 1, &flushed).await;
        let mut $client = Client::connect(&network, 9001);
        $client.create(TOPIC, $partitions).await;
    };
}

#[tokio::test(start_paused = true)]
async fn requests_behind_one_another_share_a_flush() {
    flushing_node!(running, client, 1);
    let started = Instant::now();
    for _ in 0..16 {
        client.tell(&produce(1), 9).await;
    }
    for offset in 0..16 {
        let answer = client.heard::<ProduceRequest>(9).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset, "answers keep their order");
    }
    // The first request has a flush of its own, all others share the second.
    assert!(started.elapsed() <= 2 * JOB_MAX, "{:?}", started.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_partitions_of_a_request_are_flushed_side_by_side() {
    flushing_node!(running, client, 32);
    let started = Instant::now();
    let answer = client.ask(&produce(32), 9).await;
    assert!(answer.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
    assert!(started.elapsed() <= JOB_MAX, "{:?}", started.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_request_waits_for_the_produce_before_it() {
    flushing_node!(running, client, 1);
    client.tell(&produce(1), 9).await;
    client.tell(&log_end(), 5).await;
    client.tell(&produce(1), 9).await;
    let first = client.heard::<ProduceRequest>(9).await;
    assert_eq!(first.responses[0].partition_responses[0].base_offset, 0);
    let end = client.heard::<ListOffsetsRequest>(5).await;
    assert_eq!(end.topics[0].partitions[0].offset, 1, "what was asked sees the records before it, and only those");
    let second = client.heard::<ProduceRequest>(9).await;
    assert_eq!(second.responses[0].partition_responses[0].base_offset, 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_not_answered_before_the_one_that_waits() {
    flushing_node!(running, client, 1);
    client.tell(&produce(1), 9).await;
    client.tell(&ProduceRequest { acks: 7, ..produce(1) }, 9).await;
    let errors = [client.heard::<ProduceRequest>(9).await, client.heard::<ProduceRequest>(9).await]
        .map(|answer| answer.responses[0].partition_responses[0].error_code);
    assert_eq!(errors, [0, 21]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_no_more_still_gets_its_answers() {
    flushing_node!(running, client, 1);
    for _ in 0..3 {
        client.tell(&produce(1), 9).await;
    }
    client.sends_no_more().await;
    for offset in 0..3 {
        let answer = client.heard::<ProduceRequest>(9).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_leaves_no_answer_out() {
    flushing_node!(running, client, 1);
    client.tell(&produce(1), 9).await;
    let deleted = milena_protocol::messages::DeleteTopicsRequest {
        topic_names: vec![TOPIC.to_owned()],
        timeout_ms: 1000,
        ..Default::default()
    };
    client.tell(&deleted, 5).await;
    client.tell(&produce(1), 9).await;
    let first = client.heard::<ProduceRequest>(9).await;
    assert_eq!(first.responses[0].partition_responses[0].error_code, 0, "it waited for its flush");
    let gone = client.heard::<milena_protocol::messages::DeleteTopicsRequest>(5).await;
    assert_eq!(gone.responses[0].error_code, 0);
    let last = client.heard::<ProduceRequest>(9).await;
    assert_ne!(last.responses[0].partition_responses[0].error_code, 0);
    tokio::time::sleep(Duration::from_millis(10)).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_acknowledges_none_of_the_requests_that_waited_for_it() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node_with(&network, &disk, 9001, 1, &[("log.flush.interval.messages", "1")]).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    client.ask(&produce(1), 9).await;
    disk.break_flushes();
    for _ in 0..5 {
        client.tell(&produce(1), 9).await;
    }
    for _ in 0..5 {
        let answer = client.heard::<ProduceRequest>(9).await.responses[0].partition_responses[0].clone();
        assert_eq!((answer.error_code, answer.base_offset), (56, -1), "KAFKA_STORAGE_ERROR, and no offset");
    }
    drop(running);
}
