//! What a shard does by itself when it is time: abort what was open for too long, bring decided transactions to their end,
//! forget ids that nobody uses.

use milena_base::Millis;
use milena_protocol::{ProducerId, TopicPartition};

use super::{Timer, TransactionShard, Waiting};
use crate::transaction::event::{Effect, Marked};
use crate::transaction::marking::{Marking, RETRY_AFTER, UNDER_WAY_MAX};
#[cfg(test)]
use crate::transaction::planted::Bug;
use crate::transaction::state::{Change, State, Step};
use crate::transaction::{Response, end, expiry, record};
use crate::{Decision, Marker};

impl TransactionShard {
    /// [`Timer::Abort`]: aborts one transaction that was open for too long, and comes back for the others.
    pub(super) fn abort_one(&mut self, decision: &mut Decision<Response, Effect>) {
        let now = decision.timestamp;
        #[cfg(test)]
        let now = if self.settings.has(Bug::TimeoutAtOnce) { now + Millis(1_000_000) } else { now };
        let Some(id) = self.deadlines.next_over(now) else {
            return self.timers.set(Timer::Abort, decision.timestamp + self.settings.abort_interval);
        };
        self.timers.set(Timer::Abort, decision.timestamp + Millis(1));
        if !self.waiting.contains_key(&id) {
            self.abort(decision, id, None);
        }
    }

    pub(super) fn abort(&mut self, decision: &mut Decision<Response, Effect>, id: String, fresh: Option<ProducerId>) {
        let Some(is) = self.find(&id).filter(|is| is.deadline().is_some()) else { return };
        let step = end::fence(is, fresh, self.level, decision.timestamp);
        #[cfg(test)]
        let step = step.map(|step| self.planted_abort(is, step));
        match step {
            Ok(Step::Write(change)) => self.write(decision, &id, *change),
            Ok(Step::NeedsProducerId) => self.wait_for_producer_id(decision, id, Waiting::Abort),
            Ok(Step::Stay) | Err(_) => {}
        }
    }

    /// [`Timer::Settle`]: a decided transaction wants its markers, or to be complete.
    pub(super) fn settle(&mut self, decision: &mut Decision<Response, Effect>, id: &str) {
        let now = decision.timestamp;
        let Some(known) = self.transactions.get_mut(id).filter(|known| known.is.state.is_decided()) else { return };
        let marking = known.marking.get_or_insert_with(|| Marking::of(&known.is.partitions));
        if marking.is_under_way || marking.is_given_up {
            return;
        }
        if marking.left.is_empty() {
            let next = end::complete(&known.is, now);
            let last_epoch = known.last_epoch();
            self.write(decision, id, Change { next, last_epoch });
            return self.timers.set(Timer::Settle(id.to_owned()), now + RETRY_AFTER);
        }
        if self.under_way >= UNDER_WAY_MAX {
            return self.timers.set(Timer::Settle(id.to_owned()), now + RETRY_AFTER);
        }
        marking.is_under_way = true;
        self.under_way += 1;
        #[cfg(test)]
        if self.settings.has(Bug::MarkersTwice) {
            decision.effects.push(Effect::ProducerId { transactional_id: id.to_owned() });
        }
        decision.effects.push(Effect::WriteMarkers {
            transactional_id: id.to_owned(),
            marker: Marker {
                producer_id: known.is.producer_id,
                producer_epoch: known.is.producer_epoch,
                coordinator_epoch: self.coordinator_epoch.0,
                committed: known.is.state == State::PrepareCommit,
                transaction_version: known.is.client_level,
            },
            partitions: marking.left.iter().cloned().collect(),
        });
    }

    /// The shell is back from writing markers.
    pub(super) fn marked(
        &mut self,
        decision: &mut Decision<Response, Effect>,
        id: &str,
        results: Vec<(TopicPartition, Marked)>,
    ) {
        #[cfg(test)]
        let results = self.planted_marked(results);
        let Some(marking) = self.transactions.get_mut(id).and_then(|known| known.marking.as_mut()) else { return };
        self.under_way -= usize::from(marking.is_under_way);
        marking.came_back(results);
        if marking.left.is_empty() {
            return self.settle(decision, id);
        }
        self.timers.set(Timer::Settle(id.to_owned()), decision.timestamp + RETRY_AFTER);
    }

    /// [`Timer::Expire`]: looks through some transactional ids, and comes back for the others.
    pub(super) fn expire(&mut self, decision: &mut Decision<Response, Effect>) {
        let (now, expiration) = (decision.timestamp, self.settings.id_expiration);
        #[cfg(test)]
        let expiration = if self.settings.has(Bug::ExpiryAtOnce) { Millis(0) } else { expiration };
        let mut bytes = 0;
        for (seen, (id, known)) in self.transactions.range(self.expire_from.clone()..).enumerate() {
            if seen >= expiry::IDS_PER_STEP || bytes >= expiry::TOMBSTONE_BYTES_PER_STEP {
                self.expire_from = id.clone();
                return self.timers.set(Timer::Expire, now + Millis(1));
            }
            if known.is.has_expired(now, expiration) && !self.waiting.contains_key(id) {
                bytes += id.len() + expiry::TOMBSTONE_BYTES;
                decision.records.push(record::tombstone(id));
            }
        }
        self.expire_from.clear();
        self.timers.set(Timer::Expire, now + self.settings.expiry_interval);
    }
}
