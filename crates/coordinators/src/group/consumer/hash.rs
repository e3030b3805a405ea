//! What a group remembers of its topics: one number, so that a changed topic shows without keeping the old state.
//!
//! Source: `Utils.computeTopicHash`, `Utils.computeGroupHash`; texts are hashed as hash4j does: UTF-16, then the
//! length. Everything is little-endian.

use milena_metadata::image::{Image, Topic};
use twox_hash::XxHash3_64;

/// The first byte of what is hashed of a topic.
const MAGIC: u8 = 0;

/// The hash over the topics of these names that exist, or 0 if none does. `names` come in order.
pub(super) fn of_topics<'a>(image: &Image, names: impl IntoIterator<Item = &'a String>) -> i64 {
    let existing = names.into_iter().filter_map(|name| image.topic(name));
    let bytes: Vec<u8> = existing.flat_map(|topic| of_topic(image, topic).to_le_bytes()).collect();
    if bytes.is_empty() { 0 } else { XxHash3_64::oneshot(&bytes) as i64 }
}

fn of_topic(image: &Image, topic: &Topic) -> u64 {
    let mut hashed = vec![MAGIC];
    for half in topic.id.0.chunks(8) {
        // Java's longs are read big-endian from the id, and hashed little-endian.
        hashed.extend(half.iter().rev());
    }
    text(&mut hashed, &topic.name);
    hashed.extend((topic.partitions.len() as i32).to_le_bytes());
    for (index, partition) in &topic.partitions {
        hashed.extend(index.to_le_bytes());
        let mut racks: Vec<&str> =
            partition.replicas.iter().filter_map(|replica| image.broker(*replica)?.rack.as_deref()).collect();
        racks.sort_unstable();
        racks.dedup();
        for rack in racks {
            hashed.extend((rack.encode_utf16().count() as i32).to_le_bytes());
            text(&mut hashed, rack);
        }
    }
    XxHash3_64::oneshot(&hashed)
}

fn text(hashed: &mut Vec<u8>, text: &str) {
    hashed.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    hashed.extend((text.encode_utf16().count() as i32).to_le_bytes());
}
