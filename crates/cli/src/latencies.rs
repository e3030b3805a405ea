//! Counts latencies so that percentiles can be told: 32 buckets per power of two, so that a figure is at most 3 %
//! above the measured one. Fixed memory.

use std::time::Duration;

/// How many buckets a power of two has, as a power of two.
const PRECISION_BITS: u32 = 5;

/// Latencies in microseconds, up to 2^40.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies { counts: vec![0; bucket(1 << 40) + 1], total: 0, max_us: 0 }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(1 << 40);
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The latency that `percent` of all do not exceed, in milliseconds; 0 without any.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        let wanted = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return highest(at).min(self.max_us) as f64 / 1000.0;
            }
        }
        0.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1000.0
    }
}

/// Small values have a bucket each; above, the highest bits decide.
fn bucket(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
    ((u64::from(shift) << PRECISION_BITS) + (us >> shift)) as usize
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let shift = (bucket as u64 >> PRECISION_BITS).saturating_sub(1);
    let leading = bucket as u64 - (shift << PRECISION_BITS);
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_three_percent() {
        let mut latencies = Latencies::new();
        (1..=10_000u64).for_each(|us| latencies.add(Duration::from_micros(us)));
        for (percent, expected) in [(50.0, 5.0), (99.0, 9.9), (100.0, 10.0)] {
            let found = latencies.percentile_ms(percent);
            assert!(found >= expected && found <= expected * 1.03125, "{percent} %: {found}");
        }
        assert_eq!(latencies.max_ms(), 10.0);
        assert_eq!(Latencies::new().percentile_ms(50.0), 0.0);
    }

    #[test]
    fn buckets_follow_each_other() {
        for us in 0..5000u64 {
            assert!(highest(bucket(us)) >= us);
            assert!(bucket(us + 1) == bucket(us) || bucket(us + 1) == bucket(us) + 1);
        }
    }
}
