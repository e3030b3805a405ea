//! Faults that tests plant in the machine, to see that the simulation finds them. Not compiled into anything else.

use milena_base::Millis;
use milena_protocol::messages::{EndTxnRequest, InitProducerIdRequest};
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use super::event::Marked;
use super::shard::TransactionShard;
use super::state::{State, Step, Transaction};
use super::{Participation, Settings, add_partitions, init_producer_id};

/// One fault. Each says what goes wrong while it is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// Answers do not wait for the records that they know of.
    AnswerBeforeCommit,
    /// Decided transactions that were loaded get no markers.
    MarkersLostOnReload,
    /// Whoever has the producer id may end the transaction, whatever its epoch.
    StaleEpochEnds,
    /// The same for partitions that are added.
    StaleEpochAdds,
    /// A marker that was refused counts as written.
    RefusedCountsAsWritten,
    /// A verdict leaves the epoch as it was.
    EpochNotBumped,
    /// The opposite verdict is taken while the markers of the first are on their way.
    VerdictChanges,
    /// A partition is added while markers are on their way.
    AddedWhileDecided,
    /// A producer that enters leaves the open transaction of the former one without an end.
    FenceWithoutAbort,
    /// What was open for too long is committed.
    TimeoutCommits,
    /// What was open for too long is aborted, and its producer may go on.
    TimeoutDoesNotFence,
    /// Transactions are aborted at once.
    TimeoutAtOnce,
    /// Markers are written twice at the same time.
    MarkersTwice,
    /// A partition takes the place of those that were added before.
    PartitionForgotten,
    /// A repeated claim gives another epoch.
    ClaimBumpsTwice,
    /// A verdict that comes again is a contradiction.
    RetryRefused,
    /// The next producer id is one that was given before.
    ProducerIdTwice,
    /// Ids expire at once.
    ExpiryAtOnce,
}

impl Bug {
    pub(super) const ALL: [Bug; 18] = [
        Bug::AnswerBeforeCommit,
        Bug::MarkersLostOnReload,
        Bug::StaleEpochEnds,
        Bug::StaleEpochAdds,
        Bug::RefusedCountsAsWritten,
        Bug::EpochNotBumped,
        Bug::VerdictChanges,
        Bug::AddedWhileDecided,
        Bug::FenceWithoutAbort,
        Bug::TimeoutCommits,
        Bug::TimeoutDoesNotFence,
        Bug::TimeoutAtOnce,
        Bug::MarkersTwice,
        Bug::PartitionForgotten,
        Bug::ClaimBumpsTwice,
        Bug::RetryRefused,
        Bug::ProducerIdTwice,
        Bug::ExpiryAtOnce,
    ];
}

impl Settings {
    /// Whether that fault is planted.
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }
}

type Added = Result<Option<Transaction>, ErrorCode>;

impl TransactionShard {
    pub(super) fn planted_init(
        &self,
        request: &InitProducerIdRequest,
        fresh: Option<ProducerId>,
        now: Millis,
        honest: Result<Step, ErrorCode>,
    ) -> Result<Step, ErrorCode> {
        let Some(is) = request.transactional_id.as_deref().and_then(|id| self.known(id)) else { return honest };
        let again = |is: &Transaction, request: &InitProducerIdRequest, fresh| {
            init_producer_id::init(Some(is), ProducerEpoch::NONE, request, fresh, 2, now)
        };
        if self.settings().has(Bug::FenceWithoutAbort) && is.state == State::Ongoing {
            return again(&Transaction { state: State::CompleteAbort, ..is.clone() }, request, fresh);
        }
        if self.settings().has(Bug::ProducerIdTwice) && fresh.is_some() {
            return again(is, request, Some(ProducerId(101)));
        }
        match &honest {
            Ok(Step::Write(change))
                if self.settings().has(Bug::ClaimBumpsTwice) && change.next.producer_epoch == is.producer_epoch =>
            {
                again(is, &InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..request.clone() }, fresh)
            }
            _ => honest,
        }
    }

    pub(super) fn planted_add(&self, added: &Participation, client_level: i8, now: Millis, honest: Added) -> Added {
        let Some(is) = self.known(&added.transactional_id) else { return honest };
        if self.settings().has(Bug::StaleEpochAdds) {
            let added = Participation { producer_epoch: is.producer_epoch, ..added.clone() };
            return add_partitions::add(Some(is), &added, client_level, false, now);
        }
        if self.settings().has(Bug::AddedWhileDecided) && is.state.is_decided() {
            let producer_epoch = added.producer_epoch;
            let open = Transaction { state: State::Ongoing, producer_epoch, ..is.clone() };
            return add_partitions::add(Some(&open), added, client_level, false, now);
        }
        match honest {
            Ok(Some(next)) if self.settings().has(Bug::PartitionForgotten) => {
                Ok(Some(Transaction { partitions: added.partitions.clone(), ..next }))
            }
            honest => honest,
        }
    }

    pub(super) fn planted_end_request(&self, mut request: EndTxnRequest) -> EndTxnRequest {
        if let Some(is) = self.known(&request.transactional_id)
            && self.settings().has(Bug::StaleEpochEnds)
        {
            request.producer_epoch = is.producer_epoch.0;
        }
        request
    }

    pub(super) fn planted_end(
        &self,
        request: &EndTxnRequest,
        now: Millis,
        honest: Result<Step, ErrorCode>,
    ) -> Result<Step, ErrorCode> {
        let Some(is) = self.known(&request.transactional_id) else { return honest };
        match honest {
            Ok(Step::Write(mut change)) if self.settings().has(Bug::EpochNotBumped) => {
                change.next.producer_epoch = is.producer_epoch;
                Ok(Step::Write(change))
            }
            Ok(Step::Stay) if self.settings().has(Bug::RetryRefused) => Err(ErrorCode::InvalidTxnState),
            Err(ErrorCode::ConcurrentTransactions)
                if self.settings().has(Bug::VerdictChanges)
                    && is.state.is_decided()
                    && request.committed != (is.state == State::PrepareCommit) =>
            {
                let state = if request.committed { State::PrepareCommit } else { State::PrepareAbort };
                Ok(Step::write(is.next(state, now), ProducerEpoch::NONE))
            }
            honest => honest,
        }
    }

    pub(super) fn planted_abort(&self, is: &Transaction, mut step: Step) -> Step {
        if let Step::Write(change) = &mut step {
            if self.settings().has(Bug::TimeoutCommits) {
                change.next.state = State::PrepareCommit;
            }
            if self.settings().has(Bug::TimeoutDoesNotFence) {
                change.next.producer_epoch = is.producer_epoch;
                change.next.client_level = 0;
            }
        }
        step
    }

    pub(super) fn planted_marked(&self, results: Vec<(TopicPartition, Marked)>) -> Vec<(TopicPartition, Marked)> {
        match self.settings().has(Bug::RefusedCountsAsWritten) {
            true => results.into_iter().map(|(partition, _)| (partition, Marked::Written)).collect(),
            false => results,
        }
    }
}
