//! Quotas of clients: how much somebody may do (KIP-546).

use std::collections::BTreeMap;

use milena_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use milena_protocol::messages::describe_client_quotas_request::ComponentData;
use milena_protocol::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, describe_client_quotas_response,
};

use super::Admin;
use crate::Error;

/// `DescribeClientQuotasRequest.MatchType`: the entity with this name, or the default.
const EXACT: i8 = 0;
/// See [`EXACT`].
const DEFAULT: i8 = 1;

/// Whom a quota is for: names by type (`user`, `client-id`, `ip`). Without a name it is whoever has no quota by his own.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// What is set for one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    /// Whom it is for.
    pub entity: QuotaEntity,
    /// Bounds by their keys, like `producer_byte_rate`, in the unit of each.
    pub values: BTreeMap<String, f64>,
}

impl Admin {
    /// The quotas of all entities that have the parts of `of` among theirs; without parts it is all.
    pub async fn describe_quotas(&self, of: &QuotaEntity) -> Result<Vec<Quota>, Error> {
        let components = of.iter().map(|(kind, name)| ComponentData {
            entity_type: kind.clone(),
            match_type: if name.is_some() { EXACT } else { DEFAULT },
            match_: name.clone(),
        });
        let request = DescribeClientQuotasRequest { components: components.collect(), strict: false };
        self.retried(async || {
            let answer = self.cluster.any().await?.call(&request).await?;
            Error::check_with(answer.error_code, answer.error_message.as_deref(), || "quotas".to_owned())?;
            Ok(answer.entries.unwrap_or_default().into_iter().map(quota).collect())
        })
        .await
    }

    /// Sets bounds of an entity by their keys, and removes those without a value; all or none.
    pub async fn alter_quotas(&self, of: &QuotaEntity, changes: &[(String, Option<f64>)]) -> Result<(), Error> {
        let entity = of.iter().map(|(kind, name)| EntityData { entity_type: kind.clone(), entity_name: name.clone() });
        let ops = changes.iter().map(|(key, value)| OpData {
            key: key.clone(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        });
        let entries = vec![EntryData { entity: entity.collect(), ops: ops.collect() }];
        let request = AlterClientQuotasRequest { entries, validate_only: false };
        let what = || "the quota".to_owned();
        self.retried(async || {
            let answer = self.cluster.any().await?.call(&request).await?;
            let entry = answer.entries.first().ok_or_else(|| Error::Missing { what: what() })?;
            Error::check_with(entry.error_code, entry.error_message.as_deref(), what)
        })
        .await
    }
}

fn quota(entry: describe_client_quotas_response::EntryData) -> Quota {
    Quota {
        entity: entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name)).collect(),
        values: entry.values.into_iter().map(|value| (value.key, value.value)).collect(),
    }
}
