//! `authorizer.class.name`: there are no access rules here, so an authorizer is taken only where it would let everybody do
//! everything, too. Nobody is to believe in a protection that is absent.
//!
//! Source: `StandardAuthorizer.getConfiguredSuperUsers` and `getDefaultResult` of Kafka 4.3.1.

use std::collections::BTreeMap;

use super::SettingsError;
use crate::quotas::ANONYMOUS;

/// Settings of the authorizer itself, which Kafka's table does not have.
pub(super) const KEYS: [&str; 2] = [SUPER_USERS, EVERYONE];

/// Whether an authorizer is named, all of whose work is to let everybody in.
pub(super) fn lets_everybody_in(file: &BTreeMap<String, String>) -> Result<bool, SettingsError> {
    let given = |key: &str| file.get(key).map_or("", |value| value.trim());
    let class = given("authorizer.class.name");
    if class.is_empty() {
        return Ok(false);
    }
    // Without TLS and SASL every client is this user.
    let everybody = format!("User:{ANONYMOUS}");
    let is_open =
        given(EVERYONE).eq_ignore_ascii_case("true") || given(SUPER_USERS).split(';').any(|it| it.trim() == everybody);
    if class == STANDARD && is_open {
        return Ok(true);
    }
    Err(SettingsError::Unsupported(format!(
        "an authorizer (authorizer.class.name={class}): every client may do everything; leave it out, or say {EVERYONE}=true \
         beside {STANDARD}. Access control"
    )))
}

const STANDARD: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
const SUPER_USERS: &str = "super.users";
const EVERYONE: &str = "allow.everyone.if.no.acl.found";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<bool, SettingsError> {
        lets_everybody_in(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn an_authorizer_is_refused_unless_it_would_let_everybody_in() {
        let named = ("authorizer.class.name", STANDARD);
        assert_eq!(read(&[]), Ok(false));
        assert_eq!(read(&[("authorizer.class.name", ""), (SUPER_USERS, "User:admin")]), Ok(false));
        for open in [(EVERYONE, "True "), (SUPER_USERS, "User:admin; User:ANONYMOUS")] {
            assert_eq!(read(&[named, open]), Ok(true), "{open:?}");
        }
        let others = ("authorizer.class.name", "org.example.Authorizer");
        for closed in [
            &[named][..],
            &[named, (EVERYONE, "false")],
            &[named, (SUPER_USERS, "User:admin")],
            &[others, (EVERYONE, "true")],
        ] {
            assert!(matches!(read(closed), Err(SettingsError::Unsupported(_))), "{closed:?}");
        }
    }
}
