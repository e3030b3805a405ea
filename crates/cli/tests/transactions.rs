//! Transactions from the command line and through the client library, each against a server of its own.

mod server;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use milena_base::Millis;
use milena_client::consumer::{Isolation, Reset, Start};
use milena_client::transport::{Address, Connection, ConnectionSettings, TcpDialer};
use milena_client::{
    Cluster, ClusterSettings, Consumer, ConsumerSettings, Error, Event, ProducedRecord, Producer, ProducerSettings,
    TransactionSettings, TransactionalProducer,
};
use milena_protocol::messages::{ProduceRequest, produce_request};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use serde_json::Value;
use server::{Server, failure, milena, stdout};

const COMMITTED: [&str; 5] = ["t", "--from-beginning", "-e", "--isolation", "read_committed"];

fn committed(server: &Server) -> String {
    server.run(&[&["consume"][..], &COMMITTED].concat())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_bad_line_aborts_its_transaction_and_no_other() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    let produce = ["produce", "t", "--format", "json", "--transactional-id", "id", "--transaction-records", "2"];
    let lines = "{\"value\":\"1\"}\n{\"value\":\"2\"}\n{\"value\":\"3\"}\nno record\n";
    let (code, message) = failure(&server.run_with(&produce, lines));
    assert!(code == 1 && message.contains("line 4: "), "{code}: {message}");
    assert_eq!(committed(&server), "1\n2\n");
    let sent = stdout(&server.run_with(&produce, "{\"value\":\"4\"}\n{\"value\":\"5\"}\n{\"value\":\"6\"}\n"));
    assert_eq!(sent, "3 records sent to \"t\"\n");
    assert_eq!(committed(&server), "1\n2\n4\n5\n6\n");
}

#[test]
fn what_a_killed_producer_left_open_is_seen_described_and_terminated() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    let mut producer = milena()
        .args(["produce", "t", "--transactional-id", "open", "-b", &server.address])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = producer.stdin.take().unwrap();
    std::io::Write::write_all(&mut lines, b"1\n2\n").unwrap();
    let listed = || json(&server.run(&["transaction", "list", "--state", "Ongoing", "--output", "json"]));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while listed() == Value::Array(vec![]) {
        assert!(std::time::Instant::now() < until, "the transaction does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    producer.kill().unwrap();
    producer.wait().unwrap();
    assert_eq!(listed()[0]["transactional_id"], "open");
    let described = json(&server.run(&["transaction", "describe", "open", "--output", "json"]));
    assert_eq!((&described[0]["state"], &described[0]["partitions"][0]), (&"Ongoing".into(), &"t-0".into()));
    let producers = json(&server.run(&["transaction", "describe-producers", "t:0", "--output", "json"]));
    assert_eq!(producers[0]["producer_id"], described[0]["producer_id"]);
    assert_eq!(producers[0]["open_since_offset"], 0);
    let hanging = ["transaction", "find-hanging", "--longer-than", "PT0S", "--output", "json"];
    assert_eq!(json(&server.run(&hanging)), Value::Array(vec![]), "its coordinator will end it");
    assert_eq!(committed(&server), "", "nothing is committed");
    server.run(&["transaction", "terminate", "open"]);
    assert_eq!(listed(), Value::Array(vec![]));
    stdout(&server.run_with(&["produce", "t"], "3\n"));
    assert_eq!(committed(&server), "3\n", "what was left open is aborted");
    let (code, message) = failure(&server.run_with(&["transaction", "describe", "absent"], ""));
    assert!(code == 1 && message.contains("TRANSACTIONAL_ID_NOT_FOUND"), "{code}: {message}");
}

/// Appends a record of a transaction that no coordinator knows, as a producer with a fault might.
async fn leave_hanging(server: &Server) {
    let address: Address = server.address.parse().unwrap();
    let connection = Connection::open(&TcpDialer, &address, ConnectionSettings::default()).await.unwrap();
    let mut builder = BatchBuilder::new();
    builder.add(Millis(1), None, Some(b"lost"), &[]);
    let options = BatchOptions {
        producer_id: ProducerId(4711),
        producer_epoch: ProducerEpoch(3),
        base_sequence: Sequence(0),
        is_transactional: true,
        ..BatchOptions::default()
    };
    let records = Records::Bytes(builder.build(&options).unwrap());
    let request = ProduceRequest {
        transactional_id: Some("forgotten".to_owned()),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![produce_request::TopicProduceData {
            name: "t".to_owned(),
            partition_data: vec![produce_request::PartitionProduceData { index: 0, records }],
            ..Default::default()
        }],
    };
    let answer = connection.call_up_to(&request, 11).await.unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn a_transaction_that_nobody_will_end_is_found_and_aborted() {
    let server = Server::start_with(&["transaction.partition.verification.enable=false"]);
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    leave_hanging(&server).await;
    stdout(&server.run_with(&["produce", "t"], "1\n"));
    assert_eq!(committed(&server), "", "readers are held back for ever");
    let found = json(&server.run(&["transaction", "find-hanging", "--topic", "t", "--output", "json"]));
    assert_eq!((&found[0]["producer_id"], &found[0]["start_offset"]), (&4711.into(), &0.into()));
    let elsewhere = failure(&server.run_with(&["transaction", "abort", "t", "0", "--start-offset", "1"], ""));
    assert!(elsewhere.0 == 1 && elsewhere.1.contains("describe-producers t:0"), "{}", elsewhere.1);
    server.run(&["transaction", "abort", "t", "0", "--start-offset", "0"]);
    assert_eq!(committed(&server), "1\n");
    assert_eq!(json(&server.run(&["transaction", "find-hanging", "--output", "json"])), Value::Array(vec![]));
}

async fn cluster(server: &Server) -> Cluster {
    Cluster::connect(ClusterSettings::new(vec![server.address.parse().unwrap()])).await.unwrap()
}

/// Moves numbers from `in` to `out` in transactions with the group's offsets; every third one is aborted. A copier stops in
/// the middle of a transaction after so many of them, or when nothing comes any more.
async fn copy(cluster: &Cluster, transactions: usize) -> bool {
    let settings = ConsumerSettings {
        group: Some("copiers".to_owned()),
        reset: Reset::Earliest,
        commit_interval: None,
        isolation: Isolation::ReadCommitted,
        event_records_max: 7,
        ..ConsumerSettings::default()
    };
    let mut consumer = Consumer::open(cluster, settings);
    consumer.subscribe(&["in".to_owned()]).await.unwrap();
    let mut producer = TransactionalProducer::open(cluster, TransactionSettings::new("copier")).await.unwrap();
    let mut begun = 0;
    loop {
        let records = match consumer.next_within(Duration::from_secs(2)).await.unwrap() {
            Some(Event::Records(records)) => records,
            Some(_) => continue,
            None => {
                consumer.close().await.unwrap();
                return true;
            }
        };
        let transaction = producer.begin().await.unwrap();
        for record in &records.records {
            let copied = ProducedRecord::new("out", record.value.clone().unwrap());
            transaction.send(copied).await.unwrap();
        }
        let next = records.records.last().unwrap().offset.next();
        let offsets = BTreeMap::from([(records.partition, next)]);
        transaction.send_offsets(&consumer.committer().unwrap(), &offsets).await.unwrap();
        begun += 1;
        if begun == transactions {
            consumer.close().await.unwrap();
            return false;
        }
        if begun % 3 == 0 {
            transaction.abort().await.unwrap();
            consumer.rewind();
        } else {
            transaction.commit().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copiers_that_abort_stop_and_return_move_each_record_once() {
    let server = Server::start();
    for topic in ["in", "out"] {
        server.run(&["topic", "create", topic, "--partitions", "2"]);
    }
    let cluster = cluster(&server).await;
    let producer = Producer::open(&cluster, ProducerSettings::default()).unwrap();
    for number in 0..300 {
        producer.send(ProducedRecord::new("in", number.to_string())).await.unwrap();
    }
    producer.close().await;
    while !copy(&cluster, 10).await {}
    let reading = ConsumerSettings { isolation: Isolation::ReadCommitted, ..ConsumerSettings::default() };
    let mut consumer = Consumer::open(&cluster, reading);
    let parts = [0, 1].map(|partition| (TopicPartition::new("out", partition), Start::Earliest));
    consumer.assign(&parts).await.unwrap();
    let mut numbers: Vec<i32> = Vec::new();
    while let Some(event) = consumer.next_within(Duration::from_secs(1)).await.unwrap() {
        let Event::Records(fetched) = event else { continue };
        let number = |value: &[u8]| std::str::from_utf8(value).unwrap().parse::<i32>().unwrap();
        numbers.extend(fetched.records.iter().map(|record| number(record.value.as_deref().unwrap())));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    for (partition, _) in &parts {
        assert_eq!(consumer.lag(partition), Some(0), "markers and aborted records are passed over");
    }
}

#[tokio::test]
async fn an_open_transaction_holds_readers_back_and_a_newer_producer_ends_it() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    let cluster = cluster(&server).await;
    let mut older = TransactionalProducer::open(&cluster, TransactionSettings::new("id")).await.unwrap();
    let transaction = older.begin().await.unwrap();
    transaction.send(ProducedRecord::new("t", "older")).await.unwrap().wait().await.unwrap();
    stdout(&server.run_with(&["produce", "t"], "plain\n"));
    assert_eq!(committed(&server), "");
    let mut newer = TransactionalProducer::open(&cluster, TransactionSettings::new("id")).await.unwrap();
    let told = transaction.commit().await.unwrap_err();
    assert!(matches!(told, Error::ProducerFailed { .. }), "{told}");
    assert_eq!(told.code(), Some(ErrorCode::ProducerFenced));
    let transaction = newer.begin().await.unwrap();
    let delivered = transaction.send(ProducedRecord::new("t", "newer")).await.unwrap().wait().await.unwrap();
    assert_eq!(delivered.offset, Some(Offset(3)), "behind two records and the marker of the abort");
    transaction.commit().await.unwrap();
    assert_eq!(committed(&server), "plain\nnewer\n");
}

#[test]
fn a_transaction_that_has_ended_is_not_shown_as_open() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]);
    stdout(&server.run_with(&["produce", "t", "--transactional-id", "id"], "v\n"));
    let described = || -> Value {
        serde_json::from_str(&server.run(&["transaction", "describe", "id", "--output", "json"])).unwrap()
    };
    // The markers are written behind the answer to the producer.
    while described()[0]["state"] == "PrepareCommit" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!((&described()[0]["state"], &described()[0]["duration_ms"]), (&"CompleteCommit".into(), &Value::Null));
    let wrong = server.run_with(&["transaction", "list", "--state", "open"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("CompleteCommit"), "it names what there is");
}

#[test]
fn a_search_at_a_broker_that_is_not_there_finds_the_mistake() {
    let server = Server::start();
    let (code, message) = failure(&server.run_with(&["transaction", "find-hanging", "--broker", "7"], ""));
    assert!(code == 1 && message.contains("there is no broker 7"), "{code}: {message}");
    assert_eq!(server.run(&["transaction", "find-hanging", "--broker", "1"]).lines().count(), 1);
}
