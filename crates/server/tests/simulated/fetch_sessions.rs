//! Long polls of fetch sessions: whatever happens to one of many partitions reaches its reader at once.

use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::Request;
use milena_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, ProduceRequest,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Client, node};
use crate::world::Network;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 20;
/// How long the reader is willing to wait.
const WAIT: Duration = Duration::from_secs(10);
const VERSION: i16 = 12;

async fn produce(client: &mut Client, partition: i32) {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(b"value"), &[]);
    let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
    let partition_data = vec![PartitionProduceData { index: partition, records }];
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    let request = ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() };
    assert_eq!(client.ask(&request, 9).await.responses[0].partition_responses[0].error_code, 0);
}

/// Partitions with the offsets to read from.
fn fetch(session: (i32, i32), offsets: impl IntoIterator<Item = (i32, i64)>, wait: Duration) -> FetchRequest {
    let partition = |(partition, fetch_offset)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let partitions: Vec<FetchPartition> = offsets.into_iter().map(partition).collect();
    let topics = match partitions.is_empty() {
        true => Vec::new(),
        false => vec![FetchTopic { topic: TOPIC.to_owned(), partitions, ..Default::default() }],
    };
    FetchRequest {
        max_wait_ms: wait.as_millis() as i32,
        min_bytes: 1,
        session_id: session.0,
        session_epoch: session.1,
        topics,
        ..Default::default()
    }
}

/// The partitions of an answer that hold records.
fn with_records(response: &FetchResponse) -> Vec<i32> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.filter(|data| data.records.size_bytes() > 0).map(|data| data.partition_index).collect()
}

/// A session over all partitions that knows that there is nothing to read, and a second client.
async fn quiet_session(network: &Arc<Network>) -> (Client, Client, i32) {
    let (mut reader, mut other) = (Client::connect(network, 9001), Client::connect(network, 9001));
    other.create(TOPIC, PARTITIONS).await;
    let all = (0..PARTITIONS).map(|partition| (partition, 0));
    let first = reader.ask(&fetch((0, 0), all, Duration::ZERO), VERSION).await;
    assert!(first.session_id > 0);
    let second = reader.ask(&fetch((first.session_id, 1), [], Duration::ZERO), VERSION).await;
    assert!(second.responses.is_empty(), "no news");
    (reader, other, first.session_id)
}

/// What a long poll of the reader is answered when `change` happens during it, at once.
async fn answered_after<R: Request>(
    reader: &mut Client,
    poll: &FetchRequest,
    other: &mut Client,
    change: &R,
    version: i16,
) -> FetchResponse
where
    R::Response: std::fmt::Debug,
{
    reader.tell(poll, VERSION).await;
    sleep(Duration::from_secs(1)).await;
    let changed = Instant::now();
    other.ask(change, version).await;
    let response = reader.heard::<FetchRequest>(VERSION).await;
    assert!(changed.elapsed() < Duration::from_secs(1), "it waited for {:?}", changed.elapsed());
    response
}

#[tokio::test(start_paused = true)]
async fn records_end_the_long_poll_of_a_session_whichever_partition_gets_them() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let (mut reader, mut other, session) = quiet_session(&network).await;
    // Twice the same partition, with and without its new offset in between.
    let mut offsets = [0; PARTITIONS as usize];
    for (epoch, partition) in [7, 3, 7, 19, 0].into_iter().enumerate() {
        let asked = offsets.iter().enumerate().map(|(partition, offset)| (partition as i32, *offset));
        let poll = fetch((session, epoch as i32 + 2), asked.filter(|(_, offset)| *offset > 0), WAIT);
        reader.tell(&poll, VERSION).await;
        sleep(Duration::from_secs(1)).await;
        let sent = Instant::now();
        produce(&mut other, partition).await;
        assert_eq!(with_records(&reader.heard::<FetchRequest>(VERSION).await), [partition]);
        assert!(sent.elapsed() < Duration::from_secs(1));
        offsets[partition as usize] += 1;
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_between_two_polls_of_a_session_are_not_missed() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let (mut reader, mut other, session) = quiet_session(&network).await;
    produce(&mut other, 5).await;
    let asked = Instant::now();
    let response = reader.ask(&fetch((session, 2), [], WAIT), VERSION).await;
    assert_eq!(with_records(&response), [5]);
    assert!(asked.elapsed() < Duration::from_secs(1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_ends_without_records_leaves_the_session_as_it_was() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let (mut reader, mut other, session) = quiet_session(&network).await;
    let asked = Instant::now();
    assert!(reader.ask(&fetch((session, 2), [], WAIT), VERSION).await.responses.is_empty());
    assert!(asked.elapsed() >= WAIT);
    produce(&mut other, 11).await;
    assert_eq!(with_records(&reader.ask(&fetch((session, 3), [], WAIT), VERSION).await), [11]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_and_made_again_is_read_again() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let (mut reader, mut other, session) = quiet_session(&network).await;
    let delete = DeleteTopicsRequest { topic_names: vec![TOPIC.to_owned()], timeout_ms: 1000, ..Default::default() };
    other.ask(&delete, 5).await;
    other.create(TOPIC, PARTITIONS).await;
    // The session names topics by name: it is the same topic to it.
    assert!(with_records(&reader.ask(&fetch((session, 2), [], Duration::ZERO), VERSION).await).is_empty());
    assert!(with_records(&reader.ask(&fetch((session, 3), [], Duration::ZERO), VERSION).await).is_empty());
    reader.tell(&fetch((session, 4), [], WAIT), VERSION).await;
    sleep(Duration::from_secs(1)).await;
    produce(&mut other, 4).await;
    assert_eq!(with_records(&reader.heard::<FetchRequest>(VERSION).await), [4]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_ends_the_long_poll() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let (mut reader, mut other, session) = quiet_session(&network).await;
    let delete = DeleteTopicsRequest { topic_names: vec![TOPIC.to_owned()], timeout_ms: 1000, ..Default::default() };
    let poll = fetch((session, 2), [], WAIT);
    let response = answered_after(&mut reader, &poll, &mut other, &delete, 5).await;
    assert!(response.responses[0].partitions.iter().any(|data| data.error_code != 0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_start_that_moves_is_news_of_the_next_answer() {
    let network = Arc::new(Network::default());
    let running = node(&network, &MemoryDisk::new(), 9001, 1).await;
    let (mut reader, mut other, session) = quiet_session(&network).await;
    produce(&mut other, 2).await;
    assert_eq!(with_records(&reader.ask(&fetch((session, 2), [], WAIT), VERSION).await), [2]);
    assert!(reader.ask(&fetch((session, 3), [(2, 1)], Duration::ZERO), VERSION).await.responses.is_empty());
    let partitions = vec![DeleteRecordsPartition { partition_index: 2, offset: 1 }];
    let topics = vec![DeleteRecordsTopic { name: TOPIC.to_owned(), partitions }];
    other.ask(&DeleteRecordsRequest { topics, timeout_ms: 1000 }, 2).await;
    let response = reader.ask(&fetch((session, 4), [], Duration::ZERO), VERSION).await;
    let told: Vec<(i32, i64)> =
        response.responses[0].partitions.iter().map(|data| (data.partition_index, data.log_start_offset)).collect();
    assert_eq!(told, [(2, 1)]);
    running.stop().await;
}
