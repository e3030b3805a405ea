//! The verdict over a transaction: by its producer (EndTxn), or over its head when it is fenced. The verdict is written
//! first; markers follow, and then the transaction is complete (trap 150).
//!
//! ```text
//!                     │       abort       │       commit      │      with an epoch for each transaction
//!    is complete by   │  retry │   new    │  retry │   new    │      (KIP-890): a retry comes with the
//!   ──────────────────┼────────┼──────────┼────────┼──────────┤      epoch before, a new verdict with
//!    nothing (Empty)  │ fenced │ prepares │ fenced │ invalid  │      the present one. Otherwise both
//!    an abort         │ as was │ prepares │ invalid│ invalid  │      have the same epoch, and what is
//!    a commit         │ invalid│ prepares │ as was │ invalid  │      not "as was" is invalid.
//! ```
//!
//! Source: `TransactionCoordinator.endTransaction`, `endTransactionWithTV1`, `TransactionMetadata.prepareAbortOrCommit`,
//! `prepareComplete`.

use std::collections::BTreeSet;

use milena_base::Millis;
use milena_protocol::messages::EndTxnRequest;
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId};

use super::state::{EPOCH_PER_TRANSACTION, State, Step, Transaction, is_exhausted};

/// First version of EndTxn whose sender gets a new epoch with each answer.
const EPOCH_PER_TRANSACTION_SINCE: i16 = 5;

/// Which level of `transaction.version` an EndTxn is decided by (trap 152): the version says it, not the cluster.
pub(super) fn client_level(version: i16) -> i8 {
    if version >= EPOCH_PER_TRANSACTION_SINCE { EPOCH_PER_TRANSACTION } else { 0 }
}

/// EndTxn of a sender without an epoch for each transaction. `is_waiting`: another change of this id waits for a
/// producer id.
pub(super) fn end_with_one_epoch(
    is: Option<&Transaction>,
    last_epoch: ProducerEpoch,
    request: &EndTxnRequest,
    is_waiting: bool,
    now: Millis,
) -> Result<Step, ErrorCode> {
    let is = is.ok_or(ErrorCode::InvalidProducerIdMapping)?;
    is.validate(ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch))?;
    if is_waiting || is.state.is_decided() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    match (is.state, request.committed) {
        (State::Ongoing, committed) => {
            let next = Transaction { client_level: 0, ..decided(is, committed, now) };
            Ok(Step::write(next, last_epoch))
        }
        (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(Step::Stay),
        (state, _) => Err(contradiction(state)),
    }
}

/// EndTxn of a sender with an epoch for each transaction. It may have the next one already, so it waits for the markers
/// of the last transaction before anything else is looked at.
pub(super) fn end_with_next_epoch(
    is: Option<&Transaction>,
    request: &EndTxnRequest,
    is_waiting: bool,
    fresh: Option<ProducerId>,
    now: Millis,
) -> Result<Step, ErrorCode> {
    let is = is.ok_or(ErrorCode::InvalidProducerIdMapping)?;
    if is_waiting || is.state.is_decided() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let (producer_id, epoch) = (ProducerId(request.producer_id), request.producer_epoch);
    let is_retry_of_last_epoch =
        is.previous_producer_id == producer_id && epoch == i16::MAX - 1 && is.producer_epoch.0 == 0;
    if is.producer_id != producer_id && !is_retry_of_last_epoch {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    // Only a verdict of this kind leaves the next epoch behind. Kafka does not ask which kind it was, and so gives the identity of
    // a producer with one epoch to the one that it has fenced.
    let is_retry_of_bump =
        is.client_level >= EPOCH_PER_TRANSACTION && i32::from(is.producer_epoch.0) == i32::from(epoch) + 1;
    let is_present = is.producer_epoch.0 == epoch;
    let is_known = match is.state {
        State::CompleteCommit | State::CompleteAbort => is_retry_of_bump || is_retry_of_last_epoch || is_present,
        _ => is_present,
    };
    if !is_known {
        return Err(ErrorCode::ProducerFenced);
    }
    let is_retry = is_retry_of_bump || is_retry_of_last_epoch;
    match (is.state, request.committed) {
        (State::Ongoing, committed) => decide_with_next_epoch(is, committed, fresh, now),
        (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_retry => Ok(Step::Stay),
        // Trap 153: who does not know whether something was added may abort in any case.
        (State::Empty, false) => abort_nothing(is, fresh, now),
        (State::CompleteCommit | State::CompleteAbort, false) if !is_retry => abort_nothing(is, fresh, now),
        (state, _) => Err(contradiction(state)),
    }
}

/// Trap 151: a verdict that does not fit what has happened.
fn contradiction(state: State) -> ErrorCode {
    match state {
        State::Dead | State::PrepareEpochFence => ErrorCode::UnknownServerError,
        _ => ErrorCode::InvalidTxnState,
    }
}

/// Aborts an open transaction over the head of its producer, which is fenced by a new epoch. The finalized `level` of
/// `transaction.version` rules.
pub(super) fn fence(is: &Transaction, fresh: Option<ProducerId>, level: i8, now: Millis) -> Result<Step, ErrorCode> {
    if level >= EPOCH_PER_TRANSACTION {
        return decide_with_next_epoch(is, false, fresh, now);
    }
    // The largest one of all is never given out, so it can always fence.
    let producer_epoch = ProducerEpoch(is.producer_epoch.0.saturating_add(1));
    let next = Transaction { producer_epoch, client_level: 0, ..decided(is, false, now) };
    Ok(Step::write(next, ProducerEpoch::NONE))
}

fn decided(is: &Transaction, committed: bool, now: Millis) -> Transaction {
    let state = if committed { State::PrepareCommit } else { State::PrepareAbort };
    Transaction { next_producer_id: ProducerId::NONE, ..is.next(state, now) }
}

fn decide_with_next_epoch(
    is: &Transaction,
    committed: bool,
    fresh: Option<ProducerId>,
    now: Millis,
) -> Result<Step, ErrorCode> {
    let next_producer_id = match (is_exhausted(is.producer_epoch), fresh) {
        (false, _) => ProducerId::NONE,
        (true, Some(fresh)) => fresh,
        (true, None) => return Ok(Step::NeedsProducerId),
    };
    let producer_epoch = match is.producer_epoch.0.checked_add(1) {
        Some(epoch) => ProducerEpoch(epoch),
        // No producer has ever been told this epoch. An abort leads out of it.
        None if !committed => is.producer_epoch,
        None => return Err(ErrorCode::UnknownServerError),
    };
    let client_level = EPOCH_PER_TRANSACTION;
    let next = Transaction { producer_epoch, next_producer_id, client_level, ..decided(is, committed, now) };
    Ok(Step::write(next, is.producer_epoch))
}

fn abort_nothing(is: &Transaction, fresh: Option<ProducerId>, now: Millis) -> Result<Step, ErrorCode> {
    let mut step = decide_with_next_epoch(is, false, fresh, now)?;
    if let Step::Write(change) = &mut step {
        change.next.started_at = now;
    }
    Ok(step)
}

/// What a decided transaction becomes when every partition has its marker.
pub(super) fn complete(is: &Transaction, now: Millis) -> Transaction {
    let state = if is.state == State::PrepareCommit { State::CompleteCommit } else { State::CompleteAbort };
    let (producer_id, producer_epoch) = successor(is);
    let partitions = BTreeSet::new();
    let next_producer_id = ProducerId::NONE;
    Transaction { producer_id, producer_epoch, next_producer_id, partitions, ..is.next(state, now) }
}

/// The producer's identity once the decided transaction is complete.
pub(super) fn successor(is: &Transaction) -> (ProducerId, ProducerEpoch) {
    let changes_id = is.client_level >= EPOCH_PER_TRANSACTION && is.next_producer_id != ProducerId::NONE;
    if changes_id { (is.next_producer_id, ProducerEpoch(0)) } else { (is.producer_id, is.producer_epoch) }
}
