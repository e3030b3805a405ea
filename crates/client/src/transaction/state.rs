//! What a transactional producer knows of its transaction. It decides what may happen next; it sends nothing.
//!
//! ```text
//!   Ready ──begin──► Open ──ended──► Ready
//!                     │                ▲
//!                     └─fail─► Failed ─┘ (by an abort alone)
//!   any ──── fenced, or an outcome that nobody knows ────► Dead
//! ```
//! Source: `TransactionManager` of Kafka's producer; which error ends what is its handlers' (KIP-98, KIP-588, KIP-890,
//! KIP-1050).

use std::collections::BTreeSet;

use milena_protocol::{ErrorCode, TopicPartition};

use crate::Error;
use crate::producer::Identity;

/// How partitions and groups get into a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The producer names each to the coordinator first; its epoch stays (KIP-98).
    Explicit,
    /// Their brokers name them at the first record or offset, and every end gives the producer its next epoch
    /// (KIP-890, `transaction.version` 2).
    Implicit,
}

impl Protocol {
    /// By the level of the feature that the cluster has agreed on.
    pub(crate) fn of_level(transaction_version: i16) -> Protocol {
        if transaction_version >= 2 { Protocol::Implicit } else { Protocol::Explicit }
    }
}

/// What was being done when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Records were sent.
    Produce,
    /// A partition was named to the coordinator.
    AddPartition,
    /// A group was named to the coordinator.
    AddGroup,
    /// Offsets were stored.
    CommitOffsets,
    /// The transaction was to be committed.
    Commit,
    /// The transaction was to be aborted.
    Abort,
    /// The producer asked for another epoch.
    NextEpoch,
}

/// Whether the coordinator knows of the transaction: then it has to be told of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    /// A request that would have begun it got no answer.
    Perhaps,
    Yes,
}

#[derive(Debug, Clone)]
enum Phase {
    Ready,
    Open,
    Failed(Error),
    Dead(Error),
}

/// One producer's transaction, or the pause between two.
#[derive(Debug)]
pub(crate) struct State {
    protocol: Protocol,
    identity: Identity,
    phase: Phase,
    begun: Begun,
    partitions: BTreeSet<TopicPartition>,
    groups: BTreeSet<String>,
    needs_epoch: bool,
}

impl State {
    /// A producer that has just got its identity.
    pub(crate) fn new(protocol: Protocol, identity: Identity) -> State {
        State {
            protocol,
            identity,
            phase: Phase::Ready,
            begun: Begun::No,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            needs_epoch: false,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Opens a transaction. Only one is open at a time.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        match &self.phase {
            Phase::Ready => {
                self.phase = Phase::Open;
                self.begun = Begun::No;
                Ok(())
            }
            Phase::Dead(error) => Err(error.clone()),
            Phase::Open | Phase::Failed(_) => Err(Error::Misuse("a transaction is open already")),
        }
    }

    /// Whether a transaction was begun and not ended.
    pub(crate) fn is_unfinished(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Failed(_))
    }

    /// Errors unless records and offsets may go into the transaction, and unless it may be committed.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Ready => Err(Error::Misuse("no transaction is open")),
            Phase::Failed(error) | Phase::Dead(error) => Err(error.clone()),
        }
    }

    /// Whether the partition has to be named before records go there.
    pub(crate) fn must_name_partition(&self, partition: &TopicPartition) -> bool {
        self.protocol == Protocol::Explicit && !self.partitions.contains(partition)
    }

    /// The partition is named, or its broker will do that.
    pub(crate) fn note_partition(&mut self, partition: &TopicPartition) {
        self.begun = Begun::Yes;
        if !self.partitions.contains(partition) {
            self.partitions.insert(partition.clone());
        }
    }

    /// Whether the group has to be named before its offsets go in.
    pub(crate) fn must_name_group(&self, group: &str) -> bool {
        self.protocol == Protocol::Explicit && !self.groups.contains(group)
    }

    /// The group is named, or its broker will do that.
    pub(crate) fn note_group(&mut self, group: &str) {
        self.begun = Begun::Yes;
        self.groups.insert(group.to_owned());
    }

    /// A request that would begin the transaction got no answer.
    pub(crate) fn note_unanswered(&mut self) {
        if self.begun == Begun::No {
            self.begun = Begun::Perhaps;
        }
    }

    /// Records that had a sequence were given up: those behind them would be refused. With the explicit protocol
    /// that needs another epoch; with the implicit one the end of the transaction brings it.
    pub(crate) fn note_lost_sequence(&mut self) {
        self.needs_epoch |= self.protocol == Protocol::Explicit;
    }

    /// Whether another epoch is due before the next transaction.
    pub(crate) fn needs_epoch(&self) -> bool {
        self.needs_epoch
    }

    /// Something failed for good. Answers what the owner is told: the first failure stays.
    pub(crate) fn fail(&mut self, step: Step, error: Error) -> Error {
        let error = match error {
            told @ (Error::TransactionFailed { .. } | Error::ProducerFailed { .. }) => told,
            error if is_fatal(step, &error) => Error::ProducerFailed { cause: Box::new(error) },
            error => Error::TransactionFailed { cause: Box::new(error) },
        };
        match (&self.phase, &error) {
            (Phase::Dead(first), _) => return first.clone(),
            (_, Error::ProducerFailed { .. }) => self.phase = Phase::Dead(error.clone()),
            (Phase::Open, _) => self.phase = Phase::Failed(error.clone()),
            (Phase::Failed(first), _) => return first.clone(),
            (Phase::Ready, _) => {}
        }
        error
    }

    /// Nothing may go in any more: what waits to be sent is given up.
    pub(crate) fn start_abort(&mut self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => {
                let cause = Box::new(Error::Misuse("its owner has aborted it"));
                self.phase = Phase::Failed(Error::TransactionFailed { cause });
                Ok(())
            }
            Phase::Failed(_) => Ok(()),
            Phase::Ready => Err(Error::Misuse("no transaction is open")),
            Phase::Dead(error) => Err(error.clone()),
        }
    }

    /// Whether the coordinator has to be told of the end.
    pub(crate) fn must_tell_end(&self) -> bool {
        self.begun != Begun::No
    }

    /// Whether this refusal of an abort says that there was nothing to abort, which is what was wanted.
    pub(crate) fn is_aborted_by(&self, refusal: &Error) -> bool {
        self.begun == Begun::Perhaps && refusal.code() == Some(ErrorCode::InvalidTxnState)
    }

    /// The transaction is over. `next` is the identity for the following ones, if the end gave another.
    pub(crate) fn ended(&mut self, next: Option<Identity>, protocol: Protocol) {
        self.phase = Phase::Ready;
        self.begun = Begun::No;
        self.partitions.clear();
        self.groups.clear();
        self.identity = next.unwrap_or(self.identity);
        // Fences what the former protocol may still have under way (KIP-890).
        self.needs_epoch |= self.protocol == Protocol::Explicit && protocol == Protocol::Implicit;
        self.protocol = protocol;
    }

    /// The producer got another epoch outside of a transaction.
    pub(crate) fn renewed(&mut self, identity: Identity) {
        self.identity = identity;
        self.needs_epoch = false;
    }
}

/// Whether a producer cannot go on after this failure, not even by aborting.
fn is_fatal(step: Step, error: &Error) -> bool {
    use ErrorCode as Code;
    let refused = match error {
        Error::Refused { code, .. } => Some(*code),
        _ => None,
    };
    match step {
        Step::Produce => matches!(
            refused,
            Some(
                Code::ClusterAuthorizationFailed
                    | Code::TransactionalIdAuthorizationFailed
                    | Code::ProducerFenced
                    | Code::UnsupportedVersion
                    | Code::InvalidProducerIdMapping
            )
        ),
        Step::AddPartition => refused.is_some_and(is_lost),
        Step::AddGroup => match refused {
            Some(Code::UnknownProducerId | Code::GroupAuthorizationFailed | Code::TransactionAbortable) => false,
            refused => refused.is_some(),
        },
        Step::CommitOffsets => match refused {
            Some(
                Code::GroupAuthorizationFailed
                | Code::FencedInstanceId
                | Code::TransactionAbortable
                | Code::UnknownMemberId
                | Code::IllegalGeneration
                | Code::StaleMemberEpoch
                | Code::RebalanceInProgress,
            ) => false,
            refused => refused.is_some(),
        },
        // Where the time ran out nobody knows the outcome.
        Step::Commit => !matches!(refused, Some(Code::UnknownProducerId | Code::TransactionAbortable)),
        // To abort again would go on for ever.
        Step::Abort | Step::NextEpoch => true,
    }
}

/// Whether a coordinator says that the producer, or its right to the transactional id, is gone.
fn is_lost(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidProducerEpoch
            | ErrorCode::ProducerFenced
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::InvalidTxnState
            | ErrorCode::InvalidProducerIdMapping
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_protocol::{ProducerEpoch, ProducerId};

    fn identity(epoch: i16) -> Identity {
        Identity { id: ProducerId(7), epoch: ProducerEpoch(epoch) }
    }

    fn refused(code: ErrorCode) -> Error {
        Error::Refused { what: "it".to_owned(), code, message: None }
    }

    fn open(protocol: Protocol) -> State {
        let mut state = State::new(protocol, identity(0));
        state.begin().unwrap();
        state
    }

    #[test]
    fn a_failure_leaves_nothing_but_an_abort_and_then_goes_on() {
        let mut state = open(Protocol::Implicit);
        let told = state.fail(Step::Produce, refused(ErrorCode::MessageTooLarge));
        assert!(matches!(told, Error::TransactionFailed { .. }), "{told}");
        assert_eq!(state.check_open().unwrap_err().code(), Some(ErrorCode::MessageTooLarge));
        let later = state.fail(Step::Produce, refused(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(later.code(), Some(ErrorCode::MessageTooLarge), "the first failure stays");
        state.start_abort().unwrap();
        state.ended(Some(identity(1)), Protocol::Implicit);
        assert_eq!(state.identity(), identity(1));
        state.begin().unwrap();
        state.check_open().unwrap();
    }

    #[test]
    fn a_fenced_producer_never_goes_on() {
        let mut state = open(Protocol::Explicit);
        let told = state.fail(Step::AddPartition, refused(ErrorCode::ProducerFenced));
        assert!(matches!(told, Error::ProducerFailed { .. }), "{told}");
        for outcome in [state.check_open(), state.start_abort(), state.begin()] {
            assert!(matches!(outcome, Err(Error::ProducerFailed { .. })), "{outcome:?}");
        }
    }

    #[test]
    fn an_old_epoch_is_found_out_by_the_coordinator_not_by_a_leader() {
        // A leader says so too where the coordinator has aborted for the time (KIP-588).
        let code = ErrorCode::InvalidProducerEpoch;
        assert!(!is_fatal(Step::Produce, &refused(code)));
        for step in [Step::AddPartition, Step::AddGroup, Step::CommitOffsets, Step::Commit, Step::Abort] {
            assert!(is_fatal(step, &refused(code)), "{step:?}");
        }
    }

    #[test]
    fn time_that_ran_out_is_fatal_only_where_the_outcome_is_unknown() {
        let last = Box::new(refused(ErrorCode::ConcurrentTransactions));
        let late = Error::Deadline { after: std::time::Duration::ZERO, last };
        for step in [Step::Produce, Step::AddPartition, Step::AddGroup, Step::CommitOffsets] {
            assert!(!is_fatal(step, &late), "{step:?}");
        }
        assert!(is_fatal(Step::Commit, &late) && is_fatal(Step::Abort, &late));
    }

    #[test]
    fn a_rebalanced_group_costs_the_transaction_not_the_producer() {
        for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId] {
            assert!(!is_fatal(Step::CommitOffsets, &refused(code)), "{code}");
        }
        assert!(is_fatal(Step::CommitOffsets, &refused(ErrorCode::InvalidTxnState)));
    }

    #[test]
    fn only_the_explicit_protocol_names_partitions_and_each_once() {
        let partition = TopicPartition::new("t", 0);
        assert!(!open(Protocol::Implicit).must_name_partition(&partition));
        let mut state = open(Protocol::Explicit);
        assert!(state.must_name_partition(&partition) && state.must_name_group("g"));
        assert!(!state.must_tell_end(), "the coordinator does not know of it");
        state.note_partition(&partition);
        state.note_group("g");
        assert!(!state.must_name_partition(&partition) && !state.must_name_group("g") && state.must_tell_end());
        state.ended(None, Protocol::Explicit);
        assert!(state.must_name_partition(&partition) && state.must_name_group("g"), "each transaction anew");
    }

    #[test]
    fn a_lost_sequence_needs_an_epoch_where_the_end_does_not_bring_one() {
        let mut state = open(Protocol::Explicit);
        state.note_lost_sequence();
        state.ended(None, Protocol::Explicit);
        assert!(state.needs_epoch());
        state.renewed(identity(1));
        assert!(!state.needs_epoch());
        let mut state = open(Protocol::Implicit);
        state.note_lost_sequence();
        assert!(!state.needs_epoch());
    }

    #[test]
    fn a_cluster_that_moves_to_the_implicit_protocol_costs_an_epoch() {
        let mut state = open(Protocol::Explicit);
        state.ended(None, Protocol::Implicit);
        assert!(state.needs_epoch());
        state.renewed(identity(1));
        state.begin().unwrap();
        state.ended(Some(identity(2)), Protocol::Implicit);
        assert!(!state.needs_epoch());
    }

    #[test]
    fn an_unanswered_beginning_may_turn_out_to_be_none() {
        let mut state = open(Protocol::Explicit);
        state.note_unanswered();
        assert!(state.must_tell_end() && state.is_aborted_by(&refused(ErrorCode::InvalidTxnState)));
        state.note_partition(&TopicPartition::new("t", 0));
        assert!(!state.is_aborted_by(&refused(ErrorCode::InvalidTxnState)));
    }
}
