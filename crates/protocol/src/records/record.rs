//! The records of a batch with their contents, as views over shared memory.

use bytes::Bytes;
use milena_base::Millis;

use super::{Batch, BatchError, BatchHeader, HEADER_BYTES, TimestampType};
use crate::Offset;
use crate::compression::{Codec, decompress};
use crate::wire::{DecodeError, Decoder};

/// The smallest record: a byte each for length, attributes, two deltas, two null lengths and the header count.
const RECORD_BYTES_MIN: usize = 7;

/// One record. Its parts share the memory of the batch, or of the inflated batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordView {
    /// Place in the partition.
    pub offset: Offset,
    /// The producer's time, or the leader's if the batch says so.
    pub timestamp: Millis,
    /// What the record is about; `None` is null.
    pub key: Option<Bytes>,
    /// What it says; `None` is null, a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Further pairs.
    pub headers: Headers,
}

/// A key and a value beside the record's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// UTF-8 by convention; nobody checks it.
    pub key: Bytes,
    /// `None` is null.
    pub value: Option<Bytes>,
}

/// The headers of a record, checked already but taken apart only when asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    count: usize,
    encoded: Bytes,
}

impl Headers {
    /// How many there are. Keys may repeat.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = Header> + use<> {
        let mut decoder = Decoder::new(self.encoded.clone());
        // They were read once when the record was; an error is not possible any more.
        (0..self.count).map_while(move |_| read_header(&mut decoder).ok())
    }

    /// Reads the rest of a record as its headers.
    fn read(decoder: &mut Decoder) -> Result<Headers, DecodeError> {
        let declared = decoder.varint()?;
        let count = usize::try_from(declared).map_err(|_| DecodeError::Length(declared.into()))?;
        let encoded = decoder.take(decoder.remaining())?;
        let mut rest = Decoder::new(encoded.clone());
        for _ in 0..count {
            read_header(&mut rest)?;
        }
        rest.finish()?;
        Ok(Headers { count, encoded })
    }
}

fn read_header(decoder: &mut Decoder) -> Result<Header, DecodeError> {
    let key = read_nullable(decoder)?.ok_or(DecodeError::Length(-1))?;
    Ok(Header { key, value: read_nullable(decoder)? })
}

/// Bytes behind a signed variable-length number; any negative one is null, as in Java.
fn read_nullable(decoder: &mut Decoder) -> Result<Option<Bytes>, DecodeError> {
    match usize::try_from(decoder.varint()?) {
        Err(_) => Ok(None),
        Ok(length) => decoder.take(length).map(Some),
    }
}

/// The records of one batch in order; see [`Batch::records`]. Ends behind the first error.
#[derive(Debug, Clone)]
pub struct RecordViews {
    header: BatchHeader,
    decoder: Decoder,
    next: i32,
    failed: bool,
}

impl RecordViews {
    pub(super) fn new(batch: &Batch, inflated_bytes_max: usize) -> Result<RecordViews, BatchError> {
        let header = *batch.header();
        let stored = batch.bytes().slice(HEADER_BYTES..);
        let records = match header.attributes.compression()? {
            Codec::None => stored,
            // What compaction has emptied has no stream either.
            _ if stored.is_empty() => stored,
            codec => decompress(codec, &stored, inflated_bytes_max)?,
        };
        check_count(header.record_count, records.len())?;
        Ok(RecordViews { header, decoder: Decoder::new(records), next: 0, failed: false })
    }

    fn read(&mut self) -> Result<RecordView, DecodeError> {
        let declared = self.decoder.varint()?;
        let length = usize::try_from(declared).map_err(|_| DecodeError::Length(declared.into()))?;
        let mut body = Decoder::new(self.decoder.take(length)?);
        // No attribute of a record is in use; readers skip the byte.
        body.i8()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let timestamp = match self.header.attributes.timestamp_type() {
            TimestampType::CreateTime => Millis(self.header.base_timestamp.0.wrapping_add(timestamp_delta)),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        Ok(RecordView {
            offset: Offset(self.header.base_offset.0.wrapping_add(offset_delta.into())),
            timestamp,
            key: read_nullable(&mut body)?,
            value: read_nullable(&mut body)?,
            headers: Headers::read(&mut body)?,
        })
    }
}

impl Iterator for RecordViews {
    type Item = Result<RecordView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let (index, count) = (self.next, self.header.record_count);
        let record = if index < count {
            self.read().map_err(|cause| BatchError::Record { index, cause })
        } else if self.decoder.remaining() > 0 {
            Err(BatchError::AfterRecords { count })
        } else {
            return None;
        };
        self.next += 1;
        self.failed = record.is_err();
        Some(record)
    }
}

/// A count is a claim: `bytes` of records cannot hold more than one record per [`RECORD_BYTES_MIN`].
fn check_count(count: i32, bytes: usize) -> Result<(), BatchError> {
    match usize::try_from(count) {
        Ok(claimed) if claimed <= bytes / RECORD_BYTES_MIN => Ok(()),
        _ => Err(BatchError::RecordCount { count, bytes }),
    }
}
