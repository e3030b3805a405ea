//! The metadata log is cut down to snapshots, and whatever a crash leaves of that adds up to the same cluster.

use std::path::{Path, PathBuf};

use milena_base::{Millis, Random};
use milena_disk::MemoryDisk;
use milena_metadata::loader::Loader;
use milena_metadata::retention::{Retention, StoredSnapshot};
use milena_metadata::{records, snapshot};
use milena_protocol::messages::FeatureLevelRecord;
use milena_protocol::{LeaderEpoch, Offset};

use super::{MetadataLog, MetadataLogError, MetadataLogSettings};

const DIR: &str = "/data/__cluster_metadata-0";
const EPOCH: LeaderEpoch = LeaderEpoch(1);
/// A few records fill a segment.
const SETTINGS: MetadataLogSettings = MetadataLogSettings {
    snapshot_bytes_max: 1,
    snapshot_interval_ms: 0,
    segment_bytes: 400,
    segment_ms: i64::MAX,
    retention: Retention { bytes: 1500, ms: -1 },
    delete_delay_ms: 60_000,
};

fn open(disk: &MemoryDisk) -> Result<MetadataLog<MemoryDisk>, MetadataLogError> {
    MetadataLog::open(disk, Path::new(DIR), SETTINGS, false, Millis(0))
}

/// A node of which only the metadata log is left.
struct Story {
    log: MetadataLog<MemoryDisk>,
    loader: Loader,
    /// The last record, which is numbered like its offset.
    written: i64,
    /// The last record that was acknowledged: it is on the device.
    durable: i64,
}

impl Story {
    /// What a start makes of the directory.
    fn begin(disk: &MemoryDisk) -> Result<Story, MetadataLogError> {
        let mut log = open(disk)?;
        let mut loader = Loader::new();
        if let Some((id, contents)) = log.newest_snapshot()? {
            loader.load_snapshot(&snapshot::read(id, &contents)?).expect("it adds up");
        }
        let from = loader.read().last.next();
        let tail = log.batches_from(from)?;
        assert_eq!(tail.first().map_or(from, |batch| batch.base), from, "nothing is missing behind the snapshot");
        for (one, next) in tail.iter().zip(&tail[tail.len().min(1)..]) {
            assert_eq!(one.end(), next.base, "no gap");
        }
        tail.iter().for_each(|batch| loader.replay(batch).expect("it adds up"));
        let written = loader.read().last.0;
        assert_eq!(log.log_end(), Offset(written + 1));
        loader.publish();
        assert_eq!(i64::from(loader.image().feature("f")), written.max(0), "the cluster is as the last record says");
        Ok(Story { log, loader, written, durable: written })
    }

    fn write(&mut self) -> std::io::Result<()> {
        let base = Offset(self.written + 1);
        let record = FeatureLevelRecord { name: "f".into(), feature_level: base.0 as i16 }.into();
        let bytes = records::encode_data(base, EPOCH, Millis(base.0), &[record]);
        self.log.append(&bytes, Millis(0))?;
        self.written = base.0;
        if let Some(flush) = self.log.prepare_flush()? {
            let token = flush.run(self.log.disk())?;
            self.log.flushed(Millis(0), token);
        }
        self.durable = self.written;
        self.loader.replay(&records::decode(&bytes).expect("own")[0]).expect("it adds up");
        self.loader.publish();
        Ok(())
    }

    fn save_snapshot(&mut self) -> std::io::Result<()> {
        let (id, contents) = snapshot::write(self.loader.image(), None, Millis(0));
        let saved = StoredSnapshot { id, size_bytes: contents.len() as u64, timestamp: Millis(self.written) };
        self.log.save_snapshot(id, contents)()?;
        self.log.snapshot_saved(saved);
        Ok(())
    }

    /// Twenty records, snapshots in between, and the log cut after each.
    fn go_on(&mut self) -> std::io::Result<()> {
        for step in 1..=20 {
            self.write()?;
            if step % 4 == 0 {
                self.save_snapshot()?;
                self.log.trim(Millis(0))?;
            }
        }
        Ok(())
    }
}

fn files_with(disk: &MemoryDisk, ending: &str) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[test]
fn the_log_begins_at_the_end_of_a_snapshot_and_keeps_to_its_size() {
    let disk = MemoryDisk::new();
    let mut story = Story::begin(&disk).expect("an empty directory");
    for _ in 0..10 {
        story.go_on().expect("the disk works");
    }
    let (start, end) = (story.log.log_start(), story.log.log_end());
    assert_eq!(end, Offset(200));
    assert!(start >= Offset(180), "{start}");
    let snapshots = files_with(&disk, ".checkpoint");
    assert!(
        snapshots.iter().any(|path| path.to_string_lossy().contains(&format!("{:020}-", start.0))),
        "{snapshots:?}"
    );
    assert!(snapshots.len() < 5, "{snapshots:?}");
    assert!(files_with(&disk, ".log").len() < 5);
    assert!(!files_with(&disk, ".checkpoint.deleted").is_empty(), "they stay while somebody may read them");
    drop(story);
    let story = Story::begin(&disk).expect("whole");
    assert_eq!(story.written, 199);
    assert!(files_with(&disk, ".deleted").is_empty(), "a start removes what was on its way out");
}

#[test]
fn a_crash_at_any_point_loses_nothing_that_was_acknowledged() {
    let mut points = 0;
    for stop in 0.. {
        let disk = MemoryDisk::new();
        Story::begin(&disk).expect("an empty directory").go_on().expect("the disk works");
        let mut story = Story::begin(&disk).expect("whole");
        disk.stop_after(stop);
        let ended = story.go_on();
        let durable = story.durable;
        drop(story);
        match stop % 2 {
            0 => disk.crash(),
            _ => disk.crash_randomly(&mut Random::from_seed(stop)),
        }
        let mut again = Story::begin(&disk).unwrap_or_else(|failure| panic!("stopped after {stop}: {failure}"));
        assert!(again.written >= durable, "stopped after {stop}: {} of {durable}", again.written);
        again.go_on().unwrap_or_else(|failure| panic!("stopped after {stop}: {failure}"));
        if ended.is_ok() {
            break;
        }
        points += 1;
    }
    assert!(points > 100, "{points} points");
}

#[test]
fn a_log_behind_its_newest_snapshot_goes_on_where_that_ends() {
    let disk = MemoryDisk::new();
    let mut story = Story::begin(&disk).expect("an empty directory");
    story.go_on().expect("the disk works");
    drop(story);
    for log in files_with(&disk, ".log") {
        milena_base::Disk::remove_file(&disk, &log).expect("there");
    }
    let mut story = Story::begin(&disk).expect("the snapshot holds everything");
    assert_eq!((story.written, story.log.log_start()), (19, Offset(20)));
    story.go_on().expect("the disk works");
}

#[test]
fn a_log_whose_beginning_no_snapshot_holds_is_refused() {
    let disk = MemoryDisk::new();
    Story::begin(&disk).expect("an empty directory").go_on().expect("the disk works");
    for snapshot in files_with(&disk, ".checkpoint") {
        milena_base::Disk::remove_file(&disk, &snapshot).expect("there");
    }
    assert!(matches!(open(&disk), Err(MetadataLogError::NoSnapshot { log_start, .. }) if log_start > Offset(0)));
}
