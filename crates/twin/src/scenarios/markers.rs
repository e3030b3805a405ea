//! Markers as a transaction's coordinator writes them, and what partitions remember of producers.

use milena_protocol::Uuid;
use milena_protocol::messages::describe_producers_request::TopicRequest;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use milena_protocol::messages::{
    DescribeProducersRequest, FetchRequest, InitProducerIdRequest, OffsetCommitRequest, WriteTxnMarkersRequest,
};

use super::Scenario;
use super::requests::{fetch, from, produce};
use crate::batch::Batch;
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "markers/without_transaction",
        shows: "a marker is appended though no transaction is open, and aborts nothing",
        traps: &[158],
        play: without_transaction,
    },
    Scenario {
        name: "markers/coordinator_epochs",
        shows: "a marker of an older coordinator is fenced, by each producer's last one",
        traps: &[157],
        play: coordinator_epochs,
    },
    Scenario {
        name: "markers/producer_epochs",
        shows: "the epochs that a marker may carry, by the version of the transaction",
        traps: &[],
        play: producer_epochs,
    },
    Scenario {
        name: "markers/unknown_partitions",
        shows: "partitions that are not there beside one that is, and requests for nothing",
        traps: &[],
        play: unknown_partitions,
    },
    Scenario {
        name: "markers/group_offsets",
        shows: "partitions of the groups' topic are ended by their coordinator",
        traps: &[159],
        play: group_offsets,
    },
    Scenario {
        name: "producers/every_state",
        shows: "what is told of a producer: none, one with records, one with a marker",
        traps: &[162],
        play: every_state,
    },
    Scenario {
        name: "producers/unknown_partitions",
        shows: "topics and partitions that are not there, and names that no topic may have",
        traps: &[],
        play: unknown_producers,
    },
];

/// A marker for partition 0 of a topic.
pub(super) fn marker(
    topic: &Topic,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
) -> WritableTxnMarker {
    WritableTxnMarker {
        producer_id,
        producer_epoch,
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic { name: topic.name.clone(), partition_indexes: vec![0] }],
        coordinator_epoch,
        transaction_version: 0,
    }
}

pub(super) fn write(marker: WritableTxnMarker) -> WriteTxnMarkersRequest {
    WriteTxnMarkersRequest { markers: vec![marker] }
}

/// What partition 0 of a topic remembers.
pub(super) fn describe(topic: &Topic) -> DescribeProducersRequest {
    let topics = vec![TopicRequest { name: topic.name.clone(), partition_indexes: vec![0] }];
    DescribeProducersRequest { topics }
}

fn producer_id(x: &mut Exchange) -> i64 {
    let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    x.quietly(4, &request).map_or(0, |answer| answer.producer_id)
}

/// Everything in partition 0, as both kinds of readers see it.
fn read(x: &mut Exchange, topic: &Topic) {
    for isolation_level in [0, 1] {
        x.ask(12, &FetchRequest { isolation_level, ..fetch(topic, vec![from(0, 0)]) });
    }
}

fn without_transaction(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let id = producer_id(x);
    for version in [1, 2] {
        x.ask(version, &write(marker(&topic, id, 3, 0)));
        let commit = WritableTxnMarker { transaction_result: true, ..marker(&topic, id, 3, 0) };
        x.ask(version, &write(commit));
    }
    x.ask(0, &describe(&topic));
    read(x, &topic);
    // The records of a producer that is known by its marker alone.
    for (epoch, sequence) in [(2, 0), (3, 1), (3, 0), (4, 0)] {
        x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(id, epoch, sequence)));
    }
}

fn coordinator_epochs(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let (one, other) = (producer_id(x), producer_id(x));
    for (id, epoch) in [(one, 5), (one, 4), (one, 5), (other, 4), (one, 6), (one, -1), (other, -1), (other, 4)] {
        x.ask(1, &write(marker(&topic, id, 0, epoch)));
        x.ask(2, &write(marker(&topic, id, 0, epoch)));
    }
    x.ask(0, &describe(&topic));
    read(x, &topic);
}

fn producer_epochs(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let id = producer_id(x);
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(id, 5, 0)));
    for (version, epoch) in [(0, 4), (0, 5), (1, 4), (2, 4), (2, 5), (2, 6), (2, 6), (2, 5), (1, 6), (0, 7), (3, 7)] {
        let marker = WritableTxnMarker { transaction_version: version, ..marker(&topic, id, epoch, 0) };
        x.ask(2, &write(marker));
    }
    x.ask(0, &describe(&topic));
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(id, 6, 1)));
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(id, 7, 1)));
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(id, 7, 0)));
    for epoch in [i16::MAX, 0, -1] {
        let marker = WritableTxnMarker { transaction_version: 2, ..marker(&topic, id, epoch, 0) };
        x.ask(2, &write(marker));
    }
    read(x, &topic);
}

fn unknown_partitions(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let missing = Topic { name: x.name("missing"), id: Uuid::ZERO };
    let (one, other) = (producer_id(x), producer_id(x));
    let good = marker(&topic, one, 0, 0);
    for version in [1, 2] {
        x.ask(version, &WriteTxnMarkersRequest { markers: vec![] });
        x.ask(version, &write(marker(&missing, one, 0, 0)));
        x.ask(version, &write(WritableTxnMarker { topics: vec![], ..good.clone() }));
        let topics = vec![
            WritableTxnMarkerTopic { name: topic.name.clone(), partition_indexes: vec![0, 1, 2] },
            WritableTxnMarkerTopic { name: missing.name.clone(), partition_indexes: vec![0] },
        ];
        x.ask(version, &write(WritableTxnMarker { topics, ..good.clone() }));
        // Several markers: one producer each, and one producer twice. Kafka forgets to answer where the last one names
        // no partition that it has.
        x.ask(version, &WriteTxnMarkersRequest { markers: vec![marker(&missing, other, 0, 0), good.clone()] });
        let second = WritableTxnMarker { coordinator_epoch: -1, ..good.clone() };
        x.ask(version, &WriteTxnMarkersRequest { markers: vec![good.clone(), second] });
    }
    read(x, &topic);
}

fn group_offsets(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    let commit = OffsetCommitRequest {
        group_id: x.name("g"),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic { name: topic.name, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    x.wait_until(8, &commit, |answer| answer.topics[0].partitions[0].error_code == 0);
    let id = producer_id(x);
    let groups = Topic { name: "__consumer_offsets".to_owned(), id: Uuid::ZERO };
    let of = |epoch: i16, coordinator_epoch: i32, transaction_version: i8| {
        let marker = marker(&groups, id, epoch, coordinator_epoch);
        let topics = vec![WritableTxnMarkerTopic { partition_indexes: vec![0, 1, 2, 7], ..marker.topics[0].clone() }];
        write(WritableTxnMarker { topics, transaction_version, ..marker })
    };
    for (epoch, coordinator_epoch, version) in [(0, 3, 0), (0, 2, 0), (1, 3, 2), (0, 3, 2), (0, 3, 1)] {
        x.ask(2, &of(epoch, coordinator_epoch, version));
    }
    x.ask(1, &of(1, 3, 0));
}

fn every_state(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    x.ask(0, &describe(&topic));
    let (one, other) = (producer_id(x), producer_id(x));
    x.ask(9, &produce(&topic, &Batch::of(&["a", "b"]).by(one, 1, 0)));
    x.ask(0, &describe(&topic));
    x.ask(2, &write(marker(&topic, other, 2, 7)));
    x.ask(0, &describe(&topic));
    x.ask(2, &write(marker(&topic, one, 1, 9)));
    x.ask(0, &describe(&topic));
    x.ask(2, &write(marker(&topic, one, 3, 9)));
    x.ask(0, &describe(&topic));
}

fn unknown_producers(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let asked =
        |name: &str, partitions: &[i32]| TopicRequest { name: name.to_owned(), partition_indexes: partitions.to_vec() };
    let missing = x.name("missing");
    x.ask(0, &DescribeProducersRequest { topics: vec![] });
    x.ask(0, &DescribeProducersRequest { topics: vec![asked(&topic.name, &[])] });
    x.ask(0, &DescribeProducersRequest { topics: vec![asked(&topic.name, &[0, 1, -1, 0]), asked(&missing, &[0])] });
    x.ask(0, &DescribeProducersRequest { topics: vec![asked("", &[0]), asked("not/a/topic", &[0, 1])] });
}
