//! CreateTopics, with Kafka's order of checks: it decides the code that a client sees (traps 21, 28, 169 to 172).
//!
//! Source: `ControllerApis.createTopics`, `ReplicationControlManager.createTopics`.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Random;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use milena_protocol::messages::{ConfigRecord, CreateTopicsRequest, CreateTopicsResponse, MetadataRecord, TopicRecord};
use milena_protocol::{ErrorCode, Uuid};

use super::mutations::Permits;
use super::placement::{Placer, check_manual, new_partition};
use super::refusal::Refusal;
use super::{Active, Options, RECORDS_MAX};
use crate::configs::{Kind, Layers, Resource, Setting, Values, Visibility, table, validate_resource, with_source};
use crate::image::Partition;
use crate::{METADATA_TOPIC, topic_name};

/// Partitions of one request at most (`MAX_PARTITIONS_PER_BATCH`).
const PARTITIONS_MAX: i64 = 10_000;

impl Active {
    pub(super) fn create_topics(
        &self,
        options: &Options,
        request: &CreateTopicsRequest,
        hidden: &BTreeSet<String>,
        permits: &mut Permits,
        random: &mut Random,
    ) -> (Vec<MetadataRecord>, CreateTopicsResponse) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        request.topics.iter().for_each(|topic| *counts.entry(&topic.name).or_default() += 1);
        let is_single = |topic: &&CreatableTopic| counts[topic.name.as_str()] == 1 && topic.name != METADATA_TOPIC;
        let wanted: Vec<&CreatableTopic> = request.topics.iter().filter(is_single).collect();

        let mut records = Vec::new();
        let mut results = Vec::new();
        let too_many = self.partitions_wanted(options, &wanted) > PARTITIONS_MAX;
        for topic in &wanted {
            let created = match too_many {
                true => Err(too_large("Excessively large number of partitions per request.")),
                false => self.create_topic(options, topic, hidden.contains(&topic.name), permits, random),
            };
            results.push(match created {
                Ok((result, mut new)) => {
                    records.append(&mut new);
                    result
                }
                Err(refusal) => refused(&topic.name, refusal),
            });
        }
        if records.len() > RECORDS_MAX {
            records.clear();
            let refusal = too_large("Unable to perform excessively large batch operation.");
            results = wanted.iter().map(|topic| refused(&topic.name, refusal.clone())).collect();
        }
        results.extend(counts.iter().filter_map(|(name, count)| match (*name, *count) {
            (name, 2..) => Some(refused(name, Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))),
            (METADATA_TOPIC, _) => {
                let message = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
                Some(refused(METADATA_TOPIC, Refusal::new(ErrorCode::InvalidRequest, message)))
            }
            _ => None,
        }));
        if request.validate_only {
            records.clear();
        }
        (records, CreateTopicsResponse { topics: results, ..Default::default() })
    }

    fn partitions_wanted(&self, options: &Options, topics: &[&CreatableTopic]) -> i64 {
        let of_one = |topic: &&CreatableTopic| match topic.num_partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
            -1 => i64::from(self.broker_number(options, "num.partitions")),
            count => i64::from(count.max(0)),
        };
        topics.iter().map(of_one).sum()
    }

    fn create_topic(
        &self,
        options: &Options,
        topic: &CreatableTopic,
        is_hidden: bool,
        permits: &mut Permits,
        random: &mut Random,
    ) -> Result<(CreatableTopicResult, Vec<MetadataRecord>), Refusal> {
        self.check_new_name(&topic.name)?;
        let settings = self.check_new_settings(options, topic)?;
        let partitions = match topic.assignments.is_empty() {
            true => self.place(options, topic, random)?,
            false => self.place_as_told(topic)?,
        };
        permits.take(partitions.len())?;
        let id = new_topic_id(random);
        let name = topic.name.clone();
        let mut result = CreatableTopicResult { name, topic_id: id, error_message: None, ..Default::default() };
        match is_hidden {
            true => result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.number(),
            false => {
                result.num_partitions = partitions.len() as i32;
                result.replication_factor = partitions[0].replicas.len() as i16;
                result.configs = Some(config_results(self.layers(options, &settings)));
            }
        }
        let mut records = vec![TopicRecord { name: topic.name.clone(), topic_id: id }.into()];
        records.extend(settings.into_iter().map(|(name, value)| -> MetadataRecord {
            let (resource_type, resource_name) = (Kind::Topic.number(), topic.name.clone());
            ConfigRecord { resource_type, resource_name, name, value: Some(value) }.into()
        }));
        let numbered = partitions.iter().enumerate();
        records.extend(numbered.map(|(number, partition)| partition.to_record(id, number as i32).into()));
        Ok((result, records))
    }

    fn check_new_name(&self, name: &str) -> Result<(), Refusal> {
        let invalid = |message: String| Refusal::new(ErrorCode::InvalidTopicException, message);
        topic_name::validate(name).map_err(invalid)?;
        // Kafka notes a collision first and overwrites it when the very topic exists.
        if self.image.topic(name).is_some() {
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        let colliding = topic_name::collision(name).and_then(|shared| self.collisions.get(&shared)?.first());
        match colliding {
            Some(other) => Err(invalid(format!("Topic '{name}' collides with existing topic: {other}"))),
            None => Ok(()),
        }
    }

    fn check_new_settings(&self, options: &Options, topic: &CreatableTopic) -> Result<Values, Refusal> {
        let nulls: Vec<&str> =
            topic.configs.iter().filter(|config| config.value.is_none()).map(|config| config.name.as_str()).collect();
        if !nulls.is_empty() {
            let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
            return Err(Refusal::new(ErrorCode::InvalidConfig, message));
        }
        let pairs = topic.configs.iter().filter_map(|config| Some((config.name.clone(), config.value.clone()?)));
        let settings: Values = pairs.collect();
        super::settings::check_sizes(&settings)?;
        if !settings.is_empty() {
            validate_resource(&Resource::topic(&topic.name), &settings, self.layers(options, &settings))?;
        }
        Ok(settings)
    }

    fn place_as_told(&self, topic: &CreatableTopic) -> Result<Vec<Partition>, Refusal> {
        let refuse = |code, message: &str| Err(Refusal::new(code, message));
        if topic.replication_factor != -1 {
            let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
            return refuse(ErrorCode::InvalidRequest, message);
        }
        if topic.num_partitions != -1 {
            let message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
            return refuse(ErrorCode::InvalidRequest, message);
        }
        let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
        let mut expected = None;
        for assignment in &topic.assignments {
            let number = assignment.partition_index;
            if partitions.contains_key(&number) {
                let message = format!("Found multiple manual partition assignments for partition {number}");
                return refuse(ErrorCode::InvalidReplicaAssignment, &message);
            }
            let replicas = check_manual(&self.image, &assignment.broker_ids, expected)?;
            expected = Some(replicas.len());
            let Some(partition) = new_partition(&self.image, replicas) else {
                let message = format!(
                    "All brokers specified in the manual partition assignment for partition {number} are fenced or in \
                     controlled shutdown."
                );
                return refuse(ErrorCode::InvalidReplicaAssignment, &message);
            };
            partitions.insert(number, partition);
        }
        if !partitions.keys().copied().eq(0..partitions.len() as i32) {
            let message = "partitions should be a consecutive 0-based integer sequence";
            return refuse(ErrorCode::InvalidReplicaAssignment, message);
        }
        Ok(partitions.into_values().collect())
    }

    fn place(&self, options: &Options, topic: &CreatableTopic, random: &mut Random) -> Result<Vec<Partition>, Refusal> {
        let refuse = |code, message: &str| Err(Refusal::new(code, message));
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return refuse(ErrorCode::InvalidReplicationFactor, message);
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return refuse(ErrorCode::InvalidPartitions, message);
        }
        let count = match topic.num_partitions {
            -1 => self.broker_number(options, "num.partitions"),
            count => count,
        };
        let factor = match topic.replication_factor {
            -1 => i16::try_from(self.broker_number(options, "default.replication.factor")).unwrap_or(i16::MAX),
            factor => factor,
        };
        let unable = |why: &str| {
            let message = format!("Unable to replicate the partition {factor} time(s): {why}");
            Refusal::new(ErrorCode::InvalidReplicationFactor, message)
        };
        let mut placer = Placer::new(&self.image, factor, random)
            .map_err(|refusal| unable(refusal.message.as_deref().unwrap_or_default()))?;
        let inactive = || unable("All brokers are currently fenced or in controlled shutdown.");
        (0..count).map(|_| new_partition(&self.image, placer.place(random)).ok_or_else(inactive)).collect()
    }
}

fn too_large(message: &str) -> Refusal {
    Refusal::new(ErrorCode::PolicyViolation, message)
}

fn refused(name: &str, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_string(),
        error_code: refusal.code.number(),
        error_message: refusal.message,
        ..Default::default()
    }
}

/// The settings in force, those of the request as they were given. Where DescribeConfigs loses the origin of a value
/// in minutes or hours, this one does not.
fn config_results(layers: Layers) -> Vec<CreatableTopicConfigs> {
    let is_shown =
        |setting: &&Setting| setting.visibility == Visibility::Public || layers.own.contains_key(setting.name);
    let result = |setting: &Setting| {
        let (value, source) = with_source(Kind::Topic, setting.name, layers);
        CreatableTopicConfigs {
            name: setting.name.to_string(),
            value: layers.own.get(setting.name).cloned().or(value),
            read_only: false,
            config_source: source as i8,
            is_sensitive: false,
        }
    };
    table(Kind::Topic).iter().filter(is_shown).map(result).collect()
}

/// An id that is neither reserved nor begins with a dash.
fn new_topic_id(random: &mut Random) -> Uuid {
    loop {
        // Each draw succeeds with 63 of 64.
        if let Some(id) = Uuid::from_random(random.bytes16()) {
            return id;
        }
    }
}
