//! Appending: what is taken, what is refused, and what is remembered of producers.

use bytes::{Bytes, BytesMut};
use milena_protocol::Uuid;
use milena_protocol::messages::produce_request::ProduceRequest;
use milena_protocol::messages::{FetchRequest, InitProducerIdRequest};
use milena_protocol::wire::Records;

use super::Scenario;
use super::requests::{append, fetch, from, metadata_of, offset_of, produce, produce_bytes};
use crate::batch::{Batch, Compression, LONG_AGO_MS, Record};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "produce/every_version",
        shows: "one batch at each version: log start from 5, ids from 13",
        traps: &[58],
        play: every_version,
    },
    Scenario {
        name: "produce/acks",
        shows: "with acks 0 nothing is answered; what is not −1, 0 or 1 is refused for every partition",
        traps: &[29, 30],
        play: acks,
    },
    Scenario {
        name: "produce/acks_zero_refused",
        shows: "with acks 0 an error closes the connection",
        traps: &[29],
        play: acks_zero_refused,
    },
    Scenario {
        name: "produce/unknown_partitions",
        shows: "topics and partitions that are not there, beside one that is",
        traps: &[],
        play: unknown_partitions,
    },
    Scenario {
        name: "produce/not_one_batch",
        shows: "two batches, none, half a batch, and batches of old formats",
        traps: &[31],
        play: not_one_batch,
    },
    Scenario {
        name: "produce/wrong_headers",
        shows: "checksum, count and last offset that lie, control batches, sequences without a producer",
        traps: &[33, 38],
        play: wrong_headers,
    },
    Scenario {
        name: "produce/wrong_records",
        shows: "offset deltas out of order, and records that do not fill the batch",
        traps: &[33],
        play: wrong_records,
    },
    Scenario {
        name: "produce/client_offsets",
        shows: "a base offset and an epoch that the client made up are replaced",
        traps: &[32],
        play: client_offsets,
    },
    Scenario {
        name: "produce/compression",
        shows: "each kind comes back as it was sent; zstd needs version 7",
        traps: &[31],
        play: compression,
    },
    Scenario {
        name: "produce/broker_compression",
        shows: "a topic's own compression is applied to each batch",
        traps: &[39],
        play: broker_compression,
    },
    Scenario {
        name: "produce/too_large",
        shows: "max.message.bytes counts the batch with its header, as it was compressed",
        traps: &[40],
        play: too_large,
    },
    Scenario {
        name: "produce/larger_than_segment",
        shows: "a batch that no segment can hold",
        traps: &[41],
        play: larger_than_segment,
    },
    Scenario {
        name: "produce/compacted_topic",
        shows: "records without a key are refused one by one where the topic is compacted",
        traps: &[34, 57],
        play: compacted_topic,
    },
    Scenario {
        name: "produce/timestamps",
        shows: "times too far from now are refused, −1 is taken, and the largest is worked out again",
        traps: &[35, 36],
        play: timestamps,
    },
    Scenario {
        name: "produce/append_time",
        shows: "the broker's own time: flag, answer and checksum",
        traps: &[35, 37],
        play: append_time,
    },
    Scenario {
        name: "produce/duplicates",
        shows: "the last five batches of a producer are known again, with their first offsets",
        traps: &[42, 43],
        play: duplicates,
    },
    Scenario {
        name: "produce/sequences",
        shows: "gaps are refused, any beginning is taken where nothing is known",
        traps: &[43, 47],
        play: sequences,
    },
    Scenario {
        name: "produce/sequence_wrap",
        shows: "after the largest sequence comes 0, also within a batch",
        traps: &[44],
        play: sequence_wrap,
    },
    Scenario {
        name: "produce/producer_epochs",
        shows: "a new epoch begins at 0, an older one is refused",
        traps: &[45, 46],
        play: producer_epochs,
    },
    Scenario {
        name: "produce/internal_topics",
        shows: "clients do not write to internal topics",
        traps: &[52],
        play: internal_topics,
    },
    Scenario {
        name: "produce/min_isr",
        shows: "a minimum of in-sync replicas above their number is taken as their number",
        traps: &[53],
        play: min_isr,
    },
    Scenario {
        name: "produce/several_partitions",
        shows: "each partition answers for itself",
        traps: &[57],
        play: several_partitions,
    },
    Scenario {
        name: "produce/transactional_without_transaction",
        shows: "transactional marks without a transaction, in the request and in the batch",
        traps: &[49, 50],
        play: transactional_without_transaction,
    },
];

/// A producer id that the broker gave out.
pub(super) fn producer_id(x: &mut Exchange) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    x.quietly(4, &request).filter(|answer| answer.error_code == 0).map_or(-1, |answer| answer.producer_id)
}

fn read(x: &mut Exchange, topic: &Topic) {
    x.ask::<FetchRequest>(12, &fetch(topic, vec![from(0, 0)]));
}

fn every_version(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for version in 3..=13 {
        x.ask(version, &produce(&topic, &Batch::of(&["one", "two"])));
    }
    read(x, &topic);
}

fn acks(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let batch = Batch::of(&["a"]);
    for acks in [-1, 1] {
        x.ask(9, &ProduceRequest { acks, ..produce(&topic, &batch) });
    }
    x.send_unanswered(9, &ProduceRequest { acks: 0, ..produce(&topic, &batch) });
    x.ask(1, &metadata_of_nothing());
    let both = produce_bytes(&topic, &[(0, batch.records()), (1, batch.records()), (7, batch.records())]);
    for acks in [2, 5, -2, i16::MAX] {
        x.ask(3, &ProduceRequest { acks, ..both.clone() });
        x.ask(11, &ProduceRequest { acks, ..both.clone() });
    }
    x.ask_until(5, &offset_of(&topic, -1), |answer| answer.topics[0].partitions[0].offset == 3);
}

fn metadata_of_nothing() -> milena_protocol::messages::MetadataRequest {
    milena_protocol::messages::MetadataRequest { allow_auto_topic_creation: true, ..metadata_of(&[]) }
}

fn acks_zero_refused(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let wrong = Batch { crc: Some(1), ..Batch::of(&["a"]) };
    x.send_unanswered(9, &ProduceRequest { acks: 0, ..produce(&topic, &wrong) });
    x.pause(200);
    x.ask(1, &metadata_of_nothing());
    let unknown = produce_bytes(&topic, &[(5, Batch::of(&["a"]).records())]);
    x.send_unanswered(9, &ProduceRequest { acks: 0, ..unknown });
    x.pause(200);
    x.ask(1, &metadata_of_nothing());
}

fn unknown_partitions(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let batch = Batch::of(&["a"]);
    let none = Topic { name: x.name("none"), id: Uuid([9; 16]) };
    for version in [3, 9, 12, 13] {
        x.ask(version, &produce(&none, &batch));
        x.ask(version, &produce_bytes(&topic, &[(0, batch.records()), (1, batch.records()), (-1, batch.records())]));
    }
    x.ask(13, &produce(&Topic { id: Uuid::ZERO, ..topic.clone() }, &batch));
    x.ask(9, &produce(&Topic { name: String::new(), ..topic.clone() }, &batch));
    x.ask(9, &produce(&Topic { name: "sp ace".to_owned(), ..topic.clone() }, &batch));
    x.ask(9, &ProduceRequest { topic_data: Vec::new(), ..produce(&topic, &batch) });
    x.ask(9, &produce_bytes(&topic, &[]));
    x.ask(9, &produce_bytes(&topic, &[(0, batch.records()), (0, batch.records())]));
}

fn not_one_batch(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let one = Batch::of(&["a"]).bytes();
    let mut ask = |bytes: Records| {
        x.ask(3, &produce_bytes(&topic, &[(0, bytes.clone())]));
        x.ask(9, &produce_bytes(&topic, &[(0, bytes)]));
    };
    ask(Records::Bytes([&one[..], &one[..]].concat().into()));
    ask(Records::Bytes(Bytes::new()));
    // Null is not asked for: Kafka fails in a way that leaves the connection without an answer for ever.
    ask(Records::Bytes(one.slice(..40)));
    ask(Records::Bytes(one.slice(..10)));
    ask(Records::Bytes([&one[..], &[0; 5]].concat().into()));
    for magic in [0, 1, 3, -1] {
        ask(Batch { magic, ..Batch::of(&["a"]) }.records());
    }
    ask(Records::Bytes(old_message(0)));
    ask(Records::Bytes(old_message(1)));
    // A length that says less than a header, and one that says more than there is.
    for length in [0, 10, 1000, -1, i32::MAX] {
        let mut bytes = BytesMut::from(&one[..]);
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        ask(Records::Bytes(bytes.freeze()));
    }
}

/// A message of the format before batches, with a right CRC-32.
fn old_message(magic: u8) -> Bytes {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend_from_slice(&LONG_AGO_MS.to_be_bytes());
    }
    body.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'a']);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body) as u32;
    let size = (body.len() + 4) as i32;
    [&[0; 8][..], &size.to_be_bytes(), &crc.to_be_bytes(), &body].concat().into()
}

fn wrong_headers(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let good = Batch::of(&["a", "b"]);
    let wrong = [
        Batch { crc: Some(0), ..good.clone() },
        Batch { record_count: Some(3), ..good.clone() },
        Batch { record_count: Some(1), ..good.clone() },
        Batch { record_count: Some(0), ..good.clone() },
        Batch { record_count: Some(-1), ..good.clone() },
        Batch { last_offset_delta: Some(5), ..good.clone() },
        Batch { last_offset_delta: Some(0), ..good.clone() },
        Batch { last_offset_delta: Some(-1), ..good.clone() },
        Batch { records: Vec::new(), ..good.clone() },
        // A control batch, a transactional one, one with the bit of a delete horizon, one of unknown bits.
        Batch { attributes: 0x20, ..good.clone() },
        Batch { attributes: 0x10, ..good.clone() },
        Batch { attributes: 0x40, ..good.clone() },
        Batch { attributes: 0x80, ..good.clone() },
        // Compression kinds that do not exist.
        Batch { attributes: 5, ..good.clone() },
        Batch { attributes: 7, ..good.clone() },
        good.clone().by(7, 0, -1),
        good.clone().by(7, -1, 0),
        good.clone().by(-1, 0, 0),
        good.clone().by(-1, -1, 0),
    ];
    for batch in wrong {
        x.ask(9, &produce(&topic, &batch));
    }
    read(x, &topic);
}

fn wrong_records(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let delta = |value, delta| Record { offset_delta: Some(delta), ..Record::of(value) };
    let mut ask = |batch: Batch| {
        x.ask(9, &produce(&topic, &batch));
    };
    ask(Batch::new(vec![delta("a", 1), delta("b", 0)]));
    ask(Batch::new(vec![delta("a", 0), delta("b", 0)]));
    ask(Batch::new(vec![delta("a", 0), delta("b", 5)]));
    ask(Batch { last_offset_delta: Some(5), ..Batch::new(vec![delta("a", 0), delta("b", 5)]) });
    for kind in [Compression::Gzip, Compression::Zstd] {
        ask(Batch::new(vec![delta("a", 1), delta("b", 0)]).packed(kind));
        ask(Batch { record_count: Some(3), last_offset_delta: Some(2), ..Batch::of(&["a", "b"]).packed(kind) });
        ask(Batch { record_count: Some(1), last_offset_delta: Some(0), ..Batch::of(&["a", "b"]).packed(kind) });
    }
    ask(Batch { record_count: Some(3), last_offset_delta: Some(2), ..Batch::of(&["a", "b"]) });
    ask(Batch { record_count: Some(1), last_offset_delta: Some(0), ..Batch::of(&["a", "b"]) });
    // Plain records under a flag that says otherwise.
    for kind in [1, 2, 3, 4] {
        ask(Batch { attributes: kind, ..Batch::of(&["a"]) });
    }
    read(x, &topic);
}

fn client_offsets(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::of(&["first"]));
    for (base_offset, leader_epoch) in [(100, 7), (-1, -1), (-5, 0), (i64::MAX, i32::MAX)] {
        x.ask(9, &produce(&topic, &Batch { base_offset, leader_epoch, ..Batch::of(&["a", "b"]) }));
    }
    read(x, &topic);
}

fn compression(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for kind in Compression::ALL {
        let batch = Batch::new(vec![Record::keyed("k", "vvvvvvvvvvvvvvvvvvvvvvvvvvvv"), Record::of("w")]).packed(kind);
        x.ask(3, &produce(&topic, &batch));
        x.ask(7, &produce(&topic, &batch));
        x.ask(12, &produce(&topic, &batch));
    }
    read(x, &topic);
    // Zstd may be read from version 10 on only.
    x.ask(9, &fetch(&topic, vec![from(0, 0)]));
    x.ask(10, &fetch(&topic, vec![from(0, 0)]));
}

fn broker_compression(x: &mut Exchange) {
    for kind in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = x.topic(kind, 1, &[("compression.type", kind)]);
        x.ask(9, &produce(&topic, &Batch::of(&["plain", "plain", "plain"])));
        x.ask(9, &produce(&topic, &Batch::of(&["zipped", "zipped"]).packed(Compression::Gzip)));
        read(x, &topic);
    }
}

fn too_large(x: &mut Exchange) {
    // A record of one byte makes a batch of 69 bytes.
    let exact = x.topic("exact", 1, &[("max.message.bytes", "69")]);
    x.ask(9, &produce(&exact, &Batch::of(&["a"])));
    let less = x.topic("less", 1, &[("max.message.bytes", "68")]);
    x.ask(3, &produce(&less, &Batch::of(&["a"])));
    x.ask(9, &produce(&less, &Batch::of(&["a"])));
    let packed = x.topic("packed", 1, &[("max.message.bytes", "200")]);
    let value: &'static str =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let batch = Batch::of(&[value, value, value, value]);
    x.ask(9, &produce(&packed, &batch));
    x.ask(9, &produce(&packed, &batch.packed(Compression::Gzip)));
}

fn larger_than_segment(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("segment.bytes", "1048576"), ("max.message.bytes", "4000000")]);
    let value = Bytes::from(vec![b'x'; 1_100_000]);
    let large = Batch::new(vec![Record { value: Some(value), ..Record::default() }]);
    x.ask(9, &produce(&topic, &large));
    let value = Bytes::from(vec![b'x'; 900_000]);
    let fitting = Batch::new(vec![Record { value: Some(value), ..Record::default() }]);
    x.ask(9, &produce(&topic, &fitting));
}

fn compacted_topic(x: &mut Exchange) {
    for policy in ["compact", "compact,delete"] {
        let topic = x.topic(&policy.replace(',', "-"), 1, &[("cleanup.policy", policy)]);
        let mixed = || vec![Record::keyed("k", "v"), Record::of("a"), Record::keyed("k", "w"), Record::of("b")];
        for version in [3, 7, 8, 9] {
            x.ask(version, &produce(&topic, &Batch::new(mixed())));
        }
        x.ask(9, &produce(&topic, &Batch::new(mixed()).packed(Compression::Lz4)));
        let tombstone = Record { key: Some(Bytes::from_static(b"k")), ..Record::default() };
        x.ask(9, &produce(&topic, &Batch::new(vec![Record::keyed("", "v"), tombstone])));
        read(x, &topic);
    }
}

fn timestamps(x: &mut Exchange) {
    const FAR_FUTURE_MS: i64 = 4_000_000_000_000;
    let open = x.topic("open", 1, &[]);
    let at = |base_timestamp_ms| Batch { base_timestamp_ms, ..Batch::of(&["a", "b"]) };
    for base in [LONG_AGO_MS, 0, -1, -2, FAR_FUTURE_MS, i64::MAX] {
        x.ask(9, &produce(&open, &at(base)));
    }
    let mixed = Record { timestamp_delta_ms: FAR_FUTURE_MS - LONG_AGO_MS, ..Record::of("late") };
    x.ask(7, &produce(&open, &Batch::new(vec![Record::of("a"), mixed.clone(), mixed.clone()])));
    x.ask(8, &produce(&open, &Batch::new(vec![Record::of("a"), mixed.clone(), mixed])));
    for claimed in [0, -1, LONG_AGO_MS + 77, FAR_FUTURE_MS] {
        x.ask(9, &produce(&open, &Batch { max_timestamp_ms: Some(claimed), ..at(LONG_AGO_MS) }));
    }
    let later = Record { timestamp_delta_ms: 90, ..Record::of("c") };
    let earlier = Record { timestamp_delta_ms: -90, ..Record::of("d") };
    x.ask(
        9,
        &produce(&open, &Batch { max_timestamp_ms: Some(0), ..Batch::new(vec![Record::of("b"), later, earlier]) }),
    );
    read(x, &open);
    let strict = x.topic("strict", 1, &[("message.timestamp.before.max.ms", "1000")]);
    x.ask(9, &produce(&strict, &at(LONG_AGO_MS)));
    x.ask(9, &produce(&strict, &at(-1)));
    x.ask(9, &produce(&strict, &at(LONG_AGO_MS).packed(Compression::Gzip)));
    let lax = x.topic("lax", 1, &[("message.timestamp.after.max.ms", "9223372036854775807")]);
    x.ask(9, &produce(&lax, &at(FAR_FUTURE_MS)));
    read(x, &lax);
}

fn append_time(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("message.timestamp.type", "LogAppendTime")]);
    for version in [3, 9] {
        x.ask(version, &produce(&topic, &Batch::of(&["a", "b"])));
    }
    x.ask(9, &produce(&topic, &Batch::of(&["c", "d"]).packed(Compression::Zstd)));
    x.ask(9, &produce(&topic, &Batch { base_timestamp_ms: 4_000_000_000_000, ..Batch::of(&["far"]) }));
    x.ask(9, &produce(&topic, &Batch { attributes: 8, ..Batch::of(&["flagged"]) }));
    read(x, &topic);
    let plain = x.topic("plain", 1, &[]);
    x.ask(9, &produce(&plain, &Batch { attributes: 8, ..Batch::of(&["flagged"]) }));
    x.ask(9, &produce(&plain, &Batch { attributes: 8, ..Batch::of(&["flagged"]).packed(Compression::Gzip) }));
}

fn duplicates(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let id = producer_id(x);
    let batch = |sequence: i32| Batch::of(&["a", "b"]).by(id, 0, sequence);
    for at in 0..7 {
        append(x, &topic, &batch(at * 2));
    }
    // The last five are known, from the oldest to the newest; those before them are not.
    for at in [2, 3, 4, 5, 6, 1, 0] {
        x.ask(9, &produce(&topic, &batch(at * 2)));
    }
    // Half of a batch, or two at once, is none of them.
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(id, 0, 12)));
    x.ask(9, &produce(&topic, &Batch::of(&["b"]).by(id, 0, 13)));
    x.ask(9, &produce(&topic, &Batch::of(&["a", "b", "c", "d"]).by(id, 0, 10)));
    // Its contents are not looked at.
    x.ask(9, &produce(&topic, &Batch::of(&["other", "values"]).by(id, 0, 12)));
    x.ask(9, &ProduceRequest { acks: 1, ..produce(&topic, &batch(12)) });
    x.ask(9, &produce(&topic, &batch(14)));
    x.ask(5, &offset_of(&topic, -1));
    let stamped = x.topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    x.ask(9, &produce(&stamped, &batch(0)));
    x.ask(9, &produce(&stamped, &batch(0)));
}

fn sequences(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let id = producer_id(x);
    let batch = |sequence: i32| Batch::of(&["a"]).by(id, 0, sequence);
    x.ask(9, &produce(&topic, &batch(5)));
    for sequence in [7, 6, 8, 4, 3, 0, i32::MAX] {
        x.ask(9, &produce(&topic, &batch(sequence)));
    }
    // What one partition knows, another does not.
    x.ask(9, &produce_bytes(&topic, &[(1, batch(9).records())]));
    // An id that no broker has given out.
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(i64::MAX, 0, 3)));
    x.ask(9, &produce(&topic, &Batch::of(&["a"]).by(i64::MAX, 0, 5)));
    read(x, &topic);
}

fn sequence_wrap(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let id = producer_id(x);
    let batch = |values: &[&'static str], sequence: i32| Batch::of(values).by(id, 0, sequence);
    x.ask(9, &produce(&topic, &batch(&["a", "b"], i32::MAX - 2)));
    x.ask(9, &produce(&topic, &batch(&["c"], i32::MAX)));
    x.ask(9, &produce(&topic, &batch(&["d"], 0)));
    x.ask(9, &produce(&topic, &batch(&["d"], 0)));
    let other = producer_id(x);
    let batch = |values: &[&'static str], sequence: i32| Batch::of(values).by(other, 0, sequence);
    x.ask(9, &produce(&topic, &batch(&["e", "f", "g"], i32::MAX - 1)));
    x.ask(9, &produce(&topic, &batch(&["h"], 0)));
    x.ask(9, &produce(&topic, &batch(&["h"], 1)));
    x.ask(9, &produce(&topic, &batch(&["e", "f", "g"], i32::MAX - 1)));
    read(x, &topic);
}

fn producer_epochs(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let id = producer_id(x);
    let batch = |epoch: i16, sequence: i32| Batch::of(&["a"]).by(id, epoch, sequence);
    for (epoch, sequence) in [(3, 4), (3, 5), (4, 6), (4, 1), (4, 0), (4, 1), (3, 6), (3, 0), (0, 0), (9, 0), (4, 2)] {
        x.ask(3, &produce(&topic, &batch(epoch, sequence)));
        x.ask(11, &produce(&topic, &batch(epoch, sequence)));
    }
    x.ask(9, &produce(&topic, &batch(i16::MAX, 0)));
    x.ask(9, &produce(&topic, &batch(-1, 0)));
    read(x, &topic);
}

fn internal_topics(x: &mut Exchange) {
    let group =
        milena_protocol::messages::FindCoordinatorRequest { coordinator_keys: vec![x.name("g")], ..Default::default() };
    x.ask_until(6, &group, |answer| answer.coordinators[0].error_code == 0);
    let internal = Topic { name: "__consumer_offsets".to_owned(), id: Uuid::ZERO };
    let batch = Batch::new(vec![Record::keyed("k", "v")]);
    x.ask(3, &produce(&internal, &batch));
    x.ask(9, &produce(&internal, &batch));
    x.ask(9, &produce(&Topic { name: "__cluster_metadata".to_owned(), id: Uuid::ZERO }, &batch));
}

fn min_isr(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("min.insync.replicas", "2")]);
    for acks in [-1, 1] {
        x.ask(3, &ProduceRequest { acks, ..produce(&topic, &Batch::of(&["a"])) });
        x.ask(9, &ProduceRequest { acks, ..produce(&topic, &Batch::of(&["a"])) });
    }
}

fn several_partitions(x: &mut Exchange) {
    let topic = x.topic("a", 3, &[]);
    let good = Batch::of(&["a"]);
    let wrong = Batch { record_count: Some(9), ..good.clone() };
    for version in [3, 9, 13] {
        let partitions = [(0, good.records()), (1, wrong.records()), (2, good.records()), (3, good.records())];
        x.ask(version, &produce_bytes(&topic, &partitions));
    }
}

fn transactional_without_transaction(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let id = producer_id(x);
    let marked = Batch { attributes: 0x10, ..Batch::of(&["a"]).by(id, 0, 0) };
    for version in [3, 9, 11, 12] {
        x.ask(version, &produce(&topic, &marked));
        let named = Some(x.name("t"));
        x.ask(version, &ProduceRequest { transactional_id: named.clone(), ..produce(&topic, &Batch::of(&["a"])) });
        x.ask(version, &ProduceRequest { transactional_id: named, ..produce(&topic, &marked) });
    }
}
