//! Reading: limits, offsets, epochs, ids, and sessions.

use bytes::Bytes;
use milena_protocol::Uuid;
use milena_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState,
};

use super::Scenario;
use super::requests::{append, fetch, from, produce, produce_bytes};
use crate::batch::{Batch, LONG_AGO_MS, Record};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "fetch/every_version", shows: "two batches at each version", traps: &[64], play: every_version },
    Scenario {
        name: "fetch/offsets",
        shows: "within a batch, at the log end, beyond it, before the log start",
        traps: &[60, 61],
        play: offsets,
    },
    Scenario {
        name: "fetch/trap_59_across_segments",
        shows: "what lies in several segments: how much one answer brings of it, from each offset",
        traps: &[59, 61],
        play: across_segments,
    },
    Scenario {
        name: "fetch/size_limits",
        shows: "the first batch comes whole whatever the limits say, later ones are cut or left out",
        traps: &[59, 61],
        play: size_limits,
    },
    Scenario {
        name: "fetch/partition_order",
        shows: "partitions are filled in the order of the request until the bytes are used up",
        traps: &[59],
        play: partition_order,
    },
    Scenario {
        name: "fetch/long_poll",
        shows: "a fetch waits for bytes, and is answered as soon as they come",
        traps: &[63],
        play: long_poll,
    },
    Scenario {
        name: "fetch/immediate",
        shows: "an error, no partition, or no time to wait are answered at once",
        traps: &[63],
        play: immediate,
    },
    Scenario {
        name: "fetch/unknown_partitions",
        shows: "topics, partitions and ids that are not there",
        traps: &[77],
        play: unknown_partitions,
    },
    Scenario {
        name: "fetch/leader_epochs",
        shows: "an older epoch is fenced, a newer one unknown, before offsets are looked at",
        traps: &[67],
        play: leader_epochs,
    },
    Scenario {
        name: "fetch/last_fetched_epoch",
        shows: "an epoch that the log never had diverges",
        traps: &[68],
        play: last_fetched_epoch,
    },
    Scenario {
        name: "fetch/isolation",
        shows: "read_committed answers an empty list of aborted transactions where there are none",
        traps: &[64],
        play: isolation,
    },
    Scenario {
        name: "fetch/sessions",
        shows: "a session answers only what changed; epochs count, 0 begins anew, −1 ends",
        traps: &[70, 71, 73],
        play: sessions,
    },
    Scenario { name: "fetch/sessions_by_id", shows: "the same with topic ids", traps: &[70, 71], play: sessions_by_id },
    Scenario {
        name: "fetch/session_errors",
        shows: "unknown sessions, epochs that are not the next, and a change between names and ids",
        traps: &[70],
        play: session_errors,
    },
    Scenario {
        name: "fetch/session_changes",
        shows: "partitions join and leave a session, and errors are told again",
        traps: &[71],
        play: session_changes,
    },
    Scenario {
        name: "fetch/session_fairness",
        shows: "partitions that returned records go to the end of the session's order",
        traps: &[72],
        play: session_fairness,
    },
    Scenario {
        name: "fetch/as_replica",
        shows: "whoever claims to be a replica, or the debugging consumer",
        traps: &[],
        play: as_replica,
    },
];

fn every_version(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::new(vec![Record::keyed("k", "v"), Record::of("w")]));
    append(x, &topic, &Batch::of(&["x"]));
    for version in 4..=18 {
        x.ask(version, &fetch(&topic, vec![from(0, 0)]));
    }
}

fn offsets(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for version in [4, 12] {
        x.ask(version, &fetch(&topic, vec![from(0, 0)]));
        x.ask(version, &fetch(&topic, vec![from(0, 1)]));
    }
    append(x, &topic, &Batch::of(&["a", "b", "c"]));
    append(x, &topic, &Batch::of(&["d"]));
    for offset in [1, 2, 3, 4, 5, 100, -1, -2, i64::MAX] {
        x.ask(4, &fetch(&topic, vec![from(0, offset)]));
        x.ask(12, &fetch(&topic, vec![from(0, offset)]));
    }
}

/// A batch of `size` bytes in all.
pub(super) fn batch_of(size: usize, fill: u8) -> Batch {
    // A batch with one record of `n` bytes (128 to 8 000) takes 61 bytes for itself and 9 for the record.
    let value = Bytes::from(vec![fill; size - 61 - 9]);
    let batch = Batch::new(vec![Record { value: Some(value), ..Record::default() }]);
    assert_eq!(batch.bytes().len(), size, "the arithmetic above");
    batch
}

fn across_segments(x: &mut Exchange) {
    // Each batch of two is later than the one before by more than segment.ms, and so begins a segment.
    let topic = x.topic("a", 2, &[("segment.ms", "100")]);
    for after in [0, 200, 400] {
        append(x, &topic, &Batch { base_timestamp_ms: LONG_AGO_MS + after, ..Batch::of(&["a", "b"]) });
    }
    x.quietly(9, &produce_bytes(&topic, &[(1, Batch::of(&["c"]).records())]));
    for offset in 0..=6 {
        x.ask(12, &fetch(&topic, vec![from(0, offset)]));
    }
    x.ask(12, &fetch(&topic, vec![from(0, 0), from(1, 0)]));
    let tight = FetchPartition { partition_max_bytes: 1, ..from(0, 3) };
    x.ask(12, &fetch(&topic, vec![tight]));
}

fn size_limits(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for fill in b'a'..=b'd' {
        append(x, &topic, &batch_of(1000, fill));
    }
    for version in [4, 12] {
        for (whole, partition) in [
            (1, 1),
            (0, 0),
            (999, 999),
            (1000, 1000),
            (1001, 5000),
            (5000, 1500),
            (2000, 5000),
            (5000, 2000),
            (3500, 3500),
        ] {
            let part = FetchPartition { partition_max_bytes: partition, ..from(0, 0) };
            x.ask(version, &FetchRequest { max_bytes: whole, ..fetch(&topic, vec![part]) });
        }
    }
    for negative in [-1, i32::MIN] {
        let part = FetchPartition { partition_max_bytes: negative, ..from(0, 0) };
        x.ask(12, &fetch(&topic, vec![part]));
        x.ask(12, &FetchRequest { max_bytes: negative, ..fetch(&topic, vec![from(0, 0)]) });
    }
}

fn partition_order(x: &mut Exchange) {
    let topic = x.topic("a", 4, &[]);
    for partition in [0, 1, 3] {
        for fill in [b'a', b'b'] {
            x.quietly(9, &produce_bytes(&topic, &[(partition, batch_of(1000, fill).records())]));
        }
    }
    let ordered = |order: &[i32]| order.iter().map(|partition| from(*partition, 0)).collect();
    for (order, max_bytes) in
        [(&[0, 1, 2, 3][..], 50_000), (&[3, 1, 0], 1), (&[2, 1, 0], 1), (&[1, 0, 3], 2500), (&[3, 2, 1, 0], 4000)]
    {
        x.ask(12, &FetchRequest { max_bytes, ..fetch(&topic, ordered(order)) });
    }
    let small = |partition| FetchPartition { partition_max_bytes: 10, ..from(partition, 0) };
    x.ask(12, &fetch(&topic, vec![small(0), small(1)]));
    // The first partition is at its end: at-least-one passes on to the second.
    x.ask(12, &FetchRequest { max_bytes: 10, ..fetch(&topic, vec![from(0, 2), from(1, 0), from(3, 0)]) });
    x.ask(12, &fetch(&topic, vec![from(1, 0), from(1, 1)]));
}

fn long_poll(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let waiting = |min_bytes| FetchRequest { max_wait_ms: 4000, min_bytes, ..fetch(&topic, vec![from(0, 0)]) };
    x.on("reader").send(12, &waiting(1));
    x.still_waiting();
    x.on("").ask(9, &produce(&topic, &Batch::of(&["a"])));
    x.on("reader").receive::<FetchRequest>();
    // One batch takes 69 bytes: the second makes a hundred.
    x.on("reader").send(12, &waiting(100));
    x.still_waiting();
    x.on("").ask(9, &produce(&topic, &Batch::of(&["b"])));
    x.on("reader").receive::<FetchRequest>();
    // In vain, until the time is up.
    x.ask(4, &FetchRequest { max_wait_ms: 200, min_bytes: 1, ..fetch(&topic, vec![from(0, 2)]) });
    x.ask(4, &FetchRequest { max_wait_ms: 200, min_bytes: 1_000_000, ..fetch(&topic, vec![from(0, 0)]) });
}

fn immediate(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let long = |partitions| FetchRequest { max_wait_ms: 30_000, min_bytes: 1, ..fetch(&topic, partitions) };
    x.ask(12, &long(vec![from(0, 0), from(1, 9)]));
    x.ask(12, &long(vec![from(7, 0)]));
    x.ask(12, &FetchRequest { topics: Vec::new(), ..long(Vec::new()) });
    x.ask(12, &long(Vec::new()));
    x.ask(12, &FetchRequest { min_bytes: 0, ..long(vec![from(0, 0)]) });
    x.ask(12, &FetchRequest { max_wait_ms: 0, ..long(vec![from(0, 0)]) });
    x.ask(12, &FetchRequest { max_wait_ms: -1, ..long(vec![from(0, 0)]) });
    x.ask(12, &FetchRequest { min_bytes: -1, ..long(vec![from(0, 0)]) });
}

fn unknown_partitions(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let other = x.topic("b", 1, &[]);
    let none = Topic { name: x.name("none"), id: Uuid([9; 16]) };
    for version in [4, 7, 12, 13, 18] {
        x.ask(version, &fetch(&none, vec![from(0, 0)]));
        x.ask(version, &fetch(&topic, vec![from(0, 0), from(1, 0), from(-1, 0)]));
    }
    x.ask(13, &fetch(&Topic { id: Uuid::ZERO, ..topic.clone() }, vec![from(0, 0)]));
    x.ask(13, &fetch(&Topic { id: other.id, ..topic.clone() }, vec![from(0, 0)]));
    x.ask(12, &fetch(&Topic { name: "sp ace".to_owned(), ..topic.clone() }, vec![from(0, 0)]));
    x.ask(12, &fetch(&Topic { name: String::new(), ..topic }, vec![from(0, 0)]));
}

fn leader_epochs(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::of(&["a"]));
    for version in [9, 12, 18] {
        for (epoch, offset) in [(-1, 0), (0, 0), (1, 0), (5, 9), (-2, 0), (0, 9)] {
            let part = FetchPartition { current_leader_epoch: epoch, ..from(0, offset) };
            x.ask(version, &fetch(&topic, vec![part]));
        }
    }
}

fn last_fetched_epoch(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::of(&["a", "b"]));
    for (epoch, offset) in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (3, 1), (-2, 0)] {
        let part = FetchPartition { last_fetched_epoch: epoch, current_leader_epoch: 0, ..from(0, offset) };
        x.ask(12, &fetch(&topic, vec![part.clone()]));
        x.ask(18, &fetch(&topic, vec![part]));
    }
}

fn isolation(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::of(&["a"]));
    for isolation_level in [0, 1, 2, -1] {
        for version in [4, 12] {
            x.ask(version, &FetchRequest { isolation_level, ..fetch(&topic, vec![from(0, 0)]) });
            x.ask(version, &FetchRequest { isolation_level, ..fetch(&topic, vec![from(0, 1)]) });
        }
    }
}

fn in_session(request: FetchRequest, session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest { session_id, session_epoch, ..request }
}

/// A request that says nothing new about its session's partitions.
fn unchanged() -> FetchRequest {
    FetchRequest { max_bytes: 50 << 20, ..FetchRequest::default() }
}

fn sessions(x: &mut Exchange) {
    talk_in_session(x, 12);
}

fn sessions_by_id(x: &mut Exchange) {
    talk_in_session(x, 18);
}

fn talk_in_session(x: &mut Exchange, version: i16) {
    let topic = x.topic("a", 3, &[]);
    append(x, &topic, &Batch::of(&["a"]));
    let all = vec![from(0, 0), from(1, 0), from(2, 0)];
    let id = x.ask(version, &in_session(fetch(&topic, all.clone()), 0, 0)).session_id;
    // Nothing was moved on, so the same data come again.
    x.ask(version, &in_session(unchanged(), id, 1));
    x.ask(version, &in_session(fetch(&topic, vec![from(0, 1)]), id, 2));
    x.ask(version, &in_session(unchanged(), id, 3));
    x.quietly(9, &produce_bytes(&topic, &[(1, Batch::of(&["b"]).records())]));
    x.ask(version, &in_session(unchanged(), id, 4));
    x.ask(version, &in_session(fetch(&topic, vec![from(1, 1)]), id, 5));
    x.ask(version, &in_session(unchanged(), id, 6));
    // Begun anew: another id, everything told again.
    let next = x.ask(version, &in_session(fetch(&topic, all.clone()), id, 0)).session_id;
    x.ask(version, &in_session(unchanged(), id, 7));
    x.ask(version, &in_session(fetch(&topic, all), next, -1));
    x.ask(version, &in_session(unchanged(), next, 1));
}

fn session_errors(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let one = || fetch(&topic, vec![from(0, 0)]);
    for version in [7, 12, 13, 18] {
        x.ask(version, &in_session(one(), 77, 1));
        x.ask(version, &in_session(one(), 77, -1));
        let id = x.ask(version, &in_session(one(), 0, 0)).session_id;
        for epoch in [2, 1, 1, 0] {
            x.ask(version, &in_session(one(), id, epoch));
        }
        x.ask(version, &in_session(one(), 0, 1));
    }
    let id = x.ask(12, &in_session(one(), 0, 0)).session_id;
    x.ask(13, &in_session(unchanged(), id, 1));
    x.ask(13, &in_session(one(), id, 1));
    let id = x.ask(13, &in_session(one(), 0, 0)).session_id;
    x.ask(12, &in_session(one(), id, 1));
    x.ask(12, &in_session(fetch(&topic, Vec::new()), 0, 0));
    x.ask(12, &in_session(unchanged(), 0, 0));
}

fn session_changes(x: &mut Exchange) {
    let (a, b) = (x.topic("a", 2, &[]), x.topic("b", 1, &[]));
    append(x, &a, &Batch::of(&["a"]));
    for version in [12, 18] {
        let id = x.ask(version, &in_session(fetch(&a, vec![from(0, 1), from(1, 0)]), 0, 0)).session_id;
        // A partition of another topic joins, beside one that does not exist.
        let joining = FetchTopic { topic: b.name.clone(), topic_id: b.id, partitions: vec![from(0, 0), from(9, 0)] };
        x.ask(version, &in_session(FetchRequest { topics: vec![joining], ..unchanged() }, id, 1));
        x.ask(version, &in_session(unchanged(), id, 2));
        x.ask(version, &in_session(fetch(&a, vec![from(1, 5)]), id, 3));
        x.ask(version, &in_session(unchanged(), id, 4));
        let forgotten = ForgottenTopic { topic: a.name.clone(), topic_id: a.id, partitions: vec![1] };
        x.ask(version, &in_session(FetchRequest { forgotten_topics_data: vec![forgotten], ..unchanged() }, id, 5));
        let forgotten = ForgottenTopic { topic: b.name.clone(), topic_id: b.id, partitions: vec![9, 0, 3] };
        x.ask(version, &in_session(FetchRequest { forgotten_topics_data: vec![forgotten], ..unchanged() }, id, 6));
        x.ask(version, &in_session(fetch(&a, vec![from(0, 0)]), id, 7));
        // Nothing is left: the session ends.
        let forgotten = ForgottenTopic { topic: a.name.clone(), topic_id: a.id, partitions: vec![0] };
        x.ask(version, &in_session(FetchRequest { forgotten_topics_data: vec![forgotten], ..unchanged() }, id, 8));
        x.ask(version, &in_session(unchanged(), id, 9));
    }
}

fn session_fairness(x: &mut Exchange) {
    let topic = x.topic("a", 3, &[]);
    for partition in 0..3 {
        x.quietly(9, &produce_bytes(&topic, &[(partition, batch_of(1000, b'a').records())]));
    }
    // One batch fits: each answer comes from the next partition.
    let tight = |request| FetchRequest { max_bytes: 10, ..request };
    let all = vec![from(0, 0), from(1, 0), from(2, 0)];
    let id = x.ask(12, &tight(in_session(fetch(&topic, all), 0, 0))).session_id;
    for epoch in 1..=5 {
        x.ask(12, &tight(in_session(unchanged(), id, epoch)));
    }
}

fn as_replica(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::of(&["a"]));
    for replica_id in [-2, 2, -3] {
        x.ask(12, &FetchRequest { replica_id, ..fetch(&topic, vec![from(0, 0)]) });
        let replica_state = ReplicaState { replica_id, replica_epoch: -1 };
        x.ask(18, &FetchRequest { replica_state, ..fetch(&topic, vec![from(0, 0)]) });
    }
}
