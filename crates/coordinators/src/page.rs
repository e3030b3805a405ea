//! A list of names comes page by page, so that a coordinator's thread serves others in between, and whoever collects the
//! list knows how large it is before it becomes larger.

/// A page ends with the entry that makes it so large, in bytes on the wire.
const PAGE_BYTES: usize = 8 * 1024;
/// A page ends after so many names, whether they are listed or not: some hundred microseconds.
const LOOKED_AT_MAX: usize = 1024;

/// Some entries of a list that is ordered by names.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The entries.
    pub listed: Vec<T>,
    /// What they take on the wire.
    pub size_bytes: usize,
    /// The last name that was looked at, after which there may be more.
    pub last: Option<String>,
}

impl<T> Page<T> {
    /// The first page of `all`. `list` makes an entry of what is to be listed, `weigh` says what that takes.
    pub(crate) fn of<'a, V>(
        all: impl Iterator<Item = (&'a String, V)>,
        list: impl Fn(&'a str, V) -> Option<T>,
        weigh: impl Fn(&T) -> usize,
    ) -> Page<T> {
        let mut page = Page { listed: Vec::new(), size_bytes: 0, last: None };
        for ((name, value), looked_at) in all.zip(1..) {
            if let Some(entry) = list(name, value) {
                page.size_bytes += weigh(&entry);
                page.listed.push(entry);
            }
            if looked_at == LOOKED_AT_MAX || page.size_bytes >= PAGE_BYTES {
                page.last = Some(name.clone());
                break;
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use super::*;

    /// All pages of the numbers below `count` that are multiples of `step`: how much each lists and takes.
    fn pages(count: usize, step: usize) -> Vec<(usize, usize)> {
        let all: BTreeMap<String, usize> = (0..count).map(|number| (format!("{number:09}"), number)).collect();
        let (mut pages, mut listed, mut last) = (Vec::new(), Vec::new(), None::<String>);
        loop {
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rest = all.range::<str, _>((from, Bound::Unbounded));
            let page = Page::of(rest, |_, number| number.is_multiple_of(step).then_some(*number), |_| 100);
            pages.push((page.listed.len(), page.size_bytes));
            listed.extend(page.listed);
            last = page.last;
            if last.is_none() {
                assert!(listed.into_iter().eq((0..count).step_by(step)), "each once, in order");
                return pages;
            }
        }
    }

    #[test]
    fn pages_are_small_and_nothing_is_missed_between_them() {
        assert_eq!(pages(0, 1), [(0, 0)]);
        let many = pages(1000, 1);
        assert_eq!(many.len(), 1000usize.div_ceil(82));
        assert!(many.iter().all(|(_, bytes)| *bytes <= PAGE_BYTES + 100));
    }

    #[test]
    fn a_page_ends_also_where_nothing_is_listed() {
        assert_eq!(
            pages(10_000, 5000),
            [(1, 100), (0, 0), (0, 0), (0, 0), (1, 100), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)]
        );
    }
}
