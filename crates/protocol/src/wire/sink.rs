//! Writes messages: counted first, then in pieces of which the large ones are shared and not copied.

use bytes::{Bytes, BytesMut};

use super::{EncodeError, External, Records};
use crate::Uuid;

/// A slice of at least this size travels by reference instead of being copied.
const SHARED_BYTES_MIN: usize = 4096;

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
