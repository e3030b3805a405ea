//! What must hold for a topic that was written through kills: nothing acknowledged is lost or has moved, nothing is
//! there twice, and each partition holds its values in the order in which they were sent.

use std::collections::{BTreeMap, BTreeSet};

/// One record: where it is, and the number that is its value. Values are sent to a partition in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) value: u64,
}

/// `partition offset value`, one record per line.
pub(super) fn parse(text: &str) -> Result<Vec<Place>, String> {
    let place = |line: &str| {
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let place = Place { partition: u32::try_from(next()?).ok()?, offset: next()?, value: next()? };
        numbers.next().is_none().then_some(place)
    };
    text.lines().map(|line| place(line).ok_or_else(|| format!("not a record: {line:?}"))).collect()
}

/// Everything that is wrong with `stored`, in the order in which it was read, given what was acknowledged before.
pub(super) fn faults(acknowledged: &[Place], stored: &[Place]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut by_offset: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let mut values = BTreeSet::new();
    let mut last: BTreeMap<u32, Place> = BTreeMap::new();
    for place in stored {
        let Place { partition, offset, value } = *place;
        if !values.insert(value) {
            faults.push(format!("duplicated: value {value}, again at offset {offset} of partition {partition}"));
        }
        if let Some(before) = last.insert(partition, *place) {
            if offset != before.offset + 1 {
                faults.push(format!("gap: partition {partition} goes from offset {} to {offset}", before.offset));
            }
            if value <= before.value {
                faults.push(format!("order: partition {partition} holds {} before {value}", before.value));
            }
        }
        by_offset.insert((partition, offset), value);
    }
    for Place { partition, offset, value } in acknowledged {
        match by_offset.get(&(*partition, *offset)) {
            Some(found) if found == value => {}
            found if values.contains(value) => {
                faults.push(format!(
                    "moved: value {value}, acknowledged at {partition}/{offset}, where now {found:?} is"
                ));
            }
            found => faults
                .push(format!("lost: value {value}, acknowledged at {partition}/{offset}, where now {found:?} is")),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<Place> {
        parse(text).unwrap()
    }

    const STORED: &str = "0 0 10\n0 1 12\n1 0 11\n0 2 14\n";

    #[test]
    fn a_log_that_kept_everything_has_no_faults() {
        assert!(faults(&places("0 0 10\n0 1 12\n1 0 11"), &places(STORED)).is_empty());
    }

    #[test]
    fn an_acknowledged_record_that_is_missing_is_lost() {
        assert!(faults(&places("0 3 16"), &places(STORED))[0].starts_with("lost: value 16"));
    }

    #[test]
    fn an_acknowledged_record_at_another_offset_has_moved() {
        assert!(faults(&places("0 1 14"), &places(STORED))[0].starts_with("moved: value 14"));
    }

    #[test]
    fn a_value_that_is_there_twice_is_duplicated() {
        assert!(faults(&[], &places("0 0 10\n1 0 10"))[0].starts_with("duplicated: value 10"));
    }

    #[test]
    fn values_that_changed_places_and_offsets_that_are_missing_are_found() {
        assert!(faults(&[], &places("0 0 12\n0 1 10"))[0].starts_with("order:"));
        assert!(faults(&[], &places("0 0 10\n0 2 12"))[0].starts_with("gap:"));
    }

    #[test]
    fn a_line_that_is_no_record_is_an_error() {
        assert!(parse("0 0").is_err() && parse("0 0 x").is_err() && parse("0 0 1 2").is_err());
    }
}
