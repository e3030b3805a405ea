//! Control records: what brokers and controllers write into logs for each other.

use bytes::Bytes;

use super::BatchError;
use crate::wire::{DecodeError, Decoder};

/// The version that keys and markers are written in.
const VERSION: i16 = 0;

/// What a control record says. The key is `version i16 = 0 | type i16`.
///
/// Source: `ControlRecordType`; KIP-98, KIP-595, KIP-630, KIP-853.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlRecordType {
    /// The producer's transaction is aborted.
    Abort,
    /// The producer's transaction is committed.
    Commit,
    /// A new leader of the metadata log begins its epoch: `LeaderChangeMessage`.
    LeaderChange,
    /// The first record of a snapshot: `SnapshotHeaderRecord`.
    SnapshotHeader,
    /// The last record of a snapshot: `SnapshotFooterRecord`.
    SnapshotFooter,
    /// The finalized `kraft.version`: `KRaftVersionRecord`.
    KRaftVersion,
    /// The voters of the metadata quorum: `VotersRecord`.
    KRaftVoters,
    /// A type of a later release; readers skip it.
    Unknown(i16),
}

impl ControlRecordType {
    /// The type with that number.
    pub fn from_number(number: i16) -> ControlRecordType {
        match number {
            0 => ControlRecordType::Abort,
            1 => ControlRecordType::Commit,
            2 => ControlRecordType::LeaderChange,
            3 => ControlRecordType::SnapshotHeader,
            4 => ControlRecordType::SnapshotFooter,
            5 => ControlRecordType::KRaftVersion,
            6 => ControlRecordType::KRaftVoters,
            _ => ControlRecordType::Unknown(number),
        }
    }

    /// The number in the key.
    pub fn number(self) -> i16 {
        match self {
            ControlRecordType::Abort => 0,
            ControlRecordType::Commit => 1,
            ControlRecordType::LeaderChange => 2,
            ControlRecordType::SnapshotHeader => 3,
            ControlRecordType::SnapshotFooter => 4,
            ControlRecordType::KRaftVersion => 5,
            ControlRecordType::KRaftVoters => 6,
            ControlRecordType::Unknown(number) => number,
        }
    }

    /// The key of a record of this type.
    pub fn key(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (VERSION.to_be_bytes(), self.number().to_be_bytes());
        [a, b, c, d]
    }

    /// Reads a key. Later versions may be longer; their first four bytes mean the same.
    pub fn parse(key: &Bytes) -> Result<ControlRecordType, BatchError> {
        let mut decoder = Decoder::new(key.clone());
        check_version(&mut decoder)
            .and_then(|()| decoder.i16())
            .map(ControlRecordType::from_number)
            .map_err(BatchError::Control)
    }
}

/// The value of an abort or commit record: `version i16 = 0 | coordinator epoch i32`.
///
/// Source: `EndTransactionMarker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Epoch of the transaction coordinator that decided; fences markers of its predecessors.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The value.
    pub fn to_bytes(self) -> [u8; 6] {
        let mut value = [0; 6];
        value[..2].copy_from_slice(&VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        value
    }

    /// Reads a value of this or a later version.
    pub fn parse(value: &Bytes) -> Result<EndTransactionMarker, BatchError> {
        let mut decoder = Decoder::new(value.clone());
        check_version(&mut decoder)
            .and_then(|()| decoder.i32())
            .map(|coordinator_epoch| EndTransactionMarker { coordinator_epoch })
            .map_err(BatchError::Control)
    }
}

/// Reads the version before a key or value. Later ones begin like the one we know; negative ones do not exist.
fn check_version(decoder: &mut Decoder) -> Result<(), DecodeError> {
    match decoder.i16()? {
        version if version < VERSION => Err(DecodeError::Version { message: "control record", version }),
        _ => Ok(()),
    }
}
