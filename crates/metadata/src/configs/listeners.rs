//! The words of `listeners`, `advertised.listeners` and `listener.security.protocol.map`. What they lead to is not looked up.
//!
//! Source: `SocketServerConfigs.listenerListToEndPoints`, `AbstractKafkaConfig.validate` and
//! `effectiveListenerSecurityProtocolMap`; the texts are those that clients see.

use std::collections::{BTreeMap, BTreeSet};

/// One of `NAME://HOST:PORT,..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    /// In capitals.
    pub name: String,
    /// Empty where every address of the machine is meant.
    pub host: String,
    /// 0 picks a free one.
    pub port: u16,
}

/// Listeners or what is advertised of them, each name once; or what is wrong.
pub fn named_addresses(text: &str) -> Result<Vec<NamedAddress>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let all = format!("[{}]", parts.join(", "));
    let refused = |why: String| format!("Error creating broker listeners from '{all}': {why}");
    let mut names = BTreeSet::new();
    let mut addresses = Vec::new();
    for part in &parts {
        let address = named_address(part);
        let address = address.ok_or_else(|| refused(format!("Unable to parse {part} to a broker endpoint")))?;
        if !names.insert(address.name.clone()) {
            return Err(refused(format!("Each listener must have a different name, listeners: {all}")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn named_address(part: &str) -> Option<NamedAddress> {
    let (name, place) = part.split_once("://")?;
    let (host, port) = place.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = host.chars().all(|character| character.is_ascii_alphanumeric() || "-%._:".contains(character));
    let port = port.parse().ok()?;
    is_host.then(|| NamedAddress { name: name.to_uppercase(), host: host.to_owned(), port })
}

/// The protocol of each listener that is named, by its name in capitals; or what is wrong.
pub fn security_protocols(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut protocols = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, protocol)) = pair.rsplit_once(':') else {
            let why = format!("begin 0, end -1, length {}", pair.chars().count());
            return Err(format!("Error parsing configuration property 'listener.security.protocol.map': {why}"));
        };
        protocols.insert(name.trim().to_uppercase(), protocol.trim().to_uppercase());
    }
    Ok(protocols)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real Kafka 4.3.1 refused them.
    #[test]
    fn refusals_read_as_kafkas() {
        assert_eq!(
            named_addresses("garbage"),
            Err("Error creating broker listeners from '[garbage]': Unable to parse garbage to a broker endpoint".into())
        );
        assert_eq!(
            security_protocols("x"),
            Err("Error parsing configuration property 'listener.security.protocol.map': begin 0, end -1, length 1"
                .into())
        );
    }

    #[test]
    fn names_are_capitals_and_stand_there_once() {
        let found = named_addresses("in://[::1]:1, OUT://:2").expect("valid");
        let told: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.host.as_str(), it.port)).collect();
        assert_eq!(told, [("IN", "::1", 1), ("OUT", "", 2)]);
        assert!(named_addresses("in://a:1,IN://b:2").expect_err("twice").contains("must have a different name"));
    }
}
