//! Snapshots of the metadata log: `OFFSET-EPOCH.checkpoint`.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::{MetadataRecord, VotersRecord};
use milena_protocol::{LeaderEpoch, Offset};

use crate::image::Image;
use crate::records::RecordsError;

/// Which prefix of the log a snapshot holds: all records below `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The first offset that it does not contain.
    pub end: Offset,
    /// Epoch of the last record that it contains.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// `00000000000000000123-0000000004.checkpoint`
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}.checkpoint", self.end.0, self.epoch.0)
    }

    /// Reads a file name; `None` if it is none of a finished snapshot.
    pub fn parse(file_name: &str) -> Option<SnapshotId> {
        todo!()
    }
}

/// A snapshot taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Which prefix of the log it holds.
    pub id: SnapshotId,
    /// Time of the last batch that it contains.
    pub timestamp: Millis,
    /// `kraft.version`, 0 where the snapshot does not say.
    pub kraft_version: i16,
    /// The voters, where the quorum is dynamic.
    pub voters: Option<VotersRecord>,
    /// All other records.
    pub records: Vec<MetadataRecord>,
}

/// The file's contents for an image; `voters` where the quorum is dynamic (`kraft.version` 1).
pub fn write(image: &Image, voters: Option<&VotersRecord>, now: Millis) -> (SnapshotId, Bytes) {
    todo!()
}

/// Takes a file apart, strictly.
pub fn read(id: SnapshotId, bytes: &Bytes) -> Result<Snapshot, RecordsError> {
    todo!()
}
