//! The first records of a leadership. Source: `ActivationRecordsGenerator`.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Millis;
use milena_protocol::messages::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, MetadataRecord,
};
use milena_protocol::{LeaderEpoch, Offset};

use super::brokers::Session;
use super::mutations::Mutations;
use super::{Active, Options};
use crate::configs::{Kind, Values, effective};
use crate::features::{ELR_VERSION, METADATA_VERSION};
use crate::image::Image;
use crate::topic_name;

impl Active {
    pub(super) fn new(now: Millis, epoch: LeaderEpoch, image: Image, next: Offset) -> Active {
        let mut collisions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for topic in image.topics() {
            if let Some(shared) = topic_name::collision(&topic.name) {
                collisions.entry(shared).or_default().insert(topic.name.to_string());
            }
        }
        // Unfenced brokers get one session's time to be heard; fenced ones have nothing to lose.
        let sessions = image.brokers().map(|broker| (broker.id, Session::at_activation(now, broker))).collect();
        Active {
            epoch,
            image,
            next,
            collisions,
            sessions,
            mutations: Mutations::default(),
            last_decided: now,
            armed: None,
        }
    }

    /// Ends what a former leader left open. If no metadata version was ever finalized, the bootstrap records follow in
    /// one transaction and one batch: they are there all or not at all.
    pub(super) fn activation_records(
        &self,
        options: &Options,
        open_transaction: bool,
        bootstrap: Vec<MetadataRecord>,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        if open_transaction {
            records.push(AbortTransactionRecord { reason: Some("Controller failover".into()) }.into());
        }
        if self.image.feature(METADATA_VERSION) != 0 {
            return records;
        }
        records.push(BeginTransactionRecord { name: Some("Bootstrap records".into()) }.into());
        let has_elr = bootstrap.iter().any(|record| {
            matches!(record, MetadataRecord::FeatureLevel(record) if record.name == ELR_VERSION && record.feature_level > 0)
        });
        records.extend(bootstrap);
        if has_elr {
            // With eligible leader replicas the minimum must be one value for the whole cluster.
            let min_isr = effective(Kind::Broker, MIN_ISR, self.layers(options, &Values::new()));
            records.push(
                ConfigRecord {
                    resource_type: Kind::Broker.number(),
                    resource_name: String::new(),
                    name: MIN_ISR.into(),
                    value: min_isr,
                }
                .into(),
            );
        }
        records.push(EndTransactionRecord::default().into());
        records
    }
}

/// The setting that eligible leader replicas depend on.
pub(super) const MIN_ISR: &str = "min.insync.replicas";
