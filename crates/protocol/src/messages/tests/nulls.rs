//! Tagged fields that may be null. Where null is the default it is not written; where it is not, null is written with a mark
//! and left out means empty.

use super::*;
use consumer_group_current_member_assignment_value::TopicPartitions;
use consumer_group_member_metadata_value::ClassicMemberMetadata;

fn golden_nulls() -> BTreeMap<(&'static str, i16), Bytes> {
    golden(include_str!("../../../golden/nulls.txt"))
}

#[test]
fn null_in_a_tagged_field_is_written_as_kafka_writes_it() {
    let golden = golden_nulls();
    for ((name, version), bytes) in &golden {
        let row = rows().into_iter().find(|row| row.name == *name).expect("it has a definition");
        assert_eq!((row.recode)(bytes.clone(), *version), Ok(Ok(bytes.clone())), "{name} {version}");
    }
}

#[test]
fn a_member_of_the_new_protocol_says_that_it_is_no_classic_one() {
    let bytes = golden_nulls()[&(ConsumerGroupMemberMetadataValue::NAME, 0)].clone();
    let value = ConsumerGroupMemberMetadataValue {
        client_id: "c".into(),
        client_host: "h".into(),
        instance_id: Some(String::new()),
        rack_id: Some(String::new()),
        subscribed_topic_regex: Some(String::new()),
        server_assignor: Some(String::new()),
        classic_member_metadata: None,
        ..Default::default()
    };
    assert_eq!(value.to_bytes(0), Ok(bytes.clone()));
    assert_eq!(ConsumerGroupMemberMetadataValue::from_bytes(bytes, 0), Ok(value));
}

#[test]
fn a_tagged_field_that_is_left_out_is_empty_unless_its_default_is_null() {
    // Both written by Kafka's classes with nothing set but client, host and partition.
    let member = Bytes::from_static(b"\x01\x01\x02c\x02h\x01\x01\xff\xff\xff\xff\x01\x00");
    let read = ConsumerGroupMemberMetadataValue::from_bytes(member.clone(), 0).expect("Kafka wrote it");
    assert_eq!(read.classic_member_metadata, Some(ClassicMemberMetadata::default()));
    assert_eq!(read.to_bytes(0), Ok(member));

    let topic = TopicPartitions { partitions: vec![3], ..Default::default() };
    assert_eq!(topic.assignment_epochs, Some(Vec::new()));
    let value = ConsumerGroupCurrentMemberAssignmentValue { assigned_partitions: vec![topic], ..Default::default() };
    let mut expected = vec![0; 9];
    expected.push(2);
    expected.extend([0; 16]);
    expected.extend([2, 0, 0, 0, 3, 0, 1, 0]);
    assert_eq!(value.to_bytes(0), Ok(expected.into()));
}
