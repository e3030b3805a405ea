//! The windows that zstd frames ask for, read from their headers alone.
//!
//! ```text
//! magic 28 b5 2f fd | descriptor u8 | [window u8] | [dictionary id 0, 1, 2, 4] | [content size 0, 1, 2, 4, 8] | blocks | [checksum u32]
//! descriptor: bits 6-7 size of the content size | 5 single segment: no window, it is as large as the contents
//!             2 checksum | 0-1 size of the dictionary id
//! block: u24 LE: size << 3 | type << 1 | last        type 1 (one byte repeated) takes one byte, whatever the size
//! skippable: magic 5? 2a 4d 18 | size u32 LE | bytes
//! ```
//! Source: RFC 8878, section 3.

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;
const REPEATED: u32 = 1;

/// The largest window of all frames; what is damaged ends the search, as it ends the decoder.
pub(super) fn window_bytes(compressed: &[u8]) -> u64 {
    let (mut rest, mut largest) = (Bytes(compressed), 0);
    while let Some(window) = rest.frame() {
        largest = largest.max(window);
    }
    largest
}

/// What was not looked at yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// A little-endian number of up to eight bytes.
    fn number(&mut self, size: usize) -> Option<u64> {
        let (bytes, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn skip(&mut self, size: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(size).ok()?..)?;
        Some(())
    }

    /// Steps over a frame. Answers its window, also where the frame ends too early behind that.
    fn frame(&mut self) -> Option<u64> {
        let magic = self.number(4)? as u32;
        if magic & !0xf == SKIPPABLE {
            let size = self.number(4)?;
            self.skip(size)?;
            return Some(0);
        }
        if magic != MAGIC {
            return None;
        }
        let descriptor = self.number(1)?;
        let is_single = descriptor & 0x20 != 0;
        let mut window = 0;
        if !is_single {
            let code = self.number(1)?;
            let base = 1u64 << (10 + (code >> 3));
            window = base + base / 8 * (code & 7);
        }
        self.number([0, 1, 2, 4][(descriptor & 3) as usize])?;
        let content_size_bytes = [usize::from(is_single), 2, 4, 8][(descriptor >> 6) as usize];
        let content_size = self.number(content_size_bytes)?;
        if is_single {
            // Two bytes count from 256 on.
            window = content_size.saturating_add(if content_size_bytes == 2 { 256 } else { 0 });
        }
        if self.blocks(descriptor & 4 != 0).is_none() {
            self.0 = &[];
        }
        Some(window)
    }

    fn blocks(&mut self, has_checksum: bool) -> Option<()> {
        loop {
            let header = self.number(3)? as u32;
            let (is_last, kind, size) = (header & 1 != 0, header >> 1 & 3, u64::from(header >> 3));
            self.skip(if kind == REPEATED { 1 } else { size })?;
            if is_last {
                return self.skip(if has_checksum { 4 } else { 0 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A stream whose contents' size is not known when its header is written.
    fn streamed(contents: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(window_log)).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_frame_tells_its_window() {
        assert_eq!(window_bytes(&streamed(&[7; 100_000], 20)), 1 << 20);
        assert_eq!(window_bytes(&zstd::bulk::compress(&[7; 100_000], 3).unwrap()), 100_000);
        assert_eq!(window_bytes(&zstd::bulk::compress(&[7; 300], 3).unwrap()), 300);
        assert_eq!(window_bytes(b""), 0);
    }

    #[test]
    fn the_largest_window_counts_wherever_it_stands() {
        let noise: Vec<u8> = (0..300_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut frames = streamed(&noise, 17);
        frames.extend(0x184d_2a53u32.to_le_bytes());
        frames.extend([3, 0, 0, 0, 1, 2, 3]);
        frames.extend(streamed(&noise, 27));
        frames.extend(streamed(b"", 10));
        assert_eq!(window_bytes(&frames), 1 << 27);
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_ends_the_search() {
        let whole = streamed(&[1, 2, 3, 4, 5, 6, 7, 8].repeat(50_000), 18);
        for length in 0..whole.len() {
            assert!(window_bytes(&whole[..length]) <= 1 << 18);
        }
    }
}
