//! Which quota is whose: of several that fit a client, the one for the narrowest entity.
//!
//! ```text
//!  user and client id   >   user and any client id   >   user                    named
//!  any user and client id > any user and any client id > any user                by default
//!  client id   >   any client id
//! ```
//!
//! Whoever shares a quota is one [`Owner`]: all client ids of a user where the quota is the user's, and so on. Which
//! parts count is decided as in Kafka by the kinds of entities that have quotas at all, also where no quota fits.
//!
//! Source: `ClientQuotaManager.DefaultQuotaCallback`.

use std::collections::BTreeMap;

use super::{CLIENT_ID, USER};
use crate::image::Image;

/// The quotas of one key, such as `producer_byte_rate`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    users: Choice<f64>,
    clients: Choice<f64>,
    /// By user, then by client id.
    pairs: Choice<Choice<f64>>,
}

/// Who shares a quota; an empty part does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The client id.
    pub client_id: &'a str,
}

/// Something by name, or for all other names.
#[derive(Debug, Clone, PartialEq)]
struct Choice<T> {
    named: BTreeMap<String, T>,
    default: Option<T>,
}

impl<T> Default for Choice<T> {
    fn default() -> Choice<T> {
        Choice { named: BTreeMap::new(), default: None }
    }
}

impl<T> Choice<T> {
    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.default.is_none()
    }

    fn set(&mut self, name: Option<&String>, value: T) {
        match name {
            Some(name) => drop(self.named.insert(name.clone(), value)),
            None => self.default = Some(value),
        }
    }

    fn find(&self, name: &str) -> Option<&T> {
        self.named.get(name).or(self.default.as_ref())
    }
}

impl Choice<Choice<f64>> {
    fn of(&mut self, user: Option<&String>) -> &mut Choice<f64> {
        match user {
            Some(user) => self.named.entry(user.clone()).or_default(),
            None => self.default.get_or_insert_default(),
        }
    }
}

impl Limits {
    /// The quotas of `key` for users and client ids.
    pub fn new(image: &Image, key: &str) -> Limits {
        let mut limits = Limits::default();
        for (entity, values) in image.quotas() {
            let Some(value) = values.get(key) else { continue };
            match (entity.get(USER), entity.get(CLIENT_ID)) {
                (Some(user), Some(client_id)) => limits.pairs.of(user.as_ref()).set(client_id.as_ref(), *value),
                (Some(user), None) => limits.users.set(user.as_ref(), *value),
                (None, Some(client_id)) => limits.clients.set(client_id.as_ref(), *value),
                (None, None) => {}
            }
        }
        limits
    }

    /// Whether nobody has a quota.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.clients.is_empty() && self.pairs.is_empty()
    }

    /// With whom a client shares its quota.
    pub fn owner<'a>(&self, user: &'a str, client_id: &'a str) -> Owner<'a> {
        let (pair, of_user, of_client) =
            (Owner { user, client_id }, Owner { user, client_id: "" }, Owner { user: "", client_id });
        match (self.pairs.is_empty(), self.users.is_empty(), self.clients.is_empty()) {
            (true, true, _) => of_client,
            (true, false, true) => of_user,
            (false, true, true) => pair,
            _ => {
                let own = self.pairs.named.get(user);
                if own.is_some_and(|own| own.find(client_id).is_some()) {
                    pair
                } else if self.users.named.contains_key(user) {
                    of_user
                } else if self.pairs.default.as_ref().is_some_and(|any| any.find(client_id).is_some()) {
                    pair
                } else if self.users.default.is_some() {
                    of_user
                } else {
                    of_client
                }
            }
        }
    }

    /// What an owner may; `None` is no bound.
    pub fn limit(&self, owner: Owner<'_>) -> Option<f64> {
        let Owner { user, client_id } = owner;
        match (user.is_empty(), client_id.is_empty()) {
            (true, true) => None,
            (true, false) => self.clients.find(client_id).copied(),
            (false, true) => self.users.find(user).copied(),
            (false, false) => {
                let own = self.pairs.named.get(user).and_then(|own| own.find(client_id));
                own.or_else(|| self.pairs.default.as_ref()?.find(client_id)).copied()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::messages::ClientQuotaRecord;
    use milena_protocol::messages::client_quota_record::EntityData;

    use super::*;
    use crate::delta::Changes;

    const KEY: &str = "producer_byte_rate";

    /// An image with quotas of [`KEY`]; `*` stands for the default of a type, nothing for an entity without it.
    fn limits(quotas: &[(&str, &str, f64)]) -> Limits {
        let mut image = Image::default();
        for (user, client_id, value) in quotas {
            let part = |kind: &str, name: &str| EntityData {
                entity_type: kind.to_owned(),
                entity_name: (name != "*").then(|| name.to_owned()),
            };
            let parts = [(USER, user), (CLIENT_ID, client_id)];
            let entity = parts.iter().filter(|(_, name)| !name.is_empty()).map(|(kind, name)| part(kind, name));
            let record =
                ClientQuotaRecord { entity: entity.collect(), key: KEY.to_owned(), value: *value, remove: false };
            image.replay(&record.into(), &mut Changes::default()).expect("it fits");
        }
        Limits::new(&image, KEY)
    }

    fn limit(limits: &Limits, user: &str, client_id: &str) -> Option<f64> {
        limits.limit(limits.owner(user, client_id))
    }

    /// The order of Kafka's documentation: each line is above all below it.
    #[test]
    fn the_narrowest_entity_counts() {
        let order = [
            ("u", "c", 1.0),
            ("u", "*", 2.0),
            ("u", "", 3.0),
            ("*", "c", 4.0),
            ("*", "*", 5.0),
            ("*", "", 6.0),
            ("", "c", 7.0),
            ("", "*", 8.0),
        ];
        for from in 0..order.len() {
            assert_eq!(limit(&limits(&order[from..]), "u", "c"), Some(order[from].2), "from {from}");
        }
        assert_eq!(limit(&limits(&order), "u", "d"), Some(2.0));
        assert_eq!(limit(&limits(&order), "v", "c"), Some(4.0));
        assert_eq!(limit(&limits(&order), "v", "d"), Some(5.0));
        assert_eq!(limit(&limits(&[]), "u", "c"), None);
        assert_eq!(limit(&limits(&[("", "d", 1.0)]), "u", "c"), None);
    }

    #[test]
    fn who_shares_a_quota_is_one_owner() {
        let of_users = limits(&[("u", "", 1.0)]);
        assert_eq!(of_users.owner("u", "c"), of_users.owner("u", "d"));
        let of_clients = limits(&[("", "*", 1.0)]);
        assert_eq!(of_clients.owner("u", "c"), of_clients.owner("v", "c"));
        assert_ne!(of_clients.owner("u", "c"), of_clients.owner("u", "d"));
        let of_both = limits(&[("u", "", 1.0), ("", "c", 1.0)]);
        assert_eq!(of_both.owner("u", "c"), of_both.owner("u", "d"));
        assert_eq!(of_both.owner("v", "c"), of_both.owner("w", "c"));
    }

    /// Kafka's way: without a client id nobody is the default client id.
    #[test]
    fn the_empty_client_id_has_no_quota_by_client_id() {
        assert_eq!(limit(&limits(&[("", "*", 1.0)]), "u", ""), None);
        assert_eq!(limit(&limits(&[("*", "*", 1.0)]), "u", ""), None);
        assert_eq!(limit(&limits(&[("*", "", 1.0)]), "u", ""), Some(1.0));
    }
}
