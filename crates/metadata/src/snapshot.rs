//! Snapshots of the metadata log: `OFFSET-EPOCH.checkpoint`.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::messages::{
    KRaftVersionRecord, MetadataRecord, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use milena_protocol::records::batches;
use milena_protocol::{LeaderEpoch, Offset};

use crate::image::Image;
use crate::records::{Control, Entry, RecordsError, decode, encode_control, encode_data};

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
        let (end, epoch) = file_name.strip_suffix(".checkpoint")?.split_once('-')?;
        let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(end, 20) || !is_number(epoch, 10) {
            return None;
        }
        Some(SnapshotId { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
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

/// The id and contents of an image's snapshot; `voters` where the quorum is dynamic (`kraft.version` 1).
pub fn write(image: &Image, voters: Option<&VotersRecord>, now: Millis) -> (SnapshotId, Bytes) {
    let provenance = image.provenance();
    let id = SnapshotId { end: provenance.last.next(), epoch: provenance.epoch };
    (id, contents(&image.to_records(), voters, id.epoch, provenance.timestamp, now))
}

/// A file with these records: header and quorum, data batches, footer. Its offsets count from 0 and mean nothing.
pub(crate) fn contents(
    records: &[MetadataRecord],
    voters: Option<&VotersRecord>,
    epoch: LeaderEpoch,
    last_contained: Millis,
    now: Millis,
) -> Bytes {
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last_contained.0 };
    let mut controls = vec![Control::SnapshotHeader(header)];
    if let Some(voters) = voters {
        controls.push(Control::KRaftVersion(KRaftVersionRecord { version: 0, kraft_version: 1 }));
        controls.push(Control::Voters(voters.clone()));
    }
    let mut bytes = encode_control(Offset(0), epoch, now, &controls).to_vec();
    let mut next = Offset(controls.len() as i64);
    for records in records.chunks(BATCH_RECORDS_MAX) {
        bytes.extend_from_slice(&encode_data(next, epoch, now, records));
        next = next + records.len() as i64;
    }
    let footer = Control::SnapshotFooter(SnapshotFooterRecord { version: 0 });
    bytes.extend_from_slice(&encode_control(next, epoch, now, &[footer]));
    Bytes::from(bytes)
}

/// Time of the last batch that a snapshot contains; its first batch, which says so, must be in `beginning`.
pub fn timestamp(beginning: &Bytes) -> Result<Millis, RecordsError> {
    let broken = |reason: &str| RecordsError::CorruptBatch { position: 0, reason: reason.into() };
    let first = batches(beginning.clone()).next().and_then(Result::ok).ok_or_else(|| broken("no whole batch"))?;
    let decoded = decode(first.bytes())?;
    match decoded.first().and_then(|batch| batch.entries.first()) {
        Some(Entry::Control(Control::SnapshotHeader(header))) => Ok(Millis(header.last_contained_log_timestamp)),
        _ => Err(broken("a snapshot begins with a header")),
    }
}

/// Takes a file apart, strictly: a header first, a footer last, nothing behind it.
pub fn read(id: SnapshotId, bytes: &Bytes) -> Result<Snapshot, RecordsError> {
    let batches = decode(bytes)?;
    let entries: Vec<&Entry> = batches.iter().flat_map(|batch| &batch.entries).collect();
    let broken = |reason: &str| RecordsError::CorruptBatch { position: bytes.len(), reason: reason.into() };
    let [Entry::Control(Control::SnapshotHeader(header)), inner @ .., Entry::Control(Control::SnapshotFooter(_))] =
        entries.as_slice()
    else {
        return Err(broken("a snapshot begins with a header and ends with a footer"));
    };
    let timestamp = Millis(header.last_contained_log_timestamp);
    let mut snapshot = Snapshot { id, timestamp, kraft_version: 0, voters: None, records: Vec::new() };
    for entry in inner {
        match entry {
            Entry::Data(record) => snapshot.records.push(record.clone()),
            Entry::Control(Control::KRaftVersion(record)) => snapshot.kraft_version = record.kraft_version,
            Entry::Control(Control::Voters(record)) => snapshot.voters = Some(record.clone()),
            Entry::Control(_) => return Err(broken("a control record that does not belong into a snapshot")),
        }
    }
    Ok(snapshot)
}

/// Records of one batch at most, as Kafka's snapshot writer bounds them.
const BATCH_RECORDS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use milena_protocol::messages::NoOpRecord;

    use super::*;

    #[test]
    fn file_names_are_kafkas() {
        let id = SnapshotId { end: Offset(123), epoch: LeaderEpoch(4) };
        assert_eq!(id.file_name(), "00000000000000000123-0000000004.checkpoint");
        assert_eq!(SnapshotId::parse(&id.file_name()), Some(id));
        for other in ["00000000000000000123-0000000004.checkpoint.part", "123-4.checkpoint", "bootstrap.checkpoint"] {
            assert_eq!(SnapshotId::parse(other), None);
        }
    }

    #[test]
    fn a_cut_snapshot_is_refused() {
        let records = vec![MetadataRecord::from(NoOpRecord::default()); 3000];
        let id = SnapshotId { end: Offset(9), epoch: LeaderEpoch(1) };
        let whole = contents(&records, None, id.epoch, Millis(5), Millis(6));
        assert_eq!(read(id, &whole).map(|snapshot| snapshot.records.len()), Ok(3000));
        assert_eq!(timestamp(&whole.slice(..200)), Ok(Millis(5)), "its beginning is enough");
        assert!(timestamp(&whole.slice(..20)).is_err());
        let footer_bytes = 75;
        assert!(read(id, &whole.slice(..whole.len() - footer_bytes)).is_err());
        assert!(read(id, &whole.slice(..whole.len() - 1)).is_err());
    }
}
