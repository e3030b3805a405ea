//! As much of Kafka's wire as the faults need, written once more: a judge that used the product's codec would share its
//! mistakes.

/// The keys of the requests that we send or look at.
pub(crate) const PRODUCE: i16 = 0;
pub(crate) const FETCH: i16 = 1;
pub(crate) const LIST_OFFSETS: i16 = 2;
pub(crate) const METADATA: i16 = 3;
pub(crate) const OFFSET_COMMIT: i16 = 8;
pub(crate) const OFFSET_FETCH: i16 = 9;
pub(crate) const FIND_COORDINATOR: i16 = 10;
pub(crate) const JOIN_GROUP: i16 = 11;
pub(crate) const HEARTBEAT: i16 = 12;
pub(crate) const API_VERSIONS: i16 = 18;
pub(crate) const CREATE_TOPICS: i16 = 19;
pub(crate) const INIT_PRODUCER_ID: i16 = 22;
pub(crate) const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
pub(crate) const WRITE_TXN_MARKERS: i16 = 27;
pub(crate) const DESCRIBE_CLUSTER: i16 = 60;
pub(crate) const LIST_TRANSACTIONS: i16 = 66;
pub(crate) const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

/// Bytes written from the left.
#[derive(Default, Clone)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn i8(mut self, value: i8) -> Self {
        self.0.push(value.to_be_bytes()[0]);
        self
    }

    pub(crate) fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn string(self, text: &str) -> Self {
        let length = i16::try_from(text.len()).expect("our own strings are short");
        self.i16(length).bytes(text.as_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Unsigned variable-length integer, seven bits a byte.
    pub(crate) fn varint(mut self, mut value: u32) -> Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
        self
    }

    /// The same with Kafka's zigzag, for the fields of a record.
    pub(crate) fn zigzag(self, value: i32) -> Self {
        self.varint(((value << 1) ^ (value >> 31)).cast_unsigned())
    }

    /// The length of a compact array.
    pub(crate) fn compact_count(self, count: usize) -> Self {
        self.varint(u32::try_from(count + 1).expect("our own arrays are short"))
    }

    pub(crate) fn compact_string(self, text: &str) -> Self {
        self.compact_count(text.len()).bytes(text.as_bytes())
    }

    /// With the four bytes of length in front.
    pub(crate) fn framed(self) -> Vec<u8> {
        let length = i32::try_from(self.0.len()).expect("our own frames are short");
        Writer::default().i32(length).bytes(&self.0).0
    }
}

/// Bytes read from the left; `None` when they end too early.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.i16()?;
        if length < 0 { Some(&[]) } else { self.take(usize::try_from(length).ok()?) }
    }

    pub(crate) fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A compact string or compact bytes: length plus one, zero for null.
    pub(crate) fn compact(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length.saturating_sub(1)).ok()?)
    }

    /// Tagged fields, passed over.
    pub(crate) fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(usize::try_from(length).ok()?)?;
        }
        Some(())
    }
}

/// A request with header version 1, the one of every version before the flexible ones.
pub(crate) fn request(key: i16, version: i16, correlation: i32, body: Writer) -> Vec<u8> {
    Writer::default().i16(key).i16(version).i32(correlation).string("faults").bytes(&body.0).framed()
}

/// A request with header version 2, the one of flexible versions.
pub(crate) fn flexible_request(key: i16, version: i16, correlation: i32, body: Writer) -> Vec<u8> {
    Writer::default().i16(key).i16(version).i32(correlation).string("faults").varint(0).bytes(&body.0).framed()
}

/// A batch of one uncompressed record without key and headers.
pub(crate) fn batch(value: &[u8]) -> Vec<u8> {
    let length = i32::try_from(value.len()).expect("our own values are short");
    let fields = Writer::default().i8(0).zigzag(0).zigzag(0).zigzag(-1).zigzag(length).bytes(value).zigzag(0);
    let record = Writer::default().zigzag(i32::try_from(fields.0.len()).expect("short")).bytes(&fields.0);
    let checked = Writer::default().i16(0).i32(0).i64(0).i64(0).i64(-1).i16(-1).i32(-1).i32(1).bytes(&record.0);
    let tail = Writer::default().i32(-1).i8(2).i32(crc32c(&checked.0).cast_signed()).bytes(&checked.0);
    Writer::default().i64(0).i32(i32::try_from(tail.0.len()).expect("short")).bytes(&tail.0).0
}

/// CRC-32C, bit by bit: our own batches are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let written =
            Writer::default().i16(-2).i32(7).i64(-9).string("abc").varint(300).varint(4).bytes(b"xyz").varint(0);
        let mut reader = Reader(&written.0);
        assert_eq!((reader.i16(), reader.i32(), reader.i64()), (Some(-2), Some(7), Some(-9)));
        assert_eq!((reader.string(), reader.varint()), (Some(b"abc".as_slice()), Some(300)));
        assert_eq!((reader.compact(), reader.tags(), reader.i16()), (Some(b"xyz".as_slice()), Some(()), None));
    }
}
