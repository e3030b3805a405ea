//! Which segments become one. A segment that shrinks again and again would end as one of very many small ones: neighbours
//! are joined as long as together they were not larger than a segment may be.
//!
//! Source: `Cleaner.groupSegmentsBySize` in Kafka 4.3.1.

use std::ops::Range;

use milena_protocol::Offset;

use crate::LogSettings;

/// A segment that is to be compacted, as far as its size matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) base_offset: Offset,
    pub(crate) size_bytes: u64,
    pub(crate) offsets_bytes: u64,
    pub(crate) times_bytes: u64,
}

/// Cuts the segments, in order, into groups that are neighbours. All end before `first_uncleanable`.
pub(crate) fn groups(sources: &[Source], settings: &LogSettings, first_uncleanable: Offset) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < sources.len() {
        let mut end = start + 1;
        while end < sources.len() && fits(&sources[start..=end], sources.get(end + 1), settings, first_uncleanable) {
            end += 1;
        }
        groups.push(start..end);
        start = end;
    }
    groups
}

/// Whether these may become one; the last of them is the one in question, and `next` follows it.
fn fits(group: &[Source], next: Option<&Source>, settings: &LogSettings, first_uncleanable: Offset) -> bool {
    let sum = |bytes: fn(&Source) -> u64| group.iter().map(bytes).sum::<u64>();
    let last = &group[group.len() - 1];
    let end = next.map_or(first_uncleanable, |next| next.base_offset);
    // An index says in 32 bits how far behind the base an offset is; an empty segment has none.
    let in_reach = last.size_bytes == 0 || end - group[0].base_offset <= i64::from(i32::MAX) + 1;
    sum(|source| source.size_bytes) <= settings.segment_bytes.into()
        && sum(|source| source.offsets_bytes) <= settings.index_bytes_max.into()
        && sum(|source| source.times_bytes) <= settings.index_bytes_max.into()
        && in_reach
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(base_offset: i64, size_bytes: u64) -> Source {
        Source { base_offset: Offset(base_offset), size_bytes, offsets_bytes: 8, times_bytes: 12 }
    }

    fn cut(sources: &[Source], first_uncleanable: i64) -> Vec<(usize, usize)> {
        let settings = LogSettings { segment_bytes: 100, index_bytes_max: 36, ..LogSettings::default() };
        let groups = groups(sources, &settings, Offset(first_uncleanable));
        groups.into_iter().map(|group| (group.start, group.end)).collect()
    }

    #[test]
    fn neighbours_are_joined_up_to_the_size_of_a_segment() {
        let sources = [source(0, 60), source(10, 40), source(20, 1), source(30, 0), source(40, 100)];
        assert_eq!(cut(&sources, 50), [(0, 2), (2, 4), (4, 5)]);
        assert_eq!(cut(&[source(0, 500)], 50), [(0, 1)], "one that is too large stays alone");
        assert_eq!(cut(&[], 0), []);
    }

    #[test]
    fn the_indexes_must_fit_too() {
        let sources: Vec<Source> = (0..5).map(|at| source(at, 1)).collect();
        assert_eq!(cut(&sources, 5), [(0, 3), (3, 5)], "three times 12 bytes");
    }

    #[test]
    fn no_offset_is_too_far_from_its_segments_base() {
        let far = i64::from(i32::MAX);
        assert_eq!(cut(&[source(0, 1), source(10, 1)], far + 1), [(0, 2)], "the last offset is {far}");
        assert_eq!(cut(&[source(0, 1), source(10, 1)], far + 2), [(0, 1), (1, 2)]);
        assert_eq!(cut(&[source(0, 1), source(10, 1), source(far + 2, 1)], far + 9), [(0, 1), (1, 3)]);
        assert_eq!(cut(&[source(0, 1), source(far * 2, 0)], far * 3), [(0, 2)], "it is empty");
    }
}
