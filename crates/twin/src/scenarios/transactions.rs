//! Transactions as partitions and groups see them: what is verified, what readers are shown, which offsets count.

use milena_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use milena_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListOffsetsRequest, OffsetFetchRequest, ProduceRequest, TxnOffsetCommitRequest,
};

use super::Scenario;
use super::markers::describe;
use super::requests::{fetch, from, offset_of, produce, produce_bytes};
use crate::batch::Batch;
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "transactions/visibility",
        shows: "open, committed and aborted transactions, as both kinds of readers see them",
        traps: &[64, 66, 80, 82],
        play: visibility,
    },
    Scenario {
        name: "transactions/aborted_order",
        shows: "aborted transactions are named from the first offset read to the last",
        traps: &[64, 65],
        play: aborted_order,
    },
    Scenario {
        name: "transactions/unverified",
        shows: "a batch whose partition was not added to its transaction, at each version",
        traps: &[49, 50],
        play: unverified,
    },
    Scenario {
        name: "transactions/added_by_produce",
        shows: "from version 12 on a batch adds its partition to the transaction",
        traps: &[49],
        play: added_by_produce,
    },
    Scenario {
        name: "transactions/two_producers",
        shows: "two producers in one request, and a producer that is not the transaction's",
        traps: &[51],
        play: two_producers,
    },
    Scenario {
        name: "transactions/plain_batch_inside",
        shows: "a batch outside of the transaction that its producer has open",
        traps: &[48],
        play: plain_batch_inside,
    },
    Scenario {
        name: "transactions/epochs",
        shows: "batches of older and newer epochs, before and after the transaction's end",
        traps: &[45, 46],
        play: epochs,
    },
    Scenario {
        name: "transactions/offsets",
        shows: "offsets of a transaction at each version: pending, then there; an abort leaves none",
        traps: &[123, 127],
        play: offsets,
    },
    Scenario {
        name: "transactions/offsets_refused",
        shows: "members that are none, generations that are not, transactions that are not there",
        traps: &[],
        play: offsets_refused,
    },
];

/// A producer with a transactional id, as the coordinator gave it.
pub(super) struct Producer {
    transactional_id: String,
    id: i64,
    epoch: i16,
}

/// Enters in silence.
pub(super) fn enter(x: &mut Exchange, suffix: &str) -> Producer {
    let transactional_id = x.name(suffix);
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec![transactional_id.clone()],
        ..FindCoordinatorRequest::default()
    };
    x.wait_until(4, &find, |answer| answer.coordinators.first().is_some_and(|found| found.error_code == 0));
    let request = InitProducerIdRequest {
        transactional_id: Some(transactional_id.clone()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    x.wait_until(4, &request, |answer| answer.error_code == 0);
    let entered = x.quietly(4, &request);
    let (id, epoch) = entered.map_or((0, 0), |entered| (entered.producer_id, entered.producer_epoch));
    Producer { transactional_id, id, epoch }
}

impl Producer {
    fn batch(&self, value: &'static str, sequence: i32) -> Batch {
        Batch { attributes: 0x10, ..Batch::of(&[value]).by(self.id, self.epoch, sequence) }
    }

    fn produce(&self, topic: &Topic, batch: &Batch) -> ProduceRequest {
        ProduceRequest { transactional_id: Some(self.transactional_id.clone()), ..produce(topic, batch) }
    }

    fn add(&self, topic: &Topic, partitions: &[i32]) -> AddPartitionsToTxnRequest {
        AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.name.clone(),
                partitions: partitions.to_vec(),
            }],
            ..AddPartitionsToTxnRequest::default()
        }
    }

    /// Adds partition 0 in silence, while the last transaction ends.
    fn added(&self, x: &mut Exchange, topic: &Topic) {
        let none =
            |results: &[milena_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnTopicResult]| {
                results
                    .iter()
                    .flat_map(|topic| &topic.results_by_partition)
                    .all(|found| found.partition_error_code == 0)
            };
        x.wait_until(3, &self.add(topic, &[0]), |answer| none(&answer.results_by_topic_v3_and_below));
    }

    /// Adds partition 0 and appends a batch to it.
    fn write(&self, x: &mut Exchange, topic: &Topic, value: &'static str, sequence: i32) {
        self.added(x, topic);
        x.ask(11, &self.produce(topic, &self.batch(value, sequence)));
    }

    fn end(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        }
    }

    /// Ends the transaction and waits until its coordinator says so: until then it is busy with the markers, and tells
    /// whoever asks to come back.
    fn ended(&self, x: &mut Exchange, committed: bool) {
        x.ask(3, &self.end(committed));
        x.wait_until(0, &super::transactional_ids::describe(&[&self.transactional_id]), |answer| {
            answer.transaction_states.iter().all(|found| found.transaction_state.starts_with("Complete"))
        });
    }

    pub(super) fn commit(&self, x: &Exchange, topic: &Topic, offset: i64) -> TxnOffsetCommitRequest {
        let partition = TxnOffsetCommitRequestPartition {
            committed_offset: offset,
            committed_metadata: Some("m".to_owned()),
            ..Default::default()
        };
        TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: x.name("g"),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic { name: topic.name.clone(), partitions: vec![partition] }],
            ..TxnOffsetCommitRequest::default()
        }
    }

    /// Adds the group's offsets in silence.
    pub(super) fn offsets_added(&self, x: &mut Exchange) {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: x.name("g"),
        };
        x.wait_until(3, &request, |answer| answer.error_code == 0);
    }
}

/// Everything in partition 0 from `offset` on, and its end, as both kinds of readers see it.
fn read(x: &mut Exchange, topic: &Topic, offset: i64) {
    for isolation_level in [0, 1] {
        x.ask(12, &FetchRequest { isolation_level, ..fetch(topic, vec![from(0, offset)]) });
        for time in [-1, 0] {
            x.ask(8, &ListOffsetsRequest { isolation_level, ..offset_of(topic, time) });
        }
    }
}

fn visibility(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let (one, other) = (enter(x, "t1"), enter(x, "t2"));
    one.write(x, &topic, "a", 0);
    read(x, &topic, 0);
    other.write(x, &topic, "b", 0);
    x.ask(9, &produce(&topic, &Batch::of(&["plain"])));
    other.ended(x, false);
    // The second transaction is decided, but stands behind the first.
    read(x, &topic, 0);
    one.write(x, &topic, "c", 1);
    one.ended(x, true);
    read(x, &topic, 0);
    read(x, &topic, 2);
    x.ask(4, &FetchRequest { isolation_level: 1, ..fetch(&topic, vec![from(0, 0)]) });
}

fn aborted_order(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let producers = [enter(x, "t1"), enter(x, "t2"), enter(x, "t3")];
    for producer in &producers {
        producer.write(x, &topic, "a", 0);
    }
    for producer in producers.iter().rev() {
        producer.ended(x, false);
    }
    for offset in [0, 1, 3, 5, 6] {
        x.ask(12, &FetchRequest { isolation_level: 1, ..fetch(&topic, vec![from(0, offset)]) });
    }
}

/// To be recorded alone, as [`epochs`]: where several producers begin transactions at the same time, Kafka's node asks
/// for all of them at once, and answers each in words that the first one knows.
fn unverified(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let producer = enter(x, "t");
    let asked = producer.produce(&topic, &producer.batch("a", 0));
    for version in [3, 8, 10, 11] {
        x.ask(version, &asked);
    }
    // With another partition in the transaction, and for a transaction that is not there.
    x.ask(3, &producer.add(&topic, &[1]));
    for version in [8, 11] {
        x.ask(version, &asked);
        x.ask(version, &ProduceRequest { transactional_id: Some(x.name("missing")), ..asked.clone() });
        x.ask(version, &ProduceRequest { transactional_id: Some(String::new()), ..asked.clone() });
    }
    // A plain batch needs no coordinator's word.
    x.ask(11, &producer.produce(&topic, &Batch::of(&["plain"])));
    x.ask(0, &describe(&topic));
    read(x, &topic, 0);
}

fn added_by_produce(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let producer = enter(x, "t");
    for (version, sequence) in [(12, 0), (13, 1), (11, 2), (12, 2), (12, 4)] {
        x.ask(version, &producer.produce(&topic, &producer.batch("a", sequence)));
    }
    let fenced = Batch { attributes: 0x10, ..Batch::of(&["b"]).by(producer.id, producer.epoch + 5, 0) };
    x.ask(12, &producer.produce(&topic, &fenced));
    let partitions = [(0, producer.batch("c", 3).records()), (1, producer.batch("d", 0).records())];
    let transactional_id = Some(producer.transactional_id.clone());
    x.ask(12, &ProduceRequest { transactional_id, ..produce_bytes(&topic, &partitions) });
    read(x, &topic, 0);
}

fn two_producers(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let (one, other) = (enter(x, "t1"), enter(x, "t2"));
    one.added(x, &topic);
    other.added(x, &topic);
    let partitions = [(0, one.batch("a", 0).records()), (1, other.batch("b", 0).records())];
    for version in [3, 11, 12] {
        let transactional_id = Some(one.transactional_id.clone());
        x.ask(version, &ProduceRequest { transactional_id, ..produce_bytes(&topic, &partitions) });
        x.ask(version, &one.produce(&topic, &other.batch("b", 0)));
    }
    read(x, &topic, 0);
}

fn plain_batch_inside(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let producer = enter(x, "t");
    producer.write(x, &topic, "a", 0);
    let plain = Batch { attributes: 0, ..producer.batch("b", 1) };
    x.ask(9, &producer.produce(&topic, &plain));
    x.ask(9, &produce(&topic, &plain));
    x.ask(9, &producer.produce(&topic, &producer.batch("c", 1)));
    producer.ended(x, true);
    x.ask(9, &produce(&topic, &Batch { attributes: 0, ..producer.batch("b", 2) }));
    x.ask(0, &describe(&topic));
}

fn epochs(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let old = enter(x, "t");
    old.write(x, &topic, "a", 0);
    let new = enter(x, "t");
    x.wait_until(0, &describe(&topic), |answer| {
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
        found.flat_map(|partition| &partition.active_producers).all(|found| found.current_txn_start_offset == -1)
    });
    for version in [9, 11, 12] {
        x.ask(version, &old.produce(&topic, &old.batch("b", 1)));
    }
    new.added(x, &topic);
    x.ask(11, &new.produce(&topic, &new.batch("c", 1)));
    x.ask(11, &new.produce(&topic, &new.batch("c", 0)));
    x.ask(11, &new.produce(&topic, &new.batch("c", 0)));
    new.ended(x, true);
    // The same batch again, once its transaction has ended.
    for version in [9, 11] {
        x.ask(version, &new.produce(&topic, &new.batch("c", 0)));
    }
    read(x, &topic, 0);
}

/// What the group has committed, with and without what is pending.
pub(super) fn committed(x: &mut Exchange, topic: &Topic) {
    for require_stable in [false, true] {
        let topics = vec![OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: vec![0, 1],
            ..OffsetFetchRequestTopics::default()
        }];
        let groups =
            vec![OffsetFetchRequestGroup { group_id: x.name("g"), topics: Some(topics), ..Default::default() }];
        x.ask(8, &OffsetFetchRequest { groups, require_stable, ..OffsetFetchRequest::default() });
    }
}

/// Ends the transaction and waits until the group's offsets are stable.
pub(super) fn settled(x: &mut Exchange, producer: &Producer, topic: &Topic, is_commit: bool) {
    x.ask(3, &producer.end(is_commit));
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.clone(),
        partition_indexes: vec![0],
        ..OffsetFetchRequestTopics::default()
    }];
    let groups = vec![OffsetFetchRequestGroup { group_id: x.name("g"), topics: Some(topics), ..Default::default() }];
    let request = OffsetFetchRequest { groups, require_stable: true, ..OffsetFetchRequest::default() };
    x.wait_until(8, &request, |answer| {
        let found = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
        found.clone().all(|partition| partition.error_code == 0)
    });
}

fn offsets(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let producer = enter(x, "t");
    let group = FindCoordinatorRequest { coordinator_keys: vec![x.name("g")], ..Default::default() };
    x.wait_until(6, &group, |answer| answer.coordinators.first().is_some_and(|found| found.error_code == 0));
    for version in 0..=4 {
        producer.offsets_added(x);
        let asked = producer.commit(x, &topic, 10 + i64::from(version));
        x.ask(version, &asked);
        committed(x, &topic);
        settled(x, &producer, &topic, version % 2 == 0);
        committed(x, &topic);
    }
    // The transaction is over.
    let asked = producer.commit(x, &topic, 20);
    x.ask(3, &asked);
    x.ask(4, &asked);
    // From version 5 on the commit adds the group to the transaction by itself.
    x.ask(5, &asked);
    committed(x, &topic);
    settled(x, &producer, &topic, true);
    committed(x, &topic);
}

fn offsets_refused(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let producer = enter(x, "t");
    let group = FindCoordinatorRequest { coordinator_keys: vec![x.name("g")], ..Default::default() };
    x.wait_until(6, &group, |answer| answer.coordinators.first().is_some_and(|found| found.error_code == 0));
    producer.offsets_added(x);
    let good = producer.commit(x, &topic, 5);
    for version in [3, 5] {
        x.ask(version, &TxnOffsetCommitRequest { group_id: String::new(), ..good.clone() });
        x.ask(version, &TxnOffsetCommitRequest { generation_id: 3, ..good.clone() });
        x.ask(version, &TxnOffsetCommitRequest { member_id: "m".to_owned(), generation_id: 0, ..good.clone() });
        x.ask(version, &TxnOffsetCommitRequest { producer_epoch: good.producer_epoch + 3, ..good.clone() });
        x.ask(version, &TxnOffsetCommitRequest { producer_id: good.producer_id + 1_000_000, ..good.clone() });
        x.ask(version, &TxnOffsetCommitRequest { transactional_id: x.name("missing"), ..good.clone() });
        let mut unknown = good.clone();
        unknown.topics[0].partitions[0].partition_index = 9;
        x.ask(version, &unknown);
        unknown.topics[0].name = x.name("missing");
        x.ask(version, &unknown);
        let mut large = good.clone();
        large.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000));
        x.ask(version, &large);
        x.ask(version, &TxnOffsetCommitRequest { topics: vec![], ..good.clone() });
    }
}
