//! ElectLeaders: the preferred replicas lead again, or whoever is there where nobody leads (KIP-460).
//!
//! Source: `ReplicationControlManager.electLeaders`.

use milena_protocol::ErrorCode;
use milena_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use milena_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, MetadataRecord};

use super::elections::Election;
use super::refusal::{Refusal, answer};
use super::{Active, Options, RECORDS_MAX, Response};

impl Active {
    pub(super) fn elect_leaders(
        &self,
        options: &Options,
        request: &ElectLeadersRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        let decided = election(request.election_type).and_then(|election| {
            let mut records = Vec::new();
            let results = match &request.topic_partitions {
                Some(_) => self.elect_named(options, request, election, &mut records),
                None => self.elect_all(options, election, &mut records),
            };
            match records.len() > RECORDS_MAX {
                true => {
                    let message = "Unable to perform excessively large batch operation.";
                    Err(Refusal::new(ErrorCode::PolicyViolation, message))
                }
                false => Ok((records, results)),
            }
        });
        let (records, error_code, replica_election_results) = match decided {
            Ok((records, results)) => (records, 0, results),
            Err(refusal) => (Vec::new(), refusal.code.number(), refused(request, &refusal)),
        };
        let response = ElectLeadersResponse { error_code, replica_election_results, ..Default::default() };
        (records, Response::ElectLeaders(response))
    }

    fn elect_named(
        &self,
        options: &Options,
        request: &ElectLeadersRequest,
        election: Election,
        records: &mut Vec<MetadataRecord>,
    ) -> Vec<ReplicaElectionResult> {
        let mut elect = |topic: &str, number| {
            let elected = self.elect(options, topic, number, election);
            result(number, elected.map(|record| records.push(record)))
        };
        let topics = request.topic_partitions.iter().flatten();
        topics
            .map(|topic| ReplicaElectionResult {
                topic: topic.topic.clone(),
                partition_result: topic.partitions.iter().map(|number| elect(&topic.topic, *number)).collect(),
            })
            .collect()
    }

    /// Partitions that have the leader that is wanted are not told of.
    fn elect_all(
        &self,
        options: &Options,
        election: Election,
        records: &mut Vec<MetadataRecord>,
    ) -> Vec<ReplicaElectionResult> {
        let mut results = Vec::new();
        for topic in self.image.topics() {
            let elected = topic.partitions.keys().map(|number| {
                let elected = self.elect(options, &topic.name, *number, election);
                (*number, elected.map(|record| records.push(record)))
            });
            let not_needed = |refusal: &Refusal| refusal.code == ErrorCode::ElectionNotNeeded;
            let told = elected.filter(|(_, elected)| !elected.as_ref().is_err_and(not_needed));
            let partition_result = told.map(|(number, elected)| result(number, elected)).collect();
            results.push(ReplicaElectionResult { topic: topic.name.to_string(), partition_result });
        }
        results
    }

    fn elect(
        &self,
        options: &Options,
        topic: &str,
        number: i32,
        election: Election,
    ) -> Result<MetadataRecord, Refusal> {
        let unknown = |message: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
        let found = self.image.topic(topic).ok_or_else(|| unknown(format!("there is no topic {topic}")))?;
        let partition = found.partitions.get(&number);
        let partition = partition.ok_or_else(|| unknown(format!("there is no partition {topic}-{number}")))?;
        let (is_needed, unavailable) = match election {
            Election::Preferred => {
                (partition.replicas.first() != Some(&partition.leader), ErrorCode::PreferredLeaderNotAvailable)
            }
            Election::Unclean => (partition.leader.0 < 0, ErrorCode::EligibleLeadersNotAvailable),
        };
        if !is_needed {
            let message = "the partition has the leader that is asked for";
            return Err(Refusal::new(ErrorCode::ElectionNotNeeded, message));
        }
        let record = self.elected(options, found, (number, partition), election);
        record.ok_or_else(|| Refusal::new(unavailable, "the replicas that may lead are not there"))
    }
}

fn election(election_type: i8) -> Result<Election, Refusal> {
    match election_type {
        0 => Ok(Election::Preferred),
        1 => Ok(Election::Unclean),
        other => Err(Refusal::new(ErrorCode::InvalidRequest, format!("Unknown election type {other}"))),
    }
}

fn result(partition_id: i32, elected: Result<(), Refusal>) -> PartitionResult {
    let (error_code, error_message) = answer(elected);
    PartitionResult { partition_id, error_code, error_message }
}

fn refused(request: &ElectLeadersRequest, refusal: &Refusal) -> Vec<ReplicaElectionResult> {
    let topics = request.topic_partitions.iter().flatten();
    topics
        .map(|topic| ReplicaElectionResult {
            topic: topic.topic.clone(),
            partition_result: topic.partitions.iter().map(|number| result(*number, Err(refusal.clone()))).collect(),
        })
        .collect()
}
