//! Where a consumer is in each of its partitions, and the records at hand.
//!
//! ```text
//!   committed ≤ position ≤ fetched
//!   │           │          └ the next fetch begins here
//!   │           └ the next record to be given out
//!   └ stored for the group
//! ```

use std::collections::{BTreeMap, VecDeque};

use milena_protocol::records::{RecordView, batches};
use milena_protocol::wire::Records;
use milena_protocol::{ErrorCode, Offset, TopicPartition};
use tokio::time::Instant;

use super::aborted::Aborted;
use super::fetching::{Fetched, FetchedPartition};
use super::{ConsumerSettings, FetchedRecords, Isolation};
use crate::cluster::Topics;
use crate::{Cluster, Error};

/// All partitions of a consumer.
#[derive(Default)]
pub(super) struct Positions {
    partitions: BTreeMap<TopicPartition, Position>,
    /// Positions that were not stored when their partitions were taken back: still to be stored, until it goes on.
    revoked: BTreeMap<TopicPartition, Offset>,
    /// Whose turn it is, so that none starves.
    last_given: Option<TopicPartition>,
}

/// One partition.
#[derive(Default)]
struct Position {
    /// `None` until it is found out.
    offsets: Option<Offsets>,
    /// Records between position and fetched.
    records: VecDeque<RecordView>,
    /// The ends that the last fetch told.
    ends: Option<Ends>,
    /// The stored offset is of no use; only the reset policy is.
    must_reset: bool,
    is_paused: bool,
    /// Not to be fetched before, after a failure.
    not_before: Option<Instant>,
}

/// Where a partition ends.
#[derive(Debug, Clone, Copy)]
struct Ends {
    high_watermark: Offset,
    last_stable: Offset,
}

struct Offsets {
    position: Offset,
    fetched: Offset,
    committed: Option<Offset>,
}

impl Positions {
    /// Other partitions from now on, all without a position.
    pub(super) fn replace(&mut self, partitions: impl Iterator<Item = TopicPartition>) {
        self.partitions = partitions.map(|partition| (partition, Position::default())).collect();
    }

    /// No partition from now on, but [`Positions::uncommitted`] knows their positions until [`Positions::go_on`]. Answers
    /// those there were.
    pub(super) fn stop(&mut self) -> Vec<TopicPartition> {
        self.revoked = self.uncommitted();
        std::mem::take(&mut self.partitions).into_keys().collect()
    }

    /// What was taken back is over.
    pub(super) fn go_on(&mut self) {
        self.revoked.clear();
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.partitions.get(partition)?.offsets.as_ref().map(|offsets| offsets.position)
    }

    pub(super) fn lag(&self, partition: &TopicPartition, isolation: Isolation) -> Option<i64> {
        let found = self.partitions.get(partition)?;
        let ends = found.ends?;
        let end = match isolation {
            Isolation::ReadUncommitted => ends.high_watermark,
            Isolation::ReadCommitted => ends.last_stable,
        };
        Some((end - found.offsets.as_ref()?.position).max(0))
    }

    /// No partition has a position any more; the stored ones are looked up anew.
    pub(super) fn forget(&mut self) {
        for position in self.partitions.values_mut() {
            position.offsets = None;
            position.records.clear();
            position.must_reset = false;
        }
    }

    /// Answers whether the partition is one of these.
    pub(super) fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> bool {
        let Some(found) = self.partitions.get_mut(partition) else { return false };
        found.offsets = Some(Offsets { position: offset, fetched: offset, committed: None });
        found.records.clear();
        found.must_reset = false;
        true
    }

    pub(super) fn set_paused(&mut self, partition: &TopicPartition, is_paused: bool) {
        if let Some(found) = self.partitions.get_mut(partition) {
            found.is_paused = is_paused;
        }
    }

    /// Partitions without a position, and whether only the reset policy can give one.
    pub(super) fn unknown(&self) -> Vec<(TopicPartition, bool)> {
        let unknown = self.partitions.iter().filter(|(_, position)| position.offsets.is_none());
        unknown.map(|(partition, position)| (partition.clone(), position.must_reset)).collect()
    }

    /// Positions that are not stored yet.
    pub(super) fn uncommitted(&self) -> BTreeMap<TopicPartition, Offset> {
        let changed = self.partitions.iter().filter_map(|(partition, position)| {
            let offsets = position.offsets.as_ref()?;
            (offsets.committed != Some(offsets.position)).then(|| (partition.clone(), offsets.position))
        });
        self.revoked.clone().into_iter().chain(changed).collect()
    }

    pub(super) fn note_committed(&mut self, committed: &BTreeMap<TopicPartition, Offset>) {
        for (partition, offset) in committed {
            self.revoked.remove(partition);
            if let Some(offsets) = self.partitions.get_mut(partition).and_then(|found| found.offsets.as_mut()) {
                offsets.committed = Some(*offset);
            }
        }
    }

    /// What to fetch now, and from where: partitions that run low on records.
    pub(super) fn hungry(&self, now: Instant, records_min: usize) -> Vec<(TopicPartition, Offset)> {
        let hungry = self.partitions.iter().filter_map(|(partition, position)| {
            let offsets = position.offsets.as_ref()?;
            let may = !position.is_paused && position.records.len() < records_min;
            (may && position.not_before.is_none_or(|time| time <= now)).then(|| (partition.clone(), offsets.fetched))
        });
        hungry.collect()
    }

    /// When a partition's pause after a failure ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.partitions.values().filter_map(|position| position.not_before).min()
    }

    /// Gives out records of the next partition that has some.
    pub(super) fn take_records(&mut self, count_max: usize) -> Option<FetchedRecords> {
        let has_some = |(_, position): &(&TopicPartition, &mut Position)| {
            !position.is_paused && position.offsets.is_some() && !position.records.is_empty()
        };
        let last = self.last_given.take();
        let is_later = |partition: &TopicPartition| last.as_ref().is_none_or(|last| partition > last);
        let mut candidates: Vec<_> = self.partitions.iter_mut().filter(has_some).collect();
        let turn = candidates.iter().position(|(partition, _)| is_later(partition)).unwrap_or(0);
        if candidates.is_empty() {
            return None;
        }
        let (partition, position) = candidates.swap_remove(turn);
        let count = position.records.len().min(count_max);
        let records: Vec<RecordView> = position.records.drain(..count).collect();
        let offsets = position.offsets.as_mut()?;
        // Behind the last record at hand lie only control records and gaps.
        offsets.position = position.records.front().map_or(offsets.fetched, |next| next.offset);
        let ends = position.ends?;
        self.last_given = Some(partition.clone());
        Some(FetchedRecords {
            partition: partition.clone(),
            records,
            high_watermark: ends.high_watermark,
            last_stable: ends.last_stable,
        })
    }

    /// Takes in what a broker answered. Errors only with what the owner must know.
    pub(super) async fn take_in(
        &mut self,
        fetched: Fetched,
        cluster: &Cluster,
        settings: &ConsumerSettings,
    ) -> Result<(), Error> {
        let backoff = cluster.settings().retry_backoff;
        let mut stale = Vec::new();
        for answer in fetched.partitions {
            let Some(position) = self.partitions.get_mut(&answer.partition) else { continue };
            // A seek or a rebalance came between.
            if position.offsets.as_ref().is_none_or(|offsets| offsets.fetched != answer.asked) {
                continue;
            }
            position.not_before = None;
            match take_in_one(position, &answer, settings) {
                Ok(()) => {}
                Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                    tracing::debug!(partition = %answer.partition, asked = %answer.asked, "the offset is not there");
                    position.offsets = None;
                    position.records.clear();
                    position.must_reset = true;
                }
                Err(error) if error.is_retriable() => {
                    tracing::debug!(partition = %answer.partition, %error, "fetching again");
                    position.not_before = Some(Instant::now() + backoff);
                    stale.push(answer.partition.topic.clone());
                }
                Err(error) => return Err(error),
            }
        }
        stale.dedup();
        if !stale.is_empty()
            && let Err(error) = cluster.refresh(Topics::Named(&stale)).await
        {
            tracing::debug!(%error, "the leaders could not be asked for");
        }
        Ok(())
    }
}

fn take_in_one(position: &mut Position, answer: &FetchedPartition, settings: &ConsumerSettings) -> Result<(), Error> {
    let data = answer.result.as_ref().map_err(Clone::clone)?;
    Error::check(data.error_code, || format!("partition {}", answer.partition))?;
    position.ends =
        Some(Ends { high_watermark: Offset(data.high_watermark), last_stable: Offset(data.last_stable_offset) });
    let mut aborted = Aborted::new(data.aborted_transactions.as_deref().unwrap_or_default());
    let Records::Bytes(bytes) = &data.records else { return Ok(()) };
    let unsound = |reason: milena_protocol::records::BatchError| Error::Batch {
        what: format!("partition {} from offset {}", answer.partition, answer.asked),
        reason: reason.to_string(),
    };
    let mut fetched = answer.asked;
    for batch in batches(bytes.clone()).tolerate_cut() {
        let batch = batch.map_err(unsound)?;
        batch.verify_crc().map_err(unsound)?;
        fetched = fetched.max(batch.header().next_offset());
        if !aborted.lets_through(&batch, settings.inflated_bytes_max).map_err(unsound)? {
            continue;
        }
        for record in batch.records(settings.inflated_bytes_max).map_err(unsound)? {
            let record = record.map_err(unsound)?;
            // A batch comes whole even if it begins before the offset that was asked for.
            if record.offset >= answer.asked {
                position.records.push_back(record);
            }
        }
    }
    if let Some(offsets) = &mut position.offsets {
        offsets.fetched = fetched;
        if position.records.is_empty() {
            offsets.position = fetched;
        }
    }
    Ok(())
}
