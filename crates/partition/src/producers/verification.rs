//! Transactions that a partition was told of and that their coordinator has not vouched for yet (KIP-890).
//!
//! ```text
//! Produce ──► append: not in an open transaction ──► NeedsVerification(guard)
//!             coordinator: "the partition is part of it"
//!             append with the guard ──► still the one that was handed out? ──► the transaction is open here
//! ```
//! A marker that is written in between takes the guard away, so that the answer to an old question cannot open a
//! transaction that nobody would ever end.
//!
//! Source: `VerificationStateEntry`, `VerificationGuard`, `UnifiedLog.maybeStartTransactionVerification` in Kafka 4.3.1.

use std::collections::BTreeMap;

use milena_base::Millis;
use milena_protocol::records::BatchHeader;
use milena_protocol::{ProducerEpoch, ProducerId, Sequence};

/// Questions that may be open at once in a partition; beyond it the one of the smallest producer id is forgotten,
/// and that producer has to ask again.
const QUESTIONS_MAX: usize = 10_000;

/// Names one question to a transaction's coordinator. Never given twice by one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard(u64);

/// A transaction that is about to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Whose.
    pub producer: ProducerId,
    /// Of the producer.
    pub epoch: ProducerEpoch,
    /// Of its first record; −1 for what a coordinator writes.
    pub sequence: Sequence,
    /// The producer's epoch rises with each transaction (transaction version 2), so that its sequences begin with 0.
    pub bumps_epoch: bool,
}

impl Beginning {
    /// By the first batch; whether the epoch rises, no batch can tell.
    pub(crate) fn of(header: &BatchHeader) -> Beginning {
        Beginning {
            producer: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
            bumps_epoch: false,
        }
    }
}

/// What waits for the coordinator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    guard: Guard,
    since: Millis,
    epoch: ProducerEpoch,
    /// A batch that failed for a while must not be overtaken by its successor, which would then be the first.
    pub(crate) lowest_sequence: Sequence,
    /// The producer's epoch rises with each transaction, and its sequences begin anew.
    pub(crate) bumps_epoch: bool,
}

/// The open questions, one for each producer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Questions {
    open: BTreeMap<ProducerId, Question>,
    next_guard: u64,
}

impl Questions {
    /// Asks, or asks again: then the guard stays.
    pub(crate) fn ask(&mut self, now: Millis, beginning: &Beginning) -> Guard {
        let Beginning { producer, epoch, sequence, bumps_epoch } = *beginning;
        if !self.open.contains_key(&producer) {
            if self.open.len() == QUESTIONS_MAX {
                self.open.pop_first();
            }
            let guard = Guard(self.next_guard);
            self.next_guard += 1;
            self.open.insert(producer, Question { guard, since: now, epoch, lowest_sequence: sequence, bumps_epoch });
        }
        let question = self.open.get_mut(&producer).expect("just inserted");
        if epoch > question.epoch || (epoch == question.epoch && sequence < question.lowest_sequence) {
            (question.epoch, question.lowest_sequence) = (epoch, sequence);
        }
        question.guard
    }

    pub(crate) fn of(&self, producer: ProducerId) -> Option<&Question> {
        self.open.get(&producer)
    }

    /// Whether `guard` is the answer to the question that is open now.
    pub(crate) fn is_open(&self, producer: ProducerId, guard: Guard) -> bool {
        self.open.get(&producer).is_some_and(|question| question.guard == guard)
    }

    /// The transaction is open: nothing needs to be asked.
    pub(crate) fn on_data(&mut self, producer: ProducerId) {
        self.open.remove(&producer);
    }

    /// The transaction has ended, and with it what was asked about it. A producer whose epoch was raised by the
    /// marker may be asking already about its next one.
    pub(crate) fn on_marker(&mut self, producer: ProducerId, epoch: ProducerEpoch) {
        if !self.open.get(&producer).is_some_and(|question| question.bumps_epoch && question.epoch == epoch) {
            self.open.remove(&producer);
        }
    }

    /// Forgets questions that nobody answered for `expiration_ms`.
    pub(crate) fn expire(&mut self, now: Millis, expiration_ms: i64) {
        self.open.retain(|_, question| (now - question.since).0 < expiration_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ProducerId = ProducerId(7);

    fn beginning(producer: ProducerId, epoch: i16, sequence: i32) -> Beginning {
        let (epoch, sequence) = (ProducerEpoch(epoch), Sequence(sequence));
        Beginning { producer, epoch, sequence, bumps_epoch: true }
    }

    fn ask(questions: &mut Questions, epoch: i16, sequence: i32) -> Guard {
        questions.ask(Millis(0), &beginning(PRODUCER, epoch, sequence))
    }

    #[test]
    fn the_lowest_sequence_of_the_newest_epoch_is_kept() {
        let mut questions = Questions::default();
        let guard = ask(&mut questions, 1, 5);
        for (epoch, sequence, lowest) in [(1, 9, 5), (1, 3, 3), (2, 8, 8), (1, 0, 8)] {
            assert_eq!(ask(&mut questions, epoch, sequence), guard);
            assert_eq!(questions.of(PRODUCER).unwrap().lowest_sequence, Sequence(lowest), "{epoch} {sequence}");
        }
    }

    #[test]
    fn a_marker_takes_the_guard_away_unless_it_began_the_epoch_that_asks() {
        let mut questions = Questions::default();
        let old = ask(&mut questions, 1, 0);
        questions.on_marker(PRODUCER, ProducerEpoch(2));
        assert!(!questions.is_open(PRODUCER, old));
        let new = ask(&mut questions, 2, 0);
        assert_ne!(new, old);
        questions.on_marker(PRODUCER, ProducerEpoch(2));
        assert!(questions.is_open(PRODUCER, new));
    }

    #[test]
    fn questions_expire_and_are_bounded() {
        let mut questions = Questions::default();
        let guard = ask(&mut questions, 0, 0);
        questions.expire(Millis(99), 100);
        assert!(questions.is_open(PRODUCER, guard));
        questions.expire(Millis(100), 100);
        assert!(!questions.is_open(PRODUCER, guard));
        for id in 0..2 * QUESTIONS_MAX as i64 {
            questions.ask(Millis(0), &beginning(ProducerId(id), 0, 0));
        }
        assert_eq!(questions.open.len(), QUESTIONS_MAX);
    }
}
