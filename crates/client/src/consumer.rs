//! Reads records: from partitions that it is given, or as a member of a group that shares the partitions of its
//! topics (the classic group protocol, range assignor, eager rebalancing).
//!
//! Everything happens in [`Consumer::next`]: the owner asks for the next event and gets records, or learns which
//! partitions were assigned or revoked. Only heartbeats and fetches run beside it, so that a member stays alive and
//! the next records are under way while the owner works. `next` may be dropped at any point without loss.
//!
//! ```text
//!  next ──► group: join, revoke, assign ──► positions ──► commit when due ──► records at hand?
//!    ▲                                                                          │no
//!    └──────────── a fetch came back, the group calls ◄── fetch from leaders ◄──┘
//! ```

mod aborted;
mod assignor;
mod fetching;
mod group;
mod positions;

use std::collections::BTreeMap;
use std::time::Duration;

use milena_base::Millis;
use milena_protocol::records::RecordView;
use milena_protocol::{ErrorCode, Offset, TopicPartition};
use tokio::time::{Instant, sleep_until, timeout};

use crate::admin::{Committer, OffsetSpec, commit_group_offsets, fetch_group_offsets, find_offset};
use crate::cluster::ConsumerNumber;
use crate::{Cluster, Error};
use fetching::Fetching;
use group::{Group, Step};
use positions::Positions;

/// How a consumer behaves. The names in brackets are Kafka's.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The group that it belongs to, or stores its offsets for (`group.id`).
    pub group: Option<String>,
    /// Keeps its partitions over a short absence (`group.instance.id`, KIP-345).
    pub instance_id: Option<String>,
    /// How long a member may be silent (`session.timeout.ms`).
    pub session_timeout: Duration,
    /// How often it shows itself (`heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// How long its owner may take between two calls of [`Consumer::next`] before it leaves the group
    /// (`max.poll.interval.ms`); also how long others wait for it in a rebalance.
    pub poll_interval_max: Duration,
    /// How long a coordinator that cannot be found, or refuses, is asked again before the first join fails. A member
    /// that was in the group once asks for ever: its brokers may take long to come back.
    pub join_timeout: Duration,
    /// Where to begin without a stored offset, or with one that is no longer there (`auto.offset.reset`).
    pub reset: Reset,
    /// How often offsets are stored by themselves; `None` never (`auto.commit.interval.ms`, `enable.auto.commit`).
    pub commit_interval: Option<Duration>,
    /// How long a broker waits for records (`fetch.max.wait.ms`).
    pub fetch_wait: Duration,
    /// How many bytes it waits for (`fetch.min.bytes`).
    pub fetch_bytes_min: i32,
    /// The most bytes of one answer (`fetch.max.bytes`), but for a first batch that is larger.
    pub fetch_bytes_max: i32,
    /// The most bytes of a partition in one answer (`max.partition.fetch.bytes`), with the same exception.
    pub partition_bytes_max: i32,
    /// The most records of one event (`max.poll.records`). A partition with at least as many at hand is not fetched.
    pub event_records_max: usize,
    /// The most bytes that one batch may inflate to; a larger one is an error.
    pub inflated_bytes_max: usize,
    /// Which records of transactions are given out (`isolation.level`).
    pub isolation: Isolation,
}

/// Which records of transactions are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All of them.
    #[default]
    ReadUncommitted,
    /// Those that were committed. Reading ends at the last stable offset: before the first open transaction.
    ReadCommitted,
}

impl Isolation {
    /// `IsolationLevel`'s number.
    pub(crate) fn number(self) -> i8 {
        match self {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }
}

/// Where to begin without a valid offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At the log start.
    Earliest,
    /// At the log end.
    Latest,
    /// Nowhere: it is an error.
    Fail,
}

impl Default for ConsumerSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        ConsumerSettings {
            group: None,
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            poll_interval_max: Duration::from_secs(300),
            join_timeout: Duration::MAX,
            reset: Reset::Latest,
            commit_interval: Some(Duration::from_secs(5)),
            fetch_wait: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            event_records_max: 500,
            inflated_bytes_max: 256 * 1024 * 1024,
            isolation: Isolation::ReadUncommitted,
        }
    }
}

/// What happened next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Records of one partition, in order.
    Records(FetchedRecords),
    /// The group has given these partitions to this member; they are all that it has.
    Assigned(Vec<TopicPartition>),
    /// The group is about to divide its partitions anew, and takes these back. Offsets can still be stored until
    /// [`Consumer::next`] is called again.
    Revoked(Vec<TopicPartition>),
    /// The group went on without this member; others may read these partitions already.
    Lost(Vec<TopicPartition>),
}

/// Records that were read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRecords {
    /// Where they are from.
    pub partition: TopicPartition,
    /// The records; at least one.
    pub records: Vec<RecordView>,
    /// Where the partition ended for consumers when they were read.
    pub high_watermark: Offset,
    /// Where it ended for readers of committed records: the first offset of the oldest open transaction, if there is one.
    pub last_stable: Offset,
}

/// Where to begin reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    Offset(Offset),
    /// At the log start.
    Earliest,
    /// At the log end.
    Latest,
    /// At the first record of this time or later; at the log end if there is none.
    Time(Millis),
    /// At the group's stored offset, else where [`ConsumerSettings::reset`] says.
    Stored,
}

/// Reads records from a cluster. It has one owner, who calls [`Consumer::next`] again and again.
pub struct Consumer {
    cluster: Cluster,
    number: ConsumerNumber,
    settings: ConsumerSettings,
    positions: Positions,
    fetching: Fetching,
    group: Option<Group>,
    commit_due: Option<Instant>,
}

impl Consumer {
    /// A consumer that reads nothing yet.
    pub fn open(cluster: &Cluster, settings: ConsumerSettings) -> Consumer {
        let number = cluster.number_consumer();
        Consumer {
            cluster: cluster.clone(),
            number,
            positions: Positions::default(),
            fetching: Fetching::new(number),
            group: None,
            commit_due: settings.commit_interval.map(|interval| Instant::now() + interval),
            settings,
        }
    }

    /// Joins its group to read these topics. It replaces what was read before.
    pub async fn subscribe(&mut self, topics: &[String]) -> Result<(), Error> {
        if self.settings.group.is_none() {
            return Err(Error::Misuse("a subscription needs a group"));
        }
        self.leave().await?;
        self.group = Some(Group::new(&self.cluster, self.number, &self.settings, topics));
        Ok(())
    }

    /// Reads these partitions, without asking a group. It replaces what was read before.
    pub async fn assign(&mut self, partitions: &[(TopicPartition, Start)]) -> Result<(), Error> {
        self.leave().await?;
        self.positions.replace(partitions.iter().map(|(partition, _)| partition.clone()));
        for (partition, start) in partitions {
            let spec = match start {
                Start::Offset(offset) => {
                    self.positions.seek(partition, *offset);
                    continue;
                }
                Start::Stored => continue,
                Start::Earliest => OffsetSpec::Earliest,
                Start::Latest => self.end(),
                Start::Time(time) => OffsetSpec::At(*time),
            };
            let offset = self.find(partition, spec).await?;
            self.positions.seek(partition, offset);
        }
        Ok(())
    }

    /// What it reads now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.positions.partitions()
    }

    /// The offset of the next record that [`Consumer::next`] gives out for a partition, once known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.position(partition)
    }

    /// How many offsets lie between the position and the end that this consumer can read to, as of the last fetch: the high
    /// watermark, or the last stable offset. `None` before the first fetch.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        self.positions.lag(partition, self.settings.isolation)
    }

    /// Goes on at another offset. Errors if the partition is not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        match self.positions.seek(partition, offset) {
            true => Ok(()),
            false => Err(Error::Misuse("only assigned partitions can be sought in")),
        }
    }

    /// Gives out no records of a partition until [`Consumer::resume`].
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.positions.set_paused(partition, true);
    }

    /// Ends a pause.
    pub fn resume(&mut self, partition: &TopicPartition) {
        self.positions.set_paused(partition, false);
    }

    /// Waits for the next event. Asking again says that all records given out before are done with: from then on
    /// their offsets are stored when that is due.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.follow_group().await? {
                return Ok(event);
            }
            self.find_positions().await?;
            if self.commit_due.is_some_and(|due| due <= Instant::now()) {
                self.commit_automatically().await?;
            }
            if let Some(records) = self.positions.take_records(self.settings.event_records_max) {
                // While the owner works on these the next ones are fetched.
                self.fetching.start(&self.cluster, &self.settings, &mut self.positions);
                return Ok(Event::Records(records));
            }
            self.fetching.start(&self.cluster, &self.settings, &mut self.positions);
            self.wait().await?;
        }
    }

    /// Like [`Consumer::next`], but `None` when nothing happens for so long.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, Error> {
        timeout(limit, self.next()).await.ok().transpose()
    }

    /// As whom its group's offsets are stored now, for [`crate::Transaction::send_offsets`].
    pub fn committer(&self) -> Result<Committer, Error> {
        match (&self.group, &self.settings.group) {
            (Some(group), _) => group.committer(),
            (None, Some(group)) => Ok(Committer::nobody(group.clone())),
            (None, None) => Err(Error::Misuse("a commit needs a group")),
        }
    }

    /// Goes on where the group's stored offsets are: what was given out since is given out again. For the owner of a
    /// transaction that was aborted.
    pub fn rewind(&mut self) {
        self.positions.forget();
    }

    /// The positions of assigned partitions, as far as they are not stored for the group yet: also of those from which
    /// nothing was read, for a group that stores nothing there would begin by its reset policy the next time. After
    /// [`Event::Revoked`] those of its partitions are among them, until [`Consumer::next`] is called again.
    pub fn uncommitted(&self) -> BTreeMap<TopicPartition, Offset> {
        self.positions.uncommitted()
    }

    /// Stores the positions of all assigned partitions for the group.
    pub async fn commit(&mut self) -> Result<(), Error> {
        let offsets = self.uncommitted();
        self.commit_offsets(&offsets).await
    }

    /// Stores these offsets for the group: each that of the next record to be read. An error for which
    /// [`Error::is_group_change`] holds stores nothing and ends nothing: [`Consumer::next`] says what became of the
    /// partitions, and joins again.
    pub async fn commit_offsets(&mut self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<(), Error> {
        if offsets.is_empty() && self.settings.group.is_some() {
            return Ok(());
        }
        let committer = self.committer()?;
        let mut retry = self.cluster.retry();
        loop {
            match commit_group_offsets(&self.cluster, &committer, offsets).await {
                Ok(()) => break,
                Err(error) if error.is_group_change() => {
                    if let Some(group) = &mut self.group {
                        group.note_refused(&error);
                    }
                    return Err(error);
                }
                Err(error) => {
                    self.cluster.forget_coordinator(&committer.group);
                    retry.again(error).await?;
                }
            }
        }
        self.positions.note_committed(offsets);
        Ok(())
    }

    /// Stores offsets if it does so by itself, and leaves its group at once rather than by silence.
    pub async fn close(mut self) -> Result<(), Error> {
        self.leave().await
    }

    async fn leave(&mut self) -> Result<(), Error> {
        let committed = match self.commit_due {
            Some(_) => self.commit_automatically().await,
            None => Ok(()),
        };
        if let Some(group) = self.group.take() {
            group.leave().await;
        }
        self.positions.replace(std::iter::empty());
        committed
    }

    /// Lets the group take its next step, if it has one to take.
    async fn follow_group(&mut self) -> Result<Option<Event>, Error> {
        let Some(group) = &mut self.group else { return Ok(None) };
        self.positions.go_on();
        match group.step().await? {
            Step::Stay => Ok(None),
            Step::Assigned(partitions) => {
                self.positions.replace(partitions.iter().cloned());
                Ok(Some(Event::Assigned(partitions)))
            }
            Step::Revoke => {
                if self.commit_due.is_some() {
                    self.commit_automatically().await?;
                }
                if let Some(group) = &mut self.group {
                    group.release();
                }
                // What is revoked is no longer fetched or given out, but can still be committed by name.
                Ok(Some(Event::Revoked(self.positions.stop())).filter(|event| *event != Event::Revoked(Vec::new())))
            }
            Step::Lost => {
                let lost = self.positions.stop();
                self.positions.go_on();
                Ok(Some(Event::Lost(lost)).filter(|event| *event != Event::Lost(Vec::new())))
            }
        }
    }

    /// Finds out where to begin in partitions without a position.
    async fn find_positions(&mut self) -> Result<(), Error> {
        let unknown = self.positions.unknown();
        if unknown.is_empty() {
            return Ok(());
        }
        let stored = match &self.settings.group {
            Some(group) if unknown.iter().any(|(_, must_reset)| !must_reset) => self.stored(group, &unknown).await?,
            _ => BTreeMap::new(),
        };
        for (partition, must_reset) in unknown {
            let offset = match stored.get(&partition).filter(|_| !must_reset) {
                Some(offset) => *offset,
                None => self.reset(&partition).await?,
            };
            self.positions.seek(&partition, offset);
        }
        Ok(())
    }

    async fn stored(
        &self,
        group: &str,
        partitions: &[(TopicPartition, bool)],
    ) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let names: Vec<TopicPartition> = partitions.iter().map(|(partition, _)| partition.clone()).collect();
        let mut retry = self.cluster.retry();
        loop {
            match fetch_group_offsets(&self.cluster, group, Some(&names)).await {
                Ok(stored) => {
                    return Ok(stored.into_iter().map(|(partition, stored)| (partition, stored.offset)).collect());
                }
                Err(error) => {
                    self.cluster.forget_coordinator(group);
                    retry.again(error).await?;
                }
            }
        }
    }

    async fn reset(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        match self.settings.reset {
            Reset::Earliest => self.find(partition, OffsetSpec::Earliest).await,
            Reset::Latest => self.find(partition, self.end()).await,
            Reset::Fail => Err(Error::Refused {
                what: format!("partition {partition} has no offset to begin at"),
                code: ErrorCode::OffsetOutOfRange,
                message: None,
            }),
        }
    }

    /// Where reading ends.
    fn end(&self) -> OffsetSpec {
        match self.settings.isolation {
            Isolation::ReadUncommitted => OffsetSpec::Latest,
            Isolation::ReadCommitted => OffsetSpec::LastStable,
        }
    }

    async fn find(&self, partition: &TopicPartition, spec: OffsetSpec) -> Result<Offset, Error> {
        match find_offset(&self.cluster, partition, spec).await?.offset {
            Some(offset) => Ok(offset),
            // No record is that young.
            None => {
                let end = find_offset(&self.cluster, partition, self.end()).await?.offset;
                end.ok_or_else(|| Error::Missing { what: format!("the end of partition {partition}") })
            }
        }
    }

    /// Stores positions. During a rebalance that fails, which is no error: the group's next step tells it.
    async fn commit_automatically(&mut self) -> Result<(), Error> {
        self.commit_due = self.settings.commit_interval.map(|interval| Instant::now() + interval);
        if self.settings.group.is_none() {
            return Ok(());
        }
        match self.commit().await {
            Err(error) if error.is_group_change() => {
                tracing::debug!(%error, "offsets were not stored");
                Ok(())
            }
            other => other,
        }
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) -> Result<(), Error> {
        let dues = [self.commit_due, self.positions.next_due(), Group::next_due(self.group.as_ref())];
        let due = dues.into_iter().flatten().min();
        tokio::select! {
            biased;
            () = Group::called(self.group.as_mut()) => Ok(()),
            fetched = self.fetching.next() => {
                self.positions.take_in(fetched, &self.cluster, &self.settings).await
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Ok(()),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.cluster.forget_consumer(self.number);
    }
}
