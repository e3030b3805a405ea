//! Round trips, damage, bombs, and the framings of other writers.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn too_large(limit_bytes: usize) -> Result<Bytes, CompressionError> {
    Err(CompressionError::TooLarge { limit_bytes })
}

fn is_corrupt(result: &Result<Bytes, CompressionError>) -> bool {
    matches!(result, Err(CompressionError::Corrupt { .. }))
}

#[test]
fn codecs_keep_their_numbers_and_names() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let codec = Codec::from_id(id as u8).unwrap();
        assert_eq!((codec.id(), codec.name()), (id as u8, name));
        assert_eq!(Codec::from_name(name), Some(codec));
    }
    assert_eq!(Codec::from_id(5), None);
    assert_eq!(Codec::from_name("brotli"), None);
}

#[test]
fn every_level_that_kafka_accepts_works_and_no_other() {
    let contents = b"level ".repeat(100);
    for codec in CODECS {
        let Some(levels) = codec.levels() else {
            assert_eq!(codec, Codec::Snappy);
            continue;
        };
        for level in [*levels.start(), (levels.start() + levels.end()) / 2, *levels.end()] {
            let compressed = compress(codec, Some(level), &contents).unwrap();
            assert_eq!(decompress(codec, &compressed, 1000).unwrap(), contents, "{codec} {level}");
        }
        for level in [levels.start() - 1, levels.end() + 1] {
            assert_eq!(compress(codec, Some(level), &contents), Err(CompressionError::Level { codec, level }));
        }
    }
    assert!(compress(Codec::Gzip, Some(-1), &contents).is_ok());
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let contents = vec![0; 20 << 20];
    for codec in CODECS {
        let bomb = compress(codec, None, &contents).unwrap();
        assert!(bomb.len() < 1_000_000, "{codec} makes {} bytes", bomb.len());
        for bound in [0, 1, 65_536, contents.len() - 1] {
            assert_eq!(decompress(codec, &bomb, bound), too_large(bound), "{codec}");
        }
        assert_eq!(decompress(codec, &bomb, contents.len()).map(|all| all.len()), Ok(contents.len()), "{codec}");
    }
}

#[test]
fn lengths_that_the_bytes_cannot_hold_are_not_believed() {
    // A bare snappy block that claims 4 GiB - 1.
    let bare = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(is_corrupt(&decompress(Codec::Snappy, &bare, usize::MAX)));
    let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &[0x7f, 0xff, 0xff, 0xff, 0]].concat();
    assert!(is_corrupt(&decompress(Codec::Snappy, &framed, usize::MAX)));
}

#[test]
fn snappy_is_read_bare_and_joined() {
    let bare = snap::raw::Encoder::new().compress_vec(b"without framing").unwrap();
    assert_eq!(decompress(Codec::Snappy, &bare, 100).unwrap(), &b"without framing"[..]);
    let joined = [compress(Codec::Snappy, None, b"one, ").unwrap(), compress(Codec::Snappy, None, b"two").unwrap()];
    assert_eq!(decompress(Codec::Snappy, &joined.concat(), 100).unwrap(), &b"one, two"[..]);
}

#[test]
fn snappy_is_written_in_blocks_of_32_kib_behind_the_header_of_java() {
    let compressed = compress(Codec::Snappy, None, &[7; 40_000]).unwrap();
    assert_eq!(compressed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let first = i32::from_be_bytes(compressed[16..20].try_into().unwrap()) as usize;
    assert_eq!(snap::raw::decompress_len(&compressed[20..]), Ok(32_768));
    assert_eq!(snap::raw::decompress_len(&compressed[24 + first..]), Ok(40_000 - 32_768));
}

#[test]
fn lz4_is_written_with_the_header_of_kafka() {
    // The seven bytes that every lz4 batch of Kafka begins with, and the end mark.
    let compressed = compress(Codec::Lz4, None, b"x").unwrap();
    assert_eq!(compressed[..], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 1, 0, 0, 0x80, b'x', 0, 0, 0, 0]);
}

#[test]
fn lz4_frames_of_other_writers_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let contents: Vec<u8> = (0..300_000u32).map(|at| (at / 7) as u8).collect();
    for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        let info = FrameInfo::new()
            .block_size(block_size)
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(contents.len() as u64));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&contents).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(decompress(Codec::Lz4, &frame, contents.len()).unwrap(), contents);
        let mut damaged = frame;
        damaged[100] ^= 1;
        assert!(is_corrupt(&decompress(Codec::Lz4, &damaged, contents.len())), "the block checksum is held");
    }
    let linked = FrameInfo::new().block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(linked, Vec::new());
    encoder.write_all(&contents).unwrap();
    let frame = encoder.finish().unwrap();
    assert!(is_corrupt(&decompress(Codec::Lz4, &frame, contents.len())), "Kafka refuses linked blocks");
}

#[test]
fn what_our_lz4_writes_other_readers_read() {
    let contents: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> (at % 25)) as u8).collect();
    let compressed = compress(Codec::Lz4, None, &contents).unwrap();
    let mut read = Vec::new();
    lz4_flex::frame::FrameDecoder::new(&compressed[..]).read_to_end(&mut read).unwrap();
    assert_eq!(read, contents);
}

#[test]
fn streams_that_end_early_are_corrupt() {
    let contents: Vec<u8> = (0..2000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for codec in CODECS {
        let compressed = compress(codec, None, &contents).unwrap();
        // Snappy has no end of its own: between two blocks, and right behind the header, a cut goes unseen.
        for end in (17..compressed.len()).step_by(97) {
            assert!(is_corrupt(&decompress(codec, &compressed[..end], 10_000)), "{codec} cut at {end}");
        }
    }
}

fn some_codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

/// From random to very repetitive, over several blocks at times.
fn some_contents() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 0..500), 1..300usize).prop_map(|(piece, times)| piece.repeat(times))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_compressed_comes_back(codec in some_codec(), contents in some_contents()) {
        let compressed = compress(codec, None, &contents).unwrap();
        prop_assert_eq!(&decompress(codec, &compressed, contents.len()).unwrap(), &contents);
        if let Some(bound) = contents.len().checked_sub(1) {
            prop_assert_eq!(decompress(codec, &compressed, bound), too_large(bound));
        }
    }

    #[test]
    fn reading_in_small_steps_gives_the_same(codec in some_codec(), contents in some_contents(), step in 1..5000usize) {
        let compressed = compress(codec, None, &contents).unwrap();
        let mut inflater = Inflater::new(codec, &compressed, contents.len()).unwrap();
        let (mut buffer, mut read) = (vec![0; step], Vec::new());
        loop {
            match inflater.read(&mut buffer).unwrap() {
                0 => break,
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn an_inflater_keeps_no_more_than_its_bound(codec in some_codec(), contents in some_contents()) {
        let compressed = compress(codec, None, &contents).unwrap();
        let bound = codec.inflater_bytes(&compressed);
        match codec {
            Codec::None => prop_assert_eq!(bound, 0),
            // A block is inflated as a whole.
            Codec::Snappy => prop_assert!((contents.len().min(32 * 1024)..=32 * 1024).contains(&bound)),
            Codec::Lz4 => prop_assert!(bound >= contents.len().min(64 * 1024)),
            Codec::Gzip => prop_assert!(bound >= 32 * 1024),
            Codec::Zstd => prop_assert!(bound >= contents.len()),
        }
    }

    #[test]
    fn the_bound_of_damaged_bytes_is_one(codec in some_codec(), bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(codec.inflater_bytes(&bytes) <= (1 << 27) + (1 << 20));
    }

    #[test]
    fn random_bytes_never_panic_nor_pass_the_bound(codec in some_codec(), bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(contents) = decompress(codec, &bytes, 4096) {
            prop_assert!(contents.len() <= 4096);
        }
    }

    #[test]
    fn damaged_bytes_never_panic_nor_pass_the_bound(
        codec in some_codec(),
        contents in some_contents(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut compressed = compress(codec, None, &contents).unwrap().to_vec();
        for (at, byte) in damage.into_iter().filter(|_| !contents.is_empty()) {
            let at = at.index(compressed.len());
            compressed[at] = byte;
        }
        if let Ok(inflated) = decompress(codec, &compressed, contents.len()) {
            prop_assert!(inflated.len() <= contents.len());
        }
    }
}
