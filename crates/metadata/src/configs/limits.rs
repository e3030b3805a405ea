//! `max.connections.per.ip.overrides`: `HOST:COUNT` between commas, where a host may be an IPv6 address with its colons.
//!
//! Source: `Csv.parseCsvMap`, `KafkaConfig.validateValues`; the texts are those that clients see.

use std::collections::BTreeMap;

const NAME: &str = "max.connections.per.ip.overrides";

/// How many connections each host may have, or what is wrong.
pub fn connections_by_host(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let mut found = BTreeMap::new();
    if text.trim().is_empty() {
        return Ok(found);
    }
    for pair in text.split(',').map(str::trim) {
        let Some((host, count)) = pair.rsplit_once(':').map(|(host, count)| (host.trim(), count.trim())) else {
            let why = format!("begin 0, end -1, length {}", pair.chars().count());
            return Err(format!("Error parsing configuration property '{NAME}': {why}"));
        };
        let count: i32 = count.parse().map_err(|_| format!("For input string: \"{count}\""))?;
        found.insert(host.to_owned(), usize::try_from(count).unwrap_or(0));
    }
    let invalid: Vec<&str> = found.keys().map(String::as_str).filter(|host| !host.chars().all(is_of_host)).collect();
    match invalid.is_empty() {
        true => Ok(found),
        false => Err(format!("{NAME} contains invalid addresses : {}", invalid.join(","))),
    }
}

fn is_of_host(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-%._:".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_of_either_kind() {
        let found = connections_by_host("::1:5, 127.0.0.1:7 ,box:-3").expect("valid");
        let expected = [("127.0.0.1", 7), ("::1", 5), ("box", 0)].map(|(host, count)| (host.to_owned(), count));
        assert_eq!(found, BTreeMap::from(expected));
        assert_eq!(connections_by_host(""), Ok(BTreeMap::new()));
    }

    /// As a real Kafka 4.3.1 refused them.
    #[test]
    fn refusals_read_as_kafkas() {
        for (text, message) in [
            (
                "127.0.0.1",
                "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 9",
            ),
            ("127.0.0.1:x", "For input string: \"x\""),
            ("sp ace:5", "max.connections.per.ip.overrides contains invalid addresses : sp ace"),
        ] {
            assert_eq!(connections_by_host(text), Err(message.to_owned()));
        }
    }
}
