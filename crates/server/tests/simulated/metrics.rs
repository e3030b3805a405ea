//! What a node tells about itself over HTTP, held against the list from which the documentation is made.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{FetchRequest, ProduceRequest};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_server::metrics::{METRICS, MetricKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, node_with};
use crate::world::Network;

pub(crate) async fn told(network: &Network) -> Vec<String> {
    let mut stream = network.connect(9404).expect("the node listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.expect("connected");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK") && body.ends_with("# EOF\n"), "{answer}");
    body.lines().map(str::to_owned).collect()
}

/// Appends three records and reads them.
async fn use_topic(client: &mut Client, name: &str) -> usize {
    let mut builder = BatchBuilder::new();
    for _ in 0..3 {
        builder.add(Millis(1_700_000_000_000), None, Some(b"a"), &[]);
    }
    let batch = builder.build(&BatchOptions::default()).expect("not compressed");
    let size_bytes = batch.len();
    let partition_data = vec![PartitionProduceData { index: 1, records: Records::Bytes(batch) }];
    let topic = TopicProduceData { name: name.to_owned(), partition_data, ..Default::default() };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    assert_eq!(client.ask(&request, 9).await.responses[0].partition_responses[0].error_code, 0);
    let partition = FetchPartition { partition: 1, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: name.to_owned(), partitions: vec![partition], ..Default::default() };
    let read = client.ask(&FetchRequest { topics: vec![topic], ..Default::default() }, 11).await;
    assert_eq!(read.responses[0].partitions[0].records.size_bytes(), size_bytes);
    size_bytes
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_documented_and_every_documented_one_is_told() {
    let network = Arc::new(Network::default());
    let settings = [("metrics.listen", "127.0.0.1:9404")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(&network, 9001);
    client.create("t", 2).await;
    let size_bytes = use_topic(&mut client, "t").await;
    let lines = told(&network).await;
    let samples: BTreeSet<&str> = lines.iter().filter(|line| !line.starts_with('#')).map(|line| name(line)).collect();
    let documented: BTreeSet<&str> = METRICS.iter().map(|info| info.name).collect();
    assert_eq!(samples, documented);
    for info in METRICS {
        let family = info.name.trim_end_matches("_total");
        assert!(lines.contains(&format!("# TYPE {family} {}", info.kind.name())), "{}", info.name);
        assert!(info.kind != MetricKind::Counter || info.name.ends_with("_total"), "{}", info.name);
        for label in info.labels {
            let is_labelled = |line: &&String| name(line) == info.name && line.contains(&format!("{label}=\""));
            assert!(lines.iter().any(|line| is_labelled(&line)), "{} by {label}", info.name);
        }
    }
    for expected in [
        format!("milena_topic_appended_bytes_total{{topic=\"t\"}} {size_bytes}"),
        "milena_topic_appended_records_total{topic=\"t\"} 3".to_owned(),
        format!("milena_topic_fetched_bytes_total{{topic=\"t\"}} {size_bytes}"),
        format!("milena_topic_size_bytes{{topic=\"t\"}} {size_bytes}"),
        "milena_partition_log_end_offset{topic=\"t\",partition=\"1\"} 3".to_owned(),
        "milena_partition_high_watermark{topic=\"t\",partition=\"0\"} 0".to_owned(),
        "milena_request_seconds_count{api=\"Produce\"} 1".to_owned(),
        "milena_requests_total{api=\"Fetch\"} 1".to_owned(),
        "milena_connections 1".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected}");
    }
    running.stop().await;
}

/// The metric of a line with a value; of a histogram's lines, that which they belong to.
fn name(line: &str) -> &str {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
    histogram.filter(|name| METRICS.iter().any(|info| info.name == *name)).unwrap_or(name)
}

#[tokio::test(start_paused = true)]
async fn partitions_beyond_the_bound_are_only_counted() {
    let network = Arc::new(Network::default());
    let settings = [("metrics.listen", "127.0.0.1:9404"), ("metrics.partitions.max", "5")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(&network, 9001);
    for topic in ["a", "b", "c"] {
        client.create(topic, 2).await;
    }
    let lines = told(&network).await;
    let ends = lines.iter().filter(|line| line.starts_with("milena_partition_log_end_offset{")).count();
    assert_eq!(ends, 4);
    assert!(!lines.iter().any(|line| line.contains("topic=\"c\"")));
    assert!(lines.contains(&"milena_partitions_untold 2".to_owned()));
    running.stop().await;
}
