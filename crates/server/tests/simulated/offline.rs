//! Replicas that cannot be opened: their clients are told so, the others are served, and when the cause is gone they
//! come back by themselves.

use std::path::Path;
use std::sync::Arc;

use milena_base::Disk;
use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::delete_topics_request::DeleteTopicState;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{DeleteTopicsRequest, FetchRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_server::{Settings, StartError, start};
use tokio::time::{Duration, sleep};

use crate::client::{Client, node};
use crate::world::{Network, SimWorld};

pub(crate) async fn produce(client: &mut Client, topic: &str) -> Result<i64, ErrorCode> {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1_700_000_000_000), None, Some(b"a"), &[]);
    let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], transactional_id: None };
    let answer = &client.ask(&request, 9).await.responses[0].partition_responses[0];
    match answer.error_code {
        0 => Ok(answer.base_offset),
        code => Err(ErrorCode::from_number(code)),
    }
}

/// As clients did that read from leaders alone.
pub(crate) async fn fetch(client: &mut Client, topic: &str) -> ErrorCode {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 0, topics: vec![topic], ..Default::default() };
    ErrorCode::from_number(client.ask(&request, 10).await.responses[0].partitions[0].error_code)
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_directory_cannot_be_read_comes_back_without_a_restart() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    let mut client = Client::connect(&network, 9001);
    for topic in ["one", "two"] {
        client.create(topic, 1).await;
        assert_eq!(produce(&mut client, topic).await, Ok(0));
    }
    running.stop().await;
    disk.deny(Path::new("/data/one-0"), true);
    let running = node(&network, &disk, 9001, 2).await;
    let mut client = Client::connect(&network, 9001);
    assert_eq!(produce(&mut client, "one").await, Err(ErrorCode::KafkaStorageError));
    assert_eq!(fetch(&mut client, "one").await, ErrorCode::KafkaStorageError);
    assert_eq!(produce(&mut client, "two").await, Ok(1));
    sleep(Duration::from_secs(300)).await;
    assert_eq!(fetch(&mut client, "one").await, ErrorCode::KafkaStorageError);
    disk.deny(Path::new("/data/one-0"), false);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(produce(&mut client, "one").await, Ok(1), "behind the record of before");
    assert_eq!(fetch(&mut client, "one").await, ErrorCode::None);
    running.stop().await;
    let running = node(&network, &disk, 9001, 3).await;
    assert_eq!(produce(&mut Client::connect(&network, 9001), "one").await, Ok(2));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_whose_directory_cannot_be_made_is_there_when_it_can() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    let mut client = Client::connect(&network, 9001);
    for topic in ["one", "gone"] {
        disk.deny(Path::new(&format!("/data/{topic}-0")), true);
        client.create(topic, 1).await;
        assert_eq!(produce(&mut client, topic).await, Err(ErrorCode::KafkaStorageError));
    }
    let topics = vec![DeleteTopicState { name: Some("gone".to_owned()), ..Default::default() }];
    let deleted = client.ask(&DeleteTopicsRequest { topics, ..Default::default() }, 6).await;
    assert_eq!(deleted.responses[0].error_code, 0);
    disk.deny(Path::new("/data/one-0"), false);
    disk.deny(Path::new("/data/gone-0"), false);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(produce(&mut client, "one").await, Ok(0));
    let made = |path: &std::path::PathBuf| path.starts_with("/data/gone-0");
    assert!(!disk.paths().iter().any(made), "a deleted topic is not tried again");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_a_former_topic_of_the_same_name_is_set_aside() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    let mut client = Client::connect(&network, 9001);
    client.create("one", 1).await;
    assert_eq!(produce(&mut client, "one").await, Ok(0));
    running.stop().await;
    let former = b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ";
    let file = disk.open_existing(Path::new("/data/one-0/partition.metadata")).expect("there");
    milena_base::DiskFile::write_at(&file, former, 0).expect("room");
    let running = node(&network, &disk, 9001, 2).await;
    assert_eq!(produce(&mut Client::connect(&network, 9001), "one").await, Ok(0), "an empty log");
    assert!(disk.paths().iter().any(|path| path.to_string_lossy().contains("-stray/")), "the former one is kept");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_metadata_are_gone_does_not_start_and_changes_nothing() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    Client::connect(&network, 9001).create("one", 1).await;
    running.stop().await;
    let metadata = |path: &std::path::PathBuf| path.starts_with("/data/__cluster_metadata-0");
    let kept: Vec<_> = disk.paths().into_iter().filter(metadata).collect();
    let backup: Vec<_> = kept.iter().map(|path| milena_base::disk::read_file(&disk, path).expect("there")).collect();
    disk.remove_dir_all(Path::new("/data/__cluster_metadata-0")).expect("there");
    let file = [("listeners", "PLAINTEXT://127.0.0.1:9001"), ("log.dirs", "/data")];
    let file = file.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let failed = start(SimWorld::new(&network, &disk, 2), Settings::read(file).expect("valid")).await;
    let Err(StartError::Startup(failure)) = failed else { panic!("it started") };
    let text = failure.to_string();
    assert!(text.contains("one-0") && text.contains("Nothing was changed"), "{text}");
    assert!(disk.list(Path::new("/data/__cluster_metadata-0")).is_err(), "nothing was made in its place");
    disk.create_dir_all(Path::new("/data/__cluster_metadata-0")).expect("a disk");
    for (path, contents) in kept.iter().zip(backup) {
        let file = disk.open(path).expect("a directory");
        milena_base::DiskFile::write_at(&file, &contents, 0).expect("room");
    }
    let running = node(&network, &disk, 9001, 3).await;
    assert_eq!(produce(&mut Client::connect(&network, 9001), "one").await, Ok(0), "a backup brings it back");
    running.stop().await;
}
