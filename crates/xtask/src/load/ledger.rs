//! Who reads which partition at what time. Members write down what they take and what they give up, at the moment when
//! they do; from that follows how long each partition had no reader. Through the same book members learn when to beat, to
//! leave and to end, so that a round has one conductor.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a member shall do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Beat,
    /// For the last member alone; the others beat on.
    Leave,
    End,
}

pub(super) struct Ledger {
    state: Mutex<State>,
    /// Members wait on it for another call.
    called: Condvar,
    /// The conductor waits on it for another owner.
    moved: Condvar,
    opened: Instant,
    beat: Duration,
}

struct State {
    call: Call,
    /// What each member owns.
    owned: Vec<BTreeSet<i32>>,
    changes: Vec<Change>,
    fault: Option<String>,
}

/// A partition has a reader from then on, or none.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Instant,
    partition: i32,
    taken: bool,
}

impl Ledger {
    /// `beat`: time between two heartbeats of a member, more than zero.
    pub(super) fn open(members: usize, beat: Duration) -> Ledger {
        let owned = vec![BTreeSet::new(); members];
        let state = State { call: Call::Beat, owned, changes: Vec::new(), fault: None };
        let (called, moved) = (Condvar::new(), Condvar::new());
        Ledger { state: Mutex::new(state), called, moved, opened: Instant::now(), beat }
    }

    /// That member owns these from now on, and nothing else.
    pub(super) fn own(&self, member: usize, partitions: &[i32]) {
        let new: BTreeSet<i32> = partitions.iter().copied().collect();
        let mut state = self.lock();
        let at = Instant::now();
        let old = std::mem::replace(&mut state.owned[member], new.clone());
        let given = old.difference(&new).map(|partition| Change { at, partition: *partition, taken: false });
        let taken = new.difference(&old).map(|partition| Change { at, partition: *partition, taken: true });
        state.changes.extend(given.chain(taken));
        self.moved.notify_all();
    }

    /// Waits until the member's next heartbeat is due, or until it is called for something else.
    pub(super) fn pause(&self, member: usize) -> Call {
        let state = self.lock();
        let members = state.owned.len();
        let call = |state: &State| match state.call {
            Call::Leave if member + 1 < members => Call::Beat,
            call => call,
        };
        // Clients do not beat at the same moment: each has its own place in the interval.
        let pause = self.until(member as f64 / members as f64);
        let waited = self.called.wait_timeout_while(state, pause, |state| call(state) == Call::Beat);
        call(&waited.expect("no member panics").0)
    }

    /// How long until that place in the interval of the heartbeats comes, from 0 to 1.
    pub(super) fn until(&self, place: f64) -> Duration {
        let passed = (self.opened.elapsed() + self.beat - self.beat.mul_f64(place)).as_secs_f64();
        self.beat.saturating_sub(Duration::from_secs_f64(passed % self.beat.as_secs_f64()))
    }

    /// Calls the members; answers when.
    pub(super) fn call(&self, call: Call) -> Instant {
        self.lock().call = call;
        self.called.notify_all();
        Instant::now()
    }

    /// Takes down how a member ended; a fault ends the round.
    pub(super) fn ended(&self, outcome: Result<(), String>) {
        if let Err(fault) = outcome {
            self.lock().fault.get_or_insert(fault);
            self.moved.notify_all();
        }
    }

    /// Waits until what the members own is enough.
    pub(super) fn wait(&self, limit: Duration, enough: impl Fn(&[BTreeSet<i32>]) -> bool) -> Result<(), String> {
        let more = |state: &mut State| state.fault.is_none() && !enough(&state.owned);
        let waited = self.moved.wait_timeout_while(self.lock(), limit, more);
        let (state, timeout) = waited.expect("no member panics");
        match &state.fault {
            Some(fault) => Err(fault.clone()),
            None if timeout.timed_out() => {
                let shares: Vec<usize> = state.owned.iter().map(BTreeSet::len).collect();
                Err(format!("the group does not come together in {limit:?}; its members own {shares:?}"))
            }
            None => Ok(()),
        }
    }

    /// For each of the partitions from 0 on: the longest time between `from` and now in which it had no reader.
    pub(super) fn without_reader(&self, from: Instant, partitions: i32) -> Result<Vec<Duration>, String> {
        let state = self.lock();
        let until = Instant::now();
        let of = |partition| state.changes.iter().filter(move |change| change.partition == partition);
        (0..partitions).map(|partition| longest(of(partition), from, until)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no member panics")
    }
}

/// The longest time between two instants in which nobody read one partition, whose changes these are, in order.
fn longest<'a>(changes: impl Iterator<Item = &'a Change>, from: Instant, until: Instant) -> Result<Duration, String> {
    let mut longest = Duration::ZERO;
    let mut free_since = Some(from);
    for change in changes {
        match (change.taken, free_since) {
            (true, Some(since)) => {
                longest = longest.max(change.at.saturating_duration_since(since.max(from)));
                free_since = None;
            }
            (false, None) => free_since = Some(change.at),
            (true, None) => return Err(format!("partition {} is read by two members at once", change.partition)),
            (false, Some(_)) => return Err(format!("partition {} is given up by nobody", change.partition)),
        }
    }
    let open = free_since.map_or(Duration::ZERO, |since| until.saturating_duration_since(since.max(from)));
    Ok(longest.max(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+7` is a reader that comes after 7 ms, `-9` one that goes after 9; looked at from 10 ms to 100.
    fn longest_of(changes: &[i64]) -> Result<Duration, String> {
        let start = Instant::now();
        let after = |ms: u64| start + Duration::from_millis(ms);
        let change = |ms: &i64| Change { at: after(ms.unsigned_abs()), partition: 0, taken: *ms > 0 };
        let changes: Vec<Change> = changes.iter().map(change).collect();
        longest(changes.iter(), after(10), after(100))
    }

    #[test]
    fn the_longest_time_without_a_reader_counts() {
        assert_eq!(longest_of(&[5]), Ok(Duration::ZERO));
        assert_eq!(longest_of(&[5, -20, 30, -50, 53]), Ok(Duration::from_millis(10)));
        assert_eq!(longest_of(&[5, -90]), Ok(Duration::from_millis(10)), "it has none in the end");
        assert_eq!(longest_of(&[1, -2, 13]), Ok(Duration::from_millis(3)), "what was before is left out");
        assert_eq!(longest_of(&[]), Ok(Duration::from_millis(90)));
    }

    #[test]
    fn two_readers_at_once_are_a_fault() {
        assert!(longest_of(&[5, 20]).is_err());
        assert!(longest_of(&[-5]).is_err());
    }

    #[test]
    fn what_a_member_takes_and_gives_up_is_the_difference() {
        let ledger = Ledger::open(2, Duration::from_millis(1));
        let from = Instant::now();
        ledger.own(0, &[0, 1]);
        ledger.own(0, &[0]);
        ledger.own(1, &[1]);
        ledger.wait(Duration::ZERO, |owned| owned.iter().all(|part| part.len() == 1)).unwrap();
        assert_eq!(ledger.without_reader(from, 2).unwrap().len(), 2);
        ledger.own(1, &[0, 1]);
        assert!(ledger.without_reader(from, 2).is_err(), "both read partition 0");
    }

    #[test]
    fn a_place_in_the_interval_is_at_most_one_beat_away() {
        let ledger = Ledger::open(1, Duration::from_secs(1000));
        for (place, expected) in [(0.0, 1000.0), (0.25, 250.0), (1.0, 1000.0)] {
            let until = ledger.until(place).as_secs_f64();
            assert!((until - expected).abs() < 100.0, "{place} is {until} s away");
        }
    }

    #[test]
    fn only_the_last_is_called_to_leave() {
        let ledger = Ledger::open(2, Duration::from_millis(1));
        ledger.call(Call::Leave);
        assert_eq!((ledger.pause(0), ledger.pause(1)), (Call::Beat, Call::Leave));
        ledger.call(Call::End);
        assert_eq!((ledger.pause(0), ledger.pause(1)), (Call::End, Call::End));
    }
}
