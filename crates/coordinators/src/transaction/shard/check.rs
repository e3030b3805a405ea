//! What must hold of a shard whatever happened to it.

use milena_base::Millis;

use super::{Known, Timer, TransactionShard};
use crate::transaction::state::State;
use crate::transaction::timeout::Deadlines;

impl TransactionShard {
    /// Stops if the shard is in a state that no sequence of events may lead to. To be called between a decision's
    /// replay and the next event; looks at everything.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub(in crate::transaction) fn check(&self) {
        let known = self.transactions.iter().map(|(id, known)| (id, &known.is));
        assert!(self.deadlines.same(&Deadlines::of(known)), "exactly the open transactions have deadlines");
        let under_way = |known: &&Known| known.marking.as_ref().is_some_and(|marking| marking.is_under_way);
        assert_eq!(self.under_way, self.transactions.values().filter(under_way).count(), "markers under way");
        for (id, Known { is, marking, .. }) in &self.transactions {
            assert!(is.producer_id.0 >= 0 && is.producer_epoch.0 >= 0, "{id} has a producer");
            let has_begun = is.state == State::Ongoing || is.state.is_decided();
            assert!(has_begun || is.partitions.is_empty(), "{id} has partitions in a transaction alone");
            assert!(!has_begun || is.started_at != Millis::NONE, "the transaction of {id} began");
            let Some(marking) = marking else {
                let is_looked_after = self.timers.is_set(&Timer::Settle(id.clone()));
                assert!(!self.is_live || !is.state.is_decided() || is_looked_after, "{id} is looked after");
                continue;
            };
            assert!(is.state.is_decided(), "{id} gets markers because it is decided");
            assert!(marking.left.is_subset(&is.partitions), "{id} gets markers where it has partitions");
            let is_looked_after =
                marking.is_under_way || marking.is_given_up || self.timers.is_set(&Timer::Settle(id.clone()));
            assert!(is_looked_after, "{id} is looked after");
        }
        for id in self.waiting.keys() {
            assert!(self.find(id).is_none_or(|is| !is.state.is_decided()), "{id} waits before it is decided");
        }
    }
}
