//! Moving the log start: DeleteRecords, and what a reader sees afterwards.

use milena_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};

use super::Scenario;
use super::requests::{append, fetch, from, offset_of, produce};
use crate::batch::Batch;
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "delete_records/every_version",
        shows: "the log start moves to the offset, also into a batch",
        traps: &[86, 87],
        play: every_version,
    },
    Scenario {
        name: "delete_records/offsets",
        shows: "−1 is the high watermark, what lies above it or below −1 is out of range, backwards is nothing",
        traps: &[86],
        play: offsets,
    },
    Scenario {
        name: "delete_records/errors",
        shows: "unknown topics and partitions, compacted and internal topics",
        traps: &[86],
        play: errors,
    },
];

fn until(topic: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let part = |(partition_index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index: *partition_index,
        offset: *offset,
    };
    let topic = DeleteRecordsTopic { name: topic.to_owned(), partitions: partitions.iter().map(part).collect() };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5000 }
}

fn every_version(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    append(x, &topic, &Batch::of(&["0", "1", "2"]));
    append(x, &topic, &Batch::of(&["3", "4", "5"]));
    for (version, offset) in [(0, 1), (1, 2), (2, 4)] {
        x.ask(version, &until(&topic.name, &[(0, offset)]));
        x.ask(7, &offset_of(&topic, -2));
    }
    for offset in [0, 3, 4, 6] {
        x.ask(12, &fetch(&topic, vec![from(0, offset)]));
    }
    x.ask(9, &produce(&topic, &Batch::of(&["6"])));
}

fn offsets(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    x.ask(2, &until(&topic.name, &[(0, -1)]));
    x.ask(2, &until(&topic.name, &[(0, 0)]));
    x.ask(2, &until(&topic.name, &[(0, 1)]));
    append(x, &topic, &Batch::of(&["0", "1", "2"]));
    for offset in [2, 1, 0, 4, -2, i64::MAX, 3, -1] {
        x.ask(2, &until(&topic.name, &[(0, offset)]));
    }
    for special in [-1, -2, -3, 0] {
        x.ask(7, &offset_of(&topic, special));
    }
    x.ask(12, &fetch(&topic, vec![from(0, 3)]));
    x.ask(9, &produce(&topic, &Batch::of(&["3"])));
}

fn errors(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    append(x, &topic, &Batch::of(&["0"]));
    x.ask_ends(&until(&topic.name, &[(0, 1), (1, 0), (2, 0), (-1, 0)]));
    x.ask_ends(&until(&x.name("none"), &[(0, 0)]));
    x.ask(2, &until("sp ace", &[(0, 0)]));
    x.ask(2, &until("", &[(0, 0)]));
    x.ask(2, &until("__consumer_offsets", &[(0, 0)]));
    x.ask(2, &until(&topic.name, &[(0, 0), (0, 1)]));
    x.ask(2, &until(&topic.name, &[]));
    x.ask(2, &DeleteRecordsRequest { topics: Vec::new(), timeout_ms: 0 });
    for policy in ["compact", "compact,delete"] {
        let compacted = x.topic(&policy.replace(',', "-"), 1, &[("cleanup.policy", policy)]);
        x.ask(2, &until(&compacted.name, &[(0, 0)]));
    }
    x.ask(2, &DeleteRecordsRequest { timeout_ms: -1, ..until(&topic.name, &[(0, 1)]) });
}
