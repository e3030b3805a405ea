//! Partitions that take part in a transaction: the first one opens it. And the question of a partition's leader
//! whether it takes part.
//!
//! Source: `TransactionCoordinator.handleAddPartitionsToTransaction`, `handleVerifyPartitionsInTransaction`,
//! `TransactionMetadata.prepareAddPartitions`.

use milena_base::Millis;
use milena_protocol::{ErrorCode, TopicPartition};

use super::Participation;
use super::state::{State, Transaction};

/// What is written, or nothing if all partitions take part already (trap 155). `is_waiting`: another change of this id
/// waits for a producer id.
pub(super) fn add(
    is: Option<&Transaction>,
    added: &Participation,
    client_level: i8,
    is_waiting: bool,
    now: Millis,
) -> Result<Option<Transaction>, ErrorCode> {
    let is = is.ok_or(ErrorCode::InvalidProducerIdMapping)?;
    // First of all: the sender may have the identity already that comes after the markers.
    if is_waiting || is.state.is_decided() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    is.validate(added.producer_id, added.producer_epoch)?;
    let started_at = match is.state {
        State::Ongoing if added.partitions.is_subset(&is.partitions) => return Ok(None),
        State::Ongoing => is.started_at,
        State::Empty | State::CompleteCommit | State::CompleteAbort => now,
        _ => return Err(ErrorCode::UnknownServerError),
    };
    let partitions = is.partitions.union(&added.partitions).cloned().collect();
    Ok(Some(Transaction { partitions, started_at, client_level, ..is.next(State::Ongoing, now) }))
}

/// One code per partition.
pub(super) fn verify(is: Option<&Transaction>, claimed: &Participation) -> Vec<(TopicPartition, ErrorCode)> {
    let takes_part = is.ok_or(ErrorCode::InvalidProducerIdMapping).and_then(|is| {
        is.validate(claimed.producer_id, claimed.producer_epoch)?;
        if is.state.is_decided() { Err(ErrorCode::ConcurrentTransactions) } else { Ok(&is.partitions) }
    });
    let code = |partition: &TopicPartition| match takes_part {
        Ok(partitions) if partitions.contains(partition) => ErrorCode::None,
        Ok(_) => ErrorCode::TransactionAbortable,
        Err(error) => error,
    };
    claimed.partitions.iter().map(|partition| (partition.clone(), code(partition))).collect()
}
