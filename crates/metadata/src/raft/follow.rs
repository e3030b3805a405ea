//! The follower's and observer's side of replication: it fetches, appends what continues its log, cuts off what the
//! leader does not have, and takes a snapshot where the leader's log begins too late.
//!
//! The next fetch says that everything below its offset is on disk here, so it waits for the flush.
//!
//! Source: `KafkaRaftClient.handleFetchResponse`, `handleFetchSnapshotResponse`, `FollowerState`.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::{FetchResponse, FetchSnapshotResponse, VotersRecord};
use milena_protocol::records::batches;
use milena_protocol::{ErrorCode, NodeId, Offset};

use super::links::Asked;
use super::log::EpochEnd;
use super::roles::Role;
use super::wire::{self, FetchedPartition, SnapshotPiece};
use super::{Effect, Raft, Request, Voter};
use crate::records::{self, Control, Entry};
use crate::snapshot::SnapshotId;

/// What only a follower keeps.
#[derive(Debug)]
pub(crate) struct Follower {
    /// By then the leader must have answered.
    pub(crate) fetch_by: Millis,
    /// Whether it has answered in this epoch.
    pub(crate) has_fetched: bool,
    /// As the leader last said.
    high_watermark: Option<Offset>,
    download: Option<Download>,
}

/// A snapshot on its way.
#[derive(Debug, Clone)]
struct Download {
    id: SnapshotId,
    /// Bytes that are here.
    position: u64,
    voters: Option<VotersRecord>,
}

impl Follower {
    pub(crate) fn new(fetch_by: Millis) -> Follower {
        Follower { fetch_by, has_fetched: false, high_watermark: None, download: None }
    }
}

impl Raft {
    /// From the leader; where that does not answer, from anyone: maybe another leads by now.
    pub(crate) fn fetch_from_leader(&mut self, now: Millis) {
        let (Role::Follower(follower), Some(leader)) = (&self.role, self.leader.clone()) else { return };
        if self.links.has_failed(leader.id, now) {
            return self.fetch_from_any(now);
        }
        if !self.log.is_settled() || self.links.any_in_flight(now) {
            return;
        }
        match &follower.download {
            Some(Download { id, position, .. }) => {
                let request = wire::snapshot_request(&self.options, self.epoch, *id, *position);
                self.send(now, leader, Asked::FetchSnapshot, Request::FetchSnapshot(request));
            }
            None => self.fetch(now, leader),
        }
    }

    /// From any other voter, to hear who leads.
    pub(crate) fn fetch_from_any(&mut self, now: Millis) {
        if !self.log.is_settled() || self.links.any_in_flight(now) {
            return;
        }
        let leader = self.leader.as_ref().map(|leader| leader.id);
        let is_asked = |voter: &Voter| Some(voter.id) != leader && self.links.is_ready(voter.id, now);
        let mut ready: Vec<Voter> = self.other_voters().into_iter().filter(is_asked).collect();
        // A leader that let a request time out is asked again next time.
        leader.into_iter().for_each(|leader| self.links.forget_expired(leader, now));
        if !ready.is_empty() {
            let chosen = ready.swap_remove(self.random.below(ready.len() as u64) as usize);
            self.fetch(now, chosen);
        }
    }

    fn fetch(&mut self, now: Millis, from: Voter) {
        let last = EpochEnd { epoch: self.log.last_epoch(), end: self.log.end };
        let request = wire::fetch_request(&self.options, self.epoch, last, self.high_watermark);
        self.send(now, from, Asked::Fetch, Request::Fetch(request));
    }

    /// Returns whether the node may be asked again at once.
    pub(crate) fn fetch_answered(&mut self, now: Millis, from: NodeId, response: FetchResponse) -> bool {
        let Some((answer, partition)) = wire::parse_fetch_response(response) else { return false };
        if let Some(is_handled) = self.heed(now, &answer) {
            return is_handled;
        }
        if !answer.error.is_none() || self.leader.as_ref().is_none_or(|leader| leader.id != from) {
            return false;
        }
        let Role::Follower(_) = self.role else { return false };
        let is_sound = match partition {
            FetchedPartition::Diverging(end) => self.truncate(end),
            FetchedPartition::Snapshot(id) => self.begin_download(id),
            FetchedPartition::Records { bytes, high_watermark } => self.take_records(bytes, high_watermark),
        };
        if is_sound {
            self.leader_answered(now);
        }
        is_sound
    }

    fn leader_answered(&mut self, now: Millis) {
        let fetch_by = now + Millis(self.options.fetch_timeout_ms);
        if let Role::Follower(follower) = &mut self.role {
            follower.fetch_by = fetch_by;
            follower.has_fetched = true;
        }
    }

    fn truncate(&mut self, leader: EpochEnd) -> bool {
        let end = self.log.agreed_end(leader).max(self.log.start);
        // What is committed is in every later leader's log: one that says otherwise has lost data, or lies.
        if self.high_watermark > Some(end) || end >= self.log.end {
            return false;
        }
        self.log.expect(end);
        self.effects.push(Effect::Truncate { end });
        true
    }

    fn take_records(&mut self, bytes: Bytes, high_watermark: Option<Offset>) -> bool {
        let (fitting, end) = self.fitting(&bytes);
        if !bytes.is_empty() && fitting.is_empty() {
            return false;
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.high_watermark = high_watermark;
        }
        self.follow_high_watermark();
        if !fitting.is_empty() {
            self.log.expect(end);
            self.effects.push(Effect::AppendFetched(fitting));
        }
        true
    }

    /// The whole, undamaged batches that continue this log, and where they end.
    fn fitting(&self, bytes: &Bytes) -> (Bytes, Offset) {
        let (mut end, mut epoch, mut size) = (self.log.end, self.log.last_epoch(), 0);
        for batch in batches(bytes.clone()).tolerate_cut().map_while(Result::ok) {
            let header = batch.header();
            let next = header.next_offset();
            let fits = header.base_offset == end
                && next > end
                && (epoch..=self.epoch).contains(&header.partition_leader_epoch)
                && batch.verify_crc().is_ok();
            if !fits {
                break;
            }
            (end, epoch, size) = (next, header.partition_leader_epoch, size + batch.bytes().len());
        }
        (bytes.slice(..size), end)
    }

    /// A follower knows what is committed from its leader, as far as it has it.
    pub(crate) fn follow_high_watermark(&mut self) {
        if let Role::Follower(Follower { high_watermark: Some(leaders), .. }) = &self.role {
            self.raise_high_watermark((*leaders).min(self.log.end));
        }
    }

    fn begin_download(&mut self, id: SnapshotId) -> bool {
        let is_newer = (id.epoch, id.end) > (self.log.last_epoch(), self.log.end);
        // It replaces the log: what is committed must be in it.
        if !is_newer || Some(id.end) < self.high_watermark || id.epoch > self.epoch {
            return false;
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.download = Some(Download { id, position: 0, voters: None });
        }
        true
    }

    /// Returns whether the leader may be asked again at once.
    pub(crate) fn snapshot_answered(&mut self, now: Millis, response: FetchSnapshotResponse) -> bool {
        let Some((answer, piece)) = wire::parse_snapshot_response(response) else { return false };
        if let Some(is_handled) = self.heed(now, &answer) {
            return is_handled;
        }
        let Role::Follower(follower) = &mut self.role else { return false };
        let Some(download) = follower.download.take() else { return false };
        // It is gone there, or something else came: the next fetch says what to read instead.
        let is_sound = match answer.error {
            ErrorCode::SnapshotNotFound => true,
            ErrorCode::None => self.take_piece(download, piece),
            _ => false,
        };
        if is_sound {
            self.leader_answered(now);
        }
        is_sound
    }

    fn take_piece(&mut self, mut download: Download, piece: SnapshotPiece) -> bool {
        let position = download.position;
        let end = position + piece.bytes.len() as u64;
        if piece.id != download.id || piece.position != position || piece.bytes.is_empty() || end > piece.size {
            return false;
        }
        if position == 0 {
            let Some(voters) = voters_at_start(&piece.bytes) else { return false };
            download.voters = voters;
        }
        let id = download.id;
        let last = end == piece.size;
        self.effects.push(Effect::SnapshotChunk { id, position, bytes: piece.bytes, last });
        match (last, &mut self.role) {
            (true, _) => {
                self.log.install(id);
                self.voters.expect(download.voters);
            }
            (false, Role::Follower(follower)) => {
                download.position = end;
                follower.download = Some(download);
            }
            (false, _) => {}
        }
        true
    }

    pub(crate) fn snapshot_saved(&mut self, id: SnapshotId, log_start: Offset) {
        if self.log.snapshot_saved(id, log_start) {
            self.voters.replace(Offset(id.end.0 - 1));
            self.raise_high_watermark(id.end);
        }
    }
}

/// The voters in a snapshot, whose first batch holds them if any does. `None` if its first piece is not that long.
fn voters_at_start(bytes: &Bytes) -> Option<Option<VotersRecord>> {
    let first = batches(bytes.clone()).next()?.ok()?;
    let decoded = records::decode(first.bytes()).ok()?;
    let entries = decoded.into_iter().flat_map(|batch| batch.entries);
    Some(entries.into_iter().find_map(|entry| match entry {
        Entry::Control(Control::Voters(voters)) => Some(voters),
        _ => None,
    }))
}
