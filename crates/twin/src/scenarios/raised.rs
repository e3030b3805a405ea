//! Features that are turned up and down while the cluster runs. One scenario after the other, and so one alone: each
//! would see what another one turns. What it does last, only a broker survives that nobody asks afterwards.

use milena_protocol::messages::update_features_request::FeatureUpdateKey;
use milena_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, ConsumerGroupHeartbeatRequest, DescribeClusterRequest, ProduceRequest,
    UnregisterBrokerRequest, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::Scenario;
use super::consumer_groups::{beat, beats, joins, shown};
use super::requests::{create, fetch, from, metadata_of, new_topic, produce, produce_bytes};
use super::transactional_ids::{Producer, describe, enter, init};
use crate::batch::Batch;
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "raised/features",
    shows: "what may be turned and what may not at each version, and groups and transactions before and after; in the \
            end the broker is unregistered",
    traps: &[139, 152],
    play: features,
}];

const UP: i8 = 1;
const SAFELY_DOWN: i8 = 2;
const UNSAFELY_DOWN: i8 = 3;

const GROUPS: &str = "group.version";
const TRANSACTIONS: &str = "transaction.version";
const ELR: &str = "eligible.leader.replicas.version";
const METADATA: &str = "metadata.version";
const QUORUM: &str = "kraft.version";

fn features(x: &mut Exchange) {
    refused(x);
    groups(x);
    transactions(x);
    replicas(x);
    metadata(x);
    unregistered(x);
}

fn update(updates: &[(&str, i16, i8)]) -> UpdateFeaturesRequest {
    let update = |(feature, max_version_level, upgrade_type): &(&str, i16, i8)| FeatureUpdateKey {
        feature: (*feature).to_owned(),
        max_version_level: *max_version_level,
        upgrade_type: *upgrade_type,
        ..Default::default()
    };
    UpdateFeaturesRequest { feature_updates: updates.iter().map(update).collect(), ..Default::default() }
}

/// What the versions that have no upgrade type can say.
fn oldest(updates: &[(&str, i16)], allow_downgrade: bool) -> UpdateFeaturesRequest {
    let updates: Vec<_> = updates.iter().map(|(name, level)| (*name, *level, UP)).collect();
    let mut request = update(&updates);
    request.feature_updates.iter_mut().for_each(|update| update.allow_downgrade = allow_downgrade);
    request
}

fn dry(request: UpdateFeaturesRequest) -> UpdateFeaturesRequest {
    UpdateFeaturesRequest { validate_only: true, ..request }
}

/// Asks, and waits until the broker says that the first feature is where it was wished.
fn turn(x: &mut Exchange, version: i16, request: &UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let before = finalized_epoch(x);
    let answer = x.ask(version, request);
    let wished = &request.feature_updates[0];
    x.wait_until(4, &versions(), |answer| level(answer, &wished.feature) == wished.max_version_level);
    let levels = x.quietly(4, &versions()).unwrap_or_default();
    let moved = levels.finalized_features_epoch > before;
    let levels = [GROUPS, TRANSACTIONS, ELR, METADATA, QUORUM].map(|name| format!("{name} {}", level(&levels, name)));
    x.found(&format!("finalized: {}; the epoch has moved: {moved}", levels.join(", ")));
    answer
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest { client_software_name: "twin".into(), client_software_version: "1".into() }
}

fn level(answer: &ApiVersionsResponse, name: &str) -> i16 {
    let found = answer.finalized_features.iter().find(|feature| feature.name == name);
    found.map_or(0, |feature| feature.max_version_level)
}

fn finalized_epoch(x: &mut Exchange) -> i64 {
    x.quietly(4, &versions()).unwrap_or_default().finalized_features_epoch
}

fn refused(x: &mut Exchange) {
    x.ask(0, &oldest(&[(GROUPS, 9)], false));
    x.ask(0, &oldest(&[(TRANSACTIONS, 0)], false));
    x.ask(0, &oldest(&[(TRANSACTIONS, 0)], true));
    let wrong = [
        ("nowhere", 1, UP),
        ("nowhere", 0, SAFELY_DOWN),
        ("", 1, UP),
        (GROUPS, 2, UP),
        (GROUPS, -1, UP),
        (GROUPS, 1, SAFELY_DOWN),
        (GROUPS, 1, UNSAFELY_DOWN),
        (GROUPS, 1, 0),
        (GROUPS, 1, 4),
        (TRANSACTIONS, 0, UP),
        (TRANSACTIONS, 3, UP),
        (METADATA, 6, UP),
        (METADATA, 31, UP),
        (METADATA, 29, UP),
        (METADATA, 29, SAFELY_DOWN),
        (METADATA, 29, UNSAFELY_DOWN),
        (METADATA, 0, SAFELY_DOWN),
        (QUORUM, 0, UP),
        (QUORUM, 0, SAFELY_DOWN),
        (QUORUM, 2, UP),
    ];
    for version in [1, 2] {
        for wrong in wrong {
            x.ask(version, &update(&[wrong]));
        }
        // One that is wrong spoils all, and of several the first of a hash table is named.
        x.ask(version, &update(&[(GROUPS, 1, UP), (TRANSACTIONS, 9, UP)]));
        x.ask(version, &update(&[("b", 1, UP), ("a", 1, UP), (TRANSACTIONS, 9, UP), (GROUPS, 9, UP)]));
        x.ask(version, &update(&[(GROUPS, 9, UP), (TRANSACTIONS, 9, UP)]));
        x.ask(version, &dry(update(&[(GROUPS, 9, UP)])));
        x.ask(version, &dry(update(&[(GROUPS, 1, UP), (TRANSACTIONS, 2, UP)])));
        x.ask(version, &dry(update(&[(QUORUM, 1, UP)])));
    }
    for version in 0..=2 {
        x.ask(version, &update(&[]));
        // Nothing moves.
        x.ask(version, &update(&[(TRANSACTIONS, 1, UP), (QUORUM, 1, UP)]));
    }
    x.ask(2, &update(&[(QUORUM, 1, SAFELY_DOWN)]));
    x.ask(2, &update(&[(TRANSACTIONS, 1, SAFELY_DOWN)]));
}

/// The new group protocol is there when it is turned on, and gone when it is turned off.
fn groups(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    let joins = |x: &mut Exchange, member| beat(x, &joins(&group, member, &[&topic])).member_epoch;
    joins(x, "m");
    turn(x, 2, &update(&[(GROUPS, 1, UP)]));
    wait_for_group(x, &group);
    let epoch = joins(x, "m");
    beat(x, &beats(&group, "m", epoch));
    shown(x, &group);
    x.ask(1, &update(&[(GROUPS, 0, UP)]));
    turn(x, 1, &update(&[(GROUPS, 0, SAFELY_DOWN)]));
    beat(x, &beats(&group, "m", epoch));
    shown(x, &group);
    turn(x, 0, &oldest(&[(GROUPS, 1)], false));
    let epoch = beat(x, &beats(&group, "m", epoch)).member_epoch;
    shown(x, &group);
    turn(x, 2, &update(&[(GROUPS, 0, UNSAFELY_DOWN)]));
    turn(x, 1, &update(&[(GROUPS, 1, UP)]));
    beat(x, &ConsumerGroupHeartbeatRequest { member_epoch: -1, ..beats(&group, "m", epoch) });
}

fn wait_for_group(x: &mut Exchange, group: &str) {
    let asked = super::offsets::fetch_new(vec![super::offsets::of_group(group, None)]);
    x.wait_until(8, &asked, |answer| answer.groups.first().is_some_and(|group| group.error_code == 0));
}

fn written(topic: &Topic, producer: &Producer, partition: i32, sequence: i32) -> ProduceRequest {
    let batch = Batch { attributes: 0x10, ..Batch::of(&["a"]).by(producer.id, producer.epoch, sequence) };
    let transactional_id = Some(producer.transactional_id.clone());
    ProduceRequest { transactional_id, ..produce_bytes(topic, &[(partition, batch.records())]) }
}

/// A transaction that is open across the change ends; later ones have an epoch each, and again not.
fn transactions(x: &mut Exchange) {
    let topic = x.topic("a", 2, &[]);
    let mut producer = enter(x, "t", 60_000);
    let state = describe(&[&producer.transactional_id]);
    x.ask(3, &producer.add(&[(&topic, &[0])]));
    x.ask(11, &written(&topic, &producer, 0, 0));
    turn(x, 2, &update(&[(TRANSACTIONS, 2, UP)]));
    x.ask(11, &written(&topic, &producer, 0, 1));
    x.ask(4, &producer.end(true));
    producer.at_rest(x);
    x.ask(0, &state);
    x.ask(12, &written(&topic, &producer, 1, 0));
    let ended = x.ask(5, &producer.end(true));
    producer.at_rest(x);
    x.ask(0, &state);
    producer = Producer { epoch: ended.producer_epoch, ..producer };
    x.ask(12, &written(&topic, &producer, 1, 0));
    x.ask(2, &update(&[(TRANSACTIONS, 1, UP)]));
    turn(x, 2, &update(&[(TRANSACTIONS, 1, SAFELY_DOWN)]));
    x.ask(12, &written(&topic, &producer, 1, 1));
    let ended = x.ask(5, &producer.end(false));
    producer.at_rest(x);
    x.ask(0, &state);
    producer = Producer { epoch: ended.producer_epoch, ..producer };
    x.ask(3, &producer.add(&[(&topic, &[0])]));
    x.ask(11, &written(&topic, &producer, 0, 0));
    x.ask(4, &producer.end(true));
    producer.at_rest(x);
    x.ask(4, &init(&producer.transactional_id));
    x.ask(0, &state);
    x.ask(12, &fetch(&topic, vec![from(0, 0), from(1, 0)]));
}

/// Eligible leader replicas go, and come back with the minimum that they need.
fn replicas(x: &mut Exchange) {
    turn(x, 2, &update(&[(ELR, 0, SAFELY_DOWN)]));
    turn(x, 2, &update(&[(ELR, 1, UP)]));
    x.ask(2, &update(&[(ELR, 1, UP)]));
}

fn metadata(x: &mut Exchange) {
    turn(x, 2, &update(&[(METADATA, 30, UP)]));
    turn(x, 1, &update(&[(METADATA, 30, SAFELY_DOWN), (GROUPS, 1, UP)]));
}

/// A broker that lives goes without being told, and its partitions with it.
fn unregistered(x: &mut Exchange) {
    let topic = x.topic("u", 1, &[]);
    x.ask(11, &produce(&topic, &Batch::of(&["before"])));
    x.ask(0, &UnregisterBrokerRequest { broker_id: 1 });
    x.wait_until(2, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() }, |answer| {
        answer.brokers.is_empty()
    });
    x.ask(0, &UnregisterBrokerRequest { broker_id: 1 });
    x.ask(2, &DescribeClusterRequest { endpoint_type: 1, include_fenced_brokers: true, ..Default::default() });
    x.ask(12, &metadata_of(&[&topic.name]));
    x.ask(11, &produce(&topic, &Batch::of(&["after"])));
    // From version 11 on any replica will do.
    for version in [10, 12] {
        x.ask(version, &fetch(&topic, vec![from(0, 0)]));
    }
    x.ask(7, &create(vec![new_topic(&x.name("v"), 1, 1)]));
}
