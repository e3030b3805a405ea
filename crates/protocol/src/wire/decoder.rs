//! Reads a frame that a stranger sent.
//!
//! Reading never panics and never allocates more than [`ALLOCATED_PER_BYTE`] times the frame plus
//! [`ALLOCATED_FREE_BYTES`]: a count or length in the frame is a claim, and claims are held against what is left.

use bytes::Bytes;

use super::{DecodeError, Records};
use crate::Uuid;

/// Decoded values may take this many times the bytes of their frame.
pub const ALLOCATED_PER_BYTE: usize = 16;
/// Decoded values may always take this much, however small the frame.
pub const ALLOCATED_FREE_BYTES: usize = 64 * 1024;
/// A replacement character takes three bytes for one, in a string that grows by doubling: so much more than the bytes themselves.
const REPLACED_PER_BYTE: usize = 3;

/// Reads one frame, front to back.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame: Bytes,
    position: usize,
    /// Bytes that decoded values may still take.
    allowance: usize,
}

impl Decoder {
    /// Starts at the first byte of `frame`.
    pub fn new(frame: Bytes) -> Decoder {
        let allowance = frame.len().saturating_mul(ALLOCATED_PER_BYTE).saturating_add(ALLOCATED_FREE_BYTES);
        Decoder { frame, position: 0, allowance }
    }

    /// Lets decoded values take no more than `bytes`, however large the frame: see [`DecodeError::TooMuch`].
    pub fn within(self, bytes: usize) -> Decoder {
        Decoder { allowance: self.allowance.min(bytes), ..self }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Errors if anything is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }

    /// The next `count` bytes, sharing the frame's memory.
    pub fn take(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        self.need(count)?;
        let taken = self.frame.slice(self.position..self.position + count);
        self.position += count;
        Ok(taken)
    }

    fn need(&self, count: usize) -> Result<(), DecodeError> {
        match count.checked_sub(self.remaining()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DecodeError::Truncated { missing }),
        }
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.need(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.frame[self.position..self.position + N]);
        self.position += N;
        Ok(bytes)
    }

    /// One byte; every value but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// One signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    /// Two bytes, big-endian.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    /// Two bytes, big-endian, unsigned.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array_of()?))
    }

    /// Four bytes, big-endian.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    /// Four bytes, big-endian, unsigned.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array_of()?))
    }

    /// Eight bytes, big-endian.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array_of()?))
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array_of()?))
    }

    /// Seven bits a byte, the lowest first; at most five bytes.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let value = self.varint_bits(5)?;
        u32::try_from(value).map_err(|_| DecodeError::Varint)
    }

    /// Zigzag, at most five bytes.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let bits = self.unsigned_varint()?;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    /// Zigzag, at most ten bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let bits = self.varint_bits(10)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_bits(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for at in 0..bytes_max {
            let byte = self.i8()? as u8;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A length that may be null: two or four bytes wide, or compact. As in Kafka, null is not only −1 but every
    /// negative number, and a compact length is an `i32` too.
    fn length(&mut self, flexible: bool, wide: bool) -> Result<Option<usize>, DecodeError> {
        let length = match (flexible, wide) {
            (true, _) => (self.unsigned_varint()? as i32).wrapping_sub(1),
            (false, true) => self.i32()?,
            (false, false) => i32::from(self.i16()?),
        };
        Ok(usize::try_from(length).ok())
    }

    /// A nullable string. Bytes that are not UTF-8 become replacement characters, as in Java.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.length(flexible, false)? else { return Ok(None) };
        if length > i16::MAX as usize {
            return Err(DecodeError::Length(length as i64));
        }
        self.need(length)?;
        self.charge(length)?;
        let bytes = self.position..self.position + length;
        let text = match std::str::from_utf8(&self.frame[bytes.clone()]) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                self.charge(length.saturating_mul(REPLACED_PER_BYTE))?;
                String::from_utf8_lossy(&self.frame[bytes]).into_owned()
            }
        };
        self.position += length;
        Ok(Some(text))
    }

    /// A string.
    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Length(-1))
    }

    /// Nullable bytes, sharing the frame's memory.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible, true)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    /// Bytes, sharing the frame's memory.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Length(-1))
    }

    /// Record batches, sharing the frame's memory.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map_or(Records::Null, Records::Bytes))
    }

    /// A nullable array. The count is believed only as far as bytes and memory allow.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        mut element: impl FnMut(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible, true)? else { return Ok(None) };
        // Every element takes a byte at least.
        self.need(count)?;
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, element)?.ok_or(DecodeError::Length(-1))
    }

    fn charge(&mut self, size_bytes: usize) -> Result<(), DecodeError> {
        self.allowance = self.allowance.checked_sub(size_bytes).ok_or(DecodeError::TooMuch)?;
        Ok(())
    }

    /// A struct that may be null: one signed byte before it, negative for null.
    pub fn nullable_struct<T>(
        &mut self,
        value: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 {
            return Ok(None);
        }
        value(self).map(Some)
    }

    /// The same in a tagged field, where Kafka marks it by an unsigned variable-length number: 0 for null.
    pub fn nullable_tagged_struct<T>(
        &mut self,
        value: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        // Read as an i32, as in Kafka: what is above its maximum is negative.
        if self.unsigned_varint()? as i32 <= 0 {
            return Ok(None);
        }
        value(self).map(Some)
    }

    /// The tagged fields at the end of a flexible struct. `known` reads a field and answers true, or answers
    /// false and the field is skipped.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Decoder, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            self.need(size)?;
            let end = self.position + size;
            known(self, tag)?;
            if self.position > end {
                return Err(DecodeError::Length(size as i64));
            }
            self.position = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, Sink};

    #[test]
    fn decoded_values_take_no_more_than_is_allowed() {
        let frame = Bytes::from_static(&[0, 0, 0, 4, 1, 2, 3, 4]);
        let read = |mut decoder: Decoder| decoder.array(false, |element| Ok(i64::from(element.i8()?)));
        assert_eq!(read(Decoder::new(frame.clone()).within(32)), Ok(vec![1, 2, 3, 4]));
        assert_eq!(read(Decoder::new(frame).within(31)), Err(DecodeError::TooMuch));
    }

    #[test]
    fn replaced_characters_count_with_the_memory_that_they_take() {
        let frame = Bytes::from_static(&[0, 4, 0xff, 0xff, 0xff, 0xff]);
        let read = |allowed| Decoder::new(frame.clone()).within(allowed).string(false);
        assert_eq!(read(16), Ok("\u{fffd}".repeat(4)));
        assert_eq!(read(15), Err(DecodeError::TooMuch));
    }

    #[test]
    fn a_count_beyond_the_frame_is_refused_before_memory_is_taken() {
        let mut decoder = Decoder::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]));
        let array = decoder.array(false, |decoder| decoder.i64());
        assert_eq!(array, Err(DecodeError::Truncated { missing: 0x7fff_ffff }));
    }

    #[test]
    fn a_count_within_the_frame_may_not_take_many_times_its_memory() {
        let mut frame = vec![0u8; 1 << 20];
        frame[..4].copy_from_slice(&0x000f_0000i32.to_be_bytes());
        let mut decoder = Decoder::new(frame.into());
        let array = decoder.array(false, |decoder| decoder.i8().map(|byte| [i64::from(byte); 16]));
        assert_eq!(array, Err(DecodeError::TooMuch));
    }

    #[test]
    fn every_negative_length_is_null() {
        for frame in [&[0xff; 4][..], &[0xff, 0xff, 0xff, 0xfe], &[0x80, 0, 0, 0]] {
            let mut decoder = Decoder::new(Bytes::copy_from_slice(frame));
            assert_eq!(decoder.nullable_array(false, |decoder| decoder.i8()), Ok(None), "{frame:?}");
        }
        let mut short = Decoder::new(Bytes::from_static(&[0xff, 0xfe]));
        assert_eq!(short.nullable_string(false), Ok(None));
        let mut compact = Decoder::new(Bytes::from_static(&[0x81, 0x80, 0x80, 0x80, 0x08]));
        assert_eq!(compact.nullable_bytes(true), Ok(None), "2 147 483 648 is more than an i32 holds");
        let mut required = Decoder::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]));
        assert_eq!(required.array(false, |decoder| decoder.i8()), Err(DecodeError::Length(-1)));
    }

    #[test]
    fn variable_length_numbers_round_trip() {
        for value in [0, 1, -1, 63, 64, -64, -65, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut frame = Frame::default();
            frame.put_varlong(value);
            frame.put_varint(value as i32);
            let mut decoder = Decoder::new(frame.into_bytes());
            assert_eq!(decoder.varlong(), Ok(value));
            assert_eq!(decoder.varint(), Ok(value as i32));
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn a_number_without_end_is_refused() {
        let mut decoder = Decoder::new(Bytes::from_static(&[0xff; 11]));
        assert_eq!(decoder.varlong(), Err(DecodeError::Varint));
    }
}
