//! CreatePartitions. Source: `ControllerApis.createPartitions`, `ReplicationControlManager.createPartitions`.

use std::collections::BTreeMap;

use milena_base::Random;
use milena_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use milena_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use milena_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, MetadataRecord};
use milena_protocol::{ErrorCode, NodeId};

use super::mutations::Permits;
use super::placement::{Placer, check_manual, new_partition};
use super::refusal::{Refusal, answer};
use super::{Active, RECORDS_MAX};
use crate::image::Partition;

impl Active {
    pub(super) fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        permits: &mut Permits,
        random: &mut Random,
    ) -> (Vec<MetadataRecord>, CreatePartitionsResponse) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        request.topics.iter().for_each(|topic| *counts.entry(&topic.name).or_default() += 1);
        let mut records = Vec::new();
        let mut results = Vec::new();
        for (name, _) in counts.iter().filter(|(_, count)| **count > 1) {
            let refusal = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            results.push(topic_result(name, Err(refusal)));
        }
        for topic in request.topics.iter().filter(|topic| counts[topic.name.as_str()] == 1) {
            let added = self.add_partitions(topic, RECORDS_MAX - records.len(), permits, random);
            results.push(topic_result(&topic.name, added.map(|mut new| records.append(&mut new))));
        }
        if request.validate_only {
            records.clear();
        }
        (records, CreatePartitionsResponse { results, ..Default::default() })
    }

    fn add_partitions(
        &self,
        wanted: &CreatePartitionsTopic,
        records_max: usize,
        permits: &mut Permits,
        random: &mut Random,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let topic = self.image.topic(&wanted.name).ok_or(Refusal::bare(ErrorCode::UnknownTopicOrPartition))?;
        let present = topic.partitions.len();
        let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        let additional = match usize::try_from(wanted.count) {
            Ok(count) if count == present => return invalid(format!("Topic already has {present} partition(s).")),
            Ok(count) if count > present => count - present,
            _ => {
                return invalid(format!(
                    "The topic {} currently has {present} partition(s); {} would not be an increase.",
                    wanted.name, wanted.count
                ));
            }
        };
        if let Some(given) = wanted.assignments.as_ref().map(Vec::len).filter(|given| *given != additional) {
            let message = format!(
                "Attempted to add {additional} additional partition(s), but only {given} assignment(s) were specified."
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        permits.take(additional)?;
        if additional > records_max {
            let message = "Unable to perform excessively large batch operation.";
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        let factor = topic.partitions.values().next().map_or(0, |partition| partition.replicas.len());
        let partitions = match &wanted.assignments {
            Some(given) => {
                let given = given.iter().map(|assignment| assignment.broker_ids.as_slice()).enumerate();
                given.map(|(at, brokers)| self.partition_as_told(present + at, brokers, factor)).collect()
            }
            None => self.partitions_placed(additional, factor, random),
        }?;
        let numbered = (present as i32..).zip(&partitions);
        Ok(numbered.map(|(number, partition)| partition.to_record(topic.id, number).into()).collect())
    }

    fn partition_as_told(&self, number: usize, brokers: &[i32], factor: usize) -> Result<Partition, Refusal> {
        let replicas = check_manual(&self.image, brokers, Some(factor))?;
        new_partition(&self.image, replicas).ok_or_else(|| {
            let message = format!(
                "All brokers specified in the manual partition assignment for partition {number} are fenced or in \
                 controlled shutdown."
            );
            Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
        })
    }

    fn partitions_placed(&self, count: usize, factor: usize, random: &mut Random) -> Result<Vec<Partition>, Refusal> {
        let mut placer = Placer::new(&self.image, i16::try_from(factor).unwrap_or(i16::MAX), random)?;
        let unable = || {
            let message = format!(
                "Unable to replicate the partition {factor} time(s): All brokers are currently fenced or in controlled \
                 shutdown."
            );
            Refusal::new(ErrorCode::InvalidReplicationFactor, message)
        };
        let place = |_| {
            let replicas: Vec<NodeId> = placer.place(random);
            new_partition(&self.image, replicas).ok_or_else(unable)
        };
        (0..count).map(place).collect()
    }
}

fn topic_result(name: &str, result: Result<(), Refusal>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = answer(result);
    CreatePartitionsTopicResult { name: name.to_string(), error_code, error_message }
}
