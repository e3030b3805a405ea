//! One replica of one partition: who may append and read what. All methods are short and run under one lock of
//! the caller; whatever may take long (flush, unlink) goes out as a value.
//!
//! Source: `Partition.scala`, `UnifiedLog` in Kafka 4.3.1.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use milena_base::disk::{read_file, replace_file};
use milena_base::{Disk, DiskFile, Millis};
use milena_protocol::records::{Batch, BatchHeader, HEADER_BYTES};
use milena_protocol::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition, Uuid};

use crate::log::Volume;
use crate::producers::{Known, ProducerStates, snapshot};
use crate::transactions::Aborted;
use crate::walk::read_batch;
use crate::{Log, LogSettings, ValidBatch, checkpoint, names};

/// What the directory's checkpoint files say about a log before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenHints {
    /// Everything before is flushed (`recovery-point-offset-checkpoint`; 0 if unknown).
    pub recovery_point: Offset,
    /// First readable offset (`log-start-offset-checkpoint`; 0 if unknown).
    pub log_start: Offset,
    /// As last checkpointed (`replication-offset-checkpoint`; 0 if unknown).
    pub high_watermark: Offset,
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

/// Why an append is refused. Nothing was written, but for `Disk`, after which the partition is offline.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
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
    /// At most this many bytes; the last batch may be cut.
    pub max_bytes: usize,
    /// Return the first batch whole even if it is larger.
    pub min_one_batch: bool,
    /// How far.
    pub isolation: Isolation,
    /// What the reader believes, if it says so.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record it has, if it says so.
    pub last_fetched_epoch: Option<LeaderEpoch>,
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
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// The reader knows an old leader epoch.
    #[error("leader epoch {given} is older than {current}")]
    FencedLeaderEpoch {
        /// The reader's.
        given: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
    /// The reader knows a leader epoch that we have not heard of.
    #[error("leader epoch {given} is newer than {current}")]
    UnknownLeaderEpoch {
        /// The reader's.
        given: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
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
    /// Everything before is on the device; checkpoint it as the recovery point.
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

/// One replica of one partition.
pub struct Partition<D: Disk> {
    topic_partition: TopicPartition,
    topic_id: Uuid,
    log: Log<D>,
    producers: ProducerStates,
    high_watermark: Offset,
    /// The newest epoch heard of, whoever led.
    epoch: LeaderEpoch,
    /// The log end when this replica began to lead.
    epoch_start: Offset,
    leads: bool,
    /// The disk failed: nothing is written any more.
    offline: bool,
}

impl<D: Disk> Partition<D> {
    /// Opens what is in `dir` (`LOG_DIR/TOPIC-PARTITION`), or creates it. After anything but a clean shutdown it
    /// reads the segments from the recovery point on and cuts them at the first bad batch.
    pub fn open(
        disk: D,
        dir: PathBuf,
        topic_partition: TopicPartition,
        topic_id: Uuid,
        settings: LogSettings,
        hints: OpenHints,
        now: Millis,
    ) -> Result<(Partition<D>, Recovered), OpenError> {
        claim_directory(&disk, &dir, topic_id)?;
        let failed = |source| OpenError::Disk { path: dir.clone(), source };
        let (mut log, recovered) = Log::open(disk, dir.clone(), settings, &hints, now)?;
        let producers = load_producers(&mut log, &hints, &recovered, now).map_err(failed)?;
        let high_watermark = hints.high_watermark.clamp(log.log_start(), log.log_end());
        let epoch = log.epochs().latest().unwrap_or(LeaderEpoch::NONE);
        let epoch_start = log.log_end();
        let mut partition = Partition {
            topic_partition,
            topic_id,
            log,
            producers,
            high_watermark,
            epoch,
            epoch_start,
            leads: false,
            offline: false,
        };
        partition.producers.on_high_watermark(high_watermark);
        Ok((partition, recovered))
    }

    /// Leads from now on in `epoch`. The same epoch again changes nothing; an older one is refused.
    pub fn lead(&mut self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        if epoch < self.epoch {
            return Err(AppendError::FencedLeaderEpoch { given: epoch, current: self.epoch });
        }
        if epoch > self.epoch || !self.leads {
            self.epoch = epoch;
            self.epoch_start = self.log.log_end();
            self.log.begin_epoch(epoch);
            self.leads = true;
        }
        self.advance_high_watermark();
        Ok(())
    }

    /// Stops leading: appends and reads of consumers are refused from now on.
    pub fn resign(&mut self) {
        self.leads = false;
    }

    /// Appends one batch. `expected` fences callers that know an older epoch (coordinators); a producer has none.
    pub fn append(
        &mut self,
        now: Millis,
        batch: &ValidBatch,
        expected: Option<LeaderEpoch>,
    ) -> Result<Appended, AppendError> {
        self.check_append(batch, expected)?;
        if let Known::Duplicate(mark) = self.producers.check(batch.header(), batch.origin())? {
            return Ok(Appended {
                base_offset: mark.first_offset(),
                last_offset: mark.last_offset,
                log_append_time: mark.timestamp,
                log_start: self.log.log_start(),
                duplicate: true,
                high_watermark_moved: false,
                flush_due: self.flush_due(now),
                rolled: false,
            });
        }
        let mut header = *batch.header();
        header.base_offset = self.log.log_end();
        header.partition_leader_epoch = self.epoch;
        let written = self.write(now, &header, batch);
        self.offline |= written.is_err();
        let rolled = written?;
        let high_watermark_moved = self.advance_high_watermark();
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time: batch.log_append_time(),
            log_start: self.log.log_start(),
            duplicate: false,
            high_watermark_moved,
            flush_due: self.flush_due(now),
            rolled,
        })
    }

    fn check_append(&self, batch: &ValidBatch, expected: Option<LeaderEpoch>) -> Result<(), AppendError> {
        if self.offline {
            return Err(AppendError::Disk(offline()));
        }
        if let Some(given) = expected {
            let current = self.epoch;
            match given.cmp(&current) {
                Ordering::Less => return Err(AppendError::FencedLeaderEpoch { given, current }),
                Ordering::Greater => return Err(AppendError::UnknownLeaderEpoch { given, current }),
                Ordering::Equal => {}
            }
        }
        if !self.leads {
            return Err(AppendError::NotLeader);
        }
        let (size_bytes, segment_bytes) = (batch.size_bytes(), self.log.settings().segment_bytes);
        if size_bytes as u64 > segment_bytes.into() {
            return Err(AppendError::LargerThanSegment { size_bytes, segment_bytes });
        }
        match self.log.log_end().0.checked_add(i64::from(batch.header().last_offset_delta) + 1) {
            Some(_) => Ok(()),
            None => Err(AppendError::Full),
        }
    }

    /// Writes a stamped batch and counts it. Answers whether a segment was rolled.
    fn write(&mut self, now: Millis, header: &BatchHeader, batch: &ValidBatch) -> io::Result<bool> {
        let bytes = batch.batch().bytes();
        let rolled = self.log.append(now, header, &bytes[HEADER_BYTES..])?;
        if rolled {
            // The producers as of the new segment's start, from which a crash would have to read.
            self.write_snapshot(header.base_offset)?;
        }
        if header.attributes.is_control() {
            let mut stamped = BytesMut::from(&bytes[..]);
            stamped[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
            let batch = Batch::parse(stamped.freeze()).map_err(io::Error::other)?;
            if let Some(aborted) = self.producers.count_marker(&batch).map_err(io::Error::other)? {
                self.log.note_aborted(&aborted)?;
            }
        } else {
            self.producers.count(header);
        }
        Ok(rolled)
    }

    fn write_snapshot(&self, at: Offset) -> io::Result<D::File> {
        let file = self.log.disk().open(&names::file(self.log.dir(), at, names::SNAPSHOT))?;
        let contents = snapshot::write(&self.producers);
        file.truncate(0)?;
        file.write_at(&contents, 0)?;
        Ok(file)
    }

    /// The one rule of what is safe: what every in-sync replica has. Alone, that is our own end; where the topic
    /// wants records flushed before they are acknowledged, our own end is the flushed one. Within a leader epoch
    /// the high watermark never moves back. Answers whether it moved.
    fn advance_high_watermark(&mut self) -> bool {
        let own_end = match self.log.settings().acknowledges_after_flush() {
            true => self.log.recovery_point(),
            false => self.log.log_end(),
        };
        let moves = self.leads && own_end > self.high_watermark;
        if moves {
            self.high_watermark = own_end;
            self.producers.on_high_watermark(own_end);
        }
        moves
    }

    /// Finds the batches from an offset on.
    pub fn read(&mut self, request: &ReadRequest) -> Result<ReadInfo<D::File>, ReadError> {
        self.check_reader(request.current_leader_epoch)?;
        let marks = self.marks();
        if let Some(diverging) = self.divergence(request, &marks)? {
            return Ok(ReadInfo { slice: Slice::Empty, marks, diverging: Some(diverging), aborted: None });
        }
        let bound = match request.isolation {
            Isolation::ReadUncommitted => marks.high_watermark,
            Isolation::ReadCommitted => marks.last_stable,
            Isolation::LogEnd => marks.log_end,
        };
        let slice = self.log.read(request.offset, request.max_bytes, request.min_one_batch, bound)?;
        let aborted = match request.isolation {
            Isolation::ReadCommitted => Some(self.aborted(request.offset, &slice)?),
            _ => None,
        };
        Ok(ReadInfo { slice, marks, diverging: None, aborted })
    }

    /// Where the reader's log stops being a prefix of ours, if it does.
    fn divergence(&self, request: &ReadRequest, marks: &Marks) -> Result<Option<EpochEnd>, ReadError> {
        let Some(fetched) = request.last_fetched_epoch else { return Ok(None) };
        let (log_start, log_end, offset) = (marks.log_start, marks.log_end, request.offset);
        let out_of_range = ReadError::OutOfRange { offset, log_start, log_end };
        let end = match self.log.epochs().end_of(fetched, log_end) {
            Some(end) if offset >= log_start => end,
            _ => return Err(out_of_range),
        };
        Ok((end.epoch < fetched || end.end_offset < offset).then_some(end))
    }

    fn aborted(&mut self, from: Offset, slice: &Slice<D::File>) -> io::Result<Vec<AbortedTransaction>> {
        let to = self.log.bound_behind(from, slice)?;
        let found = self.log.aborted(from, to)?;
        let public = |aborted: Aborted| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
        };
        Ok(found.into_iter().map(public).collect())
    }

    fn check_reader(&self, given: Option<LeaderEpoch>) -> Result<(), ReadError> {
        if let Some(given) = given {
            let current = self.epoch;
            match given.cmp(&current) {
                Ordering::Less => return Err(ReadError::FencedLeaderEpoch { given, current }),
                Ordering::Greater => return Err(ReadError::UnknownLeaderEpoch { given, current }),
                Ordering::Equal => {}
            }
        }
        if self.leads { Ok(()) } else { Err(ReadError::NotLeader) }
    }

    /// How often the log was cut: see [`Slice::File`].
    pub fn truncations(&self) -> u64 {
        self.log.truncations()
    }

    /// The offset for a point in time. May read batches from the disk and inflate one: not for a data core when
    /// `spec` is a timestamp. `None`: no such record.
    pub fn offset_for(
        &mut self,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<FoundOffset>, ReadError> {
        self.check_reader(current_leader_epoch)?;
        let marks = self.marks();
        let end = match isolation {
            Isolation::ReadUncommitted => marks.high_watermark,
            Isolation::ReadCommitted => marks.last_stable,
            Isolation::LogEnd => marks.log_end,
        };
        // A new leader does not know yet how far its predecessor's high watermark went.
        let lags = isolation != Isolation::LogEnd && self.epoch_start > marks.high_watermark;
        let of_log = |offset, leader_epoch| FoundOffset { timestamp: Millis::NONE, offset, leader_epoch };
        let found = match spec {
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                let first = self.log.epochs().entries().first().filter(|(_, start)| *start <= marks.log_start);
                let epoch = first.map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch);
                return Ok(Some(of_log(marks.log_start, epoch)));
            }
            OffsetSpec::Latest if lags => return Err(ReadError::OffsetNotAvailable),
            OffsetSpec::Latest => return Ok(Some(of_log(end, self.epoch))),
            OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => {
                return Ok(Some(of_log(Offset::NONE, LeaderEpoch::NONE)));
            }
            OffsetSpec::MaxTimestamp => self.log.find_newest()?,
            OffsetSpec::Timestamp(timestamp) => self.log.find_time(timestamp)?,
        };
        match found {
            Some(found) if found.offset < end => Ok(Some(found)),
            _ if lags => Err(ReadError::OffsetNotAvailable),
            _ => Ok(None),
        }
    }

    /// Where an epoch ends (OffsetForLeaderEpoch). `None`: the epoch is not known.
    pub fn end_offset_for_epoch(
        &self,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>, ReadError> {
        self.check_reader(current_leader_epoch)?;
        Ok(self.log.epochs().end_of(epoch, self.log.log_end()))
    }

    /// Moves the log start to `to`, or to the high watermark for `None`. Answers the new log start; the files go at
    /// the next tick.
    pub fn delete_records(&mut self, to: Option<Offset>) -> Result<Offset, DeleteRecordsError> {
        if !self.leads {
            return Err(DeleteRecordsError::NotLeader);
        }
        let cleanup = self.log.settings().cleanup;
        if cleanup.compact && !cleanup.delete {
            return Err(DeleteRecordsError::CompactedOnly);
        }
        let high_watermark = self.high_watermark;
        let offset = to.unwrap_or(high_watermark);
        if offset.0 < 0 || offset > high_watermark {
            return Err(DeleteRecordsError::OutOfRange { offset, high_watermark });
        }
        if self.log.advance_log_start(offset) {
            self.producers.on_log_start(offset);
        }
        Ok(self.log.log_start())
    }

    /// The offsets that bound it.
    pub fn marks(&self) -> Marks {
        let high_watermark = self.high_watermark;
        let unstable = self.producers.first_unstable().filter(|first| *first < high_watermark);
        let log_start = self.log.log_start();
        let last_stable = unstable.map_or(high_watermark, |first| first.max(log_start));
        Marks { log_start, last_stable, high_watermark, log_end: self.log.log_end() }
    }

    /// Every few minutes (`log.retention.check.interval.ms`): retention and forgotten producers.
    pub fn tick(&mut self, now: Millis) -> Result<Effects, io::Error> {
        if self.offline {
            return Err(offline());
        }
        let log_start = self.log.log_start();
        let retained = self.log.retain(now, self.high_watermark);
        self.offline |= retained.is_err();
        let unlinks = retained?;
        let log_start_moved = self.log.log_start() > log_start;
        if log_start_moved {
            self.producers.on_log_start(self.log.log_start());
        }
        let producers_expired = self.producers.expire(now, self.log.settings().producer_expiration_ms);
        Ok(Effects { unlinks, log_start_moved, flush_due: self.flush_due(now), producers_expired })
    }

    /// Whether `flush.messages` or `flush.ms` ask for a flush. With neither set, the kernel writes when it likes, and
    /// only a rolled segment is flushed in the background.
    pub fn flush_due(&self, now: Millis) -> bool {
        let settings = self.log.settings();
        let waited = self.log.unflushed_since().map_or(0, |since| (now - since).0);
        let after_flush = settings.acknowledges_after_flush();
        (after_flush && self.log.recovery_point() < self.log.log_end())
            || self.log.unflushed().records >= settings.flush_messages
            || waited >= settings.flush_ms
    }

    /// What has to be flushed to make everything appended so far durable; `None` if nothing has.
    pub fn prepare_flush(&mut self) -> Result<Option<Flush<D::File>>, io::Error> {
        if self.offline {
            return Err(offline());
        }
        let prepared = self.log.prepare_flush();
        self.offline |= prepared.is_err();
        prepared
    }

    /// What a [`Flush`] covers is on the device.
    pub fn flushed(&mut self, now: Millis, token: FlushToken) -> Flushed {
        self.log.flushed(now, token);
        let high_watermark_moved = self.advance_high_watermark();
        Flushed { recovery_point: self.log.recovery_point(), high_watermark_moved }
    }

    /// A flush failed, or the directory is offline for another reason: nothing is written any more.
    pub fn go_offline(&mut self) {
        self.offline = true;
    }

    /// Prepares, flushes and counts in one go, under the lock.
    pub fn flush(&mut self, now: Millis) -> Result<Flushed, io::Error> {
        if let Some(flush) = self.prepare_flush()? {
            let done = flush.run(self.log.disk());
            self.offline |= done.is_err();
            return Ok(self.flushed(now, done?));
        }
        Ok(Flushed { recovery_point: self.log.recovery_point(), high_watermark_moved: false })
    }

    /// Clean end: writes the producers' snapshot, trims the indexes, flushes. Answers the recovery point to be
    /// checkpointed.
    pub fn close(self) -> Result<Offset, io::Error> {
        if self.offline {
            return Err(offline());
        }
        let log_end = self.log.log_end();
        let path = names::file(self.log.dir(), log_end, names::SNAPSHOT);
        if log_end > self.log.log_start() && self.log.disk().open_existing(&path).is_err() {
            self.write_snapshot(log_end)?.flush()?;
            self.log.disk().flush_dir(self.log.dir())?;
        }
        self.log.close()
    }

    /// Takes other settings from now on.
    pub fn set_settings(&mut self, settings: LogSettings) {
        self.log.set_settings(settings);
        self.advance_high_watermark();
    }

    /// The settings in force.
    pub fn settings(&self) -> &LogSettings {
        self.log.settings()
    }

    /// Bytes of all segments' log files.
    pub fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// Bytes appended but not yet flushed.
    pub fn unflushed_bytes(&self) -> u64 {
        self.log.unflushed().bytes
    }

    /// Everything before is flushed.
    pub fn recovery_point(&self) -> Offset {
        self.log.recovery_point()
    }

    /// The producers it remembers, by id.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.producers.infos()
    }

    /// Which partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Of which topic.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The epoch it leads in, if it does.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leads.then_some(self.epoch)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    /// The log below, for tools and tests.
    pub fn log(&self) -> &Log<D> {
        &self.log
    }
}

fn offline() -> io::Error {
    io::Error::other("the directory is offline")
}

/// Checks or writes `partition.metadata`. It reaches the device with the first flush: until then no record is
/// promised to survive a power failure, and after one an empty file counts as none.
fn claim_directory<D: Disk>(disk: &D, dir: &Path, topic_id: Uuid) -> Result<(), OpenError> {
    let path = dir.join(names::PARTITION_METADATA);
    let failed = |source| OpenError::Disk { path: path.clone(), source };
    disk.create_dir_all(dir).map_err(failed)?;
    let contents = match read_file(disk, &path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    if contents.is_empty() {
        let file = disk.open(&path).map_err(failed)?;
        return file.write_at(&checkpoint::write_topic_id(topic_id), 0).map_err(failed);
    }
    match checkpoint::read_topic_id(&contents) {
        Some(found) if found == topic_id => Ok(()),
        Some(found) => Err(OpenError::OtherTopic { path: dir.to_owned(), expected: topic_id, found }),
        None => Err(OpenError::Malformed { path, reason: "no topic id".to_owned() }),
    }
}

/// The producers as of the log end: the newest sound snapshot, and the batches behind it. Aborted transactions of
/// segments whose indexes were made anew are noted again.
fn load_producers<D: Disk>(
    log: &mut Log<D>,
    hints: &OpenHints,
    recovered: &Recovered,
    now: Millis,
) -> io::Result<ProducerStates> {
    let scanned = recovered.first_scanned.unwrap_or(Offset(i64::MAX));
    let mut states = ProducerStates::starting_at(log.log_start());
    let snapshots = tidy_snapshots(log)?;
    if snapshots.is_empty() && hints.clean && recovered.first_scanned.is_none() {
        return Ok(ProducerStates::starting_at(log.log_end()));
    }
    for at in snapshots.into_iter().rev().filter(|at| *at <= scanned) {
        let path = names::file(log.dir(), at, names::SNAPSHOT);
        match snapshot::read(read_file(log.disk(), &path)?, at) {
            Ok(read) => {
                states = read;
                break;
            }
            // Worthless after a crash: an older one and more batches will do.
            Err(_) => log.disk().remove_file(&path)?,
        }
    }
    let mut aborted = Vec::new();
    let from = states.end();
    if from < log.log_end() {
        log.each_header(from, |file, position, header| {
            if header.attributes.is_control() {
                let batch = read_batch(file, position, header)?;
                // A control record that nobody understands decides nothing.
                if let Ok(Some(found)) = states.count_marker(&batch) {
                    aborted.push(found);
                }
            } else {
                states.count(header);
            }
            Ok(())
        })?;
    }
    for found in aborted.iter().filter(|found| found.last_offset >= scanned) {
        log.note_aborted(found)?;
    }
    states.expire(now, log.settings().producer_expiration_ms);
    Ok(states)
}

/// Removes snapshots that no start will ever use; answers the offsets of the others, growing.
fn tidy_snapshots<D: Disk>(log: &Log<D>) -> io::Result<Vec<Offset>> {
    let entries = log.disk().list(log.dir())?;
    let offsets = entries.iter().filter_map(|entry| names::parse(&entry.name));
    let mut offsets: Vec<Offset> =
        offsets.filter(|(_, suffix)| *suffix == names::SNAPSHOT).map(|(offset, _)| offset).collect();
    offsets.sort();
    let newest = offsets.iter().rev().find(|at| **at <= log.log_end()).copied();
    let bases: Vec<Offset> = log.segment_bases().collect();
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for at in offsets {
        let in_range = at > log.log_start() && at <= log.log_end();
        match in_range && (Some(at) == newest || bases.contains(&at)) {
            true => kept.push(at),
            false => gone.push(at),
        }
    }
    for at in gone {
        log.disk().remove_file(&names::file(log.dir(), at, names::SNAPSHOT))?;
    }
    Ok(kept)
}
