//! Settings of a broker that change while it runs: each acts at once, and this broker's own count more than those of all.

use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::describe_producers_request::TopicRequest;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeProducersRequest,
    FindCoordinatorRequest, IncrementalAlterConfigsRequest, MetadataRequest, ProduceRequest,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, Sequence};
use milena_server::world::World;
use tokio::time::{Duration, sleep};

use crate::client::{Client, node_on, node_with};
use crate::world::{Network, SimWorld};

const PORT: u16 = 9001;
pub(crate) const OWN: &str = "1";
pub(crate) const ALL: &str = "";
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Sets settings of this broker or of all, or removes them.
pub(crate) async fn change(client: &mut Client, name: &str, settings: &[(&str, Option<&str>)]) {
    let config = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: BROKER,
        resource_name: name.to_owned(),
        configs: settings.iter().map(config).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = client.ask(&request, 1).await;
    assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
}

/// A batch of one record, idempotent or not, in a transaction or not.
fn produce(topic: &str, transactional_id: Option<&str>, producer_id: ProducerId, now: Millis) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.add(now, Some(b"key"), Some(b"value"), &[]);
    let options = BatchOptions {
        producer_id,
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(0),
        is_transactional: transactional_id.is_some(),
        ..BatchOptions::default()
    };
    let records = Records::Bytes(builder.build(&options).expect("not compressed"));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
    ProduceRequest {
        transactional_id: transactional_id.map(str::to_owned),
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
    }
}

async fn producers(client: &mut Client, topic: &str) -> usize {
    let topics = vec![TopicRequest { name: topic.to_owned(), partition_indexes: vec![0] }];
    let answer = client.ask(&DescribeProducersRequest { topics }, 0).await;
    answer.topics[0].partitions[0].active_producers.len()
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_idle_is_forgotten_when_its_time_is_up() {
    let network = Arc::new(Network::default());
    let often = [("log.retention.check.interval.ms", "1000"), ("producer.id.expiration.ms", "20000")];
    let world = SimWorld::new(&network, &MemoryDisk::new(), 1);
    let running = node_on(Arc::clone(&world), PORT, &often).await;
    let mut client = Client::connect(&network, PORT);
    client.create("t", 1).await;
    client.ask(&produce("t", None, ProducerId(7), world.now()), 9).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(producers(&mut client, "t").await, 1);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(producers(&mut client, "t").await, 0, "as the file says");
    change(&mut client, ALL, &[("producer.id.expiration.ms", Some("2000"))]).await;
    client.ask(&produce("t", None, ProducerId(8), world.now()), 9).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(producers(&mut client, "t").await, 0, "as was said of all brokers");
    change(&mut client, OWN, &[("producer.id.expiration.ms", Some("50000"))]).await;
    client.ask(&produce("t", None, ProducerId(9), world.now()), 9).await;
    sleep(Duration::from_secs(25)).await;
    assert_eq!(producers(&mut client, "t").await, 1, "this broker's own counts more");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn verification_is_switched_while_the_node_runs() {
    let network = Arc::new(Network::default());
    let small = [("transaction.state.log.replication.factor", "1"), ("transaction.state.log.num.partitions", "1")];
    let running = node_with(&network, &MemoryDisk::new(), PORT, 1, &small).await;
    let mut client = Client::connect(&network, PORT);
    for topic in ["on", "off", "on-again"] {
        client.create(topic, 1).await;
    }
    let mut seen = Vec::new();
    for (topic, value) in [("on", None), ("off", Some("false")), ("on-again", Some("true"))] {
        if let Some(value) = value {
            change(&mut client, OWN, &[("transaction.partition.verification.enable", Some(value))]).await;
        }
        let answer = client.ask(&produce(topic, Some("nobody"), ProducerId(7), Millis(1_700_000_000_000)), 9).await;
        seen.push(ErrorCode::from_number(answer.responses[0].partition_responses[0].error_code) == ErrorCode::None);
    }
    assert_eq!(seen, [false, true, false]);
    running.stop().await;
}

async fn beats(client: &mut Client, member: &str, epoch: i32) -> (i32, usize) {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    for _ in 0..200 {
        let answer = client.ask(&request, 1).await;
        match ErrorCode::from_number(answer.error_code) {
            ErrorCode::None => {
                let topics = answer.assignment.map_or(Vec::new(), |assignment| assignment.topic_partitions);
                return (answer.member_epoch, topics.iter().map(|topic| topic.partitions.len()).sum());
            }
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable => {
                sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other}"),
        }
    }
    panic!("nobody coordinates the group");
}

async fn assignment_epoch(client: &mut Client) -> i32 {
    let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".to_owned()], ..Default::default() };
    client.ask(&request, 1).await.groups[0].assignment_epoch
}

#[tokio::test(start_paused = true)]
async fn groups_are_assigned_as_often_as_their_broker_was_told_meanwhile() {
    let network = Arc::new(Network::default());
    let small = [("offsets.topic.replication.factor", "1"), ("offsets.topic.num.partitions", "1")];
    let running = node_with(&network, &MemoryDisk::new(), PORT, 1, &small).await;
    let mut client = Client::connect(&network, PORT);
    client.create("t", 2).await;
    // Somebody must have asked for the coordinator once, or there is no topic of groups.
    client.ask(&FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() }, 2).await;
    beats(&mut client, "a", 0).await;
    change(&mut client, ALL, &[("group.consumer.assignment.interval.ms", Some("2000"))]).await;
    change(&mut client, OWN, &[("group.consumer.assignment.interval.ms", Some("10000"))]).await;
    let before = assignment_epoch(&mut client).await;
    sleep(Duration::from_secs(5)).await;
    beats(&mut client, "b", 0).await;
    assert_eq!(assignment_epoch(&mut client).await, before, "not as often as brokers otherwise");
    sleep(Duration::from_secs(6)).await;
    beats(&mut client, "c", 0).await;
    assert!(assignment_epoch(&mut client).await > before);
    running.stop().await;
}

const EXTRA: &str = "PLAINTEXT://127.0.0.1:9001,EXTRA://127.0.0.1:9005";
const MAP: &str = "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT";

#[tokio::test(start_paused = true)]
async fn listeners_come_and_go_while_the_node_runs_and_are_there_after_a_restart() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    // What is not advertised may go again, as in Kafka.
    let advertised = [("advertised.listeners", "PLAINTEXT://127.0.0.1:9001")];
    let running = node_with(&network, &disk, PORT, 1, &advertised).await;
    let mut client = Client::connect(&network, PORT);
    assert!(network.connect(9005).is_none());
    let both = [("listeners", Some(EXTRA)), ("listener.security.protocol.map", Some(MAP))];
    change(&mut client, OWN, &both).await;
    let mut extra = Client::connect(&network, 9005);
    extra.ask(&ApiVersionsRequest::default(), 2).await;
    let told = extra.ask(&MetadataRequest::default(), 12).await;
    assert_eq!(told.brokers, [], "the broker registered before it had this listener");
    running.stop().await;

    let running = node_with(&network, &disk, PORT, 2, &advertised).await;
    let mut client = Client::connect(&network, PORT);
    let mut extra = Client::connect(&network, 9005);
    extra.ask(&ApiVersionsRequest::default(), 2).await;
    change(&mut client, OWN, &[("listeners", None)]).await;
    assert!(extra.is_cut_off().await, "who came in by it has to go");
    assert!(network.connect(9005).is_none());
    client.ask(&ApiVersionsRequest::default(), 2).await;
    running.stop().await;
}
