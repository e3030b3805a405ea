//! Reads a coordinator's log from its start to its end, as entries to be replayed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use milena_base::{Disk, DiskFile};
use milena_coordinators::{CoordinatorRecord, Entry, Origin};
use milena_partition::{Isolation, ReadRequest, Slice};
use milena_protocol::Offset;
use milena_protocol::records::{Batch, BatchError, ControlRecordType, batches};

use crate::partitions::Replica;
use crate::world::{World, on_pool};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// A compressed batch of a coordinator's log may inflate to this size.
const INFLATED_BYTES_MAX: usize = 64 << 20;

/// Why a log cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The replica was closed meanwhile.
    #[error("the replica is offline")]
    Offline,
    /// The log refuses the read.
    #[error(transparent)]
    Read(#[from] milena_partition::ReadError),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A batch is damaged.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl LoadError {
    /// Whether the log is whole, and only led by nobody here for now.
    pub(crate) fn is_of_leadership(&self) -> bool {
        matches!(self, LoadError::Read(milena_partition::ReadError::Leadership(_)))
    }
}

/// Walks over a replica's log.
pub(crate) struct Reader<D: Disk> {
    replica: Arc<Replica<D>>,
    next: Option<Offset>,
}

impl<D: Disk> Reader<D> {
    /// From the log start on.
    pub(crate) fn new(replica: Arc<Replica<D>>) -> Reader<D> {
        Reader { replica, next: None }
    }

    /// The next entries; `None` at the log end.
    pub(crate) async fn next<W: World<Disk = D>>(
        &mut self,
        world: &W,
    ) -> Result<Option<Vec<(Origin, Entry)>>, LoadError> {
        let replica = Arc::clone(&self.replica);
        let from = self.next;
        let bytes = on_pool(world, move || read_chunk(&replica, from)).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut entries = Vec::new();
        for batch in batches(bytes).tolerate_cut() {
            let batch = batch?;
            self.next = Some(batch.header().next_offset());
            entries_of(&batch, &mut entries)?;
        }
        Ok(Some(entries))
    }
}

fn read_chunk<D: Disk>(replica: &Replica<D>, from: Option<Offset>) -> Result<Bytes, LoadError> {
    let marks = replica.marks().ok_or(LoadError::Offline)?;
    let request = ReadRequest {
        offset: from.unwrap_or(marks.log_start),
        max_bytes: CHUNK_BYTES,
        min_one_batch: true,
        isolation: Isolation::LogEnd,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        from_any_replica: false,
    };
    let info = replica.read(&request).ok_or(LoadError::Offline)??;
    let Slice::File { file, position, size_bytes, .. } = info.slice else { return Ok(Bytes::new()) };
    let mut bytes = BytesMut::zeroed(size_bytes);
    let read = file.read_at(&mut bytes, position)?;
    bytes.truncate(read);
    Ok(bytes.freeze())
}

fn entries_of(batch: &Batch, entries: &mut Vec<(Origin, Entry)>) -> Result<(), LoadError> {
    let header = batch.header();
    let transactional = header.attributes.is_transactional();
    let producer = transactional.then_some((header.producer_id, header.producer_epoch));
    for record in batch.records(INFLATED_BYTES_MAX)? {
        let record = record?;
        let entry = match (header.attributes.is_control(), record.key) {
            (true, Some(key)) => match ControlRecordType::parse(&key)? {
                ControlRecordType::Commit => Entry::TransactionEnd { committed: true },
                ControlRecordType::Abort => Entry::TransactionEnd { committed: false },
                _ => continue,
            },
            (false, Some(key)) => Entry::Record(CoordinatorRecord { key, value: record.value }),
            (_, None) => continue,
        };
        entries.push((Origin { offset: record.offset, producer }, entry));
    }
    Ok(())
}
