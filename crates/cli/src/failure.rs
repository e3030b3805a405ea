//! How commands fail: one line on stderr that says what happened and what to do, and an exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use milena_client::Error;
use milena_client::transport::TransportError;
use milena_protocol::ErrorCode;

use crate::output::{harmless, tell};

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request failed: exit code 1.
    Failed(String),
    /// The command line or its input makes no sense: exit code 2.
    Usage(String),
    /// No broker could be reached: exit code 3.
    Unreachable(String),
    /// Whoever reads our output has enough of it, which is no error: exit code 0.
    Satisfied,
}

impl Failure {
    pub(crate) fn failed(what: impl fmt::Display) -> Failure {
        Failure::Failed(what.to_string())
    }

    pub(crate) fn usage(what: impl fmt::Display) -> Failure {
        Failure::Usage(what.to_string())
    }

    /// A file that the command line names and that cannot be read: as if it made no sense.
    pub(crate) fn unreadable(path: impl fmt::Display, error: &io::Error) -> Failure {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            _ => error.to_string(),
        };
        Failure::Usage(format!("cannot read {path}: {reason}"))
    }

    /// From a file or stream, with its name.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Satisfied,
            _ => Failure::Failed(format!("{what}: {error}")),
        }
    }

    /// Tells people on stderr, programs by the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Failure::Satisfied => return ExitCode::SUCCESS,
            Failure::Failed(message) => (1, message),
            Failure::Usage(message) => (2, message),
            Failure::Unreachable(message) => (3, message),
        };
        tell(&format!("error: {}", harmless(&one_line(&message))));
        ExitCode::from(code)
    }
}

/// A broker's message may have more lines than one.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        // How long a missing topic was waited for is of no interest.
        if let Error::Deadline { last, .. } = &error
            && last.code() == Some(ErrorCode::UnknownTopicOrPartition)
        {
            return Failure::from(Error::clone(last));
        }
        let advice = advice(&error);
        let told = error.to_string();
        let message = if advice.is_empty() { told } else { format!("{told}; {advice}") };
        if error.is_unreachable() { Failure::Unreachable(message) } else { Failure::Failed(message) }
    }
}

/// What to do about it, where we know.
fn advice(error: &Error) -> &'static str {
    if is_shut_out(error) {
        return "it takes no more connections (its max.connections, max.connections.per.ip), or is no broker: its log says which";
    }
    if matches!(error, Error::Unreached { .. }) {
        return "give the broker an address that can be reached from here, in its advertised.listeners";
    }
    if error.is_unreachable() {
        return "start a broker with `milena server`, or name another one with --bootstrap";
    }
    match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition) => "create it with `milena topic create`, or see `milena topic list`",
        Some(ErrorCode::TopicAlreadyExists) => "choose another name, or change it with `milena topic alter`",
        Some(ErrorCode::InvalidTopicException) => {
            "a name has at most 249 letters, digits, dots, underscores and hyphens"
        }
        Some(ErrorCode::InvalidReplicationFactor) => {
            "there cannot be more replicas than brokers: see --replication-factor"
        }
        Some(ErrorCode::InvalidPartitions) => "a topic has at least one partition, and never loses one",
        Some(ErrorCode::InvalidConfig) => "see `milena config describe` for names and values",
        Some(ErrorCode::NonEmptyGroup) => "stop its members first",
        Some(ErrorCode::UnknownMemberId) => "the group has members: stop them first",
        Some(ErrorCode::InvalidSessionTimeout) => {
            "the broker takes from group.min.session.timeout.ms to group.max.session.timeout.ms: see --session-timeout-ms"
        }
        Some(ErrorCode::GroupIdNotFound) => "see `milena group list`",
        Some(ErrorCode::InvalidRegularExpression) => "write it as RE2 does, like `payments-.*`",
        Some(ErrorCode::TransactionalIdNotFound) => "see `milena transaction list`",
        Some(ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch) => {
            "another producer has this transactional id now, or the transaction took too long"
        }
        Some(ErrorCode::InvalidTransactionTimeout) => "the broker's transaction.max.timeout.ms is the limit",
        Some(ErrorCode::MessageTooLarge) => "raise max.message.bytes of the topic, or send smaller records",
        Some(ErrorCode::OffsetOutOfRange) => {
            "choose an offset that is there: see `milena topic offsets`, and with --earliest where it begins"
        }
        Some(
            ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed,
        ) => "ask for permission",
        Some(ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress) => {
            "the broker's log says why it cannot create or read __consumer_offsets or __transaction_state; a node alone needs \
             offsets.topic.replication.factor=1 and transaction.state.log.replication.factor=1"
        }
        _ => match error {
            Error::RecordTooLarge { .. } => "send smaller records",
            _ => "",
        },
    }
}

/// Whether no broker was reached though connections came into being: they were closed, or kept waiting for their place, before
/// anything was answered.
fn is_shut_out(error: &Error) -> bool {
    let silent = |last: &TransportError| matches!(last, TransportError::Closed { .. } | TransportError::Timeout { .. });
    match error {
        Error::NoBroker { last, .. } => silent(last),
        Error::Unreached { last, .. } => matches!(&**last, Error::Transport(last) if silent(last)),
        Error::Deadline { last, .. } => is_shut_out(last),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_client::transport::Address;
    use std::sync::Arc;

    #[test]
    fn a_broker_that_does_not_answer_is_told_apart_with_what_to_do() {
        let address = Address::new("127.0.0.1", 1);
        let reason = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        let last = TransportError::Connect { address: address.clone(), reason };
        let failure = Failure::from(Error::NoBroker { tried: vec![address], last });
        let Failure::Unreachable(message) = failure else { panic!("{failure:?}") };
        assert!(message.contains("127.0.0.1:1") && message.contains("milena server"), "{message}");
    }

    #[test]
    fn messages_have_one_line() {
        assert_eq!(one_line("first\n  second"), "first second");
    }
}
