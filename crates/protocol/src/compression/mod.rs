//! The four codecs of record batches, with a bound on what comes out.
//!
//! Compressed bytes are a stranger's claim: nothing is allocated because a length field says so, and inflating ends
//! with [`CompressionError::TooLarge`] at the caller's bound, however small the input.
//!
//! Source: `org.apache.kafka.common.compress`; levels: KIP-390, KIP-780.

mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd_frames;

use std::io::{Read, Write};
use std::ops::RangeInclusive;

use bytes::Bytes;

/// The first guess at the size of inflated contents is four times the input, within these bounds; it then doubles.
const FIRST_BYTES: std::ops::RangeInclusive<usize> = 1024..=64 * 1024;
/// The widest window that Kafka's zstd reader accepts, 2²⁷ bytes. The decoder reserves a frame's window, which
/// becomes resident only as it fills.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// What the decoders of gzip and zstd keep beside their windows, and more.
const DECODER_BYTES: usize = 512 * 1024;

/// How the records of a batch are compressed. The numbers are those in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in the framing of Java's library; read without framing too.
    Snappy = 2,
    /// One LZ4 frame.
    Lz4 = 3,
    /// RFC 8878.
    Zstd = 4,
}

/// Why bytes could not be compressed or inflated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// More comes out than the caller allows.
    #[error("the contents inflate to more than {limit_bytes} bytes")]
    TooLarge {
        /// The caller's bound.
        limit_bytes: usize,
    },
    /// The bytes are not of this codec, or are damaged.
    #[error("not sound {codec} data: {reason}")]
    Corrupt {
        /// The codec that was tried.
        codec: Codec,
        /// What it says.
        reason: String,
    },
    /// The codec has no such level.
    #[error("{codec} has no level {level}")]
    Level {
        /// Which codec.
        codec: Codec,
        /// The level asked for.
        level: i32,
    },
}

impl Codec {
    /// Every codec, `None` included.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with that number.
    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(id)).copied()
    }

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The codec that configurations call `name`.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// What configurations call it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The levels that Kafka's configuration accepts; `None` where there is nothing to choose. Gzip also takes −1,
    /// its default.
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Codec::None | Codec::Snappy => None,
            Codec::Gzip => Some(1..=9),
            Codec::Lz4 => Some(1..=17),
            Codec::Zstd => Some(-131_072..=22),
        }
    }

    /// A bound on the memory that an [`Inflater`] takes for `compressed`, found without inflating anything.
    pub fn inflater_bytes(self, compressed: &[u8]) -> usize {
        match self {
            Codec::None => 0,
            Codec::Gzip => DECODER_BYTES,
            Codec::Snappy => snappy::block_bytes_max(compressed),
            Codec::Lz4 => lz4::BLOCK_BYTES_MAX.min(compressed.len().saturating_mul(lz4::INFLATED_PER_BYTE_MAX)),
            // A wider window is refused.
            Codec::Zstd => zstd_frames::window_bytes(compressed).min(1 << ZSTD_WINDOW_LOG_MAX) as usize + DECODER_BYTES,
        }
    }

    fn corrupt(self, reason: impl ToString) -> CompressionError {
        CompressionError::Corrupt { codec: self, reason: reason.to_string() }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Compresses `contents`. `level` `None` is the codec's default: gzip 6, zstd 3. Lz4 takes its levels but has one
/// encoder for all of them. Errors if there is no such level.
pub fn compress(codec: Codec, level: Option<i32>, contents: &[u8]) -> Result<Bytes, CompressionError> {
    let level = match (level, codec.levels()) {
        (Some(level), Some(levels)) if !levels.contains(&level) && (codec, level) != (Codec::Gzip, -1) => {
            return Err(CompressionError::Level { codec, level });
        }
        (level, _) => level,
    };
    let compressed = match codec {
        Codec::None => contents.to_vec(),
        Codec::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).map(flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level.unwrap_or_default());
            encoder.write_all(contents).and_then(|()| encoder.finish()).map_err(|error| codec.corrupt(error))?
        }
        Codec::Snappy => snappy::compress(contents)?,
        Codec::Lz4 => lz4::compress(contents)?,
        Codec::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            zstd::bulk::compress(contents, level).map_err(|error| codec.corrupt(error))?
        }
    };
    Ok(compressed.into())
}

/// Inflates all of `compressed`, into at most `bytes_max` bytes.
pub fn decompress(codec: Codec, compressed: &[u8], bytes_max: usize) -> Result<Bytes, CompressionError> {
    let mut inflater = Inflater::new(codec, compressed, bytes_max)?;
    let first = compressed.len().saturating_mul(4).clamp(*FIRST_BYTES.start(), *FIRST_BYTES.end());
    // Never beyond the bound, but for the byte that would break it.
    let room = bytes_max.saturating_add(1);
    let mut contents = vec![0; first.min(room)];
    let mut filled = 0;
    loop {
        if filled == contents.len() {
            // The byte that breaks the bound is an error, so that the room is never full here.
            contents.resize((2 * filled).min(room), 0);
        }
        match inflater.read(&mut contents[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    contents.truncate(filled);
    Ok(contents.into())
}

/// Inflates piece by piece, up to a bound.
pub struct Inflater<'a> {
    codec: Codec,
    source: Source<'a>,
    limit_bytes: usize,
    inflated_bytes: usize,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(Box<flate2::bufread::MultiGzDecoder<&'a [u8]>>),
    Zstd(zstd::stream::read::Decoder<'a, &'a [u8]>),
    Blocks { blocks: Blocks<'a>, block: Vec<u8>, start: usize },
}

/// Codecs whose library inflates a block at a time.
enum Blocks<'a> {
    Snappy(snappy::Blocks<'a>),
    Lz4(lz4::Blocks<'a>),
}

impl Blocks<'_> {
    /// Replaces `block` by the next one, which may be empty, of at most `room` bytes; false at the end.
    fn next(&mut self, block: &mut Vec<u8>, room: usize) -> Result<bool, BlockError> {
        match self {
            Blocks::Snappy(blocks) => blocks.next(block, room),
            Blocks::Lz4(blocks) => blocks.next(block, room),
        }
    }
}

/// Why there is no next block.
enum BlockError {
    /// It is larger than the room that is left.
    TooLarge,
    /// It is damaged.
    Corrupt(String),
}

impl From<&str> for BlockError {
    fn from(reason: &str) -> BlockError {
        BlockError::Corrupt(reason.to_owned())
    }
}

impl<'a> Inflater<'a> {
    /// Starts to inflate `compressed`; reading errors once more than `limit_bytes` come out.
    pub fn new(codec: Codec, compressed: &'a [u8], limit_bytes: usize) -> Result<Inflater<'a>, CompressionError> {
        let blocks = |blocks| Source::Blocks { blocks, block: Vec::new(), start: 0 };
        let source = match codec {
            Codec::None => Source::Plain(compressed),
            Codec::Gzip => Source::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(compressed))),
            Codec::Snappy => blocks(Blocks::Snappy(snappy::Blocks::new(compressed))),
            Codec::Lz4 => blocks(Blocks::Lz4(lz4::Blocks::new(compressed).map_err(|reason| codec.corrupt(reason))?)),
            Codec::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(compressed).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                Source::Zstd(decoder.map_err(|error| codec.corrupt(error))?)
            }
        };
        Ok(Inflater { codec, source, limit_bytes, inflated_bytes: 0 })
    }

    /// Reads up to `buffer.len()` bytes; 0 only at the end, or for an empty buffer. Not to be called after an error.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, CompressionError> {
        let codec = self.codec;
        let read = match &mut self.source {
            Source::Plain(rest) => rest.read(buffer).map_err(|error| codec.corrupt(error))?,
            Source::Gzip(decoder) => decoder.read(buffer).map_err(|error| codec.corrupt(error))?,
            Source::Zstd(decoder) => decoder.read(buffer).map_err(|error| codec.corrupt(error))?,
            Source::Blocks { blocks, block, start } => {
                while *start == block.len() {
                    *start = 0;
                    let room = self.limit_bytes - self.inflated_bytes;
                    match blocks.next(block, room) {
                        Ok(true) => {}
                        Ok(false) => return Ok(0),
                        Err(BlockError::Corrupt(reason)) => return Err(codec.corrupt(reason)),
                        Err(BlockError::TooLarge) => {
                            return Err(CompressionError::TooLarge { limit_bytes: self.limit_bytes });
                        }
                    }
                }
                let read = buffer.len().min(block.len() - *start);
                buffer[..read].copy_from_slice(&block[*start..*start + read]);
                *start += read;
                read
            }
        };
        match self.inflated_bytes.checked_add(read).filter(|inflated| *inflated <= self.limit_bytes) {
            Some(inflated) => self.inflated_bytes = inflated,
            None => return Err(CompressionError::TooLarge { limit_bytes: self.limit_bytes }),
        }
        Ok(read)
    }
}

impl Read for Inflater<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Inflater::read(self, buffer).map_err(std::io::Error::other)
    }
}
