//! DescribeClientQuotas: the quotas of an image that a filter finds.
//!
//! Source: `ClientQuotasImage.describe`.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::messages::DescribeClientQuotasRequest;
use milena_protocol::messages::describe_client_quotas_request::ComponentData;
use milena_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};

use super::{CLIENT_ID, IP, USER};
use crate::image::{Image, QuotaEntity};

/// Kinds of match on the wire.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// The quotas whose entities fit every component of the request; a strict one wants entities with no other parts. An
/// error is that of the whole request.
pub fn describe(
    image: &Image,
    request: &DescribeClientQuotasRequest,
) -> Result<impl Iterator<Item = EntryData>, (ErrorCode, String)> {
    let filter = Filter::new(request)?;
    let found = image.quotas().iter().filter(move |(entity, _)| filter.fits(entity));
    Ok(found.map(|(entity, values)| entry(entity, values)))
}

/// What is asked for, by entity type.
#[derive(Default)]
struct Filter {
    /// `None` stands for the default of the type.
    exact: BTreeMap<String, Option<String>>,
    specified: BTreeSet<String>,
    is_strict: bool,
}

impl Filter {
    fn new(request: &DescribeClientQuotasRequest) -> Result<Filter, (ErrorCode, String)> {
        let mut filter = Filter { is_strict: request.strict, ..Filter::default() };
        for component in &request.components {
            filter.add(component)?;
        }
        if filter.names(IP) && (filter.names(USER) || filter.names(CLIENT_ID)) {
            return Err(invalid(
                "Invalid entity filter component combination. IP filter component should not be used with user or \
                 clientId filter component.",
            ));
        }
        Ok(filter)
    }

    fn add(&mut self, component: &ComponentData) -> Result<(), (ErrorCode, String)> {
        let kind = &component.entity_type;
        if kind.is_empty() {
            return Err(invalid("Invalid empty entity type."));
        }
        if self.names(kind) {
            return Err(invalid(format!("Entity type {kind} cannot appear more than once in the filter.")));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err((ErrorCode::UnsupportedVersion, format!("Unsupported entity type {kind}")));
        }
        let also = |name: &str| Err(invalid(format!("Request specified {name}, but also specified a match string.")));
        match (component.match_type, &component.match_) {
            (EXACT, None) => Err(invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.")),
            (DEFAULT, Some(_)) => also("MATCH_TYPE_DEFAULT"),
            (SPECIFIED, Some(_)) => also("MATCH_TYPE_SPECIFIED"),
            (EXACT | DEFAULT, name) => {
                self.exact.insert(kind.clone(), name.clone());
                Ok(())
            }
            (SPECIFIED, None) => {
                self.specified.insert(kind.clone());
                Ok(())
            }
            (other, _) => Err(invalid(format!("Unknown match type {other}"))),
        }
    }

    fn names(&self, kind: &str) -> bool {
        self.exact.contains_key(kind) || self.specified.contains(kind)
    }

    fn fits(&self, entity: &QuotaEntity) -> bool {
        if self.is_strict && entity.len() != self.exact.len() + self.specified.len() {
            return false;
        }
        self.exact.iter().all(|(kind, name)| entity.get(kind) == Some(name))
            && self.specified.iter().all(|kind| entity.contains_key(kind))
    }
}

fn invalid(message: impl Into<String>) -> (ErrorCode, String) {
    (ErrorCode::InvalidRequest, message.into())
}

fn entry(entity: &QuotaEntity, values: &BTreeMap<String, f64>) -> EntryData {
    let part =
        |(kind, name): (&String, &Option<String>)| EntityData { entity_type: kind.clone(), entity_name: name.clone() };
    let value = |(key, value): (&String, &f64)| ValueData { key: key.clone(), value: *value };
    EntryData { entity: entity.iter().map(part).collect(), values: values.iter().map(value).collect() }
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::ClientQuotaRecord;
    use milena_protocol::messages::client_quota_record::EntityData;

    use super::*;
    use crate::delta::Changes;

    fn image() -> Image {
        let mut image = Image::default();
        let entities: [&[(&str, Option<&str>)]; 5] = [
            &[(USER, Some("u"))],
            &[(USER, None)],
            &[(USER, Some("u")), (CLIENT_ID, Some("c"))],
            &[(USER, Some("u")), (CLIENT_ID, None)],
            &[(CLIENT_ID, Some("c"))],
        ];
        for entity in entities {
            let part = |(kind, name): &(&str, Option<&str>)| EntityData {
                entity_type: (*kind).to_owned(),
                entity_name: name.map(ToOwned::to_owned),
            };
            let entity = entity.iter().map(part).collect();
            let record = ClientQuotaRecord { entity, key: "request_percentage".into(), value: 1.0, remove: false };
            image.replay(&record.into(), &mut Changes::default()).expect("it fits");
        }
        image
    }

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData { entity_type: kind.to_owned(), match_type, match_: name.map(ToOwned::to_owned) }
    }

    fn count(components: &[ComponentData], strict: bool) -> usize {
        let request = DescribeClientQuotasRequest { components: components.to_vec(), strict };
        describe(&image(), &request).expect("valid").count()
    }

    #[test]
    fn components_narrow_and_strict_ones_allow_no_other_parts() {
        let named = component(USER, EXACT, Some("u"));
        assert_eq!([count(&[], false), count(&[], true)], [5, 0]);
        assert_eq!([count(std::slice::from_ref(&named), false), count(std::slice::from_ref(&named), true)], [3, 1]);
        assert_eq!(count(&[component(USER, DEFAULT, None)], false), 1);
        assert_eq!([true, false].map(|strict| count(&[component(USER, SPECIFIED, None)], strict)), [2, 4]);
        assert_eq!(count(&[named, component(CLIENT_ID, DEFAULT, None)], true), 1);
    }
}
