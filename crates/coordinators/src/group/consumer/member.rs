//! A member of a consumer group, as its records tell it: who it is, what it subscribes to, what it owns.
//!
//! Source: `ConsumerGroupMember`, `MemberState`.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::Uuid;
use milena_protocol::messages::consumer_group_current_member_assignment_value::{
    ConsumerGroupCurrentMemberAssignmentValue, TopicPartitions,
};
use milena_protocol::messages::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ConsumerGroupMemberMetadataValue,
};

/// The epoch of a member that leaves for good.
pub(super) const LEAVING: i32 = -1;
/// The epoch of a static member that will be back.
pub(super) const LEAVING_FOR_NOW: i32 = -2;

/// Partitions by topic.
pub(super) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;
/// Partitions by topic, each with the epoch at which it was given to its owner (KIP-1251).
pub(super) type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// Where a member stands on its way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// It owns what it shall own at its epoch.
    #[default]
    Stable,
    /// It has to give partitions back before it may go to the next epoch.
    Unrevoked,
    /// It waits for partitions that others have not given back.
    Unreleased,
    /// A state of a later Kafka: it must come again with nothing.
    Unknown,
}

impl State {
    fn number(self) -> i8 {
        match self {
            State::Stable => 0,
            State::Unrevoked => 1,
            State::Unreleased => 2,
            State::Unknown => 127,
        }
    }

    fn from_number(number: i8) -> State {
        match number {
            0 => State::Stable,
            1 => State::Unrevoked,
            2 => State::Unreleased,
            _ => State::Unknown,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) epoch: i32,
    /// Accepted from a member that did not hear of its epoch (trap 132).
    pub(super) previous_epoch: i32,
    pub(super) state: State,
    pub(super) instance_id: Option<String>,
    pub(super) rack_id: Option<String>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) topics: BTreeSet<String>,
    /// A regular expression; none, or an empty text, for none. Both are written as they are.
    pub(super) regex: Option<String>,
    /// The assignor that it wishes for.
    pub(super) assignor: Option<String>,
    pub(super) assigned: Owned,
    pub(super) revoking: Owned,
    /// Of a member that speaks the classic protocol.
    pub(super) classic: Option<ClassicMemberMetadata>,
}

impl Member {
    pub(super) fn new(id: &str) -> Member {
        Member {
            id: id.to_owned(),
            epoch: 0,
            previous_epoch: -1,
            state: State::Stable,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            regex: Some(String::new()),
            assignor: None,
            assigned: Owned::new(),
            revoking: Owned::new(),
            classic: None,
        }
    }

    /// The expression that it subscribes to, if any.
    pub(super) fn regex(&self) -> Option<&str> {
        self.regex.as_deref().filter(|regex| !regex.is_empty())
    }

    /// Whether it owns what it shall own at that epoch.
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == State::Stable && self.epoch == target_epoch
    }

    /// All that it holds, to be given back or not.
    pub(super) fn held(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let places = self.assigned.iter().chain(&self.revoking);
        places.flat_map(|(topic, partitions)| partitions.keys().map(|partition| (*topic, *partition)))
    }

    /// The epoch at which a partition that it holds was given to it.
    pub(super) fn assignment_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let of = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        of(&self.assigned).or_else(|| of(&self.revoking))
    }

    /// The next epoch, with the present one remembered.
    pub(super) fn advance(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// What a record says of who it is.
    pub(super) fn adopt_metadata(&mut self, value: ConsumerGroupMemberMetadataValue) {
        self.instance_id = value.instance_id;
        self.rack_id = value.rack_id;
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.topics = value.subscribed_topic_names.into_iter().collect();
        self.regex = value.subscribed_topic_regex;
        self.assignor = value.server_assignor;
        self.classic = value.classic_member_metadata;
    }

    /// What a record says of what it holds.
    pub(super) fn adopt_assignment(&mut self, value: ConsumerGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = State::from_number(value.state);
        self.assigned = owned(value.assigned_partitions, value.member_epoch);
        self.revoking = owned(value.partitions_pending_revocation, value.member_epoch);
    }

    pub(super) fn metadata_value(&self) -> ConsumerGroupMemberMetadataValue {
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.iter().cloned().collect(),
            subscribed_topic_regex: self.regex.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.clone(),
        }
    }

    pub(super) fn assignment_value(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.number(),
            assigned_partitions: topic_partitions(&self.assigned),
            partitions_pending_revocation: topic_partitions(&self.revoking),
        }
    }
}

/// Records of Kafka before 4.3 have no epochs beside the partitions: the member's own stands for them.
fn owned(topics: Vec<TopicPartitions>, member_epoch: i32) -> Owned {
    let mut owned = Owned::new();
    for topic in topics {
        let epochs = topic.assignment_epochs.filter(|epochs| epochs.len() == topic.partitions.len());
        let epochs = epochs.unwrap_or_else(|| vec![member_epoch.max(0); topic.partitions.len()]);
        owned.insert(topic.topic_id, topic.partitions.into_iter().zip(epochs).collect());
    }
    owned
}

fn topic_partitions(owned: &Owned) -> Vec<TopicPartitions> {
    let topic = |(topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)| TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
    };
    owned.iter().map(topic).collect()
}
