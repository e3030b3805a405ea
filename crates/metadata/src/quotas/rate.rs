//! How much was done per second, over windows that slide: a sum of samples, each of which begins with what comes first
//! after the one before is full.
//!
//! ```text
//!   |--- sample ---|  |--- sample ---|--- sample --|          window.size.seconds each, window.num of them count
//!   oldest                                        now         the time between is what the sum is divided by,
//!                                                             but never less than window.num - 1 whole ones
//! ```
//!
//! Source: `Rate`, `SampledStat`, `WindowedSum`, `QuotaUtils`.

use milena_base::Millis;

/// How a rate is sampled: `quota.window.num` and `quota.window.size.seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Samples that count.
    pub samples: usize,
    /// How long each of them takes, in milliseconds.
    pub size_ms: i64,
}

impl Window {
    /// After so long without a record nothing of a rate is left.
    pub fn whole_ms(self) -> i64 {
        self.samples as i64 * self.size_ms
    }
}

/// A rate per second.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    start: Millis,
    last: Millis,
    sum: f64,
}

impl Sample {
    fn new(now: Millis) -> Sample {
        Sample { start: now, last: now, sum: 0.0 }
    }
}

impl Rate {
    /// Adds what was done; a negative value takes it back.
    pub fn record(&mut self, window: Window, now: Millis, value: f64) {
        if self.samples.is_empty() {
            self.samples.push(Sample::new(now));
        }
        if now - self.samples[self.current].start >= Millis(window.size_ms) {
            // One more than count: the oldest may overlap with the time that is looked at.
            self.current = (self.current + 1) % (window.samples + 1);
            match self.samples.get_mut(self.current) {
                Some(sample) => *sample = Sample::new(now),
                None => self.samples.push(Sample::new(now)),
            }
        }
        let sample = &mut self.samples[self.current];
        sample.sum += value;
        sample.last = now;
    }

    /// For how long a client must do nothing so that the rate is at its limit again, in milliseconds; 0 where it is not
    /// above.
    pub fn throttle_ms(&mut self, window: Window, now: Millis, limit: f64) -> i64 {
        let length_ms = self.length_ms(window, now);
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        let rate = sum / (length_ms as f64 / 1000.0);
        match rate > limit {
            // Java's rounding; the cast keeps within the bounds.
            true => ((rate - limit) / limit * length_ms as f64 + 0.5).floor() as i64,
            false => 0,
        }
    }

    /// Whether nothing of it is left: it is then as a new one.
    pub fn is_over(&self, window: Window, now: Millis) -> bool {
        self.samples.iter().all(|sample| (now - sample.last).0 >= window.whole_ms())
    }

    /// The time that the samples stand for.
    fn length_ms(&mut self, window: Window, now: Millis) -> i64 {
        for sample in self.samples.iter_mut().filter(|sample| (now - sample.last).0 >= window.whole_ms()) {
            *sample = Sample::new(now);
        }
        let oldest = self.samples.iter().map(|sample| sample.start).min().unwrap_or(now);
        let mut elapsed_ms = (now - oldest).0;
        let (full, full_min) = (elapsed_ms / window.size_ms, window.samples as i64 - 1);
        if full < full_min {
            elapsed_ms += (full_min - full) * window.size_ms;
        }
        elapsed_ms.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's default.
    const WINDOW: Window = Window { samples: 11, size_ms: 1000 };

    fn recorded(values: &[(i64, f64)]) -> Rate {
        let mut rate = Rate::default();
        for (at, value) in values {
            rate.record(WINDOW, Millis(*at), *value);
        }
        rate
    }

    /// The numbers of Kafka's own `ClientQuotaManagerTest.testQuotaViolation`: ten times 400, then 2300.
    #[test]
    fn the_delay_is_kafkas() {
        let mut rate = Rate::default();
        let mut now = 0;
        for _ in 0..10 {
            rate.record(WINDOW, Millis(now), 400.0);
            assert_eq!(rate.throttle_ms(WINDOW, Millis(now), 500.0), 0);
            now += 1000;
        }
        now += 500;
        rate.record(WINDOW, Millis(now), 2300.0);
        // (600 - 500) / 500 * 10.5 s
        assert_eq!(rate.throttle_ms(WINDOW, Millis(now), 500.0), 2100);
        now += 2100;
        for _ in 0..10 {
            rate.record(WINDOW, Millis(now), 400.0);
            now += 1000;
        }
        assert_eq!(rate.throttle_ms(WINDOW, Millis(now), 500.0), 0, "the burst is not among the samples any more");
    }

    #[test]
    fn a_short_time_counts_as_all_windows_but_one() {
        // 10 s: ten whole windows.
        assert_eq!(recorded(&[(0, 5000.0)]).throttle_ms(WINDOW, Millis(0), 500.0), 0);
        assert_eq!(recorded(&[(0, 10_000.0)]).throttle_ms(WINDOW, Millis(0), 500.0), 10_000);
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        assert_eq!(recorded(&[(0, 10_000.0), (1, -10_000.0)]).throttle_ms(WINDOW, Millis(1), 500.0), 0);
    }

    #[test]
    fn a_rate_is_over_when_its_last_record_leaves_the_windows() {
        let mut rate = recorded(&[(0, 10_000.0), (1500, 1.0)]);
        assert!(!rate.is_over(WINDOW, Millis(12_499)));
        assert!(rate.is_over(WINDOW, Millis(12_500)));
        assert_eq!(rate.throttle_ms(WINDOW, Millis(12_500), 0.001), 0);
    }
}
