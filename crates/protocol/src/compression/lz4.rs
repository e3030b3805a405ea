//! One LZ4 frame, as Kafka writes it: 64 KiB independent blocks, neither sizes nor checksums of the contents.
//!
//! ```text
//! magic 04 22 4d 18 | flags u8 | block size u8 | [content size u64] | header checksum u8 | blocks | end mark 00 00 00 00
//! flags: bits 6-7 version = 1 | 5 independent blocks | 4 block checksums | 3 content size | 2 content checksum
//! block: length u32 LE, top bit: stored as it is | bytes | [xxh32 of the bytes, u32 LE]
//! ```
//! Frames with checksums and larger blocks are read as well, linked blocks are refused, as by Kafka. Bytes behind
//! the end mark are not looked at.
//!
//! Source: `Lz4BlockOutputStream`, `Lz4BlockInputStream`.

use lz4_flex::block;
use twox_hash::XxHash32;

use super::{BlockError, CompressionError};

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT_BLOCKS: u8 = 0b0010_0000;
const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
/// Bits of the flags that must be as we write them: the version, independence, and two that nobody may use.
const FIXED: u8 = 0b1110_0011;
/// The code of the block size that Kafka writes; code `c` stands for 2^(2c + 8) bytes.
const BLOCK_SIZE_CODE: u8 = 4;
const STORED: u32 = 1 << 31;
/// The largest block that a header can announce.
pub(super) const BLOCK_BYTES_MAX: usize = 4 << 20;
/// A token's length grows by at most 255 for every byte: a block cannot hold more.
pub(super) const INFLATED_PER_BYTE_MAX: usize = 255;

pub(super) fn compress(contents: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let descriptor = [VERSION | INDEPENDENT_BLOCKS, BLOCK_SIZE_CODE << 4];
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&descriptor);
    out.push(descriptor_checksum(&descriptor));
    for block in contents.chunks(block_bytes(BLOCK_SIZE_CODE)) {
        let start = out.len() + size_of::<u32>();
        out.resize(start + block::get_maximum_output_size(block.len()), 0);
        let compressed = block::compress_into(block, &mut out[start..]).ok().filter(|length| *length < block.len());
        let length = match compressed {
            Some(length) => length as u32,
            None => {
                out[start..start + block.len()].copy_from_slice(block);
                block.len() as u32 | STORED
            }
        };
        out[start - size_of::<u32>()..start].copy_from_slice(&length.to_le_bytes());
        out.truncate(start + (length & !STORED) as usize);
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    Ok(out)
}

fn block_bytes(code: u8) -> usize {
    1 << (2 * u32::from(code) + 8)
}

/// The second byte of the descriptor's hash.
fn descriptor_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

pub(super) struct Blocks<'a> {
    rest: &'a [u8],
    block_bytes_max: usize,
    checksums: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(compressed: &'a [u8]) -> Result<Blocks<'a>, &'static str> {
        let frame = compressed.strip_prefix(&MAGIC).ok_or("no frame begins here")?;
        let [flags, size, ..] = *frame else { return Err("the frame ends in its header") };
        if flags & FIXED != VERSION | INDEPENDENT_BLOCKS {
            return Err("a frame with such flags is not supported");
        }
        let code = size >> 4;
        if size & 0x0f != 0 || !(4..=7).contains(&code) {
            return Err("there is no such block size");
        }
        // The content size is a claim that nothing needs.
        let length = if flags & CONTENT_SIZE == 0 { 2 } else { 10 };
        let (descriptor, rest) = frame.split_at_checked(length).ok_or("the frame ends in its header")?;
        let (checksum, rest) = rest.split_first().ok_or("the frame ends in its header")?;
        if *checksum != descriptor_checksum(descriptor) {
            return Err("the header's checksum is wrong");
        }
        Ok(Blocks { rest, block_bytes_max: block_bytes(code), checksums: flags & BLOCK_CHECKSUMS != 0 })
    }

    pub(super) fn next(&mut self, block: &mut Vec<u8>, room: usize) -> Result<bool, BlockError> {
        let (claim, rest) = self.rest.split_first_chunk().ok_or("the frame ends without its end mark")?;
        let claim = u32::from_le_bytes(*claim);
        let length = (claim & !STORED) as usize;
        if length == 0 {
            return Ok(false);
        }
        if length > self.block_bytes_max {
            return Err("a block is larger than the header says".into());
        }
        let (bytes, rest) = rest.split_at_checked(length).ok_or("the frame ends in a block")?;
        self.rest = rest;
        if self.checksums {
            let (checksum, rest) = rest.split_first_chunk().ok_or("the frame ends in a checksum")?;
            if u32::from_le_bytes(*checksum) != XxHash32::oneshot(0, bytes) {
                return Err("a block's checksum is wrong".into());
            }
            self.rest = rest;
        }
        if claim & STORED != 0 {
            block.clear();
            block.extend_from_slice(bytes);
        } else {
            block.resize(self.block_bytes_max.min(length * INFLATED_PER_BYTE_MAX), 0);
            let inflated =
                block::decompress_into(bytes, block).map_err(|error| BlockError::Corrupt(error.to_string()))?;
            block.truncate(inflated);
        }
        if block.len() > room { Err(BlockError::TooLarge) } else { Ok(true) }
    }
}
