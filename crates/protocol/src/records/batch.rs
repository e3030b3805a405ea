//! One batch as a view over shared memory, and several in a row.

use bytes::Bytes;

use super::{BatchError, BatchHeader, RecordViews, Walk, at, crc32c};

/// Exactly one batch. Cloning shares the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes bytes that are one batch and nothing else. Checks size and magic; the CRC is checked by
    /// [`Batch::verify_crc`], the records by whoever reads them.
    pub fn parse(bytes: Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::decode(&bytes)?;
        let size = header.size_bytes();
        match bytes.len() {
            len if len < size => Err(BatchError::Truncated { missing: size - len }),
            len if len > size => Err(BatchError::Trailing(len - size)),
            _ => Ok(Batch { header, bytes }),
        }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Errors with [`BatchError::Crc`] if the contents are not those that were written.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.header.crc, crc32c(&self.bytes[at::ATTRIBUTES..]));
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }

    /// The records with their contents: without a copy where they are not compressed, else inflated into at most
    /// `inflated_bytes_max` bytes at once. Errors at once if that fails, later if a record is unsound.
    pub fn records(&self, inflated_bytes_max: usize) -> Result<RecordViews, BatchError> {
        RecordViews::new(self, inflated_bytes_max)
    }

    /// The records without their contents, inflating piece by piece and keeping none of it: what validation needs.
    /// Errors once more than `inflated_bytes_max` bytes come out of the codec.
    pub fn walk(&self, inflated_bytes_max: usize) -> Result<Walk<'_>, BatchError> {
        Walk::new(self, inflated_bytes_max)
    }
}

/// The batches of a fetch, a produce request or a piece of a log, in order.
///
/// Ends at the end of the bytes, or behind the first error.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, tolerates_cut: false }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    tolerates_cut: bool,
}

impl Batches {
    /// Ends quietly before a last batch that is not complete: a fetch is cut by its byte limit.
    pub fn tolerate_cut(self) -> Batches {
        Batches { tolerates_cut: true, ..self }
    }

    /// What has not been read: after a cut, the bytes of the incomplete batch.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn take_batch(&mut self) -> Result<Batch, BatchError> {
        let header = BatchHeader::decode(&self.rest)?;
        let size = header.size_bytes();
        if let Some(missing) = size.checked_sub(self.rest.len()).filter(|missing| *missing > 0) {
            return Err(BatchError::Truncated { missing });
        }
        Ok(Batch { header, bytes: self.rest.split_to(size) })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.take_batch() {
            Err(BatchError::Truncated { .. }) if self.tolerates_cut => None,
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
            batch => Some(batch),
        }
    }
}
