//! Topics and partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, create_partitions_request,
    create_topics_request, delete_topics_request,
};

use super::{Admin, CHANGE_TIMEOUT_MS};
use crate::Error;
use crate::cluster::{TopicView, Topics};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` is the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None` is the broker's default.
    pub replication_factor: Option<i16>,
    /// Settings that differ from the broker's.
    pub configs: BTreeMap<String, String>,
}

impl Admin {
    /// Creates a topic. When this returns the controller knows it; brokers learn of it within moments.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), Error> {
        let config = |(name, value): (&String, &String)| create_topics_request::CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
        };
        let request = CreateTopicsRequest {
            topics: vec![create_topics_request::CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                configs: topic.configs.iter().map(config).collect(),
                ..Default::default()
            }],
            timeout_ms: CHANGE_TIMEOUT_MS,
            validate_only: false,
        };
        self.retried(async || {
            let answer = self.cluster.any().await?.call(&request).await?;
            let what = || format!("topic \"{}\"", topic.name);
            let result = answer.topics.first().ok_or_else(|| Error::Missing { what: what() })?;
            check(result.error_code, result.error_message.as_deref(), answer.throttle_time_ms, what)
        })
        .await
    }

    /// Deletes a topic with its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.retried(async || {
            let connection = self.cluster.any().await?;
            let by_state = connection.newest_common::<DeleteTopicsRequest>()? >= 6;
            let state = delete_topics_request::DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
            let request = DeleteTopicsRequest {
                topics: if by_state { vec![state] } else { Vec::new() },
                topic_names: if by_state { Vec::new() } else { vec![name.to_owned()] },
                timeout_ms: CHANGE_TIMEOUT_MS,
            };
            let answer = connection.call(&request).await?;
            let what = || format!("topic \"{name}\"");
            let result = answer.responses.first().ok_or_else(|| Error::Missing { what: what() })?;
            check(result.error_code, result.error_message.as_deref(), answer.throttle_time_ms, what)
        })
        .await
    }

    /// Gives a topic more partitions: `count` is their new number.
    pub async fn create_partitions(&self, name: &str, count: i32) -> Result<(), Error> {
        let request = CreatePartitionsRequest {
            topics: vec![create_partitions_request::CreatePartitionsTopic {
                name: name.to_owned(),
                count,
                assignments: None,
            }],
            timeout_ms: CHANGE_TIMEOUT_MS,
            validate_only: false,
        };
        self.retried(async || {
            let answer = self.cluster.any().await?.call(&request).await?;
            let what = || format!("topic \"{name}\"");
            let result = answer.results.first().ok_or_else(|| Error::Missing { what: what() })?;
            check(result.error_code, result.error_message.as_deref(), answer.throttle_time_ms, what)
        })
        .await
    }

    /// One topic as it is now. Errors with UNKNOWN_TOPIC_OR_PARTITION at once if there is none; it is not created.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicView, Error> {
        let view = self.retried(async || self.cluster.refresh(Topics::All).await).await?;
        view.topics.get(name).cloned().ok_or_else(|| Error::Refused {
            what: format!("topic \"{name}\""),
            code: ErrorCode::UnknownTopicOrPartition,
            message: None,
        })
    }

    /// All topics.
    pub async fn list_topics(&self) -> Result<Vec<TopicView>, Error> {
        let view = self.retried(async || self.cluster.refresh(Topics::All).await).await?;
        Ok(view.topics.values().cloned().collect())
    }
}

/// The broker's refusal, if there is one. Of a quota's, what counts is when it ends.
fn check(code: i16, message: Option<&str>, throttle_time_ms: i32, what: impl Fn() -> String) -> Result<(), Error> {
    if ErrorCode::from_number(code) == ErrorCode::ThrottlingQuotaExceeded {
        let wait = Duration::from_millis(throttle_time_ms.max(0) as u64);
        return Err(Error::Throttled { what: what(), wait });
    }
    Error::check_with(code, message, what)
}
