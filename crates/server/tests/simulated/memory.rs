//! A node with little memory for requests, and clients that would take much of it: those that do not read their answers,
//! and those that send large frames. Others are served all the while.

use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{DescribeConfigsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_server::Running;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Client, node_with};
use crate::metrics::told;
use crate::world::{Network, SimWorld};

const TOPIC: &str = "t";
/// A quarter of it is for answers, half of it for frames.
const MEMORY_BYTES: usize = 1 << 20;

/// A node with little memory, and a client that has made a topic.
async fn small_node(network: &Arc<Network>) -> (Running<SimWorld>, Client) {
    let memory = MEMORY_BYTES.to_string();
    let settings = [
        ("memory.request.bytes", memory.as_str()),
        ("socket.request.max.bytes", "400000"),
        ("metrics.listen", "127.0.0.1:9404"),
    ];
    let running = node_with(network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(network, 9001);
    client.create(TOPIC, 1).await;
    (running, client)
}

/// Bytes that are reserved of a share.
async fn reserved(network: &Network, share: &str) -> usize {
    let start = format!("milena_reserved_bytes{{share=\"{share}\"}} ");
    let lines = told(network).await;
    lines.iter().find_map(|line| line.strip_prefix(&start)).expect("told").parse().expect("a number")
}

/// All settings of the broker with their texts, three times: more than half of what there is for answers.
fn everything() -> DescribeConfigsRequest {
    let broker = DescribeConfigsResource { resource_type: 4, resource_name: "1".to_owned(), configuration_keys: None };
    DescribeConfigsRequest { resources: vec![broker; 3], include_documentation: true, ..Default::default() }
}

fn one_topic() -> MetadataRequest {
    let topic = milena_protocol::messages::metadata_request::MetadataRequestTopic {
        name: Some(TOPIC.to_owned()),
        ..Default::default()
    };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

fn produce(value_bytes: usize) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(&vec![7; value_bytes]), &[]);
    let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_take_no_more_than_their_share() {
    let network = Arc::new(Network::default());
    let (running, mut honest) = small_node(&network).await;
    let mut deaf: Vec<Client> = (0..30).map(|_| Client::connect(&network, 9001)).collect();
    for client in &mut deaf {
        for _ in 0..20 {
            client.tell(&everything(), 4).await;
        }
    }
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        let held = reserved(&network, "answers").await;
        assert!((100_000..=MEMORY_BYTES / 4).contains(&held), "{held}");
        let started = Instant::now();
        assert_eq!(honest.ask(&one_topic(), 9).await.topics.len(), 1);
        assert_eq!(honest.ask(&produce(1000), 9).await.responses[0].partition_responses[0].error_code, 0);
        assert!(honest.ask(&fetch(), 11).await.responses[0].partitions[0].records.size_bytes() >= 1000);
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    }
    drop(deaf);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(honest.ask(&everything(), 4).await.results.len(), 3);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reserved(&network, "answers").await, 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_is_cut_off_for_those_who_wait() {
    let network = Arc::new(Network::default());
    let (running, mut honest) = small_node(&network).await;
    let mut deaf: Vec<Client> = (0..4).map(|_| Client::connect(&network, 9001)).collect();
    for client in &mut deaf {
        client.tell(&everything(), 4).await;
    }
    sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    // Behind three that wait as well; each of them is cut off after ten seconds, or at the next look after that.
    assert_eq!(honest.ask(&everything(), 4).await.results.len(), 3);
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(5) && waited < Duration::from_secs(100), "{waited:?}");
    for client in &mut deaf {
        assert!(client.is_cut_off().await);
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_may_be_slow_as_long_as_nobody_waits_for_its_memory() {
    let network = Arc::new(Network::default());
    let (running, _) = small_node(&network).await;
    let mut slow = Client::connect(&network, 9001);
    slow.tell(&everything(), 4).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(slow.heard::<DescribeConfigsRequest>(4).await.results.len(), 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn large_frames_take_turns_and_small_ones_go_on() {
    let network = Arc::new(Network::default());
    let (running, mut honest) = small_node(&network).await;
    // A frame of 300 000 bytes whose rest never comes, and one behind it that has to wait for memory.
    let mut half: Vec<Client> = (0..3).map(|_| Client::connect(&network, 9001)).collect();
    for client in &mut half {
        client.begin_frame(300_000).await;
    }
    sleep(Duration::from_millis(1)).await;
    assert!(reserved(&network, "frames").await <= MEMORY_BYTES / 2);
    let started = Instant::now();
    assert_eq!(honest.ask(&produce(1000), 9).await.responses[0].partition_responses[0].error_code, 0);
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    // Those that do not go on are cut off, one after the other.
    assert_eq!(honest.ask(&produce(300_000), 9).await.responses[0].partition_responses[0].error_code, 0);
    assert!(started.elapsed() < Duration::from_secs(31), "{:?}", started.elapsed());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reserved(&network, "frames").await, 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_very_many_resources_have_a_bound_and_keep_no_other_waiting() {
    let network = Arc::new(Network::default());
    // Groups need not exist to have settings: a request of a few bytes each would be answered with kilobytes each.
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &[]).await;
    let (mut greedy, mut honest) = (Client::connect(&network, 9001), Client::connect(&network, 9001));
    let group = |number: i32| DescribeConfigsResource {
        resource_type: 32,
        resource_name: number.to_string(),
        configuration_keys: None,
    };
    let resources: Vec<_> = (0..120_000).map(group).collect();
    let request = DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: true };
    let asked = tokio::spawn(async move {
        let results = greedy.ask(&request, 4).await.results;
        results.iter().filter(|result| result.error_code == 0).count()
    });
    // It goes on while the other is at work.
    let mut passed = 0;
    while !asked.is_finished() {
        assert_eq!(honest.ask(&one_topic(), 9).await.topics.len(), 1);
        passed += 1;
    }
    assert!(passed > 100, "{passed}");
    assert!((1000..120_000).contains(&asked.await.expect("no panic")), "some are told, not all");
    running.stop().await;
}
