//! Replicas that could not be opened, and when each is tried again. Until then their clients are told
//! KAFKA_STORAGE_ERROR, at which they try again themselves.
//!
//! Kafka takes the whole log directory offline in such a case, and with its last directory the broker stops; here
//! the other replicas go on, and a limit that was raised or a disk that was cleared needs no restart.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_protocol::Uuid;
use tokio::time::{Instant, sleep_until};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// So many are tried at once, those first that have waited longest.
const AT_ONCE_MAX: usize = 100;

/// A partition of a topic.
pub(super) type Key = (Uuid, i32);

/// When each is tried again.
#[derive(Default)]
pub(super) struct Offline {
    waiting: BTreeMap<Key, Waiting>,
}

#[derive(Clone, Copy)]
struct Waiting {
    until: Instant,
    pause: Duration,
}

impl Offline {
    /// It could not be opened. Answers whether that is new.
    pub(super) fn failed(&mut self, key: Key, now: Instant) -> bool {
        let before = self.waiting.get(&key).map(|waiting| waiting.pause);
        let pause = before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(PAUSE_MAX));
        self.waiting.insert(key, Waiting { until: now + pause, pause });
        before.is_none()
    }

    /// It is open, or there is no such partition any more.
    pub(super) fn forget(&mut self, key: Key) {
        self.waiting.remove(&key);
    }

    /// Those to be tried now.
    pub(super) fn due(&self, now: Instant) -> Vec<Key> {
        let mut due: Vec<(Instant, Key)> = self
            .waiting
            .iter()
            .map(|(key, waiting)| (waiting.until, *key))
            .filter(|(until, _)| *until <= now)
            .collect();
        due.sort_unstable();
        due.into_iter().take(AT_ONCE_MAX).map(|(_, key)| key).collect()
    }

    /// Waits until one is to be tried; for ever where there is none.
    pub(super) async fn next_due(&self) {
        match self.waiting.values().map(|waiting| waiting.until).min() {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_the_oldest_are_tried_first() {
        let (mut offline, start) = (Offline::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let key = |partition| (Uuid::ZERO, partition);
        assert!(offline.failed(key(0), start), "the first time");
        assert!(offline.due(start).is_empty());
        assert_eq!(offline.due(after(1)), [key(0)]);
        let pauses = [2, 4, 8, 16, 32, 60, 60];
        for pause in pauses {
            assert!(!offline.failed(key(0), start));
            assert!(offline.due(after(pause - 1)).is_empty() && offline.due(after(pause)) == [key(0)], "{pause}");
        }
        for partition in 1..=200 {
            offline.failed(key(partition), start);
        }
        assert_eq!(offline.due(after(60)).len(), AT_ONCE_MAX);
        assert_eq!(offline.due(after(60))[0], key(1), "it waits since its first second");
        offline.forget(key(1));
        assert_eq!(offline.due(after(60))[0], key(2));
    }
}
