//! One client must not keep another one waiting for all that it has asked: a connection has its share of a core, then
//! others have theirs. Time stands still, so what is counted is how much is done for the one before the other is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_disk::MemoryDisk;
use milena_protocol::Request;
use milena_protocol::header::request_frame;
use milena_protocol::messages::*;
use milena_protocol::wire::Segment;
use milena_server::Running;
use tokio::io::{AsyncWriteExt, DuplexStream, copy, sink, split};

use crate::client::{Client, node_with};
use crate::pipelining::{TOPIC, log_end, produce};
use crate::world::{Network, SimWorld};

/// Requests that one connection sends at once.
const FLOOD: usize = 10_000;
/// Of these, the most that are served between two answers of the other connection: two of its turns. All that fits one
/// read of a socket would be 400, and the socket is read again and again.
const SERVED_BETWEEN_MAX: i64 = 260;
/// Things that a request of one frame names, which is as long as a socket of the simulation takes at once.
const NAMES: i32 = 5000;
/// The other connection is answered so often at least while such a request is worked on.
const ROUNDS_MIN: usize = 3;

/// A node with a topic that has no more than one partition.
async fn node(network: &Arc<Network>) -> (Running<SimWorld>, Client) {
    let running = node_with(network, &MemoryDisk::new(), 9001, 1, &[]).await;
    let mut client = Client::connect(network, 9001);
    client.create(TOPIC, 1).await;
    (running, client)
}

fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    let segments = request_frame(request, version, 7, Some("flood")).expect("sayable");
    let bytes = segments.into_iter().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes,
        Segment::External(_) => panic!("nothing external"),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// Sends everything at once, and reads whatever is answered.
fn flood(stream: DuplexStream, bytes: Vec<u8>) {
    let (mut answers, mut requests) = split(stream);
    tokio::spawn(async move { requests.write_all(&bytes).await });
    tokio::spawn(async move { copy(&mut answers, &mut sink()).await });
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_of_one_connection_let_another_one_pass() {
    let network = Arc::new(Network::default());
    let (running, mut client) = node(&network).await;
    flood(network.connect(9001).expect("the node listens"), frame(&produce(1), 9).repeat(FLOOD));
    let (mut before, mut most) = (0, 0);
    while before < FLOOD as i64 {
        // Each request of the flood appends one record: the log's end says how many were served.
        let served = client.ask(&log_end(), 5).await.topics[0].partitions[0].offset;
        (before, most) = (served, most.max(served - before));
    }
    assert!(most <= SERVED_BETWEEN_MAX, "{most} requests were served before another connection was heard");
    running.stop().await;
}

/// How often another client is answered while a request is worked on.
async fn rounds_beside<R>(request: R, version: i16) -> usize
where
    R: Request + Sync + 'static,
    R::Response: std::fmt::Debug,
{
    let network = Arc::new(Network::default());
    let (running, mut client) = node(&network).await;
    let mut long = Client::connect(&network, 9001);
    // Both connections are known to the node before anything is counted.
    long.ask(&log_end(), 5).await;
    long.tell(&request, version).await;
    let is_answered = Arc::new(AtomicBool::new(false));
    let answered = Arc::clone(&is_answered);
    tokio::spawn(async move {
        long.heard::<R>(version).await;
        answered.store(true, Ordering::Relaxed);
    });
    let mut rounds = 0;
    while !is_answered.load(Ordering::Relaxed) {
        client.ask(&log_end(), 5).await;
        rounds += 1;
    }
    running.stop().await;
    rounds
}

/// Holds every request given against the limit.
macro_rules! others_pass {
    ($($request:expr, $version:expr;)*) => {
        let mut wrong = Vec::new();
        $(
            let request = $request;
            let name = stringify!($request).split([' ', '{', '(']).next().unwrap_or_default();
            let rounds = rounds_beside(request, $version).await;
            if rounds < ROUNDS_MIN {
                wrong.push(format!("{name}: {rounds}"));
            }
        )*
        assert!(wrong.is_empty(), "others were heard too seldom: {wrong:?}");
    };
}

/// Names of some bytes, so that they all fit one frame.
fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|number| format!("{number:x}"))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_names_very_many_partitions_lets_others_pass() {
    let listed = |partition_index| list_offsets_request::ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..Default::default()
    };
    let listed = list_offsets_request::ListOffsetsTopic {
        name: TOPIC.to_owned(),
        partitions: (0..NAMES / 2).map(listed).collect(),
    };
    let ended =
        |partition| offset_for_leader_epoch_request::OffsetForLeaderPartition { partition, ..Default::default() };
    let ended = offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: TOPIC.to_owned(),
        partitions: (0..NAMES).map(ended).collect(),
    };
    let fetched = |partition| fetch_request::FetchPartition { partition, ..Default::default() };
    let fetched = fetch_request::FetchTopic {
        topic: TOPIC.to_owned(),
        partitions: (0..NAMES / 3).map(fetched).collect(),
        ..Default::default()
    };
    let produced = |index| produce_request::PartitionProduceData { index, ..Default::default() };
    let produced = produce_request::TopicProduceData {
        name: TOPIC.to_owned(),
        partition_data: (0..NAMES).map(produced).collect(),
        ..Default::default()
    };
    let described =
        describe_producers_request::TopicRequest { name: TOPIC.to_owned(), partition_indexes: (0..NAMES).collect() };
    let deleted = |partition_index| delete_records_request::DeleteRecordsPartition { partition_index, offset: 0 };
    let deleted = delete_records_request::DeleteRecordsTopic {
        name: TOPIC.to_owned(),
        partitions: (0..NAMES / 2).map(deleted).collect(),
    };
    let marked = write_txn_markers_request::WritableTxnMarkerTopic {
        name: TOPIC.to_owned(),
        partition_indexes: (0..NAMES).collect(),
    };
    let marker = write_txn_markers_request::WritableTxnMarker { topics: vec![marked], ..Default::default() };
    others_pass! {
        ListOffsetsRequest { replica_id: -1, topics: vec![listed], ..Default::default() }, 5;
        OffsetForLeaderEpochRequest { topics: vec![ended], ..Default::default() }, 4;
        FetchRequest { topics: vec![fetched], session_epoch: -1, ..Default::default() }, 7;
        ProduceRequest { acks: 1, topic_data: vec![produced], ..Default::default() }, 9;
        DescribeProducersRequest { topics: vec![described] }, 0;
        DeleteRecordsRequest { topics: vec![deleted], ..Default::default() }, 2;
        WriteTxnMarkersRequest { markers: vec![marker] }, 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_names_very_many_topics_lets_others_pass() {
    let asked = |name| metadata_request::MetadataRequestTopic { name: Some(name), ..Default::default() };
    let described = |name| describe_topic_partitions_request::TopicRequest { name };
    let configured = |resource_name| describe_configs_request::DescribeConfigsResource {
        resource_type: 2,
        resource_name,
        ..Default::default()
    };
    let committed = |name| offset_commit_request::OffsetCommitRequestTopic {
        name,
        partitions: vec![offset_commit_request::OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let deleted = |name| offset_delete_request::OffsetDeleteRequestTopic { name, ..Default::default() };
    others_pass! {
        FindCoordinatorRequest { key_type: 1, coordinator_keys: names().collect(), ..Default::default() }, 4;
        MetadataRequest { topics: Some(names().map(asked).collect()), ..Default::default() }, 9;
        DescribeTopicPartitionsRequest { topics: names().map(described).collect(), ..Default::default() }, 0;
        DescribeConfigsRequest { resources: names().map(configured).collect(), ..Default::default() }, 4;
        OffsetCommitRequest { topics: names().take(2500).map(committed).collect(), ..Default::default() }, 8;
        OffsetDeleteRequest { topics: names().map(deleted).collect(), ..Default::default() }, 0;
    }
}
