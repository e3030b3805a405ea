//! Quotas act: whoever is over is answered at once, told for how long, and then not read for that time; what he may is what
//! he gets, over minutes within a few percent.

use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, CreateTopicsRequest, DescribeClientQuotasRequest, FetchRequest,
    ProduceRequest,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use tokio::time::{Duration, Instant, timeout};

use crate::client::{Client, node, node_on, node_with};
use crate::world::{Network, SimWorld};

const TOPIC: &str = "t";
/// Bytes per second of the quotas here.
const RATE: f64 = 100_000.0;
/// A record of this size is a batch.
const VALUE_BYTES: usize = 10_000;
/// Before that the unused seconds of the windows are used up.
const SETTLED: Duration = Duration::from_secs(60);
/// From then on it is measured for so long.
const MEASURED: Duration = Duration::from_secs(300);

/// Sets a quota of everybody of that kind, or removes it.
async fn alter(client: &mut Client, kind: &str, key: &str, value: Option<f64>) {
    alter_named(client, (kind, None), key, value).await;
}

/// Sets a quota, or removes it. Without a name it is that of all who have none of their own.
async fn alter_named(client: &mut Client, (kind, name): (&str, Option<&str>), key: &str, value: Option<f64>) {
    let entity = vec![EntityData { entity_type: kind.to_owned(), entity_name: name.map(str::to_owned) }];
    let op = OpData { key: key.to_owned(), value: value.unwrap_or(0.0), remove: value.is_none() };
    let request = AlterClientQuotasRequest { entries: vec![EntryData { entity, ops: vec![op] }], validate_only: false };
    let answer = client.ask(&request, 1).await;
    assert_eq!(answer.entries[0].error_code, 0, "{answer:?}");
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(&[7; VALUE_BYTES]), &[]);
    builder.build(&BatchOptions::default()).expect("not compressed")
}

fn produce(acks: i16) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index: 0, records: Records::Bytes(batch()) }];
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

fn fetch(session: (i32, i32), offset: i64) -> FetchRequest {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    let (session_id, session_epoch) = session;
    // What does not fit below the quota is not answered at all, so small answers come nearer to it.
    let max_bytes = 11_000;
    FetchRequest { session_id, session_epoch, max_bytes, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

/// A node, a client of it, and a topic.
macro_rules! node_and_client {
    ($running:ident, $client:ident, $network:ident) => {
        let $network = Arc::new(Network::default());
        let $running = node(&$network, &MemoryDisk::new(), 9001, 1).await;
        let mut $client = Client::connect(&$network, 9001);
        $client.create(TOPIC, 1).await;
    };
}

/// Time passes only while somebody waits: a producer that nobody slows down would go on for ever.
fn one_more(sent: usize) -> usize {
    assert!(sent < 6_000, "nobody slows it down");
    sent + 1
}

fn assert_near(bytes: usize, since: Instant) {
    let rate = bytes as f64 / since.elapsed().as_secs_f64();
    assert!((rate / RATE - 1.0).abs() < 0.03, "{rate} bytes a second");
}

#[tokio::test(start_paused = true)]
async fn a_producer_sustains_its_quota() {
    node_and_client!(running, client, network);
    alter(&mut client, "client-id", "producer_byte_rate", Some(RATE)).await;
    let (started, mut sent) = (Instant::now(), 0);
    while started.elapsed() < SETTLED {
        client.ask(&produce(-1), 9).await;
        sent = one_more(sent);
    }
    let (measured, mut bytes) = (Instant::now(), 0);
    while measured.elapsed() < MEASURED {
        client.ask(&produce(-1), 9).await;
        sent = one_more(sent);
        bytes += VALUE_BYTES;
    }
    assert_near(bytes, measured);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_wants_no_answer_sustains_its_quota() {
    node_and_client!(running, client, network);
    alter(&mut client, "client-id", "producer_byte_rate", Some(RATE)).await;
    let (started, mut sent) = (Instant::now(), 0);
    while started.elapsed() < SETTLED {
        client.tell(&produce(0), 9).await;
        sent = one_more(sent);
    }
    let (measured, mut bytes) = (Instant::now(), 0);
    while measured.elapsed() < MEASURED {
        client.tell(&produce(0), 9).await;
        sent = one_more(sent);
        bytes += VALUE_BYTES;
    }
    assert_near(bytes, measured);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_sustains_its_quota_and_misses_nothing() {
    let network = Arc::new(Network::default());
    // The records are of long ago.
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &[("log.retention.ms", "-1")]).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    for _ in 0..6_000 {
        client.ask(&produce(1), 9).await;
    }
    alter(&mut client, "client-id", "consumer_byte_rate", Some(RATE)).await;
    let (started, mut measured, mut bytes, mut throttled) = (Instant::now(), None, 0, 0);
    let (mut session, mut offset, batch_bytes) = ((0, 0), 0, batch().len());
    while started.elapsed() < SETTLED + MEASURED {
        let answer = client.ask(&fetch(session, offset), 12).await;
        assert_eq!(answer.error_code, 0);
        assert!(offset < 6_000, "nobody slows it down");
        session = if answer.session_id > 0 { (answer.session_id, session.1 + 1) } else { (0, 0) };
        let records = answer.responses.first().map_or(0, |topic| topic.partitions[0].records.size_bytes());
        assert!(answer.throttle_time_ms == 0 || records == 0, "whoever is throttled is told nothing");
        throttled += usize::from(answer.throttle_time_ms > 0);
        assert!(records > 0 || answer.throttle_time_ms > 0, "{answer:?}");
        // The last batch may be cut off.
        offset += (records / batch_bytes) as i64;
        match measured {
            None if started.elapsed() >= SETTLED => measured = Some(Instant::now()),
            None => {}
            Some(_) => bytes += records,
        }
    }
    assert!(throttled > 10 && session.0 > 0, "throttled {throttled} times");
    assert_near(bytes, measured.expect("it was measured"));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_client_has_its_answer_at_once_and_is_not_read_until_its_time_is_up() {
    node_and_client!(running, client, network);
    alter(&mut client, "client-id", "producer_byte_rate", Some(100.0)).await;
    let started = Instant::now();
    // Some 10 000 bytes more than nothing: 100 a second over ten seconds are less by far.
    let answer = client.ask(&produce(-1), 9).await;
    assert!(started.elapsed() < Duration::from_millis(50));
    let throttle = Duration::from_millis(answer.throttle_time_ms as u64);
    assert!((90..95).contains(&throttle.as_secs()), "{throttle:?}");
    client.tell(&ApiVersionsRequest::default(), 2).await;
    assert!(timeout(throttle - Duration::from_secs(1), client.heard::<ApiVersionsRequest>(2)).await.is_err());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn others_are_not_throttled_with_whoever_is() {
    node_and_client!(running, client, network);
    alter(&mut client, "client-id", "producer_byte_rate", Some(100.0)).await;
    assert!(client.ask(&produce(-1), 9).await.throttle_time_ms > 0);
    let mut other = Client::connect(&network, 9001);
    let started = Instant::now();
    // The same client id: only what it produces counts.
    assert_eq!(other.ask(&ApiVersionsRequest::default(), 2).await.throttle_time_ms, 0);
    assert_eq!(other.ask(&fetch((0, 0), 0), 12).await.throttle_time_ms, 0);
    assert!(started.elapsed() < Duration::from_millis(50));
    alter(&mut other, "client-id", "producer_byte_rate", None).await;
    assert_eq!(other.ask(&produce(-1), 9).await.throttle_time_ms, 0, "without a quota nobody is");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn windows_are_as_they_are_set() {
    let network = Arc::new(Network::default());
    let settings = [("quota.window.num", "3"), ("quota.window.size.seconds", "2")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    alter(&mut client, "client-id", "producer_byte_rate", Some(100.0)).await;
    let throttle_ms = client.ask(&produce(-1), 9).await.throttle_time_ms;
    // Two whole windows of two seconds: 10 000 bytes at 100 a second, without four seconds.
    assert!((96_000..99_000).contains(&throttle_ms), "{throttle_ms}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_opens_no_more_connections_than_it_may() {
    node_and_client!(running, client, network);
    alter(&mut client, "ip", "connection_creation_rate", Some(1.0)).await;
    for _ in 0..10 {
        let mut other = Client::connect(&network, 9001);
        other.ask(&ApiVersionsRequest::default(), 2).await;
    }
    let (started, mut refused) = (Instant::now(), Client::connect(&network, 9001));
    while !refused.is_cut_off().await {
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    assert!(started.elapsed() >= Duration::from_millis(900), "not before its time is up");
    tokio::time::sleep(Duration::from_secs(11)).await;
    Client::connect(&network, 9001).ask(&ApiVersionsRequest::default(), 2).await;
    running.stop().await;
}

/// Whether twenty connections at once are too many.
async fn is_bounded(network: &Network) -> bool {
    let mut connected: Vec<Client> = (0..20).map(|_| Client::connect(network, 9001)).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    connected.last_mut().expect("there are some").is_cut_off().await
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_takes_its_time_holds_up_nothing_but_the_quota() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    let host = ("ip", Some("client.example"));
    let mut client = Client::connect(&network, 9001);
    alter_named(&mut client, host, "connection_creation_rate", Some(1.0)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(is_bounded(&network).await);
    running.stop().await;

    let world = SimWorld::new(&network, &disk, 2);
    world.slow_names(Duration::from_secs(60));
    let running = node_on(world, 9001, &[]).await;
    let started = Instant::now();
    Client::connect(&network, 9001).create(TOPIC, 1).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(!is_bounded(&network).await, "nobody knows yet who is meant");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(is_bounded(&network).await);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn quotas_outlive_their_node() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    alter(&mut client, "client-id", "producer_byte_rate", Some(100.0)).await;
    running.stop().await;
    let running = node(&network, &disk, 9001, 2).await;
    let mut client = Client::connect(&network, 9001);
    let described = client.ask(&DescribeClientQuotasRequest::default(), 1).await;
    assert_eq!(described.entries.expect("valid")[0].values[0].value, 100.0);
    assert!(client.ask(&produce(-1), 9).await.throttle_time_ms > 0);
    running.stop().await;
}

/// The codes and the throttle time of topics of three partitions each.
async fn create(client: &mut Client, names: [&str; 2], version: i16) -> (Vec<i16>, i32) {
    let topic = |name: &str| CreatableTopic {
        name: name.to_owned(),
        num_partitions: 3,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: names.map(topic).to_vec(), timeout_ms: 1000, ..Default::default() };
    let answer = client.ask(&request, version).await;
    (answer.topics.iter().map(|topic| topic.error_code).collect(), answer.throttle_time_ms)
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_cluster_have_windows_of_their_own() {
    let network = Arc::new(Network::default());
    let settings = [("controller.quota.window.num", "2"), ("controller.quota.window.size.seconds", "1")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(&network, 9001);
    alter(&mut client, "client-id", "controller_mutation_rate", Some(1.0)).await;
    // Two tokens: three partitions pass, and one token is missing.
    let (codes, throttle_ms) = create(&mut client, ["a", "b"], 7).await;
    assert_eq!((codes, throttle_ms), (vec![0, 89], 1000));
    let started = Instant::now();
    // Version 5 knows no refusal. A second has passed by then, so that no token is missing.
    let (codes, throttle_ms) = create(&mut client, ["b", "c"], 5).await;
    assert!(started.elapsed() >= Duration::from_millis(950), "it was not read before");
    assert_eq!(codes, [0, 0]);
    assert!((5900..=6000).contains(&throttle_ms), "{throttle_ms}");
    running.stop().await;
}

/// In real time: while time stands still no request takes any.
#[tokio::test]
async fn a_client_whose_requests_take_too_long_is_throttled_for_one_window_at_most() {
    node_and_client!(running, client, network);
    // A tenth of a millisecond in ten seconds.
    alter(&mut client, "client-id", "request_percentage", Some(0.001)).await;
    let mut throttle_ms = 0;
    for _ in 0..1000 {
        throttle_ms = client.ask(&ApiVersionsRequest::default(), 2).await.throttle_time_ms;
        if throttle_ms > 0 {
            break;
        }
    }
    assert!((1..=1000).contains(&throttle_ms), "{throttle_ms}");
    let started = Instant::now();
    client.tell(&ApiVersionsRequest::default(), 2).await;
    client.heard::<ApiVersionsRequest>(2).await;
    assert!(started.elapsed() >= Duration::from_millis(throttle_ms as u64 - 1), "it was not read before");
    running.stop().await;
}
