//! What can go wrong between a request and its answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ApiKey;
use milena_protocol::wire::{DecodeError, EncodeError};

use super::{Address, VersionRange};

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection came into being.
    #[error("no connection to {address}: {reason}")]
    Connect {
        /// Who was dialled.
        address: Address,
        /// What the system said.
        reason: Arc<io::Error>,
    },
    /// The connection was closed while the request was under way; whether it took effect is not known.
    #[error("{address} closed the connection: {reason}")]
    Closed {
        /// Who was asked.
        address: Address,
        /// What is known about the cause.
        reason: String,
    },
    /// No answer in time; the connection is closed, whether the request took effect is not known.
    #[error("{address} did not answer {} within {timeout_ms} ms", key.name())]
    Timeout {
        /// Who was asked.
        address: Address,
        /// What was asked.
        key: ApiKey,
        /// How long we waited.
        timeout_ms: u64,
    },
    /// The broker and we have no version of the request in common.
    #[error("{address} speaks {theirs} of {}, this client {ours}", key.name())]
    NoCommonVersion {
        /// Who was asked.
        address: Address,
        /// What was to be asked.
        key: ApiKey,
        /// Our versions.
        ours: VersionRange,
        /// The broker's versions; empty where it does not know the request at all.
        theirs: VersionRange,
    },
    /// The request says something that its version cannot carry.
    #[error("the request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The answer is not what the protocol says.
    #[error("{address} answered {} with bytes that are no answer: {reason}", key.name())]
    Decode {
        /// Who was asked.
        address: Address,
        /// What was asked.
        key: ApiKey,
        /// What is wrong with the bytes.
        reason: DecodeError,
    },
}

impl TransportError {
    /// Nobody has answered the dialling for so long.
    pub(crate) fn too_late(address: &Address, limit: Duration) -> TransportError {
        let reason = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
        TransportError::Connect { address: address.clone(), reason: Arc::new(reason) }
    }

    /// Whether another connection, or the same broker later, may do better.
    pub fn is_retriable(&self) -> bool {
        match self {
            TransportError::Connect { .. } | TransportError::Closed { .. } | TransportError::Timeout { .. } => true,
            TransportError::NoCommonVersion { .. } | TransportError::Encode(_) | TransportError::Decode { .. } => false,
        }
    }
}
