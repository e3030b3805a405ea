//! Where clients connect, and where they are told to: `listeners` and `advertised.listeners`.
//!
//! Source: `KafkaConfig.validateValues`, `SocketServerConfigs.listenerListToEndPoints` and
//! `ListenerInfo.withWildcardHostnamesResolved` of Kafka 4.3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::sync::Arc;

use super::{ListenerSettings, SettingsError, address, wrong};

/// The listeners of clients. `own_host` says how this machine is called: it is advertised where no host is given.
pub(super) fn listeners(
    file: &BTreeMap<String, String>,
    own_host: impl Fn() -> Result<String, SettingsError>,
) -> Result<Vec<ListenerSettings>, SettingsError> {
    let given = file.get("listeners").map_or(LISTENERS, String::as_str);
    let listening = named_addresses("listeners", given)?;
    let advertised = match file.get("advertised.listeners") {
        Some(text) => Some(advertised(text, &listening)?),
        None => None,
    };
    let controller: Vec<&str> =
        file.get("controller.listener.names").map_or(Vec::new(), |names| names.split(',').map(str::trim).collect());
    let protocols = file.get("listener.security.protocol.map").map_or("", String::as_str);
    let mut listeners = Vec::new();
    for listener in listening {
        if controller.contains(&listener.name.as_str()) {
            continue;
        }
        plaintext(&listener.name, protocols)?;
        let shown = match &advertised {
            Some(advertised) => advertised.iter().find(|shown| shown.name == listener.name),
            None => Some(routable(&listener)?),
        };
        let host = |shown: &NamedAddress| match shown.host.is_empty() {
            true => own_host(),
            false => Ok(shown.host.clone()),
        };
        let bind_host = if listener.host.is_empty() { WILDCARD } else { &listener.host };
        listeners.push(ListenerSettings {
            bind: address("listeners", &join(bind_host, listener.port))?,
            advertised: shown.map(|shown| Ok((host(shown)?, shown.port))).transpose()?,
            name: Arc::from(listener.name),
        });
    }
    match listeners.iter().any(|listener| listener.advertised.is_some()) {
        true => Ok(listeners),
        false => Err(wrong("listeners", given, "names no listener for clients, or none that is advertised")),
    }
}

/// How this machine calls itself, if that name leads anywhere. Kafka asks for the canonical form of it, too.
pub(super) fn own_host() -> Result<String, SettingsError> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_known = (name.as_str(), 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    match is_known {
        true => Ok(name),
        false => Err(wrong(
            "listeners",
            "",
            format!(
                "no host is given, and this machine's own name \"{name}\" leads nowhere; say with advertised.listeners where clients reach it"
            ),
        )),
    }
}

/// One of `NAME://HOST:PORT,..`; without a host it means every address of this machine.
struct NamedAddress {
    name: String,
    host: String,
    port: u16,
}

/// What is advertised belongs to a listener, and can be reached.
fn advertised(text: &str, listening: &[NamedAddress]) -> Result<Vec<NamedAddress>, SettingsError> {
    let advertised = named_addresses("advertised.listeners", text)?;
    for shown in &advertised {
        if !listening.iter().any(|listener| listener.name == shown.name) {
            let names = listening.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>().join(", ");
            let reason = format!("\"{}\" is none of the names in listeners, which are {names}", shown.name);
            return Err(wrong("advertised.listeners", text, reason));
        }
        if shown.host == WILDCARD {
            let reason = "nobody can connect to 0.0.0.0; give a name or address that clients reach this machine by";
            return Err(wrong("advertised.listeners", text, reason));
        }
    }
    Ok(advertised)
}

/// Without `advertised.listeners` clients are told the listener itself.
fn routable(listener: &NamedAddress) -> Result<&NamedAddress, SettingsError> {
    if listener.host != WILDCARD {
        return Ok(listener);
    }
    let NamedAddress { name, host, port } = listener;
    let reason = format!(
        "clients would be told to connect to 0.0.0.0; set advertised.listeners={name}://HOST:{port} with a name or address \
         that they reach this machine by, or leave the host out ({name}://:{port}) to have its own name advertised"
    );
    Err(wrong("listeners", &format!("{name}://{host}:{port}"), reason))
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Only PLAINTEXT is served; a listener that promises more must not come up without it.
fn plaintext(name: &str, protocols: &str) -> Result<(), SettingsError> {
    let mapped = protocols.split(',').filter_map(|pair| pair.trim().split_once(':')).find(|(key, _)| *key == name);
    match mapped.map_or(name, |(_, protocol)| protocol) {
        "PLAINTEXT" => Ok(()),
        protocol @ ("SSL" | "SASL_PLAINTEXT" | "SASL_SSL") => {
            Err(SettingsError::Unsupported(format!("security protocol {protocol} (listener {name})")))
        }
        _ => Err(wrong("listeners", name, "has no protocol in listener.security.protocol.map")),
    }
}

/// `NAME://HOST:PORT,...`, each name once.
fn named_addresses(key: &str, text: &str) -> Result<Vec<NamedAddress>, SettingsError> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let addresses = parts.map(|part| named_address(key, part)).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    match addresses.iter().find(|address| !names.insert(address.name.as_str())) {
        Some(twice) => Err(wrong(key, text, format!("\"{}\" stands there twice", twice.name))),
        None => Ok(addresses),
    }
}

fn named_address(key: &str, part: &str) -> Result<NamedAddress, SettingsError> {
    let expected = || wrong(key, part, "expected NAME://HOST:PORT");
    let (name, place) = part.split_once("://").ok_or_else(expected)?;
    let (host, port) = place.rsplit_once(':').ok_or_else(expected)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| expected())?;
    Ok(NamedAddress { name: name.to_ascii_uppercase(), host: host.to_owned(), port })
}

/// Where the node listens if nobody says.
const LISTENERS: &str = "PLAINTEXT://127.0.0.1:9092";
/// Every IPv4 address of this machine: a place to listen at, and none to connect to.
const WILDCARD: &str = "0.0.0.0";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(listening: &str, advertised: Option<&str>) -> Result<Vec<ListenerSettings>, SettingsError> {
        let mut file = BTreeMap::from([("listeners".to_owned(), listening.to_owned())]);
        file.extend(advertised.map(|text| ("advertised.listeners".to_owned(), text.to_owned())));
        file.insert("listener.security.protocol.map".to_owned(), "IN:PLAINTEXT,OUT:PLAINTEXT".to_owned());
        listeners(&file, || Ok("box".to_owned()))
    }

    fn refusal(listening: &str, advertised: Option<&str>) -> String {
        read(listening, advertised).expect_err("refused").to_string()
    }

    #[test]
    fn nobody_is_told_to_connect_to_every_address() {
        let told = refusal("PLAINTEXT://0.0.0.0:9092", None);
        assert!(told.contains("advertised.listeners=PLAINTEXT://HOST:9092"), "{told}");
        let told = refusal("PLAINTEXT://0.0.0.0:9092", Some("PLAINTEXT://0.0.0.0:9092"));
        assert!(told.starts_with("advertised.listeners=") && told.contains("nobody can connect"), "{told}");
    }

    #[test]
    fn a_listener_without_a_host_is_advertised_under_the_machines_name() {
        let found = read("PLAINTEXT://:9092", None).expect("valid");
        assert_eq!(found[0].advertised, Some(("box".to_owned(), 9092)));
        assert!(found[0].bind.ip().is_unspecified());
        let found = read("PLAINTEXT://0.0.0.0:9092", Some("PLAINTEXT://:19092")).expect("valid");
        assert_eq!(found[0].advertised, Some(("box".to_owned(), 19092)));
    }

    #[test]
    fn only_names_of_listeners_are_advertised_and_each_once() {
        let told = refusal("IN://127.0.0.1:1", Some("IN://a:1,OUT://b:2"));
        assert!(told.contains("\"OUT\"") && told.contains("are IN"), "{told}");
        assert!(refusal("IN://127.0.0.1:1,IN://127.0.0.1:2", None).contains("twice"));
        assert!(refusal("IN://127.0.0.1:1", Some("IN://a:1,in://b:2")).contains("twice"));
    }

    #[test]
    fn a_listener_that_is_not_advertised_is_not_told_to_anyone() {
        let found = read("IN://127.0.0.1:1,OUT://127.0.0.1:2", Some("OUT://b:2")).expect("valid");
        assert_eq!(found[0].advertised, None);
        assert_eq!(found[1].advertised, Some(("b".to_owned(), 2)));
    }
}
