//! One partition, operation by operation, and whole histories against a list.

use milena_base::{DiskFile, Random};
use milena_protocol::Sequence;
use milena_protocol::records::BatchOptions;

use super::*;
use crate::fixture::*;
use crate::{Origin, Rules, validate};

fn records(count: usize, timestamp: i64) -> Vec<(i64, Vec<u8>)> {
    (0..count).map(|at| (timestamp + at as i64, format!("value {timestamp} {at}").into_bytes())).collect()
}

fn fill<D: Disk>(partition: &mut Partition<D>, batches: i64) {
    for at in 0..batches {
        append(partition, at, &records(2, 1_000 + at * 10), &BatchOptions::default()).unwrap();
    }
}

fn clean(partition: &Partition<impl Disk>) -> OpenHints {
    let marks = partition.marks();
    let (log_start, high_watermark) = (marks.log_start, marks.high_watermark);
    OpenHints { recovery_point: marks.log_end, log_start, high_watermark, clean: true, ..OpenHints::default() }
}

#[test]
fn what_was_appended_is_read_back_across_segments() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 100);
    assert!(partition.log().segment_bases().count() > 3);
    let all = read_all(&mut partition, Offset(0), 500);
    assert_eq!(all.len(), 200);
    assert!(all.iter().enumerate().all(|(at, (offset, _))| *offset == at as i64));
    assert_eq!(read_all(&mut partition, Offset(77), 1)[0].0, 77);
    assert_eq!(partition.marks().high_watermark, Offset(200));
}

#[test]
fn a_damaged_index_is_made_anew_when_the_log_beside_it_is_whole() {
    let settings = LogSettings { index_interval_bytes: 0, ..LogSettings::default() };
    for garbage in [&[0xff; 13][..], &[0; 24], &[0, 0, 0, 9, 0, 0, 0, 200]] {
        let (disk, mut partition) = fresh(settings.clone());
        fill(&mut partition, 20);
        let (hints, dir) = (clean(&partition), partition.dir().to_owned());
        partition.close().unwrap();
        let index = disk.open_existing(&dir.join(format!("{:020}.index", 0))).unwrap();
        let at = index.size_bytes().unwrap() - 8;
        index.write_at(garbage, at).unwrap();
        let (mut again, recovered) = open(&disk, &dir, settings.clone(), hints, 2);
        assert_eq!((recovered.segments_scanned, recovered.truncated_bytes), (1, 0));
        assert_eq!(read_all(&mut again, Offset(0), 500).len(), 40);
    }
}

#[test]
fn a_full_disk_refuses_appends_only_as_long_as_it_is_full() {
    let (disk, mut partition) = fresh(LogSettings::default());
    fill(&mut partition, 3);
    let log = partition.log().segment_bases().next().expect("one segment");
    let size_bytes = partition.size_bytes();
    disk.set_room(Some(30));
    for _ in 0..2 {
        let refused = append(&mut partition, 0, &records(2, 5_000), &BatchOptions::default());
        assert!(matches!(refused, Err(AppendError::Disk(error)) if is_disk_full(&error)));
        assert!(!partition.is_offline());
    }
    let path = partition.dir().join(format!("{:020}.log", log.0));
    let on_disk = disk.open_existing(&path).unwrap().size_bytes().unwrap();
    assert_eq!((on_disk, partition.size_bytes()), (size_bytes, size_bytes), "nothing torn is left");
    disk.set_room(None);
    append(&mut partition, 0, &records(2, 5_000), &BatchOptions::default()).unwrap();
    assert_eq!(read_all(&mut partition, Offset(0), 500).len(), 8);
}

#[test]
fn reads_outside_the_log_are_refused_and_at_its_end_are_empty() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 3);
    assert_eq!(partition.read(&request(Offset(6), 100)).unwrap().slice.size_bytes(), 0);
    for offset in [-1, 7] {
        let refused = partition.read(&request(Offset(offset), 100));
        assert!(matches!(refused, Err(ReadError::OutOfRange { .. })), "{offset}");
    }
}

#[test]
fn the_first_batch_comes_whole_or_not_at_all() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 3);
    let whole = partition.read(&request(Offset(2), 10)).unwrap().slice;
    assert!(whole.size_bytes() > 61);
    let one = whole.size_bytes();
    for (max_bytes, expected) in [(10, 0), (one - 1, 0), (one, one), (one + 10, one + 10)] {
        let read = partition.read(&ReadRequest { min_one_batch: false, ..request(Offset(2), max_bytes) });
        assert_eq!(read.unwrap().slice.size_bytes(), expected, "{max_bytes}");
    }
}

#[test]
fn epochs_fence_appends_and_reads() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 1);
    partition.lead(LeaderEpoch(5)).unwrap();
    assert!(matches!(partition.lead(LeaderEpoch(4)), Err(LeadershipError::FencedLeaderEpoch { .. })));
    let settings = partition.settings().clone();
    let name = topic_partition();
    let rules = Rules::new(&settings, &name, Origin::Coordinator);
    let valid = validate(batch(&records(1, 0), &BatchOptions::default()), &rules, Millis(0)).unwrap();
    let mut append = |epoch| partition.append(Millis(0), &valid, Some(LeaderEpoch(epoch)), Voucher::NotNeeded);
    assert!(matches!(append(4), Err(AppendError::Leadership(LeadershipError::FencedLeaderEpoch { .. }))));
    assert!(matches!(append(6), Err(AppendError::Leadership(LeadershipError::UnknownLeaderEpoch { .. }))));
    assert_eq!(append(5).unwrap().base_offset, Offset(2));
    let asked = |epoch| ReadRequest { current_leader_epoch: Some(LeaderEpoch(epoch)), ..request(Offset(0), 10) };
    assert!(matches!(partition.read(&asked(4)), Err(ReadError::Leadership(LeadershipError::FencedLeaderEpoch { .. }))));
    assert!(matches!(
        partition.read(&asked(6)),
        Err(ReadError::Leadership(LeadershipError::UnknownLeaderEpoch { .. }))
    ));
    partition.resign(LeaderEpoch(6));
    assert!(matches!(partition.read(&asked(5)), Err(ReadError::Leadership(LeadershipError::FencedLeaderEpoch { .. }))));
    assert!(matches!(partition.read(&asked(6)), Err(ReadError::Leadership(LeadershipError::NotLeader))));
    assert!(partition.read(&ReadRequest { from_any_replica: true, ..asked(6) }).is_ok());
    assert!(matches!(
        partition.append(Millis(0), &valid, None, Voucher::NotNeeded),
        Err(AppendError::Leadership(LeadershipError::NotLeader))
    ));
}

#[test]
fn a_reader_whose_log_parted_from_ours_is_told_where() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 2);
    partition.lead(LeaderEpoch(3)).unwrap();
    fill(&mut partition, 2);
    let asked =
        |offset, epoch| ReadRequest { last_fetched_epoch: Some(LeaderEpoch(epoch)), ..request(Offset(offset), 10) };
    assert_eq!(partition.read(&asked(4, 0)).unwrap().diverging, None);
    let end = Some(EpochEnd { epoch: LeaderEpoch(0), end_offset: Offset(4) });
    assert_eq!(partition.read(&asked(5, 0)).unwrap().diverging, end);
    assert_eq!(partition.read(&asked(5, 2)).unwrap().diverging, end);
    assert!(matches!(partition.read(&asked(5, 4)), Err(ReadError::OutOfRange { .. })));
    assert_eq!(partition.end_offset_for_epoch(LeaderEpoch(3), None).unwrap().unwrap().end_offset, Offset(8));
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offset() {
    let (_, mut partition) = fresh(small());
    for sequence in 0..3 {
        append(&mut partition, 0, &records(1, 0), &producer(7, 0, sequence)).unwrap();
    }
    let again = append(&mut partition, 0, &records(1, 0), &producer(7, 0, 1)).unwrap();
    assert_eq!((again.base_offset, again.last_offset, again.duplicate), (Offset(1), Offset(1), true));
    assert_eq!(partition.marks().log_end, Offset(3));
    let gap = append(&mut partition, 0, &records(1, 0), &producer(7, 0, 4));
    assert!(matches!(gap, Err(AppendError::OutOfOrderSequence { .. })));
}

#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    let (_, mut partition) = fresh(small());
    let large = vec![(0, vec![7; 3_000])];
    assert!(matches!(
        append(&mut partition, 0, &large, &BatchOptions::default()),
        Err(AppendError::LargerThanSegment { segment_bytes: 2_000, .. })
    ));
}

#[test]
fn a_segment_is_rolled_by_the_time_of_its_records() {
    let (_, mut partition) = fresh(LogSettings { segment_ms: 1_000, segment_bytes: 1 << 20, ..small() });
    let mut rolled =
        |timestamp| append(&mut partition, 0, &records(1, timestamp), &BatchOptions::default()).unwrap().rolled;
    assert!(!rolled(5_000));
    assert!(!rolled(6_000));
    assert!(rolled(6_001));
    assert!(!rolled(7_001));
}

#[test]
fn a_full_index_rolls_the_segment() {
    let (_, mut partition) = fresh(LogSettings { segment_bytes: 1 << 20, index_bytes_max: 80, ..small() });
    fill(&mut partition, 60);
    assert!(partition.log().segment_bases().count() > 3);
    assert_eq!(read_all(&mut partition, Offset(0), 1_000).len(), 120);
}

#[test]
fn old_segments_go_and_the_log_start_with_them() {
    let (disk, mut partition) = fresh(LogSettings { retention_ms: 500, ..small() });
    fill(&mut partition, 60);
    let effects = partition.tick(Millis(1_000 + 300 + 500)).unwrap();
    assert!(effects.log_start_moved);
    let start = partition.marks().log_start;
    assert!(start > Offset(0) && start < Offset(60), "{start}");
    assert!(effects.unlinks.iter().all(|unlink| unlink.due == Millis(1_800 + 60_000)));
    assert!(effects.unlinks.iter().all(|unlink| disk.paths().contains(&unlink.path)));
    assert!(matches!(partition.read(&request(Offset(0), 10)), Err(ReadError::OutOfRange { .. })));
    assert_eq!(read_all(&mut partition, start, 300).len() as i64, 120 - start.0);
    // Everything is old: one empty segment is left.
    partition.tick(Millis(1_000_000)).unwrap();
    assert_eq!(partition.marks().log_start, Offset(120));
    assert_eq!(partition.size_bytes(), 0);
    fill(&mut partition, 1);
    assert_eq!(read_all(&mut partition, Offset(120), 300).len(), 2);
}

#[test]
fn size_retention_keeps_at_least_what_is_asked_for() {
    let (_, mut partition) = fresh(LogSettings { retention_bytes: 5_000, retention_ms: -1, ..small() });
    fill(&mut partition, 100);
    partition.tick(Millis(0)).unwrap();
    let size = partition.size_bytes();
    assert!((5_000..7_000).contains(&size), "{size}");
}

#[test]
fn deleted_records_are_not_read_and_their_segments_go() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 60);
    let before = partition.size_bytes();
    assert_eq!(partition.delete_records(Some(Offset(71))).unwrap(), Offset(71));
    assert_eq!(partition.delete_records(Some(Offset(10))).unwrap(), Offset(71));
    assert!(matches!(partition.delete_records(Some(Offset(121))), Err(DeleteRecordsError::OutOfRange { .. })));
    assert_eq!(read_all(&mut partition, Offset(71), 300)[0].0, 71);
    partition.tick(Millis(0)).unwrap();
    assert!(partition.size_bytes() < before);
    assert_eq!(partition.delete_records(None).unwrap(), Offset(120));
    let found = partition.offset_for(OffsetSpec::Earliest, Isolation::ReadUncommitted, None).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(120), Millis::NONE));
}

#[test]
fn times_are_found_across_segments() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 60);
    let mut at = |time| {
        let spec = OffsetSpec::Timestamp(Millis(time));
        partition.offset_for(spec, Isolation::ReadUncommitted, None).unwrap().map(|found| found.offset.0)
    };
    assert_eq!(at(0), Some(0));
    assert_eq!(at(1_000), Some(0));
    assert_eq!(at(1_001), Some(1));
    assert_eq!(at(1_002), Some(2));
    assert_eq!(at(1_591), Some(119));
    assert_eq!(at(1_592), None);
    let newest = partition.offset_for(OffsetSpec::MaxTimestamp, Isolation::ReadUncommitted, None).unwrap().unwrap();
    assert_eq!((newest.offset, newest.timestamp), (Offset(119), Millis(1_591)));
}

#[test]
fn a_clean_reopen_reads_no_segment_and_loses_nothing() {
    let (disk, mut partition) = fresh(small());
    fill(&mut partition, 50);
    append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 0)).unwrap();
    let before = read_all(&mut partition, Offset(0), 900);
    let hints = clean(&partition);
    partition.close().unwrap();
    let (mut partition, recovered) = open(&disk, &dir(), small(), hints, 1);
    assert_eq!(recovered.segments_scanned, 0);
    assert_eq!(read_all(&mut partition, Offset(0), 900), before);
    let again = append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 0)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset(100), true));
    fill(&mut partition, 50);
    assert_eq!(read_all(&mut partition, Offset(0), 900).len(), 203);
}

#[test]
fn the_machines_own_files_serve_as_well() {
    let temporary = tempfile::tempdir().unwrap();
    let at = temporary.path().join("t-0");
    let (mut partition, _) = open(&milena_disk::RealDisk, &at, small(), OpenHints::default(), 0);
    fill(&mut partition, 50);
    let before = read_all(&mut partition, Offset(0), 900);
    partition.flush(Millis(0)).unwrap();
    drop(partition);
    let (partition, recovered) = open(&milena_disk::RealDisk, &at, small(), OpenHints::default(), 1);
    assert!(recovered.segments_scanned > 1 && recovered.truncated_bytes == 0);
    let hints = clean(&partition);
    partition.close().unwrap();
    let (mut partition, _) = open(&milena_disk::RealDisk, &at, small(), hints, 2);
    assert_eq!(read_all(&mut partition, Offset(0), 900), before);
}

#[test]
fn only_a_few_files_stay_open_however_many_segments_are_read() {
    let (_, mut partition) = fresh(small());
    fill(&mut partition, 300);
    read_all(&mut partition, Offset(0), 100);
    let segments = partition.log().segment_bases().count();
    let open = partition.log().open_segments();
    assert!(segments > 15 && open <= 4, "{open} of {segments}");
}

#[test]
fn acknowledged_after_flush_means_seen_after_flush() {
    let (_, mut partition) = fresh(LogSettings { flush_messages: 1, ..small() });
    let appended = append(&mut partition, 0, &records(1, 0), &BatchOptions::default()).unwrap();
    assert!(appended.flush_due && !appended.high_watermark_moved);
    assert_eq!(partition.marks().high_watermark, Offset(0));
    let flush = partition.prepare_flush().unwrap().unwrap();
    append(&mut partition, 0, &records(1, 0), &BatchOptions::default()).unwrap();
    let token = flush.run(partition.log().disk()).unwrap();
    let flushed = partition.flushed(Millis(0), token);
    assert_eq!((flushed.recovery_point, flushed.high_watermark_moved), (Offset(1), true));
    assert_eq!(partition.marks().high_watermark, Offset(1));
}

#[test]
fn another_topics_directory_is_not_opened() {
    let (disk, partition) = fresh(small());
    drop(partition);
    let other =
        Partition::open(disk, dir(), topic_partition(), Uuid([7; 16]), small(), OpenHints::default(), Millis(0));
    assert!(matches!(other, Err(OpenError::OtherTopic { found: TOPIC_ID, .. })));
}

/// A crash after which `damage` is done to the active segment's file. Answers what is left.
fn after_damage(damage: impl Fn(&milena_disk::MemoryFile, u64)) -> (Vec<(i64, Plain)>, Recovered) {
    let (disk, mut partition) = fresh(small());
    fill(&mut partition, 30);
    let active = partition.log().segment_bases().last().unwrap();
    drop(partition);
    let file = disk.open_existing(&names::file(&dir(), active, names::LOG)).unwrap();
    damage(&file, file.size_bytes().unwrap());
    let (mut partition, recovered) = open(&disk, &dir(), small(), OpenHints::default(), 1);
    let left = read_all(&mut partition, Offset(0), 1_000);
    fill(&mut partition, 1);
    assert_eq!(read_all(&mut partition, Offset(0), 1_000).len(), left.len() + 2);
    (left, recovered)
}

#[test]
fn a_torn_last_batch_is_cut_off() {
    let (left, recovered) = after_damage(|file, size| file.truncate(size - 5).unwrap());
    assert_eq!(left.len(), 58);
    assert!(recovered.truncated_bytes > 61 && recovered.lost_below_recovery_point.is_none());
}

#[test]
fn zeros_behind_the_last_batch_are_cut_off() {
    let (left, recovered) = after_damage(|file, size| file.truncate(size + 5_000).unwrap());
    assert_eq!((left.len(), recovered.truncated_bytes), (60, 5_000));
}

#[test]
fn a_flipped_byte_ends_the_log_before_its_batch() {
    let (left, _) = after_damage(|file, size| file.write_at(b"\xff", size - 130).unwrap());
    assert!(left.len() < 60 && left.len() >= 54, "{}", left.len());
}

#[test]
fn an_empty_file_is_an_empty_segment() {
    let (left, _) = after_damage(|file, _| file.truncate(0).unwrap());
    assert!(left.len() < 60 && left.len() > 20);
}

#[test]
fn damage_in_the_middle_removes_all_later_segments_and_is_reported() {
    let (disk, mut partition) = fresh(small());
    fill(&mut partition, 60);
    let bases: Vec<Offset> = partition.log().segment_bases().collect();
    drop(partition);
    let file = disk.open_existing(&names::file(&dir(), bases[1], names::LOG)).unwrap();
    file.write_at(b"\xff\xff", 300).unwrap();
    let hints = OpenHints { recovery_point: bases[2].next(), ..OpenHints::default() };
    let (partition, recovered) = open(&disk, &dir(), small(), hints, 1);
    // Below the recovery point nothing is read, so nothing is noticed; from there on all is well.
    assert_eq!((partition.marks().log_end, recovered.truncated_bytes), (Offset(120), 0));
    drop(partition);
    let (partition, recovered) = open(&disk, &dir(), small(), OpenHints::default(), 1);
    assert_eq!(partition.log().segment_bases().count(), 2);
    assert!(partition.marks().log_end < bases[2]);
    assert!(recovered.truncated_bytes > 2_000 && recovered.unlinks.len() >= 3);
    drop(partition);
    let (partition, recovered) = open(&disk, &dir(), small(), hints, 2);
    assert_eq!(recovered.lost_below_recovery_point, Some(partition.marks().log_end));
}

#[test]
fn missing_indexes_and_snapshots_are_made_anew() {
    let (disk, mut partition) = fresh(small());
    fill(&mut partition, 60);
    append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 0)).unwrap();
    fill(&mut partition, 20);
    let before = read_all(&mut partition, Offset(0), 700);
    let hints = clean(&partition);
    partition.close().unwrap();
    for path in disk.paths() {
        let name = path.to_str().unwrap();
        if [names::OFFSET_INDEX, names::TIME_INDEX, names::SNAPSHOT].iter().any(|suffix| name.ends_with(suffix)) {
            disk.remove_file(&path).unwrap();
        }
    }
    let (mut partition, recovered) = open(&disk, &dir(), small(), hints, 1);
    assert!(recovered.segments_scanned > 3 && recovered.truncated_bytes == 0);
    assert_eq!(read_all(&mut partition, Offset(0), 700), before);
    assert!(append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 0)).unwrap().duplicate);
}

#[test]
fn trap_94_producers_are_written_down_at_each_roll_and_read_from_the_newest_usable_file() {
    let (disk, mut partition) = fresh(small());
    append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 0)).unwrap();
    fill(&mut partition, 60);
    append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 3)).unwrap();
    fill(&mut partition, 60);
    let bases: Vec<Offset> = partition.log().segment_bases().skip(1).collect();
    let snapshot = |base: &Offset| names::file(&dir(), *base, names::SNAPSHOT);
    assert!(bases.len() > 3 && bases.iter().all(|base| disk.paths().contains(&snapshot(base))), "{bases:?}");
    let hints = OpenHints { recovery_point: *bases.last().unwrap(), ..OpenHints::default() };
    drop(partition);
    // The newest one is damaged: an older one, and what the log holds behind it, say the same.
    disk.open_existing(&snapshot(bases.last().unwrap())).unwrap().write_at(&[0xff; 8], 4).unwrap();
    let (mut partition, _) = open(&disk, &dir(), small(), hints, 1);
    assert!(append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 3)).unwrap().duplicate);
    assert!(!append(&mut partition, 0, &records(3, 9_000), &producer(7, 2, 6)).unwrap().duplicate);
}

#[test]
fn open_transactions_of_another_broker_hold_back_committed_readers() {
    let (disk, mut partition) = fresh(small());
    fill(&mut partition, 2);
    // What Kafka's coordinator would have allowed.
    let valid = validate(
        batch(&records(2, 0), &BatchOptions { is_transactional: true, ..producer(7, 0, 0) }),
        &Rules::new(
            &LogSettings { timestamp_before_max_ms: i64::MAX, ..small() },
            &topic_partition(),
            Origin::Replication,
        ),
        Millis(0),
    )
    .unwrap();
    partition.append(Millis(0), &valid, None, Voucher::NotNeeded).unwrap();
    assert_eq!(partition.marks().last_stable, Offset(4));
    drop(partition);
    let (mut partition, _) = open(&disk, &dir(), small(), OpenHints::default(), 0);
    assert_eq!(partition.marks().last_stable, Offset(4));
    let committed = ReadRequest { isolation: Isolation::ReadCommitted, ..request(Offset(4), 100) };
    let info = partition.read(&committed).unwrap();
    assert_eq!((info.slice.size_bytes(), info.aborted), (0, Some(Vec::new())));
}

mod histories;
mod transactions;
