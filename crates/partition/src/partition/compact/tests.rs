//! Compaction by cases, and of random histories against a plain model ([`model`]); crashes in the midst of it are in
//! [`crash`].

mod crash;
mod history;
mod model;

use milena_base::{Disk, Millis};
use milena_disk::MemoryDisk;
use milena_protocol::Offset;
use milena_protocol::compression::Codec;

use self::history::{History, Record, batches_of, committed_of, records_of, values};
use crate::fixture::{dir, small};
use crate::log::compaction::{Compacted, Compaction, Dirt, Limits, MapLimits, Reset, Step, dirtiest};
use crate::{CleanupPolicy, LogSettings, OpenHints, Partition};

/// Memory for every key that a test knows.
const AMPLE: Limits = Limits { map: MapLimits { size_bytes: 1 << 20, load_factor: 0.9 }, chunk_bytes: 300 };

/// So small segments that each test fills several, compacted, and never rolled by time.
fn compacted() -> LogSettings {
    LogSettings {
        cleanup: CleanupPolicy { delete: false, compact: true },
        segment_ms: i64::MAX,
        delete_retention_ms: 1_000,
        ..small()
    }
}

/// A whole compaction, as the server drives it. Files that nobody reads any more go at once.
fn compact<D: Disk>(
    partition: &mut Partition<D>,
    now: i64,
    compacted_to: Option<Offset>,
    limits: Limits,
) -> std::io::Result<Option<Compacted>> {
    let dirt = partition.dirt(Millis(now), compacted_to)?;
    let Some(mut compaction) = partition.compact(Millis(now), &dirt, limits)? else { return Ok(None) };
    let done = drive(partition, &mut compaction, now);
    partition.compacted();
    if done.is_err() {
        let _ = compaction.discard();
    }
    done.map(Some)
}

fn drive<D: Disk>(
    partition: &mut Partition<D>,
    compaction: &mut Compaction<D>,
    now: i64,
) -> std::io::Result<Compacted> {
    loop {
        match compaction.step()? {
            Step::Worked { .. } => {}
            Step::Done(compacted) => return Ok(compacted),
            Step::Ready { .. } => {
                compaction.stand_by()?;
                let unlinks = partition.swap_in(Millis(now), compaction)?.expect("nobody else changes the log");
                compaction.flush_names()?;
                partition.settle()?;
                for unlink in unlinks {
                    partition.log().disk().remove_file(&unlink.path)?;
                }
            }
        }
    }
}

fn reopen(disk: &MemoryDisk, settings: LogSettings, hints: OpenHints) -> Partition<MemoryDisk> {
    crate::fixture::open(disk, &dir(), settings, hints, 9).0
}

#[test]
fn the_last_record_of_each_key_stays_where_it_was() {
    let mut history = History::new(compacted());
    for at in 0..200 {
        history.append(&[Record::new(at % 5, at)]);
    }
    history.roll();
    let compacted = compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    assert_eq!(compacted.end, history.active_base());
    assert_eq!((compacted.read_records, compacted.kept_records), (200, 5));
    let left: Vec<i64> = records_of(&mut history.partition).iter().map(|record| record.offset).collect();
    assert_eq!(left, (195..200).collect::<Vec<_>>());
    assert!(compacted.written_bytes < compacted.read_bytes);
}

#[test]
fn segments_that_became_small_are_joined_in_the_next_round() {
    let mut history = History::new(compacted());
    for at in 0..200 {
        history.append(&[Record::new(at % 5, at)]);
    }
    let end = history.roll();
    compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    assert!(history.partition.log().segment_bases().count() > 5);
    history.append(&[Record::new(1, 1)]);
    history.roll();
    let before = records_of(&mut history.partition);
    compact(&mut history.partition, 0, Some(end), AMPLE).unwrap().unwrap();
    let bases: Vec<i64> = history.partition.log().segment_bases().map(|base| base.0).collect();
    assert_eq!(bases, [0, 201]);
    assert_eq!(records_of(&mut history.partition).len(), before.len() - 1);
}

#[test]
fn trap_96_the_active_segment_the_undecided_and_the_young_are_left_alone() {
    let settings = LogSettings { compaction_lag_min_ms: 100, ..compacted() };
    let mut history = History::new(settings);
    for at in 0..100 {
        history.append(&[Record { timestamp: at, ..Record::new(1, at) }]);
    }
    let bases: Vec<Offset> = history.partition.log().segment_bases().collect();
    let active = *bases.last().unwrap();
    let end_at = |history: &mut History, now| history.partition.dirt(Millis(now), None).unwrap().first_uncleanable;
    assert_eq!(end_at(&mut history, 1_000), active, "all are old enough");
    assert_eq!(end_at(&mut history, 100), bases[0], "the first segment has younger ones than 0");
    let second = bases[1];
    assert_eq!(end_at(&mut history, second.0 + 100), second, "the newest of the first segment is old enough");
    // A transaction that is open in the second segment.
    let mut history = History::new(compacted());
    history.append(&[Record::new(1, 0)]);
    history.roll();
    let open = history.partition.marks().log_end;
    history.append_by(7, true, &[Record::new(1, 1)]);
    history.roll();
    history.append(&[Record::new(1, 2)]);
    let last_stable = history.partition.marks().last_stable;
    assert_eq!(last_stable, open);
    let first_uncleanable = end_at(&mut history, 0);
    assert!(first_uncleanable <= open);
    history.end(7, true);
    history.roll();
    assert_eq!(end_at(&mut history, 0), history.active_base());
}

#[test]
fn trap_97_aborted_records_go_at_once_and_hide_no_others() {
    let mut history = History::new(compacted());
    history.append(&[Record::new(1, 10)]);
    history.append_by(7, true, &[Record::new(1, 11), Record::new(2, 12)]);
    history.end(7, false);
    // Somebody else writes last, or the aborted batch would stay as an empty one.
    history.append_by(7, false, &[Record::new(3, 13)]);
    history.roll();
    compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    let left = records_of(&mut history.partition);
    let keys: Vec<(i64, i64)> = left.iter().map(|record| (record.key, record.value.unwrap())).collect();
    assert_eq!(keys[..2], [(1, 10), (3, 13)]);
    assert_eq!(committed_of(&mut history.partition), left);
}

#[test]
fn trap_98_the_last_batch_of_each_producer_and_of_the_round_stays_if_empty() {
    let mut history = History::new(compacted());
    history.append_by(7, false, &[Record::new(1, 1)]);
    history.append_by(7, false, &[Record::new(1, 2), Record::new(1, 3)]);
    history.append_by(8, false, &[Record::new(1, 4)]);
    let end = history.roll();
    compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    history.append(&[Record::new(1, 5)]);
    history.append(&[Record { key: Record::KEYLESS, ..Record::new(0, 6) }]);
    history.roll();
    compact(&mut history.partition, 0, Some(end), AMPLE).unwrap().unwrap();
    let batches = batches_of(&history.partition).into_iter();
    let left: Vec<_> = batches
        .map(|batch| (batch.base, batch.last, batch.producer, batch.base_sequence, batch.records.len()))
        .collect();
    assert_eq!(left[..2], [(1, 2, 7, 1, 0), (3, 3, 8, 0, 0)], "an emptied batch says which sequences it had");
    assert_eq!(left[2..], [(4, 4, -1, -1, 1), (5, 5, -1, -1, 0)], "the end of the round");
    let before = history.partition.producers();
    // The snapshots of producers are lost: the log alone tells.
    let disk = history.disk.clone();
    history.partition.flush(Millis(0)).unwrap();
    for path in disk.paths().into_iter().filter(|path| path.extension().is_some_and(|end| end == "snapshot")) {
        disk.remove_file(&path).unwrap();
    }
    let again = reopen(&disk, compacted(), OpenHints::default());
    assert_eq!(again.producers(), before);
}

#[test]
fn trap_100_a_tombstone_gets_its_horizon_at_the_first_compaction_and_goes_behind_it() {
    let mut history = History::new(compacted());
    history.append(&[Record::new(1, 1), Record::new(2, 2)]);
    history.append(&[Record { value: None, ..Record::new(1, 0) }, Record::new(3, 3)]);
    let end = history.roll();
    compact(&mut history.partition, 5_000, None, AMPLE).unwrap().unwrap();
    let tombstone = |history: &History| {
        let batches = batches_of(&history.partition);
        let batch = batches.into_iter().find(|batch| batch.base == 2).unwrap();
        (batch.horizon, batch.records.iter().map(|record| record.key).collect::<Vec<_>>(), batch.timestamps())
    };
    assert_eq!(tombstone(&history), (Some(6_000), vec![1, 3], vec![0, 0]), "times are what they were");
    history.append(&[Record::new(9, 9)]);
    let next = history.roll();
    compact(&mut history.partition, 5_999, Some(end), AMPLE).unwrap().unwrap();
    assert_eq!(tombstone(&history), (Some(6_000), vec![1, 3], vec![0, 0]));
    history.append(&[Record::new(9, 9)]);
    history.roll();
    compact(&mut history.partition, 6_000, Some(next), AMPLE).unwrap().unwrap();
    assert_eq!(tombstone(&history), (Some(6_000), vec![3], vec![0]));
}

#[test]
fn trap_101_a_marker_stays_until_its_records_are_gone_and_then_until_its_horizon() {
    let mut history = History::new(compacted());
    history.append_by(7, true, &[Record::new(1, 1)]);
    let marker = history.end(7, true);
    // The producer's last batch is another one.
    history.append_by(7, false, &[Record::new(2, 2)]);
    let mut end = history.roll();
    let round = |history: &mut History, now, compacted_to| {
        compact(&mut history.partition, now, compacted_to, AMPLE).unwrap().unwrap();
        history.append(&[Record::new(1, now)]);
        let batches = batches_of(&history.partition);
        let left = batches.into_iter().find(|batch| batch.base == marker).map(|batch| batch.horizon);
        (left, history.roll())
    };
    let (left, next) = round(&mut history, 0, None);
    assert_eq!(left, Some(None), "its record is still there");
    // The record has gone in this round, and the marker is found without records in the next.
    let (left, third) = round(&mut history, 100, Some(end));
    assert_eq!(left, Some(None));
    end = next;
    let (left, fourth) = round(&mut history, 200, Some(end));
    assert_eq!(left, Some(Some(1_200)));
    let (left, fifth) = round(&mut history, 1_199, Some(third));
    assert_eq!(left, Some(Some(1_200)));
    assert_eq!(round(&mut history, 1_200, Some(fourth)).0, None, "{fifth}");
}

#[test]
fn trap_102_records_without_key_are_dropped() {
    let mut history = History::new(compacted());
    history.append(&[Record::new(1, 1), Record { key: Record::KEYLESS, ..Record::new(0, 2) }]);
    history.roll();
    let compacted = compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    assert_eq!(compacted.keyless_records, 1);
    assert!(records_of(&mut history.partition).iter().all(|record| record.key != Record::KEYLESS));
}

#[test]
fn trap_103_what_does_not_fit_into_the_map_waits_for_the_next_round() {
    let mut history = History::new(compacted());
    for at in 0..60 {
        history.append(&[Record::new(at % 30, at)]);
    }
    let end = history.roll();
    let tight = Limits { map: MapLimits { size_bytes: 24 * 12, load_factor: 0.9 }, ..AMPLE };
    let first = compact(&mut history.partition, 0, None, tight).unwrap().unwrap();
    assert_eq!((first.end, first.map_utilization), (Offset(10), 1.0), "ten keys, 0 to 9");
    assert_eq!(records_of(&mut history.partition).len(), 60, "what was read has no later record");
    let mut reached = first.end;
    while reached < end {
        let next = compact(&mut history.partition, 0, Some(reached), tight).unwrap().unwrap();
        assert!(next.end > reached);
        reached = next.end;
    }
    let left: Vec<i64> = records_of(&mut history.partition).iter().map(|record| record.offset).collect();
    assert_eq!(left, (30..60).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_is_larger_than_a_piece_or_than_max_message_bytes_is_compacted_whole() {
    let mut history = History::new(compacted());
    history.append(&(0..40).map(|at| Record::new(at % 4, at)).collect::<Vec<_>>());
    history.roll();
    history.partition.set_settings(LogSettings { max_message_bytes: 100, ..compacted() });
    compact(&mut history.partition, 0, None, Limits { chunk_bytes: 1, ..AMPLE }).unwrap().unwrap();
    let left: Vec<i64> = records_of(&mut history.partition).iter().map(|record| record.offset).collect();
    assert_eq!(left, (36..40).collect::<Vec<_>>());
}

#[test]
fn a_log_is_due_by_the_part_that_is_dirty_or_by_the_age_of_it() {
    let mut history = History::new(compacted());
    for at in 0..100 {
        history.append(&[Record { timestamp: 50 + at, ..Record::new(at, at) }]);
    }
    let half = Offset(history.active_base().0 / 2);
    let dirt = history.partition.dirt(Millis(1_000), Some(half)).unwrap();
    assert!(dirt.clean_bytes > 0 && dirt.cleanable_bytes > 0 && dirt.ratio() < 1.0);
    let by_ratio = |ratio| LogSettings { dirty_ratio_min: ratio, ..compacted() };
    assert!(dirt.is_due(&by_ratio(dirt.ratio() - 0.01)));
    assert!(!dirt.is_due(&by_ratio(dirt.ratio())), "it must be more");
    history.partition.set_settings(LogSettings { compaction_lag_max_ms: 300, ..by_ratio(1.0) });
    let settings = history.partition.settings().clone();
    let first = history.partition.dirt(Millis(350), None).unwrap();
    assert_eq!((first.delay_ms, first.is_due(&settings)), (0, false));
    let late = history.partition.dirt(Millis(351), None).unwrap();
    assert_eq!((late.delay_ms, late.is_due(&settings)), (1, true));
    let clean = history.partition.dirt(Millis(9_999), Some(history.active_base())).unwrap();
    assert!(!clean.is_due(&settings), "nothing is left to do");
    let dirtier = Dirt { clean_bytes: 1, ..dirt };
    assert_eq!(dirtiest([(1, dirt), (2, dirtier), (3, dirt)]).unwrap().0, 2);
}

#[test]
fn what_does_not_fit_the_log_is_forgotten() {
    let mut history = History::new(compacted());
    for at in 0..100 {
        history.append(&[Record::new(at, at)]);
    }
    let mut dirt = |compacted_to| {
        let dirt = history.partition.dirt(Millis(0), Some(Offset(compacted_to))).unwrap();
        (dirt.first_dirty.0, dirt.reset)
    };
    assert_eq!(dirt(100), (100, None));
    assert_eq!(dirt(101), (0, Some(Reset::BehindLogEnd)));
    let both = CleanupPolicy { delete: true, compact: true };
    history.partition.set_settings(LogSettings { cleanup: both, ..compacted() });
    history.partition.delete_records(Some(Offset(50))).unwrap();
    let dirt = history.partition.dirt(Millis(0), Some(Offset(49))).unwrap();
    assert_eq!((dirt.first_dirty.0, dirt.reset), (50, Some(Reset::BeforeLogStart)));
}

#[test]
fn retention_waits_for_the_end_of_a_compaction_and_a_cut_ends_it() {
    let both = CleanupPolicy { delete: true, compact: true };
    let mut history = History::new(LogSettings { cleanup: both, ..compacted() });
    for at in 0..100 {
        history.append(&[Record::new(1, at)]);
    }
    history.partition.delete_records(Some(Offset(60))).unwrap();
    let dirt = history.partition.dirt(Millis(0), None).unwrap();
    let mut compaction = history.partition.compact(Millis(0), &dirt, AMPLE).unwrap().unwrap();
    assert!(history.partition.compact(Millis(0), &dirt, AMPLE).unwrap().is_none(), "one at a time");
    let segments = history.partition.log().segment_bases().count();
    history.partition.tick(Millis(0)).unwrap();
    assert_eq!(history.partition.log().segment_bases().count(), segments);
    while !matches!(compaction.step().unwrap(), Step::Ready { .. }) {}
    assert!(history.partition.is_compacting(&compaction));
    // As if another leader had written something else.
    let end = history.partition.marks().log_end;
    history.partition.log.truncate_to(Millis(0), end + -1).unwrap();
    assert!(!history.partition.is_compacting(&compaction));
    assert!(history.partition.swap_in(Millis(0), &mut compaction).unwrap().is_none());
    compaction.discard().unwrap();
    history.partition.compacted();
    history.partition.tick(Millis(0)).unwrap();
    assert!(history.partition.log().segment_bases().count() < segments);
    let left = history.disk.paths();
    assert!(left.iter().all(|path| !path.to_str().unwrap().ends_with(".cleaned")), "{left:?}");
}

#[test]
fn damage_is_told_and_changes_nothing() {
    let mut history = History::new(compacted());
    for at in 0..100 {
        history.append(&[Record::new(1, at)]);
    }
    let before = history.disk.paths();
    let first = history.disk.open_existing(&dir().join(format!("{:020}.log", 0))).unwrap();
    milena_base::DiskFile::write_at(&first, &[0xff], 130).unwrap();
    let failure = compact(&mut history.partition, 0, None, AMPLE).unwrap_err();
    assert_eq!(failure.kind(), std::io::ErrorKind::InvalidData, "{failure}");
    assert_eq!(history.disk.paths(), before);
}

#[test]
fn a_full_disk_stops_a_compaction_and_nothing_else() {
    let mut history = History::new(compacted());
    for at in 0..100 {
        history.append(&[Record::new(at, at)]);
    }
    let (before, records) = (history.disk.paths(), records_of(&mut history.partition));
    history.disk.set_room(Some(3_000));
    let failure = compact(&mut history.partition, 0, None, AMPLE).unwrap_err();
    assert!(crate::is_disk_full(&failure), "{failure}");
    assert_eq!(history.disk.paths(), before);
    history.disk.set_room(None);
    compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    assert_eq!(records_of(&mut history.partition), records);
}

#[test]
fn gaps_that_compaction_left_are_no_torn_end_when_the_topic_is_compacted_no_more() {
    let mut history = History::new(compacted());
    for at in 0..150 {
        history.append(&[Record::new(if at < 75 { 1 } else { at }, at)]);
    }
    let end = history.roll();
    history.append(&[Record::new(1, 1)]);
    compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    let records = records_of(&mut history.partition);
    let uncompacted = LogSettings { cleanup: CleanupPolicy { delete: true, compact: false }, ..compacted() };
    let of = |compacted_to| OpenHints { compacted_to, ..OpenHints::default() };
    // Nothing is known to be flushed: without the hint a gap says that a segment was not.
    let copy = history.disk.clone();
    let mut again = reopen(&copy, uncompacted.clone(), of(end));
    assert_eq!(records_of(&mut again), records);
    let mut cut = reopen(&copy, uncompacted, of(Offset(0)));
    assert!(records_of(&mut cut).len() < records.len());
}

#[test]
fn a_reader_of_a_segment_that_is_replaced_keeps_its_file() {
    let mut history = History::new(compacted());
    for at in 0..100 {
        history.append(&[Record::new(1, at)]);
    }
    let info = history.partition.read(&crate::fixture::request(Offset(0), 500)).unwrap();
    let before = crate::fixture::contents(&info.slice);
    compact(&mut history.partition, 0, None, AMPLE).unwrap().unwrap();
    assert_eq!(crate::fixture::contents(&info.slice), before);
    let after = records_of(&mut history.partition);
    assert!(after[0].offset > 0, "a new read finds the new segment");
}

#[test]
fn random_histories_are_compacted_as_the_model_says() {
    for seed in 0..60 {
        let mut history = History::random(seed, compacted());
        let mut model = model::Model::default();
        let mut compacted_to = None;
        for round in 0..6 {
            let place = format!("seed {seed}, round {round}");
            history.go_on(40);
            model.append(history.take_appended());
            history.now += 700;
            let limits = history.random_limits();
            let now = Millis(history.now);
            let dirt = history.partition.dirt(now, compacted_to).unwrap();
            let segments = history.partition.log().segment_bases().map(|base| base.0).collect();
            let Some(done) = compact(&mut history.partition, history.now, compacted_to, limits).unwrap() else {
                continue;
            };
            let expected_end = model.compact(&model::Round {
                now: history.now,
                first_dirty: dirt.first_dirty.0,
                first_uncleanable: dirt.first_uncleanable.0,
                delete_retention_ms: history.partition.settings().delete_retention_ms,
                segments,
                keys_max: history::keys_max(limits),
                last_written: history.last_written(),
            });
            assert_eq!(done.end.0, expected_end, "{place}");
            assert_eq!(batches_of(&history.partition), model.batches(), "{place}");
            let last_stable = history.partition.marks().last_stable;
            let committed = committed_of(&mut history.partition);
            assert_eq!(committed, model.committed(last_stable.0), "{place}");
            assert_eq!(values(&committed), values(&model.ever_committed(last_stable.0)), "{place}");
            compacted_to = Some(done.end);
            history.maybe_reopen();
        }
    }
}

#[test]
fn every_codec_is_met_by_random_histories() {
    let mut history = History::random(3, compacted());
    history.go_on(200);
    let met = batches_of(&history.partition);
    for codec in Codec::ALL {
        assert!(met.iter().any(|batch| batch.codec == codec), "{codec}");
    }
}
