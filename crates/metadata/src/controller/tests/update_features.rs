use milena_protocol::messages::update_features_request::FeatureUpdateKey;

use super::*;

const UP: i8 = 1;
const SAFELY_DOWN: i8 = 2;
const UNSAFELY_DOWN: i8 = 3;
const BROKER: i8 = 4;

fn request(updates: &[(&str, i16, i8)]) -> UpdateFeaturesRequest {
    let update = |(feature, max_version_level, upgrade_type): &(&str, i16, i8)| FeatureUpdateKey {
        feature: (*feature).to_owned(),
        max_version_level: *max_version_level,
        upgrade_type: *upgrade_type,
        ..Default::default()
    };
    UpdateFeaturesRequest { feature_updates: updates.iter().map(update).collect(), ..Default::default() }
}

impl Harness {
    /// A cluster whose features stand at these levels, with its broker.
    fn former(levels: &[(&str, i16)]) -> Harness {
        let mut harness = Harness::with_brokers(1);
        for (name, level) in levels {
            harness.write(FeatureLevelRecord { name: (*name).to_owned(), feature_level: *level }.into());
        }
        harness
    }

    /// As if the controller had decided it.
    fn write(&mut self, record: MetadataRecord) {
        let at = Offset(self.records.len() as i64);
        self.controller.replay(at, &record).expect("it fits");
        self.records.push(record);
    }

    fn update_in(&mut self, version: i16, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
        let Response::UpdateFeatures(response) = self.ask(Request::UpdateFeatures { request, version }) else {
            panic!("answer")
        };
        response
    }

    /// The records that an update writes, or why there are none.
    fn update(&mut self, updates: &[(&str, i16, i8)]) -> Result<Vec<MetadataRecord>, String> {
        let before = self.records.len();
        let response = self.update_in(2, request(updates));
        let written = self.records[before..].to_vec();
        match response.error_message {
            None => Ok(written),
            Some(message) => {
                assert_eq!(response.error_code, ErrorCode::InvalidUpdateVersion.number());
                assert!(written.is_empty(), "all or none");
                let prefix = "The update failed for all features since the following feature had an error: ";
                Err(message.strip_prefix(prefix).expect("it begins so").to_owned())
            }
        }
    }
}

fn level(name: &str, feature_level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.to_owned(), feature_level }.into()
}

#[test]
fn a_level_goes_up_and_when_it_is_said_how_down() {
    let mut harness = Harness::former(&[("group.version", 0)]);
    assert_eq!(harness.update(&[("group.version", 1, UP)]), Ok(vec![level("group.version", 1)]));
    assert_eq!(harness.image().feature("group.version"), 1);
    let refused = harness.update(&[("group.version", 0, UP)]).unwrap_err();
    assert!(refused.ends_with("without setting the upgrade type to either safe or unsafe downgrade."), "{refused}");
    for way in [SAFELY_DOWN, UNSAFELY_DOWN] {
        harness.update(&[("group.version", 0, way)]).expect("down");
        assert_eq!(harness.image().feature("group.version"), 0);
        let refused = harness.update(&[("group.version", 1, way)]).unwrap_err();
        assert!(refused.ends_with("Can't downgrade to a newer version."), "{refused}");
        harness.update(&[("group.version", 1, UP)]).expect("up");
    }
}

#[test]
fn one_wrong_update_stops_all_and_java_decides_which_is_named() {
    let mut harness = Harness::former(&[("group.version", 0)]);
    let wrong = [("transaction.version", 9, UP), ("a", 1, UP), ("group.version", 1, UP)];
    // In Java's hash table 'group.version' comes first, then 'a', then 'transaction.version'.
    let expected = "Invalid update version 1 for feature a. Local controller 1 does not support this feature.";
    assert_eq!(harness.update(&wrong), Err(expected.to_owned()));
    assert_eq!(harness.image().feature("group.version"), 0);
}

#[test]
fn what_is_not_served_stays_at_0_and_what_nobody_knows_is_not_found() {
    let mut harness = Harness::former(&[]);
    assert_eq!(harness.update(&[("share.version", 0, SAFELY_DOWN)]), Ok(vec![level("share.version", 0)]));
    let refused = harness.update(&[("share.version", 1, UP)]).unwrap_err();
    assert!(refused.ends_with("Local controller 1 does not support this feature."), "{refused}");
    let refused = harness.update(&[("nowhere", 0, SAFELY_DOWN)]).unwrap_err();
    assert!(refused.ends_with("Feature nowhere not found."), "{refused}");
}

#[test]
fn a_dry_run_writes_nothing_and_refuses_the_same() {
    let mut harness = Harness::former(&[("group.version", 0)]);
    let before = harness.records.len();
    let dry = |updates| UpdateFeaturesRequest { validate_only: true, ..request(updates) };
    assert_eq!(harness.update_in(1, dry(&[("group.version", 1, UP)])).error_code, 0);
    let refused = harness.update_in(1, dry(&[("group.version", 2, UP)]));
    assert_eq!(refused.error_code, ErrorCode::InvalidUpdateVersion.number());
    assert_eq!(harness.records.len(), before);
}

#[test]
fn every_feature_is_answered_below_version_2() {
    let mut harness = Harness::former(&[]);
    let asked = request(&[("group.version", 1, UP), ("transaction.version", 2, UP)]);
    let features = |response: UpdateFeaturesResponse| -> Vec<String> {
        response.results.into_iter().map(|result| result.feature).collect()
    };
    for version in [0, 1] {
        let response = harness.update_in(version, asked.clone());
        assert_eq!(features(response), ["group.version", "transaction.version"]);
    }
    assert!(features(harness.update_in(2, asked)).is_empty());
}

#[test]
fn a_registered_broker_must_know_the_level() {
    let mut harness = Harness::former(&[("group.version", 0)]);
    let mut older = registration(2, 1);
    older.features.retain(|feature| feature.name != "group.version");
    assert_eq!(harness.register_with(older).error_code, 0);
    let expected = "Invalid update version 1 for feature group.version. Broker 2 does not support this feature.";
    assert_eq!(harness.update(&[("group.version", 1, UP)]), Err(expected.to_owned()));
}

#[test]
fn metadata_version_goes_down_only_where_the_records_stay_the_same() {
    let mut harness = Harness::former(&[("metadata.version", 29)]);
    for (from, to, is_fine) in [(29, 23, true), (23, 22, false), (23, 29, true), (29, 22, false), (29, 30, true)] {
        let way = if to < from { SAFELY_DOWN } else { UP };
        let updated = harness.update(&[("metadata.version", to, way)]);
        assert_eq!(updated.is_ok(), is_fine, "{from} to {to}: {updated:?}");
    }
    let refused = harness.update(&[("metadata.version", 29, UNSAFELY_DOWN)]).unwrap_err();
    assert_eq!(
        refused,
        "Unsupported metadata.version downgrade from 30 to 29. Unsafe metadata downgrade is not supported in this version."
    );
}

#[test]
fn eligible_leader_replicas_make_the_minimum_one_for_all_brokers() {
    let mut harness = Harness::former(&[(ELR, 0)]);
    let config = |broker: &str, value: Option<&str>| -> MetadataRecord {
        let (resource_type, name) = (BROKER, "min.insync.replicas".to_owned());
        let (resource_name, value) = (broker.to_owned(), value.map(str::to_owned));
        ConfigRecord { resource_type, resource_name, name, value }.into()
    };
    // What the activation has written is taken back, and one broker has a minimum of its own.
    harness.write(config("", None));
    harness.write(config("1", Some("3")));
    let expected = vec![config("", Some("1")), config("1", None), level(ELR, 1)];
    assert_eq!(harness.update(&[(ELR, 1, UP)]), Ok(expected));
    assert_eq!(harness.update(&[(ELR, 1, UP)]), Ok(vec![level(ELR, 1)]), "it is safe already");
}

#[test]
fn eligible_leader_replicas_need_records_that_can_name_them() {
    let mut harness = Harness::former(&[(ELR, 0), ("metadata.version", 22)]);
    let refused = harness.update(&[(ELR, 1, UP)]).unwrap_err();
    assert!(refused.ends_with(&format!("{ELR} could not be set to 1 because it depends on metadata.version level 23")));
    assert_eq!(harness.update(&[(ELR, 1, UP), ("metadata.version", 23, UP)]).map(|records| records.len()), Ok(2));
}

#[test]
fn the_quorums_own_level_stays() {
    let mut harness = Harness::former(&[]);
    assert_eq!(harness.update(&[("kraft.version", 1, UP)]), Ok(vec![NoOpRecord::default().into()]));
    assert_eq!(harness.update(&[("kraft.version", 1, SAFELY_DOWN)]), Ok(Vec::new()));
    let refused = harness.update(&[("kraft.version", 0, SAFELY_DOWN)]).unwrap_err();
    assert!(refused.ends_with("kraft.version. Can't downgrade the version of this feature."), "{refused}");
}

const ELR: &str = "eligible.leader.replicas.version";
