//! Which records of a batch stay, and what the batch is then.
//!
//! ```text
//! before   base 40 │ 40 a=1 │ 41 b=1 │ 42 a=2 │ 43 c=null │ last 43
//! after    base 40 │        │ 41 b=1 │ 42 a=2 │ 43 c=null │ last 43   horizon: now + delete.retention.ms
//! later    base 40 │        │ 41 b=1 │ 42 a=2 │           │ last 43
//! empty    base 40 │                                      │ last 43   a bare header, for its producer's sequence
//! ```
//! Offsets are never renumbered: a batch keeps its first and last offset, with them its producer's sequences, whatever goes
//! (traps 98 and 99). The first compaction that meets a tombstone, or a marker without records, writes down from when on it may go
//! (KIP-534): in the place of the base timestamp, with a bit of the attributes (trap 100).
//!
//! Source: `Cleaner.cleanInto`, `Cleaner.shouldRetainRecord`, `MemoryRecords.filterTo` in Kafka 4.3.1.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use milena_base::Millis;
use milena_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, HEADER_BYTES, Header, LOG_OVERHEAD_BYTES,
    RecordView, TimestampType, recompute_crc,
};
use milena_protocol::{Offset, ProducerEpoch, ProducerId};

use super::decided::{Decided, Marker};
use super::offset_map::OffsetMap;
use crate::LOOKUP_BYTES_MAX;
use crate::transactions::Aborted;

/// The last thing that a producer wrote. Its batch stays, if empty, or the producer's next sequence would not be known
/// after its snapshot is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastWritten {
    /// Of its last batch of records in its epoch; `None` where it has none, and a marker tells its epoch.
    pub(crate) offset: Option<Offset>,
    pub(crate) epoch: ProducerEpoch,
}

/// What compaction of one log goes by, as of its beginning.
pub(crate) struct Rules {
    pub(crate) now: Millis,
    pub(crate) delete_retention_ms: i64,
    /// The batch before this offset stays, if empty: it tells where the log was compacted to.
    pub(crate) first_uncleanable: Offset,
    pub(crate) producers: BTreeMap<ProducerId, LastWritten>,
}

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    All,
    /// Another batch in its place.
    Some(Bytes),
}

/// Records that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    pub(crate) records: u64,
    pub(crate) kept: u64,
    pub(crate) keyless: u64,
}

/// A batch and what becomes of it.
pub(crate) struct Verdict {
    pub(crate) left: Left,
    /// A transaction whose marker this is, to be noted in the new index.
    pub(crate) aborted: Option<Aborted>,
}

impl Rules {
    /// Decides about the next batch of a walk.
    pub(crate) fn decide(
        &self,
        batch: &Batch,
        map: &OffsetMap,
        decided: &mut Decided,
        seen: &mut Seen,
    ) -> Result<Verdict, BatchError> {
        let header = batch.header();
        let is_control = header.attributes.is_control();
        let marker = if is_control { Some(decided.pass_marker(batch)?) } else { None };
        let is_idle_marker = marker == Some(Marker::Idle);
        let goes = match is_control {
            true => is_idle_marker && header.delete_horizon().is_some_and(|horizon| horizon <= self.now),
            false => decided.pass(header),
        };
        let stays_empty = self.is_last_of_producer(header) || header.next_offset() == self.first_uncleanable;
        let is_kept = |record: &RecordView, seen: &mut Seen| is_control || self.is_kept(record, header, map, seen);
        let left = match (goes, stays_empty) {
            (true, false) => Left::Nothing,
            (true, true) => Left::Some(emptied(header)),
            (false, _) => match self.filter(batch, is_idle_marker, seen, is_kept)? {
                Left::Nothing if stays_empty => Left::Some(emptied(header)),
                left => left,
            },
        };
        let aborted = match marker {
            Some(Marker::NeededAbort(aborted)) => Some(aborted),
            _ => None,
        };
        Ok(Verdict { left, aborted })
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let Some(last) = self.producers.get(&header.producer_id) else { return false };
        match last.offset {
            Some(offset) => header.last_offset() == offset,
            None => header.attributes.is_control() && header.producer_epoch == last.epoch,
        }
    }

    /// Whether a record stays that no abort has undone.
    fn is_kept(&self, record: &RecordView, header: &BatchHeader, map: &OffsetMap, seen: &mut Seen) -> bool {
        if record.offset > map.latest() {
            return true;
        }
        let Some(key) = &record.key else {
            seen.keyless += 1;
            return false;
        };
        let is_latest = map.find(key).is_none_or(|latest| record.offset >= latest);
        let is_expired = || header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        is_latest && (record.value.is_some() || !is_expired())
    }

    fn filter(
        &self,
        batch: &Batch,
        is_idle_marker: bool,
        seen: &mut Seen,
        is_kept: impl Fn(&RecordView, &mut Seen) -> bool,
    ) -> Result<Left, BatchError> {
        let header = batch.header();
        let mut kept = Vec::new();
        let mut count = 0;
        for record in batch.records(LOOKUP_BYTES_MAX)? {
            let record = record?;
            count += 1;
            if is_kept(&record, seen) {
                kept.push(record);
            }
        }
        seen.records += count as u64;
        seen.kept += kept.len() as u64;
        let known = header.delete_horizon();
        let needs_horizon = is_idle_marker || kept.iter().any(|record| record.value.is_none());
        let begins = needs_horizon && known.is_none();
        if kept.is_empty() {
            return Ok(Left::Nothing);
        }
        if kept.len() == count && !begins {
            return Ok(Left::All);
        }
        let horizon = if begins { Some(self.now + Millis(self.delete_retention_ms)) } else { known };
        rebuilt(header, &kept, horizon).map(Left::Some)
    }
}

/// The batch with these of its records alone.
fn rebuilt(header: &BatchHeader, records: &[RecordView], horizon: Option<Millis>) -> Result<Bytes, BatchError> {
    let mut builder = horizon.map_or_else(BatchBuilder::new, BatchBuilder::with_delete_horizon);
    let mut next = 0;
    for (index, record) in (0..).zip(records) {
        let headers: Vec<Header> = record.headers.iter().collect();
        let delta = record.offset.0.wrapping_sub(header.base_offset.0);
        let offset_delta = i32::try_from(delta).ok().filter(|delta| (next..=header.last_offset_delta).contains(delta));
        let offset_delta = offset_delta.ok_or(BatchError::Order { index })?;
        next = offset_delta.saturating_add(1);
        builder.add_at(offset_delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    let attributes = header.attributes;
    let by_broker = attributes.timestamp_type() == TimestampType::LogAppendTime;
    let options = BatchOptions {
        base_offset: header.base_offset,
        leader_epoch: header.partition_leader_epoch,
        codec: attributes.compression()?,
        level: None,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        is_transactional: attributes.is_transactional(),
        is_control: attributes.is_control(),
        log_append_time: by_broker.then_some(header.max_timestamp),
        last_offset_delta: Some(header.last_offset_delta),
    };
    builder.build(&options).map_err(BatchError::from)
}

/// The batch's header without records. It says nothing of compression or a horizon any more.
fn emptied(header: &BatchHeader) -> Bytes {
    let attributes = header.attributes;
    let bare = BatchHeader {
        batch_length: (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32,
        attributes: Attributes::default()
            .with_timestamp_type(attributes.timestamp_type())
            .with_transactional(attributes.is_transactional())
            .with_control(attributes.is_control()),
        base_timestamp: Millis::NONE,
        record_count: 0,
        ..*header
    };
    let mut bytes = BytesMut::from(&bare.to_bytes()[..]);
    recompute_crc(&mut bytes);
    bytes.freeze()
}
