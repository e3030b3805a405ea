//! Where the last record of each key stands, in a bounded piece of memory: a table of sums of keys and offsets, without
//! the keys. Keys with the same sum are taken for the same (trap 103).
//!
//! ```text
//! slot  16 MD5 of the key | 8 offset + 1, or 0 where the slot is free
//! ```
//! Source: `SkimpyOffsetMap` in Kafka 4.3.1.

use milena_protocol::Offset;

use super::md5::{SUM_BYTES, md5};

const SLOT_BYTES: usize = SUM_BYTES + 8;
/// Kafka's table cannot be larger, whatever the setting says.
const BYTES_MAX: u64 = i32::MAX as u64;
/// The first probes take their slot from the sum itself, each from one byte further on.
const SUM_PROBES: usize = SUM_BYTES - 4;

/// How much memory the table may take, and how full it may become.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapLimits {
    /// `log.cleaner.dedupe.buffer.size`, a thread's share of it. More than 2 GiB is not used.
    pub size_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: the part of the slots that may be taken.
    pub load_factor: f64,
}

/// Offsets by key.
pub(crate) struct OffsetMap {
    table: Vec<u8>,
    slots: usize,
    keys: usize,
    keys_max: usize,
    latest: Offset,
}

impl OffsetMap {
    /// An empty map for records of which there are at most `records_max`: no more memory is taken than those need.
    pub(crate) fn new(limits: MapLimits, records_max: u64) -> OffsetMap {
        let slots_max = (limits.size_bytes.min(BYTES_MAX) / SLOT_BYTES as u64).max(2);
        let needed = records_max.saturating_mul(2).saturating_add(2);
        let slots = slots_max.min(needed) as usize;
        // One slot stays free, so that every search ends, and one may be taken, so that there is always progress.
        let keys_max = ((slots_max as f64 * limits.load_factor) as u64).clamp(1, slots_max - 1) as usize;
        OffsetMap {
            table: vec![0; slots * SLOT_BYTES],
            slots,
            keys: 0,
            keys_max: keys_max.min(slots - 1),
            latest: Offset::NONE,
        }
    }

    /// Whether no further key fits.
    pub(crate) fn is_full(&self) -> bool {
        self.keys >= self.keys_max
    }

    /// The key's last record is this one. The map must not be full.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) {
        debug_assert!(!self.is_full());
        let sum = md5(key);
        let start = self.slot_of(&sum);
        let slot = &mut self.table[start..start + SLOT_BYTES];
        self.keys += usize::from(is_free(slot));
        slot[..SUM_BYTES].copy_from_slice(&sum);
        slot[SUM_BYTES..].copy_from_slice(&(offset.0 + 1).to_be_bytes());
        self.latest = offset;
    }

    /// Where the key's last record stands, as far as the map knows.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Offset> {
        let start = self.slot_of(&md5(key));
        let mut offset = [0; 8];
        offset.copy_from_slice(&self.table[start + SUM_BYTES..start + SLOT_BYTES]);
        match i64::from_be_bytes(offset) {
            0 => None,
            behind => Some(Offset(behind - 1)),
        }
    }

    /// Everything up to this offset is in the map.
    pub(crate) fn reach(&mut self, offset: Offset) {
        self.latest = offset;
    }

    /// See [`OffsetMap::reach`]; [`Offset::NONE`] at first.
    pub(crate) fn latest(&self) -> Offset {
        self.latest
    }

    /// How full the table is that the limits allow: 1 where nothing more fits.
    pub(crate) fn utilization(&self) -> f64 {
        self.keys as f64 / self.keys_max as f64
    }

    /// The slot of a sum, or the free one that would be its.
    fn slot_of(&self, sum: &[u8; SUM_BYTES]) -> usize {
        let mut probe = 0;
        loop {
            let start = self.probe(sum, probe) * SLOT_BYTES;
            let slot = &self.table[start..start + SLOT_BYTES];
            if is_free(slot) || slot[..SUM_BYTES] == *sum {
                return start;
            }
            probe += 1;
        }
    }

    fn probe(&self, sum: &[u8; SUM_BYTES], probe: usize) -> usize {
        let at = probe.min(SUM_PROBES);
        let number = sum[at..at + 4].iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        (number + (probe - at)) % self.slots
    }
}

fn is_free(slot: &[u8]) -> bool {
    slot[SUM_BYTES..].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use milena_base::Random;

    use super::*;

    const LARGE: MapLimits = MapLimits { size_bytes: 1 << 20, load_factor: 0.9 };

    #[test]
    fn the_last_offset_of_every_key_is_found_also_where_the_table_is_nearly_full() {
        let limits = MapLimits { size_bytes: 24 * 1000, load_factor: 0.999 };
        let mut map = OffsetMap::new(limits, u64::MAX);
        let mut expected = BTreeMap::new();
        let mut random = Random::from_seed(1);
        let mut offset = Offset(0);
        while !map.is_full() {
            let key = random.below(2000).to_be_bytes();
            map.put(&key, offset);
            expected.insert(key, offset);
            offset = offset.next();
        }
        assert_eq!(expected.len(), 999);
        for key in (0..2000_u64).map(u64::to_be_bytes) {
            assert_eq!(map.find(&key), expected.get(&key).copied());
        }
    }

    #[test]
    fn the_first_offset_and_the_empty_key_are_like_any_other() {
        let mut map = OffsetMap::new(LARGE, 10);
        assert_eq!(map.find(b""), None);
        map.put(b"", Offset(0));
        assert_eq!((map.find(b""), map.latest()), (Some(Offset(0)), Offset(0)));
    }

    #[test]
    fn memory_is_bounded_by_the_limit_and_by_what_is_needed() {
        assert!(OffsetMap::new(LARGE, u64::MAX).table.len() <= 1 << 20);
        assert!(OffsetMap::new(LARGE, 10).table.len() < 1000);
        let mut few = OffsetMap::new(LARGE, 10);
        for key in 0..10_u8 {
            few.put(&[key], Offset(key.into()));
        }
        assert!(!few.is_full(), "all that were announced fit");
    }

    #[test]
    fn no_load_factor_keeps_a_round_from_its_progress() {
        for load_factor in [f64::NAN, -1.0, 0.0, 1.0, 7.0] {
            let mut map = OffsetMap::new(MapLimits { load_factor, ..LARGE }, u64::MAX);
            assert!(!map.is_full(), "{load_factor}");
            map.put(b"key", Offset(3));
            assert_eq!(map.find(b"other"), None);
        }
    }
}
