//! Which clients a subscription is for: the value of `match`, pairs of a client's property and an expression that the
//! whole property has to match.
//!
//! Kafka compiles the expressions with Java's matcher, which can be made to run for ever; here they are read as RE2 reads
//! them, in linear time. Whatever the two would read in different ways is refused.
//!
//! Source: `ClientMetricsConfigs.parseMatchingPatterns`, `ClientMetricsInstanceMetadata`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Client;
use crate::expression::Expression;
use crate::java::java_address;

/// A property that is longer matches nothing: whoever names himself should not decide how long a node looks for a match.
const MATCHED_BYTES_MAX: usize = 256;

/// A property of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Property {
    InstanceId,
    Id,
    SoftwareName,
    SoftwareVersion,
    SourceAddress,
    SourcePort,
}

impl Property {
    fn from_name(name: &str) -> Option<Property> {
        Some(match name {
            "client_instance_id" => Property::InstanceId,
            "client_id" => Property::Id,
            "client_software_name" => Property::SoftwareName,
            "client_software_version" => Property::SoftwareVersion,
            "client_source_address" => Property::SourceAddress,
            "client_source_port" => Property::SourcePort,
            _ => return None,
        })
    }

    fn of(self, client: &Client) -> Option<Cow<'_, str>> {
        Some(match self {
            Property::InstanceId => client.instance.to_string().into(),
            Property::Id => client.id.as_deref()?.into(),
            Property::SoftwareName => client.software_name.as_str().into(),
            Property::SoftwareVersion => client.software_version.as_str().into(),
            Property::SourceAddress => java_address(client.address.ip()).into(),
            Property::SourcePort => client.address.port().to_string().into(),
        })
    }
}

/// The expressions of one subscription. Without any it is for every client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selectors(BTreeMap<Property, Expression>);

impl Selectors {
    /// Reads the words of `match`. Of two for the same property the later counts.
    ///
    /// # Errors
    /// With the word that is no pair, names no property, or whose expression cannot be read.
    pub(crate) fn parse<'a>(words: &[&'a str]) -> Result<Selectors, &'a str> {
        let parsed = words.iter().map(|word| pair(word).ok_or(*word));
        parsed.collect::<Result<_, _>>().map(Selectors)
    }

    /// Whether every expression matches. What a client does not say matches nothing.
    pub(crate) fn fit(&self, client: &Client) -> bool {
        let fits = |(property, expression): (&Property, &Expression)| {
            property.of(client).is_some_and(|value| value.len() <= MATCHED_BYTES_MAX && expression.matches(&value))
        };
        self.0.iter().all(fits)
    }
}

fn pair(word: &str) -> Option<(Property, Expression)> {
    // Java's `split` drops empty parts at the end, and so do we.
    let (name, expression) = word.trim_end_matches('=').split_once('=')?;
    let expression = expression.trim();
    if expression.contains('=') || is_read_otherwise_by_java(expression) {
        return None;
    }
    Some((Property::from_name(name.trim())?, Expression::compile(expression).ok()?))
}

/// Java knows classes within classes, and what several of them have in common.
fn is_read_otherwise_by_java(expression: &str) -> bool {
    let (mut is_escaped, mut in_class, mut last) = (false, false, ' ');
    for character in expression.chars() {
        match character {
            _ if is_escaped => {
                is_escaped = false;
                last = ' ';
                continue;
            }
            '\\' => is_escaped = true,
            '[' if in_class => return true,
            '&' if in_class && last == '&' => return true,
            '[' => in_class = true,
            // As the first character of a class it closes nothing, for both.
            ']' if last != '[' && last != '^' => in_class = false,
            _ => {}
        }
        last = character;
    }
    false
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;

    use super::*;

    fn client() -> Client {
        Client {
            instance: Uuid::parse("AAAAAAAAAAEAAAAAAAAAAg").expect("22 characters"),
            id: Some("orders-7".to_owned()),
            software_name: "apache-kafka-java".to_owned(),
            software_version: "4.3.1".to_owned(),
            address: ([10, 0, 0, 7], 40_001).into(),
        }
    }

    fn fits(words: &[&str], client: &Client) -> bool {
        Selectors::parse(words).expect("it can be read").fit(client)
    }

    #[test]
    fn every_property_has_to_match_as_a_whole() {
        let client = client();
        assert!(fits(&[], &client), "without selectors everybody is meant");
        for good in [
            "client_id=orders-[0-9]+",
            "client_instance_id=AAAAAAAAAAEAAAAAAAAAAg",
            "client_software_name = apache-.*",
            "client_software_version=4\\.3\\..*",
            "client_source_address=10\\.0\\..*",
            "client_source_port=400[0-9]{2}",
        ] {
            assert!(fits(&[good], &client), "{good}");
            assert!(!fits(&[good, "client_source_port=1"], &client), "{good} and another port");
        }
        for bad in ["client_id=orders", "client_id=rders-7", "client_software_version=4.3", "client_source_port=4000"] {
            assert!(!fits(&[bad], &client), "{bad}");
        }
    }

    #[test]
    fn a_client_without_an_id_matches_no_expression_for_ids() {
        let nameless = Client { id: None, ..client() };
        assert!(!fits(&["client_id=.*"], &nameless));
        assert!(fits(&["client_software_name=.*"], &nameless));
    }

    #[test]
    fn a_very_long_id_matches_no_expression() {
        let named = |len: usize| Client { id: Some("a".repeat(len)), ..client() };
        assert!(fits(&["client_id=a*"], &named(MATCHED_BYTES_MAX)));
        assert!(!fits(&["client_id=a*"], &named(MATCHED_BYTES_MAX + 1)));
        assert!(fits(&[], &named(MATCHED_BYTES_MAX + 1)));
    }

    #[test]
    fn of_two_expressions_for_a_property_the_later_counts() {
        assert!(fits(&["client_id=none", "client_id=orders-7"], &client()));
    }

    #[test]
    fn pairs_are_split_as_java_splits_them() {
        for good in ["client_id=a=", "client_id=a==", " client_id = a "] {
            assert!(fits(&[good], &Client { id: Some("a".to_owned()), ..client() }), "{good}");
        }
        for bad in ["", "client_id", "client_id=", "client_id==a", "client_id=a=b", "=a", "id=a", "Client_id=a"] {
            assert_eq!(Selectors::parse(&["client_id=fine", bad]).err(), Some(bad), "{bad}");
        }
    }

    #[test]
    fn expressions_that_cannot_be_read_or_are_read_otherwise_by_java_are_refused() {
        for bad in ["[", "(?!a).*", r"(a)\1", "a++", "[a-z&&[^b]]", "[a[b]]", "[[:alpha:]]"] {
            let word = format!("client_id={bad}");
            assert!(Selectors::parse(&[word.as_str()]).is_err(), "{bad}");
        }
        for good in ["[]a]", "[^]a]", r"\[a\]", r"[\[&]", "a&&b", "[a][b]"] {
            let word = format!("client_id={good}");
            assert!(Selectors::parse(&[word.as_str()]).is_ok(), "{good}");
        }
    }
}
