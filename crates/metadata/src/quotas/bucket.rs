//! Tokens that are refilled at the quota's pace up to as many as all windows hold; whoever takes more than there are, may,
//! and those who come after wait until none is missing (KIP-599).
//!
//! Source: `TokenBucket`, `ControllerMutationQuotaManager`.

use milena_base::Millis;

use super::Window;

/// Tokens of one client; full at first.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    tokens: f64,
    updated: Millis,
}

impl TokenBucket {
    /// A full one.
    pub fn new(window: Window, now: Millis, limit: f64) -> TokenBucket {
        TokenBucket { tokens: capacity(window, limit), updated: now }
    }

    /// Takes tokens, also such as are not there.
    pub fn take(&mut self, window: Window, now: Millis, limit: f64, tokens: f64) {
        self.refill(window, now, limit);
        self.tokens = (self.tokens - tokens).min(capacity(window, limit));
    }

    /// How long it takes until no token is missing, in milliseconds.
    pub fn throttle_ms(&mut self, window: Window, now: Millis, limit: f64) -> i64 {
        self.refill(window, now, limit);
        match self.tokens < 0.0 {
            true => (-self.tokens / limit * 1000.0 + 0.5).floor() as i64,
            false => 0,
        }
    }

    /// Whether it is as a new one.
    pub fn is_full(&mut self, window: Window, now: Millis, limit: f64) -> bool {
        self.refill(window, now, limit);
        self.tokens >= capacity(window, limit)
    }

    fn refill(&mut self, window: Window, now: Millis, limit: f64) {
        let seconds = (now - self.updated).0 as f64 / 1000.0;
        self.tokens = (self.tokens + limit * seconds).min(capacity(window, limit));
        self.updated = now;
    }
}

fn capacity(window: Window, limit: f64) -> f64 {
    window.whole_ms() as f64 / 1000.0 * limit
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples: 11, size_ms: 1000 };

    /// The numbers of KIP-599: 5 a second over 10 windows, here 11.
    #[test]
    fn a_burst_passes_and_the_next_waits_until_it_is_paid() {
        let mut bucket = TokenBucket::new(WINDOW, Millis(0), 5.0);
        bucket.take(WINDOW, Millis(0), 5.0, 55.0);
        assert_eq!(bucket.throttle_ms(WINDOW, Millis(0), 5.0), 0, "as many as there were");
        bucket.take(WINDOW, Millis(0), 5.0, 10.0);
        assert_eq!(bucket.throttle_ms(WINDOW, Millis(0), 5.0), 2000);
        assert_eq!(bucket.throttle_ms(WINDOW, Millis(1500), 5.0), 500);
        assert_eq!(bucket.throttle_ms(WINDOW, Millis(2000), 5.0), 0);
        assert!(!bucket.is_full(WINDOW, Millis(12_999), 5.0));
        assert!(bucket.is_full(WINDOW, Millis(13_000), 5.0));
    }
}
