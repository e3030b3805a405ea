//! Which partition a record goes to: the one it names, the one of its key, or without a key one that stays the same
//! until a batch's worth of bytes has gone there (KIP-794), so that batches fill.

use std::collections::BTreeMap;

use milena_base::Random;

use crate::ProducedRecord;
use crate::cluster::TopicView;

/// Chooses partitions; remembers where records without keys go.
pub(super) struct Partitioner {
    sticky_bytes: usize,
    random: Random,
    sticky: BTreeMap<String, Sticky>,
}

struct Sticky {
    partition: i32,
    bytes: usize,
}

impl Partitioner {
    pub(super) fn new(sticky_bytes: usize, seed: u64) -> Partitioner {
        Partitioner { sticky_bytes, random: Random::from_seed(seed), sticky: BTreeMap::new() }
    }

    /// `None` if the topic does not have the partition, or none at all.
    pub(super) fn choose(&mut self, record: &ProducedRecord, topic: &TopicView, size_bytes: usize) -> Option<i32> {
        let count = i32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
        match (record.partition, &record.key) {
            (Some(partition), _) => topic.partitions.contains_key(&partition).then_some(partition),
            (None, Some(key)) => Some(partition_of_key(key, count)),
            (None, None) => Some(self.stick(topic, count, size_bytes)),
        }
    }

    fn stick(&mut self, topic: &TopicView, count: i32, size_bytes: usize) -> i32 {
        let random = &mut self.random;
        let limit = self.sticky_bytes;
        let sticky = self.sticky.entry(topic.name.clone()).or_insert(Sticky { partition: -1, bytes: usize::MAX });
        if sticky.bytes >= limit || sticky.partition >= count {
            *sticky = Sticky { partition: another(random, topic, sticky.partition), bytes: 0 };
        }
        sticky.bytes += size_bytes;
        sticky.partition
    }
}

/// A partition with a leader, and not the former one if there is a choice.
fn another(random: &mut Random, topic: &TopicView, former: i32) -> i32 {
    let led = topic.partitions.iter().filter(|(_, partition)| partition.leader.is_some()).map(|(number, _)| *number);
    let mut choices: Vec<i32> = led.collect();
    if choices.is_empty() {
        choices = topic.partitions.keys().copied().collect();
    }
    if choices.len() > 1 {
        choices.retain(|number| *number != former);
    }
    choices[random.below(choices.len() as u64) as usize]
}

/// The partition of a key among `count`, as Kafka's Java clients choose it: murmur2 of the key, top bit cleared,
/// modulo `count` (`BuiltInPartitioner.partitionForKey`).
///
/// # Panics
/// If `count` is not positive.
pub fn partition_of_key(key: &[u8], count: i32) -> i32 {
    assert!(count > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) as i32 % count
}

/// MurmurHash2 by Austin Appleby, with the seed that Kafka uses (`Utils.murmur2`).
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0u32, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PartitionView;
    use milena_protocol::{LeaderEpoch, NodeId, Uuid};

    #[test]
    fn keys_hash_as_in_java() {
        // Computed by `org.apache.kafka.common.utils.Utils.murmur2` of kafka-clients 4.3.1.
        let expected: [(&[u8], i32); 6] = [
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            (b"abc", 479470107),
        ];
        for (key, hash) in expected {
            assert_eq!(murmur2(key) as i32, hash, "{key:?}");
        }
    }

    fn topic(partitions: i32) -> TopicView {
        let led = PartitionView {
            leader: Some(NodeId(1)),
            leader_epoch: LeaderEpoch(0),
            replicas: vec![],
            isr: vec![],
            offline: vec![],
        };
        TopicView {
            name: "t".to_owned(),
            id: Uuid::ZERO,
            is_internal: false,
            partitions: (0..partitions).map(|number| (number, led.clone())).collect(),
        }
    }

    #[test]
    fn records_without_a_key_stay_until_a_batch_is_full_then_move() {
        let mut partitioner = Partitioner::new(100, 1);
        let (topic, record) = (topic(3), ProducedRecord::new("t", "v"));
        let choices: Vec<i32> = (0..100).map(|_| partitioner.choose(&record, &topic, 10).unwrap()).collect();
        assert!(choices.chunks(10).all(|run| run.iter().all(|choice| *choice == run[0])));
        assert!(choices.chunks(10).zip(choices.chunks(10).skip(1)).all(|(one, next)| one[0] != next[0]));
    }

    #[test]
    fn a_partition_that_does_not_exist_is_not_chosen() {
        let mut partitioner = Partitioner::new(100, 1);
        let record = ProducedRecord { partition: Some(3), ..ProducedRecord::new("t", "v") };
        assert_eq!(partitioner.choose(&record, &topic(3), 10), None);
    }
}
