//! AlterClientQuotas: which quotas may be set, for whom, and to what.
//!
//! Source: `ClientQuotaControlManager`, `AlterClientQuotasRequest.entries`.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::messages::alter_client_quotas_request::{EntryData as Asked, OpData};
use milena_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use milena_protocol::messages::client_quota_record::EntityData as RecordEntity;
use milena_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, ClientQuotaRecord, MetadataRecord,
};

use super::refusal::{Refusal, answer};
use super::{Active, RECORDS_MAX, Response};
use crate::image::QuotaEntity;
use crate::quotas::{
    CLIENT_ID, CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, IP, PRODUCER_BYTE_RATE,
    REQUEST_PERCENTAGE, USER,
};

/// How far a value that must be whole may be from that.
const FRACTION_MAX: f64 = 1e-6;

impl Active {
    /// `unresolved` are the hosts among the entities that have no address: the shell has looked.
    pub(super) fn alter_client_quotas(
        &self,
        request: &AlterClientQuotasRequest,
        unresolved: &BTreeSet<String>,
    ) -> (Vec<MetadataRecord>, Response) {
        let mut records = Vec::new();
        let mut results: Vec<(QuotaEntity, Result<(), Refusal>)> = Vec::new();
        for asked in &request.entries {
            let entity = entity_of(asked);
            let known = results.iter().position(|(known, _)| *known == entity);
            if known.is_some() || repeats_a_key(&asked.ops) {
                // What the first of them did stays done; its answer does not.
                let message = format!("Ignoring duplicate entity {}", Shown(&entity));
                let refused = Err(Refusal::new(ErrorCode::InvalidRequest, message));
                match known {
                    Some(place) => results[place].1 = refused,
                    None => results.push((entity, refused)),
                }
                continue;
            }
            let altered = self.alter_quotas_of(&entity, &asked.ops, unresolved);
            results.push((entity, altered.map(|mut new| records.append(&mut new))));
        }
        if records.len() > RECORDS_MAX {
            return refused(request, ErrorCode::PolicyViolation);
        }
        if request.validate_only {
            records.clear();
        }
        let entries = results.into_iter().map(|(entity, result)| entry(entity, result)).collect();
        (records, Response::AlterClientQuotas(AlterClientQuotasResponse { entries, ..Default::default() }))
    }

    fn alter_quotas_of(
        &self,
        entity: &QuotaEntity,
        ops: &[OpData],
        unresolved: &BTreeSet<String>,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        check_names(entity)?;
        let keys = keys_of(entity, unresolved)?;
        const NOTHING: &BTreeMap<String, f64> = &BTreeMap::new();
        let current = self.image.quotas().get(entity).unwrap_or(NOTHING);
        let mut records = Vec::new();
        for op in ops {
            let now = current.get(&op.key);
            let is_news = if op.remove {
                now.is_some()
            } else {
                check_value(keys, &op.key, op.value)?;
                // As Java compares doubles.
                now.map(|now| now.to_bits()) != Some(op.value.to_bits())
            };
            if is_news {
                records.push(record(entity, op));
            }
        }
        Ok(records)
    }
}

/// A type that stands twice has the name that came last.
fn entity_of(asked: &Asked) -> QuotaEntity {
    asked.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect()
}

fn repeats_a_key(ops: &[OpData]) -> bool {
    let mut seen = BTreeSet::new();
    !ops.iter().all(|op| seen.insert(&op.key))
}

fn invalid<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidRequest, message))
}

fn check_names(entity: &QuotaEntity) -> Result<(), Refusal> {
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_ref().is_some_and(String::is_empty) {
            return invalid(format!("Empty {kind} not supported"));
        }
    }
    Ok(())
}

/// The largest value of a key.
#[derive(Clone, Copy)]
enum Range {
    Double,
    Int,
    Long,
}

/// What may be set for users and client ids.
const CLIENT_KEYS: &[(&str, Range)] = &[
    (PRODUCER_BYTE_RATE, Range::Long),
    (CONSUMER_BYTE_RATE, Range::Long),
    (REQUEST_PERCENTAGE, Range::Double),
    (CONTROLLER_MUTATION_RATE, Range::Double),
];
/// What may be set for addresses.
const IP_KEYS: &[(&str, Range)] = &[(CONNECTION_CREATION_RATE, Range::Int)];

fn keys_of(entity: &QuotaEntity, unresolved: &BTreeSet<String>) -> Result<&'static [(&'static str, Range)], Refusal> {
    let is_of_client = entity.contains_key(USER) || entity.contains_key(CLIENT_ID);
    match entity.get(IP) {
        Some(_) if is_of_client => invalid(
            // Kafka's text lacks the blank.
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        ),
        Some(Some(ip)) if unresolved.contains(ip) => invalid(format!("{ip} is not a valid IP or resolvable host.")),
        Some(_) => Ok(IP_KEYS),
        None if is_of_client => Ok(CLIENT_KEYS),
        None => invalid("Invalid empty client quota entity"),
    }
}

fn check_value(keys: &[(&str, Range)], key: &str, value: f64) -> Result<(), Refusal> {
    let Some((_, range)) = keys.iter().find(|(known, _)| *known == key) else {
        return invalid(format!("Invalid configuration key {key}"));
    };
    if value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    let (largest, kind) = match range {
        Range::Double => return Ok(()),
        Range::Int => (f64::from(i32::MAX), "an INT"),
        Range::Long => (i64::MAX as f64, "a LONG"),
    };
    if value > largest {
        return invalid(format!("Proposed value for {key} is too large for {kind}."));
    }
    match (value % 1.0).abs() > FRACTION_MAX {
        true => invalid(format!("{key} cannot be a fractional value.")),
        false => Ok(()),
    }
}

fn record(entity: &QuotaEntity, op: &OpData) -> MetadataRecord {
    let part = |(kind, name): (&String, &Option<String>)| RecordEntity {
        entity_type: kind.clone(),
        entity_name: name.clone(),
    };
    // A removal keeps the field's default.
    let value = if op.remove { 0.0 } else { op.value };
    let entity = entity.iter().map(part).collect();
    ClientQuotaRecord { entity, key: op.key.clone(), value, remove: op.remove }.into()
}

fn entry(entity: QuotaEntity, result: Result<(), Refusal>) -> EntryData {
    let part = |(entity_type, entity_name)| EntityData { entity_type, entity_name };
    let (error_code, error_message) = answer(result);
    EntryData { error_code, error_message, entity: entity.into_iter().map(part).collect() }
}

/// Every entry has the error of the whole.
fn refused(request: &AlterClientQuotasRequest, code: ErrorCode) -> (Vec<MetadataRecord>, Response) {
    let message = "Unable to perform excessively large batch operation.";
    let refused = |asked: &Asked| entry(entity_of(asked), Err(Refusal::new(code, message)));
    let entries = request.entries.iter().map(refused).collect();
    (Vec::new(), Response::AlterClientQuotas(AlterClientQuotasResponse { entries, ..Default::default() }))
}

/// An entity as Java shows it: in the order of its hash table.
struct Shown<'a>(&'a QuotaEntity);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |kind: &str| [CLIENT_ID, USER, IP].iter().position(|known| *known == kind);
        let mut parts: Vec<_> = self.0.iter().collect();
        parts.sort_by_key(|(kind, _)| place(kind).unwrap_or(usize::MAX));
        f.write_str("ClientQuotaEntity(entries={")?;
        for (index, (kind, name)) in parts.into_iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{kind}={}", name.as_deref().unwrap_or("null"))?;
        }
        f.write_str("})")
    }
}
