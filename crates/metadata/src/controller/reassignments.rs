//! AlterPartitionReassignments: replicas move to other brokers, or a move is called off (KIP-455, KIP-860).
//!
//! A move adds the new replicas behind which the old ones stay until the new ones are in sync
//! ([`super::elections`] completes it); what only changes the order, or takes replicas away, is done at once.
//!
//! Source: `ReplicationControlManager.alterPartitionReassignments`, `PartitionReassignmentReplicas`,
//! `PartitionReassignmentRevert`.

use std::sync::Arc;

use milena_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use milena_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, MetadataRecord,
};
use milena_protocol::{ErrorCode, NodeId};

use super::elections::Assignment;
use super::placement::check_manual;
use super::refusal::{Refusal, answer};
use super::{Active, Options, RECORDS_MAX, Response};
use crate::image::{Partition, Topic};

impl Active {
    pub(super) fn alter_reassignments(
        &self,
        options: &Options,
        request: &AlterPartitionReassignmentsRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        if request.topics.is_empty() {
            let response = AlterPartitionReassignmentsResponse::default();
            return (Vec::new(), Response::AlterPartitionReassignments(response));
        }
        let mut records = Vec::new();
        let keeps_factor = !request.allow_replication_factor_change;
        let mut alter = |topic: &str, wanted: &ReassignablePartition| {
            let altered = self.alter_one(options, topic, wanted, keeps_factor).and_then(|record| {
                if record.is_some() && records.len() == RECORDS_MAX {
                    let message = "Unable to perform excessively large batch operation.";
                    return Err(Refusal::new(ErrorCode::PolicyViolation, message));
                }
                records.extend(record);
                Ok(())
            });
            let (error_code, error_message) = answer(altered);
            ReassignablePartitionResponse { partition_index: wanted.partition_index, error_code, error_message }
        };
        let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|wanted| alter(&topic.name, wanted)).collect(),
        });
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            error_message: None,
            responses: responses.collect(),
            ..Default::default()
        };
        (records, Response::AlterPartitionReassignments(response))
    }

    fn alter_one(
        &self,
        options: &Options,
        name: &str,
        wanted: &ReassignablePartition,
        keeps_factor: bool,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let unknown = |message: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
        let number = wanted.partition_index;
        let topic = self.image.topic(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let partition = topic.partitions.get(&number);
        let partition = partition.ok_or_else(|| unknown(format!("Unable to find partition {name}:{number}.")))?;
        match &wanted.replicas {
            None => self.call_off(options, topic, (number, partition)),
            Some(replicas) => {
                let replicas = check_manual(&self.image, replicas, None)?;
                if keeps_factor {
                    check_factor(partition, replicas.len())?;
                }
                let isr = partition.isr.clone();
                Ok(self.reassigned(options, topic, (number, partition), assignment(partition, replicas), isr, false))
            }
        }
    }

    /// Back to the replicas that were there before the move began.
    fn call_off(
        &self,
        options: &Options,
        topic: &Arc<Topic>,
        (number, partition): (i32, &Partition),
    ) -> Result<Option<MetadataRecord>, Refusal> {
        if !partition.is_moving() {
            // What says no more than the code is not said.
            return Err(Refusal::bare(ErrorCode::NoReassignmentInProgress));
        }
        let former = |nodes: &[NodeId]| without(nodes, &partition.adding);
        let (replicas, mut isr) = (former(&partition.replicas), former(&partition.isr));
        let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        let Some(first) = replicas.first() else {
            return refuse("Invalid replica assignment: addingReplicas contains all replicas.".to_owned());
        };
        let unclean_allowed = self.allows_unclean(options, topic);
        if isr.is_empty() {
            if !unclean_allowed {
                return refuse(format!(
                    "Unable to revert partition assignment for {}:{number} because it would require an unclean leader \
                     election.",
                    topic.name
                ));
            }
            isr.push(*first);
        }
        let assignment = Assignment { replicas, removing: Vec::new(), adding: Vec::new() };
        Ok(self.reassigned(options, topic, (number, partition), assignment, isr, unclean_allowed))
    }
}

/// Those that go stay behind those that are wanted, until they may go.
fn assignment(now: &Partition, wanted: Vec<NodeId>) -> Assignment {
    let sorted = |mut nodes: Vec<NodeId>| {
        nodes.sort();
        nodes
    };
    let removing = sorted(without(&now.replicas, &wanted));
    let adding = sorted(without(&wanted, &now.replicas));
    let replicas = wanted.into_iter().chain(removing.iter().copied()).collect();
    // What is empty says nothing new about a move that is under way.
    let or = |new: Vec<NodeId>, now: &[NodeId]| if new.is_empty() { now.to_vec() } else { new };
    Assignment { replicas, removing: or(removing, &now.removing), adding: or(adding, &now.adding) }
}

fn without(nodes: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| !others.contains(node)).collect()
}

fn check_factor(partition: &Partition, wanted: usize) -> Result<(), Refusal> {
    let mut nodes: Vec<NodeId> = partition.replicas.iter().chain(&partition.adding).copied().collect();
    nodes.sort();
    nodes.dedup();
    let now = if partition.is_moving() { without(&nodes, &partition.removing).len() } else { partition.replicas.len() };
    match now == wanted {
        true => Ok(()),
        false => {
            let message = format!("The replication factor is changed from {now} to {wanted}");
            Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message))
        }
    }
}
