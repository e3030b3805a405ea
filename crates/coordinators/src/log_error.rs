//! How clients of a coordinator learn of an error of its log: they know its words, not those of logs.

use milena_protocol::ErrorCode;

/// How clients of a coordinator learn of an error of its log.
///
/// Source: `CoordinatorOperationExceptionHelper`, `TransactionStateManager.appendTransactionToLog`.
pub fn coordinator_error(log_error: ErrorCode) -> ErrorCode {
    match log_error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        other => other,
    }
}
