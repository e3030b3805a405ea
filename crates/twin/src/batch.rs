//! Record batches to send, right and wrong ones: every header field can be set to what no client would write.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::CrcAlgorithm;
use milena_protocol::wire::{Frame, Records, Sink};

/// Bytes of a batch before its records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Where the part begins that the checksum covers.
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// The time that scenarios write unless time is what they are about: 2020-09-13.
pub const LONG_AGO_MS: i64 = 1_600_000_000_000;

/// How the records of a batch are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// A bare block, as librdkafka writes it.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Every kind.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The kind that a batch's attributes name, if there is such a kind.
    pub fn of(attributes: i16) -> Option<Compression> {
        Compression::ALL.get(usize::from(attributes as u16 & 7)).copied()
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// Those bytes, packed.
    pub(crate) fn pack(self, plain: &[u8]) -> Vec<u8> {
        let packed = match self {
            Compression::None => Ok(plain.to_vec()),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain).and_then(|()| encoder.finish())
            }
            Compression::Snappy => {
                Ok(snap::raw::Encoder::new().compress_vec(plain).expect("a scenario's records fit a block"))
            }
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).and_then(|()| encoder.finish().map_err(Into::into))
            }
            Compression::Zstd => zstd::encode_all(plain, 3),
        };
        packed.expect("writing to memory does not fail")
    }
}

/// One record.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Null where `None`.
    pub key: Option<Bytes>,
    /// Null where `None`: a tombstone.
    pub value: Option<Bytes>,
    /// Names and values.
    pub headers: Vec<(&'static str, Option<Bytes>)>,
    /// Added to the batch's base timestamp.
    pub timestamp_delta_ms: i64,
    /// The record's place in the batch, unless it shall lie.
    pub offset_delta: Option<i32>,
}

impl Record {
    /// A record with a key and a value.
    pub fn keyed(key: &'static str, value: &'static str) -> Record {
        Record { key: Some(key.into()), ..Record::of(value) }
    }

    /// A record with a value and no key.
    pub fn of(value: &'static str) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }
}

/// A batch of format version 2. What is `None` is worked out from the records.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where the client claims that the batch lies.
    pub base_offset: i64,
    /// The epoch that the client claims.
    pub leader_epoch: i32,
    /// The version of the format.
    pub magic: i8,
    /// How the records are packed.
    pub compression: Compression,
    /// Attribute bits besides the compression.
    pub attributes: i16,
    /// Time of the first record.
    pub base_timestamp_ms: i64,
    /// Largest time.
    pub max_timestamp_ms: Option<i64>,
    /// −1 for none.
    pub producer_id: i64,
    /// −1 for none.
    pub producer_epoch: i16,
    /// −1 for none.
    pub base_sequence: i32,
    /// What the header says of the last record's place.
    pub last_offset_delta: Option<i32>,
    /// What the header says of the number of records.
    pub record_count: Option<i32>,
    /// The checksum.
    pub crc: Option<u32>,
    /// The records.
    pub records: Vec<Record>,
}

impl Batch {
    /// A batch of those records, with nothing wrong about it.
    pub fn new(records: Vec<Record>) -> Batch {
        Batch {
            base_offset: 0,
            leader_epoch: -1,
            magic: 2,
            compression: Compression::None,
            attributes: 0,
            base_timestamp_ms: LONG_AGO_MS,
            max_timestamp_ms: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            last_offset_delta: None,
            record_count: None,
            crc: None,
            records,
        }
    }

    /// A batch of records with values alone.
    pub fn of(values: &[&'static str]) -> Batch {
        Batch::new(values.iter().map(|value| Record::of(value)).collect())
    }

    /// The same batch with the marks of an idempotent producer.
    #[must_use]
    pub fn by(self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Batch {
        Batch { producer_id, producer_epoch, base_sequence, ..self }
    }

    /// The same batch, compressed.
    #[must_use]
    pub fn packed(self, compression: Compression) -> Batch {
        Batch { compression, ..self }
    }

    /// The batch as a client sends it.
    pub fn bytes(&self) -> Bytes {
        let count = self.records.len() as i32;
        let max_delta = self.records.iter().map(|record| record.timestamp_delta_ms).max().unwrap_or(0);
        let mut body = BytesMut::new();
        body.put_i16(self.attributes | self.compression as i16);
        body.put_i32(self.last_offset_delta.unwrap_or(count - 1));
        body.put_i64(self.base_timestamp_ms);
        body.put_i64(self.max_timestamp_ms.unwrap_or(self.base_timestamp_ms + max_delta));
        body.put_i64(self.producer_id);
        body.put_i16(self.producer_epoch);
        body.put_i32(self.base_sequence);
        body.put_i32(self.record_count.unwrap_or(count));
        body.extend_from_slice(&self.compression.pack(&self.plain_records()));
        let mut batch = BytesMut::new();
        batch.put_i64(self.base_offset);
        batch.put_i32((body.len() + ATTRIBUTES_AT - 12) as i32);
        batch.put_i32(self.leader_epoch);
        batch.put_i8(self.magic);
        batch.put_u32(self.crc.unwrap_or_else(|| crc32c(&body)));
        batch.extend_from_slice(&body);
        batch.freeze()
    }

    /// The batch as the value of a `records` field.
    pub fn records(&self) -> Records {
        Records::Bytes(self.bytes())
    }

    fn plain_records(&self) -> Bytes {
        let mut plain = Frame::default();
        for (at, record) in self.records.iter().enumerate() {
            let mut body = Frame::default();
            body.put_i8(0);
            body.put_varlong(record.timestamp_delta_ms);
            body.put_varint(record.offset_delta.unwrap_or(at as i32));
            put_field(&mut body, record.key.as_ref());
            put_field(&mut body, record.value.as_ref());
            body.put_varint(record.headers.len() as i32);
            for (name, value) in &record.headers {
                put_field(&mut body, Some(&Bytes::from_static(name.as_bytes())));
                put_field(&mut body, value.as_ref());
            }
            put_field(&mut plain, Some(&body.into_bytes()));
        }
        plain.into_bytes()
    }
}

fn put_field(frame: &mut Frame, bytes: Option<&Bytes>) {
    frame.put_varint(bytes.map_or(-1, |bytes| bytes.len() as i32));
    frame.put(bytes.map_or(&[], |bytes| bytes));
}

/// The checksum of a batch's attributes and all behind them.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_view::view;
    use crate::value::Value;

    #[test]
    fn records_come_out_as_they_went_in_whatever_the_compression() {
        for compression in Compression::ALL {
            let record = Record { headers: vec![("h", None)], timestamp_delta_ms: 5, ..Record::keyed("k", "v") };
            let batch = Batch::new(vec![Record::of("first"), record]).packed(compression).by(9, 1, 0);
            let Value::Batches(batches) = view(&batch.bytes()) else { panic!("no batches") };
            let [Value::Struct(fields)] = batches.as_slice() else { panic!("not one batch") };
            let field = |name: &str| &fields.iter().find(|(field, _)| field == name).expect("the field is there").1;
            assert_eq!(field("Crc"), &Value::Word("valid".to_owned()), "{compression:?}");
            assert_eq!(field("MaxTimestamp"), &Value::Int(LONG_AGO_MS + 5));
            let expected = ["+0 at +0 ms null => \"first\"", "+1 at +5 ms \"k\" => \"v\" [\"h\" = null]"];
            let expected = expected.map(|line| Value::Word(line.to_owned()));
            assert_eq!(field("Records"), &Value::List(expected.to_vec()), "{compression:?}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_seen() {
        let batch = Batch { crc: Some(1), ..Batch::of(&["a"]) };
        assert!(format!("{:?}", view(&batch.bytes())).contains("wrong"));
    }
}
