//! The primitives of the wire: how numbers, strings, arrays and tagged fields are laid out, read from a frame
//! that a stranger sent ([`Decoder`]) and written to a [`Sink`].
//!
//! Reading never panics and never allocates more than [`ALLOCATED_PER_BYTE`] times the frame plus
//! [`ALLOCATED_FREE_BYTES`]: a count or length in the frame is a claim, and claims are held against what is left.
//!
//! Source: Kafka's `message/README.md`, KIP-482 (compact lengths, tagged fields).

use bytes::{Bytes, BytesMut};

use crate::Uuid;

/// Decoded values may take this many times the bytes of their frame.
pub const ALLOCATED_PER_BYTE: usize = 16;
/// Decoded values may always take this much, however small the frame.
pub const ALLOCATED_FREE_BYTES: usize = 64 * 1024;
/// A slice of at least this size travels by reference instead of being copied.
const SHARED_BYTES_MIN: usize = 4096;

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("the frame ends {missing} bytes too early")]
    Truncated {
        /// How many bytes more the field needs.
        missing: usize,
    },
    /// A length or count is negative, or null where null is not allowed.
    #[error("length {0} is not allowed here")]
    Length(i64),
    /// A variable-length number has more bytes than its type can hold.
    #[error("a variable-length number does not end")]
    Varint,
    /// The counts of the frame would take more memory than frames of its size may.
    #[error("the decoded message would take more than its share of memory")]
    TooMuch,
    /// No such version of this message.
    #[error("{message} has no version {version}")]
    Version {
        /// Which message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Bytes are left over behind the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// Why a message cannot be written in a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that this version does not have.
    #[error("{message}.{field} cannot be said in version {version}")]
    NotInVersion {
        /// Which struct.
        message: &'static str,
        /// Which field, in Kafka's spelling.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that must not be null in this version.
    #[error("{message}.{field} cannot be null in version {version}")]
    Null {
        /// Which struct.
        message: &'static str,
        /// Which field, in Kafka's spelling.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No such version of this message.
    #[error("{message} has no version {version}")]
    Version {
        /// Which message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string or value is longer than its length field can say.
    #[error("{0} bytes are too long for their length field")]
    TooLong(usize),
}

/// Bytes that stand in the frame but are kept elsewhere (a range of a file): the sender puts them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External {
    /// How many bytes they are.
    pub size_bytes: usize,
    /// What the sender finds them by.
    pub id: usize,
}

/// The batches of a `records` field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Records {
    /// None, as null.
    #[default]
    Null,
    /// Here they are; decoding shares the frame's memory.
    Bytes(Bytes),
    /// Somewhere else.
    External(External),
}

impl Records {
    /// How many bytes the batches take.
    pub fn size_bytes(&self) -> usize {
        match self {
            Records::Null => 0,
            Records::Bytes(bytes) => bytes.len(),
            Records::External(external) => external.size_bytes,
        }
    }
}

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
        let text = String::from_utf8_lossy(&self.frame[self.position..self.position + length]).into_owned();
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

/// Where a message is written to.
pub trait Sink {
    /// Adds bytes by copying them.
    fn put(&mut self, bytes: &[u8]);

    /// Adds bytes, by reference if that is worth it.
    fn put_shared(&mut self, bytes: &Bytes);

    /// Adds bytes that the sender will put in.
    fn put_external(&mut self, external: External);

    /// 1 or 0.
    fn put_bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    /// One signed byte.
    fn put_i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    /// Two bytes, big-endian.
    fn put_i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    /// Two bytes, big-endian, unsigned.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Four bytes, big-endian.
    fn put_i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    /// Four bytes, big-endian, unsigned.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian.
    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// Eight bytes, IEEE 754.
    fn put_f64(&mut self, value: f64) {
        self.put(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    fn put_uuid(&mut self, value: Uuid) {
        self.put(&value.0);
    }

    /// Seven bits a byte, the lowest first.
    fn put_unsigned_varint(&mut self, value: u32) {
        self.put_varint_bits(u64::from(value));
    }

    /// Zigzag.
    fn put_varint(&mut self, value: i32) {
        self.put_unsigned_varint((value << 1) as u32 ^ (value >> 31) as u32);
    }

    /// Zigzag, 64 bits.
    fn put_varlong(&mut self, value: i64) {
        self.put_varint_bits((value << 1) as u64 ^ (value >> 63) as u64);
    }

    /// The bits of a variable-length number.
    fn put_varint_bits(&mut self, mut bits: u64) {
        let mut bytes = [0; 10];
        let mut count = 0;
        while bits >= 0x80 {
            bytes[count] = bits as u8 | 0x80;
            bits >>= 7;
            count += 1;
        }
        bytes[count] = bits as u8;
        self.put(&bytes[..=count]);
    }

    /// A length or count; `None` is null.
    fn put_length(&mut self, flexible: bool, wide: bool, length: Option<usize>) -> Result<(), EncodeError> {
        let long = |length| EncodeError::TooLong(length);
        match (flexible, wide, length) {
            (true, _, None) => self.put_unsigned_varint(0),
            (true, _, Some(length)) => {
                let claimed = u32::try_from(length + 1).map_err(|_| long(length))?;
                self.put_unsigned_varint(claimed);
            }
            (false, true, None) => self.put_i32(-1),
            (false, true, Some(length)) => self.put_i32(i32::try_from(length).map_err(|_| long(length))?),
            (false, false, None) => self.put_i16(-1),
            (false, false, Some(length)) => self.put_i16(i16::try_from(length).map_err(|_| long(length))?),
        }
        Ok(())
    }

    /// A string; `None` is null.
    fn put_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), EncodeError> {
        if let Some(value) = value.filter(|value| value.len() > i16::MAX as usize) {
            return Err(EncodeError::TooLong(value.len()));
        }
        self.put_length(flexible, false, value.map(str::len))?;
        self.put(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Bytes; `None` is null.
    fn put_bytes(&mut self, flexible: bool, value: Option<&Bytes>) -> Result<(), EncodeError> {
        self.put_length(flexible, true, value.map(Bytes::len))?;
        if let Some(value) = value {
            self.put_shared(value);
        }
        Ok(())
    }

    /// Record batches.
    fn put_records(&mut self, flexible: bool, value: &Records) -> Result<(), EncodeError> {
        match value {
            Records::Null => self.put_bytes(flexible, None),
            Records::Bytes(bytes) => self.put_bytes(flexible, Some(bytes)),
            Records::External(external) => {
                self.put_length(flexible, true, Some(external.size_bytes))?;
                self.put_external(*external);
                Ok(())
            }
        }
    }
}

/// Counts what would be written.
#[derive(Debug, Default)]
pub struct Counter {
    /// Bytes in all.
    pub size_bytes: usize,
    /// Those among them that a [`Frame`] does not copy.
    pub shared_bytes: usize,
}

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len();
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        self.size_bytes += bytes.len();
        if bytes.len() >= SHARED_BYTES_MIN {
            self.shared_bytes += bytes.len();
        }
    }

    fn put_external(&mut self, external: External) {
        self.size_bytes += external.size_bytes;
        self.shared_bytes += external.size_bytes;
    }
}

/// One piece of an encoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes ready to be sent.
    Bytes(Bytes),
    /// Bytes that the sender puts in here.
    External(External),
}

/// An encoded frame in pieces: headers are copied together, large values are kept by reference.
#[derive(Debug, Default)]
pub struct Frame {
    segments: Vec<Segment>,
    tail: BytesMut,
}

impl Frame {
    /// A frame with room for `copied_bytes` bytes of headers.
    pub fn with_capacity(copied_bytes: usize) -> Frame {
        Frame { segments: Vec::new(), tail: BytesMut::with_capacity(copied_bytes) }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push(Segment::Bytes(self.tail.split().freeze()));
        }
    }

    /// The pieces in order.
    pub fn into_segments(mut self) -> Vec<Segment> {
        self.close_tail();
        self.segments
    }

    /// The frame as one piece of memory.
    ///
    /// # Panics
    /// If a piece is external: only whoever made it can put it in.
    pub fn into_bytes(self) -> Bytes {
        let mut segments = self.into_segments();
        if let ([Segment::Bytes(only)], 1) = (segments.as_slice(), segments.len()) {
            return only.clone();
        }
        let mut whole = BytesMut::new();
        for segment in segments.drain(..) {
            match segment {
                Segment::Bytes(bytes) => whole.extend_from_slice(&bytes),
                Segment::External(external) => panic!("external bytes {external:?} cannot be joined"),
            }
        }
        whole.freeze()
    }
}

impl Sink for Frame {
    fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.tail.extend_from_slice(bytes);
            return;
        }
        self.close_tail();
        self.segments.push(Segment::Bytes(bytes.clone()));
    }

    fn put_external(&mut self, external: External) {
        self.close_tail();
        self.segments.push(Segment::External(external));
    }
}

/// The tag and size that stand before a tagged field's value.
pub fn put_tag<S: Sink>(sink: &mut S, tag: u32, value: &Counter) -> Result<(), EncodeError> {
    let size = u32::try_from(value.size_bytes).map_err(|_| EncodeError::TooLong(value.size_bytes))?;
    sink.put_unsigned_varint(tag);
    sink.put_unsigned_varint(size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn external_bytes_keep_their_place() {
        let external = External { size_bytes: 10, id: 3 };
        let mut frame = Frame::default();
        frame.put_i8(1);
        frame.put_records(true, &Records::External(external)).expect("fits");
        frame.put_i8(2);
        let expected = [
            Segment::Bytes(Bytes::from_static(&[1, 11])),
            Segment::External(external),
            Segment::Bytes(Bytes::from_static(&[2])),
        ];
        assert_eq!(frame.into_segments(), expected);
    }
}
