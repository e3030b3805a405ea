//! What a partition is asked and what it answers, as plain values.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use milena_base::disk::replace_file;
use milena_base::{Disk, DiskFile, Millis};
use milena_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Uuid};

#[cfg(doc)]
use super::Partition;
#[cfg(doc)]
use crate::LogSettings;
use crate::log::Volume;
use crate::producers::Guard;

/// What the directory's checkpoint files say about a log before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenHints {
    /// Everything before is flushed (`recovery-point-offset-checkpoint`; 0 if unknown).
    pub recovery_point: Offset,
    /// First readable offset (`log-start-offset-checkpoint`; 0 if unknown).
    pub log_start: Offset,
    /// As last checkpointed (`replication-offset-checkpoint`; 0 if unknown).
    pub high_watermark: Offset,
    /// Before it compaction may have left gaps (`cleaner-offset-checkpoint`; 0 if unknown), also where the topic is not
    /// compacted any more.
    pub compacted_to: Offset,
    /// The directory was left by a clean shutdown: nothing is scanned.
    pub clean: bool,
    /// For the segments' jitter.
    pub seed: u64,
}

/// What opening found and mended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The directory held no segment.
    pub created: bool,
    /// Segments read from front to end.
    pub segments_scanned: usize,
    /// Bytes cut off behind the last good batch, with those of segments removed.
    pub truncated_bytes: u64,
    /// Where records end that were said to be flushed but are not there: data were lost, a human must look.
    pub lost_below_recovery_point: Option<Offset>,
    /// Base offset of the first segment that was read from front to end.
    pub first_scanned: Option<Offset>,
    /// Files to remove later.
    pub unlinks: Vec<Unlink>,
}

/// A file that nobody reads by name any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlink {
    /// Its `.deleted` name.
    pub path: PathBuf,
    /// Not before.
    pub due: Millis,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed: the directory is offline.
    #[error("{path}: {source}")]
    Disk {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The directory belongs to another topic of the same name: it is stray.
    #[error("{path} holds topic id {found}, not {expected}")]
    OtherTopic {
        /// Which directory.
        path: PathBuf,
        /// From the metadata.
        expected: Uuid,
        /// From `partition.metadata`.
        found: Uuid,
    },
    /// A file says what no version of Kafka writes.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The four offsets that bound a partition. Always `log_start ≤ last_stable ≤ high_watermark ≤ log_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// First readable.
    pub log_start: Offset,
    /// End of what read_committed sees.
    pub last_stable: Offset,
    /// End of what read_uncommitted sees.
    pub high_watermark: Offset,
    /// Next to be written.
    pub log_end: Offset,
}

/// Who answers for a batch of a transaction (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voucher {
    /// Nobody has to: there is no transaction, or `transaction.partition.verification.enable` is off.
    NotNeeded,
    /// Nobody yet: a batch that begins a transaction is refused with [`AppendError::NeedsVerification`].
    Wanted {
        /// The producer's epoch rises with each transaction (transaction version 2), so that its sequences begin with 0.
        bumps_epoch: bool,
    },
    /// The coordinator, which was asked with this guard.
    Verified(Guard),
    /// The coordinator ends the transaction, by the rules of this transaction version: the batch is a marker.
    Marker {
        /// From WriteTxnMarkers; 0 where it does not say.
        transaction_version: i8,
    },
}

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Of the first record; for a duplicate, where the original went.
    pub base_offset: Offset,
    /// Of the last record.
    pub last_offset: Offset,
    /// The broker's time of a LogAppendTime topic (for a duplicate: the original's time), else [`Millis::NONE`].
    pub log_append_time: Millis,
    /// First readable offset.
    pub log_start: Offset,
    /// The same batch had been appended before; nothing was written.
    pub duplicate: bool,
    /// The high watermark moved: waiting reads and answers can be looked at.
    pub high_watermark_moved: bool,
    /// `flush.messages` records are unflushed: call [`Partition::prepare_flush`]. With
    /// [`LogSettings::acknowledges_after_flush`] the answer must wait for it.
    pub flush_due: bool,
    /// A segment was rolled: a flush in the background moves the recovery point.
    pub rolled: bool,
}

/// Why a replica is not the leader that a caller means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeadershipError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// The caller knows an old leader epoch.
    #[error("leader epoch {given} is older than {current}")]
    FencedLeaderEpoch {
        /// The caller's.
        given: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
    /// The caller knows a leader epoch that we have not heard of.
    #[error("leader epoch {given} is newer than {current}")]
    UnknownLeaderEpoch {
        /// The caller's.
        given: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
}

/// Why an append is refused. Nothing was written, but for `Disk`, after which the partition is offline.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// This replica is not the leader that is meant.
    #[error(transparent)]
    Leadership(#[from] LeadershipError),
    /// A producer's records do not follow its last ones.
    #[error("producer {producer} sent sequence {given} after {last}")]
    OutOfOrderSequence {
        /// Whose.
        producer: ProducerId,
        /// First sequence of the batch.
        given: Sequence,
        /// Last sequence appended.
        last: Sequence,
    },
    /// A newer instance of the producer has written.
    #[error("producer {producer} sent epoch {given} after {current}")]
    InvalidProducerEpoch {
        /// Whose.
        producer: ProducerId,
        /// The batch's.
        given: ProducerEpoch,
        /// The newest seen.
        current: ProducerEpoch,
    },
    /// A transactional batch outside a transaction, or another batch inside one (INVALID_TXN_STATE).
    #[error("producer {0} is not in the right state of a transaction")]
    TransactionState(ProducerId),
    /// The batch begins a transaction: its coordinator has to be asked. Then the same batch may be appended with
    /// [`Voucher::Verified`].
    #[error("the coordinator of the transaction has to be asked")]
    NeedsVerification(Guard),
    /// A newer coordinator has written a marker for this producer (TRANSACTION_COORDINATOR_FENCED).
    #[error("coordinator epoch {given} is older than {current}")]
    CoordinatorFenced {
        /// The marker's.
        given: i32,
        /// Of the producer's last marker.
        current: i32,
    },
    /// Larger than `segment.bytes` (RECORD_LIST_TOO_LARGE).
    #[error("a batch of {size_bytes} bytes does not fit into a segment of {segment_bytes}")]
    LargerThanSegment {
        /// The batch.
        size_bytes: usize,
        /// The setting.
        segment_bytes: u32,
    },
    /// The log would pass the largest offset.
    #[error("the log is full")]
    Full,
    /// Offsets of a followed leader that do not follow ours.
    #[error("batch {given} does not follow log end {log_end}")]
    UnexpectedOffset {
        /// First or last offset of the batch.
        given: Offset,
        /// Ours.
        log_end: Offset,
    },
    /// The disk failed: the directory is offline.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
}

/// What a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset, with the aborted transactions in between.
    ReadCommitted,
    /// Up to the log end: followers.
    LogEnd,
}

/// One partition of a Fetch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// First offset wanted; the batch that holds it is returned whole.
    pub offset: Offset,
    /// At most this many bytes; the last batch may be cut, but not the first.
    pub max_bytes: usize,
    /// Return the first batch even if it is larger.
    pub min_one_batch: bool,
    /// How far.
    pub isolation: Isolation,
    /// What the reader believes, if it says so.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record it has, if it says so.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Whether a replica that does not lead may answer too (KIP-392).
    pub from_any_replica: bool,
}

/// A range of batches, still where they are.
#[derive(Debug)]
pub enum Slice<F> {
    /// Nothing there yet.
    Empty,
    /// Bytes of a segment's file. Read them without the lock, then compare `truncations` with
    /// [`Partition::truncations`]: if it moved, throw them away and ask again.
    File {
        /// Stays readable even if the segment is deleted meanwhile.
        file: Arc<F>,
        /// First byte, the start of a batch.
        position: u64,
        /// How many; the last batch may be cut.
        size_bytes: usize,
        /// See above.
        truncations: u64,
    },
}

impl<F> Clone for Slice<F> {
    fn clone(&self) -> Slice<F> {
        match self {
            Slice::Empty => Slice::Empty,
            Slice::File { file, position, size_bytes, truncations } => Slice::File {
                file: Arc::clone(file),
                position: *position,
                size_bytes: *size_bytes,
                truncations: *truncations,
            },
        }
    }
}

impl<F> Slice<F> {
    /// How many bytes.
    pub fn size_bytes(&self) -> usize {
        match self {
            Slice::Empty => 0,
            Slice::File { size_bytes, .. } => *size_bytes,
        }
    }
}

/// The answer to a [`ReadRequest`].
#[derive(Debug, Clone)]
pub struct ReadInfo<F> {
    /// The batches.
    pub slice: Slice<F>,
    /// As they were before the read.
    pub marks: Marks,
    /// The reader's log is not a prefix of ours: where to cut it. The slice is empty then.
    pub diverging: Option<EpochEnd>,
    /// Transactions aborted within the slice, by first offset; `None` unless read_committed.
    pub aborted: Option<Vec<AbortedTransaction>>,
}

/// An aborted transaction that reaches into a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Of its first record.
    pub first_offset: Offset,
}

/// Where an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// First offset of the next epoch, or the log end.
    pub end_offset: Offset,
}

/// Why a read is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// This replica is not the leader that is meant.
    #[error(transparent)]
    Leadership(#[from] LeadershipError),
    /// Before the log start or behind the log end.
    #[error("offset {offset} is not between {log_start} and {log_end}")]
    OutOfRange {
        /// Asked for.
        offset: Offset,
        /// First readable.
        log_start: Offset,
        /// Next to be written.
        log_end: Offset,
    },
    /// The high watermark has not reached this leader's first offset yet (OFFSET_NOT_AVAILABLE).
    #[error("the high watermark is not known yet")]
    OffsetNotAvailable,
    /// The disk failed, or a batch there is damaged.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
}

/// What ListOffsets asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// −2
    Earliest,
    /// −1
    Latest,
    /// −3
    MaxTimestamp,
    /// −4
    EarliestLocal,
    /// −5
    LatestTiered,
    /// −6
    EarliestPendingUpload,
    /// The first record that is not older.
    Timestamp(Millis),
}

impl OffsetSpec {
    /// From the wire; `None` for negative numbers that mean nothing.
    pub fn from_wire(timestamp: i64) -> Option<OffsetSpec> {
        Some(match timestamp {
            -2 => OffsetSpec::Earliest,
            -1 => OffsetSpec::Latest,
            -3 => OffsetSpec::MaxTimestamp,
            -4 => OffsetSpec::EarliestLocal,
            -5 => OffsetSpec::LatestTiered,
            -6 => OffsetSpec::EarliestPendingUpload,
            0.. => OffsetSpec::Timestamp(Millis(timestamp)),
            _ => return None,
        })
    }
}

/// An offset that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Of the record, or [`Millis::NONE`] for offsets that are not a record's.
    pub timestamp: Millis,
    /// Where.
    pub offset: Offset,
    /// Of the record's batch, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
}

/// Why records are not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// The topic is compacted only (POLICY_VIOLATION).
    #[error("the topic is compacted only")]
    CompactedOnly,
    /// Negative or above the high watermark (OFFSET_OUT_OF_RANGE).
    #[error("offset {offset} is above the high watermark {high_watermark}")]
    OutOfRange {
        /// Asked for.
        offset: Offset,
        /// The end.
        high_watermark: Offset,
    },
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
}

/// What a tick decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Files to remove later.
    pub unlinks: Vec<Unlink>,
    /// The log start moved: checkpoint it.
    pub log_start_moved: bool,
    /// `flush.ms` has passed, or a segment was rolled: call [`Partition::prepare_flush`].
    pub flush_due: bool,
    /// Producers forgotten.
    pub producers_expired: usize,
}

/// What to flush without the lock: [`Flush::run`], then [`Partition::flushed`] with the token. If anything fails,
/// the directory is offline: never try again.
#[derive(Debug)]
pub struct Flush<F> {
    /// To be flushed first, in any order.
    pub files: Vec<Arc<F>>,
    /// To be flushed after the files, with [`Disk::flush_dir`].
    pub dirs: Vec<PathBuf>,
    /// Small files to be replaced at last.
    pub replace: Vec<(PathBuf, Vec<u8>)>,
    /// What it will have made durable.
    pub token: FlushToken,
}

impl<F: DiskFile> Flush<F> {
    /// Does all of it, one after the other.
    pub fn run<D: Disk>(&self, disk: &D) -> io::Result<FlushToken> {
        for file in &self.files {
            file.flush()?;
        }
        for dir in &self.dirs {
            disk.flush_dir(dir)?;
        }
        for (path, contents) in &self.replace {
            replace_file(disk, path, contents)?;
        }
        Ok(self.token)
    }
}

/// What a [`Flush`] makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushToken {
    /// Everything before.
    pub(crate) end: Offset,
    /// The segment that was active.
    pub(crate) active: Offset,
    pub(crate) truncations: u64,
    pub(crate) appended: Volume,
    /// Names in the directory too.
    pub(crate) names: bool,
}

/// What became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Every record before is on the device; checkpoint it.
    pub recovery_point: Offset,
    /// The high watermark moved with it.
    pub high_watermark_moved: bool,
}

/// One producer that this partition remembers, for DescribeProducers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    /// Whose.
    pub producer_id: ProducerId,
    /// Newest seen.
    pub producer_epoch: ProducerEpoch,
    /// Last appended, or −1.
    pub last_sequence: Sequence,
    /// Of its last batch.
    pub last_timestamp: Millis,
    /// Of its last transaction marker, or −1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub open_transaction: Option<Offset>,
}
