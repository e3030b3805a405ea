//! Deadlines by name: at most one per name, the earliest one at hand. A shard says when it wants to be called
//! again; it never waits.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Millis;

/// Deadlines of a machine, by what is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Timers<T> {
    by_time: BTreeSet<(Millis, T)>,
    by_name: BTreeMap<T, Millis>,
}

impl<T: Ord + Clone> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers { by_time: BTreeSet::new(), by_name: BTreeMap::new() }
    }

    /// Sets the deadline, in place of an earlier one of the same name.
    pub(crate) fn set(&mut self, name: T, at: Millis) {
        if let Some(former) = self.by_name.insert(name.clone(), at) {
            self.by_time.remove(&(former, name.clone()));
        }
        self.by_time.insert((at, name));
    }

    pub(crate) fn cancel(&mut self, name: &T) {
        if let Some((name, at)) = self.by_name.remove_entry(name) {
            self.by_time.remove(&(at, name));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that has come.
    pub(crate) fn due(&mut self, now: Millis) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let (_, name) = self.by_time.pop_first()?;
        self.by_name.remove(&name);
        Some(name)
    }

    /// Whether a deadline of that name is set.
    pub(crate) fn is_set(&self, name: &T) -> bool {
        self.by_name.contains_key(name)
    }

    /// The deadline of that name.
    #[cfg(test)]
    pub(crate) fn at(&self, name: &T) -> Option<Millis> {
        self.by_name.get(name).copied()
    }

    /// All names with a deadline.
    pub(crate) fn names(&self) -> impl Iterator<Item = &T> {
        self.by_name.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_replaces_the_former_one_of_its_name() {
        let mut timers = Timers::new();
        timers.set("a", Millis(10));
        timers.set("b", Millis(20));
        timers.set("a", Millis(30));
        assert_eq!(timers.next(), Some(Millis(20)));
        assert_eq!(timers.due(Millis(40)), Some("b"));
        assert_eq!(timers.due(Millis(40)), Some("a"));
        assert_eq!(timers.due(Millis(40)), None);
    }

    #[test]
    fn nothing_is_due_before_its_time_or_after_it_was_cancelled() {
        let mut timers = Timers::new();
        timers.set("a", Millis(10));
        assert_eq!(timers.due(Millis(9)), None);
        timers.cancel(&"a");
        assert_eq!((timers.due(Millis(10)), timers.next()), (None, None));
    }
}
