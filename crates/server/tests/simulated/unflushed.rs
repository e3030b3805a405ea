//! Producers that are faster than the disk: what is not flushed stays within its bound, and everything is acknowledged in
//! the end.

use std::path::Path;
use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{DeleteTopicsRequest, FetchRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_server::Running;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::client::{Client, node_on};
use crate::metrics::told;
use crate::world::{Network, SimWorld};

const BYTES_MAX: u64 = 200_000;
const VALUE_BYTES: usize = 5000;

struct Machine {
    network: Arc<Network>,
    disk: MemoryDisk,
    world: Arc<SimWorld>,
    running: Running<SimWorld>,
}

/// A node with topics of one partition each, and then a disk that takes its time.
async fn machine(topics: &[&str], more: &[(&str, &str)], delay: Duration) -> Machine {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let world = SimWorld::new(&network, &disk, 5);
    let bytes_max = BYTES_MAX.to_string();
    let given = [("log.unflushed.bytes.max", bytes_max.as_str()), ("metrics.listen", "127.0.0.1:9404")];
    let settings: Vec<_> = given.iter().chain(more).copied().collect();
    let running = node_on(Arc::clone(&world), 9001, &settings).await;
    let mut client = Client::connect(&network, 9001);
    for topic in topics {
        client.create(topic, 1).await;
    }
    world.slow_down(delay);
    Machine { network, disk, world, running }
}

impl Machine {
    fn client(&self) -> Client {
        Client::connect(&self.network, 9001)
    }

    /// What the disk would lose of the logs of topics.
    fn unflushed_bytes(&self) -> u64 {
        let is_log = |path: &Path| {
            let is_metadata = path.to_string_lossy().contains("__cluster_metadata");
            path.extension().is_some_and(|extension| extension == "log") && !is_metadata
        };
        self.disk.unflushed_bytes(is_log)
    }

    /// What the node counts.
    async fn counted_bytes(&self) -> u64 {
        let lines = told(&self.network).await;
        let line = lines.iter().find_map(|line| line.strip_prefix("milena_unflushed_bytes "));
        line.expect("told").parse().expect("a number")
    }
}

fn produce(topic: &str) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(&[7; VALUE_BYTES]), &[]);
    let records = Records::Bytes(builder.build(&BatchOptions::default()).expect("not compressed"));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

/// Asks for it over and over; answers the error codes and how many bytes were appended.
async fn produce_all(mut client: Client, topic: &str, requests: usize) -> Vec<i16> {
    let mut codes = Vec::new();
    for _ in 0..requests {
        codes.push(client.ask(&produce(topic), 9).await.responses[0].partition_responses[0].error_code);
    }
    codes
}

/// Runs producers of several topics until all is acknowledged, and looks at the disk meanwhile.
async fn overrun(machine: &Machine, topics: &[&'static str]) -> u64 {
    let producers: Vec<_> = topics
        .iter()
        .flat_map(|topic| [*topic; 3])
        .map(|topic| tokio::spawn(produce_all(machine.client(), topic, 100)))
        .collect();
    let mut most = 0;
    while producers.iter().any(|producer| !producer.is_finished()) {
        most = most.max(machine.unflushed_bytes());
        sleep(Duration::from_micros(100)).await;
    }
    for producer in producers {
        assert_eq!(producer.await.expect("no panic"), vec![0; 100]);
    }
    most
}

#[tokio::test(start_paused = true)]
async fn producers_faster_than_the_disk_never_pass_the_bound_and_are_all_acknowledged() {
    let machine = machine(&["a", "b", "c"], &[], Duration::from_millis(20)).await;
    let most = overrun(&machine, &["a", "b", "c"]).await;
    assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&most), "{most}");
    machine.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_bound_holds_beside_flushes_that_topics_ask_for_and_rolled_segments() {
    let more =
        [("log.flush.interval.messages", "3"), ("log.segment.bytes", "1048576"), ("log.flush.interval.ms", "50")];
    let machine = machine(&["a", "b"], &more, Duration::from_millis(20)).await;
    let most = overrun(&machine, &["a", "b"]).await;
    assert!(most <= BYTES_MAX, "{most}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!((machine.unflushed_bytes(), machine.counted_bytes().await), (0, 0), "flush.ms has flushed the rest");
    machine.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_bound_nobody_waits() {
    let more = [("log.unflushed.bytes.max", "0")];
    let machine = machine(&["a"], &more, Duration::from_secs(3)).await;
    let started = Instant::now();
    assert_eq!(produce_all(machine.client(), "a", 100).await, vec![0; 100]);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(machine.counted_bytes().await > 2 * BYTES_MAX);
    machine.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readers_and_other_topics_do_not_wait_for_a_busy_one() {
    let machine = machine(&["busy", "calm"], &[], Duration::from_secs(2)).await;
    let busy = tokio::spawn(produce_all(machine.client(), "busy", 50));
    sleep(Duration::from_millis(100)).await;
    assert!(!busy.is_finished() && machine.unflushed_bytes() > BYTES_MAX / 2, "it waits for the disk");
    let mut client = machine.client();
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "busy".to_owned(), partitions: vec![partition], ..Default::default() };
    let started = Instant::now();
    let read = client.ask(&FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }, 11).await;
    assert!(read.responses[0].partitions[0].records.size_bytes() > VALUE_BYTES);
    assert_eq!(client.ask(&produce("calm"), 9).await.responses[0].partition_responses[0].error_code, 0);
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    assert_eq!(busy.await.expect("no panic"), vec![0; 50]);
    machine.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_while_producers_wait_takes_its_bytes_along() {
    let machine = machine(&["gone", "stays"], &[], Duration::from_secs(2)).await;
    let waiting = tokio::spawn(produce_all(machine.client(), "gone", 1000));
    sleep(Duration::from_millis(100)).await;
    assert!(machine.counted_bytes().await > BYTES_MAX / 2);
    let request =
        DeleteTopicsRequest { topic_names: vec!["gone".to_owned()], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(machine.client().ask(&request, 5).await.responses[0].error_code, 0);
    let codes = timeout(Duration::from_secs(30), waiting).await.expect("nobody waits for ever").expect("no panic");
    assert!(codes.contains(&0) && codes.last() != Some(&0), "{codes:?}");
    assert_eq!(machine.counted_bytes().await, 0);
    machine.world.slow_down(Duration::ZERO);
    assert_eq!(produce_all(machine.client(), "stays", 50).await, vec![0; 50]);
    machine.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_while_producers_wait_leaves_nobody_waiting() {
    let machine = machine(&["a"], &[], Duration::from_millis(20)).await;
    let waiting = tokio::spawn(produce_all(machine.client(), "a", 100));
    sleep(Duration::from_millis(10)).await;
    machine.disk.break_flushes();
    let codes = timeout(Duration::from_secs(30), waiting).await.expect("nobody waits for ever").expect("no panic");
    assert!(codes.contains(&0) && codes.last() == Some(&56), "KAFKA_STORAGE_ERROR: {codes:?}");
    drop(machine.running);
}
