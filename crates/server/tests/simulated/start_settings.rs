//! Settings that a node is given at its start, as far as one node shows them.

use std::path::Path;
use std::sync::Arc;

use milena_base::{Disk, DiskFile, Millis};
use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, FindCoordinatorRequest, MetadataRequest,
    ProduceRequest,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_server::Running;
use tokio::time::{Duration, sleep};

use crate::client::{Client, node_with};
use crate::world::{Network, SimWorld};

const PORT: u16 = 9001;

struct Machine {
    disk: MemoryDisk,
    running: Running<SimWorld>,
    client: Client,
}

async fn machine(settings: &[(&str, &str)]) -> Machine {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node_with(&network, &disk, PORT, 7, settings).await;
    let client = Client::connect(&network, PORT);
    Machine { disk, running, client }
}

impl Machine {
    /// Creates a topic of so many partitions with settings of its own; −1 replicas are as many as usual.
    async fn create(&mut self, name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> ErrorCode {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: replicas,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        ErrorCode::from_number(self.client.ask(&request, 7).await.topics[0].error_code)
    }

    /// Appends a batch to some partitions of a topic.
    async fn produce(&mut self, topic: &str, partitions: i32, batch: &bytes::Bytes) {
        let data = |index| PartitionProduceData { index, records: Records::Bytes(batch.clone()) };
        let partition_data = (0..partitions).map(data).collect();
        let topic_data = vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() };
        let answer = self.client.ask(&request, 9).await;
        let mut codes = answer.responses[0].partition_responses.iter().map(|partition| partition.error_code);
        assert!(codes.all(|code| code == 0), "{answer:?}");
    }

    /// How large a file is; `None` where there is none.
    fn size_bytes(&self, path: &str) -> Option<u64> {
        self.disk.open_existing(Path::new(path)).ok().map(|file| file.size_bytes().expect("a file in memory"))
    }

    /// Files whose names end so, below directories whose paths begin so.
    fn count(&self, beginning: &str, ending: &str) -> usize {
        let paths = self.disk.paths().into_iter().map(|path| path.to_string_lossy().into_owned());
        paths.filter(|path| path.starts_with(beginning) && path.ends_with(ending)).count()
    }

    /// What the disk would lose of a topic's logs.
    fn unflushed_bytes(&self, topic: &str) -> u64 {
        let beginning = format!("/data/{topic}-");
        self.disk.unflushed_bytes(|path| {
            path.extension().is_some_and(|ending| ending == "log") && path.to_string_lossy().starts_with(&beginning)
        })
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

/// A batch of one record of that time.
fn batch(timestamp: Millis, value: &[u8], options: &BatchOptions) -> bytes::Bytes {
    let mut builder = BatchBuilder::new();
    builder.add(timestamp, Some(b"key"), Some(value), &[]);
    builder.build(options).expect("not compressed")
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_say_has_as_many_replicas_as_are_usual() {
    let mut machine = machine(&[("default.replication.factor", "2")]).await;
    assert_eq!(machine.create("one", 1, 1, &[]).await, ErrorCode::None);
    assert_eq!(machine.create("two", 1, -1, &[]).await, ErrorCode::InvalidReplicationFactor, "there is one broker");
    machine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn topics_stay_where_they_are_not_to_be_deleted() {
    let mut machine = machine(&[("delete.topic.enable", "false")]).await;
    machine.client.create("t", 1).await;
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".to_owned()], timeout_ms: 1000, ..DeleteTopicsRequest::default() };
    let answer = machine.client.ask(&request, 5).await;
    assert_eq!(ErrorCode::from_number(answer.responses[0].error_code), ErrorCode::TopicDeletionDisabled);
    machine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_topic_of_groups_has_segments_of_the_size_that_is_set() {
    let settings = [
        ("offsets.topic.segment.bytes", "2345678"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
    ];
    let mut machine = machine(&settings).await;
    let find = FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() };
    while machine.client.ask(&find, 2).await.error_code != 0 {
        sleep(Duration::from_millis(50)).await;
    }
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "__consumer_offsets".to_owned(),
        configuration_keys: Some(vec!["segment.bytes".to_owned()]),
    };
    let described =
        machine.client.ask(&DescribeConfigsRequest { resources: vec![resource], ..Default::default() }, 4).await;
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("2345678"));
    machine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn levels_of_compression_show_in_what_is_stored() {
    let mut machine = machine(&[]).await;
    // Words of a few letters in no order: hard enough to compress for levels to differ.
    let value: Vec<u8> = (0_u64..60_000).map(|at| b'a' + (at.wrapping_mul(at ^ 0x9e37) >> 7) as u8 % 11).collect();
    for (codec, low, high) in [("gzip", "1", "9"), ("zstd", "-1000", "19")] {
        let mut stored = Vec::new();
        for (name, level) in [(format!("{codec}-low"), low), (format!("{codec}-high"), high)] {
            let (key, level) = (format!("compression.{codec}.level"), level);
            let configs = [("compression.type", codec), (key.as_str(), level)];
            assert_eq!(machine.create(&name, 1, 1, &configs).await, ErrorCode::None);
            machine.produce(&name, 1, &batch(Millis(1_700_000_000_000), &value, &BatchOptions::default())).await;
            stored.push(machine.size_bytes(&format!("/data/{name}-0/{:020}.log", 0)).expect("a log"));
        }
        assert!(stored[1] > 0 && stored[0] > stored[1], "{codec}: {stored:?}");
    }
    machine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_is_flushed_when_its_time_is_up() {
    let mut machine = machine(&[]).await;
    assert_eq!(machine.create("timed", 1, 1, &[("flush.ms", "2000")]).await, ErrorCode::None);
    assert_eq!(machine.create("left-alone", 1, 1, &[]).await, ErrorCode::None);
    let one = batch(Millis(1_700_000_000_000), b"value", &BatchOptions::default());
    for topic in ["timed", "left-alone"] {
        machine.produce(topic, 1, &one).await;
    }
    assert!(machine.unflushed_bytes("timed") > 0, "not before its time");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(machine.unflushed_bytes("timed"), 0);
    assert!(machine.unflushed_bytes("left-alone") > 0, "nobody asked for it");
    machine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_laid_out_in_advance_has_its_whole_size() {
    let mut machine = machine(&[]).await;
    let size = ("segment.bytes", "1048576");
    assert_eq!(machine.create("laid-out", 1, 1, &[size, ("preallocate", "true")]).await, ErrorCode::None);
    assert_eq!(machine.create("growing", 1, 1, &[size]).await, ErrorCode::None);
    let log = |topic: &str| format!("/data/{topic}-0/{:020}.log", 0);
    assert_eq!(machine.size_bytes(&log("laid-out")), Some(1_048_576));
    assert_eq!(machine.size_bytes(&log("growing")), Some(0));
    machine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn segments_are_closed_earlier_by_a_time_of_chance() {
    const PARTITIONS: i32 = 20;
    let mut machine = machine(&[]).await;
    let age = ("segment.ms", "1000000");
    assert_eq!(machine.create("early", PARTITIONS, 1, &[age, ("segment.jitter.ms", "1000000")]).await, ErrorCode::None);
    assert_eq!(machine.create("in-time", PARTITIONS, 1, &[age]).await, ErrorCode::None);
    let mut logs = Vec::new();
    for topic in ["early", "in-time"] {
        for age_ms in [0, 900_000] {
            let later = Millis(1_700_000_000_000 + age_ms);
            machine.produce(topic, PARTITIONS, &batch(later, b"value", &BatchOptions::default())).await;
        }
        logs.push(machine.count(&format!("/data/{topic}-"), ".log"));
    }
    // Nine in ten draw more than a tenth of the age.
    assert!(logs[0] > 30 && logs[0] < 40, "{logs:?}");
    assert_eq!(logs[1], PARTITIONS as usize);
    machine.stop().await;
}

/// Whether clients are told of the broker at each of ten seconds.
async fn is_always_told(settings: &[(&str, &str)]) -> bool {
    let mut machine = machine(settings).await;
    let mut is_always_told = true;
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        is_always_told &= !machine.client.ask(&MetadataRequest::default(), 12).await.brokers.is_empty();
    }
    machine.stop().await;
    is_always_told
}

#[tokio::test(start_paused = true)]
async fn a_broker_beats_as_often_as_it_is_told_to() {
    let session = ("broker.session.timeout.ms", "3000");
    assert!(is_always_told(&[session, ("broker.heartbeat.interval.ms", "500")]).await);
    assert!(!is_always_told(&[session, ("broker.heartbeat.interval.ms", "6500")]).await, "longer than its session");
}

#[tokio::test(start_paused = true)]
async fn a_segment_of_the_metadata_log_is_closed_when_it_is_old_enough() {
    for (segment_ms, is_closed) in [("60000", true), ("600000", false)] {
        let mut machine = machine(&[("metadata.log.segment.ms", segment_ms)]).await;
        sleep(Duration::from_secs(120)).await;
        machine.client.create("t", 1).await;
        machine.client.create("u", 1).await;
        assert_eq!(machine.count("/data/__cluster_metadata-0/", ".log") > 1, is_closed, "{segment_ms}");
        machine.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn recovery_points_are_written_down_as_often_as_is_said() {
    for (interval_ms, is_written) in [("5000", true), ("600000", false)] {
        let mut machine = machine(&[("log.flush.offset.checkpoint.interval.ms", interval_ms)]).await;
        machine.client.create("t", 1).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(machine.size_bytes("/data/recovery-point-offset-checkpoint").is_some(), is_written, "{interval_ms}");
        machine.stop().await;
    }
}
