//! Producers whose epochs are used up: by entering again and again, by ending transactions, and while they are fenced.

use milena_protocol::messages::{AddPartitionsToTxnRequest, FetchRequest, ProduceRequest};

use super::Scenario;
use super::requests::{fetch, from, produce};
use super::transactional_ids::{Producer, describe, init, wait_for_coordinator};
use crate::batch::Batch;
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "transactional_ids/trap_147_used_up_by_entering",
        shows: "the last epoch, and the next producer id, for a producer that goes on",
        traps: &[147, 148],
        play: used_up_by_entering,
    },
    Scenario {
        name: "transactional_ids/trap_147_used_up_by_ending",
        shows: "a transaction of the last epoch is written and ended, and a retry learns of the next producer id",
        traps: &[147, 152],
        play: used_up_by_ending,
    },
    Scenario {
        name: "transactional_ids/trap_147_used_up_by_fencing",
        shows: "a transaction of the last epoch is aborted over the head of its producer",
        traps: &[147, 146],
        play: used_up_by_fencing,
    },
];

/// The last epoch that is ever given out.
pub(super) const LAST: i16 = i16::MAX - 1;

/// A producer that has got to that epoch by entering, in silence. A broker that cannot keep up is given time.
pub(super) fn aged(x: &mut Exchange, suffix: &str, epoch: i16) -> Producer {
    const AT_ONCE: i16 = 2_000;
    const ATTEMPTS_MAX: usize = 200;
    let transactional_id = x.name(suffix);
    let request = init(&transactional_id);
    let mut producer = Producer { transactional_id, id: -1, epoch: -1 };
    for _ in 0..ATTEMPTS_MAX {
        wait_for_coordinator(x, &producer.transactional_id);
        let Some(entered) = x.quietly(4, &request).filter(|answer| answer.error_code == 0) else {
            x.pause(100);
            continue;
        };
        producer = producer.with(&entered);
        if producer.epoch == epoch {
            break;
        }
        // The last step is taken alone: whether it is the last is known before.
        let left = (epoch - producer.epoch - 1).min(AT_ONCE);
        x.quietly_repeated(4, &request, left as u32);
    }
    producer
}

/// Adds partition 0 as a producer with an epoch for each transaction has it done, and writes a first batch.
fn begins(x: &mut Exchange, producer: &Producer, topic: &Topic) {
    let transactions = vec![producer.part(&[(topic, &[0])], false)];
    x.ask(5, &AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() });
    let batch = Batch { attributes: 0x10, ..Batch::of(&["a"]).by(producer.id, producer.epoch, 0) };
    let transactional_id = Some(producer.transactional_id.clone());
    x.ask(11, &ProduceRequest { transactional_id, ..produce(topic, &batch) });
}

/// Ends the transaction, and says who the producer is then.
fn ends(x: &mut Exchange, producer: &Producer, committed: bool) -> Producer {
    let answer = x.ask(5, &producer.end(committed));
    producer.at_rest(x);
    Producer { id: answer.producer_id, epoch: answer.producer_epoch, ..producer.clone() }
}

fn used_up_by_entering(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let before = aged(x, "t", LAST - 1);
    let state = describe(&[&before.transactional_id]);
    let last = before.with(&x.ask(4, &before.claim()));
    x.ask(4, &before.claim());
    x.ask(0, &state);
    let next = last.with(&x.ask(4, &last.claim()));
    x.ask(0, &state);
    // The answer was lost, perhaps; the one before it was not.
    x.ask(4, &last.claim());
    x.ask(4, &before.claim());
    x.ask(3, &last.add(&[(&topic, &[0])]));
    x.ask(5, &last.end(false));
    x.ask(3, &next.add(&[(&topic, &[0])]));
    x.ask(4, &next.end(true));
    next.at_rest(x);
    x.ask(4, &last.claim());
    x.ask(4, &next.claim());
    x.ask(4, &last.claim());
    x.ask(0, &state);
}

fn used_up_by_ending(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let before = aged(x, "t", LAST - 1);
    let state = describe(&[&before.transactional_id]);
    begins(x, &before, &topic);
    let last = ends(x, &before, true);
    begins(x, &last, &topic);
    let next = ends(x, &last, true);
    x.ask(0, &state);
    // Retries: of the last verdict, of another one, and of the one before.
    x.ask(5, &last.end(true));
    x.ask(5, &last.end(false));
    x.ask(5, &before.end(true));
    x.ask(4, &last.end(true));
    begins(x, &last, &topic);
    begins(x, &next, &topic);
    x.ask(5, &last.end(true));
    ends(x, &next, false);
    x.ask(5, &last.end(true));
    x.ask(0, &state);
    x.ask(12, &FetchRequest { isolation_level: 1, ..fetch(&topic, vec![from(0, 0)]) });
}

fn used_up_by_fencing(x: &mut Exchange) {
    let topic = x.topic("a", 1, &[]);
    let last = aged(x, "t", LAST);
    let state = describe(&[&last.transactional_id]);
    begins(x, &last, &topic);
    x.ask(4, &init(&last.transactional_id));
    last.at_rest(x);
    x.ask(0, &state);
    x.ask(5, &last.end(true));
    x.ask(5, &last.end(false));
    x.ask(4, &last.claim());
    let next = last.with(&x.ask(4, &init(&last.transactional_id)));
    x.ask(0, &state);
    begins(x, &next, &topic);
    ends(x, &next, true);
    x.ask(12, &FetchRequest { isolation_level: 1, ..fetch(&topic, vec![from(0, 0)]) });
}
