//! What the demo writes beside each event, in a header: its number and when it was sent. The event itself stays as it
//! is; with these two a receiver can tell what is missing, doubled, out of order or late.

use bytes::Bytes;
use milena_client::{Header, RecordView};

/// The header's name.
const NAME: &str = "milena-demo";

/// The contents of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Counts events from 0 in the order of sending.
    pub(super) number: u64,
    /// Microseconds since the demo began.
    pub(super) sent_us: u64,
}

impl Mark {
    pub(super) fn header(self) -> Header {
        let mut bytes = Vec::with_capacity(16);
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.sent_us.to_be_bytes());
        Header { key: Bytes::from_static(NAME.as_bytes()), value: Some(bytes.into()) }
    }

    /// `None` if the record is not from a demo.
    pub(super) fn of(record: &RecordView) -> Option<Mark> {
        let header = record.headers.iter().find(|header| header.key == NAME.as_bytes())?;
        let bytes: [u8; 16] = header.value?.as_ref().try_into().ok()?;
        let (number, sent_us) = (bytes.first_chunk::<8>()?, bytes.last_chunk::<8>()?);
        Some(Mark { number: u64::from_be_bytes(*number), sent_us: u64::from_be_bytes(*sent_us) })
    }
}
