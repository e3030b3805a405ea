//! The records of `__consumer_offsets`, byte for byte as Kafka 4.3.1 writes them.
//!
//! ```text
//!   key    ┌──────────┬──────────────────────────────┐      value  ┌─────────────┬────────────────┐
//!          │ type i16 │ fields of the key, version 0 │             │ version i16 │ fields of it   │   or none
//!          └──────────┴──────────────────────────────┘             └─────────────┴────────────────┘
//! ```
//!
//! Source: `CoordinatorRecordSerde`, `GroupCoordinatorRecordHelpers`, `CoordinatorRecordType`.

use bytes::{BufMut, Bytes, BytesMut};
use milena_protocol::Message;
use milena_protocol::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use milena_protocol::wire::DecodeError;

use super::consumer::record::{self as consumer, Change};
use crate::CoordinatorRecord;

/// Texts in records have a 16-bit length. Requests with longer ones never reach a record (see `request`), and
/// replay refuses them.
pub(super) const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Type of offsets written before Kafka 0.9; the same fields as [`OFFSET_COMMIT`].
const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
/// What Kafka 4.3.1 writes; it reads 4 as well.
const GROUP_METADATA_VERSION: i16 = 3;
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The only version with an explicit expiry.
const OFFSET_COMMIT_EXPIRY_VERSION: i16 = 1;

/// A record taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parsed {
    /// A committed offset, or its tombstone.
    Offset(OffsetCommitKey, Option<OffsetCommitValue>),
    /// A classic group, or its tombstone.
    Group(GroupMetadataKey, Option<GroupMetadataValue>),
    /// A part of a consumer group.
    Consumer(Change),
    /// A type that this machine does not know.
    Unknown,
}

/// A committed offset.
pub(super) fn offset(key: &OffsetCommitKey, value: &OffsetCommitValue) -> CoordinatorRecord {
    let version = if value.expire_timestamp == -1 { OFFSET_COMMIT_VERSION } else { OFFSET_COMMIT_EXPIRY_VERSION };
    CoordinatorRecord { key: prefixed(OFFSET_COMMIT, key, 0), value: Some(prefixed(version, value, version)) }
}

/// The end of a committed offset.
pub(super) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> CoordinatorRecord {
    let key = OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition };
    CoordinatorRecord { key: prefixed(OFFSET_COMMIT, &key, 0), value: None }
}

/// A classic group.
pub(super) fn group(id: &str, value: &GroupMetadataValue) -> CoordinatorRecord {
    let value = prefixed(GROUP_METADATA_VERSION, value, GROUP_METADATA_VERSION);
    CoordinatorRecord { value: Some(value), ..group_tombstone(id) }
}

/// The end of a classic group.
pub(super) fn group_tombstone(id: &str) -> CoordinatorRecord {
    let key = GroupMetadataKey { group: id.to_owned() };
    CoordinatorRecord { key: prefixed(GROUP_METADATA, &key, 0), value: None }
}

pub(super) fn prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Bytes {
    let body = message.to_bytes(version).expect("texts of records are bounded");
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(prefix);
    bytes.put_slice(&body);
    bytes.freeze()
}

/// Takes a record apart. Nothing in the result shares the record's memory: a member's few bytes must not keep a
/// whole batch alive.
pub(super) fn parse(record: &CoordinatorRecord) -> Result<Parsed, DecodeError> {
    let (record_type, key) = split(&record.key)?;
    let value = record.value.as_ref().map(split).transpose()?;
    match record_type {
        LEGACY_OFFSET_COMMIT | OFFSET_COMMIT => {
            let key = OffsetCommitKey::decode(&mut decoder(key), 0)?;
            let value = value.map(|(version, body)| OffsetCommitValue::decode(&mut decoder(body), version));
            let value = value.transpose()?;
            bounded([&key.group, &key.topic].into_iter().chain(value.as_ref().map(|value| &value.metadata)))?;
            Ok(Parsed::Offset(key, value))
        }
        GROUP_METADATA => {
            let key = GroupMetadataKey::decode(&mut decoder(key), 0)?;
            let value = value.map(|(version, body)| GroupMetadataValue::decode(&mut decoder(body), version));
            let mut value = value.transpose()?;
            bounded([&key.group])?;
            if let Some(value) = &mut value {
                own(value)?;
            }
            Ok(Parsed::Group(key, value))
        }
        other => {
            let value = value.map(|(version, body)| (version, decoder(body)));
            Ok(consumer::parse(other, decoder(key), value)?.map_or(Parsed::Unknown, Parsed::Consumer))
        }
    }
}

fn split(bytes: &Bytes) -> Result<(i16, Bytes), DecodeError> {
    let mut decoder = decoder(bytes.clone());
    let prefix = decoder.i16()?;
    Ok((prefix, bytes.slice(decoder.position()..)))
}

fn decoder(bytes: Bytes) -> milena_protocol::wire::Decoder {
    milena_protocol::wire::Decoder::new(bytes)
}

fn own(value: &mut GroupMetadataValue) -> Result<(), DecodeError> {
    bounded([&value.protocol_type].into_iter().chain(&value.protocol).chain(&value.leader))?;
    for member in &mut value.members {
        bounded(
            [&member.member_id, &member.client_id, &member.client_host].into_iter().chain(&member.group_instance_id),
        )?;
        member.subscription = Bytes::copy_from_slice(&member.subscription);
        member.assignment = Bytes::copy_from_slice(&member.assignment);
    }
    Ok(())
}

/// Bytes that are not UTF-8 grow when they are read; such a text could not be written again.
fn bounded<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), DecodeError> {
    match texts.into_iter().find(|text| text.len() > TEXT_BYTES_MAX) {
        Some(text) => Err(DecodeError::Length(text.len() as i64)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::group_metadata_value::MemberMetadata;

    use super::*;

    #[test]
    fn an_offset_is_written_as_kafka_writes_it() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let value = OffsetCommitValue {
            offset: 100,
            leader_epoch: 5,
            metadata: "m".into(),
            commit_timestamp: 1,
            topic_id: milena_protocol::Uuid([7; 16]),
            ..Default::default()
        };
        let record = offset(&key, &value);
        assert_eq!(&record.key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x03");
        let mut expected = b"\0\x04\0\0\0\0\0\0\0\x64\0\0\0\x05\x02m\0\0\0\0\0\0\0\x01\x01\0\x10".to_vec();
        expected.extend_from_slice(&[7; 16]);
        assert_eq!(record.value.as_deref(), Some(&expected[..]));
        assert_eq!(parse(&record), Ok(Parsed::Offset(key, Some(value))));
    }

    /// Bytes that Kafka's own `GroupCoordinatorRecordSerde` wrote for this group.
    const GROUP_VALUE: &[u8] =
        b"\0\x03\0\x08consumer\0\0\0\x07\0\x05range\0\x03m-1\0\0\x01\x1f\x71\xfb\x04\xcb\0\0\0\x02\
        \0\x03m-1\0\x01i\0\x06client\0\x09/10.0.0.1\0\0\xea\x60\0\0\x27\x10\0\0\0\x02\x01\x02\0\0\0\x01\x03\
        \0\x03m-2\xff\xff\0\x06client\0\x09/10.0.0.1\0\0\xea\x60\0\0\x27\x10\0\0\0\x02\x01\x02\0\0\0\0";

    /// The same in the newest version that it reads.
    const NEWEST_GROUP_VALUE: &[u8] = b"\0\x04\x09consumer\0\0\0\x07\x06range\x04m-1\0\0\x01\x1f\x71\xfb\x04\xcb\x03\
        \x04m-1\x02i\x07client\x0a/10.0.0.1\0\0\xea\x60\0\0\x27\x10\x03\x01\x02\x02\x03\0\
        \x04m-2\0\x07client\x0a/10.0.0.1\0\0\xea\x60\0\0\x27\x10\x03\x01\x02\x01\0\0";

    #[test]
    fn a_group_is_written_as_kafka_writes_it() {
        let member = |id: &str, instance: Option<&str>, assignment: &'static [u8]| MemberMetadata {
            member_id: id.into(),
            group_instance_id: instance.map(str::to_owned),
            client_id: "client".into(),
            client_host: "/10.0.0.1".into(),
            rebalance_timeout: 60_000,
            session_timeout: 10_000,
            subscription: Bytes::from_static(&[1, 2]),
            assignment: Bytes::from_static(assignment),
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 7,
            protocol: Some("range".into()),
            leader: Some("m-1".into()),
            current_state_timestamp: 1_234_567_890_123,
            members: vec![member("m-1", Some("i"), &[3]), member("m-2", None, &[])],
        };
        let record = group("g", &value);
        assert_eq!(&record.key[..], b"\0\x02\0\x01g");
        assert_eq!(record.value.as_deref(), Some(GROUP_VALUE));
        let newest = CoordinatorRecord { value: Some(Bytes::from_static(NEWEST_GROUP_VALUE)), ..record.clone() };
        let key = GroupMetadataKey { group: "g".into() };
        let parsed = Ok(Parsed::Group(key, Some(value)));
        assert_eq!([parse(&record), parse(&newest)], [parsed.clone(), parsed]);
    }

    #[test]
    fn an_explicit_expiry_is_written_in_version_1() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 0 };
        let value = OffsetCommitValue { offset: 1, expire_timestamp: 9, commit_timestamp: 2, ..Default::default() };
        let record = offset(&key, &value);
        assert_eq!(
            record.value.as_deref(),
            Some(&b"\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x09"[..])
        );
    }

    #[test]
    fn records_of_unknown_types_are_told_apart_from_damaged_ones() {
        let record = |key: &'static [u8]| CoordinatorRecord { key: Bytes::from_static(key), value: None };
        assert_eq!(parse(&record(b"\0\x0a\0\x01g")), Ok(Parsed::Unknown));
        assert!(parse(&record(b"\0")).is_err());
        assert!(parse(&record(b"\0\x01\0\x01g")).is_err());
        assert!(
            parse(&CoordinatorRecord { value: Some(Bytes::from_static(b"\0\x63")), ..group_tombstone("g") }).is_err()
        );
    }
}
