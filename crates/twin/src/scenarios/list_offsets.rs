//! Offsets by time and by name: ListOffsets, and the ends of epochs: OffsetForLeaderEpoch.

use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use milena_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::Scenario;
use super::requests::{append, offset_of};
use crate::batch::{Batch, LONG_AGO_MS, Record};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "list_offsets/every_version",
        shows: "log end, log start and a time at each version",
        traps: &[80],
        play: every_version,
    },
    Scenario {
        name: "list_offsets/special_times",
        shows: "every special time on a log with records and on an empty one",
        traps: &[80, 83],
        play: special_times,
    },
    Scenario {
        name: "list_offsets/times",
        shows: "the first record not older, in the order of offsets, also within a batch",
        traps: &[82, 84],
        play: times,
    },
    Scenario {
        name: "list_offsets/trap_84_times_across_segments",
        shows: "the first segment whose largest time is late enough is searched, also where a later one is nearer",
        traps: &[84],
        play: times_across_segments,
    },
    Scenario {
        name: "list_offsets/errors",
        shows: "unknown topics and partitions, the same partition twice, replicas",
        traps: &[83],
        play: errors,
    },
    Scenario {
        name: "list_offsets/leader_epochs",
        shows: "older epochs are fenced, newer ones unknown",
        traps: &[67],
        play: leader_epochs,
    },
    Scenario {
        name: "list_offsets/isolation",
        shows: "both isolation levels, and levels that do not exist",
        traps: &[80],
        play: isolation,
    },
    Scenario {
        name: "list_offsets/epoch_ends",
        shows: "the end of an epoch at each version, known, older, newer and undefined ones",
        traps: &[85],
        play: epoch_ends,
    },
];

fn filled(x: &mut Exchange) -> Topic {
    let topic = x.topic("a", 2, &[]);
    let at = |timestamp_delta_ms, value| Record { timestamp_delta_ms, ..Record::of(value) };
    append(x, &topic, &Batch::new(vec![at(0, "0"), at(300, "1"), at(100, "2")]));
    append(x, &topic, &Batch::new(vec![at(200, "3"), at(500, "4"), at(500, "5")]));
    append(x, &topic, &Batch::new(vec![at(50, "6"), at(400, "7")]));
    topic
}

fn every_version(x: &mut Exchange) {
    let topic = filled(x);
    for version in 1..=11 {
        for timestamp in [-1, -2, LONG_AGO_MS + 250] {
            x.ask(version, &offset_of(&topic, timestamp));
        }
    }
}

fn special_times(x: &mut Exchange) {
    let topic = filled(x);
    let empty = x.topic("empty", 1, &[]);
    for version in [1, 6, 7, 8, 9, 10, 11] {
        for special in -7..=-3 {
            x.ask(version, &offset_of(&topic, special));
        }
    }
    for special in -6..=-1 {
        x.ask(11, &offset_of(&empty, special));
    }
    x.ask(11, &offset_of(&empty, 0));
    x.ask(11, &offset_of(&topic, i64::MIN));
}

fn times(x: &mut Exchange) {
    let topic = filled(x);
    for after in [-1, 0, 1, 50, 99, 100, 101, 200, 299, 300, 301, 400, 499, 500, 501, 100_000] {
        x.ask(7, &offset_of(&topic, LONG_AGO_MS + after));
    }
    x.ask(1, &offset_of(&topic, 0));
    x.ask(1, &offset_of(&topic, i64::MAX));
    let untimed = x.topic("untimed", 1, &[]);
    append(x, &untimed, &Batch { base_timestamp_ms: -1, ..Batch::of(&["a"]) });
    for special in [0, -3] {
        x.ask(7, &offset_of(&untimed, special));
    }
}

fn times_across_segments(x: &mut Exchange) {
    // A batch that is later than the first one of its segment by more than 100 ms begins the next segment.
    let topic = x.topic("a", 1, &[("segment.ms", "100")]);
    let batch = |after: i64, deltas: &[i64]| {
        let at = |delta: &i64| Record { timestamp_delta_ms: *delta, ..Record::of("a") };
        Batch { base_timestamp_ms: LONG_AGO_MS + after, ..Batch::new(deltas.iter().map(at).collect()) }
    };
    // So segments begin at 0, 4 and 8.
    for (after, deltas) in [(900, &[0, 20][..]), (100, &[0, 850]), (1010, &[0, 30]), (500, &[0, 60]), (1200, &[0, 5])] {
        append(x, &topic, &batch(after, deltas));
    }
    append(x, &topic, &batch(200, &[0]));
    for after in [0, 100, 200, 560, 900, 901, 920, 921, 950, 951, 1010, 1040, 1041, 1200, 1205, 1206] {
        x.ask(7, &offset_of(&topic, LONG_AGO_MS + after));
    }
    x.ask(7, &offset_of(&topic, -3));
}

fn asked(topic: &Topic, partitions: &[(i32, i32)]) -> ListOffsetsRequest {
    let mut request = offset_of(topic, -1);
    let part = |(partition_index, current_leader_epoch): &(i32, i32)| ListOffsetsPartition {
        partition_index: *partition_index,
        current_leader_epoch: *current_leader_epoch,
        timestamp: -1,
    };
    request.topics[0].partitions = partitions.iter().map(part).collect();
    request
}

fn errors(x: &mut Exchange) {
    let topic = filled(x);
    let none = Topic { name: x.name("none"), ..topic.clone() };
    for version in [1, 5, 11] {
        x.ask(version, &offset_of(&none, -1));
        x.ask(version, &asked(&topic, &[(0, -1), (2, -1), (-1, -1)]));
        x.ask(version, &asked(&topic, &[(0, -1), (0, -1), (1, -1)]));
        x.ask(version, &offset_of(&Topic { name: "sp ace".to_owned(), ..topic.clone() }, -1));
        x.ask(version, &ListOffsetsRequest { topics: Vec::new(), ..offset_of(&topic, -1) });
    }
    for replica_id in [-2, 1, 2, -3] {
        x.ask(11, &ListOffsetsRequest { replica_id, ..offset_of(&topic, -1) });
    }
    let mut twice = offset_of(&topic, -1);
    twice.topics.push(twice.topics[0].clone());
    x.ask(11, &twice);
}

fn leader_epochs(x: &mut Exchange) {
    let topic = filled(x);
    for version in [4, 11] {
        for epoch in [-1, 0, 1, 9, -2] {
            x.ask(version, &asked(&topic, &[(0, epoch)]));
        }
    }
}

fn isolation(x: &mut Exchange) {
    let topic = filled(x);
    for version in [2, 11] {
        for isolation_level in [0, 1, 2, -1] {
            x.ask(version, &ListOffsetsRequest { isolation_level, ..offset_of(&topic, -1) });
        }
        x.ask(version, &ListOffsetsRequest { isolation_level: 1, ..offset_of(&topic, LONG_AGO_MS + 450) });
    }
}

fn ends(topic: &str, partitions: &[(i32, i32, i32)]) -> OffsetForLeaderEpochRequest {
    let part = |(partition, current_leader_epoch, leader_epoch): &(i32, i32, i32)| OffsetForLeaderPartition {
        partition: *partition,
        current_leader_epoch: *current_leader_epoch,
        leader_epoch: *leader_epoch,
    };
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: partitions.iter().map(part).collect() };
    OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] }
}

fn epoch_ends(x: &mut Exchange) {
    let topic = filled(x);
    for version in [2, 3, 4] {
        let request = ends(&topic.name, &[(0, -1, 0), (1, -1, 0)]);
        let replica_id = if version >= 3 { -1 } else { -2 };
        x.ask(version, &OffsetForLeaderEpochRequest { replica_id, ..request });
    }
    for (current, epoch) in [(-1, 1), (-1, 7), (-1, -1), (0, 0), (1, 0), (5, 0), (-2, 0), (-1, -2)] {
        x.ask(4, &ends(&topic.name, &[(0, current, epoch)]));
    }
    x.ask(4, &ends(&topic.name, &[(0, -1, 0), (5, -1, 0), (-1, -1, 0)]));
    x.ask(4, &ends(&x.name("none"), &[(0, -1, 0)]));
    x.ask(4, &ends("sp ace", &[(0, -1, 0)]));
    x.ask(4, &ends(&topic.name, &[(0, -1, 0), (0, -1, 0)]));
    x.ask(4, &OffsetForLeaderEpochRequest { topics: Vec::new(), ..ends("", &[]) });
    x.ask(4, &OffsetForLeaderEpochRequest { replica_id: 2, ..ends(&topic.name, &[(0, -1, 0)]) });
}
