//! Record batches taken apart for transcripts: every header field, every record, and whether the checksum holds.
//! Written apart from the protocol crate's reader, so that both can be held against Kafka.

use std::io::Read;

use bytes::Bytes;
use milena_protocol::wire::{DecodeError, Decoder};

use crate::batch::{ATTRIBUTES_AT, Compression, HEADER_BYTES, crc32c};
use crate::value::Value;

/// Bytes before the part that a batch's length counts.
const LENGTH_END: usize = 12;
/// No scenario's records inflate to more.
const INFLATED_BYTES_MAX: u64 = 16 << 20;
const LOG_APPEND_TIME: i16 = 0x8;
/// Control and transactional: a marker, whose time is that of the broker that wrote it.
const MARKER: i16 = 0x30;

/// All batches in `bytes`; a cut one at the end is shown by its size.
pub(crate) fn view(bytes: &Bytes) -> Value {
    let mut batches = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        match batch_len(&rest).filter(|len| *len <= rest.len()) {
            Some(len) => batches.push(batch(&rest.split_to(len))),
            None => {
                batches.push(Value::Word(format!("{} bytes that are no whole batch", rest.len())));
                break;
            }
        }
    }
    Value::Batches(batches)
}

/// Key and value of each record in those batches, as far as they are whole and not compressed.
pub(crate) fn keys_and_values(bytes: &Bytes) -> Vec<(Option<Bytes>, Option<Bytes>)> {
    let (mut found, mut rest) = (Vec::new(), bytes.clone());
    while let Some(len) = batch_len(&rest).filter(|len| *len <= rest.len()) {
        let mut records = Decoder::new(rest.split_to(len).slice(HEADER_BYTES..));
        while let Ok(record) = whole_record(&mut records) {
            found.push((record.key, record.value));
        }
    }
    found
}

fn batch_len(bytes: &Bytes) -> Option<usize> {
    let length: [u8; 4] = bytes.get(8..LENGTH_END)?.try_into().ok()?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
    (length + LENGTH_END >= HEADER_BYTES).then_some(length + LENGTH_END)
}

fn batch(bytes: &Bytes) -> Value {
    let mut fields = Vec::new();
    if let Err(error) = header_and_records(bytes, &mut fields) {
        fields.push(("Unreadable".to_owned(), Value::Word(error.to_string())));
    }
    Value::Struct(fields)
}

fn header_and_records(bytes: &Bytes, fields: &mut Vec<(String, Value)>) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(bytes.clone());
    let mut put = |name: &str, value: Value| fields.push((name.to_owned(), value));
    put("BaseOffset", Value::Int(decoder.i64()?));
    let length = decoder.i32()?;
    let epoch = decoder.i32()?;
    let magic = decoder.i8()?;
    let crc = decoder.u32()?;
    let attributes = decoder.i16()?;
    let compression = Compression::of(attributes);
    // The size of compressed bytes is a matter of the library that wrote them.
    let shown =
        if compression == Some(Compression::None) { Value::Int(length.into()) } else { word("of compressed bytes") };
    put("BatchLength", shown);
    put("PartitionLeaderEpoch", Value::Int(epoch.into()));
    put("Magic", Value::Int(magic.into()));
    put("Crc", word(if crc == crc32c(&bytes[ATTRIBUTES_AT..]) { "valid" } else { "wrong" }));
    put(
        "Attributes",
        word(format!("{attributes:#06x} {}", compression.map_or("unknown compression", Compression::name))),
    );
    put("LastOffsetDelta", Value::Int(decoder.i32()?.into()));
    let base_timestamp = decoder.i64()?;
    let by_broker = attributes & MARKER == MARKER;
    put(if by_broker { "MarkerTimestamp" } else { "BaseTimestamp" }, Value::Int(base_timestamp));
    let stamped_by_broker = by_broker || attributes & LOG_APPEND_TIME != 0;
    put(if stamped_by_broker { "AppendTimestamp" } else { "MaxTimestamp" }, Value::Int(decoder.i64()?));
    put("ProducerId", Value::Int(decoder.i64()?));
    put("ProducerEpoch", Value::Int(decoder.i16()?.into()));
    put("BaseSequence", Value::Int(decoder.i32()?.into()));
    let count = decoder.i32()?;
    put("RecordCount", Value::Int(count.into()));
    let packed = bytes.slice(decoder.position()..);
    let Some(records) = compression.and_then(|compression| inflate(compression, &packed)) else {
        put("Records", word("cannot be inflated"));
        return Ok(());
    };
    let mut decoder = Decoder::new(records);
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(word(record(&mut decoder)?));
    }
    put("Records", Value::List(records));
    if decoder.remaining() > 0 {
        put("Trailing", word(format!("{} bytes", decoder.remaining())));
    }
    Ok(())
}

struct Record {
    attributes: i8,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Option<Bytes>, Option<Bytes>)>,
}

fn whole_record(decoder: &mut Decoder) -> Result<Record, DecodeError> {
    let size = usize::try_from(decoder.varint()?).map_err(|_| DecodeError::Length(-1))?;
    let mut decoder = Decoder::new(decoder.take(size)?);
    let mut record = Record {
        attributes: decoder.i8()?,
        timestamp_delta: decoder.varlong()?,
        offset_delta: decoder.varint()?,
        key: field(&mut decoder)?,
        value: field(&mut decoder)?,
        headers: Vec::new(),
    };
    for _ in 0..decoder.varint()? {
        record.headers.push((field(&mut decoder)?, field(&mut decoder)?));
    }
    decoder.finish()?;
    Ok(record)
}

/// One record on one line.
fn record(decoder: &mut Decoder) -> Result<String, DecodeError> {
    let Record { attributes, timestamp_delta, offset_delta, key, value, headers } = whole_record(decoder)?;
    let mut line = format!("+{offset_delta} at +{timestamp_delta} ms {} => {}", bytes_text(key), bytes_text(value));
    for (name, value) in headers {
        line += &format!(" [{} = {}]", bytes_text(name), bytes_text(value));
    }
    if attributes != 0 {
        line += &format!(" attributes {attributes}");
    }
    Ok(line)
}

fn field(decoder: &mut Decoder) -> Result<Option<Bytes>, DecodeError> {
    match usize::try_from(decoder.varint()?) {
        Ok(length) => decoder.take(length).map(Some),
        Err(_) => Ok(None),
    }
}

fn bytes_text(bytes: Option<Bytes>) -> String {
    bytes.map_or("null".to_owned(), |bytes| crate::transcript::bytes_text(&bytes))
}

fn word(text: impl Into<String>) -> Value {
    Value::Word(text.into())
}

/// The records as they were before compression; `None` where they are not what the attributes say.
fn inflate(compression: Compression, packed: &Bytes) -> Option<Bytes> {
    let mut plain = Vec::new();
    let whole = match compression {
        Compression::None => return Some(packed.clone()),
        Compression::Snappy => return inflate_snappy(packed),
        Compression::Gzip => {
            flate2::read::MultiGzDecoder::new(&packed[..]).take(INFLATED_BYTES_MAX).read_to_end(&mut plain)
        }
        Compression::Lz4 => {
            lz4_flex::frame::FrameDecoder::new(&packed[..]).take(INFLATED_BYTES_MAX).read_to_end(&mut plain)
        }
        Compression::Zstd => zstd::Decoder::new(&packed[..]).ok()?.take(INFLATED_BYTES_MAX).read_to_end(&mut plain),
    };
    whole.ok()?;
    Some(plain.into())
}

/// Java's framing (xerial): a magic, two versions, then blocks with their lengths. Others write one bare block.
fn inflate_snappy(packed: &Bytes) -> Option<Bytes> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    const HEAD_BYTES: usize = 16;
    let mut snappy = snap::raw::Decoder::new();
    if !packed.starts_with(MAGIC) {
        return snappy.decompress_vec(packed).ok().map(Bytes::from);
    }
    let mut decoder = Decoder::new(packed.slice(HEAD_BYTES.min(packed.len())..));
    let mut plain = Vec::new();
    while decoder.remaining() > 0 {
        let length = usize::try_from(decoder.i32().ok()?).ok()?;
        plain.extend(snappy.decompress_vec(&decoder.take(length).ok()?).ok()?);
    }
    Some(plain.into())
}
