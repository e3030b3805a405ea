//! Snappy in the framing of Java's library, which Kafka's Java client writes, and bare, as librdkafka writes it.
//!
//! ```text
//! 82 "SNAPPY" 00 | version i32 = 1 | compatible version i32 = 1 | { block length i32, snappy block of up to 32 KiB }*
//! ```
//! A header may come again between blocks where streams were joined. What does not begin with the header is one
//! bare block.
//!
//! Source: snappy-java `SnappyOutputStream`, `SnappyInputStream`.

use super::{BlockError, Codec, CompressionError};

const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// What distinguishes a framed stream.
const MAGIC: &[u8] = b"\x82SNAPPY\0";
/// How much Java's library puts into a block.
const BLOCK_BYTES: usize = 32 * 1024;
/// An element of three bytes copies at most 64: a block that claims more than this per byte lies.
const INFLATED_PER_BYTE_MAX: usize = 64;

pub(super) fn compress(contents: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let corrupt = |error: snap::Error| Codec::Snappy.corrupt(error);
    let mut encoder = snap::raw::Encoder::new();
    let mut out = HEADER.to_vec();
    for block in contents.chunks(BLOCK_BYTES) {
        let start = out.len() + size_of::<i32>();
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let length = encoder.compress(block, &mut out[start..]).map_err(corrupt)?;
        out[start - size_of::<i32>()..start].copy_from_slice(&(length as i32).to_be_bytes());
        out.truncate(start + length);
    }
    Ok(out)
}

/// A bound on the largest block of a stream, from what its blocks claim.
pub(super) fn block_bytes_max(compressed: &[u8]) -> usize {
    let mut blocks = Blocks::new(compressed);
    let mut largest = 0;
    while let Ok(Some(block)) = blocks.next_compressed() {
        largest = largest.max(inflated_bytes(block).unwrap_or(0));
    }
    largest
}

/// What a block says that it holds.
fn inflated_bytes(block: &[u8]) -> Result<usize, BlockError> {
    let inflated = snap::raw::decompress_len(block).map_err(|error| BlockError::Corrupt(error.to_string()))?;
    match inflated > block.len().saturating_mul(INFLATED_PER_BYTE_MAX) {
        true => Err("a block claims more than it can hold".into()),
        false => Ok(inflated),
    }
}

pub(super) struct Blocks<'a> {
    rest: &'a [u8],
    framed: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(compressed: &'a [u8]) -> Blocks<'a> {
        match compressed.strip_prefix(MAGIC) {
            // The versions say nothing that would be read in another way.
            Some(_) => Blocks { rest: compressed.get(HEADER.len()..).unwrap_or_default(), framed: true },
            None => Blocks { rest: compressed, framed: false },
        }
    }

    /// Steps to the next block; `None` at the end.
    fn next_compressed(&mut self) -> Result<Option<&'a [u8]>, BlockError> {
        while self.framed && self.rest.starts_with(MAGIC) {
            self.rest = self.rest.get(HEADER.len()..).unwrap_or_default();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        let (length, rest) = self.rest.split_first_chunk().ok_or("the stream ends in a block length")?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| "negative block length")?;
        let (block, rest) = rest.split_at_checked(length).ok_or("the stream ends in a block")?;
        self.rest = rest;
        Ok(Some(block))
    }

    pub(super) fn next(&mut self, block: &mut Vec<u8>, room: usize) -> Result<bool, BlockError> {
        let Some(compressed) = self.next_compressed()? else { return Ok(false) };
        let inflated = inflated_bytes(compressed)?;
        if inflated > room {
            return Err(BlockError::TooLarge);
        }
        block.resize(inflated, 0);
        let decompressed = snap::raw::Decoder::new().decompress(compressed, block);
        decompressed.map_err(|error| BlockError::Corrupt(error.to_string()))?;
        Ok(true)
    }
}
