//! The life of a broker: registered and fenced, caught up and unfenced, silent and fenced, or shutting down.
//!
//! ```text
//! register ─► fenced ── caught up ─► unfenced ── wants to shut down ─► controlled shutdown ── no leaderships ─► now
//!               ▲                       │                                     │
//!               └──── silent for a session, or wants to be fenced ────────────┘
//! ```
//! Source: `ClusterControlManager`, `BrokerHeartbeatManager`; traps 204, 205, 211.

use std::sync::Arc;

use milena_base::Millis;
use milena_protocol::messages::broker_registration_request::{Feature, Listener};
use milena_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use milena_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationChangeRecord, BrokerRegistrationRequest,
    BrokerRegistrationResponse, MetadataRecord, RegisterBrokerRecord,
};
use milena_protocol::{BrokerEpoch, ErrorCode, NodeId, Offset, Uuid};

use super::elections::Cause;
use super::refusal::Refusal;
use super::{Active, Options, Response};
use crate::features::{ELR_VERSION, METADATA_VERSION};
use crate::image::Broker;

/// What is known of a registered broker beyond its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// Offset of its last registration record: it may be unfenced once it has read so far.
    registered_at: Offset,
    /// When it was last heard, under which epoch; `None` before its first heartbeat.
    heard: Option<(BrokerEpoch, Millis)>,
    /// How far it has read the metadata log.
    metadata_offset: Offset,
    /// Where the log ended when it was last told to give up leaderships first.
    shutdown_offset: Option<Offset>,
}

/// Where a broker stands, or goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl Session {
    pub(super) fn at_activation(now: Millis, broker: &Broker) -> Session {
        Session {
            registered_at: Offset(broker.epoch.0),
            heard: (!broker.fenced).then_some((broker.epoch, now)),
            metadata_offset: Offset::NONE,
            shutdown_offset: None,
        }
    }

    fn is_live(&self, options: &Options, now: Millis, epoch: BrokerEpoch) -> bool {
        self.heard.is_some_and(|(at, heard)| at == epoch && now <= heard + Millis(options.session_ms))
    }
}

impl Active {
    pub(super) fn register_broker(
        &mut self,
        options: &Options,
        now: Millis,
        request: &BrokerRegistrationRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        let (records, response) = match self.registration(options, now, request) {
            Ok((records, epoch)) => {
                (records, BrokerRegistrationResponse { broker_epoch: epoch.0, ..Default::default() })
            }
            Err(refusal) => {
                let error_code = refusal.code.number();
                (Vec::new(), BrokerRegistrationResponse { error_code, broker_epoch: -1, ..Default::default() })
            }
        };
        (records, Response::RegisterBroker(response))
    }

    fn registration(
        &self,
        options: &Options,
        now: Millis,
        request: &BrokerRegistrationRequest,
    ) -> Result<(Vec<MetadataRecord>, BrokerEpoch), Refusal> {
        self.check_registration(options, now, request)?;
        let id = NodeId(request.broker_id);
        let existing = self.image.broker(id);
        let same_incarnation = existing.filter(|broker| broker.incarnation == request.incarnation_id);
        let mut record = registration_record(request);
        let mut records = Vec::new();
        match same_incarnation {
            // The same process says more about itself: it stays what it is.
            Some(broker) => {
                record.fenced = broker.fenced;
                record.in_controlled_shutdown = broker.in_controlled_shutdown;
                record.broker_epoch = broker.epoch.0;
            }
            None => {
                let stored = existing.map_or(-2, |broker| broker.epoch.0);
                let is_clean = stored == request.previous_broker_epoch;
                let cause = match self.image.feature(ELR_VERSION) > 0 && !is_clean {
                    true => Cause::UncleanShutdown(id),
                    false => Cause::Gone(id),
                };
                records = self.leader_changes(options, cause, |partition| {
                    partition.isr.contains(&id) || (cause == Cause::UncleanShutdown(id) && partition.elr.contains(&id))
                });
                // The epoch is the offset of the registration itself, which comes last in the batch.
                record.broker_epoch = self.next.0 + records.len() as i64;
            }
        }
        let epoch = BrokerEpoch(record.broker_epoch);
        records.push(record.into());
        Ok((records, epoch))
    }

    fn check_registration(
        &self,
        options: &Options,
        now: Millis,
        request: &BrokerRegistrationRequest,
    ) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
        if request.cluster_id != options.cluster_id {
            let message =
                format!("Expected cluster ID {}, but got cluster ID {}", options.cluster_id, request.cluster_id);
            return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
        }
        let id = NodeId(request.broker_id);
        // The controller's own node cannot be alive twice: this process holds its directory. So a node that was
        // killed need not wait for its former session to end.
        let others = |broker: &&Arc<Broker>| id != options.node && broker.incarnation != request.incarnation_id;
        if let Some(broker) = self.image.broker(id).filter(others) {
            let session = self.sessions.get(&id);
            if session.is_some_and(|session| session.is_live(options, now, broker.epoch)) {
                let message = "Another broker is registered with that broker id.";
                return Err(Refusal::new(ErrorCode::DuplicateBrokerRegistration, message));
            }
        }
        if request.is_migrating_zk_broker {
            let message = "Controller does not support registering ZK brokers.";
            return Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message));
        }
        if request.log_dirs.is_empty() {
            return invalid("No directories specified in request".into());
        }
        if request.log_dirs.iter().any(is_reserved) {
            return invalid("Reserved directory ID in request".into());
        }
        let repeated = |(at, directory): (usize, &Uuid)| request.log_dirs[..at].contains(directory);
        if request.log_dirs.iter().enumerate().any(repeated) {
            return invalid("Duplicate directory ID in request".into());
        }
        for broker in self.image.brokers().filter(|broker| broker.id != id) {
            if let Some(directory) = request.log_dirs.iter().find(|directory| broker.log_dirs.contains(directory)) {
                return invalid(format!("Broker {} is already registered with directory {directory}", broker.id));
            }
        }
        self.check_features(request)
    }

    /// Every finalized level must lie within what the broker supports; a feature that it does not name, it supports
    /// at level 0 only.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), Refusal> {
        let unsupported = |name: &str, min: i16, max: i16| {
            let finalized = self.image.feature(name);
            Refusal::new(
                ErrorCode::UnsupportedVersion,
                format!(
                    "Unable to register because the broker does not support finalized version {finalized} of {name}. \
                     The broker wants a version between {min} and {max}, inclusive."
                ),
            )
        };
        for Feature { name, min_supported_version: min, max_supported_version: max, .. } in &request.features {
            // kraft.version is finalized in control records: the quorum checks it.
            if name != crate::features::KRAFT_VERSION && !(*min..=*max).contains(&self.image.feature(name)) {
                return Err(unsupported(name, *min, *max));
            }
        }
        let named = |name: &str| request.features.iter().any(|feature| feature.name == name);
        if !named(METADATA_VERSION) {
            let message = "Request features do not contain 'metadata.version'";
            return Err(Refusal::new(ErrorCode::InvalidRegistration, message));
        }
        match self.image.features().keys().find(|name| !named(name)) {
            Some(name) => Err(unsupported(name, 0, 0)),
            None => Ok(()),
        }
    }

    /// Remembers where a broker's registration stands; called when its record is replayed.
    pub(super) fn note_registration(&mut self, at: Offset, id: NodeId) {
        let Some(broker) = self.image.broker(id) else { return };
        let same = |session: &Session| session.heard.is_some_and(|(epoch, _)| epoch == broker.epoch);
        let kept = self.sessions.remove(&id).filter(same);
        let fresh = Session { registered_at: at, heard: None, metadata_offset: Offset::NONE, shutdown_offset: None };
        self.sessions.insert(id, Session { registered_at: at, ..kept.unwrap_or(fresh) });
    }

    pub(super) fn check_broker_epoch(&self, id: NodeId, epoch: BrokerEpoch) -> Result<&Arc<Broker>, Refusal> {
        let stale = |message: String| Refusal::new(ErrorCode::StaleBrokerEpoch, message);
        match self.image.broker(id) {
            None => Err(stale(format!("No broker registration found for broker id {id}"))),
            Some(broker) if broker.epoch != epoch => {
                Err(stale(format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch)))
            }
            Some(broker) => Ok(broker),
        }
    }

    pub(super) fn broker_heartbeat(
        &mut self,
        options: &Options,
        now: Millis,
        request: &BrokerHeartbeatRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        let (records, response) = match self.heartbeat(options, now, request) {
            Ok(decided) => decided,
            Err(refusal) => {
                let error_code = refusal.code.number();
                (Vec::new(), BrokerHeartbeatResponse { error_code, is_fenced: true, ..Default::default() })
            }
        };
        (records, Response::BrokerHeartbeat(response))
    }

    fn heartbeat(
        &mut self,
        options: &Options,
        now: Millis,
        request: &BrokerHeartbeatRequest,
    ) -> Result<(Vec<MetadataRecord>, BrokerHeartbeatResponse), Refusal> {
        let id = NodeId(request.broker_id);
        let broker = Arc::clone(self.check_broker_epoch(id, BrokerEpoch(request.broker_epoch))?);
        let Some(session) = self.sessions.get(&id).cloned() else {
            return Err(Refusal::bare(ErrorCode::StaleBrokerEpoch));
        };
        let (current, next) = self.next_state(&broker, &session, request);
        let mut records = match next {
            _ if current == next => Vec::new(),
            State::Fenced | State::ShutdownNow => self.fencing(options, &broker),
            State::Unfenced => self.unfencing(options, &broker),
            State::ControlledShutdown => self.controlled_shutdown(options, &broker),
        };
        records.extend(self.directory_changes(options, &broker, request));
        let log_end = self.next + records.len() as i64;
        let shutdown_offset = match next {
            State::ControlledShutdown => session.shutdown_offset.or(Some(Offset(log_end.0 - 1))),
            _ => None,
        };
        let metadata_offset = Offset(request.current_metadata_offset);
        let is_caught_up = metadata_offset >= session.registered_at;
        let heard = Some((broker.epoch, now));
        self.sessions.insert(id, Session { heard, metadata_offset, shutdown_offset, ..session });
        let response = BrokerHeartbeatResponse {
            is_caught_up,
            is_fenced: matches!(next, State::Fenced | State::ShutdownNow),
            should_shut_down: next == State::ShutdownNow,
            ..Default::default()
        };
        Ok((records, response))
    }

    fn next_state(&self, broker: &Broker, session: &Session, request: &BrokerHeartbeatRequest) -> (State, State) {
        let leads = || {
            let mut partitions = self.image.topics().flat_map(|topic| topic.partitions.values());
            partitions.any(|partition| partition.leader == broker.id)
        };
        let current = match broker {
            Broker { fenced: true, .. } => State::Fenced,
            Broker { in_controlled_shutdown: true, .. } => State::ControlledShutdown,
            _ => State::Unfenced,
        };
        let caught_up = Offset(request.current_metadata_offset) >= session.registered_at;
        let next = match current {
            State::Fenced if request.want_shut_down => State::ShutdownNow,
            State::Fenced if !request.want_fence && caught_up => State::Unfenced,
            State::Fenced => State::Fenced,
            State::Unfenced if request.want_fence && request.want_shut_down => State::ShutdownNow,
            State::Unfenced if request.want_fence => State::Fenced,
            State::Unfenced if request.want_shut_down && leads() => State::ControlledShutdown,
            State::Unfenced if request.want_shut_down => State::ShutdownNow,
            State::Unfenced => State::Unfenced,
            _ if leads() => State::ControlledShutdown,
            // Everybody who is active must have read that the leaderships moved.
            _ if session.shutdown_offset <= self.lowest_active_offset() => State::ShutdownNow,
            _ => State::ControlledShutdown,
        };
        (current, next)
    }

    /// How far the slowest active broker has read; the end of time if none is active.
    fn lowest_active_offset(&self) -> Option<Offset> {
        let active = self.image.brokers().filter(|broker| broker.is_active());
        let offsets = active.filter_map(|broker| self.sessions.get(&broker.id).map(|session| session.metadata_offset));
        Some(offsets.min().unwrap_or(Offset(i64::MAX)))
    }

    fn fencing(&self, options: &Options, broker: &Broker) -> Vec<MetadataRecord> {
        let id = broker.id;
        let mut records = self.leader_changes(options, Cause::Gone(id), |partition| partition.isr.contains(&id));
        records.push(BrokerRegistrationChangeRecord { fenced: 1, ..change_of(broker) }.into());
        records
    }

    fn unfencing(&self, options: &Options, broker: &Broker) -> Vec<MetadataRecord> {
        let mut records = vec![BrokerRegistrationChangeRecord { fenced: -1, ..change_of(broker) }.into()];
        let leaderless =
            self.leader_changes(options, Cause::Back(broker.id), |partition| partition.leader == NodeId::NONE);
        records.extend(leaderless);
        records
    }

    fn controlled_shutdown(&self, options: &Options, broker: &Broker) -> Vec<MetadataRecord> {
        let id = broker.id;
        let mut records =
            vec![BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..change_of(broker) }.into()];
        records.extend(self.leader_changes(options, Cause::Gone(id), |partition| partition.isr.contains(&id)));
        records
    }

    /// What the heartbeat says about directories: those that failed lose their replicas, those that are cordoned
    /// get no new ones.
    fn directory_changes(
        &self,
        options: &Options,
        broker: &Broker,
        request: &BrokerHeartbeatRequest,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        let failed = |directory: &Uuid| request.offline_log_dirs.contains(directory);
        let newly_failed: Vec<Uuid> = broker.log_dirs.iter().copied().filter(failed).collect();
        for directory in &newly_failed {
            records.extend(self.leader_changes(options, Cause::Gone(broker.id), |partition| {
                let mut held = partition.replicas.iter().zip(&partition.directories);
                held.any(|(replica, held)| *replica == broker.id && held == directory)
            }));
        }
        if !newly_failed.is_empty() {
            let log_dirs = broker.log_dirs.iter().copied().filter(|directory| !failed(directory)).collect();
            records.push(BrokerRegistrationChangeRecord { log_dirs, ..change_of(broker) }.into());
        }
        if let Some(cordoned) =
            request.cordoned_log_dirs.as_ref().filter(|now| broker.cordoned_log_dirs.as_ref() != Some(now))
        {
            let cordoned_log_dirs = Some(cordoned.clone());
            records.push(BrokerRegistrationChangeRecord { cordoned_log_dirs, ..change_of(broker) }.into());
        }
        records
    }

    /// Fences one broker that was silent for too long; the next one follows at the next tick, when the records of this
    /// one are in the image.
    pub(super) fn fence_one_expired(&mut self, options: &Options, now: Millis) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for (id, session) in &mut self.sessions {
            let Some((epoch, heard)) = session.heard else { continue };
            if now <= heard + Millis(options.session_ms) {
                continue;
            }
            session.heard = None;
            let current = self.image.broker(*id).filter(|broker| broker.epoch == epoch && !broker.fenced).cloned();
            if let Some(broker) = current {
                records = self.fencing(options, &broker);
                break;
            }
        }
        records
    }

    /// When the next silent broker is to be fenced.
    pub(super) fn next_expiry(&self, options: &Options) -> Option<Millis> {
        let heard = self.sessions.values().filter_map(|session| session.heard.map(|(_, heard)| heard));
        heard.min().map(|heard| heard + Millis(options.session_ms + 1))
    }
}

fn change_of(broker: &Broker) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch.0,
        fenced: 0,
        in_controlled_shutdown: 0,
        log_dirs: Vec::new(),
        cordoned_log_dirs: None,
    }
}

fn registration_record(request: &BrokerRegistrationRequest) -> RegisterBrokerRecord {
    let endpoint = |listener: &Listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    };
    let feature = |feature: &Feature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    };
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: request.incarnation_id,
        broker_epoch: -1,
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: None,
    }
}

/// The ids below 100 are Kafka's own (`DirectoryId.reserved`): unassigned, lost, migrating, and room for more.
fn is_reserved(directory: &Uuid) -> bool {
    u128::from_be_bytes(directory.0) < 100
}
