//! What retention leaves of a log, and where segments end: whoever deletes whole segments shows where they begin. Played on a
//! broker with `timed.properties`, which looks for old segments three times a second; and what other settings of that broker show.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milena_protocol::messages::{DescribeConfigsRequest, FetchRequest};

use super::Scenario;
use super::configs::{BROKER, SET, TOPIC, change, describe};
use super::fetch::batch_of;
use super::requests::{append, fetch, from, offset_of, produce_bytes};
use super::timed::LOOKED_THROUGH_MS;
use crate::batch::{Batch, LONG_AGO_MS};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "timed/trap_75_the_brokers_bound_of_a_fetch",
        shows: "fetch.max.bytes bounds what is fetched and what is waited for, but not the first batch",
        traps: &[75, 59],
        play: the_brokers_bound_of_a_fetch,
    },
    Scenario {
        name: "timed/trap_73_no_session_is_granted",
        shows: "with no room for sessions each request stands alone, and its answer has session id 0",
        traps: &[73],
        play: no_session_is_granted,
    },
    Scenario {
        name: "timed/trap_165_secrets",
        shows: "passwords, and keys of the file that nobody knows, are named but not shown",
        traps: &[165],
        play: secrets,
    },
    Scenario {
        name: "timed/trap_88_segments_end_by_the_time_of_their_records",
        shows: "a segment ends when a record is later than its first batch by more than segment.ms",
        traps: &[88, 91],
        play: segments_end_by_the_time_of_their_records,
    },
    Scenario {
        name: "timed/trap_88_records_without_a_time",
        shows: "a segment whose first batch has no time ends by the broker's clock",
        traps: &[88],
        play: records_without_a_time,
    },
    Scenario {
        name: "timed/trap_89_full_indexes",
        shows: "a segment ends when one of its indexes is full, of which that of times keeps an entry free",
        traps: &[89],
        play: full_indexes,
    },
    Scenario {
        name: "timed/trap_90_the_largest_time_keeps_a_segment",
        shows: "old segments go; one time of the future keeps its segment and all behind it; no time is that of the file",
        traps: &[90],
        play: the_largest_time_keeps_a_segment,
    },
    Scenario {
        name: "timed/trap_91_whole_segments_down_to_the_limit",
        shows: "a segment goes if what remains is not less than retention.bytes; with 0 all of them",
        traps: &[91],
        play: whole_segments_down_to_the_limit,
    },
];

/// What a batch of one record of one byte takes.
const BATCH_BYTES: i64 = 69;

fn append_at(x: &mut Exchange, topic: &Topic, base_timestamp_ms: i64) {
    append(x, topic, &Batch { base_timestamp_ms, ..Batch::of(&["a"]) });
}

fn start_of(x: &mut Exchange, topic: &Topic) {
    x.ask(7, &offset_of(topic, -2));
}

fn set(x: &mut Exchange, topic: &Topic, key: &str, value: &str) {
    x.ask(1, &change(TOPIC, &topic.name, &[(SET, key, Some(value))]));
}

/// Keeps that many of the newest bytes, and waits until the log begins at `start`.
fn keep(x: &mut Exchange, topic: &Topic, bytes: i64, start: i64) {
    set(x, topic, "retention.bytes", &bytes.to_string());
    x.ask_until(7, &offset_of(topic, -2), |answer| answer.topics[0].partitions[0].offset == start);
}

/// The same where nothing is to happen.
fn keep_all(x: &mut Exchange, topic: &Topic, bytes: i64) {
    set(x, topic, "retention.bytes", &bytes.to_string());
    x.pause(LOOKED_THROUGH_MS);
    start_of(x, topic);
}

fn the_brokers_bound_of_a_fetch(x: &mut Exchange) {
    let topic = x.topic("a", 3, &[]);
    for fill in b'a'..=b'd' {
        append(x, &topic, &batch_of(1000, fill));
    }
    x.quietly(9, &produce_bytes(&topic, &[(1, batch_of(1000, b'e').records())]));
    x.quietly(9, &produce_bytes(&topic, &[(2, batch_of(5000, b'f').records())]));
    for version in [4, 12] {
        x.ask(version, &fetch(&topic, vec![from(0, 0)]));
        x.ask(version, &fetch(&topic, vec![from(1, 0), from(0, 0)]));
        x.ask(version, &fetch(&topic, vec![from(2, 0), from(0, 0)]));
        x.ask(version, &fetch(&topic, vec![from(0, 0), from(2, 0)]));
    }
    // More than the bound is never there, and so not waited for.
    let waiting = FetchRequest { max_wait_ms: 5000, min_bytes: 1_000_000, ..fetch(&topic, vec![from(0, 0)]) };
    x.on("reader").send(12, &waiting);
    x.on("reader").receive::<FetchRequest>();
}

fn no_session_is_granted(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    append(x, &topic, &Batch::of(&["a"]));
    let both = || fetch(&topic, vec![from(0, 0), from(1, 0)]);
    for version in [7, 12, 18] {
        x.ask(version, &FetchRequest { session_epoch: 0, ..both() });
        // The partition without news is told each time: nobody remembers what was told.
        x.ask(version, &FetchRequest { session_epoch: 0, ..both() });
        x.ask(version, &FetchRequest { session_id: 5, session_epoch: 1, ..both() });
    }
}

fn secrets(x: &mut Exchange) {
    let keys = ["acme.credentials", "ssl.key.password", "sasl.jaas.config", "fetch.max.bytes"];
    for include_synonyms in [false, true] {
        for version in [1, 4] {
            x.ask(version, &DescribeConfigsRequest { include_synonyms, ..describe(BROKER, "1", Some(&keys)) });
        }
    }
}

fn segments_end_by_the_time_of_their_records(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("segment.ms", "1000")]);
    // Ends before 1001 and before 2002: what is earlier than the first batch, or as late as may be, ends nothing.
    for after in [0, 500, 1000, 1001, 0, 2001, 2002, 1500] {
        append_at(x, &topic, LONG_AGO_MS + after);
    }
    keep(x, &topic, 5 * BATCH_BYTES, 3);
    keep(x, &topic, 2 * BATCH_BYTES, 6);
    x.ask(12, &fetch(&topic, vec![from(0, 6)]));
}

fn records_without_a_time(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("segment.ms", "2000")]);
    append_at(x, &topic, -1);
    append_at(x, &topic, -1);
    x.pause(2200);
    append_at(x, &topic, -1);
    keep(x, &topic, BATCH_BYTES, 2);
}

fn full_indexes(x: &mut Exchange) {
    // Each batch but the first of a segment has an entry of 8 bytes by offset, and one of 12 by time if that is a new largest.
    let by_offset = x.topic("offsets", 1, &[("index.interval.bytes", "0"), ("segment.index.bytes", "48")]);
    for _ in 0..20 {
        append_at(x, &by_offset, LONG_AGO_MS);
    }
    let by_time = x.topic("times", 1, &[("index.interval.bytes", "0"), ("segment.index.bytes", "48")]);
    for after in 0..20 {
        append_at(x, &by_time, LONG_AGO_MS + after);
    }
    for topic in [by_offset, by_time] {
        for kept in [19, 15, 12, 10, 5, 3] {
            keep_all(x, &topic, kept * BATCH_BYTES);
        }
    }
}

fn the_largest_time_keeps_a_segment(x: &mut Exchange) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let future = (now + Duration::from_secs(1800)).as_millis() as i64;
    let old = x.topic("old", 1, &[("segment.ms", "1000")]);
    for after in [0, 2000, 4000] {
        append_at(x, &old, LONG_AGO_MS + after);
    }
    let pinned = x.topic("pinned", 1, &[("segment.ms", "1000")]);
    for time in [LONG_AGO_MS, future, LONG_AGO_MS, future + 2000] {
        append_at(x, &pinned, time);
    }
    let untimed = x.topic("untimed", 1, &[("segment.ms", "1000")]);
    append_at(x, &untimed, -1);
    for topic in [&old, &pinned, &untimed] {
        set(x, topic, "retention.ms", "60000");
    }
    x.ask_until(7, &offset_of(&old, -2), |answer| answer.topics[0].partitions[0].offset == 3);
    x.ask_until(7, &offset_of(&pinned, -2), |answer| answer.topics[0].partitions[0].offset == 1);
    x.pause(LOOKED_THROUGH_MS);
    for topic in [&old, &pinned, &untimed] {
        start_of(x, topic);
        x.ask(7, &offset_of(topic, -1));
    }
    // In an emptied log offsets go on.
    append_at(x, &old, future);
    x.ask(7, &offset_of(&old, -1));
}

fn whole_segments_down_to_the_limit(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[("segment.ms", "1000")]);
    for after in [0, 1, 2000, 2001, 4000, 4001] {
        append_at(x, &topic, LONG_AGO_MS + after);
    }
    keep_all(x, &topic, 4 * BATCH_BYTES + 1);
    keep(x, &topic, 4 * BATCH_BYTES, 2);
    keep_all(x, &topic, 3 * BATCH_BYTES);
    keep(x, &topic, BATCH_BYTES, 4);
    keep(x, &topic, 0, 6);
    x.ask(7, &offset_of(&topic, -1));
}
