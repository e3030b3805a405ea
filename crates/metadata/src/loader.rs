//! From committed batches to images: what every broker runs. Records inside a metadata transaction
//! (`BeginTransaction` … `EndTransaction`, KIP-868) are held back until it ends.

use milena_protocol::Offset;
use milena_protocol::messages::MetadataRecord;

use crate::delta::{Changes, Delta, ReplayError};
use crate::image::{Image, Provenance};
use crate::records::{Batch, Entry};
use crate::snapshot::Snapshot;

/// Follows the committed part of the metadata log.
#[derive(Debug, Default)]
pub struct Loader {
    /// As last published.
    image: Image,
    /// The published image with everything since, but without what an open transaction has written.
    delta: Option<Delta>,
    read: Provenance,
    held: Option<Held>,
    from_snapshot: bool,
}

/// An open transaction.
#[derive(Debug)]
struct Held {
    /// How far the log had been read where it begins: as far as an image can be published while it is open.
    before: Provenance,
    /// Its records; bounded by the controller, which writes at most 10 000 in one.
    records: Vec<(Offset, MetadataRecord)>,
}

impl Loader {
    /// An empty cluster, before offset 0.
    pub fn new() -> Loader {
        Loader::default()
    }

    /// Starts over from a snapshot.
    pub fn load_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), ReplayError> {
        let mut delta = Delta::new(&Image::default());
        let last = Offset(snapshot.id.end.0 - 1);
        for record in &snapshot.records {
            delta.replay(last, record)?;
        }
        self.delta = Some(delta);
        self.held = None;
        self.from_snapshot = true;
        self.read = Provenance { last, epoch: snapshot.id.epoch, timestamp: snapshot.timestamp };
        Ok(())
    }

    /// Takes the next committed batch. Records below what was read already are skipped, so that a log may be read from
    /// any segment below its snapshot. After an error the loader must not be used further: log and program disagree.
    pub fn replay(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        let read = self.read.last;
        let new = (batch.base.0..).map(Offset).zip(&batch.entries).filter(|(offset, _)| *offset > read);
        for (offset, entry) in new {
            if let Entry::Data(record) = entry {
                self.replay_record(offset, record)?;
            }
            self.read = Provenance { last: offset, epoch: batch.epoch, timestamp: batch.timestamp };
        }
        Ok(())
    }

    /// The image after all batches so far, and what changed since the last call. While a transaction is open the image
    /// stays at its beginning.
    pub fn publish(&mut self) -> (Image, Changes) {
        let provenance = match &self.held {
            Some(held) => held.before,
            None => self.read,
        };
        let old = self.image.clone();
        let delta = self.delta.take().unwrap_or_else(|| Delta::new(&old));
        let (image, changes) = delta.apply(provenance);
        let changes = match std::mem::take(&mut self.from_snapshot) {
            true => Changes::between(&old, &image),
            false => changes,
        };
        self.image = image;
        (self.image.clone(), changes)
    }

    /// The last published image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// How far the log was read.
    pub fn read(&self) -> Provenance {
        self.read
    }

    /// Whether a transaction is open: a new leader has to abort it.
    pub fn has_open_transaction(&self) -> bool {
        self.held.is_some()
    }

    fn replay_record(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ReplayError> {
        let refused = |reason: &str| Err(ReplayError { offset, reason: reason.to_string() });
        match (record, &mut self.held) {
            (MetadataRecord::BeginTransaction(_), Some(_)) => refused("a transaction begins inside another"),
            (MetadataRecord::BeginTransaction(_), None) => {
                self.held = Some(Held { before: self.read, records: Vec::new() });
                Ok(())
            }
            (MetadataRecord::EndTransaction(_) | MetadataRecord::AbortTransaction(_), None) => {
                refused("no transaction is open")
            }
            (MetadataRecord::AbortTransaction(_), held) => {
                *held = None;
                Ok(())
            }
            (MetadataRecord::EndTransaction(_), held) => {
                let records = held.take().map(|held| held.records).unwrap_or_default();
                records.iter().try_for_each(|(offset, record)| self.delta().replay(*offset, record))
            }
            (record, Some(held)) => {
                held.records.push((offset, record.clone()));
                Ok(())
            }
            (record, None) => self.delta().replay(offset, record),
        }
    }

    fn delta(&mut self) -> &mut Delta {
        self.delta.get_or_insert_with(|| Delta::new(&self.image))
    }
}

#[cfg(test)]
mod tests {
    use milena_base::Millis;
    use milena_protocol::LeaderEpoch;
    use milena_protocol::messages::{
        AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, FeatureLevelRecord,
    };

    use super::*;

    fn level(level: i16) -> MetadataRecord {
        FeatureLevelRecord { name: "f".into(), feature_level: level }.into()
    }

    fn batch(base: i64, records: Vec<MetadataRecord>) -> Batch {
        let entries = records.into_iter().map(Entry::Data).collect();
        Batch { base: Offset(base), epoch: LeaderEpoch(1), timestamp: Millis(base), entries }
    }

    #[test]
    fn what_a_transaction_writes_is_seen_at_its_end() {
        let mut loader = Loader::new();
        loader.replay(&batch(0, vec![level(1), BeginTransactionRecord::default().into(), level(2)])).expect("fits");
        let image = loader.publish().0;
        assert_eq!((image.feature("f"), image.provenance().last), (1, Offset(0)));
        assert!(loader.has_open_transaction());
        loader.replay(&batch(3, vec![level(3), EndTransactionRecord::default().into()])).expect("fits");
        let (image, changes) = loader.publish();
        assert_eq!((image.feature("f"), image.provenance().last), (3, Offset(4)));
        assert!(changes.features.contains("f"));
    }

    #[test]
    fn what_an_aborted_transaction_wrote_is_never_seen() {
        let mut loader = Loader::new();
        let records =
            vec![BeginTransactionRecord::default().into(), level(2), AbortTransactionRecord::default().into()];
        loader.replay(&batch(0, records)).expect("fits");
        assert_eq!(loader.publish().0.features().len(), 0);
    }

    #[test]
    fn batches_that_were_read_are_skipped() {
        let mut loader = Loader::new();
        let one = batch(0, vec![level(1)]);
        loader.replay(&one).expect("fits");
        loader.replay(&batch(1, vec![level(2)])).expect("fits");
        loader.replay(&one).expect("skipped");
        assert_eq!(loader.publish().0.feature("f"), 2);
    }
}
