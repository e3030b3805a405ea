//! How often one request may name the same thing. Naming it a thousand times must not make a thousand answers: a few
//! kilobytes would ask for gigabytes. Kafka has no bound; no client names anything twice.

use std::collections::BTreeMap;

/// Answers for the same thing in one request. Whatever is named more often is not answered again.
const REPEATED_MAX: usize = 8;

/// Counts what a request names.
pub(super) struct Repeated<K> {
    named: BTreeMap<K, usize>,
}

impl<K: Ord> Repeated<K> {
    pub(super) fn new() -> Repeated<K> {
        Repeated { named: BTreeMap::new() }
    }

    /// Whether this is still to be answered.
    pub(super) fn lets_pass(&mut self, named: K) -> bool {
        let times = self.named.entry(named).or_default();
        *times += 1;
        *times <= REPEATED_MAX
    }
}

/// The names without those that are named too often.
pub(super) fn bounded(names: &[String]) -> Vec<String> {
    let mut repeated = Repeated::new();
    names.iter().filter(|name| repeated.lets_pass(*name)).cloned().collect()
}
