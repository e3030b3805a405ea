//! AlterConfigs and IncrementalAlterConfigs (traps 167, 168).
//!
//! Source: `ConfigAdminManager.preprocess`, `ConfigurationControlManager`.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as LegacyResult;
use milena_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use milena_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResult;
use milena_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, ClearElrRecord, ConfigRecord, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, MetadataRecord,
};
use milena_protocol::{ErrorCode, NodeId};

use super::activation::MIN_ISR;
use super::refusal::{Refusal, answer};
use super::{Active, Options, Response};
use crate::configs::{Kind, Layers, Resource, Type, Values, check_together, find, validate_resource};
use crate::features::ELR_VERSION;

/// Longest value, in UTF-16 units as Java counts them.
const VALUE_LENGTH_MAX: usize = i16::MAX as usize;

/// New values by name; `None` removes.
type Alteration = BTreeMap<String, Option<String>>;

impl Active {
    pub(super) fn incremental_alter_configs(
        &self,
        options: &Options,
        request: &IncrementalAlterConfigsRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        let key = |number: i8, name: &str| (number, name.to_string());
        let repeated = repeated(request.resources.iter().map(|it| key(it.resource_type, &it.resource_name)));
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for asked in &request.resources {
            let (number, name) = (asked.resource_type, asked.resource_name.as_str());
            let result = resource(number, name, repeated.contains(&key(number, name))).and_then(|resource| {
                check_operations(&asked.configs)?;
                let alteration = self.operations(&resource, &asked.configs)?;
                self.alter(options, &resource, &alteration)
            });
            let (error_code, error_message) = answer(result.map(|mut new| records.append(&mut new)));
            let resource_name = name.to_string();
            responses.push(IncrementalResult { error_code, error_message, resource_type: number, resource_name });
        }
        let records = self.finish(records, request.validate_only);
        let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
        (records, Response::IncrementalAlterConfigs(response))
    }

    pub(super) fn alter_configs(
        &self,
        options: &Options,
        request: &AlterConfigsRequest,
    ) -> (Vec<MetadataRecord>, Response) {
        let key = |number: i8, name: &str| (number, name.to_string());
        let repeated = repeated(request.resources.iter().map(|it| key(it.resource_type, &it.resource_name)));
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for asked in &request.resources {
            let (number, name) = (asked.resource_type, asked.resource_name.as_str());
            let result = resource(number, name, repeated.contains(&key(number, name))).and_then(|resource| {
                check_names(asked.configs.iter().map(|config| config.name.as_str()))?;
                let nulls = asked.configs.iter().filter(|config| config.value.is_none());
                refuse_nulls(nulls.map(|config| config.name.as_str()))?;
                let old = self.image.config(&resource).keys().map(|name| (name.clone(), None));
                let new = asked.configs.iter().map(|config| (config.name.clone(), config.value.clone()));
                self.alter(options, &resource, &old.chain(new).collect())
            });
            let (error_code, error_message) = answer(result.map(|mut new| records.append(&mut new)));
            let resource_name = name.to_string();
            responses.push(LegacyResult { error_code, error_message, resource_type: number, resource_name });
        }
        let records = self.finish(records, request.validate_only);
        (records, Response::AlterConfigs(AlterConfigsResponse { responses, ..Default::default() }))
    }

    /// What the operations add up to.
    fn operations(&self, resource: &Resource, configs: &[AlterableConfig]) -> Result<Alteration, Refusal> {
        let current = self.image.config(resource);
        let mut alteration = Alteration::new();
        for config in configs {
            let given = config.value.clone().unwrap_or_default();
            let value = match config.config_operation {
                SET => Some(given),
                DELETE => None,
                operation => {
                    let setting = find(resource.kind, &config.name).filter(|setting| setting.kind == Type::List);
                    let Some(setting) = setting else {
                        let verb = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
                        let message = format!("Can't {verb} to key {} because its type is not LIST.", config.name);
                        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
                    };
                    let now = current.get(&config.name).map(String::as_str).or(setting.default).unwrap_or_default();
                    Some(changed_list(now, &given, operation))
                }
            };
            alteration.insert(config.name.clone(), value);
        }
        Ok(alteration)
    }

    /// The records of an alteration, if the resource may be so afterwards.
    fn alter(
        &self,
        options: &Options,
        resource: &Resource,
        alteration: &Alteration,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let current = self.image.config(resource);
        let mut after = current.clone();
        let mut records = Vec::new();
        for (name, value) in alteration {
            self.check_min_isr(resource, name, value.as_deref())?;
            match value {
                Some(value) => drop(after.insert(name.clone(), value.clone())),
                None => drop(after.remove(name)),
            }
            // Brokers read their files again at each of their records, so that theirs are written in any case.
            if current.get(name) != value.as_ref() || resource.kind == Kind::Broker {
                let (resource_type, resource_name) = (resource.kind.number(), resource.name.clone());
                let record = ConfigRecord { resource_type, resource_name, name: name.clone(), value: value.clone() };
                records.push(record.into());
            }
        }
        check_sizes(&after)?;
        validate_resource(resource, &after, self.layers(options, &after))?;
        self.check_broker(options, resource, &after)?;
        self.check_exists(resource)?;
        Ok(records)
    }

    /// With eligible leader replicas the minimum is one value for all brokers, and always set.
    fn check_min_isr(&self, resource: &Resource, name: &str, value: Option<&str>) -> Result<(), Refusal> {
        if name != MIN_ISR || resource.kind != Kind::Broker || self.image.feature(ELR_VERSION) == 0 {
            return Ok(());
        }
        let refuse = |message: &str| Err(Refusal::new(ErrorCode::InvalidConfig, message));
        match value {
            _ if !resource.name.is_empty() => {
                refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
            }
            None => refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled."),
            Some(_) => Ok(()),
        }
    }

    /// Whether this node could run with it. What stands in the files of others is not known here.
    fn check_broker(&self, options: &Options, resource: &Resource, after: &Values) -> Result<(), Refusal> {
        let before = self.layers(options, after);
        let after = match resource {
            resource if *resource == Resource::all_brokers() => Layers { all_brokers: after, ..before },
            resource if *resource == Resource::broker(options.node) => Layers { broker: after, ..before },
            _ => return Ok(()),
        };
        Ok(check_together(before, after)?)
    }

    fn check_exists(&self, resource: &Resource) -> Result<(), Refusal> {
        let name = &resource.name;
        match resource.kind {
            Kind::Topic if self.image.topic(name).is_none() => {
                let message = format!("The topic '{name}' does not exist.");
                Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message))
            }
            Kind::Broker if !name.is_empty() => {
                let id = name.parse().map(NodeId).unwrap_or(NodeId::NONE);
                let known = self.image.broker(id).is_some() || self.image.controllers().any(|node| node.id == id);
                let message = format!("No node with id {name} found.");
                if known { Ok(()) } else { Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message)) }
            }
            _ => Ok(()),
        }
    }

    /// A changed minimum makes what was known of eligible leaders void.
    fn finish(&self, mut records: Vec<MetadataRecord>, validate_only: bool) -> Vec<MetadataRecord> {
        if validate_only {
            return Vec::new();
        }
        let mut cleared: Vec<MetadataRecord> = Vec::new();
        for record in records.iter().filter(|_| self.image.feature(ELR_VERSION) > 0) {
            if let MetadataRecord::Config(record) = record
                && record.name == MIN_ISR
            {
                let is_topic = record.resource_type == Kind::Topic.number();
                let topic_name = if is_topic { record.resource_name.clone() } else { String::new() };
                cleared.push(ClearElrRecord { topic_name }.into());
            }
        }
        records.append(&mut cleared);
        records
    }
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn check_sizes(values: &Values) -> Result<(), Refusal> {
    match values.values().any(|value| value.encode_utf16().count() > VALUE_LENGTH_MAX) {
        true => Err(Refusal::new(
            ErrorCode::InvalidConfig,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        )),
        false => Ok(()),
    }
}

fn repeated(keys: impl Iterator<Item = (i8, String)>) -> BTreeSet<(i8, String)> {
    let mut seen = BTreeSet::new();
    keys.filter_map(|key| seen.replace(key)).collect()
}

fn resource(number: i8, name: &str, is_repeated: bool) -> Result<Resource, Refusal> {
    if is_repeated {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."));
    }
    match Kind::from_number(number) {
        Some(kind) => Ok(Resource { kind, name: name.to_string() }),
        None => Err(Refusal::new(ErrorCode::InvalidRequest, format!("Unknown resource type {number}"))),
    }
}

fn check_operations(configs: &[AlterableConfig]) -> Result<(), Refusal> {
    check_names(configs.iter().map(|config| config.name.as_str()))?;
    let nulls = configs.iter().filter(|config| config.config_operation != DELETE && config.value.is_none());
    refuse_nulls(nulls.map(|config| config.name.as_str()))?;
    match configs.iter().find(|config| !(SET..=SUBTRACT).contains(&config.config_operation)) {
        Some(config) => {
            let message = format!("Unknown operation type {}", config.config_operation);
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
        None => Ok(()),
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut names: Vec<&str> = names.collect();
    names.sort();
    match names.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(Refusal::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys")),
        false => Ok(()),
    }
}

fn refuse_nulls<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let names: Vec<&str> = names.collect();
    match names.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("Null value not supported for : {}", names.join(", "));
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
    }
}

fn changed_list(now: &str, given: &str, operation: i8) -> String {
    let mut words: Vec<&str> = now.split(',').filter(|word| !word.is_empty()).collect();
    for word in given.split(',') {
        let place = words.iter().position(|known| *known == word);
        match (operation, place) {
            (APPEND, None) => words.push(word),
            (SUBTRACT, Some(place)) => drop(words.remove(place)),
            _ => {}
        }
    }
    words.join(",")
}
