//! Requests and responses of the transaction coordinator as the shard sees them, what is refused before any shard is
//! asked, and how an error looks in the answer of each API.
//!
//! Source: the handlers of `KafkaApis`, and the `getErrorResponse` of each request in kafka-clients 4.3.1.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::messages::describe_transactions_response::TransactionState;
use milena_protocol::messages::list_transactions_response::TransactionState as Listed;
use milena_protocol::messages::{EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse};
use milena_protocol::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use super::record::TEXT_BYTES_MAX;
use super::{Filters, Settings};
use crate::Page;
use crate::log_error::coordinator_error;

/// In which version of its API a request came: the answer is written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The version. The node itself asks in the newest one.
    pub version: i16,
}

/// Partitions that a producer takes, or claims to have taken, into its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participation {
    /// Whose transaction.
    pub transactional_id: String,
    /// The producer that claims the transactional id.
    pub producer_id: ProducerId,
    /// The epoch that it claims.
    pub producer_epoch: ProducerEpoch,
    /// The partitions. They exist: that is the caller's to see.
    pub partitions: BTreeSet<TopicPartition>,
}

/// One request to one shard. Requests that name several transactional ids are split by
/// [`partition_for`](super::partition_for) before, and their answers put together after.
///
/// Authorization and the existence of topics are the caller's.
#[derive(Debug, Clone)]
pub enum Request {
    /// InitProducerId 0–5 with a transactional id.
    InitProducerId(InitProducerIdRequest),
    /// One transaction of an AddPartitionsToTxn 0–5, or an AddOffsetsToTxn 0–4 with the partition of
    /// `__consumer_offsets` that its group belongs to. All partitions are added, or none.
    AddPartitions {
        /// What is added to which transaction.
        added: Participation,
        /// Level of `transaction.version` that the producer is known to work by: 2 where the partitions' leader asks
        /// on its behalf (AddPartitionsToTxn from version 4 on), else 0.
        client_level: i8,
    },
    /// One transaction of an AddPartitionsToTxn 4–5 that is to be verified only: nothing is added.
    Verify(Participation),
    /// EndTxn 0–5.
    EndTxn(EndTxnRequest),
    /// Those ids of a DescribeTransactions 0 that the shard owns.
    Describe(Vec<String>),
    /// ListTransactions 0–2: every shard is asked, page by page.
    List {
        /// Which ids are wanted.
        filters: Arc<Filters>,
        /// The last id of the page before.
        after: Option<String>,
    },
}

/// The answer to the [`Request`] of the same name, final for the request's version but for throttle times.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To InitProducerId.
    InitProducerId(InitProducerIdResponse),
    /// To AddPartitions: the same for each of them.
    Added(ErrorCode),
    /// To Verify: one code per partition. TRANSACTION_ABORTABLE: it is not part of the transaction.
    Verified(Vec<(TopicPartition, ErrorCode)>),
    /// To EndTxn.
    EndTxn(EndTxnResponse),
    /// To Describe, in the order asked. Authorization of the topics in it is the caller's.
    Described(Vec<TransactionState>),
    /// To List: a page of the shard's part, sorted by transactional id.
    Listed(Result<Page<Listed>, ErrorCode>),
}

/// What a request is answered with when it can be refused without asking any shard: an empty transactional id, half of
/// a producer's identity, a timeout out of bounds. To be called before the id's partition is looked for.
pub fn refuse(request: &Request, version: i16, settings: &Settings) -> Option<Response> {
    let error = match request {
        // Trap 145: whoever claims an id must know its epoch, and the other way round.
        Request::InitProducerId(init) if (init.producer_id == -1) != (init.producer_epoch == -1) => {
            ErrorCode::InvalidRequest
        }
        Request::InitProducerId(init) if init.transactional_id.as_deref().is_none_or(str::is_empty) => {
            ErrorCode::InvalidRequest
        }
        Request::InitProducerId(init) if !(1..=settings.timeout_max_ms).contains(&init.transaction_timeout_ms) => {
            ErrorCode::InvalidTransactionTimeout
        }
        Request::AddPartitions { added, .. } | Request::Verify(added) if added.transactional_id.is_empty() => {
            ErrorCode::InvalidRequest
        }
        Request::EndTxn(end) if end.transactional_id.is_empty() => ErrorCode::InvalidRequest,
        _ if !request.fits_records() => ErrorCode::InvalidRequest,
        _ => return None,
    };
    Some(request.failure(version, error))
}

impl Request {
    /// Whether all texts are short enough to be written into records. On the wire they are, but bytes that are not
    /// UTF-8 grow when they are read.
    fn fits_records(&self) -> bool {
        let fits = |text: &str| text.len() <= TEXT_BYTES_MAX;
        match self {
            Request::InitProducerId(init) => init.transactional_id.as_deref().is_none_or(fits),
            Request::AddPartitions { added, .. } => {
                fits(&added.transactional_id) && added.partitions.iter().all(|partition| fits(&partition.topic))
            }
            // No other request brings texts into records that are not there yet.
            Request::Verify(_) | Request::EndTxn(_) | Request::Describe(_) | Request::List { .. } => true,
        }
    }

    /// The answer that says `error`.
    pub fn failure(&self, version: i16, error: ErrorCode) -> Response {
        match self {
            Request::InitProducerId(_) => init_failed(version, error),
            Request::AddPartitions { .. } => Response::Added(for_partitions(version, error)),
            Request::Verify(claimed) => {
                Response::Verified(claimed.partitions.iter().map(|partition| (partition.clone(), error)).collect())
            }
            Request::EndTxn(_) => end_failed(version, error),
            Request::Describe(ids) => {
                let failed = |id: &String| described_error(id, error);
                Response::Described(ids.iter().map(failed).collect())
            }
            Request::List { .. } => Response::Listed(Err(error)),
        }
    }
}

impl Response {
    /// The same answer when the append of its decision failed, or the high watermark did not pass in time
    /// (REQUEST_TIMED_OUT): the log's `error` as the API's clients know it.
    pub fn failed(self, version: i16, error: ErrorCode) -> Response {
        let error = coordinator_error(error);
        match self {
            Response::InitProducerId(_) => init_failed(version, error),
            Response::Added(_) => Response::Added(error),
            Response::Verified(partitions) => {
                Response::Verified(partitions.into_iter().map(|(partition, _)| (partition, error)).collect())
            }
            Response::EndTxn(_) => end_failed(version, error),
            Response::Described(states) => {
                let failed = |state: TransactionState| described_error(&state.transactional_id, error);
                Response::Described(states.into_iter().map(failed).collect())
            }
            Response::Listed(_) => Response::Listed(Err(error)),
        }
    }
}

/// Trap 149: before `since` clients do not know PRODUCER_FENCED.
fn known(error: ErrorCode, version: i16, since: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if version < since => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}

/// InitProducerId that gave out nothing.
pub(super) fn init_failed(version: i16, error: ErrorCode) -> Response {
    Response::InitProducerId(InitProducerIdResponse {
        error_code: known(error, version, 4).number(),
        producer_id: ProducerId::NONE.0,
        producer_epoch: ProducerEpoch::NONE.0,
        ..Default::default()
    })
}

/// The code of AddPartitionsToTxn and AddOffsetsToTxn.
pub(super) fn for_partitions(version: i16, error: ErrorCode) -> ErrorCode {
    known(error, version, 2)
}

/// EndTxn that tells no producer id and epoch.
pub(super) fn end_failed(version: i16, error: ErrorCode) -> Response {
    Response::EndTxn(EndTxnResponse {
        error_code: known(error, version, 2).number(),
        producer_id: ProducerId::NONE.0,
        producer_epoch: ProducerEpoch::NONE.0,
        ..Default::default()
    })
}

/// One id of a DescribeTransactions that cannot be described.
pub(super) fn described_error(id: &str, error: ErrorCode) -> TransactionState {
    TransactionState { transactional_id: id.to_owned(), error_code: error.number(), ..Default::default() }
}
