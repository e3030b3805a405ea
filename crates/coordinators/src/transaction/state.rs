//! What is known of one transactional id: as its last record says it, and nothing else.
//!
//! Source: `TransactionState`, `TransactionMetadata`.

use std::collections::BTreeSet;

use milena_base::Millis;
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

/// The largest epoch that a producer is ever told. The one above fences whoever has it.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// From this level of `transaction.version` on each transaction has an epoch of its own (KIP-890, part 2).
pub(super) const EPOCH_PER_TRANSACTION: i8 = 2;

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The producer is known, and has no transaction yet.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided: its partitions get their markers.
    PrepareCommit,
    /// The same, for an abort.
    PrepareAbort,
    /// All markers are written.
    CompleteCommit,
    /// The same, for an abort.
    CompleteAbort,
    /// Kafka's word for an id that is about to be forgotten. Never written here.
    Dead,
    /// Kafka's word for an open transaction whose producer is being fenced. Never written here.
    PrepareEpochFence,
}

impl State {
    pub(super) const ALL: [State; 8] = [
        State::Empty,
        State::Ongoing,
        State::PrepareCommit,
        State::PrepareAbort,
        State::CompleteCommit,
        State::CompleteAbort,
        State::Dead,
        State::PrepareEpochFence,
    ];

    /// The number in records.
    pub(super) fn number(self) -> i8 {
        self as i8
    }

    pub(super) fn from_number(number: i8) -> Option<State> {
        State::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
            State::Dead => "Dead",
            State::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// Whether it is decided, and its markers are on their way.
    pub(super) fn is_decided(self) -> bool {
        matches!(self, State::PrepareCommit | State::PrepareAbort)
    }

    /// Whether nothing is going on.
    pub(super) fn is_at_rest(self) -> bool {
        matches!(self, State::Empty | State::CompleteCommit | State::CompleteAbort)
    }
}

/// A transactional id, its producer and its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) producer_id: ProducerId,
    /// The producer id before the last record.
    pub(super) previous_producer_id: ProducerId,
    /// The producer id that takes over when this transaction is complete, because the epochs of the present one are
    /// used up.
    pub(super) next_producer_id: ProducerId,
    pub(super) producer_epoch: ProducerEpoch,
    pub(super) timeout_ms: i32,
    pub(super) state: State,
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// When the transaction began; [`Millis::NONE`] where there is none.
    pub(super) started_at: Millis,
    /// When the last record was written.
    pub(super) updated_at: Millis,
    /// Level of `transaction.version` that the producer works by, as far as its last request has shown.
    pub(super) client_level: i8,
}

impl Transaction {
    /// A transactional id that nobody has used yet. Its producer has no epoch: the first one is given out by
    /// InitProducerId.
    pub(super) fn new(producer_id: ProducerId, timeout_ms: i32, now: Millis) -> Transaction {
        Transaction {
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            started_at: Millis::NONE,
            updated_at: now,
            client_level: 0,
        }
    }

    /// What every change begins with.
    pub(super) fn next(&self, state: State, now: Millis) -> Transaction {
        Transaction { state, previous_producer_id: self.producer_id, updated_at: now, ..self.clone() }
    }

    /// Whether no further epoch may be given out under this producer id (trap 147).
    pub(super) fn is_exhausted(&self) -> bool {
        is_exhausted(self.producer_epoch)
    }

    /// When the transaction is to be aborted; `None` if it is not open, or has no end of its own.
    pub(super) fn deadline(&self) -> Option<Millis> {
        // Kafka's word for a transaction whose end somebody else decides (KIP-939).
        let has_timeout = self.state == State::Ongoing && self.timeout_ms != i32::MAX;
        has_timeout.then(|| Millis(self.started_at.0.saturating_add(i64::from(self.timeout_ms))))
    }

    /// Whether the sender is the producer that this id belongs to.
    pub(super) fn validate(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> Result<(), ErrorCode> {
        if self.producer_id != producer_id {
            Err(ErrorCode::InvalidProducerIdMapping)
        } else if self.producer_epoch != epoch {
            Err(ErrorCode::ProducerFenced)
        } else {
            Ok(())
        }
    }
}

/// Whether `epoch` is the last one of its producer id.
pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= EPOCH_MAX
}

/// What a request leads to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing changes: it was so before.
    Stay,
    /// Something is written.
    Write(Box<Change>),
    /// A fresh producer id is needed before that.
    NeedsProducerId,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// The state from now on.
    pub(super) next: Transaction,
    /// The epoch that the producer had before, where it may repeat the request that gave it the present one (trap
    /// 148). It is remembered beside the log, as in Kafka: a repetition does not outlive a reload.
    pub(super) last_epoch: ProducerEpoch,
}

impl Step {
    pub(super) fn write(next: Transaction, last_epoch: ProducerEpoch) -> Step {
        Step::Write(Box::new(Change { next, last_epoch }))
    }
}
