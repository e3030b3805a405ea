//! The machine stops at each change of the disk in turn, in the midst of a compaction or of the opening after it. Whatever
//! is found then: nothing that was left is lost, and nothing that was gone comes back.

use milena_base::Random;

use super::*;

/// What is lost when the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The process was killed: the disk has everything.
    Nothing,
    /// The power went.
    Unflushed,
    /// The power went, and chance kept some.
    Some,
}

/// A log that was compacted once, and went on; everything is flushed. With how far it was compacted.
fn prepared(seed: u64) -> (History, Offset) {
    let mut history = History::random(seed, compacted());
    history.go_on(30);
    history.end_all();
    history.roll();
    let first = compact(&mut history.partition, history.now, None, AMPLE).unwrap();
    history.go_on(25);
    history.end_all();
    history.roll();
    history.now += 2_000;
    history.partition.flush(Millis(history.now)).unwrap();
    (history, first.map_or(Offset(0), |first| first.end))
}

fn lose(disk: &MemoryDisk, loss: Loss, seed: u64) {
    match loss {
        Loss::Nothing => disk.stop_after(u64::MAX),
        Loss::Unflushed => disk.crash(),
        Loss::Some => disk.crash_randomly(&mut Random::from_seed(seed)),
    }
}

/// Opens it as after a stop that was not clean; the machine may stop once more meanwhile.
fn open_again(history: &History, recovery_point: Offset, loss: Loss, seed: u64) -> Partition<MemoryDisk> {
    let hints = OpenHints { recovery_point, high_watermark: recovery_point, ..OpenHints::default() };
    let disk = &history.disk;
    if seed % 2 == 1 {
        disk.stop_after(seed % 7);
        let once = Partition::open(
            disk.clone(),
            dir(),
            crate::fixture::topic_partition(),
            crate::fixture::TOPIC_ID,
            compacted(),
            hints,
            Millis(0),
        );
        drop(once);
        lose(disk, loss, seed);
    }
    reopen(disk, compacted(), hints)
}

/// What a compaction leaves that nothing stops.
fn least_of(seed: u64) -> Vec<Record> {
    let (mut history, compacted_to) = prepared(seed);
    compact(&mut history.partition, history.now, Some(compacted_to), AMPLE).unwrap();
    records_of(&mut history.partition)
}

/// Stops a compaction after so many changes; false where it came to its end before.
fn stop_and_look(seed: u64, changes: u64, loss: Loss, least: &[Record]) -> bool {
    let place = format!("seed {seed}, {changes} changes, loses {loss:?}");
    let (mut history, compacted_to) = prepared(seed);
    let (most, marks) = (records_of(&mut history.partition), history.partition.marks());
    let committed = values(&committed_of(&mut history.partition));
    let producers = history.partition.producers();
    history.disk.stop_after(changes);
    let done = compact(&mut history.partition, history.now, Some(compacted_to), AMPLE);
    lose(&history.disk, loss, seed + changes);
    let mut again = open_again(&history, marks.log_end, loss, seed + changes);

    assert_eq!(again.marks(), marks, "{place}");
    let found = records_of(&mut again);
    assert!(found.is_sorted_by_key(|record| record.offset), "{place}");
    assert!(found.iter().all(|record| most.contains(record)), "something came back: {place}");
    assert!(least.iter().all(|record| found.contains(record)), "something is lost: {place}");
    assert_eq!(values(&committed_of(&mut again)), committed, "{place}");
    let sequences = |of: &[crate::ProducerInfo]| -> Vec<_> {
        of.iter().map(|of| (of.producer_id, of.producer_epoch, of.last_sequence)).collect()
    };
    assert_eq!(sequences(&again.producers()), sequences(&producers), "{place}");
    let paths = history.disk.paths();
    let is_unfinished = |path: &std::path::PathBuf| {
        [".cleaned", ".swap", ".deleted"].iter().any(|ending| path.to_str().unwrap().ends_with(ending))
    };
    assert!(!paths.iter().any(is_unfinished), "{place}: {paths:?}");

    // The next round comes to where the one that was stopped would have come.
    compact(&mut again, history.now, Some(compacted_to), AMPLE).unwrap();
    assert_eq!(records_of(&mut again), least, "{place}");
    done.is_err()
}

#[test]
fn a_stop_at_any_change_loses_nothing_and_brings_nothing_back() {
    for (seed, loss) in [(0, Loss::Nothing), (1, Loss::Unflushed), (2, Loss::Some), (3, Loss::Some)] {
        let least = least_of(seed);
        let mut changes = 0;
        while stop_and_look(seed, changes, loss, &least) {
            changes += 1;
        }
        assert!(changes > 50, "seed {seed}: the compaction changed the disk {changes} times");
    }
}

#[test]
fn what_a_compaction_that_was_given_up_left_is_no_danger_to_the_next() {
    let (mut history, compacted_to) = prepared(1);
    let dirt = history.partition.dirt(Millis(history.now), Some(compacted_to)).unwrap();
    let mut given_up = history.partition.compact(Millis(history.now), &dirt, AMPLE).unwrap().unwrap();
    for _ in 0..10 {
        given_up.step().unwrap();
    }
    // Its files stay, as if the process had been killed.
    drop(given_up);
    history.partition.compacted();
    let before = records_of(&mut history.partition);
    compact(&mut history.partition, history.now, Some(compacted_to), AMPLE).unwrap().unwrap();
    let after = records_of(&mut history.partition);
    history.partition.flush(Millis(history.now)).unwrap();
    history.disk.crash();
    let end = history.partition.marks().log_end;
    let mut again = open_again(&history, end, Loss::Unflushed, 0);
    assert_eq!(records_of(&mut again), after);
    assert!(after.len() < before.len());
}
