//! Membership in a group, by the classic protocol: find the coordinator, join, divide the partitions if leading,
//! take one's share, show oneself, leave.
//!
//! ```text
//!   Out ──► Joining ──► Member ──rebalance──► Releasing ──► Out
//!                          └────lost───► Out
//! ```
//! Joining and heartbeats are tasks of their own, so that a dropped [`super::Consumer::next`] loses no answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use milena_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, join_group_request,
    leave_group_request, sync_group_request,
};
use milena_protocol::{ErrorCode, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::ConsumerSettings;
use super::assignor::{Candidate, RANGE, assign_ranges, decode_topics, encode_assignment, encode_subscription};
use crate::admin::{Committer, assigned_partitions};
use crate::cluster::{ConsumerNumber, Lane, Topics};
use crate::{Cluster, Error};

/// What the consumer has to do now.
pub(super) enum Step {
    /// Nothing: read on.
    Stay,
    /// These are its partitions from now on.
    Assigned(Vec<TopicPartition>),
    /// Give the partitions back, then call [`Group::release`].
    Revoke,
    /// They are gone.
    Lost,
}

/// One member.
pub(super) struct Group {
    member: Arc<Member>,
    state: State,
}

/// What the member's tasks share.
struct Member {
    cluster: Cluster,
    lane: Lane,
    settings: ConsumerSettings,
    group: String,
    topics: Vec<String>,
    /// Empty until the coordinator has given one. Kept when joining fails, so that leaving can name it.
    member_id: Mutex<String>,
    /// When the owner last asked for an event.
    asked: Mutex<Instant>,
    /// It has joined at least once.
    has_joined: AtomicBool,
}

enum State {
    Out,
    Joining(Task<Result<Joined, Error>>),
    Member(Membership),
    Releasing(Membership),
}

/// A place in one generation.
struct Membership {
    generation: i32,
    signal: watch::Receiver<Signal>,
    /// What a refused commit found out before the next heartbeat does.
    refused: Option<Signal>,
    _heartbeat: Task<()>,
}

/// What heartbeats found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Stable,
    Rebalance,
    Lost,
}

/// The outcome of joining.
struct Joined {
    generation: i32,
    partitions: Vec<TopicPartition>,
    /// What the leader divided: it alone watches whether topics change.
    led_topics: Option<BTreeMap<String, i32>>,
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Group {
    pub(super) fn new(
        cluster: &Cluster,
        number: ConsumerNumber,
        settings: &ConsumerSettings,
        topics: &[String],
    ) -> Group {
        let member = Member {
            cluster: cluster.clone(),
            lane: Lane::Group(number),
            group: settings.group.clone().unwrap_or_default(),
            settings: settings.clone(),
            topics: topics.to_vec(),
            member_id: Mutex::default(),
            asked: Mutex::new(Instant::now()),
            has_joined: AtomicBool::new(false),
        };
        Group { member: Arc::new(member), state: State::Out }
    }

    /// As whom to store offsets: as the member of this generation. Out of the group nobody may.
    pub(super) fn committer(&self) -> Result<Committer, Error> {
        match &self.state {
            State::Member(membership) | State::Releasing(membership) => Ok(Committer {
                group: self.member.group.clone(),
                generation: membership.generation,
                member_id: self.member.id().clone(),
                instance_id: self.member.settings.instance_id.clone(),
            }),
            State::Out | State::Joining(_) => {
                Err(Error::Refused { what: self.member.what(), code: ErrorCode::UnknownMemberId, message: None })
            }
        }
    }

    /// A commit was refused since the group has moved on: the next step follows it, as Kafka's consumer does, rather
    /// than read on until a heartbeat hears of it.
    pub(super) fn note_refused(&mut self, error: &Error) {
        let State::Member(membership) = &mut self.state else { return };
        if error.code() == Some(ErrorCode::RebalanceInProgress) {
            membership.refused = Some(Signal::Rebalance);
            return;
        }
        membership.refused = Some(Signal::Lost);
        self.member.note_outside(error);
    }

    /// Waits until heartbeats bring news; for ever outside of a group.
    pub(super) async fn called(group: Option<&mut Group>) {
        match group.map(|group| &mut group.state) {
            // The sender is gone only if the task has ended, and it says Lost before it does.
            Some(State::Member(membership)) => drop(membership.signal.changed().await),
            _ => std::future::pending().await,
        }
    }

    /// When the owner should at least look in again, to be known as awake.
    pub(super) fn next_due(group: Option<&Group>) -> Option<Instant> {
        group.map(|group| Instant::now() + group.member.settings.poll_interval_max / 3)
    }

    /// Moves on as far as it goes without the consumer.
    pub(super) async fn step(&mut self) -> Result<Step, Error> {
        self.member.note_asked();
        loop {
            match &mut self.state {
                State::Out => self.state = State::Joining(Task(tokio::spawn(join(Arc::clone(&self.member))))),
                State::Joining(task) => {
                    let joined = (&mut task.0).await;
                    self.state = State::Out;
                    let joined = joined.map_err(|_| Error::Closed)??;
                    let partitions = joined.partitions.clone();
                    self.state = State::Member(self.start(joined));
                    return Ok(Step::Assigned(partitions));
                }
                State::Member(membership) => {
                    let heard = *membership.signal.borrow_and_update();
                    return Ok(match membership.refused.take().unwrap_or(heard) {
                        Signal::Stable => Step::Stay,
                        Signal::Rebalance => Step::Revoke,
                        Signal::Lost => {
                            self.state = State::Out;
                            Step::Lost
                        }
                    });
                }
                State::Releasing(_) => self.state = State::Out,
            }
        }
    }

    /// The partitions are given back; the next step joins again. Until then the member stays alive.
    pub(super) fn release(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Out) {
            State::Member(membership) => State::Releasing(membership),
            other => other,
        };
    }

    fn start(&self, joined: Joined) -> Membership {
        let (sender, signal) = watch::channel(Signal::Stable);
        let generation = joined.generation;
        let heartbeat = Task(tokio::spawn(show(Arc::clone(&self.member), joined, sender)));
        Membership { generation, signal, refused: None, _heartbeat: heartbeat }
    }

    /// Leaves at once. A static member stays, since its place is kept for its return.
    pub(super) async fn leave(self) {
        drop(self.state);
        let is_static = self.member.settings.instance_id.is_some();
        if is_static || self.member.id().is_empty() {
            return;
        }
        // If nobody answers, the session ends by silence.
        match timeout(LEAVE_TIMEOUT, leave(&self.member, "the consumer is closed")).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the group could not be told"),
            Err(_) => tracing::debug!("the group could not be told in time"),
        }
    }
}

impl Member {
    fn id(&self) -> MutexGuard<'_, String> {
        self.member_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator does not know its id any more: joining asks for another. Of an older generation it is known
    /// still, and the others would wait for it if it came back under another id.
    fn note_outside(&self, error: &Error) {
        if error.code() != Some(ErrorCode::IllegalGeneration) {
            self.id().clear();
        }
    }

    fn note_asked(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the owner has not asked for events for too long.
    fn is_asleep(&self) -> bool {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.elapsed() > self.settings.poll_interval_max
    }

    fn what(&self) -> String {
        format!("group \"{}\"", self.group)
    }

    /// How many partitions the topics have that exist.
    async fn counts<'a>(&self, topics: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, i32>, Error> {
        let names: Vec<String> = topics.cloned().collect();
        let view = self.cluster.refresh(Topics::Named(&names)).await?;
        let count = |name: &String| {
            let topic = view.topics.get(name)?;
            Some((name.clone(), i32::try_from(topic.partitions.len()).ok()?))
        };
        Ok(names.iter().filter_map(count).collect())
    }
}

/// Joins until it is in. Errors with what does not pass by itself, and, at the first time, if it takes too long.
async fn join(member: Arc<Member>) -> Result<Joined, Error> {
    let limit = match member.has_joined.load(Ordering::Relaxed) {
        true => Duration::MAX,
        false => member.settings.join_timeout,
    };
    let mut retry = member.cluster.retry().within(limit);
    loop {
        let error = match join_once(&member).await {
            Ok(joined) => {
                member.has_joined.store(true, Ordering::Relaxed);
                return Ok(joined);
            }
            Err(error) => error,
        };
        match error.code() {
            // The coordinator has given an id, which `join_once` has kept (KIP-394).
            Some(ErrorCode::MemberIdRequired) => continue,
            Some(ErrorCode::UnknownMemberId) => member.note_outside(&error),
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => continue,
            _ => {
                member.cluster.forget_coordinator(&member.group);
                retry.again(error).await?;
            }
        }
    }
}

async fn join_once(member: &Member) -> Result<Joined, Error> {
    let settings = &member.settings;
    let connection = member.cluster.coordinator(&member.group, member.lane).await?;
    let metadata = encode_subscription(&member.topics).map_err(crate::transport::TransportError::from)?;
    let request = JoinGroupRequest {
        group_id: member.group.clone(),
        session_timeout_ms: millis(settings.session_timeout),
        rebalance_timeout_ms: millis(settings.poll_interval_max),
        member_id: member.id().clone(),
        group_instance_id: settings.instance_id.clone(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![join_group_request::JoinGroupRequestProtocol { name: RANGE.to_owned(), metadata }],
        ..Default::default()
    };
    // The answer comes when all members have joined, or when their time is up.
    let joined = connection.call_within(&request, settings.poll_interval_max + REBALANCE_GRACE).await?;
    if !joined.member_id.is_empty() {
        member.id().clone_from(&joined.member_id);
    }
    Error::check(joined.error_code, || member.what())?;
    let (assignments, led_topics) = match joined.leader == joined.member_id && !joined.skip_assignment {
        true => {
            let (assignments, topics) = divide(member, &joined).await?;
            (assignments, Some(topics))
        }
        false => (Vec::new(), None),
    };
    let request = SyncGroupRequest {
        group_id: member.group.clone(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: settings.instance_id.clone(),
        protocol_type: joined.protocol_type.clone(),
        protocol_name: joined.protocol_name.clone(),
        assignments,
    };
    let synced = connection.call_within(&request, settings.poll_interval_max + REBALANCE_GRACE).await?;
    Error::check(synced.error_code, || member.what())?;
    let partitions = assigned_partitions(synced.assignment)
        .ok_or_else(|| Error::Missing { what: format!("the assignment of {}", member.what()) })?;
    Ok(Joined { generation: joined.generation_id, partitions, led_topics })
}

/// The leader's work: gives every member its share. Answers the topics that it divided, too.
async fn divide(
    member: &Member,
    joined: &JoinGroupResponse,
) -> Result<(Vec<sync_group_request::SyncGroupRequestAssignment>, BTreeMap<String, i32>), Error> {
    let candidates: Vec<Candidate> = joined
        .members
        .iter()
        .map(|other| Candidate {
            member_id: other.member_id.clone(),
            instance_id: other.group_instance_id.clone(),
            // A member that nobody understands gets nothing, and does not stop the others.
            topics: decode_topics(other.metadata.clone()).unwrap_or_default(),
        })
        .collect();
    let mut names: Vec<String> = candidates.iter().flat_map(|candidate| candidate.topics.clone()).collect();
    names.sort();
    names.dedup();
    let topics = member.counts(names.iter()).await?;
    let mut assignments = Vec::with_capacity(candidates.len());
    for (member_id, partitions) in assign_ranges(&candidates, &topics) {
        let assignment = encode_assignment(&partitions).map_err(crate::transport::TransportError::from)?;
        assignments.push(sync_group_request::SyncGroupRequestAssignment { member_id, assignment });
    }
    // Topics that do not exist yet count as empty, so that their creation is a change.
    let led = names.into_iter().map(|name| (topics.get(&name).copied().unwrap_or(0), name));
    Ok((assignments, led.map(|(count, name)| (name, count)).collect()))
}

/// Shows the coordinator that the member is alive, until it is lost or the task is dropped.
async fn show(member: Arc<Member>, joined: Joined, signal: watch::Sender<Signal>) {
    let request = HeartbeatRequest {
        group_id: member.group.clone(),
        generation_id: joined.generation,
        member_id: member.id().clone(),
        group_instance_id: member.settings.instance_id.clone(),
    };
    let mut heard = Instant::now();
    let mut checked = Instant::now();
    let mut pause = member.settings.heartbeat_interval;
    loop {
        sleep(pause).await;
        pause = member.settings.heartbeat_interval;
        if member.is_asleep() {
            tracing::warn!(group = member.group, "no event was asked for within the poll interval: leaving the group");
            leave(&member, "the poll interval has passed").await.ok();
            signal.send_replace(Signal::Lost);
            return;
        }
        match beat(&member, &request).await {
            Ok(()) => heard = Instant::now(),
            Err(error) if error.code() == Some(ErrorCode::RebalanceInProgress) => {
                heard = Instant::now();
                signal.send_replace(Signal::Rebalance);
            }
            Err(error) if error.is_group_change() => {
                member.note_outside(&error);
                signal.send_replace(Signal::Lost);
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "a heartbeat got no answer");
                member.cluster.forget_coordinator(&member.group);
                pause = member.cluster.settings().retry_backoff_max.min(pause);
                if heard.elapsed() > member.settings.session_timeout {
                    signal.send_replace(Signal::Lost);
                    return;
                }
            }
        }
        if checked.elapsed() > member.cluster.settings().view_age_max {
            checked = Instant::now();
            if has_changed(&member, &joined.led_topics).await {
                signal.send_replace(Signal::Rebalance);
            }
        }
    }
}

async fn beat(member: &Member, request: &HeartbeatRequest) -> Result<(), Error> {
    let connection = member.cluster.coordinator(&member.group, member.lane).await?;
    let answer = connection.call_within(request, member.settings.session_timeout).await?;
    Error::check(answer.error_code, || member.what())
}

/// Whether topics have other numbers of partitions than the leader divided.
async fn has_changed(member: &Member, led_topics: &Option<BTreeMap<String, i32>>) -> bool {
    let Some(led) = led_topics else { return false };
    match member.counts(led.keys()).await {
        Ok(counts) => led.iter().any(|(name, count)| counts.get(name).copied().unwrap_or(0) != *count),
        Err(error) => {
            tracing::debug!(%error, "the topics could not be asked for");
            false
        }
    }
}

async fn leave(member: &Member, reason: &str) -> Result<(), Error> {
    let member_id = std::mem::take(&mut *member.id());
    let connection = member.cluster.coordinator(&member.group, member.lane).await?;
    let by_member = connection.newest_common::<LeaveGroupRequest>()? >= 3;
    let identity = leave_group_request::MemberIdentity {
        member_id: member_id.clone(),
        group_instance_id: None,
        reason: Some(reason.to_owned()),
    };
    let request = LeaveGroupRequest {
        group_id: member.group.clone(),
        member_id: if by_member { String::new() } else { member_id },
        members: if by_member { vec![identity] } else { Vec::new() },
    };
    let answer = connection.call(&request).await?;
    Error::check(answer.error_code, || member.what())
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// How much longer than the members' own time the coordinator may take for a rebalance.
const REBALANCE_GRACE: Duration = Duration::from_secs(5);
/// How long leaving may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
