//! Leaves out what was aborted. A broker answers a reader of committed records with whole batches, and beside them with
//! the aborted transactions that they may hold: producer and first offset. From that offset on batches of that producer
//! are left out, until its abort marker comes.
//!
//! ```text
//!   offset   10 11   12 13   14   15        16 17
//!            p7 p7   p9 p9   p7   abort p7  p7 p7      aborted: (p7, 10)
//!            left out        left           given out: another transaction
//! ```
//! Source: `CompletedFetch` of Kafka's consumer (KIP-98).

use std::collections::{BTreeSet, VecDeque};

use milena_protocol::messages::fetch_response::AbortedTransaction;
use milena_protocol::records::{Batch, BatchError, ControlRecordType};
use milena_protocol::{Offset, ProducerId};

/// The aborted transactions of one answer's partition.
pub(super) struct Aborted {
    /// Those that begin behind what was looked at, in the order of their first offsets.
    to_come: VecDeque<(Offset, ProducerId)>,
    /// Producers inside of an aborted transaction.
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    pub(super) fn new(told: &[AbortedTransaction]) -> Aborted {
        let mut to_come: Vec<_> =
            told.iter().map(|told| (Offset(told.first_offset), ProducerId(told.producer_id))).collect();
        to_come.sort_unstable();
        Aborted { to_come: to_come.into(), open: BTreeSet::new() }
    }

    /// Whether a batch's records are given out. Batches have to come in their order.
    pub(super) fn lets_through(&mut self, batch: &Batch, inflated_bytes_max: usize) -> Result<bool, BatchError> {
        let header = batch.header();
        while self.to_come.front().is_some_and(|(first, _)| *first <= header.last_offset()) {
            self.open.extend(self.to_come.pop_front().map(|(_, producer)| producer));
        }
        if header.attributes.is_control() {
            // A control batch holds one record, whose key says what it is.
            if let Some(record) = batch.records(inflated_bytes_max)?.next().transpose()?
                && let Some(key) = &record.key
                && ControlRecordType::parse(key)? == ControlRecordType::Abort
            {
                self.open.remove(&header.producer_id);
            }
            return Ok(false);
        }
        Ok(!(header.attributes.is_transactional() && self.open.contains(&header.producer_id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use milena_base::Millis;
    use milena_protocol::records::{BatchBuilder, BatchOptions, batches};
    use milena_protocol::{ProducerEpoch, Sequence};

    fn batch(offset: i64, producer: i64, control: Option<ControlRecordType>) -> Bytes {
        let mut builder = BatchBuilder::new();
        let key = control.map(ControlRecordType::key);
        builder.add(Millis(0), key.as_ref().map(|key| &key[..]), Some(b"v"), &[]);
        if control.is_none() {
            builder.add(Millis(0), None, Some(b"v"), &[]);
        }
        let options = BatchOptions {
            base_offset: Offset(offset),
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(0),
            is_transactional: producer >= 0,
            is_control: control.is_some(),
            ..BatchOptions::default()
        };
        builder.build(&options).unwrap()
    }

    /// Which base offsets are given out.
    fn given_out(log: &[Bytes], told: &[(i64, i64)]) -> Vec<i64> {
        let told: Vec<AbortedTransaction> = told
            .iter()
            .map(|(producer_id, first_offset)| AbortedTransaction {
                producer_id: *producer_id,
                first_offset: *first_offset,
            })
            .collect();
        let mut aborted = Aborted::new(&told);
        let bytes: Bytes = log.concat().into();
        let let_through = batches(bytes).filter_map(|batch| {
            let batch = batch.unwrap();
            aborted.lets_through(&batch, 1024).unwrap().then(|| batch.header().base_offset.0)
        });
        let_through.collect()
    }

    const ABORT: Option<ControlRecordType> = Some(ControlRecordType::Abort);
    const COMMIT: Option<ControlRecordType> = Some(ControlRecordType::Commit);

    #[test]
    fn an_aborted_producer_is_left_out_until_its_marker() {
        let log = [
            batch(10, 7, None),
            batch(12, 9, None),
            batch(14, 7, None),
            batch(16, 7, ABORT),
            batch(17, 7, None),
            batch(19, 9, COMMIT),
            batch(20, -1, None),
        ];
        assert_eq!(given_out(&log, &[(7, 10)]), [12, 17, 20]);
    }

    #[test]
    fn a_producer_may_abort_twice_in_one_answer() {
        let log = [
            batch(0, 7, None),
            batch(2, 7, ABORT),
            batch(3, 7, None),
            batch(5, 7, COMMIT),
            batch(6, 7, None),
            batch(8, 7, ABORT),
        ];
        assert_eq!(given_out(&log, &[(7, 0), (7, 6)]), [3]);
        assert_eq!(given_out(&log, &[(7, 6), (7, 0)]), [3], "whatever their order");
    }

    #[test]
    fn a_transaction_that_began_before_the_fetch_is_left_out_too() {
        let log = [batch(14, 7, None), batch(16, 7, ABORT), batch(17, 7, None)];
        assert_eq!(given_out(&log, &[(7, 3)]), [17]);
    }

    #[test]
    fn records_outside_of_transactions_stay_whoever_sent_them() {
        assert_eq!(given_out(&[batch(0, -1, None)], &[(-1, 0)]), [0]);
    }
}
