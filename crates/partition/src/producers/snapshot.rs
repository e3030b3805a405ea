//! The `.snapshot` file: all producers as of the offset in its name.
//!
//! ```text
//! 2 version = 1 | 4 crc-32c of what follows | 4 count | per producer:
//! 8 producer id | 2 epoch | 4 last sequence | 8 last offset | 4 offset delta | 8 timestamp
//! | 4 coordinator epoch | 8 first offset of the open transaction, or −1
//! ```
//! Only the last of a producer's batches is kept. Source: `ProducerSnapshot` in Kafka 4.3.1.

use bytes::Bytes;
use milena_base::Millis;
use milena_protocol::wire::{DecodeError, Decoder};
use milena_protocol::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::{BatchMark, Producer, ProducerStates};

const VERSION: i16 = 1;
/// Where the CRC's range begins.
const ENTRIES_START: usize = 6;
const ENTRY_BYTES: usize = 46;

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("version {0} is not known")]
    Version(i16),
    #[error("the stored CRC is {stored:#010x}, that of the contents {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The file's contents.
pub(crate) fn write(states: &ProducerStates) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRIES_START + 4 + ENTRY_BYTES * states.producers.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(states.producers.len() as i32).to_be_bytes());
    for (id, producer) in &states.producers {
        let last = producer.last_batch();
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&producer.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&last.map_or(Sequence::NONE, |last| last.last_sequence).0.to_be_bytes());
        bytes.extend_from_slice(&last.map_or(Offset::NONE, |last| last.last_offset).0.to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |last| last.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&producer.last_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&producer.open_transaction.unwrap_or(Offset::NONE).0.to_be_bytes());
    }
    let crc = crc32c(&bytes[ENTRIES_START..]);
    bytes[2..ENTRIES_START].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The producers in a file whose name says `end`.
pub(crate) fn read(contents: Vec<u8>, end: Offset) -> Result<ProducerStates, SnapshotError> {
    let contents = Bytes::from(contents);
    let mut decoder = Decoder::new(contents.clone());
    let version = decoder.i16()?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let stored = decoder.u32()?;
    let computed = crc32c(&contents[ENTRIES_START..]);
    if stored != computed {
        return Err(SnapshotError::Crc { stored, computed });
    }
    let mut states = ProducerStates::starting_at(end);
    for _ in 0..decoder.i32()? {
        let (id, producer) = read_producer(&mut decoder)?;
        if let Some(first) = producer.open_transaction {
            states.open.insert(first, id);
        }
        states.producers.insert(id, producer);
    }
    decoder.finish()?;
    Ok(states)
}

fn read_producer(decoder: &mut Decoder) -> Result<(ProducerId, Producer), DecodeError> {
    let id = ProducerId(decoder.i64()?);
    let mut producer = Producer::new(ProducerEpoch(decoder.i16()?));
    let mark = BatchMark {
        last_sequence: Sequence(decoder.i32()?),
        last_offset: Offset(decoder.i64()?),
        offset_delta: decoder.i32()?,
        timestamp: Millis(decoder.i64()?),
    };
    producer.last_timestamp = mark.timestamp;
    if mark.last_offset.0 >= 0 {
        producer.add(mark);
    }
    producer.coordinator_epoch = decoder.i32()?;
    producer.open_transaction = Some(Offset(decoder.i64()?)).filter(|first| first.0 >= 0);
    Ok((id, producer))
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> ProducerStates {
        let mut states = ProducerStates::starting_at(Offset(40));
        for id in 0..3 {
            let mut producer = Producer::new(ProducerEpoch(id as i16));
            producer.add(BatchMark {
                last_sequence: Sequence(i32::MAX),
                last_offset: Offset(30 + id),
                offset_delta: 4,
                timestamp: Millis(1_700_000_000_000),
            });
            states.producers.insert(ProducerId(id), producer);
        }
        states.producers.get_mut(&ProducerId(1)).unwrap().open_transaction = Some(Offset(17));
        states.open.insert(Offset(17), ProducerId(1));
        states
    }

    #[test]
    fn a_snapshot_reads_back() {
        let written = write(&states());
        assert_eq!(written.len(), 10 + 3 * ENTRY_BYTES);
        assert_eq!(read(written, Offset(40)), Ok(states()));
    }

    #[test]
    fn no_damage_passes_unseen() {
        let written = write(&states());
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 0x10;
            assert!(read(damaged, Offset(40)).is_err(), "byte {at}");
            assert!(read(written[..at].to_vec(), Offset(40)).is_err(), "cut at {at}");
        }
    }
}
