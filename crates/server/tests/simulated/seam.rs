//! The seam holds: two nodes run whole on one seeded thread, with sockets, disk and clock in memory; they serve,
//! stop, lose power and come back; and the same seed gives the same story twice.

use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::Uuid;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{ApiVersionsRequest, CreateTopicsRequest, FetchRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions, batches};
use milena_protocol::wire::Records;

use crate::client::{Client, node, node_with};
use crate::world::Network;

const TOPIC: &str = "events";

/// What the story needs of a client.
trait Storyteller {
    async fn create_topic(&mut self);
    async fn produce(&mut self, value: &str) -> i64;
    async fn read_all(&mut self) -> Vec<Bytes>;
}

impl Storyteller for Client {
    async fn create_topic(&mut self) {
        let topic =
            CreatableTopic { name: TOPIC.to_owned(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let response = self.ask(&request, 7).await;
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    async fn produce(&mut self, value: &str) -> i64 {
        let mut builder = BatchBuilder::new();
        builder.add(Millis(1_700_000_000_000), Some(b"key"), Some(value.as_bytes()), &[]);
        let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], transactional_id: None };
        let response = self.ask(&request, 9).await;
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, 0, "{answer:?}");
        answer.base_offset
    }

    async fn read_all(&mut self) -> Vec<Bytes> {
        let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic: TOPIC.to_owned(), topic_id: Uuid::ZERO, partitions: vec![partition] };
        let request = FetchRequest { max_wait_ms: 100, min_bytes: 1, topics: vec![topic], ..Default::default() };
        let response = self.ask(&request, 11).await;
        let Records::Bytes(bytes) = &response.responses[0].partitions[0].records else { panic!("no records") };
        let records = batches(bytes.clone()).flat_map(|batch| batch.expect("whole").records(1 << 20).expect("plain"));
        records.map(|record| record.expect("well formed").value.expect("a value")).collect()
    }
}

/// What fits into an answer is all that is waited for, whatever `min_bytes` says.
#[tokio::test(start_paused = true)]
async fn a_full_answer_does_not_wait_for_more() {
    let network = Arc::new(Network::default());
    let node = node(&network, &MemoryDisk::new(), 9003, 7).await;
    let mut client = Client::connect(&network, 9003);
    client.create_topic().await;
    client.produce("a").await;
    let begun = tokio::time::Instant::now();
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    let (max_wait_ms, min_bytes, max_bytes) = (60_000, 1000, 10);
    let request = FetchRequest { max_wait_ms, min_bytes, max_bytes, topics: vec![topic], ..Default::default() };
    let response = client.ask(&request, 11).await;
    assert!(response.responses[0].partitions[0].records.size_bytes() > 10, "the first batch comes whole");
    assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    node.stop().await;
}

/// Two nodes, one after the other stopped and started again; what was acknowledged is there.
async fn story(seed: u64) -> Vec<String> {
    let network = Arc::new(Network::default());
    let disks = [MemoryDisk::new(), MemoryDisk::new()];
    let one = node(&network, &disks[0], 9001, seed).await;
    let two = node(&network, &disks[1], 9002, seed + 1).await;
    let mut clients = [Client::connect(&network, 9001), Client::connect(&network, 9002)];
    for (client, values) in clients.iter_mut().zip([["a", "b"], ["c", "d"]]) {
        let named =
            ApiVersionsRequest { client_software_name: "seam".to_owned(), client_software_version: "1".to_owned() };
        assert_eq!(client.ask(&named, 3).await.error_code, 0);
        client.create_topic().await;
        for (value, offset) in values.into_iter().zip(0..) {
            assert_eq!(client.produce(value).await, offset);
        }
    }
    one.stop().await;
    let one = node(&network, &disks[0], 9001, seed + 2).await;
    let mut again = Client::connect(&network, 9001);
    assert_eq!(again.read_all().await, ["a", "b"], "a stopped node comes back with its records");
    assert_eq!(clients[1].read_all().await, ["c", "d"], "the other node was not disturbed");
    one.stop().await;
    two.stop().await;
    let [first, second] = clients;
    [first.story, second.story, again.story].concat()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_serve_stop_and_come_back() {
    assert!(story(1).await.len() > 8);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_story() {
    let (first, second) = (story(42).await, story(42).await);
    assert_eq!(first, second);
    assert_ne!(first, story(43).await, "another seed gives other ids and times");
}

#[tokio::test(start_paused = true)]
async fn what_was_flushed_before_its_acknowledgement_survives_a_power_loss() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let flushed = [("log.flush.interval.messages", "1")];
    let running = node_with(&network, &disk, 9001, 7, &flushed).await;
    let mut client = Client::connect(&network, 9001);
    client.create_topic().await;
    for (value, offset) in ["a", "b", "c"].into_iter().zip(0..) {
        assert_eq!(client.produce(value).await, offset);
    }
    let survivor = disk.after_power_loss();
    let network = Arc::new(Network::default());
    let again = node_with(&network, &survivor, 9001, 8, &flushed).await;
    let mut client = Client::connect(&network, 9001);
    assert_eq!(client.read_all().await, ["a", "b", "c"]);
    again.stop().await;
    running.stop().await;
}
