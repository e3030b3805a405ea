//! InitProducerId: a producer takes over a transactional id. Whoever had it before is fenced by a new epoch; what it
//! left open is aborted first.
//!
//! Source: `TransactionCoordinator.prepareInitProducerIdTransit`, `TransactionMetadata.prepareIncrementProducerEpoch`,
//! `prepareProducerIdRotation`; KIP-360.

use milena_base::Millis;
use milena_protocol::messages::InitProducerIdRequest;
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId};

use super::end;
use super::state::{State, Step, Transaction, is_exhausted};

/// The producer that the sender claims to be; it wants to go on after an error.
type Claim = Option<(ProducerId, ProducerEpoch)>;

/// What follows for `is`, what is known of the transactional id. `last_epoch` is remembered from the change that led
/// there, `fresh` a producer id that was asked for. A change that leads to an abort is answered
/// CONCURRENT_TRANSACTIONS, so that the sender asks again (trap 146).
pub(super) fn init(
    is: Option<&Transaction>,
    last_epoch: ProducerEpoch,
    request: &InitProducerIdRequest,
    fresh: Option<ProducerId>,
    level: i8,
    now: Millis,
) -> Result<Step, ErrorCode> {
    let claim = (request.producer_id != ProducerId::NONE.0)
        .then_some((ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch)));
    let timeout_ms = request.transaction_timeout_ms;
    let Some(is) = is else {
        let Some(fresh) = fresh else { return Ok(Step::NeedsProducerId) };
        return bump(&Transaction::new(fresh, timeout_ms, now), last_epoch, claim, timeout_ms, now);
    };
    if is.state.is_decided() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    if claim.is_some_and(|claim| !may_claim(is, claim)) {
        return Err(ErrorCode::ProducerFenced);
    }
    match is.state {
        State::Empty | State::CompleteCommit | State::CompleteAbort => {
            if !is.is_exhausted() || claim.is_some_and(|(_, epoch)| epoch != is.producer_epoch) {
                return bump(is, last_epoch, claim, timeout_ms, now);
            }
            let Some(fresh) = fresh else { return Ok(Step::NeedsProducerId) };
            let last_epoch = if claim.is_some() { is.producer_epoch } else { ProducerEpoch::NONE };
            let next =
                Transaction { producer_id: fresh, producer_epoch: ProducerEpoch(0), ..begin(is, timeout_ms, now) };
            Ok(Step::write(next, last_epoch))
        }
        State::Ongoing => end::fence(is, fresh, level, now),
        // Nothing here writes such a state, and Kafka gives up on a log that has one.
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// The epoch is looked at later. The former producer id may come back with its last epoch: it has not heard yet that
/// another one took its place.
fn may_claim(is: &Transaction, (producer_id, epoch): (ProducerId, ProducerEpoch)) -> bool {
    is.producer_epoch == ProducerEpoch::NONE
        || producer_id == is.producer_id
        || (producer_id == is.previous_producer_id && is_exhausted(epoch))
}

/// No transaction, and the timeout that the sender wants from now on.
fn begin(is: &Transaction, timeout_ms: i32, now: Millis) -> Transaction {
    let partitions = Default::default();
    Transaction { timeout_ms, partitions, started_at: Millis::NONE, ..is.next(State::Empty, now) }
}

fn bump(
    is: &Transaction,
    last_epoch: ProducerEpoch,
    claim: Claim,
    timeout_ms: i32,
    now: Millis,
) -> Result<Step, ErrorCode> {
    if is.is_exhausted() {
        return Err(ErrorCode::UnknownServerError);
    }
    let next = ProducerEpoch(is.producer_epoch.0 + 1);
    let (producer_epoch, last_epoch) = match claim {
        None => (next, ProducerEpoch::NONE),
        Some((_, epoch)) if epoch == is.producer_epoch || is.producer_epoch == ProducerEpoch::NONE => {
            (next, is.producer_epoch)
        }
        // Trap 148: the answer to the same request was lost. Nobody came between, else it would not be remembered.
        Some((_, epoch)) if epoch == last_epoch => (is.producer_epoch, last_epoch),
        Some(_) => return Err(ErrorCode::ProducerFenced),
    };
    Ok(Step::write(Transaction { producer_epoch, ..begin(is, timeout_ms, now) }, last_epoch))
}
