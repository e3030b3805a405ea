//! An image as the records that give it: what a snapshot holds, in Kafka's order.

use milena_protocol::messages::client_quota_record::EntityData;
use milena_protocol::messages::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, TopicRecord,
};

use super::Image;
use crate::features::METADATA_VERSION;

impl Image {
    /// Features (the metadata version first), brokers, controllers, topics, settings, quotas, producer ids, ACLs,
    /// SCRAM credentials, tokens. Source: `MetadataImage.write`.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records: Vec<MetadataRecord> = Vec::new();
        self.write_features(&mut records);
        records.extend(self.brokers().map(|broker| broker.to_record().into()));
        records.extend(self.controllers().map(|controller| controller.to_record().into()));
        for (_, topic) in self.topics_by_id.iter() {
            records.push(TopicRecord { name: topic.name.to_string(), topic_id: topic.id }.into());
            let partitions = topic.partitions.iter();
            records.extend(partitions.map(|(number, partition)| partition.to_record(topic.id, *number).into()));
        }
        for (resource, values) in self.configs() {
            records.extend(values.iter().map(|(name, value)| {
                let (resource_type, resource_name) = (resource.kind.number(), resource.name.clone());
                ConfigRecord { resource_type, resource_name, name: name.clone(), value: Some(value.clone()) }.into()
            }));
        }
        self.write_quotas(&mut records);
        if let Some(next) = self.next_producer_id {
            records.push(ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id: next.0 }.into());
        }
        records.extend(self.acls.values().map(|entry| entry.clone().into()));
        records.extend(self.scram.values().map(|credential| credential.clone().into()));
        records.extend(self.tokens.values().map(|token| token.clone().into()));
        records
    }

    fn write_features(&self, records: &mut Vec<MetadataRecord>) {
        let level = |(name, level): (&String, &i16)| FeatureLevelRecord { name: name.clone(), feature_level: *level };
        let is_first = |name: &&String| name.as_str() == METADATA_VERSION;
        records.extend(self.features.iter().filter(|(name, _)| is_first(name)).map(|pair| level(pair).into()));
        records.extend(self.features.iter().filter(|(name, _)| !is_first(name)).map(|pair| level(pair).into()));
    }

    fn write_quotas(&self, records: &mut Vec<MetadataRecord>) {
        for (entity, values) in self.quotas.iter() {
            let part = |(kind, name): (&String, &Option<String>)| EntityData {
                entity_type: kind.clone(),
                entity_name: name.clone(),
            };
            let entity: Vec<EntityData> = entity.iter().map(part).collect();
            records.extend(values.iter().map(|(key, value)| {
                ClientQuotaRecord { entity: entity.clone(), key: key.clone(), value: *value, remove: false }.into()
            }));
        }
    }
}
