//! The active controller: requests in, records and answers out.
//!
//! The shell appends a decision's records as one batch, calls [`Controller::replay`] for each with its offset, and lets
//! the answers go when the high watermark has passed the log end as it was after that append (for a decision without
//! records too: it may have read what is not committed yet).
//!
//! ```text
//! handle ─► Decision { records, .. } ─► append as one batch ─► replay each ─► answers leave at the high watermark
//! ```
//!
//! Two images: `written` (here, with every appended record) is what decisions are made on; `committed` is the
//! loader's, and what everybody else sees. Resigning drops the first.

mod activation;
mod brokers;
mod elect_leaders;
mod elections;
mod new_partitions;
mod new_topics;
mod old_topics;
mod placement;
mod producer_ids;
mod refusal;
mod settings;
mod unregister_broker;
mod update_features;

use std::collections::{BTreeMap, BTreeSet};

use brokers::Session;
use milena_base::{Millis, Random};
use milena_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, MetadataRecord, NoOpRecord, UnregisterBrokerRequest, UnregisterBrokerResponse,
    UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use milena_protocol::{LeaderEpoch, NodeId, Offset};

use crate::configs::{Kind, Layers, Resource, Values, effective};
use crate::delta::{Changes, ReplayError};
use crate::image::Image;
use crate::topic_name;

/// Records of one decision at most; a larger one is refused with POLICY_VIOLATION (`MAX_RECORDS_PER_USER_OP`).
const RECORDS_MAX: usize = 10_000;

/// What the controller is told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node: its own dynamic settings count where a topic has none.
    pub node: NodeId,
    /// server.properties of this node: defaults for partitions, replication factor, topic and group settings.
    pub file: Values,
    /// `broker.session.timeout.ms`: a broker that was silent for longer is fenced.
    pub session_ms: i64,
    /// `metadata.max.idle.interval.ms`: after so long without a record a NoOpRecord is written; 0 for never.
    pub idle_ms: i64,
}

/// Whom an answer belongs to: a token of the shell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// What is asked of the controller. The shell has checked the caller's rights to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A broker starts.
    RegisterBroker(BrokerRegistrationRequest),
    /// A broker lives.
    BrokerHeartbeat(BrokerHeartbeatRequest),
    /// New topics.
    CreateTopics {
        /// The request, without topics that the principal may not create.
        request: CreateTopicsRequest,
        /// Names whose settings the principal may not see: they are answered with error 29 in place of settings.
        hidden: BTreeSet<String>,
    },
    /// Topics to delete, by name or id. (Whoever may not delete or see must be filtered by the shell.)
    DeleteTopics {
        /// The request.
        request: DeleteTopicsRequest,
        /// The request's version: below 6 it holds bare names.
        version: i16,
    },
    /// More partitions.
    CreatePartitions(CreatePartitionsRequest),
    /// Settings, one by one.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// Settings, all of a resource: what is not listed is removed.
    AlterConfigs(AlterConfigsRequest),
    /// Other leaders of partitions.
    ElectLeaders(ElectLeadersRequest),
    /// A broker is forgotten.
    UnregisterBroker(UnregisterBrokerRequest),
    /// Other levels of features.
    UpdateFeatures {
        /// The request.
        request: UpdateFeaturesRequest,
        /// The request's version: below 2 each feature is answered by itself.
        version: i16,
    },
    /// A block of producer ids.
    AllocateProducerIds(AllocateProducerIdsRequest),
}

/// The answer to a [`Request`]: the one of the same name, or [`Response::NotController`].
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// This controller is not active: answer NOT_CONTROLLER, or send the request to the quorum's leader.
    NotController,
    /// To [`Request::RegisterBroker`].
    RegisterBroker(BrokerRegistrationResponse),
    /// To [`Request::BrokerHeartbeat`].
    BrokerHeartbeat(BrokerHeartbeatResponse),
    /// To [`Request::CreateTopics`].
    CreateTopics(CreateTopicsResponse),
    /// To [`Request::DeleteTopics`].
    DeleteTopics(DeleteTopicsResponse),
    /// To [`Request::CreatePartitions`].
    CreatePartitions(CreatePartitionsResponse),
    /// To [`Request::IncrementalAlterConfigs`].
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    /// To [`Request::AlterConfigs`].
    AlterConfigs(AlterConfigsResponse),
    /// To [`Request::ElectLeaders`].
    ElectLeaders(ElectLeadersResponse),
    /// To [`Request::UnregisterBroker`].
    UnregisterBroker(UnregisterBrokerResponse),
    /// To [`Request::UpdateFeatures`].
    UpdateFeatures(UpdateFeaturesResponse),
    /// To [`Request::AllocateProducerIds`].
    AllocateProducerIds(AllocateProducerIdsResponse),
}

/// What happens to the controller.
#[derive(Debug, Clone)]
pub enum Event {
    /// This node leads the quorum, and `image` contains every record below `log_end`.
    Activated {
        /// Epoch of the leadership.
        epoch: LeaderEpoch,
        /// The committed image.
        image: Image,
        /// Whether the log ends inside a transaction ([`crate::loader::Loader::has_open_transaction`]).
        open_transaction: bool,
        /// Where the next record goes.
        log_end: Offset,
        /// What a new cluster starts with: the records of `bootstrap.checkpoint`. Written if the image is empty.
        bootstrap: Vec<MetadataRecord>,
    },
    /// This node leads no more: the written image is dropped. Answers that wait are the shell's to refuse.
    Resigned,
    /// A request.
    Request {
        /// Who waits.
        reply_to: ReplyTo,
        /// What is asked.
        request: Request,
        /// For topic ids and placement; seeded anew for each request.
        random: Random,
    },
    /// The armed timer.
    Tick,
}

/// What follows from an event.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// To be appended as one batch, at the log end.
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
    active: Option<Active>,
}

/// What an active controller knows.
#[derive(Debug)]
struct Active {
    epoch: LeaderEpoch,
    /// With every appended record.
    image: Image,
    /// Where the next record goes.
    next: Offset,
    /// Topics by the name that they would share with a colliding one.
    collisions: BTreeMap<String, BTreeSet<String>>,
    /// One per registered broker; soft.
    sessions: BTreeMap<NodeId, Session>,
    /// When a record was last decided.
    last_decided: Millis,
    armed: Option<Millis>,
}

impl Controller {
    /// Inactive.
    pub fn new(options: Options) -> Controller {
        Controller { options, active: None }
    }

    /// Decides. The records must be appended and replayed before the next call.
    pub fn handle(&mut self, now: Millis, event: Event) -> Decision {
        let mut decision = match event {
            Event::Activated { epoch, image, open_transaction, log_end, bootstrap } => {
                let active = Active::new(now, epoch, image, log_end);
                let records = active.activation_records(&self.options, open_transaction, bootstrap);
                self.active = Some(active);
                Decision { records, ..Decision::default() }
            }
            Event::Resigned => {
                self.active = None;
                Decision::default()
            }
            Event::Request { reply_to, request, mut random } => match &mut self.active {
                Some(active) => {
                    let (records, response) = active.decide(&self.options, now, request, &mut random);
                    Decision { records, replies: vec![(reply_to, response)], effects: Vec::new() }
                }
                None => Decision { replies: vec![(reply_to, Response::NotController)], ..Decision::default() },
            },
            Event::Tick => {
                let records = self.active.as_mut().map_or_else(Vec::new, |active| active.tick(&self.options, now));
                Decision { records, ..Decision::default() }
            }
        };
        if let Some(active) = &mut self.active {
            if !decision.records.is_empty() {
                active.last_decided = now;
            }
            decision.effects.extend(active.arm(&self.options));
        }
        decision
    }

    /// Takes a decided record that was appended at `at` into the written image. An error means that log and program
    /// disagree: the shell resigns.
    ///
    /// # Panics
    /// If the controller is not active, or the offset is not the next one.
    pub fn replay(&mut self, at: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        let Some(active) = &mut self.active else { panic!("only an active controller writes records") };
        assert_eq!(at, active.next, "records are replayed in their order");
        active.replay(at, record)
    }

    /// The written image; `None` while inactive.
    pub fn written(&self) -> Option<&Image> {
        self.active.as_ref().map(|active| &active.image)
    }

    /// The epoch of the leadership; `None` while inactive.
    pub fn epoch(&self) -> Option<LeaderEpoch> {
        self.active.as_ref().map(|active| active.epoch)
    }

    /// Where the next record goes; `None` while inactive.
    pub fn next_offset(&self) -> Option<Offset> {
        self.active.as_ref().map(|active| active.next)
    }
}

impl Active {
    fn decide(
        &mut self,
        options: &Options,
        now: Millis,
        request: Request,
        random: &mut Random,
    ) -> (Vec<MetadataRecord>, Response) {
        match request {
            Request::RegisterBroker(request) => self.register_broker(options, now, &request),
            Request::BrokerHeartbeat(request) => self.broker_heartbeat(options, now, &request),
            Request::CreateTopics { request, hidden } => self.create_topics(options, &request, &hidden, random),
            Request::DeleteTopics { request, version } => self.delete_topics(options, &request, version),
            Request::CreatePartitions(request) => self.create_partitions(&request, random),
            Request::IncrementalAlterConfigs(request) => self.incremental_alter_configs(options, &request),
            Request::AlterConfigs(request) => self.alter_configs(options, &request),
            Request::ElectLeaders(request) => self.elect_leaders(options, &request),
            Request::UnregisterBroker(request) => self.unregister_broker(options, &request),
            Request::UpdateFeatures { request, version } => self.update_features(options, &request, version),
            Request::AllocateProducerIds(request) => self.allocate_producer_ids(&request),
        }
    }

    fn replay(&mut self, at: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        let removed = match record {
            MetadataRecord::RemoveTopic(record) => {
                self.image.topic_by_id(record.topic_id).map(|topic| topic.name.clone())
            }
            _ => None,
        };
        let refused = |reason| ReplayError { offset: at, reason };
        self.image.replay(record, &mut Changes::default()).map_err(refused)?;
        match record {
            MetadataRecord::Topic(record) => self.note_collision(&record.name),
            MetadataRecord::RegisterBroker(record) => self.note_registration(at, NodeId(record.broker_id)),
            MetadataRecord::UnregisterBroker(record) => drop(self.sessions.remove(&NodeId(record.broker_id))),
            _ => {}
        }
        if let Some(name) = removed {
            self.forget_collision(&name);
        }
        self.next = at.next();
        Ok(())
    }

    fn tick(&mut self, options: &Options, now: Millis) -> Vec<MetadataRecord> {
        let records = self.fence_one_expired(options, now);
        let idle_since = now - self.last_decided;
        match records.is_empty() && options.idle_ms > 0 && idle_since >= Millis(options.idle_ms) {
            true => vec![NoOpRecord::default().into()],
            false => records,
        }
    }

    /// The timer for whatever comes next, if it is not armed already.
    fn arm(&mut self, options: &Options) -> Option<Effect> {
        let idle = (options.idle_ms > 0).then(|| self.last_decided + Millis(options.idle_ms));
        let next = [self.next_expiry(options), idle].into_iter().flatten().min();
        if next == self.armed {
            return None;
        }
        self.armed = next;
        next.map(Effect::Timer)
    }

    fn note_collision(&mut self, name: &str) {
        if let Some(shared) = topic_name::collision(name) {
            self.collisions.entry(shared).or_default().insert(name.to_string());
        }
    }

    fn forget_collision(&mut self, name: &str) {
        let Some(shared) = topic_name::collision(name) else { return };
        if let Some(names) = self.collisions.get_mut(&shared) {
            names.remove(name);
            if names.is_empty() {
                self.collisions.remove(&shared);
            }
        }
    }

    /// What may say something about a resource whose own settings are `own`.
    fn layers<'a>(&'a self, options: &'a Options, own: &'a Values) -> Layers<'a> {
        Layers {
            own,
            broker: self.image.config(&Resource::broker(options.node)),
            all_brokers: self.image.config(&Resource::all_brokers()),
            file: &options.file,
        }
    }

    /// A topic's setting in force, as the controller sees it.
    fn topic_setting(&self, options: &Options, topic: &str, name: &str) -> Option<String> {
        let own = self.image.config(&Resource::topic(topic));
        effective(Kind::Topic, name, self.layers(options, own))
    }

    /// A broker setting in force on this node.
    fn broker_number(&self, options: &Options, name: &str) -> i32 {
        let value = effective(Kind::Broker, name, self.layers(options, &Values::new()));
        value.and_then(|value| value.parse().ok()).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
