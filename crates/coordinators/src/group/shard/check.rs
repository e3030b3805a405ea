//! What must be true of a shard at any time.

use super::GroupShard;
use crate::group::classic::{ClassicGroup, State, Timer};

impl GroupShard {
    /// Stops if the shard is in a state that no sequence of events may lead to. To be called between a decision's
    /// replay and the next event; looks at everything.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check(&self) {
        self.offsets.check();
        let mut with_offsets = self.offsets.groups_from("").map(|(id, _)| id);
        assert!(with_offsets.all(|id| self.find(id).is_some()), "whoever has offsets is a group");
        for (id, group) in &self.groups {
            group.check();
            if self.is_live {
                self.check_timers_of(id, group);
            }
        }
        for (id, group) in &self.consumers.groups {
            group.check();
            assert!(!self.groups.contains_key(id), "{id} is of one kind");
            if self.is_live {
                group.check_timers(id, &self.timers);
            }
        }
        for timer in self.timers.names() {
            self.check_owner_of(timer);
        }
    }

    fn check_timers_of(&self, id: &str, group: &ClassicGroup) {
        let id = || id.to_owned();
        let join = Timer::Join { group: id() };
        assert_eq!(self.timers.is_set(&join), matches!(group.state, State::Preparing { .. }), "{join:?}");
        let sync = Timer::Sync { group: id() };
        assert_eq!(self.timers.is_set(&sync), !group.pending_syncs.is_empty(), "{sync:?}");
        let silent = group.members.iter().filter(|(_, member)| !member.is_excused()).map(|(id, _)| id);
        for member in silent.chain(&group.pending_joins) {
            let session = Timer::Session { group: id(), member: member.clone() };
            assert!(self.timers.is_set(&session), "{session:?}");
        }
    }

    /// No timer outlives what it belongs to.
    fn check_owner_of(&self, timer: &Timer) {
        let belongs = match timer {
            Timer::Expire | Timer::Forget => true,
            Timer::Join { group } | Timer::Sync { group } => self.groups.contains_key(group),
            Timer::Regex { group } => self.consumers.groups.contains_key(group),
            Timer::Session { group, member } => self
                .groups
                .get(group)
                .is_some_and(|group| group.members.contains_key(member) || group.pending_joins.contains(member)),
            Timer::Member { group, member, .. } => {
                self.consumers.groups.get(group).is_some_and(|group| group.has_member(member))
            }
        };
        assert!(belongs, "{timer:?} belongs to nobody");
    }
}
