//! Where records wait for their batch and batches for their turn. It decides what may be sent now; it does not send.
//!
//! Order within a partition: batches leave in the order of their numbers. Up to the producer's bound several may
//! be in flight; once one must be sent again, it and those behind it go alone, one after the other, so that the
//! broker sees their sequences in order (`Sender` and `TransactionManager` of Kafka's producer do the same).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use milena_base::Millis;
use milena_protocol::records::BatchBuilder;
use milena_protocol::{Sequence, TopicPartition};
use tokio::sync::watch;
use tokio::time::Instant;

use super::batch::{Batch, Contents};
use super::delivery::Delivery;
use crate::ProducedRecord;

/// All that waits in a producer.
pub(super) struct Accumulator {
    batch_bytes: usize,
    linger: Duration,
    delivery_timeout: Duration,
    queues: BTreeMap<TopicPartition, Queue>,
    /// Batches whose outcome is not known.
    unresolved: BTreeSet<u64>,
    next_number: u64,
    is_closed: bool,
}

/// What waits for one partition.
#[derive(Default)]
struct Queue {
    /// In order of their numbers; all but the last are complete.
    waiting: VecDeque<Batch>,
    /// Whether the last one still takes records.
    is_last_open: bool,
    in_flight: BTreeSet<u64>,
    next_sequence: Sequence,
}

/// What [`Accumulator::add`] did.
pub(super) struct Taken {
    pub(super) delivery: Delivery,
    /// Whether the sender's plans may have changed.
    pub(super) wakes_sender: bool,
}

impl Accumulator {
    pub(super) fn new(batch_bytes: usize, linger: Duration, delivery_timeout: Duration) -> Accumulator {
        Accumulator {
            batch_bytes,
            linger,
            delivery_timeout,
            queues: BTreeMap::new(),
            unresolved: BTreeSet::new(),
            next_number: 0,
            is_closed: false,
        }
    }

    /// Puts a record into its partition's open batch. `None` once closed.
    pub(super) fn add(
        &mut self,
        now: Instant,
        partition: TopicPartition,
        record: ProducedRecord,
        timestamp: Millis,
        size_bytes: usize,
    ) -> Option<Taken> {
        if self.is_closed {
            return None;
        }
        let queue = self.queues.entry(partition.clone()).or_default();
        let mut wakes_sender = false;
        if !queue.has_room(size_bytes, self.batch_bytes) {
            queue.waiting.push_back(open_batch(now, self.next_number, partition.clone()));
            queue.is_last_open = true;
            self.unresolved.insert(self.next_number);
            self.next_number += 1;
            wakes_sender = true;
        }
        let batch = queue.waiting.back_mut().expect("an open batch is the last one");
        let Contents::Open(builder) = &mut batch.contents else { unreachable!("only complete batches are sealed") };
        let filled_bytes = builder.add(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        let index = batch.record_count;
        batch.record_count += 1;
        batch.reserved_bytes += size_bytes;
        let delivery = Delivery { partition, index, outcome: batch.outcome.subscribe() };
        if filled_bytes >= self.batch_bytes {
            queue.is_last_open = false;
            wakes_sender = true;
        }
        Some(Taken { delivery, wakes_sender })
    }

    /// Lets all open batches go. Answers the number that the next batch will have.
    pub(super) fn finish_open(&mut self) -> u64 {
        for queue in self.queues.values_mut() {
            queue.is_last_open = false;
        }
        self.next_number
    }

    /// Takes no more records.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.finish_open();
    }

    /// Whether it is closed and empty.
    pub(super) fn is_done(&self) -> bool {
        self.is_closed && self.unresolved.is_empty()
    }

    /// Whether a batch is under way.
    pub(super) fn has_in_flight(&self) -> bool {
        self.queues.values().any(|queue| !queue.in_flight.is_empty())
    }

    /// Whether a batch waits, complete or not.
    pub(super) fn has_waiting(&self) -> bool {
        self.queues.values().any(|queue| !queue.waiting.is_empty())
    }

    /// Partitions whose next batch may be sent now.
    pub(super) fn ready(&self, now: Instant, in_flight_max: usize) -> Vec<TopicPartition> {
        let is_ready =
            |queue: &Queue| queue.may_send(in_flight_max) && queue.due(self.linger).is_some_and(|due| due <= now);
        self.queues.iter().filter(|(_, queue)| is_ready(queue)).map(|(partition, _)| partition.clone()).collect()
    }

    /// When the next batch becomes ready or too old, if nothing else happens.
    pub(super) fn next_due(&self, in_flight_max: usize) -> Option<Instant> {
        let dues = self.queues.values().filter_map(|queue| {
            let expiry = queue.waiting.front().map(|batch| batch.opened + self.delivery_timeout)?;
            let due = queue.due(self.linger).filter(|_| queue.may_send(in_flight_max));
            Some(due.map_or(expiry, |due| due.min(expiry)))
        });
        dues.min()
    }

    /// Takes the next batch of a partition out to be sent, with a sequence if the producer is idempotent.
    pub(super) fn take(&mut self, partition: &TopicPartition, is_idempotent: bool) -> Option<Batch> {
        let queue = self.queues.get_mut(partition)?;
        let mut batch = queue.waiting.pop_front()?;
        if queue.waiting.is_empty() {
            queue.is_last_open = false;
        }
        if is_idempotent && batch.sequence.is_none() {
            batch.sequence = Some(queue.next_sequence);
            queue.next_sequence = queue.next_sequence.plus(batch.record_count);
        }
        batch.attempts += 1;
        queue.in_flight.insert(batch.number);
        Some(batch)
    }

    /// Puts a batch back at its place, to be sent again from `not_before` on.
    pub(super) fn put_back(&mut self, mut batch: Batch, not_before: Instant) {
        batch.not_before = not_before;
        let queue = self.queues.entry(batch.partition.clone()).or_default();
        queue.in_flight.remove(&batch.number);
        let place = queue.waiting.partition_point(|other| other.number < batch.number);
        queue.waiting.insert(place, batch);
    }

    /// Forgets a batch whose outcome is known. Answers the number of the oldest one that is left.
    pub(super) fn resolved(&mut self, batch: &Batch) -> u64 {
        if let Some(queue) = self.queues.get_mut(&batch.partition) {
            queue.in_flight.remove(&batch.number);
        }
        self.unresolved.remove(&batch.number);
        self.unresolved.first().copied().unwrap_or(self.next_number)
    }

    /// Whether an earlier batch of the same partition has no outcome yet.
    pub(super) fn has_earlier(&self, batch: &Batch) -> bool {
        self.queues.get(&batch.partition).is_some_and(|queue| {
            queue.in_flight.first().is_some_and(|number| *number < batch.number)
                || queue.waiting.front().is_some_and(|other| other.number < batch.number)
        })
    }

    /// Takes out waiting batches that are older than the delivery timeout.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        for queue in self.queues.values_mut() {
            while queue.waiting.front().is_some_and(|batch| batch.opened + self.delivery_timeout <= now) {
                expired.extend(queue.waiting.pop_front());
            }
            queue.is_last_open &= !queue.waiting.is_empty();
        }
        expired
    }

    /// Takes out everything that waits.
    pub(super) fn take_all(&mut self) -> Vec<Batch> {
        let waiting = self.queues.values_mut().flat_map(|queue| {
            queue.is_last_open = false;
            std::mem::take(&mut queue.waiting)
        });
        waiting.collect()
    }

    /// Sequences begin anew, for a fresh producer id. Nothing may be in flight.
    pub(super) fn restart_sequences(&mut self) {
        assert!(!self.has_in_flight(), "a batch in flight has a sequence of the former producer id");
        for queue in self.queues.values_mut() {
            queue.next_sequence = Sequence(0);
            for batch in &mut queue.waiting {
                batch.sequence = None;
            }
        }
    }
}

impl Queue {
    fn has_room(&self, size_bytes: usize, batch_bytes: usize) -> bool {
        let last = self.waiting.back().filter(|_| self.is_last_open);
        last.is_some_and(|batch| match &batch.contents {
            Contents::Open(builder) => builder.size_bytes() + size_bytes <= batch_bytes,
            Contents::Sealed(_) => false,
        })
    }

    /// When its first batch may leave: at once if complete, after lingering if not, after its pause if sent before.
    fn due(&self, linger: Duration) -> Option<Instant> {
        let first = self.waiting.front()?;
        let is_open = self.is_last_open && self.waiting.len() == 1;
        let complete = if is_open { first.opened + linger } else { first.opened };
        Some(complete.max(first.not_before))
    }

    fn may_send(&self, in_flight_max: usize) -> bool {
        let is_retry = self.waiting.front().is_some_and(|batch| batch.attempts > 0);
        if is_retry { self.in_flight.is_empty() } else { self.in_flight.len() < in_flight_max }
    }
}

fn open_batch(now: Instant, number: u64, partition: TopicPartition) -> Batch {
    Batch {
        number,
        partition,
        contents: Contents::Open(BatchBuilder::new()),
        record_count: 0,
        sequence: None,
        attempts: 0,
        opened: now,
        not_before: now,
        reserved_bytes: 0,
        outcome: watch::channel(None).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(5);

    fn accumulator() -> Accumulator {
        Accumulator::new(200, LINGER, Duration::from_secs(120))
    }

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn add(accumulator: &mut Accumulator, now: Instant, value_bytes: usize) {
        let record = ProducedRecord::new("t", vec![b'x'; value_bytes]);
        accumulator.add(now, partition(), record, Millis(0), value_bytes).unwrap();
    }

    #[test]
    fn a_batch_lingers_unless_it_is_full() {
        let (mut accumulator, now) = (accumulator(), Instant::now());
        add(&mut accumulator, now, 10);
        assert!(accumulator.ready(now, 5).is_empty());
        assert_eq!(accumulator.next_due(5), Some(now + LINGER));
        assert_eq!(accumulator.ready(now + LINGER, 5), [partition()]);
        add(&mut accumulator, now, 150);
        assert_eq!(accumulator.ready(now, 5), [partition()], "the first batch is complete once a second one exists");
    }

    #[test]
    fn sequences_count_records_and_survive_retries() {
        let (mut accumulator, now) = (accumulator(), Instant::now());
        for _ in 0..3 {
            add(&mut accumulator, now, 120);
        }
        let first = accumulator.take(&partition(), true).unwrap();
        let second = accumulator.take(&partition(), true).unwrap();
        assert_eq!((first.sequence, second.sequence), (Some(Sequence(0)), Some(Sequence(1))));
        accumulator.put_back(second, now);
        assert!(accumulator.ready(now, 5).is_empty(), "a retry waits for those in flight before it");
        accumulator.put_back(first, now);
        assert_eq!(accumulator.ready(now, 5), [partition()]);
        let again = accumulator.take(&partition(), true).unwrap();
        assert_eq!((again.number, again.sequence), (0, Some(Sequence(0))));
        assert!(accumulator.ready(now, 5).is_empty(), "the second retry goes alone too");
        accumulator.resolved(&again);
        assert_eq!(accumulator.take(&partition(), true).unwrap().sequence, Some(Sequence(1)));
        assert_eq!(accumulator.take(&partition(), true).unwrap().sequence, Some(Sequence(2)));
    }

    #[test]
    fn the_oldest_unresolved_batch_is_told() {
        let (mut accumulator, now) = (accumulator(), Instant::now());
        add(&mut accumulator, now, 150);
        add(&mut accumulator, now, 150);
        let first = accumulator.take(&partition(), false).unwrap();
        let second = accumulator.take(&partition(), false).unwrap();
        assert!(accumulator.has_earlier(&second) && !accumulator.has_earlier(&first));
        assert_eq!(accumulator.resolved(&second), 0);
        assert_eq!(accumulator.resolved(&first), 2);
    }

    #[test]
    fn batches_expire_where_they_wait() {
        let (mut accumulator, now) = (accumulator(), Instant::now());
        add(&mut accumulator, now, 10);
        assert!(accumulator.take_expired(now + Duration::from_secs(119)).is_empty());
        assert_eq!(accumulator.take_expired(now + Duration::from_secs(120)).len(), 1);
        assert!(!accumulator.has_waiting());
        add(&mut accumulator, now, 10);
        assert!(accumulator.has_waiting(), "a new batch opens after the expired one");
    }
}
