//! The fields of a message of Protocol Buffers, one after the other, without what they mean.
//!
//! ```text
//!   tag: varint = number << 3 | form      form 0: varint   1: 8 bytes   2: varint length, bytes   5: 4 bytes
//! ```
//!
//! Source: the encoding of Protocol Buffers (protobuf.dev). Groups, forms 3 and 4, are of its first version and refused.

use super::OtlpError;

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
}

/// What stands in it. A field whose form is not the one that its number should have is unknown, and skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Goes through a message; ends with the first error.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    fn field(&mut self) -> Result<Field<'a>, OtlpError> {
        let tag = self.varint()?;
        let number =
            u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number)).ok_or(OtlpError::Tag)?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.take(8)?.first_chunk().ok_or(OtlpError::Truncated)?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| OtlpError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(OtlpError::Tag),
        };
        Ok(Field { number, value })
    }

    fn varint(&mut self) -> Result<u64, OtlpError> {
        let mut value = 0;
        for at in 0..10 {
            let (first, rest) = self.0.split_first().ok_or(OtlpError::Truncated)?;
            self.0 = rest;
            // The tenth byte has room for one bit; others are dropped, as by every reader.
            value |= u64::from(first & 0x7f) << (7 * at);
            if first & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(OtlpError::Varint)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], OtlpError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(OtlpError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, OtlpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
