//! Reading a segment's file from a place on: headers only, to find an offset or a time near an index entry, or
//! whole batches with their checksums, after a crash.

use std::io;

use bytes::Bytes;
use milena_base::DiskFile;
use milena_protocol::records::{Batch, BatchError, BatchHeader, HEADER_BYTES, batches};

/// Read at once for headers: about the distance between two index entries, twice.
const WINDOW_BYTES: usize = 8 * 1024;
/// Read at once for whole batches.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Goes from header to header. The range must hold whole, sound batches: anything else is a damaged file.
pub(crate) struct Headers<'a, F> {
    file: &'a F,
    position: u64,
    end: u64,
    window: [u8; WINDOW_BYTES],
    window_start: u64,
    window_bytes: usize,
}

impl<'a, F: DiskFile> Headers<'a, F> {
    /// From `position`, the start of a batch, to `end`, the end of one.
    pub(crate) fn new(file: &'a F, position: u64, end: u64) -> Headers<'a, F> {
        Headers { file, position, end, window: [0; WINDOW_BYTES], window_start: 0, window_bytes: 0 }
    }

    /// The next header with its place.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, BatchHeader)>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        if position < self.window_start || position + HEADER_BYTES as u64 > self.window_start + self.window_bytes as u64
        {
            let wanted = (self.end - position).min(WINDOW_BYTES as u64) as usize;
            self.window_bytes = self.file.read_at(&mut self.window[..wanted], position)?;
            self.window_start = position;
        }
        let start = (position - self.window_start) as usize;
        let header =
            BatchHeader::decode(&self.window[start..self.window_bytes]).map_err(|error| damaged(position, &error))?;
        self.position += header.size_bytes() as u64;
        match self.position > self.end {
            true => Err(damaged(position, &BatchError::Truncated { missing: (self.position - self.end) as usize })),
            false => Ok(Some((position, header))),
        }
    }
}

/// One whole batch, checked.
pub(crate) fn read_batch<F: DiskFile>(file: &F, position: u64, header: &BatchHeader) -> io::Result<Batch> {
    let mut bytes = vec![0; header.size_bytes()];
    let read = file.read_at(&mut bytes, position)?;
    bytes.truncate(read);
    Batch::parse(Bytes::from(bytes))
        .and_then(|batch| batch.verify_crc().map(|()| batch))
        .map_err(|error| damaged(position, &error))
}

/// Goes from batch to batch and checks each; ends at the first that is not sound.
pub(crate) struct Scan<'a, F> {
    file: &'a F,
    position: u64,
    end: u64,
    batches: std::vec::IntoIter<Batch>,
}

impl<'a, F: DiskFile> Scan<'a, F> {
    /// From `position`, the start of a batch, to `end`, which may be anywhere.
    pub(crate) fn new(file: &'a F, position: u64, end: u64) -> Scan<'a, F> {
        Scan { file, position, end, batches: Vec::new().into_iter() }
    }

    /// The next sound batch with its place; `None` at the end or before the first that is not sound.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Batch)>> {
        if self.batches.len() == 0 {
            self.batches = whole_batches(self.file, self.position, self.end, CHUNK_BYTES)?.into_iter();
        }
        let Some(batch) = self.batches.next() else { return Ok(None) };
        if batch.verify_crc().is_err() {
            self.end = self.position;
            self.batches = Vec::new().into_iter();
            return Ok(None);
        }
        let position = self.position;
        self.position += batch.header().size_bytes() as u64;
        Ok(Some((position, batch)))
    }
}

/// Batches from `position`, the start of one, on, in about `chunk_bytes`: at least one, each checked.
///
/// # Errors
/// `InvalidData` where there is no sound batch.
pub(crate) fn read_chunk<F: DiskFile>(file: &F, position: u64, end: u64, chunk_bytes: u64) -> io::Result<Vec<Batch>> {
    let batches = whole_batches(file, position, end, chunk_bytes.max(HEADER_BYTES as u64))?;
    let mut at = position;
    for batch in &batches {
        batch.verify_crc().map_err(|error| damaged(at, &error))?;
        at += batch.header().size_bytes() as u64;
    }
    match batches.is_empty() {
        true => Err(damaged(position, &BatchError::Truncated { missing: 1 })),
        false => Ok(batches),
    }
}

/// The batches that are whole within the next bytes; if the first is larger, that one.
fn whole_batches<F: DiskFile>(file: &F, position: u64, end: u64, chunk_bytes: u64) -> io::Result<Vec<Batch>> {
    let available = end - position;
    let mut chunk = vec![0; available.min(chunk_bytes) as usize];
    let read = file.read_at(&mut chunk, position)?;
    chunk.truncate(read);
    let chunk = Bytes::from(chunk);
    let whole: Vec<Batch> = batches(chunk.clone()).tolerate_cut().map_while(Result::ok).collect();
    match BatchHeader::decode(&chunk) {
        Ok(header) if whole.is_empty() => {
            let size_bytes = header.size_bytes() as u64;
            match size_bytes > chunk_bytes && size_bytes <= available {
                true => whole_batches(file, position, end, size_bytes),
                false => Ok(whole),
            }
        }
        _ => Ok(whole),
    }
}

/// Bytes that were good once are not what they were.
pub(crate) fn damaged(position: u64, error: &BatchError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no sound batch at byte {position}: {error}"))
}
