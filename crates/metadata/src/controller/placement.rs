//! Where replicas go: striped over racks and brokers, fenced brokers last, cordoned directories never.
//!
//! Each partition's replicas begin one rack further than the last one's; within a rack one broker further. After as
//! many partitions as there are unfenced brokers the order is shuffled, so that assignments do not repeat.
//!
//! Source: `StripedReplicaPlacer`; KIP-841, KIP-1066.

use milena_base::Random;
use milena_protocol::{ErrorCode, NodeId, Uuid};

use super::elections::UNASSIGNED;
use super::refusal::Refusal;
use crate::image::{Image, Partition};

/// Brokers of one rack and state, handed out in turn.
#[derive(Debug, Default)]
struct Ring {
    brokers: Vec<NodeId>,
    index: usize,
    offset: usize,
    round: usize,
}

impl Ring {
    /// The next broker of this round; `None` when all had their turn.
    fn next(&mut self, round: usize) -> Option<NodeId> {
        let len = self.brokers.len();
        if len == 0 {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.index = 0;
            self.offset = (self.offset + 1) % len;
        }
        if self.index >= len {
            return None;
        }
        self.index += 1;
        Some(self.brokers[(self.index - 1 + self.offset) % len])
    }
}

#[derive(Debug)]
struct Rack {
    name: Option<String>,
    fenced: Ring,
    unfenced: Ring,
}

/// Places partitions one after another.
#[derive(Debug)]
pub(super) struct Placer {
    racks: Vec<Rack>,
    unfenced: usize,
    round: usize,
    offset: usize,
    replication_factor: usize,
}

impl Placer {
    /// Errors with INVALID_REPLICATION_FACTOR where so many replicas cannot be placed.
    pub(super) fn new(image: &Image, replication_factor: i16, random: &mut Random) -> Result<Placer, Refusal> {
        let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        let wanted = match usize::try_from(replication_factor) {
            Ok(factor) if factor > 0 => factor,
            _ => {
                return refuse(format!(
                    "Invalid replication factor {replication_factor}: the replication factor must be positive."
                ));
            }
        };
        let mut racks: Vec<Rack> = Vec::new();
        let (mut total, mut unfenced) = (0, 0);
        for broker in image.brokers() {
            let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
            if broker.in_controlled_shutdown || broker.log_dirs.iter().all(|directory| cordoned.contains(directory)) {
                continue;
            }
            let at = racks.iter().position(|rack| rack.name == broker.rack).unwrap_or_else(|| {
                racks.push(Rack { name: broker.rack.clone(), fenced: Ring::default(), unfenced: Ring::default() });
                racks.len() - 1
            });
            let ring = if broker.fenced { &mut racks[at].fenced } else { &mut racks[at].unfenced };
            ring.brokers.push(broker.id);
            total += 1;
            unfenced += usize::from(!broker.fenced);
        }
        if unfenced == 0 {
            return refuse("All brokers are currently fenced, or have all their log directories cordoned.".into());
        }
        if wanted > total {
            return refuse(format!(
                "The target replication factor of {wanted} cannot be reached because only {total} broker(s) are \
                 registered or some brokers have all their log directories cordoned."
            ));
        }
        racks.sort_by(|one, two| one.name.cmp(&two.name));
        for ring in racks.iter_mut().flat_map(|rack| [&mut rack.fenced, &mut rack.unfenced]) {
            ring.offset = random.below(ring.brokers.len() as u64) as usize;
        }
        let offset = random.below(racks.len() as u64) as usize;
        Ok(Placer { racks, unfenced, round: 0, offset, replication_factor: wanted })
    }

    /// The replicas of the next partition: the first is unfenced.
    pub(super) fn place(&mut self, random: &mut Random) -> Vec<NodeId> {
        if self.round == self.unfenced && self.unfenced > 1 {
            self.shuffle(random);
            self.round = 0;
        }
        let count = self.racks.len();
        self.offset %= count;
        let (round, start) = (self.round, self.offset);
        let mut first_rack = start;
        let mut replicas = Vec::with_capacity(self.replication_factor);
        while replicas.is_empty() {
            match self.racks[first_rack].unfenced.next(round) {
                Some(broker) => replicas.push(broker),
                None => first_rack = (first_rack + 1) % count,
            }
        }
        let mut skip = Some(first_rack);
        let mut rack = start;
        // Ends: there are at least as many brokers as replicas, and each turn of the racks gives one of them.
        while replicas.len() < self.replication_factor {
            if skip == Some(rack) {
                skip = None;
            } else {
                let rack = &mut self.racks[rack];
                replicas.extend(rack.unfenced.next(round).or_else(|| rack.fenced.next(round)));
            }
            rack = (rack + 1) % count;
        }
        self.round += 1;
        self.offset += 1;
        replicas
    }

    fn shuffle(&mut self, random: &mut Random) {
        shuffle(&mut self.racks, random);
        for rack in &mut self.racks {
            shuffle(&mut rack.fenced.brokers, random);
            shuffle(&mut rack.unfenced.brokers, random);
        }
    }
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// A new partition on these replicas; `None` if none of them is active.
pub(super) fn new_partition(image: &Image, replicas: Vec<NodeId>) -> Option<Partition> {
    let active = |id: &NodeId| image.broker(*id).is_some_and(|broker| broker.is_active());
    let isr: Vec<NodeId> = replicas.iter().copied().filter(active).collect();
    Some(Partition {
        directories: replicas.iter().map(|id| default_directory(image, *id)).collect(),
        replicas,
        leader: *isr.first()?,
        isr,
        removing: Vec::new(),
        adding: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        recovering: false,
        leader_epoch: milena_protocol::LeaderEpoch(0),
        partition_epoch: milena_protocol::PartitionEpoch(0),
    })
}

/// The directory of a new replica, where there is no choice.
pub(super) fn default_directory(image: &Image, id: NodeId) -> Uuid {
    match image.broker(id).map(|broker| broker.log_dirs.as_slice()) {
        Some([]) => Uuid::ZERO,
        Some([only]) => *only,
        _ => UNASSIGNED,
    }
}

/// Checks a placement that a client gives. `expected` is the replication factor of the other partitions.
pub(super) fn check_manual(image: &Image, brokers: &[i32], expected: Option<usize>) -> Result<Vec<NodeId>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if brokers.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".into());
    }
    let mut sorted = brokers.to_vec();
    sorted.sort();
    for (at, id) in sorted.iter().enumerate() {
        if image.broker(NodeId(*id)).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if at > 0 && sorted[at - 1] == *id {
            return refuse(format!("The manual partition assignment includes the broker {id} more than once."));
        }
    }
    if let Some(expected) = expected.filter(|expected| *expected != sorted.len()) {
        return refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            sorted.len()
        ));
    }
    Ok(brokers.iter().copied().map(NodeId).collect())
}
