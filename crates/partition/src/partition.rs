//! One replica of one partition: who may append and read what. All methods are short and run under one lock of
//! the caller; whatever may take long (flush, unlink) goes out as a value.
//!
//! Source: `Partition.scala`, `UnifiedLog` in Kafka 4.3.1.

mod compact;
mod open;
mod types;

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use milena_base::{Disk, DiskFile, Millis};
use milena_protocol::records::{Batch, BatchHeader, HEADER_BYTES};
use milena_protocol::{LeaderEpoch, Offset, TopicPartition, Uuid};

use crate::producers::{Beginning, Guard, Known, ProducerStates, snapshot};
use crate::transactions::Aborted;
use crate::{Log, LogSettings, ValidBatch, names};
use open::{claim_directory, load_producers};
pub use types::*;

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
    /// A compaction is under way: retention waits for its end.
    compacting: bool,
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
            compacting: false,
        };
        partition.producers.on_high_watermark(high_watermark);
        Ok((partition, recovered))
    }

    /// Leads from now on in `epoch`. The same epoch again changes nothing; an older one is refused.
    pub fn lead(&mut self, epoch: LeaderEpoch) -> Result<(), LeadershipError> {
        if epoch < self.epoch {
            return Err(LeadershipError::FencedLeaderEpoch { given: epoch, current: self.epoch });
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

    /// Stops leading, since another replica or none leads in `epoch`: only those read from now on who take any replica.
    pub fn resign(&mut self, epoch: LeaderEpoch) {
        self.leads = false;
        self.epoch = self.epoch.max(epoch);
    }

    /// Appends one batch. `expected` fences callers that know an older epoch (coordinators); a producer has none.
    /// `voucher` says who answers for it, should it belong to a transaction.
    pub fn append(
        &mut self,
        now: Millis,
        batch: &ValidBatch,
        expected: Option<LeaderEpoch>,
        voucher: Voucher,
    ) -> Result<Appended, AppendError> {
        self.check_append(batch, expected)?;
        if let Known::Duplicate(mark) = self.check_producer(now, batch, voucher)? {
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
        self.offline |= written.as_ref().is_err_and(|error| !is_disk_full(error));
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

    /// What a transaction's coordinator has to be asked with before the transaction may begin here, with
    /// [`Voucher::Verified`]; `None` where it has begun already, so that [`Voucher::Wanted`] is enough.
    ///
    /// # Errors
    /// [`LeadershipError::NotLeader`], or [`AppendError::InvalidProducerEpoch`] where a newer epoch was seen.
    pub fn question(&mut self, now: Millis, beginning: &Beginning) -> Result<Option<Guard>, AppendError> {
        match self.leads {
            true => self.producers.question(now, beginning),
            false => Err(LeadershipError::NotLeader.into()),
        }
    }

    fn check_producer(&mut self, now: Millis, batch: &ValidBatch, voucher: Voucher) -> Result<Known, AppendError> {
        match voucher {
            Voucher::Marker { transaction_version } => {
                self.producers.check_marker(batch.batch(), transaction_version).map(|()| Known::New)
            }
            _ => self.producers.check(now, batch.header(), batch.origin(), voucher),
        }
    }

    fn check_append(&self, batch: &ValidBatch, expected: Option<LeaderEpoch>) -> Result<(), AppendError> {
        if self.offline {
            return Err(AppendError::Disk(offline()));
        }
        self.check_leadership(expected)?;
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
            self.write_snapshot(header.base_offset).map_err(io::Error::other)?;
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
        match self.check_leadership(request.current_leader_epoch) {
            Err(LeadershipError::NotLeader) if request.from_any_replica => {}
            checked => checked?,
        }
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

    /// Whether this replica leads, in the epoch that the caller knows if it names one.
    fn check_leadership(&self, given: Option<LeaderEpoch>) -> Result<(), LeadershipError> {
        let current = self.epoch;
        let given = given.unwrap_or(current);
        match given.cmp(&current) {
            Ordering::Less => Err(LeadershipError::FencedLeaderEpoch { given, current }),
            Ordering::Greater => Err(LeadershipError::UnknownLeaderEpoch { given, current }),
            Ordering::Equal if self.leads => Ok(()),
            Ordering::Equal => Err(LeadershipError::NotLeader),
        }
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
        self.check_leadership(current_leader_epoch)?;
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
        self.check_leadership(current_leader_epoch)?;
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
        let unlinks = self.retain(now)?;
        let log_start_moved = self.log.log_start() > log_start;
        if log_start_moved {
            self.producers.on_log_start(self.log.log_start());
        }
        let producers_expired = self.producers.expire(now, self.log.settings().producer_expiration_ms);
        Ok(Effects { unlinks, log_start_moved, flush_due: self.flush_due(now), producers_expired })
    }

    fn retain(&mut self, now: Millis) -> io::Result<Vec<Unlink>> {
        if self.compacting {
            return Ok(Vec::new());
        }
        let retained = self.log.retain(now, self.high_watermark);
        self.offline |= retained.is_err();
        retained
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
        self.is_flushed(high_watermark_moved)
    }

    /// Whether nothing is written any more.
    pub fn is_offline(&self) -> bool {
        self.offline
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
        Ok(self.is_flushed(false))
    }

    fn is_flushed(&self, high_watermark_moved: bool) -> Flushed {
        Flushed { recovery_point: self.log.recovery_point(), high_watermark_moved }
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

    /// What is measured of its log.
    pub fn figures(&self) -> crate::log::Figures {
        self.log.figures()
    }

    /// Bytes appended but not yet flushed.
    pub fn unflushed_bytes(&self) -> u64 {
        self.log.unflushed().bytes
    }

    /// Every record before is on the device: for the checkpoint.
    pub fn recovery_point(&self) -> Offset {
        self.log.recovery_point()
    }

    /// How many producers it remembers.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
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

/// Whether a write failed for want of room: then nothing of it is left, and the next one may succeed.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn offline() -> io::Error {
    io::Error::other("the directory is offline")
}

#[cfg(test)]
mod tests;
