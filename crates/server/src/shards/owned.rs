//! One shard with what belongs to it here: its log, the requests that it has not answered, and what waits for the high
//! watermark.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Millis;
use milena_coordinators::{BatchKind, CoordinatorRecord, Decision, Entry, Origin, Reply, ReplyTo};
use milena_partition::Voucher;
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::oneshot;

use super::Kind;
use crate::markers;
use crate::partitions::{Refused, Replica};
use crate::world::World;

/// A shard that this thread owns.
pub(super) struct Owned<W: World, S: Kind<W>> {
    pub(super) shard: S,
    pub(super) replica: Arc<Replica<W::Disk>>,
    pub(super) epoch: LeaderEpoch,
    /// Which load filled it, or fills it.
    pub(super) load: u64,
    /// Its log is read.
    pub(super) is_read: bool,
    /// And it has begun.
    pub(super) is_loaded: bool,
    /// What it has been told while it was loading: never more than the metadata have changed meanwhile.
    pub(super) told: Vec<S::Event>,
    next_reply: u64,
    /// Requests that the machine has not answered yet.
    asked: HashMap<ReplyTo, Asked<S::Response>>,
    /// Answers that wait for the high watermark to pass this offset.
    held: Vec<(Offset, Asked<S::Response>, S::Response)>,
    /// Effects that wait for the same.
    effects: Vec<(Offset, S::Effect)>,
    /// The last record of the log, as far as the shard knows it.
    written: Offset,
}

/// Who waits for an answer.
pub(super) struct Asked<R> {
    pub(super) version: i16,
    pub(super) answer: oneshot::Sender<R>,
}

impl<W: World, S: Kind<W>> Owned<W, S> {
    /// An empty shard, to be loaded.
    pub(super) fn new(shard: S, replica: Arc<Replica<W::Disk>>, epoch: LeaderEpoch, load: u64) -> Owned<W, S> {
        Owned {
            shard,
            replica,
            epoch,
            load,
            is_read: false,
            is_loaded: false,
            told: Vec::new(),
            next_reply: 0,
            asked: HashMap::new(),
            held: Vec::new(),
            effects: Vec::new(),
            written: Offset::NONE,
        }
    }

    /// Replays what the log holds.
    pub(super) fn replay(&mut self, entries: &[(Origin, Entry)]) -> Result<(), milena_coordinators::ReplayError> {
        for (at, entry) in entries {
            self.shard.replay(*at, entry)?;
            self.written = at.offset;
        }
        Ok(())
    }

    /// Remembers who asks.
    pub(super) fn expect(&mut self, asked: Asked<S::Response>) -> ReplyTo {
        let to = ReplyTo(self.next_reply);
        self.next_reply += 1;
        self.asked.insert(to, asked);
        to
    }

    /// One decision is one batch, appended at once, then replayed.
    pub(super) fn commit(
        &mut self,
        decision: &Decision<S::Response, S::Effect>,
        voucher: Voucher,
    ) -> Result<Committed, Refused> {
        let Decision { records, kind, timestamp, .. } = decision;
        let (batch, producer, voucher) = match *kind {
            BatchKind::Marker(marker) => {
                let producer = Some((marker.producer_id, marker.producer_epoch));
                (markers::batch_of(&marker, *timestamp), producer, markers::voucher_of(&marker))
            }
            _ if records.is_empty() => return Ok(Committed { written: None, flush_due: false }),
            BatchKind::Plain => (batch_of(records, *timestamp, &BatchOptions::default()), None, Voucher::NotNeeded),
            BatchKind::InTransaction { producer_id, producer_epoch } => {
                let options =
                    BatchOptions { producer_id, producer_epoch, is_transactional: true, ..BatchOptions::default() };
                (batch_of(records, *timestamp, &options), Some((producer_id, producer_epoch)), voucher)
            }
        };
        let appended = self.replica.append_own(*timestamp, batch, Some(self.epoch), voucher)?;
        let records = records.iter().map(|record| Entry::Record(record.clone()));
        let end = match *kind {
            BatchKind::Marker(marker) => Some(Entry::TransactionEnd { committed: marker.committed }),
            _ => None,
        };
        for (entry, delta) in records.chain(end).zip(0..) {
            let at = Origin { offset: appended.base_offset + delta, producer };
            self.shard.replay(at, &entry).expect("the shard can read what it wrote");
        }
        self.written = appended.last_offset;
        Ok(Committed { written: Some(appended.last_offset), flush_due: appended.flush_due })
    }

    /// Keeps what follows from a decision until the high watermark has passed what it knows of.
    pub(super) fn hold(&mut self, decision: Decision<S::Response, S::Effect>, written: Option<Offset>) {
        for Reply { to, response, written: known } in decision.replies {
            if let Some(asked) = self.asked.remove(&to) {
                self.held.push((known.max(written).unwrap_or(Offset::NONE), asked, response));
            }
        }
        self.effects.extend(decision.effects.into_iter().map(|effect| (self.written, effect)));
    }

    /// Answers whoever waited for this high watermark, and hands out the effects that did.
    pub(super) fn release(&mut self, high_watermark: Offset) -> Vec<S::Effect> {
        for (_, asked, response) in self.held.extract_if(.., |(written, ..)| *written < high_watermark) {
            // A client that went away needs no answer.
            let _ = asked.answer.send(response);
        }
        let ready = self.effects.extract_if(.., |(written, _)| *written < high_watermark);
        ready.map(|(_, effect)| effect).collect()
    }

    /// A decision could not be kept.
    pub(super) fn fail(&mut self, replies: Vec<Reply<S::Response>>, code: ErrorCode) {
        for Reply { to, response, .. } in replies {
            if let Some(asked) = self.asked.remove(&to) {
                let _ = asked.answer.send(S::failed(response, asked.version, code));
            }
        }
    }

    /// Ends it: nobody is left waiting.
    pub(super) fn stop(mut self) {
        for Reply { to, response, .. } in self.shard.unloaded() {
            if let Some(asked) = self.asked.remove(&to) {
                let _ = asked.answer.send(response);
            }
        }
        for (_, asked, response) in self.held {
            let _ = asked.answer.send(S::failed(response, asked.version, ErrorCode::NotLeaderOrFollower));
        }
    }
}

/// What became of a decision.
pub(super) struct Committed {
    /// Its last record, if it has any.
    pub(super) written: Option<Offset>,
    pub(super) flush_due: bool,
}

fn batch_of(records: &[CoordinatorRecord], timestamp: Millis, options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.add(timestamp, Some(&record.key), record.value.as_deref(), &[]);
    }
    builder.build(options).expect("batches that are not compressed can be built")
}
