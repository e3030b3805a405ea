//! What each record does to an image. Source: the `*Delta.replay` methods of Kafka's metadata module.

use std::sync::Arc;

use milena_protocol::messages::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord,
    MetadataRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RemoveTopicRecord, TopicRecord,
};
use milena_protocol::{BrokerEpoch, NodeId, ProducerId, Uuid};

use super::topic::{Partition, Topic};
use super::{Broker, Controller, Image, QuotaEntity};
use crate::configs::{Kind, Resource};
use crate::delta::{Changes, TopicChange};

impl Image {
    /// Applies one record and notes what it changed. `Err` says what does not fit; the image is then as before.
    pub(crate) fn replay(&mut self, record: &MetadataRecord, changes: &mut Changes) -> Result<(), String> {
        match record {
            MetadataRecord::Topic(record) => self.add_topic(record, changes),
            MetadataRecord::Partition(record) => self.set_partition(record, changes),
            MetadataRecord::PartitionChange(record) => self.change_partition(record, changes),
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record, changes),
            MetadataRecord::ClearElr(record) => self.clear_elr(record, changes),
            MetadataRecord::Config(record) => self.set_config(record, changes),
            MetadataRecord::FeatureLevel(record) => self.set_feature(record, changes),
            MetadataRecord::ProducerIds(record) => self.set_producer_ids(record, changes),
            MetadataRecord::ClientQuota(record) => self.set_quota(record, changes),
            MetadataRecord::RegisterBroker(record) => {
                self.set_broker(Broker::from_record(record), changes);
                Ok(())
            }
            MetadataRecord::UnregisterBroker(record) => {
                let id = NodeId(record.broker_id);
                Arc::make_mut(&mut self.brokers).remove(&id).ok_or(format!("broker {id} is not registered"))?;
                changes.brokers.insert(id);
                Ok(())
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_broker(record, changes),
            MetadataRecord::FenceBroker(record) => {
                let broker = self.broker_at(NodeId(record.id), BrokerEpoch(record.epoch))?;
                self.set_broker(Broker { fenced: true, ..broker }, changes);
                Ok(())
            }
            MetadataRecord::UnfenceBroker(record) => {
                let broker = self.broker_at(NodeId(record.id), BrokerEpoch(record.epoch))?;
                self.set_broker(Broker { fenced: false, ..broker }, changes);
                Ok(())
            }
            MetadataRecord::RegisterController(record) => {
                let controller = Controller::from_record(record);
                changes.controllers.insert(controller.id);
                Arc::make_mut(&mut self.controllers).insert(controller.id, Arc::new(controller));
                Ok(())
            }
            _ => self.replay_security(record, changes),
        }
    }

    fn replay_security(&mut self, record: &MetadataRecord, changes: &mut Changes) -> Result<(), String> {
        match record {
            MetadataRecord::AccessControlEntry(record) => {
                Arc::make_mut(&mut self.acls).insert(record.id, record.clone());
                changes.acls = true;
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                let removed = Arc::make_mut(&mut self.acls).remove(&record.id);
                removed.ok_or(format!("there is no ACL entry {}", record.id))?;
                changes.acls = true;
            }
            MetadataRecord::UserScramCredential(record) => {
                let key = (record.mechanism, record.name.clone());
                Arc::make_mut(&mut self.scram).insert(key, record.clone());
                changes.scram = true;
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                let removed = Arc::make_mut(&mut self.scram).remove(&(record.mechanism, record.name.clone()));
                removed.ok_or(format!("there is no such credential of {}", record.name))?;
                changes.scram = true;
            }
            MetadataRecord::DelegationToken(record) => {
                Arc::make_mut(&mut self.tokens).insert(record.token_id.clone(), record.clone());
                changes.tokens = true;
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                Arc::make_mut(&mut self.tokens).remove(&record.token_id);
                changes.tokens = true;
            }
            // Transactions are the loader's; the other two say nothing about the cluster.
            _ => {}
        }
        Ok(())
    }

    fn add_topic(&mut self, record: &TopicRecord, changes: &mut Changes) -> Result<(), String> {
        if self.topic(&record.name).is_some() {
            return Err(format!("topic {} exists already", record.name));
        }
        let name: Arc<str> = Arc::from(record.name.as_str());
        self.set_topic(Topic { id: record.topic_id, name, partitions: Default::default() });
        changes.note_topic(record.topic_id, &record.name, TopicChange::Created);
        Ok(())
    }

    fn set_partition(&mut self, record: &PartitionRecord, changes: &mut Changes) -> Result<(), String> {
        let mut topic = self.topic_of(record.topic_id)?;
        topic.partitions.insert(record.partition_id, Arc::new(Partition::from_record(record)?));
        changes.note_partition(topic.id, &topic.name, record.partition_id);
        self.set_topic(topic);
        Ok(())
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord, changes: &mut Changes) -> Result<(), String> {
        let mut topic = self.topic_of(record.topic_id)?;
        let Some(partition) = topic.partitions.get(&record.partition_id) else {
            return Err(format!("there is no partition {}-{}", topic.name, record.partition_id));
        };
        let changed = Arc::new(partition.changed(record)?);
        topic.partitions.insert(record.partition_id, changed);
        changes.note_partition(topic.id, &topic.name, record.partition_id);
        self.set_topic(topic);
        Ok(())
    }

    fn remove_topic(&mut self, record: &RemoveTopicRecord, changes: &mut Changes) -> Result<(), String> {
        let Some(topic) = self.topics_by_id.remove(&record.topic_id) else {
            return Err(format!("there is no topic {}", record.topic_id));
        };
        self.topics_by_name.remove(&topic.name);
        changes.note_topic(topic.id, &topic.name, TopicChange::Deleted);
        changes.note_partitions(topic.id, topic.partitions.keys().copied());
        let resource = Resource::topic(&*topic.name);
        if self.configs.remove(&resource).is_some() {
            changes.configs.insert(resource);
        }
        Ok(())
    }

    fn clear_elr(&mut self, record: &ClearElrRecord, changes: &mut Changes) -> Result<(), String> {
        let topics: Vec<Arc<Topic>> = match record.topic_name.is_empty() {
            true => self.topics().cloned().collect(),
            false => {
                let topic = self.topic(&record.topic_name);
                vec![Arc::clone(topic.ok_or(format!("there is no topic {}", record.topic_name))?)]
            }
        };
        for topic in topics {
            let has_elr = |partition: &Partition| !partition.elr.is_empty() || !partition.last_known_elr.is_empty();
            let mut cleared = Topic::clone(&topic);
            for (number, partition) in topic.partitions.iter().filter(|(_, partition)| has_elr(partition)) {
                let partition =
                    Partition { elr: Vec::new(), last_known_elr: Vec::new(), ..Partition::clone(partition) };
                cleared.partitions.insert(*number, Arc::new(partition));
                changes.note_partition(topic.id, &topic.name, *number);
            }
            self.set_topic(cleared);
        }
        Ok(())
    }

    fn topic_of(&self, id: Uuid) -> Result<Topic, String> {
        self.topic_by_id(id).map(|topic| Topic::clone(topic)).ok_or(format!("there is no topic {id}"))
    }

    fn set_topic(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.topics_by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.topics_by_id.insert(topic.id, topic);
    }

    fn set_config(&mut self, record: &ConfigRecord, changes: &mut Changes) -> Result<(), String> {
        let Some(kind) = Kind::from_number(record.resource_type) else {
            return Err(format!("settings of resource type {}", record.resource_type));
        };
        let resource = Resource { kind, name: record.resource_name.clone() };
        let mut values = self.configs.get(&resource).cloned().unwrap_or_default();
        match &record.value {
            Some(value) => drop(Arc::make_mut(&mut values).insert(record.name.clone(), value.clone())),
            None => drop(Arc::make_mut(&mut values).remove(&record.name)),
        }
        match values.is_empty() {
            true => drop(self.configs.remove(&resource)),
            false => drop(self.configs.insert(resource.clone(), values)),
        }
        changes.configs.insert(resource);
        Ok(())
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord, changes: &mut Changes) -> Result<(), String> {
        // Early releases wrote kraft.version here too; it counts in control records alone (KAFKA-18979).
        if record.name == crate::features::KRAFT_VERSION {
            return Ok(());
        }
        let features = Arc::make_mut(&mut self.features);
        match record.feature_level {
            0 => drop(features.remove(&record.name)),
            level => drop(features.insert(record.name.clone(), level)),
        }
        changes.features.insert(record.name.clone());
        Ok(())
    }

    fn set_producer_ids(&mut self, record: &ProducerIdsRecord, changes: &mut Changes) -> Result<(), String> {
        let next = ProducerId(record.next_producer_id);
        if self.next_producer_id.is_some_and(|known| next <= known) {
            return Err(format!("the next producer id moves back to {next}"));
        }
        self.next_producer_id = Some(next);
        changes.producer_ids = true;
        Ok(())
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord, changes: &mut Changes) -> Result<(), String> {
        let entity: QuotaEntity =
            record.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect();
        let quotas = Arc::make_mut(&mut self.quotas);
        let values = quotas.entry(entity.clone()).or_default();
        match record.remove {
            true => drop(values.remove(&record.key)),
            false => drop(values.insert(record.key.clone(), record.value)),
        }
        if values.is_empty() {
            quotas.remove(&entity);
        }
        changes.quotas = true;
        Ok(())
    }

    fn change_broker(&mut self, record: &BrokerRegistrationChangeRecord, changes: &mut Changes) -> Result<(), String> {
        let mut broker = self.broker_at(NodeId(record.broker_id), BrokerEpoch(record.broker_epoch))?;
        match record.fenced {
            0 => {}
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            other => return Err(format!("fenced is {other}")),
        }
        match record.in_controlled_shutdown {
            0 => {}
            1 => broker.in_controlled_shutdown = true,
            other => return Err(format!("in controlled shutdown is {other}")),
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs = record.log_dirs.clone();
        }
        if record.cordoned_log_dirs.is_some() {
            broker.cordoned_log_dirs = record.cordoned_log_dirs.clone();
        }
        self.set_broker(broker, changes);
        Ok(())
    }

    fn broker_at(&self, id: NodeId, epoch: BrokerEpoch) -> Result<Broker, String> {
        match self.broker(id) {
            None => Err(format!("broker {id} is not registered")),
            Some(broker) if broker.epoch != epoch => {
                Err(format!("broker {id} is registered at epoch {}, not {epoch}", broker.epoch))
            }
            Some(broker) => Ok(Broker::clone(broker)),
        }
    }

    fn set_broker(&mut self, broker: Broker, changes: &mut Changes) {
        changes.brokers.insert(broker.id);
        Arc::make_mut(&mut self.brokers).insert(broker.id, Arc::new(broker));
    }
}
