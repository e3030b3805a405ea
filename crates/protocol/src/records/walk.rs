//! The records of a batch without their contents, for validation: a compressed batch is inflated through one small
//! buffer, and keys, values and headers are stepped over.

use super::{Batch, BatchError, HEADER_BYTES};
use crate::compression::{Codec, Inflater};
use crate::wire::DecodeError;

/// How much is inflated at a time.
const BUFFER_BYTES: usize = 8 * 1024;

/// What a record looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp minus the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Size of the key; `None` is null.
    pub key_bytes: Option<usize>,
    /// Size of the value; `None` is null.
    pub value_bytes: Option<usize>,
    /// Size of the record with its length field, not compressed.
    pub size_bytes: usize,
}

/// Yields the shape of each record; see [`Batch::walk`]. Ends behind the first error, and checks at the end that
/// no bytes are left over.
///
/// Memory: nothing where the records are not compressed; else 8 KiB, and what the codec itself needs (gzip 64 KiB; lz4 one block, at most 4 MiB; zstd its window;
/// snappy one block, which is everything where the producer did not use Java's framing).
pub struct Walk<'a> {
    source: Source<'a>,
    record_count: i32,
    next: i32,
    failed: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(batch: &'a Batch, inflated_bytes_max: usize) -> Result<Walk<'a>, BatchError> {
        let header = batch.header();
        let records = &batch.bytes()[HEADER_BYTES..];
        if header.record_count < 0 {
            return Err(BatchError::RecordCount { count: header.record_count, bytes: records.len() });
        }
        let contents = match header.attributes.compression()? {
            Codec::None => Contents::Plain(records),
            // What compaction has emptied has no stream either.
            _ if records.is_empty() => Contents::Plain(records),
            codec => {
                let inflater = Box::new(Inflater::new(codec, records, inflated_bytes_max)?);
                Contents::Inflated { inflater, buffer: Vec::new() }
            }
        };
        let source = Source { contents, start: 0, taken_bytes: 0 };
        Ok(Walk { source, record_count: header.record_count, next: 0, failed: false })
    }

    /// How many bytes of records have been stepped over: callers that share a thread stop and go on by it.
    pub fn walked_bytes(&self) -> usize {
        self.source.taken_bytes
    }

    fn read(&mut self) -> Result<RecordShape, BatchError> {
        let index = self.next;
        let bad = |cause| BatchError::Record { index, cause };
        let mut reader = FieldReader { source: &mut self.source, index };
        let record_start = reader.source.taken_bytes;
        let declared = reader.varint()?;
        let length = usize::try_from(declared).map_err(|_| bad(DecodeError::Length(declared.into())))?;
        let body_start = reader.source.taken_bytes;
        reader.byte()?;
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let key_bytes = reader.step_over()?;
        let value_bytes = reader.step_over()?;
        let header_count = reader.varint()?;
        if header_count < 0 {
            return Err(bad(DecodeError::Length(header_count.into())));
        }
        for _ in 0..header_count {
            reader.step_over()?.ok_or_else(|| bad(DecodeError::Length(-1)))?;
            reader.step_over()?;
        }
        let end = reader.source.taken_bytes;
        match (body_start + length).checked_sub(end) {
            Some(0) => {
                let size_bytes = end - record_start;
                Ok(RecordShape { offset_delta, timestamp_delta, key_bytes, value_bytes, size_bytes })
            }
            Some(left) => Err(bad(DecodeError::Trailing(left))),
            None => Err(bad(DecodeError::Truncated { missing: end - body_start - length })),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<RecordShape, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let shape = if self.next < self.record_count {
            self.read()
        } else {
            match self.source.fill() {
                Ok(false) => return None,
                Ok(true) => Err(BatchError::AfterRecords { count: self.record_count }),
                Err(error) => Err(error),
            }
        };
        self.next += 1;
        self.failed = shape.is_err();
        Some(shape)
    }
}

/// The bytes of the records, a window of them at a time.
struct Source<'a> {
    contents: Contents<'a>,
    /// What of the window has been taken.
    start: usize,
    /// What has been taken since the beginning.
    taken_bytes: usize,
}

enum Contents<'a> {
    /// One window over all.
    Plain(&'a [u8]),
    Inflated {
        inflater: Box<Inflater<'a>>,
        buffer: Vec<u8>,
    },
}

impl Source<'_> {
    /// What can be taken without inflating more.
    fn window(&self) -> &[u8] {
        match &self.contents {
            Contents::Plain(records) => &records[self.start..],
            Contents::Inflated { buffer, .. } => &buffer[self.start..],
        }
    }

    /// Makes sure that the window holds something; false at the end.
    fn fill(&mut self) -> Result<bool, BatchError> {
        if let Contents::Inflated { inflater, buffer } = &mut self.contents
            && self.start == buffer.len()
        {
            buffer.resize(BUFFER_BYTES, 0);
            let read = inflater.read(buffer)?;
            buffer.truncate(read);
            self.start = 0;
        }
        Ok(!self.window().is_empty())
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        self.taken_bytes += count;
    }
}

/// Reads the fields of one record.
struct FieldReader<'s, 'a> {
    source: &'s mut Source<'a>,
    index: i32,
}

impl FieldReader<'_, '_> {
    fn bad(&self, cause: DecodeError) -> BatchError {
        BatchError::Record { index: self.index, cause }
    }

    fn byte(&mut self) -> Result<u8, BatchError> {
        if !self.source.fill()? {
            return Err(self.bad(DecodeError::Truncated { missing: 1 }));
        }
        let byte = self.source.window()[0];
        self.source.take(1);
        Ok(byte)
    }

    fn varint(&mut self) -> Result<i32, BatchError> {
        let bits = u32::try_from(self.varint_bits(5)?).map_err(|_| self.bad(DecodeError::Varint))?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    fn varlong(&mut self) -> Result<i64, BatchError> {
        let bits = self.varint_bits(10)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_bits(&mut self, bytes_max: u32) -> Result<u64, BatchError> {
        let mut value = 0u64;
        for at in 0..bytes_max {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad(DecodeError::Varint))
    }

    /// Steps over bytes behind their length, and says the length; negative is null.
    fn step_over(&mut self) -> Result<Option<usize>, BatchError> {
        let Ok(length) = usize::try_from(self.varint()?) else { return Ok(None) };
        let mut left = length;
        while left > 0 {
            if !self.source.fill()? {
                return Err(self.bad(DecodeError::Truncated { missing: left }));
            }
            let step = left.min(self.source.window().len());
            self.source.take(step);
            left -= step;
        }
        Ok(Some(length))
    }
}
