//! The small text files beside the logs: offset checkpoints of a log directory, a partition's leader epochs and
//! topic id. All but the last are a version, a count, and a line per entry:
//!
//! ```text
//! 0                                       0
//! 2                                       1
//! TOPIC 0 1500                            4 1500            leader epoch, its first offset
//! TOPIC 1 17        topic partition offset
//! ```
//! Source: `CheckpointFile`, `OffsetCheckpointFile`, `LeaderEpochCheckpointFile`, `PartitionMetadata` in Kafka 4.3.1.

use std::collections::BTreeMap;
use std::fmt::Write;

use milena_protocol::{LeaderEpoch, Offset, TopicPartition, Uuid};

/// Up to where each log of a directory is flushed.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The high watermark of each log of a directory.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// The log start of each log of a directory, where it is not simply that of the first segment.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Up to where each log of a directory is compacted.
pub const COMPACTED: &str = "cleaner-offset-checkpoint";

/// Why a checkpoint file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Of another version.
    #[error("version {0} is not known")]
    Version(String),
    /// A line that does not say what it should.
    #[error("malformed line {0:?}")]
    Line(String),
    /// More or fewer lines than announced.
    #[error("{announced} entries announced, {found} found")]
    Count {
        /// By the second line.
        announced: usize,
        /// Behind it.
        found: usize,
    },
}

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads an offset checkpoint. An empty file holds no entries.
pub fn read_offsets(contents: &[u8]) -> Result<Offsets, CheckpointError> {
    let entries = read_entries(contents, |line| {
        let mut parts = line.split_whitespace();
        let partition = TopicPartition::new(parts.next()?, parts.next()?.parse().ok()?);
        let offset = Offset(parts.next()?.parse().ok()?);
        parts.next().is_none().then_some((partition, offset))
    })?;
    Ok(entries.into_iter().collect())
}

/// Writes an offset checkpoint.
pub fn write_offsets<'a>(offsets: impl ExactSizeIterator<Item = (&'a TopicPartition, Offset)>) -> Vec<u8> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    text.into_bytes()
}

/// Reads a `leader-epoch-checkpoint`: epochs and their first offsets.
pub fn read_epochs(contents: &[u8]) -> Result<Vec<(LeaderEpoch, Offset)>, CheckpointError> {
    read_entries(contents, |line| {
        let mut parts = line.split_whitespace();
        let entry = (LeaderEpoch(parts.next()?.parse().ok()?), Offset(parts.next()?.parse().ok()?));
        parts.next().is_none().then_some(entry)
    })
}

/// Writes a `leader-epoch-checkpoint`.
pub fn write_epochs(epochs: &[(LeaderEpoch, Offset)]) -> Vec<u8> {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    text.into_bytes()
}

/// Reads a `partition.metadata`: the topic's id. `None` if it says something else.
pub fn read_topic_id(contents: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(contents).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    let version = fields.next().filter(|(key, value)| *key == "version" && *value == "0");
    version?;
    fields.next().filter(|(key, _)| *key == "topic_id").and_then(|(_, value)| Uuid::parse(value))
}

/// Writes a `partition.metadata`; Kafka ends it without a line feed.
pub fn write_topic_id(id: Uuid) -> Vec<u8> {
    format!("version: 0\ntopic_id: {id}").into_bytes()
}

fn read_entries<T>(contents: &[u8], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, CheckpointError> {
    let text = String::from_utf8_lossy(contents);
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(Vec::new()),
        Some("0") => {}
        Some(version) => return Err(CheckpointError::Version(version.to_owned())),
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let announced: usize = count.parse().map_err(|_| CheckpointError::Line(count.to_owned()))?;
    let mut entries = Vec::new();
    for line in lines {
        entries.push(parse(line).ok_or_else(|| CheckpointError::Line(line.to_owned()))?);
    }
    match entries.len() == announced {
        true => Ok(entries),
        false => Err(CheckpointError::Count { announced, found: entries.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let offsets =
            Offsets::from([(TopicPartition::new("a", 1), Offset(17)), (TopicPartition::new("a", 0), Offset(1500))]);
        let written = write_offsets(offsets.iter().map(|(partition, offset)| (partition, *offset)));
        assert_eq!(written, b"0\n2\na 0 1500\na 1 17\n");
        assert_eq!(read_offsets(&written), Ok(offsets));
    }

    #[test]
    fn epochs_read_back() {
        let epochs = vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(4), Offset(1500))];
        assert_eq!(write_epochs(&epochs), b"0\n2\n0 0\n4 1500\n");
        assert_eq!(read_epochs(&write_epochs(&epochs)), Ok(epochs));
        assert_eq!(read_epochs(b""), Ok(Vec::new()));
    }

    #[test]
    fn damaged_checkpoints_are_errors() {
        assert_eq!(read_epochs(b"1\n0\n"), Err(CheckpointError::Version("1".into())));
        assert_eq!(read_epochs(b"0\n2\n0 0\n"), Err(CheckpointError::Count { announced: 2, found: 1 }));
        assert_eq!(read_epochs(b"0\n1\n0 x\n"), Err(CheckpointError::Line("0 x".into())));
        assert_eq!(read_offsets(b"0\nx\n"), Err(CheckpointError::Line("x".into())));
    }

    #[test]
    fn the_topic_id_reads_back() {
        let id = Uuid(*b"0123456789abcdef");
        assert_eq!(read_topic_id(&write_topic_id(id)), Some(id));
        assert_eq!(read_topic_id(b""), None);
        assert_eq!(read_topic_id(b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"), None);
    }
}
