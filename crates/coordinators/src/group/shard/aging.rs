//! What goes with time: expired offsets, offsets of deleted topics.

use milena_base::Millis;

use super::{Decision, GroupShard};
use crate::group::classic::Timer;
use crate::group::expiry;
use crate::group::kind::Group;
#[cfg(test)]
use crate::group::planted::Bug;

impl GroupShard {
    /// [`Timer::Expire`]: looks through some groups, and comes back for the others.
    pub(super) fn expire(&mut self, decision: &mut Decision) {
        let now = decision.timestamp;
        let retention = self.settings.offsets_retention;
        #[cfg(test)]
        let retention = if self.settings.has(Bug::ExpiryAtOnce) { Millis(0) } else { retention };
        for (seen, (id, group)) in self.groups_from(&self.expire_from).into_iter().enumerate() {
            #[cfg(test)]
            if self.settings.has(Bug::TombstoneWithOffsets) && group.is_empty() {
                group.tombstones(&mut decision.records, id);
                continue;
            }
            let is_done = seen < expiry::GROUPS_PER_STEP
                && expiry::expire(&mut decision.records, now, retention, id, group, &self.offsets);
            if !is_done {
                self.expire_from = id.clone();
                return self.timers.set(Timer::Expire, now + Millis(1));
            }
        }
        self.expire_from.clear();
        self.timers.set(Timer::Expire, now + self.settings.offsets_retention_check_interval);
    }

    /// Groups of both kinds in the order of their names, no fewer than a step looks at, if there are as many.
    fn groups_from(&self, from: &str) -> Vec<(&String, Group<'_>)> {
        let classic = self.groups.range(from.to_owned()..).map(|(id, group)| (id, Group::Classic(group)));
        let consumer = self.consumers.groups.range(from.to_owned()..).map(|(id, group)| (id, Group::Consumer(group)));
        let enough = expiry::GROUPS_PER_STEP + 1;
        let mut groups: Vec<_> = classic.take(enough).chain(consumer.take(enough)).collect();
        groups.sort_by_key(|(id, _)| *id);
        groups.truncate(enough);
        groups
    }

    /// [`Timer::Forget`]: forgets some offsets of the first deleted topic, and comes back for the others.
    pub(super) fn forget(&mut self, decision: &mut Decision) {
        let Some(topic) = self.forgetting.front() else { return };
        match expiry::forget_topic(&mut decision.records, topic, &self.forget_from, &self.offsets) {
            Some(group) => self.forget_from = group,
            None => {
                self.forget_from.clear();
                self.forgetting.pop_front();
            }
        }
        if !self.forgetting.is_empty() {
            self.timers.set(Timer::Forget, decision.timestamp + Millis(1));
        }
    }
}
