//! What the requests of one connection cost, and for how long it is throttled: between the function that answers a
//! request, which finds out, and the connection, which then reads nothing for a while (KIP-219).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// About the request of a connection that is worked on.
#[derive(Debug)]
pub struct Throttle {
    delay_ms: AtomicU32,
    /// Of the core's time, waits left out.
    spent_ns: AtomicU64,
    /// When the core began to work on it last.
    since: Mutex<Option<Instant>>,
    /// By whom the time is paid that is measured after the answer is made; empty where nobody pays.
    client_id: Mutex<Option<String>>,
}

impl Throttle {
    /// Nothing asked yet.
    pub(crate) fn new() -> Throttle {
        Throttle {
            delay_ms: AtomicU32::new(0),
            spent_ns: AtomicU64::new(0),
            since: Mutex::new(None),
            client_id: Mutex::new(None),
        }
    }

    /// The connection is to be read no more for so long; of several delays the longest counts.
    pub(crate) fn delay(&self, delay_ms: u32) {
        self.delay_ms.fetch_max(delay_ms, Ordering::Relaxed);
    }

    /// The delay of the request that was answered, if any.
    pub(crate) fn take_delay(&self) -> Option<Duration> {
        match self.delay_ms.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(Duration::from_millis(u64::from(self.delay_ms.swap(0, Ordering::Relaxed)))),
        }
    }

    /// Runs `work` and counts the time in which it is not waiting, if that `is_measured`.
    pub(crate) async fn measure<T>(&self, is_measured: bool, work: impl Future<Output = T>) -> T {
        if !is_measured {
            return work.await;
        }
        let mut work = pin!(work);
        poll_fn(|context| {
            *self.since.lock() = Some(Instant::now());
            let polled = work.as_mut().poll(context);
            self.count();
            polled
        })
        .await
    }

    fn count(&self) {
        if let Some(since) = self.since.lock().take() {
            self.spent_ns.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// The time that was counted since this was last asked. Whoever asks in the middle of the work gets what it took
    /// so far.
    pub(crate) fn take_spent(&self) -> Duration {
        let mut since = self.since.lock();
        let running = since.map_or(Duration::ZERO, |since| since.elapsed());
        if since.is_some() {
            *since = Some(Instant::now());
        }
        Duration::from_nanos(self.spent_ns.swap(0, Ordering::Relaxed)) + running
    }

    /// Who pays for the rest of the time.
    pub(crate) fn set_payer(&self, client_id: &str) {
        *self.client_id.lock() = Some(client_id.to_owned());
    }

    /// Who pays, once.
    pub(crate) fn take_payer(&self) -> Option<String> {
        self.client_id.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_cost_nothing() {
        let throttle = Throttle::new();
        let work = async {
            advance(Duration::from_millis(3)).await;
            let so_far = throttle.take_spent();
            sleep(Duration::from_secs(9)).await;
            so_far
        };
        let so_far = throttle.measure(true, work).await;
        assert!(so_far + throttle.take_spent() < Duration::from_millis(10));
        assert_eq!(throttle.take_spent(), Duration::ZERO, "taken once");
    }

    #[test]
    fn of_several_delays_the_longest_counts() {
        let throttle = Throttle::new();
        throttle.delay(5);
        throttle.delay(7);
        throttle.delay(6);
        assert_eq!(throttle.take_delay(), Some(Duration::from_millis(7)));
        assert_eq!(throttle.take_delay(), None);
    }
}
