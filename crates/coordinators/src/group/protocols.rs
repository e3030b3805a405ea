//! The protocols that all members of the classic protocol have.

/// The names among `offered` that every member has too, in order and each once. Without members all of them.
///
/// A member may offer very many: the time is in proportion to all names, not to their product.
pub(super) fn common_protocols<'a, 'b>(
    offered: impl Iterator<Item = &'a str>,
    members: impl Iterator<Item = impl Iterator<Item = &'b str>>,
) -> Vec<&'a str> {
    let mut common: Vec<&str> = offered.collect();
    common.sort_unstable();
    common.dedup();
    let mut has = Vec::new();
    for names in members {
        has.clear();
        has.resize(common.len(), false);
        for at in names.filter_map(|name| common.binary_search(&name).ok()) {
            has[at] = true;
        }
        let mut has = has.iter();
        common.retain(|_| has.next() == Some(&true));
        if common.is_empty() {
            break;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::common_protocols;

    fn common<'a>(offered: &[&'a str], members: &[&[&str]]) -> Vec<&'a str> {
        common_protocols(offered.iter().copied(), members.iter().map(|names| names.iter().copied()))
    }

    #[test]
    fn only_what_everybody_has_is_common() {
        assert_eq!(common(&["sticky", "range", "own"], &[&["range", "sticky"], &["sticky"]]), ["sticky"]);
        assert_eq!(common(&["range"], &[&["range"], &["sticky"], &["range"]]), Vec::<&str>::new());
        assert_eq!(common(&["b", "a", "b"], &[]), ["a", "b"]);
    }
}
