//! Requests as scenarios need them most often.

use milena_protocol::Uuid;
use milena_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::wire::Records;

use crate::batch::Batch;
use crate::exchange::{Exchange, Topic};

/// Everything about those topics, by name, none created.
pub(super) fn metadata_of(names: &[&str]) -> MetadataRequest {
    let named =
        |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..MetadataRequestTopic::default() };
    MetadataRequest {
        topics: Some(names.iter().map(named).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

/// Those topics, by id.
pub(super) fn metadata_by_id(ids: &[Uuid]) -> MetadataRequest {
    let topics = ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None }).collect();
    MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..MetadataRequest::default() }
}

/// A topic to be created.
pub(super) fn new_topic(name: &str, partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor,
        ..CreatableTopic::default()
    }
}

/// The same with settings.
pub(super) fn configured(topic: CreatableTopic, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    };
    CreatableTopic { configs: configs.iter().map(config).collect(), ..topic }
}

/// A topic whose replicas the client places.
pub(super) fn placed(name: &str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
    let place = |(partition, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic { assignments: partitions.iter().map(place).collect(), ..new_topic(name, -1, -1) }
}

/// A request to create those topics.
pub(super) fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 5000, validate_only: false }
}

/// One batch for partition 0, with `acks` −1.
pub(super) fn produce(topic: &Topic, batch: &Batch) -> ProduceRequest {
    produce_bytes(topic, &[(0, batch.records())])
}

/// Any bytes for some partitions.
pub(super) fn produce_bytes(topic: &Topic, partitions: &[(i32, Records)]) -> ProduceRequest {
    let data = |(index, records): &(i32, Records)| PartitionProduceData { index: *index, records: records.clone() };
    let topic = TopicProduceData {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_data: partitions.iter().map(data).collect(),
    };
    ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 5000, topic_data: vec![topic] }
}

/// One partition to be fetched.
pub(super) fn from(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset: offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() }
}

/// Whatever is there in those partitions, without waiting and without a session.
pub(super) fn fetch(topic: &Topic, partitions: Vec<FetchPartition>) -> FetchRequest {
    FetchRequest {
        max_bytes: 50 << 20,
        topics: vec![FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions }],
        ..FetchRequest::default()
    }
}

/// The offset of a time, or of a special one, in partition 0.
pub(super) fn offset_of(topic: &Topic, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic { name: topic.name.clone(), partitions: vec![partition] }],
        ..ListOffsetsRequest::default()
    }
}

/// Appends a batch to partition 0 without a word in the transcript.
pub(super) fn append(x: &mut Exchange, topic: &Topic, batch: &Batch) {
    x.quietly(12, &produce(topic, batch));
}
