//! Time limits of members: whoever lets one pass is removed from its group.
//!
//! Source: `scheduleConsumerGroupSessionTimeout`, `scheduleConsumerGroupRebalanceTimeout` of `GroupMetadataManager`.

use milena_base::Millis;

use super::Consumers;
use super::group::ConsumerGroup;
use super::member::State;
use crate::group::classic::{Step, Timer};
#[cfg(test)]
use crate::group::planted::Bug;
use crate::timers::Timers;

/// What a member has to do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::group) enum Limit {
    /// Give a sign of life.
    Session,
    /// Give partitions back.
    Rebalance,
    /// Join again, having been told to: a member of the classic protocol.
    Join,
    /// Fetch its part after a join: a member of the classic protocol.
    Sync,
}

const LIMITS: [Limit; 4] = [Limit::Session, Limit::Rebalance, Limit::Join, Limit::Sync];

pub(super) fn timer(group: &str, member: &str, limit: Limit) -> Timer {
    Timer::Member { group: group.to_owned(), member: member.to_owned(), limit }
}

/// A limit begins, or begins anew.
pub(super) fn set_limit(step: &mut Step<'_>, member: &str, limit: Limit, timeout_ms: i32) {
    step.timers.set(timer(step.group_id, member, limit), step.now + Millis(i64::from(timeout_ms.max(0))));
}

/// A limit begins, unless it has begun.
pub(super) fn set_limit_once(step: &mut Step<'_>, member: &str, limit: Limit, timeout_ms: i32) {
    if !step.timers.is_set(&timer(step.group_id, member, limit)) {
        set_limit(step, member, limit, timeout_ms);
    }
}

/// Nothing is expected of the member any more.
pub(super) fn cancel_all(timers: &mut Timers<Timer>, group: &str, member: &str) {
    for limit in LIMITS {
        timers.cancel(&timer(group, member, limit));
    }
}

impl Consumers {
    /// A limit is over.
    pub(in crate::group) fn expired(&self, step: &mut Step<'_>, member_id: &str, limit: Limit) {
        let Some(group) = self.groups.get(step.group_id) else { return };
        let Some(member) = group.members.get(member_id) else { return };
        let is_late = match limit {
            Limit::Session | Limit::Join | Limit::Sync => true,
            Limit::Rebalance => member.state == State::Unrevoked,
        };
        if is_late {
            self.fence(step, group, &[member]);
        }
    }

    /// After a load every limit begins anew.
    pub(in crate::group) fn start_timers(&self, step: &mut Step<'_>) {
        let Some(group) = self.groups.get(step.group_id) else { return };
        #[cfg(test)]
        if step.settings.has(Bug::ConsumerSessionsLost) {
            return;
        }
        let timeout_ms = self.session_timeout_ms(step.settings, step.group_id);
        for member in group.members.values() {
            let own = member.classic.as_ref().map(|classic| classic.session_timeout_ms);
            set_limit(step, &member.id, Limit::Session, own.unwrap_or(timeout_ms));
            if member.state == State::Unrevoked {
                set_limit(step, &member.id, Limit::Rebalance, member.rebalance_timeout_ms);
            }
        }
    }
}

impl ConsumerGroup {
    /// Stops unless each member has the limits that its state asks for.
    pub(in crate::group) fn check_timers(&self, id: &str, timers: &Timers<Timer>) {
        for member in self.members.values() {
            assert!(timers.is_set(&timer(id, &member.id, Limit::Session)), "{} of {id} has a session", member.id);
            let has_to_revoke = member.state == State::Unrevoked;
            let has_limit = timers.is_set(&timer(id, &member.id, Limit::Rebalance));
            assert!(!has_to_revoke || has_limit, "{} of {id} has to give back in time", member.id);
        }
    }
}
