//! Holds received events against what was sent: every one exactly once, unchanged, and in order for each key. It sees
//! nothing but what the consumers received; of the sender it learns only the count and a checksum of all events.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::mark::Mark;

/// An event as a consumer received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// `None` if it is not one of ours.
    pub(super) mark: Option<Mark>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Bytes,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expected {
    pub(super) count: u64,
    digest: u64,
}

impl Expected {
    /// One more event.
    pub(super) fn add(&mut self, key: Option<&[u8]>, value: &[u8]) {
        self.digest = self.digest.wrapping_add(digest(self.count, key, value));
        self.count += 1;
    }
}

/// What came of it. All zero and nothing altered is good.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub(super) struct Verdict {
    /// Events that nobody received.
    pub(super) missing: u64,
    /// The first of them, counted from 0.
    pub(super) first_missing: Option<u64>,
    /// Events received more than once, each time more counted.
    pub(super) duplicated: u64,
    /// Events that came before an earlier one of their key, or from another partition than it.
    pub(super) out_of_order: u64,
    /// Events that nobody sent.
    pub(super) foreign: u64,
    /// Whether some event is not what was sent, though none is missing.
    pub(super) altered: bool,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        *self == Verdict::default()
    }
}

/// Takes in events one by one, in the order in which their partitions gave them.
#[derive(Debug, Default)]
pub(super) struct Verifier {
    /// One bit for each number.
    seen: Vec<u64>,
    distinct: u64,
    digest: u64,
    /// Partition and number of each key's last event.
    last: HashMap<Bytes, (i32, u64)>,
    duplicated: u64,
    out_of_order: u64,
    foreign: u64,
}

/// More events than this nobody sends; it bounds the memory to 512 MiB.
const NUMBER_MAX: u64 = 1 << 32;

impl Verifier {
    pub(super) fn take(&mut self, partition: i32, event: &Received) {
        let Some(mark) = event.mark.filter(|mark| mark.number < NUMBER_MAX) else {
            self.foreign += 1;
            return;
        };
        if !self.note(mark.number) {
            self.duplicated += 1;
            return;
        }
        self.digest = self.digest.wrapping_add(digest(mark.number, event.key.as_deref(), &event.value));
        let Some(key) = &event.key else { return };
        let place = (partition, mark.number);
        match self.last.get_mut(key) {
            None => drop(self.last.insert(key.clone(), place)),
            Some(last) => {
                self.out_of_order += u64::from(last.0 != partition || last.1 > mark.number);
                *last = place;
            }
        }
    }

    /// Different events so far.
    pub(super) fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Different keys so far.
    pub(super) fn keys(&self) -> usize {
        self.last.len()
    }

    pub(super) fn verdict(&self, expected: &Expected) -> Verdict {
        let first_missing = (0..expected.count).find(|number| !self.has(*number));
        let unexpected =
            (expected.count..self.seen.len() as u64 * 64).filter(|number| self.has(*number)).count() as u64;
        let missing = expected.count + unexpected - self.distinct;
        Verdict {
            missing,
            first_missing,
            duplicated: self.duplicated,
            out_of_order: self.out_of_order,
            foreign: self.foreign + unexpected,
            altered: missing == 0 && unexpected == 0 && self.digest != expected.digest,
        }
    }

    fn has(&self, number: u64) -> bool {
        self.seen.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Answers whether the number is new.
    fn note(&mut self, number: u64) -> bool {
        let word = (number / 64) as usize;
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let is_new = !self.has(number);
        self.seen[word] |= 1 << (number % 64);
        self.distinct += u64::from(is_new);
        is_new
    }
}

/// A sum over all events does not depend on their order. Not for secrets.
fn digest(number: u64, key: Option<&[u8]>, value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, key, value).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::events::Events;

    /// Made-up events as they are sent, and as they are received if all goes well.
    fn sent(count: usize) -> (Expected, Vec<Received>) {
        let mut expected = Expected::default();
        let mut received = Vec::new();
        for (number, event) in (0..).zip(Events::new().take(count)) {
            let key = Bytes::from(event.user_id);
            expected.add(Some(&key), &event.json);
            received.push(Received { mark: Some(Mark { number, sent_us: 0 }), key: Some(key), value: event.json });
        }
        (expected, received)
    }

    fn verdict(expected: &Expected, received: &[Received]) -> Verdict {
        let mut verifier = Verifier::default();
        received.iter().for_each(|event| verifier.take(0, event));
        verifier.verdict(expected)
    }

    #[test]
    fn all_events_once_and_in_order_are_good() {
        let (expected, received) = sent(1000);
        assert!(verdict(&expected, &received).is_good());
    }

    #[test]
    fn a_dropped_event_is_missed() {
        let (expected, mut received) = sent(1000);
        received.remove(500);
        let verdict = verdict(&expected, &received);
        assert_eq!((verdict.missing, verdict.first_missing, verdict.is_good()), (1, Some(500), false));
    }

    #[test]
    fn the_last_event_is_missed_too() {
        let (expected, mut received) = sent(1000);
        received.pop();
        assert_eq!(verdict(&expected, &received).first_missing, Some(999));
    }

    #[test]
    fn a_doubled_event_is_noticed() {
        let (expected, mut received) = sent(1000);
        received.push(received[7].clone());
        let verdict = verdict(&expected, &received);
        assert_eq!((verdict.duplicated, verdict.missing, verdict.is_good()), (1, 0, false));
    }

    #[test]
    fn events_of_one_key_must_not_change_places() {
        let (expected, mut received) = sent(1000);
        let key = received[0].key.clone();
        let next = (1..).find(|at| received[*at].key == key).unwrap();
        received.swap(0, next);
        assert_eq!(verdict(&expected, &received).out_of_order, 1);
    }

    #[test]
    fn events_of_different_keys_may_change_places() {
        let (expected, mut received) = sent(1000);
        let other = (1..).find(|at| received[*at].key != received[0].key).unwrap();
        received.swap(other - 1, other);
        assert!(verdict(&expected, &received).is_good());
    }

    #[test]
    fn a_key_in_two_partitions_is_noticed() {
        let (expected, received) = sent(1000);
        let mut verifier = Verifier::default();
        let key = received[0].key.clone();
        let next = (1..).find(|at| received[*at].key == key).unwrap();
        for (at, event) in received.iter().enumerate() {
            verifier.take(i32::from(at == next), event);
        }
        assert!(verifier.verdict(&expected).out_of_order > 0);
    }

    #[test]
    fn a_changed_value_is_noticed() {
        let (expected, mut received) = sent(1000);
        received[3].value = Bytes::from_static(b"{}");
        let verdict = verdict(&expected, &received);
        assert!(verdict.altered && !verdict.is_good());
    }

    #[test]
    fn events_that_nobody_sent_are_noticed() {
        let (expected, mut received) = sent(10);
        received.push(Received { mark: None, key: None, value: Bytes::new() });
        received.push(Received { mark: Some(Mark { number: 10, sent_us: 0 }), key: None, value: Bytes::new() });
        received.push(Received { mark: Some(Mark { number: u64::MAX, sent_us: 0 }), key: None, value: Bytes::new() });
        let verdict = verdict(&expected, &received);
        assert_eq!((verdict.foreign, verdict.missing), (3, 0));
    }
}
