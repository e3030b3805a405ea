//! Every message of Kafka 4.3.1 at every version: what we make up is read as it was, and no bytes at all make a decoder panic or
//! take more memory than its frame entitles it to.

use bytes::Bytes;
use milena_protocol::proof::{Row, apis, rows};
use milena_protocol::wire::{ALLOCATED_FREE_BYTES, ALLOCATED_PER_BYTE};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What a decoder may take besides: the counter of a shared frame, an error's words.
const SLACK_BYTES: u64 = 1024;

fn every(mut look: impl FnMut(&Row, i16)) {
    for row in rows() {
        for version in row.versions.0..=row.versions.1 {
            look(&row, version);
        }
    }
}

fn made_up(row: &Row, version: i16, seed: u64) -> Bytes {
    (row.make_up)(seed, version).unwrap_or_else(|error| panic!("{} {version}, seed {seed}: {error}", row.name)).bytes
}

#[test]
fn what_is_made_up_is_read_as_it_was() {
    let mut count = 0;
    every(|row, version| {
        count += 1;
        for seed in 0..20 {
            let made = (row.make_up)(seed, version).expect("made up for this version");
            let recoded = (row.recode)(made.bytes.clone(), version);
            assert_eq!(recoded, Ok(Ok(made)), "{} {version}, seed {seed}", row.name);
        }
    });
    assert!(count > 720, "{count} messages and versions are not all");
}

/// What decodes is written in one way only, and that reads and writes as itself.
fn settles(row: &Row, version: i16, bytes: Bytes) {
    if let Ok(written) = (row.recode)(bytes, version) {
        let written = written.unwrap_or_else(|error| panic!("{} {version}: {error}", row.name));
        assert_eq!((row.recode)(written.bytes.clone(), version), Ok(Ok(written)), "{} {version}", row.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn damaged_messages_never_panic_and_settle(
        seed in any::<u64>(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
    ) {
        every(|row, version| {
            let mut bytes = made_up(row, version, seed).to_vec();
            for (at, byte) in damage.iter().filter(|_| !bytes.is_empty()).copied().collect::<Vec<_>>() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let cut = cut.index(bytes.len() + 1);
            let bytes = Bytes::from(bytes);
            settles(row, version, bytes.slice(..cut));
            settles(row, version, bytes);
        });
    }

    #[test]
    fn random_bytes_never_panic_and_settle(bytes in vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..200)) {
        let bytes = Bytes::from(bytes);
        every(|row, version| settles(row, version, bytes.clone()));
    }

    #[test]
    fn random_frames_with_headers_never_panic(
        version in 0..20i16,
        rest in vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..200),
    ) {
        for api in apis() {
            let mut frame = (api.key as i16).to_be_bytes().to_vec();
            frame.extend(version.to_be_bytes());
            frame.extend(&rest);
            let _ = (api.recode_request)(frame.into());
            let _ = (api.recode_response)(Bytes::copy_from_slice(&rest), version);
        }
    }

    /// A count that many bytes back is the worst that a frame can say: here one is put anywhere into a message, and bytes behind it
    /// that read as as many elements.
    #[test]
    fn no_bytes_make_a_decoder_take_more_than_its_share(
        seed in any::<u64>(),
        at in any::<Index>(),
        filling in prop_oneof![Just(0u8), Just(1), Just(2), Just(0xff)],
        len in 0..40_000usize,
    ) {
        every(|row, version| {
            let mut bytes = made_up(row, version, seed).to_vec();
            bytes.truncate(at.index(bytes.len() + 1));
            if version >= row.flexible {
                bytes.extend([0x80 | (len & 0x7f) as u8, 0x80 | (len >> 7 & 0x7f) as u8, (len >> 14) as u8]);
            } else {
                bytes.extend((len as u32).to_be_bytes());
            }
            bytes.resize(bytes.len() + len, filling);
            takes_its_share(row, version, bytes.into());
        });
    }
}

fn takes_its_share(row: &Row, version: i16, bytes: Bytes) {
    let share = (ALLOCATED_PER_BYTE * bytes.len() + ALLOCATED_FREE_BYTES) as u64 + SLACK_BYTES;
    let frame_bytes = bytes.len();
    let taken = allocation_counter::measure(|| {
        let _ = (row.read)(bytes, version);
    });
    assert!(
        taken.bytes_max <= share,
        "{} {version} took {} bytes for a frame of {frame_bytes}",
        row.name,
        taken.bytes_max
    );
}
