//! Transactional ids as their coordinator sees them: who has them, what takes part in their transactions, and how
//! these end. What partitions make of it stands elsewhere.

use milena_protocol::ErrorCode;
use milena_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use milena_protocol::messages::delete_topics_request::DeleteTopicState;
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListTransactionsRequest,
};

use super::Scenario;
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "transactional_ids/coordinator",
        shows: "who coordinates a transactional id, asked for at each version",
        traps: &[24],
        play: coordinator,
    },
    Scenario {
        name: "transactional_ids/entered",
        shows: "a producer enters at each version, and again: the epoch grows",
        traps: &[],
        play: entered,
    },
    Scenario {
        name: "transactional_ids/entered_wrongly",
        shows: "timeouts out of bounds, no id, half of an identity",
        traps: &[145],
        play: entered_wrongly,
    },
    Scenario {
        name: "transactional_ids/claimed",
        shows: "a producer that knows its id and epoch goes on with the next one, also twice; a stale one is fenced",
        traps: &[145, 148, 149],
        play: claimed,
    },
    Scenario {
        name: "transactional_ids/taken_over",
        shows: "an open transaction is aborted before the next producer enters, and the former one is fenced",
        traps: &[146, 149],
        play: taken_over,
    },
    Scenario {
        name: "transactional_ids/added",
        shows: "partitions of topics that are there, twice, none at all, by producers who may and may not",
        traps: &[149, 155],
        play: added,
    },
    Scenario {
        name: "transactional_ids/added_in_part",
        shows: "one partition that is not there spoils it for the others",
        traps: &[154],
        play: added_in_part,
    },
    Scenario {
        name: "transactional_ids/added_for_many",
        shows: "several transactions in one request: added, verified, refused",
        traps: &[],
        play: added_for_many,
    },
    Scenario {
        name: "transactional_ids/offsets_added",
        shows: "the partition of a group's offsets takes part, at each version",
        traps: &[149],
        play: offsets_added,
    },
    Scenario {
        name: "transactional_ids/ended",
        shows: "verdicts with one epoch for all transactions: the same again, the opposite, none open, a stranger's",
        traps: &[149, 151, 153],
        play: ended,
    },
    Scenario {
        name: "transactional_ids/ended_with_next_epoch",
        shows: "each verdict gives the next epoch, a retry the same; an abort of nothing is a verdict too",
        traps: &[151, 152, 153],
        play: ended_with_next_epoch,
    },
    Scenario {
        name: "transactional_ids/both_kinds_of_ends",
        shows: "the version of each request decides whether the epoch grows",
        traps: &[152],
        play: both_kinds_of_ends,
    },
    Scenario {
        name: "transactional_ids/fenced_by_another_kind",
        shows: "a fenced producer with an epoch for each transaction retries, after one with a single epoch has ended its own",
        traps: &[],
        play: fenced_by_another_kind,
    },
    Scenario {
        name: "transactional_ids/topic_deleted",
        shows: "a transaction ends though the topic of its partition is gone",
        traps: &[160],
        play: topic_deleted,
    },
    Scenario {
        name: "transactional_ids/described",
        shows: "what is told of a transactional id in each state",
        traps: &[],
        play: described,
    },
    Scenario {
        name: "transactional_ids/listed",
        shows: "filters by state, producer, duration and pattern, and states that are none",
        traps: &[161],
        play: listed,
    },
];

const TIMEOUT_MS: i32 = 60_000;
/// An id that no broker gives out during a run.
const FAR_OFF: i64 = 1 << 40;

/// A producer with a transactional id, as the coordinator gave it.
#[derive(Debug, Clone)]
pub(super) struct Producer {
    pub(super) transactional_id: String,
    pub(super) id: i64,
    pub(super) epoch: i16,
}

pub(super) fn init(transactional_id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(transactional_id.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..InitProducerIdRequest::default()
    }
}

/// Waits until the transactional id has its coordinator.
pub(super) fn wait_for_coordinator(x: &mut Exchange, transactional_id: &str) {
    let find = find(transactional_id);
    x.wait_until(4, &find, |answer| answer.coordinators.first().is_some_and(|found| found.error_code == 0));
    let describe = describe(&[transactional_id]);
    let not_yet = [ErrorCode::NotCoordinator.number(), ErrorCode::CoordinatorLoadInProgress.number()];
    x.wait_until(0, &describe, |answer| {
        answer.transaction_states.iter().all(|state| !not_yet.contains(&state.error_code))
    });
}

fn find(transactional_id: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec![transactional_id.to_owned()],
        ..FindCoordinatorRequest::default()
    }
}

/// Enters in silence.
pub(super) fn enter(x: &mut Exchange, suffix: &str, timeout_ms: i32) -> Producer {
    let transactional_id = x.name(suffix);
    wait_for_coordinator(x, &transactional_id);
    let request = InitProducerIdRequest { transaction_timeout_ms: timeout_ms, ..init(&transactional_id) };
    let answer = x.quietly(4, &request).unwrap_or_default();
    Producer { transactional_id, id: answer.producer_id, epoch: answer.producer_epoch }
}

impl Producer {
    pub(super) fn with(&self, answer: &InitProducerIdResponse) -> Producer {
        Producer { id: answer.producer_id, epoch: answer.producer_epoch, ..self.clone() }
    }

    pub(super) fn at(&self, epoch: i16) -> Producer {
        Producer { epoch, ..self.clone() }
    }

    pub(super) fn add(&self, topics: &[(&Topic, &[i32])]) -> AddPartitionsToTxnRequest {
        AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: partitions(topics),
            ..AddPartitionsToTxnRequest::default()
        }
    }

    pub(super) fn part(&self, topics: &[(&Topic, &[i32])], verify_only: bool) -> AddPartitionsToTxnTransaction {
        AddPartitionsToTxnTransaction {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            verify_only,
            topics: partitions(topics),
        }
    }

    fn add_offsets(&self, group_id: &str) -> AddOffsetsToTxnRequest {
        AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: group_id.to_owned(),
        }
    }

    pub(super) fn end(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        }
    }

    /// The same as it claims to be, wanting to go on.
    pub(super) fn claim(&self) -> InitProducerIdRequest {
        InitProducerIdRequest { producer_id: self.id, producer_epoch: self.epoch, ..init(&self.transactional_id) }
    }

    /// Waits in silence until nothing is going on any more.
    pub(super) fn at_rest(&self, x: &mut Exchange) {
        x.wait_until(0, &describe(&[&self.transactional_id]), |answer| {
            let state = answer.transaction_states.first().map_or("", |state| &state.transaction_state);
            matches!(state, "Empty" | "CompleteCommit" | "CompleteAbort")
        });
    }
}

fn partitions(topics: &[(&Topic, &[i32])]) -> Vec<AddPartitionsToTxnTopic> {
    let topic = |(topic, partitions): &(&Topic, &[i32])| AddPartitionsToTxnTopic {
        name: topic.name.clone(),
        partitions: partitions.to_vec(),
    };
    topics.iter().map(topic).collect()
}

pub(super) fn describe(ids: &[&str]) -> DescribeTransactionsRequest {
    DescribeTransactionsRequest { transactional_ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

fn coordinator(x: &mut Exchange) {
    let id = x.name("t");
    wait_for_coordinator(x, &id);
    for version in 1..=3 {
        let request = FindCoordinatorRequest { key: id.clone(), key_type: 1, ..FindCoordinatorRequest::default() };
        x.ask(version, &request);
    }
    let other = x.name("u");
    for version in 4..=6 {
        x.ask(version, &FindCoordinatorRequest { coordinator_keys: vec![id.clone(), other.clone()], ..find(&id) });
        x.ask(version, &find(""));
    }
    x.ask(9, &super::requests::metadata_of(&["__transaction_state"]));
    let keys = [
        "cleanup.policy",
        "compression.type",
        "min.insync.replicas",
        "segment.bytes",
        "unclean.leader.election.enable",
    ];
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "__transaction_state".to_owned(),
        configuration_keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
    };
    x.ask(4, &DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() });
}

fn entered(x: &mut Exchange) {
    let id = x.name("t");
    wait_for_coordinator(x, &id);
    for version in 0..=5 {
        x.ask(version, &init(&id));
    }
    x.ask(0, &describe(&[&id]));
    let other = x.name("u");
    for version in [0, 5, 0] {
        x.ask(version, &InitProducerIdRequest { transaction_timeout_ms: 1, ..init(&other) });
    }
    x.ask(0, &describe(&[&other]));
}

fn entered_wrongly(x: &mut Exchange) {
    let id = x.name("t");
    wait_for_coordinator(x, &id);
    for version in [0, 5] {
        for transaction_timeout_ms in [0, -1, i32::MIN, 900_001, i32::MAX, 900_000] {
            x.ask(version, &InitProducerIdRequest { transaction_timeout_ms, ..init(&id) });
        }
        x.ask(version, &init(""));
        x.ask(version, &InitProducerIdRequest { transaction_timeout_ms: 0, ..init("") });
    }
    for version in [3, 5] {
        for (producer_id, producer_epoch) in [(FAR_OFF, -1), (-1, 7), (-2, -2)] {
            x.ask(version, &InitProducerIdRequest { producer_id, producer_epoch, ..init(&id) });
            x.ask(version, &InitProducerIdRequest { producer_id, producer_epoch, ..init("") });
        }
    }
}

fn claimed(x: &mut Exchange) {
    let unknown = x.name("new");
    wait_for_coordinator(x, &unknown);
    // Nobody has been there before: whatever is claimed, the id is new.
    let stranger = Producer { transactional_id: unknown, id: FAR_OFF, epoch: 5 };
    let first = x.ask(3, &stranger.claim());
    x.ask(3, &stranger.claim());
    x.ask(4, &stranger.with(&first).claim());
    for version in [3, 4, 5] {
        let id = x.name(&format!("t{version}"));
        let producer = Producer { transactional_id: id.clone(), id: -1, epoch: -1 };
        let first = x.ask(version, &init(&id));
        let one = producer.with(&first);
        let second = x.ask(version, &one.claim());
        // The answer was lost, perhaps.
        x.ask(version, &one.claim());
        let two = producer.with(&second);
        let third = x.ask(version, &two.claim());
        x.ask(version, &one.claim());
        let three = producer.with(&third);
        x.ask(version, &three.at(three.epoch + 1).claim());
        x.ask(version, &Producer { id: FAR_OFF, ..three.clone() }.claim());
        // Somebody else comes: the last epoch counts no more.
        x.ask(version, &init(&id));
        x.ask(version, &two.claim());
        x.ask(version, &three.claim());
        x.ask(version, &three.at(three.epoch + 1).claim());
    }
}

fn taken_over(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    for version in [0, 3, 5] {
        let producer = enter(x, &format!("t{version}"), TIMEOUT_MS);
        x.ask(3, &producer.add(&[(&topic, &[0, 1])]));
        x.ask(version, &init(&producer.transactional_id));
        producer.at_rest(x);
        x.ask(0, &describe(&[&producer.transactional_id]));
        for version in [1, 2] {
            x.ask(version, &producer.add(&[(&topic, &[0])]));
            x.ask(version, &producer.end(true));
        }
        x.ask(5, &producer.end(true));
        x.ask(version, &init(&producer.transactional_id));
        x.ask(0, &describe(&[&producer.transactional_id]));
        if version >= 3 {
            x.ask(version, &producer.claim());
        }
    }
    // Whoever has the open transaction itself enters again.
    let producer = enter(x, "own", TIMEOUT_MS);
    x.ask(3, &producer.add(&[(&topic, &[0])]));
    x.ask(4, &producer.at(7).claim());
    producer.at_rest(x);
    x.ask(4, &producer.claim());
    x.ask(4, &producer.at(producer.epoch + 1).claim());
}

fn added(x: &mut Exchange) {
    let (one, other) = (x.topic("a", 3, &[]), x.topic("b", 1, &[]));
    let producer = enter(x, "t", TIMEOUT_MS);
    let state = describe(&[&producer.transactional_id]);
    for (version, partition) in [(0, 0), (1, 1), (3, 2)] {
        x.ask(version, &producer.add(&[(&one, &[partition])]));
        x.ask(0, &state);
    }
    x.ask(3, &producer.add(&[(&one, &[0, 1]), (&other, &[0])]));
    x.ask(3, &producer.add(&[(&one, &[0, 1]), (&other, &[0])]));
    x.ask(3, &producer.add(&[]));
    x.ask(0, &state);
    let stranger = Producer { id: FAR_OFF, ..producer.clone() };
    let unknown = Producer { transactional_id: x.name("unknown"), ..producer.clone() };
    let nameless = Producer { transactional_id: String::new(), ..producer.clone() };
    for version in 0..=3 {
        for who in [&producer.at(1), &producer.at(-1), &stranger, &unknown, &nameless] {
            x.ask(version, &who.add(&[(&one, &[0])]));
        }
    }
    // A transaction without partitions.
    let empty = enter(x, "e", TIMEOUT_MS);
    x.ask(3, &empty.add(&[]));
    x.ask(3, &empty.add(&[(&one, &[])]));
    x.ask(0, &describe(&[&empty.transactional_id]));
    x.ask(4, &empty.end(true));
    empty.at_rest(x);
    x.ask(0, &describe(&[&empty.transactional_id]));
}

fn added_in_part(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let missing = Topic { name: x.name("missing"), id: milena_protocol::Uuid::ZERO };
    let producer = enter(x, "t", TIMEOUT_MS);
    for version in [0, 3] {
        x.ask(version, &producer.add(&[(&topic, &[0, 1, 2])]));
        x.ask(version, &producer.add(&[(&topic, &[0]), (&missing, &[0])]));
        x.ask(version, &producer.add(&[(&missing, &[0, 1])]));
        let nameless = Producer { transactional_id: String::new(), ..producer.clone() };
        x.ask(version, &nameless.add(&[(&topic, &[0, -1])]));
    }
    for verify_only in [false, true] {
        let transactions = vec![producer.part(&[(&topic, &[0, 2])], verify_only)];
        x.ask(4, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
    }
    x.ask(0, &describe(&[&producer.transactional_id]));
}

fn added_for_many(x: &mut Exchange) {
    let topic = x.topic("a", 3, &[]);
    let (one, two, three) = (enter(x, "t1", TIMEOUT_MS), enter(x, "t2", TIMEOUT_MS), enter(x, "t3", TIMEOUT_MS));
    x.ask(3, &two.add(&[(&topic, &[0])]));
    let unknown = Producer { transactional_id: x.name("unknown"), ..one.clone() };
    let stranger = Producer { id: FAR_OFF, ..three.clone() };
    for version in [4, 5] {
        for verify_only in [true, false] {
            let transactions = vec![
                one.part(&[(&topic, &[0, 1])], verify_only),
                two.part(&[(&topic, &[0, 2])], true),
                unknown.part(&[(&topic, &[0])], verify_only),
                stranger.part(&[(&topic, &[0])], verify_only),
            ];
            x.ask(version, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
            let transactions =
                vec![three.at(9).part(&[(&topic, &[1])], verify_only), two.at(-1).part(&[(&topic, &[1])], verify_only)];
            x.ask(version, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
        }
    }
    x.ask(0, &describe(&[&one.transactional_id, &two.transactional_id, &three.transactional_id]));
}

fn offsets_added(x: &mut Exchange) {
    let (one, other) = (x.name("g"), x.name("h"));
    for version in 0..=4 {
        let producer = enter(x, &format!("t{version}"), TIMEOUT_MS);
        x.ask(version, &producer.add_offsets(&one));
        x.ask(version, &producer.add_offsets(&one));
        x.ask(version, &producer.add_offsets(&other));
        x.ask(version, &producer.add_offsets(""));
        x.ask(version, &producer.at(9).add_offsets(&one));
        x.ask(version, &Producer { id: FAR_OFF, ..producer.clone() }.add_offsets(&one));
        x.ask(version, &Producer { transactional_id: String::new(), ..producer.clone() }.add_offsets(&one));
        x.ask(0, &describe(&[&producer.transactional_id]));
        x.ask(4, &producer.end(version % 2 == 0));
        producer.at_rest(x);
        x.ask(0, &describe(&[&producer.transactional_id]));
    }
}

fn ended(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for version in 0..=4 {
        let producer = enter(x, &format!("t{version}"), TIMEOUT_MS);
        for committed in [true, false] {
            x.ask(version, &producer.end(committed));
        }
        for committed in [true, false] {
            x.ask(3, &producer.add(&[(&topic, &[0])]));
            for who in [
                &producer.at(7),
                &producer.at(-1),
                &Producer { id: FAR_OFF, ..producer.clone() },
                &Producer { transactional_id: String::new(), ..producer.clone() },
                &Producer { transactional_id: x.name("unknown"), ..producer.clone() },
            ] {
                x.ask(version, &who.end(committed));
            }
            x.ask(version, &producer.end(committed));
            producer.at_rest(x);
            x.ask(version, &producer.end(committed));
            x.ask(version, &producer.end(!committed));
            x.ask(0, &describe(&[&producer.transactional_id]));
        }
    }
}

fn ended_with_next_epoch(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let first = enter(x, "t", TIMEOUT_MS);
    let state = describe(&[&first.transactional_id]);
    // Nothing was added yet.
    for who in [&first.at(-1), &first.at(1)] {
        x.ask(5, &who.end(true));
        x.ask(5, &who.end(false));
    }
    x.ask(5, &first.end(true));
    let mut producer = first.clone();
    for verdicts in [[false, false], [true, true], [true, false], [false, true]] {
        for committed in verdicts {
            if committed {
                let transactions = vec![producer.part(&[(&topic, &[0])], false)];
                x.ask(5, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
                x.ask(0, &state);
            }
            let answer = x.ask(5, &producer.end(committed));
            producer.at_rest(x);
            x.ask(5, &producer.end(committed));
            x.ask(5, &producer.end(!committed));
            x.ask(0, &state);
            let former = producer.clone();
            producer = Producer { id: answer.producer_id, epoch: answer.producer_epoch, ..producer };
            x.ask(5, &producer.end(true));
            x.ask(4, &former.end(committed));
        }
    }
    for who in [
        &Producer { id: FAR_OFF, ..producer.clone() },
        &Producer { transactional_id: String::new(), ..producer.clone() },
        &Producer { transactional_id: x.name("unknown"), ..producer.clone() },
        &producer.at(producer.epoch + 1),
        &producer.at(producer.epoch - 2),
    ] {
        x.ask(5, &who.end(true));
        x.ask(5, &who.end(false));
    }
    // Who ended a transaction so may also enter again from the epoch before.
    x.ask(5, &producer.at(producer.epoch - 1).claim());
    x.ask(5, &producer.claim());
}

fn both_kinds_of_ends(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let producer = enter(x, "t", TIMEOUT_MS);
    let state = describe(&[&producer.transactional_id]);
    // Opened by a producer with one epoch, ended by one with the next, and the other way round.
    x.ask(3, &producer.add(&[(&topic, &[0])]));
    let answer = x.ask(5, &producer.end(true));
    producer.at_rest(x);
    x.ask(0, &state);
    let producer = Producer { epoch: answer.producer_epoch, ..producer };
    let transactions = vec![producer.part(&[(&topic, &[0])], false)];
    x.ask(4, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
    x.ask(4, &producer.end(false));
    producer.at_rest(x);
    x.ask(0, &state);
    for version in [4, 5] {
        x.ask(version, &producer.end(false));
        producer.at_rest(x);
        x.ask(0, &state);
    }
    x.ask(4, &producer.end(false));
    x.ask(5, &init(&producer.transactional_id));
}

fn fenced_by_another_kind(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    for committed in [false, true] {
        let former = enter(x, &format!("t{committed}"), TIMEOUT_MS);
        let present = former.with(&x.ask(4, &init(&former.transactional_id)));
        x.ask(3, &present.add(&[(&topic, &[0])]));
        x.ask(5, &former.end(committed));
        x.ask(4, &present.end(committed));
        present.at_rest(x);
        x.ask(5, &former.end(!committed));
        x.ask(5, &former.end(committed));
    }
}

fn topic_deleted(x: &mut Exchange) {
    for (suffix, version, committed) in [("a", 4, true), ("b", 5, false)] {
        let (gone, left) = (x.topic(suffix, 2, &[]), x.topic(&format!("{suffix}2"), 1, &[]));
        let producer = enter(x, &format!("t{suffix}"), TIMEOUT_MS);
        x.ask(3, &producer.add(&[(&gone, &[0, 1]), (&left, &[0])]));
        let topics = vec![DeleteTopicState { name: Some(gone.name.clone()), ..DeleteTopicState::default() }];
        x.quietly(6, &DeleteTopicsRequest { topics, timeout_ms: 5_000, ..DeleteTopicsRequest::default() });
        let metadata = super::requests::metadata_of(&[&gone.name]);
        x.wait_until(9, &metadata, |answer| answer.topics.iter().all(|topic| topic.error_code != 0));
        x.ask(0, &describe(&[&producer.transactional_id]));
        x.ask(3, &producer.add(&[(&gone, &[0])]));
        x.ask(version, &producer.end(committed));
        producer.at_rest(x);
        x.ask(0, &describe(&[&producer.transactional_id]));
    }
}

fn described(x: &mut Exchange) {
    let (one, other) = (x.topic("a", 2, &[]), x.topic("b", 1, &[]));
    let producer = enter(x, "t", 30_000);
    let idle = enter(x, "u", TIMEOUT_MS);
    let ids = [&*producer.transactional_id, &*idle.transactional_id];
    let unknown = x.name("unknown");
    x.ask(0, &describe(&[]));
    x.ask(0, &describe(&[ids[1], "", &unknown, ids[0], ids[1]]));
    x.ask(3, &producer.add(&[(&one, &[1, 0]), (&other, &[0])]));
    x.ask(0, &describe(&ids));
    for committed in [true, false] {
        x.ask(3, &producer.add(&[(&one, &[1])]));
        x.ask(4, &producer.end(committed));
        producer.at_rest(x);
        x.ask(0, &describe(&ids));
    }
}

fn listed(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    x.only_mine();
    let (idle, open, done) = (enter(x, "idle", TIMEOUT_MS), enter(x, "open", TIMEOUT_MS), enter(x, "done", TIMEOUT_MS));
    x.ask(3, &open.add(&[(&topic, &[0])]));
    x.ask(3, &done.add(&[(&topic, &[0])]));
    x.ask(4, &done.end(true));
    done.at_rest(x);
    let all = ListTransactionsRequest::default;
    let states = |names: &[&str]| ListTransactionsRequest {
        state_filters: names.iter().map(|name| (*name).to_owned()).collect(),
        ..all()
    };
    for version in 0..=2 {
        x.ask(version, &all());
    }
    for names in [
        &["Ongoing"][..],
        &["Empty", "CompleteCommit"],
        &["PrepareCommit", "PrepareAbort", "CompleteAbort", "PrepareEpochFence", "Dead"],
        &["ongoing"],
        &["", "Ongoing", "Nonsense"],
    ] {
        x.ask(0, &states(names));
    }
    for ids in [vec![open.id], vec![idle.id, done.id], vec![FAR_OFF], vec![-1, open.id]] {
        x.ask(0, &ListTransactionsRequest { producer_id_filters: ids, ..all() });
    }
    x.ask(0, &ListTransactionsRequest { producer_id_filters: vec![open.id], ..states(&["Empty"]) });
    x.pause(20);
    for duration_filter in [-1, -2, 0, 1, 3_600_000, i64::MAX] {
        x.ask(1, &ListTransactionsRequest { duration_filter, ..all() });
        x.ask(1, &ListTransactionsRequest { duration_filter, ..states(&["Ongoing"]) });
    }
    let own = x.name("");
    for pattern in
        ["", ".*", ".*open", "open", "[", "(?i).*IDLE", "*", "a(?!b)", ".*(idle|done)", ".*\\.d\\w{3}", "(?x) .* open"]
    {
        x.ask(2, &ListTransactionsRequest { transactional_id_pattern: Some(pattern.to_owned()), ..all() });
    }
    let literal = format!("\\Q{own}\\Eopen");
    x.ask(2, &ListTransactionsRequest { transactional_id_pattern: Some(literal), ..all() });
}
