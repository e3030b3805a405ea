//! A producer against a broker that a test plays: which requests leave, in which version and order, and what the owner is
//! told when they are refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use milena_protocol::header::{RequestHeader, response_frame};
use milena_protocol::messages::*;
use milena_protocol::wire::{Decoder, Segment};
use milena_protocol::{ApiKey, ErrorCode, Message, TopicPartition};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::ClusterSettings;
use crate::transport::{Address, Dial, Dialing, Stream};

/// What the broker is told to refuse, and what it was asked.
#[derive(Default)]
struct Script {
    transaction_version: i16,
    refusals: BTreeMap<ApiKey, VecDeque<ErrorCode>>,
    asked: Vec<(ApiKey, i16)>,
    epoch: i16,
}

#[derive(Clone, Default)]
struct Broker(Arc<Mutex<Script>>);

impl Dial for Broker {
    fn dial(&self, _: &Address) -> Dialing {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let broker = self.clone();
        tokio::spawn(async move { broker.serve(theirs).await });
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

impl Broker {
    fn speaking(transaction_version: i16) -> Broker {
        let broker = Broker::default();
        broker.0.lock().unwrap().transaction_version = transaction_version;
        broker
    }

    /// The next requests of this kind are refused with these codes, one each.
    fn refuse(&self, key: ApiKey, codes: &[ErrorCode]) {
        self.0.lock().unwrap().refusals.entry(key).or_default().extend(codes);
    }

    /// What was asked about transactions since the last look, in order.
    fn asked(&self) -> Vec<(ApiKey, i16)> {
        let about_transactions = |(key, _): &(ApiKey, i16)| !matches!(key, ApiKey::ApiVersions | ApiKey::Metadata);
        std::mem::take(&mut self.0.lock().unwrap().asked).into_iter().filter(about_transactions).collect()
    }

    async fn serve(self, mut stream: DuplexStream) -> Option<()> {
        loop {
            let size = stream.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(size).ok()?];
            stream.read_exact(&mut frame).await.ok()?;
            let mut decoder = Decoder::new(frame.into());
            let mut header = RequestHeader::decode_prefix(&mut decoder).ok()?;
            let key = ApiKey::from_number(header.key)?;
            header.decode_rest(&mut decoder, key).ok()?;
            for segment in self.answer(key, &header, &mut decoder).ok()? {
                let Segment::Bytes(bytes) = segment else { unreachable!("no answer refers to a file") };
                stream.write_all(&bytes).await.ok()?;
            }
        }
    }

    fn answer(&self, key: ApiKey, header: &RequestHeader, body: &mut Decoder) -> io::Result<Vec<Segment>> {
        let mut script = self.0.lock().unwrap();
        script.asked.push((key, header.version));
        let error_code = script.refusals.get_mut(&key).and_then(VecDeque::pop_front).map_or(0, ErrorCode::number);
        let (version, id) = (header.version, header.correlation_id);
        let wrong = |error| io::Error::other(format!("{error}"));
        let segments = match key {
            ApiKey::ApiVersions => response_frame(key, &versions(script.transaction_version), version, id),
            ApiKey::Metadata => response_frame(key, &metadata(), version, id),
            ApiKey::FindCoordinator => {
                let request = FindCoordinatorRequest::decode(body, version).map_err(wrong)?;
                let key_asked = request.coordinator_keys[0].clone();
                let found = find_coordinator_response::Coordinator {
                    key: key_asked,
                    node_id: 1,
                    error_code,
                    ..Default::default()
                };
                let answer = FindCoordinatorResponse { coordinators: vec![found], ..Default::default() };
                response_frame(key, &answer, version, id)
            }
            ApiKey::InitProducerId => {
                let producer_epoch = script.epoch;
                script.epoch += 1;
                let answer =
                    InitProducerIdResponse { error_code, producer_id: 7, producer_epoch, ..Default::default() };
                response_frame(key, &answer, version, id)
            }
            ApiKey::AddPartitionsToTxn => {
                let request = AddPartitionsToTxnRequest::decode(body, version).map_err(wrong)?;
                let topic = &request.v3_and_below_topics[0];
                let result = add_partitions_to_txn_response::AddPartitionsToTxnPartitionResult {
                    partition_index: topic.partitions[0],
                    partition_error_code: error_code,
                };
                let result = add_partitions_to_txn_response::AddPartitionsToTxnTopicResult {
                    name: topic.name.clone(),
                    results_by_partition: vec![result],
                };
                let results_by_topic_v3_and_below = vec![result];
                let answer = AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() };
                response_frame(key, &answer, version, id)
            }
            ApiKey::AddOffsetsToTxn => {
                response_frame(key, &AddOffsetsToTxnResponse { error_code, ..Default::default() }, version, id)
            }
            ApiKey::TxnOffsetCommit => {
                let result =
                    txn_offset_commit_response::TxnOffsetCommitResponsePartition { error_code, ..Default::default() };
                let topic = txn_offset_commit_response::TxnOffsetCommitResponseTopic {
                    name: "t".to_owned(),
                    partitions: vec![result],
                };
                let answer = TxnOffsetCommitResponse { topics: vec![topic], ..Default::default() };
                response_frame(key, &answer, version, id)
            }
            ApiKey::EndTxn => {
                let (producer_id, producer_epoch) = if version >= 5 { (7, script.epoch) } else { (-1, -1) };
                script.epoch += i16::from(version >= 5);
                let answer = EndTxnResponse { error_code, producer_id, producer_epoch, ..Default::default() };
                response_frame(key, &answer, version, id)
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode(body, version).map_err(wrong)?;
                let topic = &request.topic_data[0];
                let partition_responses = vec![produce_response::PartitionProduceResponse {
                    index: topic.partition_data[0].index,
                    error_code,
                    ..Default::default()
                }];
                let topic = produce_response::TopicProduceResponse {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partition_responses,
                };
                response_frame(key, &ProduceResponse { responses: vec![topic], ..Default::default() }, version, id)
            }
            other => return Err(io::Error::other(format!("{other:?} is not played"))),
        };
        segments.map_err(|error| io::Error::other(error.to_string()))
    }
}

fn versions(transaction_version: i16) -> ApiVersionsResponse {
    fn api<R: milena_protocol::Request>() -> api_versions_response::ApiVersion {
        api_versions_response::ApiVersion { api_key: R::KEY as i16, min_version: R::OLDEST, max_version: R::NEWEST }
    }
    let feature = api_versions_response::FinalizedFeatureKey {
        name: "transaction.version".to_owned(),
        max_version_level: transaction_version,
        min_version_level: transaction_version,
    };
    ApiVersionsResponse {
        api_keys: vec![
            api::<ApiVersionsRequest>(),
            api::<MetadataRequest>(),
            api::<FindCoordinatorRequest>(),
            api::<InitProducerIdRequest>(),
            api::<AddPartitionsToTxnRequest>(),
            api::<AddOffsetsToTxnRequest>(),
            api::<TxnOffsetCommitRequest>(),
            api::<EndTxnRequest>(),
            api::<ProduceRequest>(),
        ],
        finalized_features: vec![feature],
        finalized_features_epoch: 1,
        ..Default::default()
    }
}

fn metadata() -> MetadataResponse {
    let partition = |partition_index| metadata_response::MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        leader_epoch: 0,
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![metadata_response::MetadataResponseBroker {
            node_id: 1,
            host: "broker".to_owned(),
            port: 9092,
            ..Default::default()
        }],
        topics: vec![metadata_response::MetadataResponseTopic {
            name: Some("t".to_owned()),
            topic_id: milena_protocol::Uuid::from_random([1; 16]).unwrap(),
            partitions: vec![partition(0), partition(1)],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn producer(broker: &Broker) -> TransactionalProducer {
    let mut settings = ClusterSettings::new(vec![Address::new("broker", 9092)]);
    settings.dialer = Arc::new(broker.clone());
    let cluster = Cluster::connect(settings).await.unwrap();
    TransactionalProducer::open(&cluster, TransactionSettings::new("id")).await.unwrap()
}

fn record(partition: i32) -> ProducedRecord {
    ProducedRecord { partition: Some(partition), ..ProducedRecord::new("t", "v") }
}

fn offsets() -> BTreeMap<TopicPartition, Offset> {
    BTreeMap::from([(TopicPartition::new("t", 0), Offset(5))])
}

use ApiKey::{AddOffsetsToTxn, AddPartitionsToTxn, EndTxn, FindCoordinator, InitProducerId, Produce, TxnOffsetCommit};

#[tokio::test]
async fn the_explicit_protocol_names_everything_once_and_in_versions_that_add_nothing() {
    let broker = Broker::speaking(0);
    let mut producer = producer(&broker).await;
    assert_eq!(broker.asked(), [(FindCoordinator, 6), (InitProducerId, 5)]);
    let transaction = producer.begin().await.unwrap();
    for partition in [0, 1, 0] {
        transaction.send(record(partition)).await.unwrap().wait().await.unwrap();
    }
    transaction.send_offsets(&Committer::nobody("g"), &offsets()).await.unwrap();
    transaction.send_offsets(&Committer::nobody("g"), &offsets()).await.unwrap();
    transaction.commit().await.unwrap();
    let expected = [
        (AddPartitionsToTxn, 3),
        (Produce, 11),
        (AddPartitionsToTxn, 3),
        (Produce, 11),
        (Produce, 11),
        (AddOffsetsToTxn, 4),
        (FindCoordinator, 6),
        (TxnOffsetCommit, 4),
        (TxnOffsetCommit, 4),
        (EndTxn, 4),
    ];
    assert_eq!(broker.asked(), expected);
}

#[tokio::test]
async fn the_implicit_protocol_names_nothing_and_speaks_the_newest_versions() {
    let broker = Broker::speaking(2);
    let mut producer = producer(&broker).await;
    broker.asked();
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    transaction.send_offsets(&Committer::nobody("g"), &offsets()).await.unwrap();
    transaction.commit().await.unwrap();
    let asked: BTreeSet<(ApiKey, i16)> = broker.asked().into_iter().collect();
    assert_eq!(asked, BTreeSet::from([(Produce, 13), (FindCoordinator, 6), (TxnOffsetCommit, 5), (EndTxn, 5)]));
    producer.begin().await.unwrap().abort().await.unwrap();
    assert_eq!(broker.asked(), [], "nobody needs to hear of a transaction without contents");
}

#[tokio::test]
async fn what_passes_is_asked_again_and_a_coordinator_that_moved_is_found_again() {
    let broker = Broker::speaking(0);
    broker.refuse(InitProducerId, &[ErrorCode::ConcurrentTransactions, ErrorCode::NotCoordinator]);
    let mut producer = producer(&broker).await;
    let asked: Vec<ApiKey> = broker.asked().into_iter().map(|(key, _)| key).collect();
    assert_eq!(asked, [FindCoordinator, InitProducerId, InitProducerId, FindCoordinator, InitProducerId]);
    broker.refuse(AddPartitionsToTxn, &[ErrorCode::ConcurrentTransactions]);
    broker.refuse(EndTxn, &[ErrorCode::CoordinatorLoadInProgress]);
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_refused_record_costs_its_transaction_and_an_epoch() {
    let broker = Broker::speaking(0);
    let mut producer = producer(&broker).await;
    broker.refuse(Produce, &[ErrorCode::MessageTooLarge]);
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap().wait().await.unwrap_err();
    let later = transaction.send(record(1)).await.unwrap_err();
    assert!(matches!(later, Error::TransactionFailed { .. }), "{later}");
    broker.asked();
    let told = transaction.commit().await.unwrap_err();
    assert_eq!(told.code(), Some(ErrorCode::MessageTooLarge));
    assert_eq!(broker.asked(), [(EndTxn, 4), (InitProducerId, 5)], "aborted, and sequences begin anew");
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_fenced_producer_is_told_so_and_asks_nothing_more() {
    let broker = Broker::speaking(2);
    let mut producer = producer(&broker).await;
    broker.refuse(EndTxn, &[ErrorCode::ProducerFenced]);
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    let told = transaction.commit().await.unwrap_err();
    assert!(matches!(told, Error::ProducerFailed { .. }) && told.code() == Some(ErrorCode::ProducerFenced), "{told}");
    broker.asked();
    assert!(matches!(producer.begin().await.map(drop), Err(Error::ProducerFailed { .. })));
    assert_eq!(broker.asked(), []);
}

#[tokio::test]
async fn a_member_that_was_left_behind_costs_the_transaction_alone() {
    let broker = Broker::speaking(2);
    let mut producer = producer(&broker).await;
    broker.refuse(TxnOffsetCommit, &[ErrorCode::IllegalGeneration]);
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap();
    let told = transaction.send_offsets(&Committer::nobody("g"), &offsets()).await.unwrap_err();
    assert!(matches!(told, Error::TransactionFailed { .. }), "{told}");
    transaction.abort().await.unwrap();
    producer.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_aborted_before_the_next() {
    let broker = Broker::speaking(2);
    let mut producer = producer(&broker).await;
    let transaction = producer.begin().await.unwrap();
    transaction.send(record(0)).await.unwrap().wait().await.unwrap();
    drop(transaction);
    broker.asked();
    let next = producer.begin().await.unwrap();
    assert_eq!(broker.asked(), [(EndTxn, 5)]);
    next.commit().await.unwrap();
}
