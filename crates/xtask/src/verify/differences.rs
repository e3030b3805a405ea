//! The intended differences from Apache Kafka are one list in the twin's folder. Its length is printed, and it may
//! only be longer than what the changelog admits when the changelog says so.

use crate::finding::Finding;
use crate::repository::TextFile;

/// One block per entry: a scenario, the line, both answers, the reason.
const LIST: &str = "crates/twin/differences.txt";
const CHANGELOG: &str = "CHANGELOG.md";
/// The line of the changelog that admits how many there are, for example `Intended differences: 3`.
const ADMITTED: &str = "Intended differences:";

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let Some(list) = files.iter().find(|file| file.path == LIST) else {
        return vec![Finding::of(LIST, "is missing: the intended differences from Kafka must be one list")];
    };
    let length = entries(&list.text);
    let changelog = files.iter().find(|file| file.path == CHANGELOG).map_or("", |file| file.text.as_str());
    let admitted = changelog.lines().find_map(|line| line.split_once(ADMITTED)?.1.trim().parse::<usize>().ok());
    println!("       {length} intended differences from Apache Kafka");
    match admitted {
        Some(admitted) if length <= admitted => Vec::new(),
        Some(admitted) => {
            vec![Finding::of(LIST, format!("has {length} entries; {CHANGELOG} admits {admitted}"))]
        }
        None if length == 0 => Vec::new(),
        None => vec![Finding::of(CHANGELOG, format!("has no line \"{ADMITTED} {length}\""))],
    }
}

/// Every entry begins with the scenario that it belongs to; `#` starts a comment.
fn entries(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("scenario:")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(list: &str, changelog: &str) -> usize {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        check(&[file(LIST, list), file(CHANGELOG, changelog)]).len()
    }

    #[test]
    fn a_list_that_grew_without_a_changelog_line_is_found() {
        let two = "# scenario: no\nscenario: a\nkafka: 1\nmilena: 2\n\nscenario: b\nkafka: 1\n";
        assert_eq!(findings(two, "Intended differences: 2"), 0);
        assert_eq!(findings(two, "Intended differences: 1"), 1);
        assert_eq!(findings(two, "nothing"), 1);
        assert_eq!(findings("# empty\n", "nothing"), 0);
    }

    #[test]
    fn a_missing_list_is_found() {
        assert_eq!(check(&[]).len(), 1);
    }
}
