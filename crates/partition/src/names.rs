//! How files and directories of a log are called.
//!
//! ```text
//! TOPIC-3/00000000000000000042.log  .index  .timeindex  .txnindex     of the segment whose first offset is 42
//! TOPIC-3/00000000000000000042.snapshot                               producers as of offset 42
//! TOPIC-3/leader-epoch-checkpoint  partition.metadata
//! ```
//! Source: `LogFileUtils` in Kafka 4.3.1.

use std::path::{Path, PathBuf};

use milena_protocol::{Offset, TopicPartition};

pub(crate) const LOG: &str = ".log";
pub(crate) const OFFSET_INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TRANSACTION_INDEX: &str = ".txnindex";
pub(crate) const SNAPSHOT: &str = ".snapshot";
/// Renamed to this before it is removed.
pub(crate) const DELETED: &str = ".deleted";
/// Being written by compaction: worthless after a crash.
pub(crate) const CLEANED: &str = ".cleaned";
/// Written by compaction, about to replace its originals.
pub(crate) const SWAP: &str = ".swap";

/// Suffixes of the files of one segment.
pub(crate) const SEGMENT_SUFFIXES: [&str; 4] = [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];

/// Epochs of the leaders and where they began.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The topic's id.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The file of a segment or snapshot.
pub(crate) fn file(dir: &Path, offset: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}{suffix}", offset.0))
}

/// The offset that a name begins with, and what follows it.
pub(crate) fn parse(name: &str) -> Option<(Offset, &str)> {
    let (digits, suffix) = name.split_at_checked(name.find('.')?)?;
    match digits.len() >= 20 && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        true => Some((Offset(digits.parse().ok()?), suffix)),
        false => None,
    }
}

/// The same path with another end.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory of a partition, or `None` for names of anything else (`-delete`, `-future` and `-stray`
/// directories included).
pub fn parse_dir(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|digit| digit.is_ascii_digit());
    match is_number && !topic.is_empty() {
        true => Some(TopicPartition::new(topic, partition.parse().ok()?)),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_twenty_digits_and_read_back() {
        let path = file(Path::new("/d"), Offset(42), LOG);
        assert_eq!(path, Path::new("/d/00000000000000000042.log"));
        assert_eq!(parse("00000000000000000042.log"), Some((Offset(42), ".log")));
        assert_eq!(parse("00000000000000000042.log.deleted"), Some((Offset(42), ".log.deleted")));
        assert_eq!(parse("quorum-state"), None);
        assert_eq!(parse("99999999999999999999.log"), None);
    }

    #[test]
    fn only_live_directories_name_a_partition() {
        assert_eq!(parse_dir("a-b-7"), Some(TopicPartition::new("a-b", 7)));
        assert_eq!(parse_dir("a-7.0123456789abcdef0123456789abcdef-delete"), None);
        assert_eq!(parse_dir("a-"), None);
        assert_eq!(parse_dir("-7"), None);
    }
}
