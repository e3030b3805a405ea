//! Transactions that were open for too long are aborted, and their producers fenced (trap 156).
//!
//! Source: `TransactionCoordinator.abortTimedOutTransactions`, `TransactionStateManager.timedOutTransactions`.

use std::collections::BTreeSet;
use std::ops::Bound;

use milena_base::Millis;

use super::state::Transaction;

/// Open transactions by the time at which they have to be ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deadlines {
    by_time: BTreeSet<(Millis, String)>,
    /// The last one that was looked at in this round: one that cannot be aborted must not keep the others waiting.
    seen: Option<(Millis, String)>,
}

impl Deadlines {
    /// What is known of an id has changed.
    pub(super) fn change(&mut self, id: &str, was: Option<&Transaction>, is: Option<&Transaction>) {
        if let Some(at) = was.and_then(Transaction::deadline) {
            self.by_time.remove(&(at, id.to_owned()));
        }
        if let Some(at) = is.and_then(Transaction::deadline) {
            self.by_time.insert((at, id.to_owned()));
        }
    }

    /// The next one of this round whose time is over; `None` ends the round.
    pub(super) fn next_over(&mut self, now: Millis) -> Option<String> {
        let from = self.seen.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.by_time.range((from, Bound::Unbounded)).next().filter(|(at, _)| *at < now);
        self.seen = next.cloned();
        next.map(|(_, id)| id.clone())
    }

    #[cfg(test)]
    pub(super) fn of<'a>(transactions: impl Iterator<Item = (&'a String, &'a Transaction)>) -> Deadlines {
        let mut deadlines = Deadlines::default();
        transactions.for_each(|(id, is)| deadlines.change(id, None, Some(is)));
        deadlines
    }

    #[cfg(test)]
    pub(super) fn same(&self, other: &Deadlines) -> bool {
        self.by_time == other.by_time
    }
}
