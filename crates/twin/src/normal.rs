//! What differs from run to run, in one list, and what has no order, in another. A value in the first list is
//! replaced by a name that stands for the same value through the whole scenario: `<member 1>` in an answer and
//! `<member 1>` in a later request are the same member. Error codes, counts, offsets and epochs may not be listed.

use std::collections::BTreeMap;

use crate::value::Value;

/// What a value is replaced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name with a number: which values are the same is kept.
    Named(&'static str),
    /// A word: nothing is kept but that there is something.
    Something(&'static str),
}

use Kind::{Named, Something};

/// Values that no two runs share: API (`Batch` for record batches), field, what stands in their place. Null, the
/// empty string, −1 and the zero id are never replaced, 0 only where it can be an id.
pub(crate) const VARYING: &[(&str, &str, Kind)] = &[
    ("Produce", "TopicId", TOPIC),
    ("Produce", "LogAppendTimeMs", TIME),
    ("Produce", "ErrorMessage", MESSAGE),
    ("Produce", "BatchIndexErrorMessage", MESSAGE),
    ("Produce", "Host", HOST),
    ("Produce", "Port", PORT),
    ("Batch", "ProducerId", PRODUCER),
    ("Batch", "AppendTimestamp", TIME),
    ("Batch", "MarkerTimestamp", TIME),
    ("Fetch", "TopicId", TOPIC),
    ("Fetch", "SessionId", SESSION),
    ("Fetch", "ProducerId", PRODUCER),
    ("Fetch", "Host", HOST),
    ("Fetch", "Port", PORT),
    ("Metadata", "TopicId", TOPIC),
    ("Metadata", "ClusterId", CLUSTER),
    ("Metadata", "Host", HOST),
    ("Metadata", "Port", PORT),
    ("OffsetCommit", "TopicId", TOPIC),
    ("OffsetCommit", "MemberId", MEMBER),
    ("OffsetFetch", "TopicId", TOPIC),
    ("OffsetFetch", "MemberId", MEMBER),
    ("FindCoordinator", "ErrorMessage", MESSAGE),
    ("FindCoordinator", "Host", HOST),
    ("FindCoordinator", "Port", PORT),
    ("JoinGroup", "MemberId", MEMBER),
    ("JoinGroup", "Leader", MEMBER),
    ("Heartbeat", "MemberId", MEMBER),
    ("LeaveGroup", "MemberId", MEMBER),
    ("SyncGroup", "MemberId", MEMBER),
    ("DescribeGroups", "MemberId", MEMBER),
    ("DescribeGroups", "ErrorMessage", MESSAGE),
    // The place in the metadata log of the newest image: it counts what every other scenario did.
    ("ApiVersions", "FinalizedFeaturesEpoch", Something("place in the metadata log")),
    ("CreateTopics", "TopicId", TOPIC),
    ("CreateTopics", "ErrorMessage", MESSAGE),
    ("DeleteTopics", "TopicId", TOPIC),
    ("DeleteTopics", "ErrorMessage", MESSAGE),
    ("InitProducerId", "ProducerId", PRODUCER),
    ("DescribeConfigs", "ErrorMessage", MESSAGE),
    ("DescribeConfigs", "Documentation", Something("documentation")),
    ("AlterConfigs", "ErrorMessage", MESSAGE),
    ("IncrementalAlterConfigs", "ErrorMessage", MESSAGE),
    ("CreatePartitions", "ErrorMessage", MESSAGE),
    ("DescribeCluster", "ClusterId", CLUSTER),
    ("DescribeCluster", "ErrorMessage", MESSAGE),
    ("DescribeCluster", "Host", HOST),
    ("DescribeCluster", "Port", PORT),
    ("DescribeTopicPartitions", "TopicId", TOPIC),
    ("ElectLeaders", "ErrorMessage", MESSAGE),
    ("AlterReplicaLogDirs", "Path", Named("log directory")),
    ("DescribeLogDirs", "LogDir", Something("directory")),
    ("DescribeLogDirs", "TotalBytes", Something("bytes")),
    ("DescribeLogDirs", "UsableBytes", Something("bytes")),
    // Places in the metadata log: they count what every other scenario did.
    ("DescribeQuorum", "HighWatermark", Something("place in the metadata log")),
    ("DescribeQuorum", "LogEndOffset", Something("place in the metadata log")),
    ("DescribeQuorum", "ReplicaDirectoryId", Named("directory")),
    ("DescribeQuorum", "LastFetchTimestamp", TIME),
    ("DescribeQuorum", "LastCaughtUpTimestamp", TIME),
    ("DescribeQuorum", "ErrorMessage", MESSAGE),
    ("DescribeQuorum", "Host", HOST),
    ("DescribeQuorum", "Port", PORT),
    ("ConsumerGroupHeartbeat", "ErrorMessage", MESSAGE),
    ("ConsumerGroupHeartbeat", "MemberId", MEMBER),
    ("ConsumerGroupHeartbeat", "TopicId", TOPIC),
    ("ConsumerGroupDescribe", "ErrorMessage", MESSAGE),
    ("ConsumerGroupDescribe", "MemberId", MEMBER),
    ("ConsumerGroupDescribe", "TopicId", TOPIC),
    ("AddPartitionsToTxn", "ProducerId", PRODUCER),
    ("AddPartitionsToTxn", "V3AndBelowProducerId", PRODUCER),
    ("AddOffsetsToTxn", "ProducerId", PRODUCER),
    ("EndTxn", "ProducerId", PRODUCER),
    ("DescribeTransactions", "ProducerId", PRODUCER),
    ("DescribeTransactions", "TransactionStartTimeMs", TIME),
    ("ListTransactions", "ProducerId", PRODUCER),
    ("ListTransactions", "ProducerIdFilters", PRODUCER),
    ("TxnOffsetCommit", "ProducerId", PRODUCER),
    ("TxnOffsetCommit", "MemberId", MEMBER),
    ("WriteTxnMarkers", "ProducerId", PRODUCER),
    ("DescribeProducers", "ProducerId", PRODUCER),
    ("DescribeProducers", "ErrorMessage", MESSAGE),
    ("DescribeProducers", "LastTimestamp", TIME),
];

const TOPIC: Kind = Named("topic");
const PRODUCER: Kind = Named("producer");
const SESSION: Kind = Named("session");
const MEMBER: Kind = Named("member");
const CLUSTER: Kind = Named("cluster");
const TIME: Kind = Something("time");
const MESSAGE: Kind = Something("text");
const HOST: Kind = Something("host");
const PORT: Kind = Something("port");

/// Lists whose order in an answer means nothing (Kafka's is that of a hash table, or errors before successes): API,
/// field, and the fields of an element by which they are sorted before they are written down, none where elements are
/// texts. A scenario that asks for its own alone sees only elements whose first such field begins with its prefix.
pub(crate) const UNORDERED: &[(&str, &str, &[&str])] = &[
    ("ApiVersions", "SupportedFeatures", &["Name"]),
    ("ApiVersions", "FinalizedFeatures", &["Name"]),
    ("Metadata", "Topics", &["Name", "TopicId", "ErrorCode"]),
    ("ListGroups", "Groups", &["GroupId"]),
    ("DescribeTopicPartitions", "Topics", &["Name"]),
    ("ElectLeaders", "ReplicaElectionResults", &["Topic"]),
    ("AlterReplicaLogDirs", "Results", &["TopicName"]),
    ("AlterReplicaLogDirs", "Partitions", &["PartitionIndex"]),
    ("DescribeLogDirs", "Topics", &["Name"]),
    ("DescribeLogDirs", "Partitions", &["PartitionIndex"]),
    ("ListConfigResources", "ConfigResources", &["ResourceName", "ResourceType"]),
    ("CreateTopics", "Topics", &["Name"]),
    ("CreateTopics", "Configs", &["Name"]),
    ("DeleteTopics", "Responses", &["Name", "TopicId", "ErrorCode"]),
    ("CreatePartitions", "Results", &["Name"]),
    ("DeleteRecords", "Topics", &["Name"]),
    ("DeleteRecords", "Partitions", &["PartitionIndex"]),
    ("DescribeConfigs", "Results", &["ResourceType", "ResourceName"]),
    ("DescribeConfigs", "Configs", &["Name"]),
    ("AlterConfigs", "Responses", &["ResourceType", "ResourceName"]),
    ("IncrementalAlterConfigs", "Responses", &["ResourceType", "ResourceName"]),
    ("DescribeClientQuotas", "Entity", &["EntityType"]),
    ("DescribeClientQuotas", "Values", &["Key"]),
    ("DescribeClientQuotas", "Entries", &["Entity", "Values"]),
    ("AlterClientQuotas", "Entries", &["Entity"]),
    ("AlterClientQuotas", "Entity", &["EntityType"]),
    ("JoinGroup", "Members", &["GroupInstanceId", "Metadata"]),
    ("DescribeGroups", "Members", &["GroupInstanceId", "MemberMetadata", "MemberId"]),
    ("DeleteGroups", "Results", &["GroupId"]),
    ("ConsumerGroupHeartbeat", "TopicPartitions", &["TopicId"]),
    ("ConsumerGroupDescribe", "Groups", &["GroupId"]),
    ("ConsumerGroupDescribe", "Members", &["InstanceId", "MemberId"]),
    ("ConsumerGroupDescribe", "TopicPartitions", &["TopicName"]),
    ("ConsumerGroupDescribe", "SubscribedTopicNames", &[]),
    ("WriteTxnMarkers", "Topics", &["Name"]),
    ("WriteTxnMarkers", "Partitions", &["PartitionIndex"]),
    ("DescribeProducers", "ActiveProducers", &["ProducerEpoch", "LastSequence"]),
    ("AddPartitionsToTxn", "ResultsByTransaction", &["TransactionalId"]),
    ("AddPartitionsToTxn", "ResultsByTopicV3AndBelow", &["Name"]),
    ("AddPartitionsToTxn", "TopicResults", &["Name"]),
    ("AddPartitionsToTxn", "ResultsByPartition", &["PartitionIndex"]),
    ("DescribeTransactions", "Topics", &["Topic"]),
    ("DescribeTransactions", "Partitions", &[]),
    ("ListTransactions", "TransactionStates", &["TransactionalId"]),
    ("ListTransactions", "UnknownStateFilters", &[]),
    ("TxnOffsetCommit", "Topics", &["Name"]),
    ("TxnOffsetCommit", "Partitions", &["PartitionIndex"]),
    ("Produce", "Responses", &["Name", "TopicId"]),
    ("Produce", "PartitionResponses", &["Index"]),
    ("ListOffsets", "Topics", &["Name"]),
    ("ListOffsets", "Partitions", &["PartitionIndex", "ErrorCode"]),
    ("OffsetForLeaderEpoch", "Topics", &["Topic"]),
    ("OffsetForLeaderEpoch", "Partitions", &["Partition"]),
    ("OffsetCommit", "Topics", &["Name", "TopicId"]),
    ("OffsetCommit", "Partitions", &["PartitionIndex"]),
    ("OffsetFetch", "Topics", &["Name", "TopicId"]),
    ("OffsetFetch", "Partitions", &["PartitionIndex"]),
    ("OffsetDelete", "Topics", &["Name"]),
    ("OffsetDelete", "Partitions", &["PartitionIndex"]),
];

/// Lists whose elements are written by a field of theirs instead of their place, so that a missing element is one
/// difference: API, list, that field, and whether an element fits on one line.
pub(crate) const KEYED: &[(&str, &str, &str, bool)] = &[
    ("ApiVersions", "ApiKeys", "ApiKey", true),
    ("ApiVersions", "SupportedFeatures", "Name", true),
    ("ApiVersions", "FinalizedFeatures", "Name", true),
    ("CreateTopics", "Configs", "Name", true),
    ("DescribeConfigs", "Configs", "Name", false),
];

/// The names given so far in one scenario.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: BTreeMap<(&'static str, String), usize>,
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    /// What to write instead of `value`, if anything.
    pub(crate) fn replace(&mut self, api: &str, field: &str, value: &Value) -> Option<String> {
        let (.., kind) = VARYING.iter().find(|(of, name, _)| *of == api && *name == field)?;
        let zero_means_none = *kind != PRODUCER;
        let text = match value {
            Value::Int(-1) => return None,
            Value::Int(0) if zero_means_none => return None,
            Value::Int(number) => number.to_string(),
            Value::Text(text) if text.is_empty() => return None,
            Value::Text(text) => text.clone(),
            Value::Uuid(id) if id.0 == [0; 16] => return None,
            Value::Uuid(id) => id.to_string(),
            _ => return None,
        };
        Some(match *kind {
            Something(word) => format!("<{word}>"),
            Named(word) => {
                let next = self.counts.entry(word).or_insert(0);
                let number = *self.given.entry((word, text)).or_insert_with(|| {
                    *next += 1;
                    *next
                });
                format!("<{word} {number}>")
            }
        })
    }
}

/// Puts a list without order into one, and leaves out what belongs to other scenarios: elements whose first sort
/// field does not begin with `mine`. Ids are sorted by the names that they were given when they were first seen.
pub(crate) fn arrange(api: &str, field: &str, elements: &[Value], mine: Option<&str>, names: &mut Names) -> Vec<Value> {
    let mut elements = elements.to_vec();
    let Some((.., keys)) = UNORDERED.iter().find(|(of, name, _)| *of == api && *name == field) else { return elements };
    if keys.is_empty() {
        elements.sort_by_cached_key(|element| sort_text(Some(element)));
        return elements;
    }
    if let Some(prefix) = mine {
        elements.retain(
            |element| matches!(field_of(element, keys[0]), Some(Value::Text(name)) if name.starts_with(prefix)),
        );
    }
    elements.sort_by_cached_key(|element| {
        let text = |key: &&str| {
            let value = field_of(element, key);
            value.and_then(|value| names.replace(api, key, value)).unwrap_or_else(|| sort_text(value))
        };
        keys.iter().map(text).collect::<Vec<_>>()
    });
    elements
}

pub(crate) fn field_of<'a>(element: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Struct(fields) = element else { return None };
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

fn sort_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Int(number)) => format!("{:020}", i128::from(*number) - i128::from(i64::MIN)),
        // Lists within it may have no order either.
        Some(Value::List(elements)) => {
            let mut texts: Vec<String> = elements.iter().map(|element| sort_text(Some(element))).collect();
            texts.sort();
            texts.join(" ")
        }
        Some(value) => format!("{value:?}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;

    use super::*;
    use crate::value::apis;

    #[test]
    fn error_codes_counts_offsets_and_epochs_are_never_replaced() {
        let places_in_the_metadata_log = [
            ("ApiVersions", "FinalizedFeaturesEpoch"),
            ("DescribeQuorum", "HighWatermark"),
            ("DescribeQuorum", "LogEndOffset"),
        ];
        let others = VARYING.iter().filter(|(api, field, _)| !places_in_the_metadata_log.contains(&(*api, *field)));
        for (api, field, _) in others {
            let never = ["Code", "Count", "Offset", "Epoch", "Index", "Version", "Watermark", "State", "Sequence"];
            assert!(!never.iter().any(|part| field.ends_with(part)), "{api}.{field}");
        }
    }

    #[test]
    fn every_listed_field_exists() {
        let listed = VARYING.iter().map(|(api, field, _)| (*api, *field));
        let listed = listed.chain(UNORDERED.iter().map(|(api, field, _)| (*api, *field)));
        let listed = listed.chain(KEYED.iter().flat_map(|(api, list, key, _)| [(*api, *list), (*api, *key)]));
        for (name, field) in listed.filter(|(api, _)| *api != "Batch") {
            let api = apis().values().find(|api| api.name == name).unwrap_or_else(|| panic!("no API {name}"));
            let structs = api.request.structs.iter().chain(&api.response.structs);
            assert!(structs.flat_map(|shape| &shape.fields).any(|known| known.name == field), "{name}.{field}");
        }
    }

    #[test]
    fn the_same_value_has_the_same_name_in_every_api() {
        let mut names = Names::default();
        let (one, two) = (Value::Uuid(Uuid([1; 16])), Value::Uuid(Uuid([2; 16])));
        assert_eq!(names.replace("CreateTopics", "TopicId", &one).as_deref(), Some("<topic 1>"));
        assert_eq!(names.replace("Metadata", "TopicId", &two).as_deref(), Some("<topic 2>"));
        assert_eq!(names.replace("Fetch", "TopicId", &one).as_deref(), Some("<topic 1>"));
        assert_eq!(names.replace("Fetch", "TopicId", &Value::Uuid(Uuid::ZERO)), None);
        assert_eq!(names.replace("Fetch", "ErrorCode", &Value::Int(5)), None);
    }
}
