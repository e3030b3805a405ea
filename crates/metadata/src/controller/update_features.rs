//! UpdateFeatures: finalized levels go up and down, all of a request or none (KIP-584, KIP-1022).
//!
//! Source: `FeatureControlManager.updateFeatures`, `ConfigurationControlManager.updateFeatures`,
//! `QuorumController.updateFeatures`.

use std::collections::BTreeMap;

use milena_protocol::messages::update_features_response::UpdatableFeatureResult;
use milena_protocol::messages::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, NoOpRecord, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use milena_protocol::{ErrorCode, NodeId};

use super::activation::MIN_ISR;
use super::refusal::Refusal;
use super::{Active, Options, Response};
use crate::configs::{Kind, Layers, Resource, Values, effective};
use crate::features::{self, ELR_VERSION, KRAFT_FEATURE, KRAFT_VERSION, METADATA_VERSION};
use crate::image::LevelRange;
use crate::java::java_order;

/// How a level may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    SafelyDown,
    UnsafelyDown,
}

/// What is asked for one feature; `None` for a way that nobody knows.
#[derive(Debug, Clone, Copy)]
struct Update {
    level: i16,
    way: Option<Way>,
}

impl Active {
    pub(super) fn update_features(
        &self,
        options: &Options,
        request: &UpdateFeaturesRequest,
        version: i16,
    ) -> (Vec<MetadataRecord>, Response) {
        let (records, response) = match self.feature_records(options, request) {
            Err(refusal) => {
                let reason = refusal.message.unwrap_or_default();
                let message =
                    format!("The update failed for all features since the following feature had an error: {reason}");
                let error_code = refusal.code.number();
                (Vec::new(), UpdateFeaturesResponse { error_code, error_message: Some(message), ..Default::default() })
            }
            Ok(records) => {
                // From version 2 on one word says it for all.
                let results = if version <= 1 { all_done(request) } else { Vec::new() };
                (records, UpdateFeaturesResponse { error_message: None, results, ..Default::default() })
            }
        };
        (if request.validate_only { Vec::new() } else { records }, Response::UpdateFeatures(response))
    }

    /// What comes first in Java's order is refused first.
    fn feature_records(
        &self,
        options: &Options,
        request: &UpdateFeaturesRequest,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let mut updates: BTreeMap<&String, Update> = BTreeMap::new();
        let mut names = Vec::new();
        for asked in &request.feature_updates {
            let update = Update { level: asked.max_version_level, way: way(asked.upgrade_type) };
            if updates.insert(&asked.feature, update).is_none() {
                names.push(&asked.feature);
            }
        }
        let wanted = |name: &str| updates.get(&name.to_owned()).map_or_else(|| self.level(name), |update| update.level);
        let mut records = Vec::new();
        for name in java_order(names.into_iter()) {
            records.extend(self.update_feature(options.node, name, updates[name], &wanted)?);
        }
        if updates.get(&ELR_VERSION.to_owned()).is_some_and(|update| update.level > 0) {
            let mut safe = self.elr_safety_records(options);
            safe.append(&mut records);
            return Ok(safe);
        }
        Ok(records)
    }

    /// The finalized level. A quorum of one voter that can be active has it in its log, and so is always at 1.
    fn level(&self, name: &str) -> i16 {
        if name == KRAFT_VERSION { KRAFT_FEATURE.initial } else { self.image.feature(name) }
    }

    fn update_feature(
        &self,
        node: NodeId,
        name: &str,
        update: Update,
        wanted: &dyn Fn(&str) -> i16,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let Update { level, way } = update;
        let invalid = |reason: &str| invalid(format!("Invalid update version {level} for feature {name}. {reason}"));
        let way = way.ok_or_else(|| invalid("The controller does not support the given upgrade type."))?;
        if level < 0 {
            return Err(invalid("A feature version cannot be less than 0."));
        }
        self.check_supported(node, name, level).map_err(|reason| invalid(&reason))?;
        let current = self.level(name);
        if level < current && way == Way::Up {
            return Err(invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                 unsafe downgrade.",
            ));
        }
        if level > current && way != Way::Up {
            return Err(invalid("Can't downgrade to a newer version."));
        }
        match name {
            METADATA_VERSION => check_metadata_version(current, level, way)?,
            KRAFT_VERSION if level < current => return Err(invalid("Can't downgrade the version of this feature.")),
            // It stands in the quorum's control records, and there is no higher level.
            KRAFT_VERSION => return Ok((way == Way::Up).then(|| NoOpRecord::default().into())),
            _ if !features::is_known(name) => return Err(invalid(&format!("Feature {name} not found."))),
            _ => check_dependencies(name, level, wanted).map_err(|reason| invalid(&reason))?,
        }
        Ok(Some(FeatureLevelRecord { name: name.to_owned(), feature_level: level }.into()))
    }

    /// Whether this controller and every node that is registered can do it.
    fn check_supported(&self, node: NodeId, name: &str, level: i16) -> Result<(), String> {
        let own = features::supported().find(|feature| feature.name == name).map(|feature| feature.supported);
        check_range(level, &format!("Local controller {node}"), own)?;
        for broker in self.image.brokers() {
            check_range(level, &format!("Broker {}", broker.id), broker.features.get(name).copied())?;
        }
        for other in self.image.controllers().filter(|controller| controller.id != node) {
            check_range(level, &format!("Controller {}", other.id), other.features.get(name).copied())?;
        }
        Ok(())
    }

    /// With eligible leader replicas the minimum is one value for all brokers, and always set.
    fn elr_safety_records(&self, options: &Options) -> Vec<MetadataRecord> {
        let min_isr = |broker: &str, value| {
            let (resource_type, resource_name) = (Kind::Broker.number(), broker.to_owned());
            ConfigRecord { resource_type, resource_name, name: MIN_ISR.to_owned(), value }.into()
        };
        let mut records = Vec::new();
        if !self.image.config(&Resource::all_brokers()).contains_key(MIN_ISR) {
            let none = Values::new();
            let layers = Layers { own: &none, broker: &none, all_brokers: &none, file: &options.file };
            records.push(min_isr("", effective(Kind::Broker, MIN_ISR, layers)));
        }
        let of_one = |(resource, values): &(&Resource, &Values)| {
            resource.kind == Kind::Broker && !resource.name.is_empty() && values.contains_key(MIN_ISR)
        };
        records.extend(self.image.configs().filter(of_one).map(|(resource, _)| min_isr(&resource.name, None)));
        records
    }
}

fn way(upgrade_type: i8) -> Option<Way> {
    match upgrade_type {
        1 => Some(Way::Up),
        2 => Some(Way::SafelyDown),
        3 => Some(Way::UnsafelyDown),
        _ => None,
    }
}

fn check_range(level: i16, whose: &str, range: Option<LevelRange>) -> Result<(), String> {
    match range.unwrap_or(LevelRange { min: 0, max: 0 }) {
        range if range.contains(level) => Ok(()),
        LevelRange { max: 0, .. } => Err(format!("{whose} does not support this feature.")),
        LevelRange { min, max } if min == max => Err(format!("{whose} only supports versions {min}")),
        LevelRange { min, max } => Err(format!("{whose} only supports versions {min}-{max}")),
    }
}

/// Downwards only where no level on the way has changed what the records say.
fn check_metadata_version(current: i16, level: i16, way: Way) -> Result<(), Refusal> {
    if !METADATA_CHANGES.iter().any(|changed| (level + 1..=current).contains(changed)) {
        return Ok(());
    }
    let reason = match way {
        Way::UnsafelyDown => "Unsafe metadata downgrade is not supported in this version.",
        _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
    };
    Err(invalid(format!("Unsupported metadata.version downgrade from {current} to {level}. {reason}")))
}

fn check_dependencies(name: &str, level: i16, wanted: &dyn Fn(&str) -> i16) -> Result<(), String> {
    match name == ELR_VERSION && level > 0 && wanted(METADATA_VERSION) < ELR_METADATA_VERSION {
        true => Err(format!(
            "{name} could not be set to {level} because it depends on {METADATA_VERSION} level {ELR_METADATA_VERSION}"
        )),
        false => Ok(()),
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidUpdateVersion, message)
}

fn all_done(request: &UpdateFeaturesRequest) -> Vec<UpdatableFeatureResult> {
    let done = |feature: &String| UpdatableFeatureResult {
        feature: feature.clone(),
        // The name of Kafka's code 0.
        error_message: Some("NONE".to_owned()),
        ..Default::default()
    };
    request.feature_updates.iter().map(|update| done(&update.feature)).collect()
}

/// Levels of metadata.version that brought records or fields which older controllers do not know
/// (`MetadataVersion.didMetadataChange`).
const METADATA_CHANGES: &[i16] = &[7, 8, 11, 13, 14, 15, 17, 23, 30];
/// 4.0-IV1: where partitions can say who is eligible (`EligibleLeaderReplicasVersion.ELRV_1`).
const ELR_METADATA_VERSION: i16 = 23;
