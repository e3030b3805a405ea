//! The active controller: requests in, records and answers out.
//!
//! The shell appends a decision's records as one batch, calls [`Controller::replay`] for each with its offset, and lets
//! the answers go when the high watermark has passed the log end as it was after that append (for a
//! decision without records too: it may have read what is not committed yet).

use std::collections::BTreeMap;

use milena_base::{Millis, Random};
use milena_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, MetadataRecord,
};
use milena_protocol::{LeaderEpoch, Offset};

use crate::delta::ReplayError;
use crate::image::Image;

/// What the controller is told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's id.
    pub cluster_id: String,
    /// server.properties of this node: defaults for partitions, replication factor and topic settings.
    pub file: BTreeMap<String, String>,
    /// `broker.session.timeout.ms`
    pub session_ms: i64,
}

/// Whom an answer belongs to: a token of the shell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What is asked of the controller.
#[derive(Debug, Clone)]
pub enum Request {
    /// A broker starts.
    RegisterBroker(BrokerRegistrationRequest),
    /// A broker lives.
    BrokerHeartbeat(BrokerHeartbeatRequest),
    /// New topics. The shell has removed those the principal may not create.
    CreateTopics(CreateTopicsRequest),
    /// Topics to delete; names and ids.
    DeleteTopics(DeleteTopicsRequest),
    /// More partitions.
    CreatePartitions(CreatePartitionsRequest),
    /// Settings, one by one.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// Settings, all of a resource.
    AlterConfigs(AlterConfigsRequest),
    /// A block of producer ids.
    AllocateProducerIds(AllocateProducerIdsRequest),
}

/// The answer to the [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// See [`Request::RegisterBroker`].
    RegisterBroker(BrokerRegistrationResponse),
    /// See [`Request::BrokerHeartbeat`].
    BrokerHeartbeat(BrokerHeartbeatResponse),
    /// See [`Request::CreateTopics`].
    CreateTopics(CreateTopicsResponse),
    /// See [`Request::DeleteTopics`].
    DeleteTopics(DeleteTopicsResponse),
    /// See [`Request::CreatePartitions`].
    CreatePartitions(CreatePartitionsResponse),
    /// See [`Request::IncrementalAlterConfigs`].
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    /// See [`Request::AlterConfigs`].
    AlterConfigs(AlterConfigsResponse),
    /// See [`Request::AllocateProducerIds`].
    AllocateProducerIds(AllocateProducerIdsResponse),
}

/// What happens to the controller.
#[derive(Debug, Clone)]
pub enum Event {
    /// This node leads the quorum, and `image` contains every record below `log_end`. `bootstrap` are the
    /// records of `bootstrap.checkpoint`, written if the log is empty.
    Activated {
        /// Epoch of the leadership.
        epoch: LeaderEpoch,
        /// The committed image.
        image: Image,
        /// Where the next record goes.
        log_end: Offset,
        /// What a new cluster starts with.
        bootstrap: Vec<MetadataRecord>,
    },
    /// This node leads no more: the written image is dropped.
    Resigned,
    /// A request; refused with NOT_CONTROLLER while inactive.
    Request {
        /// Who waits.
        reply_to: ReplyTo,
        /// What is asked.
        request: Request,
        /// For topic ids and placement.
        random: Random,
    },
    /// The armed timer.
    Tick,
}

/// What follows from an event.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// To be appended as one batch.
    pub records: Vec<MetadataRecord>,
    /// Leave when the log end after this decision is committed.
    pub replies: Vec<(ReplyTo, Response)>,
    /// At once.
    pub effects: Vec<Effect>,
}

/// What the shell is to do besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Call `handle(Tick)` at this time; replaces an earlier timer.
    Timer(Millis),
}

/// The controller of a node; active while the node leads the quorum.
#[derive(Debug)]
pub struct Controller {
    options: Options,
}

impl Controller {
    /// Inactive.
    pub fn new(options: Options) -> Controller {
        Controller { options }
    }

    /// Decides. The records must be replayed before the next call.
    pub fn handle(&mut self, now: Millis, event: Event) -> Decision {
        todo!()
    }

    /// Takes a decided record that was appended at `at` into the written image.
    pub fn replay(&mut self, at: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        todo!()
    }

    /// The written image; `None` while inactive.
    pub fn written(&self) -> Option<&Image> {
        todo!()
    }
}
