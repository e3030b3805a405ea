//! A fair share of a core for every connection. Tokio lets a task run for so many units, 128, before it goes to the end
//! of the line; by itself it counts only waiting and the reads and writes of sockets, so that a connection whose requests
//! are all here already would be served until there are no more of them. Here everything else that a request costs draws
//! on the same units: its frame and its answer by their size, and each thing that it names.
//!
//! A turn is then about a millisecond of work, whatever the work is, and whoever waits does so for about as many
//! milliseconds as there are busy connections on its core. No clock is read, so a simulated run repeats.
//!
//! ```text
//!   core   [ flood ......128 ][ flood ......128 ][ other 1 ][ flood ......128 ][ flood ..
//!          connection 1       connection 2       3          1                  2
//! ```

use tokio::task::coop::consume_budget;

/// Bytes of a frame, or of an answer, for which one unit is drawn: to receive, check and append, or to encode and write,
/// takes some microseconds.
const UNIT_BYTES: usize = 4 * 1024;
/// Most units that the bytes of one request draw: two turns. Whoever sends or takes much has waited for the socket.
const UNITS_MAX: usize = 256;
/// Things for which one unit is drawn where each takes a look-up.
const UNIT_LOOKUPS: usize = 8;

/// What an append takes, in look-ups.
pub(crate) const APPEND_LOOKUPS: usize = 8;

/// Units that a request draws for its frame and its answer, in bytes together; at least one.
pub(crate) fn units_of(size_bytes: usize) -> usize {
    (1 + size_bytes / UNIT_BYTES).min(UNITS_MAX)
}

/// Draws one unit, for something that takes some microseconds.
pub(crate) async fn unit() {
    consume_budget().await;
}

/// Draws units for the things that a request names. Every loop over what a client names has one.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    undrawn: usize,
}

impl Lookups {
    /// So many look-ups are done.
    pub(crate) async fn done(&mut self, lookups: usize) {
        self.undrawn += lookups;
        while self.undrawn >= UNIT_LOOKUPS {
            self.undrawn -= UNIT_LOOKUPS;
            unit().await;
        }
    }
}

/// Collects what an iterator looks up, one thing after another.
pub(crate) async fn collected<R>(found: impl Iterator<Item = R>) -> Vec<R> {
    collected_by(found, |_| 1).await
}

/// Collects things that take `lookups` each to be found.
pub(crate) async fn collected_by<R>(found: impl Iterator<Item = R>, lookups: impl Fn(&R) -> usize) -> Vec<R> {
    let mut all = Vec::with_capacity(found.size_hint().0);
    let mut drawn = Lookups::default();
    for one in found {
        let lookups = lookups(&one);
        all.push(one);
        drawn.done(lookups).await;
    }
    all
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn a_long_look_up_lets_others_run_in_between() {
        let local = LocalSet::new();
        let turns = local.run_until(async {
            let looked_up = Rc::new(Cell::new(0));
            let seen = Rc::clone(&looked_up);
            let long =
                spawn_local(
                    async move { collected((0..10_000).map(|_| looked_up.set(looked_up.get() + 1))).await.len() },
                );
            let other = spawn_local(async move {
                let mut turns = 0;
                while seen.get() < 10_000 {
                    turns += 1;
                    tokio::task::yield_now().await;
                }
                turns
            });
            assert_eq!(long.await.expect("it ends"), 10_000);
            other.await.expect("it ends")
        });
        let turns: usize = turns.await;
        assert!((9..20).contains(&turns), "10 000 look-ups are ten turns, and the other had {turns}");
    }

    #[test]
    fn a_request_draws_at_least_one_unit_and_at_most_two_turns() {
        assert_eq!([0, 4095, 4096, 64 << 10, 100 << 20].map(units_of), [1, 1, 2, 17, 256]);
    }
}
