//! The log as the metadata quorum uses it: ready batches, truncation, restart.

use milena_disk::MemoryDisk;
use milena_protocol::records::{BatchOptions, batches};

use super::*;
use crate::OpenHints;
use crate::fixture::{batch, contents, dir, small};

fn fresh() -> (MemoryDisk, Log<MemoryDisk>) {
    let disk = MemoryDisk::new();
    let (log, _) = Log::open(disk.clone(), dir(), small(), &OpenHints::default(), Millis(0)).unwrap();
    (disk, log)
}

fn ready(base: i64, count: usize, epoch: i32) -> Batch {
    let options =
        BatchOptions { base_offset: Offset(base), leader_epoch: LeaderEpoch(epoch), ..BatchOptions::default() };
    let records: Vec<(i64, Vec<u8>)> = (0..count).map(|at| (base + at as i64, vec![7; 40])).collect();
    Batch::parse(batch(&records, &options)).unwrap()
}

/// Batches of three, 0 to 179; the epoch grows at 90.
fn fill(log: &mut Log<MemoryDisk>) {
    for at in 0..60 {
        log.append_ready(Millis(0), &ready(at * 3, 3, if at < 30 { 1 } else { 4 })).unwrap();
    }
}

fn bases(log: &mut Log<MemoryDisk>, from: i64) -> Vec<i64> {
    let end = log.log_end();
    let mut found = Vec::new();
    let mut offset = Offset(from);
    while offset < end {
        let bytes = contents(&log.read(offset, 600, true, end).unwrap());
        for batch in batches(bytes).tolerate_cut() {
            let header = *batch.unwrap().header();
            found.push(header.base_offset.0);
            offset = header.next_offset();
        }
    }
    found
}

#[test]
fn ready_batches_keep_their_offsets_and_epochs() {
    let (_, mut log) = fresh();
    fill(&mut log);
    assert_eq!(bases(&mut log, 0), (0..60).map(|at| at * 3).collect::<Vec<_>>());
    assert_eq!(log.epochs().entries(), [(LeaderEpoch(1), Offset(0)), (LeaderEpoch(4), Offset(90))]);
    let late = log.append_ready(Millis(0), &ready(179, 1, 4));
    assert!(matches!(late, Err(LogAppendError::Offset { log_end: Offset(180), .. })));
}

#[test]
fn truncation_cuts_at_any_batch_and_the_rest_goes_on() {
    for cut in [179, 150, 91, 90, 89, 48, 3, 0] {
        let (_, mut log) = fresh();
        fill(&mut log);
        let before = log.truncations();
        log.truncate_to(Millis(0), Offset(cut)).unwrap();
        let end = cut / 3 * 3;
        assert_eq!(log.log_end(), Offset(end), "cut at {cut}");
        assert!(log.truncations() > before);
        assert!(log.epochs().latest_start().is_none_or(|start| start < Offset(end)));
        log.append_ready(Millis(0), &ready(end, 5, 9)).unwrap();
        let expected: Vec<i64> = (0..=end / 3).map(|at| at * 3).collect();
        assert_eq!(bases(&mut log, 0), expected);
    }
}

#[test]
fn what_was_cut_does_not_come_back_after_a_restart() {
    let (disk, mut log) = fresh();
    fill(&mut log);
    log.flush(Millis(0)).unwrap();
    log.truncate_to(Millis(0), Offset(60)).unwrap();
    let recovery_point = log.close().unwrap();
    disk.crash();
    let hints = OpenHints { recovery_point, clean: true, ..OpenHints::default() };
    let (mut log, _) = Log::open(disk, dir(), small(), &hints, Millis(0)).unwrap();
    assert_eq!(log.log_end(), Offset(60));
    assert_eq!(bases(&mut log, 0).len(), 20);
}

#[test]
fn a_flush_from_before_a_truncation_counts_for_nothing() {
    let (disk, mut log) = fresh();
    fill(&mut log);
    let flush = log.prepare_flush().unwrap().unwrap();
    log.truncate_to(Millis(0), Offset(30)).unwrap();
    log.append_ready(Millis(0), &ready(30, 30, 5)).unwrap();
    let token = flush.run(&disk).unwrap();
    log.flushed(Millis(0), token);
    assert!(log.recovery_point() <= Offset(30));
}

#[test]
fn a_restart_elsewhere_leaves_nothing_behind() {
    let (disk, mut log) = fresh();
    fill(&mut log);
    log.restart_at(Millis(0), Offset(1_000)).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset(1_000), Offset(1_000)));
    assert_eq!(disk.paths().len(), 3);
    log.append_ready(Millis(0), &ready(1_000, 2, 5)).unwrap();
    assert_eq!(bases(&mut log, 1_000), [1_000]);
}

#[test]
fn interrupted_compactions_are_completed_or_undone() {
    let (disk, mut log) = fresh();
    fill(&mut log);
    let starts: Vec<Offset> = log.segment_bases().collect();
    let end = log.close().unwrap();
    let rename = |base: Offset, suffix: &str, end: &str| {
        let path = names::file(&dir(), base, suffix);
        disk.rename(&path, &names::with_suffix(&path, end)).unwrap();
    };
    // The second segment was replaced by a cleaned one that has not got its name yet; its old files are still there.
    for suffix in [names::LOG, names::OFFSET_INDEX, names::TIME_INDEX] {
        rename(starts[1], suffix, names::SWAP);
    }
    let old = disk.open(&names::file(&dir(), starts[1].next(), names::LOG)).unwrap();
    old.write_at(b"old", 0).unwrap();
    disk.open(&names::with_suffix(&names::file(&dir(), end, names::LOG), names::CLEANED)).unwrap();
    disk.open(&names::with_suffix(&names::file(&dir(), end, names::LOG), names::DELETED)).unwrap();
    disk.open(&names::file(&dir(), end, names::OFFSET_INDEX)).unwrap();
    let hints = OpenHints { recovery_point: end, clean: true, ..OpenHints::default() };
    let (mut log, recovered) = Log::open(disk.clone(), dir(), small(), &hints, Millis(0)).unwrap();
    assert_eq!((recovered.segments_scanned, log.log_end()), (0, end));
    assert_eq!(log.segment_bases().collect::<Vec<_>>(), starts);
    assert_eq!(bases(&mut log, 0).len(), 60);
    let left = disk.paths();
    assert!(left.iter().all(|path| {
        ![names::SWAP, names::CLEANED, names::DELETED].iter().any(|end| path.to_str().unwrap().ends_with(end))
    }));
    assert!(!left.contains(&names::file(&dir(), end, names::OFFSET_INDEX)));
}

#[test]
fn what_was_cut_off_before_a_flush_is_not_unflushed_any_more() {
    let (_, mut log) = fresh();
    fill(&mut log);
    log.flush(Millis(0)).unwrap();
    log.append_ready(Millis(0), &ready(180, 3, 4)).unwrap();
    assert!(log.unflushed().bytes > 0);
    log.truncate_to(Millis(0), Offset(180)).unwrap();
    assert_eq!((log.unflushed(), log.unflushed_since()), (Volume::default(), None));
    log.append_ready(Millis(0), &ready(180, 3, 5)).unwrap();
    assert_eq!(log.unflushed().records, 3);
}
