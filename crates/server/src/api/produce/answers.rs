//! What a producer is told about one partition.

use std::sync::Arc;

use milena_base::Millis;
use milena_partition::{AppendError, Appended, LeadershipError};
use milena_protocol::messages::produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use milena_protocol::{ErrorCode, Offset};

use crate::partitions::{Refused, Replica};
use crate::verification::{self, Operation};

pub(super) fn succeeded(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time.0,
        log_start_offset: appended.log_start.0,
        ..answer_of(index)
    }
}

pub(super) fn failed(index: i32, error: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse { error_code: error.number(), ..answer_of(index) }
}

fn answer_of(index: i32) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: Offset::NONE.0,
        log_append_time_ms: Millis::NONE.0,
        log_start_offset: Offset::NONE.0,
        ..Default::default()
    }
}

/// The coordinator does not answer for the partition.
pub(super) fn unverified(index: i32, error: ErrorCode, operation: Operation) -> PartitionProduceResponse {
    let told = verification::of_produce(error, operation);
    let message = match told == error {
        true => {
            (error == ErrorCode::InvalidTxnState).then(|| "the partition is not part of the transaction".to_owned())
        }
        false => Some(format!("the coordinator of the transaction does not vouch for the partition: {error}")),
    };
    PartitionProduceResponse { error_message: message, ..failed(index, told) }
}

pub(super) fn refused_answer<D: milena_base::Disk>(
    index: i32,
    refused: &Refused,
    replica: &Arc<Replica<D>>,
) -> PartitionProduceResponse {
    let mut answer = failed(index, refused.code());
    match refused {
        Refused::Invalid(invalid) => {
            answer.error_message.clone_from(&invalid.message);
            answer.record_errors = invalid
                .record_errors
                .iter()
                .map(|record| BatchIndexAndErrorMessage {
                    batch_index: record.index,
                    batch_index_error_message: Some(record.message.clone()),
                })
                .collect();
            if invalid.with_log_start {
                answer.log_start_offset = replica.marks().map_or(Offset::NONE, |marks| marks.log_start).0;
            }
        }
        // The errors that Kafka expects; what it does not expect has the log start, but never a message.
        Refused::Append(
            AppendError::Leadership(LeadershipError::NotLeader)
            | AppendError::LargerThanSegment { .. }
            | AppendError::Disk(_),
        ) => {}
        Refused::Append(_) => {
            answer.log_start_offset = replica.marks().map_or(Offset::NONE, |marks| marks.log_start).0;
        }
        Refused::Offline => {}
    }
    answer
}
