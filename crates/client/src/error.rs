//! What producer, consumer and admin can fail with.

use std::time::Duration;

use milena_protocol::{ErrorCode, NodeId};

use crate::transport::{Address, TransportError};

/// Why an operation failed. Retriable causes come out only after their time was up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// None of the brokers could be reached.
    #[error("no broker answers at {}: {}", list(tried), transport_cause(last))]
    NoBroker {
        /// Who was dialled.
        tried: Vec<Address>,
        /// Why the last of them failed.
        #[source]
        last: TransportError,
    },
    /// A broker answered, but of those that it named none could be reached.
    #[error(
        "{bootstrap} answers, but the cluster's brokers cannot be reached where it says they are, {}: {}",
        places(brokers),
        cause(last)
    )]
    Unreached {
        /// Who answered.
        bootstrap: Address,
        /// Whom it named, and where.
        brokers: Vec<(NodeId, Address)>,
        /// Why the last of them was not reached.
        last: Box<Error>,
    },
    /// A request got no answer that can be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The broker refused.
    #[error("{what}: {code}{}", in_brackets(message.as_deref()))]
    Refused {
        /// What was refused: a topic, a group, a partition, named for people.
        what: String,
        /// The protocol's code.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
    /// A quota forbids it for now (KIP-599).
    #[error("{what}: {} (the quota allows it in {:.1} s)", ErrorCode::ThrottlingQuotaExceeded, wait.as_secs_f64())]
    Throttled {
        /// What was refused, named for people.
        what: String,
        /// For how long the broker reads no more from this client.
        wait: Duration,
    },
    /// The time for an operation and its retries is up.
    #[error("gave up after {:.1} s: {last}", after.as_secs_f64())]
    Deadline {
        /// How long was tried.
        after: Duration,
        /// The last failure.
        last: Box<Error>,
    },
    /// The broker's answer leaves out what was asked for.
    #[error("the broker's answer says nothing about {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// A batch from the broker cannot be read.
    #[error("{what}: {reason}")]
    Batch {
        /// Which partition, and where.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A record is larger than the producer accepts.
    #[error("a record of {size_bytes} bytes is larger than the limit of {limit_bytes}")]
    RecordTooLarge {
        /// The record's size.
        size_bytes: usize,
        /// `max.request.size`.
        limit_bytes: usize,
    },
    /// The topic has no such partition.
    #[error("topic \"{topic}\" has no partition {partition}")]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
    },
    /// The cluster has no such broker.
    #[error("there is no broker {node}; there {}", brokers(known))]
    NoSuchBroker {
        /// The broker asked for.
        node: NodeId,
        /// Those that there are.
        known: Vec<NodeId>,
    },
    /// The transaction cannot be committed any more; it has to be aborted, and the next one can be begun (the abortable
    /// errors of KIP-1050).
    #[error("the transaction has to be aborted: {cause}")]
    TransactionFailed {
        /// What went wrong first.
        cause: Box<Error>,
    },
    /// A transactional producer can do nothing more; opening another one with the same transactional id settles what
    /// became of the last transaction (KIP-1050 calls it recoverable by the application).
    #[error("the transactional producer cannot go on: {cause}")]
    ProducerFailed {
        /// What went wrong first; [`ErrorCode::ProducerFenced`] where another producer took over.
        cause: Box<Error>,
    },
    /// The producer or consumer was closed.
    #[error("it is closed already")]
    Closed,
    /// The call does not fit the state: for instance a commit without a group.
    #[error("{0}")]
    Misuse(&'static str),
}

impl Error {
    /// The broker's refusal, if the code is one.
    pub(crate) fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Error> {
        Error::check_with(code, None, what)
    }

    /// Like [`Error::check`] with the broker's own words.
    pub(crate) fn check_with(code: i16, message: Option<&str>, what: impl FnOnce() -> String) -> Result<(), Error> {
        match ErrorCode::from_number(code) {
            ErrorCode::None => Ok(()),
            code => Err(Error::Refused { what: what(), code, message: message.map(str::to_owned) }),
        }
    }

    /// The protocol's code, if the broker gave one, also below a [`Error::Deadline`].
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            Error::Throttled { .. } => Some(ErrorCode::ThrottlingQuotaExceeded),
            Error::Deadline { last, .. } => last.code(),
            Error::TransactionFailed { cause } | Error::ProducerFailed { cause } => cause.code(),
            _ => None,
        }
    }

    /// Whether no connection could be made, as opposed to a request that failed.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Error::NoBroker { .. } | Error::Unreached { .. } | Error::Transport(TransportError::Connect { .. }) => true,
            Error::Deadline { last, .. } => last.is_unreachable(),
            _ => false,
        }
    }

    /// Whether the group has gone on without the member that asked: it can join again, which
    /// [`crate::Consumer::next`] does by itself.
    pub fn is_group_change(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::RebalanceInProgress
                    | ErrorCode::IllegalGeneration
                    | ErrorCode::UnknownMemberId
                    | ErrorCode::FencedInstanceId
            )
        )
    }

    /// Whether the same operation may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::NoBroker { .. } | Error::Throttled { .. } | Error::Missing { .. } => true,
            Error::Transport(transport) => transport.is_retriable(),
            Error::Refused { code, .. } => code.is_retriable(),
            Error::Unreached { .. }
            | Error::Deadline { .. }
            | Error::Batch { .. }
            | Error::RecordTooLarge { .. }
            | Error::NoSuchPartition { .. }
            | Error::NoSuchBroker { .. }
            | Error::TransactionFailed { .. }
            | Error::ProducerFailed { .. }
            | Error::Closed
            | Error::Misuse(_) => false,
        }
    }
}

fn in_brackets(message: Option<&str>) -> String {
    message.filter(|message| !message.is_empty()).map(|message| format!(" ({message})")).unwrap_or_default()
}

fn brokers(known: &[NodeId]) -> String {
    let ids = known.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ");
    let verb = if known.len() == 1 { "is" } else { "are" };
    format!("{verb} {ids}")
}

fn list(addresses: &[Address]) -> String {
    addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
}

fn places(brokers: &[(NodeId, Address)]) -> String {
    brokers.iter().map(|(node, address)| format!("{address} (broker {node})")).collect::<Vec<_>>().join(", ")
}

/// The reason alone where the address has been told already.
fn cause(error: &Error) -> String {
    match error {
        Error::Transport(error) => transport_cause(error),
        other => other.to_string(),
    }
}

fn transport_cause(error: &TransportError) -> String {
    match error {
        TransportError::Connect { reason, .. } => reason.to_string(),
        other => other.to_string(),
    }
}
