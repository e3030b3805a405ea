//! The seam holds: two nodes run whole on one seeded thread, with sockets, disk and clock in memory; they serve,
//! stop, lose power and come back; and the same seed gives the same story twice.

#[path = "seam/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::header::{decode_response, request_frame};
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{ApiVersionsRequest, CreateTopicsRequest, FetchRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions, batches};
use milena_protocol::wire::{Records, Segment};
use milena_protocol::{Request, Uuid};
use milena_server::{Running, Settings, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use world::{Network, SimWorld};

const TOPIC: &str = "events";

/// A client that speaks the wire and writes down what it saw, and when.
struct Client {
    stream: DuplexStream,
    started: Instant,
    story: Vec<String>,
}

impl Client {
    fn connect(network: &Network, port: u16, started: Instant) -> Client {
        let stream = network.connect(port).expect("the node listens");
        Client { stream, started, story: Vec::new() }
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        for segment in request_frame(request, version, 7, Some("seam")).expect("sayable") {
            let Segment::Bytes(bytes) = segment else { panic!("nothing external") };
            self.stream.write_all(&bytes).await.expect("connected");
        }
        let size = self.stream.read_i32().await.expect("an answer");
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.expect("an answer");
        let (_, response) = decode_response::<R>(frame.into(), version).expect("well formed");
        self.story.push(format!("{:?} {} {response:?}", self.started.elapsed(), R::NAME));
        response
    }

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

async fn node(network: &Arc<Network>, disk: &MemoryDisk, port: u16, seed: u64) -> Running<SimWorld> {
    let file = BTreeMap::from([
        ("listeners".to_owned(), format!("PLAINTEXT://127.0.0.1:{port}")),
        ("log.dirs".to_owned(), "/data".to_owned()),
    ]);
    let settings = Settings::read(file).expect("valid");
    start(SimWorld::new(network, disk, seed), settings).await.expect("the node starts")
}

/// Two nodes, one after the other stopped and started again; what was acknowledged is there.
async fn story(seed: u64) -> Vec<String> {
    let started = Instant::now();
    let network = Arc::new(Network::default());
    let disks = [MemoryDisk::new(), MemoryDisk::new()];
    let one = node(&network, &disks[0], 9001, seed).await;
    let two = node(&network, &disks[1], 9002, seed + 1).await;
    let mut clients = [Client::connect(&network, 9001, started), Client::connect(&network, 9002, started)];
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
    let mut again = Client::connect(&network, 9001, started);
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
