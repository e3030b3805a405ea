//! Every message at every version against the bytes of Kafka's own classes, and against damage.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

mod nulls;
mod values;

const EVERY_MESSAGE: &str = include_str!("../../golden/messages.txt");

/// Reads bytes as one message and writes it again.
type Recode = fn(Bytes, i16) -> Result<Result<Bytes, EncodeError>, DecodeError>;

struct Row {
    name: &'static str,
    versions: std::ops::RangeInclusive<i16>,
    recode: Recode,
}

macro_rules! rows {
    ($($message:ident)*) => {
        vec![$(Row {
            name: <$message as Message>::NAME,
            versions: $message::OLDEST..=$message::NEWEST,
            recode: |bytes, version| Ok($message::from_bytes(bytes, version)?.to_bytes(version)),
        }),*]
    };
}

fn rows() -> Vec<Row> {
    each_message!(rows)
}

/// The lines of a golden file: name, version, bytes.
fn golden(text: &'static str) -> BTreeMap<(&'static str, i16), Bytes> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("name, version, bytes");
        ((word(), word().parse().expect("a version")), unhex(word()))
    };
    lines.map(parse).collect()
}

fn unhex(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn every_message_at_every_version_comes_out_as_kafka_writes_it() {
    let golden = golden(EVERY_MESSAGE);
    let mut wrong = Vec::new();
    for row in rows() {
        for version in row.versions {
            match golden.get(&(row.name, version)) {
                None => wrong.push(format!("Kafka has no {} {version}", row.name)),
                Some(bytes) => match (row.recode)(bytes.clone(), version) {
                    Ok(Ok(recoded)) if recoded == bytes => {}
                    other => wrong.push(format!("{} {version}: {bytes:?} became {other:?}", row.name)),
                },
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What decodes is written in one way only: bytes may say the same in several ways (long forms of numbers, unknown
/// or default tagged fields, any non-zero byte for true), but what we write of it reads and writes as itself.
fn settles(row: &Row, version: i16, bytes: Bytes) -> Result<(), TestCaseError> {
    if let Ok(written) = (row.recode)(bytes, version) {
        let written = written.map_err(|error| TestCaseError::fail(format!("{} {version}: {error}", row.name)))?;
        prop_assert_eq!((row.recode)(written.clone(), version), Ok(Ok(written)), "{} {}", row.name, version);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn damaged_messages_never_panic_and_settle(damage in vec((any::<Index>(), any::<u8>()), 1..4), cut in any::<Index>()) {
        let golden = golden(EVERY_MESSAGE);
        for row in rows() {
            for version in row.versions.clone() {
                let mut bytes = golden[&(row.name, version)].to_vec();
                for (at, byte) in damage.iter().filter(|_| !bytes.is_empty()).copied().collect::<Vec<_>>() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                let cut = cut.index(bytes.len() + 1);
                let bytes = Bytes::from(bytes);
                settles(&row, version, bytes.slice(..cut))?;
                settles(&row, version, bytes)?;
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_settle(bytes in vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..200)) {
        let bytes = Bytes::from(bytes);
        for row in rows() {
            for version in row.versions.clone() {
                settles(&row, version, bytes.clone())?;
            }
        }
    }
}
