//! DeleteTopics, by name and by id (trap 177). Source: `ControllerApis.deleteTopics`.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::messages::delete_topics_response::DeletableTopicResult;
use milena_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, MetadataRecord, RemoveTopicRecord};
use milena_protocol::{ErrorCode, Uuid};

use super::mutations::Permits;
use super::refusal::answer;
use super::{Active, Options};
use crate::configs::{Kind, Values, effective};

/// First version with topics by name or id; below are bare names.
const FIRST_WITH_IDS: i16 = 6;
/// First version whose clients know TOPIC_DELETION_DISABLED.
const FIRST_WITH_DISABLED: i16 = 3;

impl Active {
    pub(super) fn delete_topics(
        &self,
        options: &Options,
        request: &DeleteTopicsRequest,
        version: i16,
        permits: &mut Permits,
    ) -> (Vec<MetadataRecord>, DeleteTopicsResponse) {
        let mut results = Vec::new();
        let (names, ids) = asked(request, version, &mut results);
        let enabled = effective(Kind::Broker, "delete.topic.enable", self.layers(options, &Values::new()));
        if enabled.is_some_and(|value| value == "false") {
            return deletion_disabled(request, version);
        }
        let mut found: BTreeMap<Uuid, String> = BTreeMap::new();
        for id in ids.single {
            match self.image.topic_by_id(id) {
                Some(topic) => drop(found.insert(id, topic.name.to_string())),
                None => {
                    let message = "This server does not host this topic ID.";
                    results.push(result(None, id, ErrorCode::UnknownTopicId, Some(message)));
                }
            }
        }
        for name in names.single {
            match self.image.topic(&name).map(|topic| topic.id) {
                None => {
                    let message = "This server does not host this topic-partition.";
                    results.push(result(Some(name), Uuid::ZERO, ErrorCode::UnknownTopicOrPartition, Some(message)));
                }
                Some(id) if ids.repeated.contains(&id) || found.contains_key(&id) => {
                    found.remove(&id);
                    let message = "The provided topic name maps to an ID that was already supplied.";
                    results.push(result(Some(name), id, ErrorCode::InvalidRequest, Some(message)));
                }
                Some(id) => drop(found.insert(id, name)),
            }
        }
        let mut records = Vec::new();
        for (id, name) in found {
            let partitions = self.image.topic_by_id(id).map_or(0, |topic| topic.partitions.len());
            let (error_code, error_message) = answer(permits.take(partitions));
            if error_code == 0 {
                records.push(RemoveTopicRecord { topic_id: id }.into());
            }
            results.push(DeletableTopicResult { name: Some(name), topic_id: id, error_code, error_message });
        }
        (records, DeleteTopicsResponse { responses: results, ..Default::default() })
    }
}

/// What was named once, and what was named more than once.
struct Asked<T> {
    single: BTreeSet<T>,
    repeated: BTreeSet<T>,
}

impl<T: Ord + Clone> Asked<T> {
    fn new() -> Asked<T> {
        Asked { single: BTreeSet::new(), repeated: BTreeSet::new() }
    }

    fn add(&mut self, item: T) {
        if self.repeated.contains(&item) {
            return;
        }
        if !self.single.insert(item.clone()) {
            self.single.remove(&item);
            self.repeated.insert(item);
        }
    }
}

/// The names and ids asked for; what cannot be meant goes into `results` at once.
fn asked(
    request: &DeleteTopicsRequest,
    version: i16,
    results: &mut Vec<DeletableTopicResult>,
) -> (Asked<String>, Asked<Uuid>) {
    let (mut names, mut ids) = (Asked::new(), Asked::new());
    if version < FIRST_WITH_IDS {
        request.topic_names.iter().for_each(|name| names.add(name.clone()));
    }
    for topic in &request.topics {
        let refused = |message| result(topic.name.clone(), topic.topic_id, ErrorCode::InvalidRequest, Some(message));
        match (&topic.name, topic.topic_id) {
            (None, Uuid::ZERO) => results.push(refused("Neither topic name nor id were specified.")),
            (None, id) => ids.add(id),
            (Some(name), Uuid::ZERO) => names.add(name.clone()),
            (Some(_), _) => results.push(refused("You may not specify both topic name and topic id.")),
        }
    }
    let duplicate = |name, id, message| result(name, id, ErrorCode::InvalidRequest, Some(message));
    results
        .extend(names.repeated.iter().map(|name| duplicate(Some(name.clone()), Uuid::ZERO, "Duplicate topic name.")));
    results.extend(ids.repeated.iter().map(|id| duplicate(None, *id, "Duplicate topic id.")));
    (names, ids)
}

fn deletion_disabled(request: &DeleteTopicsRequest, version: i16) -> (Vec<MetadataRecord>, DeleteTopicsResponse) {
    let (code, message) = match version < FIRST_WITH_DISABLED {
        true => (ErrorCode::InvalidRequest, Some("This version does not support topic deletion.")),
        false => (ErrorCode::TopicDeletionDisabled, None),
    };
    let named = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
    let stated = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    let responses = named.chain(stated).map(|(name, id)| result(name, id, code, message)).collect();
    (Vec::new(), DeleteTopicsResponse { responses, ..Default::default() })
}

fn result(name: Option<String>, topic_id: Uuid, code: ErrorCode, message: Option<&str>) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.number(), error_message: message.map(str::to_string) }
}
