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
    for (index, partition) in topic.partitions.iter() {
        hashed.extend(index.to_le_bytes());
        let mut racks: Vec<&str> =
            partition.replicas.iter().filter_map(|replica| image.broker(*replica)?.rack.as_deref()).collect();
        racks.sort_unstable();
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

#[cfg(test)]
mod tests {
    use milena_base::Millis;
    use milena_metadata::delta::Delta;
    use milena_metadata::image::Provenance;
    use milena_protocol::messages::{MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord};
    use milena_protocol::{LeaderEpoch, Offset, Uuid};

    use super::*;

    fn broker(broker_id: i32, rack: Option<&str>) -> MetadataRecord {
        RegisterBrokerRecord { broker_id, rack: rack.map(str::to_owned), ..Default::default() }.into()
    }

    fn topic(first: u8, name: &str) -> (Uuid, MetadataRecord) {
        let topic_id = Uuid(std::array::from_fn(|at| first + at as u8));
        (topic_id, TopicRecord { topic_id, name: name.to_owned() }.into())
    }

    fn partition(topic_id: Uuid, partition_id: i32, replicas: &[i32]) -> MetadataRecord {
        let (replicas, isr) = (replicas.to_vec(), replicas.to_vec());
        PartitionRecord { topic_id, partition_id, replicas, isr, ..Default::default() }.into()
    }

    /// The number is what Kafka's `Utils` made of the same topics.
    #[test]
    fn the_hash_is_kafkas() {
        let ((one, one_record), (two, two_record)) = (topic(0x01, "one"), topic(0x11, "zwei-ü"));
        let records = [
            broker(1, Some("b")),
            broker(2, Some("a")),
            broker(3, Some("b")),
            broker(4, None),
            broker(5, Some("rack")),
            one_record,
            two_record,
            partition(one, 0, &[1, 2, 3]),
            partition(one, 1, &[4]),
            partition(two, 0, &[5]),
        ];
        let empty = Image::default();
        let mut delta = Delta::new(&empty);
        for (offset, record) in (0..).zip(&records) {
            delta.replay(Offset(offset), record).expect("a sound record");
        }
        let (image, _) = delta.apply(Provenance { last: Offset(9), epoch: LeaderEpoch(1), timestamp: Millis(0) });
        let names = ["missing", "one", "zwei-ü"].map(str::to_owned);
        assert_eq!(of_topics(&image, &names), -6_179_912_395_403_671_753);
        assert_eq!(of_topics(&image, &names[..1]), 0);
    }
}
