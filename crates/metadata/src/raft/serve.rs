//! The leader's side of replication: which records a fetch gets, when it waits, and where a follower's log went
//! another way. Snapshots are served here too; their bytes are the shell's.
//!
//! Source: `KafkaRaftClient.handleFetchRequest`, `handleFetchSnapshotRequest`.

use milena_base::Millis;
use milena_protocol::messages::{FetchRequest, FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse};
use milena_protocol::{ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

use super::log::Fit;
use super::roles::Role;
use super::wire::{self, FetchAnswer};
use super::{Effect, Raft, ReadRange, ReplyTo, Response, SnapshotRange};
use crate::snapshot::SnapshotId;

/// The most bytes of records or of a snapshot in one answer (`controller.quorum.fetch.max.bytes` and
/// `controller.quorum.fetch.snapshot.max.bytes` by default).
pub(crate) const FETCH_BYTES_MAX: i32 = 1 << 20;
/// Fetches that may wait for records; beyond it they are answered at once, and ask again.
const PARKED_MAX: usize = 1_000;

/// What a replica asks for.
#[derive(Debug, Clone)]
pub(crate) struct FetchAsk {
    pub(crate) replica: (NodeId, Uuid),
    pub(crate) epoch: LeaderEpoch,
    pub(crate) offset: Offset,
    pub(crate) last_epoch: LeaderEpoch,
    /// The high watermark that it knows; the largest offset from those that do not say.
    pub(crate) high_watermark: Offset,
    pub(crate) wait: Millis,
    pub(crate) bytes_max: i32,
}

/// A fetch that waits for records, or for a high watermark that its sender does not know.
#[derive(Debug)]
pub(crate) struct ParkedFetch {
    reply_to: ReplyTo,
    ask: FetchAsk,
    pub(crate) until: Millis,
}

impl Raft {
    pub(crate) fn fetch_asked(&mut self, now: Millis, reply_to: ReplyTo, request: &FetchRequest) {
        let outcome = match self.check_cluster(request.cluster_id.as_deref()) {
            Ok(()) => wire::parse_fetch_request(request).ok_or(ErrorCode::InvalidRequest),
            Err(error) => Err(error),
        };
        let ask = match outcome {
            Ok(ask) => ask,
            Err(error) => {
                let response = FetchResponse { error_code: error.number(), ..FetchResponse::default() };
                return self.reply(reply_to, Response::Fetch(response));
            }
        };
        let is_possible = ask.wait.0 >= 0
            && ask.offset.0 >= 0
            && ask.last_epoch.0 >= 0
            && ask.last_epoch <= ask.epoch
            && ask.replica.0 != self.options.node;
        match is_possible {
            true => {
                let until = now + ask.wait;
                self.serve(now, ParkedFetch { reply_to, ask, until });
            }
            false => self.refuse_fetch(reply_to, ErrorCode::InvalidRequest),
        }
    }

    /// Answers a fetch, or lets it wait (again).
    fn serve(&mut self, now: Millis, fetch: ParkedFetch) {
        let ParkedFetch { reply_to, ask, until } = fetch;
        if let Err(error) = self.check_leader_request(ask.epoch) {
            return self.refuse_fetch(reply_to, error);
        }
        let fit = self.log.fit(ask.offset, ask.last_epoch);
        if fit == Fit::Prefix {
            self.replica_has(now, ask.replica, ask.offset);
        }
        let Role::Leader(leader) = &mut self.role else { return };
        let high_watermark = self.high_watermark.filter(|_| leader.is_announced);
        let has_news = ask.offset < self.log.end || high_watermark > Some(ask.high_watermark);
        if fit == Fit::Prefix && !has_news && until > now && leader.parked.len() < PARKED_MAX {
            return leader.parked.push(ParkedFetch { reply_to, ask, until });
        }
        let range = ReadRange { from: ask.offset, end: self.log.end, bytes_max: bytes_max(ask.bytes_max) };
        let records = (fit == Fit::Prefix && range.from < range.end).then_some(range);
        let answer = FetchAnswer { error: ErrorCode::None, high_watermark, log_start: self.log.start, fit };
        let response = wire::fetch_response(&self.standing(), &answer);
        self.effects.push(Effect::Reply { to: reply_to, response: Response::Fetch(response), records, snapshot: None });
    }

    /// The log grew, more of it is committed, or time passed.
    pub(crate) fn serve_parked(&mut self, now: Millis) {
        let Role::Leader(leader) = &mut self.role else { return };
        for fetch in std::mem::take(&mut leader.parked) {
            self.park_or_serve(now, fetch);
        }
    }

    /// A fetch that still waits says nothing new about its replica.
    fn park_or_serve(&mut self, now: Millis, fetch: ParkedFetch) {
        let Role::Leader(leader) = &mut self.role else { return self.refuse_parked(vec![fetch]) };
        let high_watermark = self.high_watermark.filter(|_| leader.is_announced);
        let has_news = fetch.ask.offset < self.log.end || high_watermark > Some(fetch.ask.high_watermark);
        match has_news || fetch.until <= now {
            true => self.serve(now, fetch),
            false => leader.parked.push(fetch),
        }
    }

    pub(crate) fn refuse_parked(&mut self, fetches: Vec<ParkedFetch>) {
        for fetch in fetches {
            self.refuse_fetch(fetch.reply_to, ErrorCode::NotLeaderOrFollower);
        }
    }

    fn refuse_fetch(&mut self, reply_to: ReplyTo, error: ErrorCode) {
        let answer = FetchAnswer { error, high_watermark: None, log_start: self.log.start, fit: Fit::Prefix };
        let response = wire::fetch_response(&self.standing(), &answer);
        self.reply(reply_to, Response::Fetch(response));
    }

    pub(crate) fn snapshot_asked(&mut self, now: Millis, reply_to: ReplyTo, request: &FetchSnapshotRequest) {
        let ask = match self.check_cluster(request.cluster_id.as_deref()) {
            Ok(()) => wire::parse_snapshot_request(request).ok_or(ErrorCode::InvalidRequest),
            Err(error) => Err(error),
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(error) => {
                let response = FetchSnapshotResponse { error_code: error.number(), ..FetchSnapshotResponse::default() };
                return self.reply(reply_to, Response::FetchSnapshot(response));
            }
        };
        let is_held = self.log.snapshot == Some(ask.id) && ask.id.end > Offset(0);
        let outcome = match self.check_leader_request(ask.epoch) {
            Ok(()) if !is_held => Err(ErrorCode::SnapshotNotFound),
            Ok(()) => u64::try_from(ask.position).map_err(|_| ErrorCode::PositionOutOfRange),
            Err(error) => Err(error),
        };
        let error = outcome.err().unwrap_or(ErrorCode::None);
        let snapshot =
            outcome.ok().map(|position| SnapshotRange { id: ask.id, position, bytes_max: bytes_max(ask.bytes_max) });
        if snapshot.is_some() {
            self.replica_lives(now, ask.replica);
        }
        let response = wire::snapshot_response(&self.standing(), error, &ask);
        let response = Response::FetchSnapshot(response);
        self.effects.push(Effect::Reply { to: reply_to, response, records: None, snapshot });
    }

    /// Whether a request that only the leader answers is meant for this one, in this epoch.
    fn check_leader_request(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if epoch > self.epoch {
            return Err(ErrorCode::UnknownLeaderEpoch);
        }
        match self.role {
            Role::Leader(_) => Ok(()),
            _ => Err(ErrorCode::NotLeaderOrFollower),
        }
    }
}

/// A piece of a snapshot that a replica asks for.
#[derive(Debug)]
pub(crate) struct SnapshotAsk {
    pub(crate) replica: (NodeId, Uuid),
    pub(crate) epoch: LeaderEpoch,
    pub(crate) id: SnapshotId,
    pub(crate) position: i64,
    pub(crate) bytes_max: i32,
}

fn bytes_max(wanted: i32) -> usize {
    wanted.clamp(1, FETCH_BYTES_MAX) as usize
}
