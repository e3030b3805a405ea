//! Settings of topics, brokers, groups and client-metrics subscriptions.

use std::collections::BTreeSet;

use milena_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest, describe_configs_request,
    describe_configs_response, incremental_alter_configs_request,
};

use super::Admin;
use crate::Error;
use crate::cluster::Lane;
use crate::transport::{Connection, TransportError};
use milena_protocol::NodeId;

/// `ConfigResource.Type` of subscriptions.
const CLIENT_METRICS: i8 = 16;

/// Whose settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic's.
    Topic(String),
    /// One broker's.
    Broker(NodeId),
    /// The default of all brokers.
    Brokers,
    /// A group's (KIP-848).
    Group(String),
    /// A subscription's: which metrics clients are asked for (KIP-714).
    ClientMetrics(String),
}

impl ConfigResource {
    /// Its number and name on the wire (`ConfigResource.Type`).
    fn wire(&self) -> (i8, String) {
        match self {
            ConfigResource::Topic(name) => (2, name.clone()),
            ConfigResource::Broker(node) => (4, node.to_string()),
            ConfigResource::Brokers => (4, String::new()),
            ConfigResource::Group(name) => (32, name.clone()),
            ConfigResource::ClientMetrics(name) => (CLIENT_METRICS, name.clone()),
        }
    }

    fn describe(&self) -> String {
        match self {
            ConfigResource::Topic(name) => format!("topic \"{name}\""),
            ConfigResource::Broker(node) => format!("broker {node}"),
            ConfigResource::Brokers => "the brokers' default".to_owned(),
            ConfigResource::Group(name) => format!("group \"{name}\""),
            ConfigResource::ClientMetrics(name) => format!("client-metrics subscription \"{name}\""),
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefault,
    /// In the broker's file.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// Set on the client-metrics subscription.
    ClientMetrics,
    /// Set on the group.
    Group,
    /// Something newer than this client.
    Other(i8),
}

impl ConfigSource {
    /// By `DescribeConfigsResponse.ConfigSource`.
    fn from_number(number: i8) -> ConfigSource {
        match number {
            1 => ConfigSource::Topic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefault,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            7 => ConfigSource::ClientMetrics,
            8 => ConfigSource::Group,
            other => ConfigSource::Other(other),
        }
    }

    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            ConfigSource::Topic => "topic",
            ConfigSource::DynamicBroker => "broker",
            ConfigSource::DynamicDefault => "brokers",
            ConfigSource::StaticBroker => "file",
            ConfigSource::Default => "default",
            ConfigSource::ClientMetrics => "client-metrics",
            ConfigSource::Group => "group",
            ConfigSource::Other(_) => "other",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's name.
    pub name: String,
    /// Its value; secrets are null.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it can only be set before the start.
    pub is_read_only: bool,
    /// Whether it is a secret.
    pub is_sensitive: bool,
}

/// What to do with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Give it a value.
    Set(String),
    /// Back to what is inherited.
    Delete,
    /// Add to a list.
    Append(String),
    /// Take from a list.
    Subtract(String),
}

impl Admin {
    /// All settings of a resource, in the broker's order.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, Error> {
        let (resource_type, resource_name) = resource.wire();
        let request = DescribeConfigsRequest {
            resources: vec![describe_configs_request::DescribeConfigsResource {
                resource_type,
                resource_name,
                configuration_keys: None,
            }],
            ..Default::default()
        };
        self.retried(async || {
            let answer = self.at(resource).await?.call(&request).await?;
            let what = || resource.describe();
            let result = answer.results.into_iter().next().ok_or_else(|| Error::Missing { what: what() })?;
            Error::check_with(result.error_code, result.error_message.as_deref(), what)?;
            Ok(result.configs.into_iter().map(entry).collect())
        })
        .await
    }

    /// Changes settings of a resource, all or none (KIP-339).
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(String, ConfigChange)],
    ) -> Result<(), Error> {
        let (resource_type, resource_name) = resource.wire();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                resource_type,
                resource_name,
                configs: changes.iter().map(|(name, change)| alteration(name, change)).collect(),
            }],
            validate_only: false,
        };
        self.retried(async || {
            let answer = self.at(resource).await?.call(&request).await?;
            let what = || resource.describe();
            let result = answer.responses.first().ok_or_else(|| Error::Missing { what: what() })?;
            Error::check_with(result.error_code, result.error_message.as_deref(), what)
        })
        .await
    }

    /// Names of the client-metrics subscriptions that have settings, sorted.
    pub async fn list_client_metrics(&self) -> Result<Vec<String>, Error> {
        let typed = ListConfigResourcesRequest { resource_types: vec![CLIENT_METRICS] };
        self.retried(async || {
            let connection = self.cluster.any().await?;
            let answer = match connection.call(&typed).await {
                // Before version 1 there is nothing else to list, and no word for it (KIP-1142).
                Err(TransportError::Encode(_)) => connection.call(&ListConfigResourcesRequest::default()).await?,
                answered => answered?,
            };
            Error::check(answer.error_code, || "the list of client-metrics subscriptions".to_owned())?;
            let listed = answer.config_resources.into_iter().map(|resource| resource.resource_name);
            Ok(listed.collect::<BTreeSet<String>>().into_iter().collect())
        })
        .await
    }

    /// A single broker must be asked itself (trap 163), everything else can be asked anywhere.
    async fn at(&self, resource: &ConfigResource) -> Result<Connection, Error> {
        match resource {
            ConfigResource::Broker(node) => {
                self.check_broker(*node).await?;
                self.cluster.connection(*node, Lane::Requests).await
            }
            _ => self.cluster.any().await,
        }
    }
}

fn entry(result: describe_configs_response::DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: result.name,
        value: result.value,
        source: ConfigSource::from_number(result.config_source),
        is_read_only: result.read_only,
        is_sensitive: result.is_sensitive,
    }
}

fn alteration(name: &str, change: &ConfigChange) -> incremental_alter_configs_request::AlterableConfig {
    let (config_operation, value) = match change {
        ConfigChange::Set(value) => (0, Some(value.clone())),
        ConfigChange::Delete => (1, None),
        ConfigChange::Append(value) => (2, Some(value.clone())),
        ConfigChange::Subtract(value) => (3, Some(value.clone())),
    };
    incremental_alter_configs_request::AlterableConfig { name: name.to_owned(), config_operation, value }
}
