//! Transactions where they begin in a partition: who is asked, who need not be, and how long a busy coordinator is
//! waited for. And how they end where something hangs.

use std::path::Path;
use std::sync::Arc;

use milena_base::Millis;
use milena_disk::MemoryDisk;
use milena_protocol::messages::delete_topics_request::DeleteTopicState;
use milena_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use milena_protocol::messages::{
    DeleteTopicsRequest, DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ProduceRequest,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, Sequence};
use milena_server::Running;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Client, node_with};
use crate::world::{Network, SimWorld};

const ID: &str = "copier";
/// Produce that only verifies, and Produce that adds to the transaction.
const VERIFIES: i16 = 11;
const ADDS: i16 = 12;

/// There is one node only.
const ONE_REPLICA: (&str, &str) = ("transaction.state.log.replication.factor", "1");

/// A producer of the transactional id.
struct Producer {
    id: i64,
    epoch: i16,
}

impl Producer {
    /// Enters, once the coordinator has loaded.
    async fn enter(client: &mut Client) -> Producer {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.to_owned()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![ID.to_owned()], ..Default::default() };
        client.ask(&find, 4).await;
        for _ in 0..100 {
            let answer = client.ask(&request, 4).await;
            if answer.error_code == 0 {
                return Producer { id: answer.producer_id, epoch: answer.producer_epoch };
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("no way in: {:?}", client.story.last());
    }

    /// Writes the first record of a transaction.
    async fn begin(&self, client: &mut Client, topic: &str, version: i16) -> ErrorCode {
        let mut builder = BatchBuilder::new();
        builder.add(Millis(1_700_000_000_000), None, Some(b"a"), &[]);
        let options = BatchOptions {
            producer_id: ProducerId(self.id),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: Sequence(0),
            is_transactional: true,
            ..BatchOptions::default()
        };
        let records = Records::Bytes(builder.build(&options).expect("not compressed"));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
        let transactional_id = Some(ID.to_owned());
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], transactional_id };
        let answer = client.ask(&request, version).await;
        ErrorCode::from_number(answer.responses[0].partition_responses[0].error_code)
    }

    /// Commits; the epoch of the next transaction comes with the answer.
    async fn commit(&mut self, client: &mut Client) {
        assert_eq!(self.end(client, true).await, ErrorCode::None);
    }

    async fn end(&mut self, client: &mut Client, committed: bool) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: ID.to_owned(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        let answer = client.ask(&request, 5).await;
        if answer.error_code == 0 {
            (self.id, self.epoch) = (answer.producer_id, answer.producer_epoch);
        }
        ErrorCode::from_number(answer.error_code)
    }
}

/// What the first batch of a transaction is answered whose producer told nobody that it begins.
async fn unannounced(verification: &str) -> ErrorCode {
    let network = Arc::new(Network::default());
    let more = [ONE_REPLICA, ("transaction.partition.verification.enable", verification)];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &more).await;
    let mut client = Client::connect(&network, 9001);
    client.create("t", 1).await;
    let error = Producer::enter(&mut client).await.begin(&mut client, "t", VERIFIES).await;
    running.stop().await;
    error
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_nobody_announced_is_refused_where_that_is_verified() {
    assert_eq!(unannounced("true").await, ErrorCode::TransactionAbortable);
    assert_eq!(unannounced("false").await, ErrorCode::None);
}

/// A node with a committed transaction whose marker cannot be written.
async fn with_a_commit_that_hangs(
    network: &Arc<Network>,
    disk: &MemoryDisk,
    more: &[(&str, &str)],
) -> (Running<SimWorld>, Client, Producer) {
    let running = node_with(network, disk, 9001, 1, more).await;
    let mut client = Client::connect(network, 9001);
    client.create("stuck", 1).await;
    client.create("free", 1).await;
    let mut producer = Producer::enter(&mut client).await;
    assert_eq!(producer.begin(&mut client, "stuck", ADDS).await, ErrorCode::None);
    running.stop().await;

    disk.deny(Path::new("/data/stuck-0"), true);
    let running = node_with(network, disk, 9001, 2, more).await;
    let mut client = Client::connect(network, 9001);
    sleep(Duration::from_secs(1)).await;
    producer.commit(&mut client).await;
    (running, client, producer)
}

/// Begins the next transaction elsewhere.
async fn begins_beside_a_commit_that_hangs(backoff_ms: &str, backoff_max_ms: &str) -> (ErrorCode, Duration) {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let more = [
        ONE_REPLICA,
        ("add.partitions.to.txn.retry.backoff.ms", backoff_ms),
        ("add.partitions.to.txn.retry.backoff.max.ms", backoff_max_ms),
    ];
    let (running, mut client, producer) = with_a_commit_that_hangs(&network, &disk, &more).await;
    let asked = Instant::now();
    let error = producer.begin(&mut client, "free", ADDS).await;
    let answered = asked.elapsed();
    running.stop().await;
    (error, answered)
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_ends_the_last_transaction_is_asked_again_for_a_while() {
    let (error, answered) = begins_beside_a_commit_that_hangs("70", "100").await;
    assert_eq!((error, answered), (ErrorCode::ConcurrentTransactions, Duration::from_millis(140)));
    let (error, answered) = begins_beside_a_commit_that_hangs("20", "0").await;
    assert_eq!((error, answered), (ErrorCode::ConcurrentTransactions, Duration::ZERO));
}

async fn state(client: &mut Client) -> String {
    let request = DescribeTransactionsRequest { transactional_ids: vec![ID.to_owned()] };
    client.ask(&request, 0).await.transaction_states.remove(0).transaction_state
}

#[tokio::test(start_paused = true)]
async fn whoever_knows_its_next_epoch_waits_for_the_markers_of_the_last_transaction() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let (running, mut client, mut producer) = with_a_commit_that_hangs(&network, &disk, &[ONE_REPLICA]).await;
    assert_eq!(state(&mut client).await, "PrepareCommit");
    assert_eq!(producer.end(&mut client, false).await, ErrorCode::ConcurrentTransactions);
    running.stop().await;

    disk.deny(Path::new("/data/stuck-0"), false);
    let running = node_with(&network, &disk, 9001, 3, &[ONE_REPLICA]).await;
    let mut client = Client::connect(&network, 9001);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&mut client).await, "CompleteCommit");
    assert_eq!(producer.end(&mut client, false).await, ErrorCode::None);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn trap_160_a_transaction_ends_when_the_topic_that_hangs_is_deleted() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let (running, mut client, _) = with_a_commit_that_hangs(&network, &disk, &[ONE_REPLICA]).await;
    let topics = vec![DeleteTopicState { name: Some("stuck".to_owned()), ..Default::default() }];
    client.ask(&DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() }, 6).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&mut client).await, "CompleteCommit");
    running.stop().await;
}
