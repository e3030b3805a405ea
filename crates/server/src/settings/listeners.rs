//! Where clients connect, and where they are told to: `listeners` and `advertised.listeners`.
//!
//! Source: `KafkaConfig.validateValues`, `SocketServerConfigs.listenerListToEndPoints` and
//! `ListenerInfo.withWildcardHostnamesResolved` of Kafka 4.3.1.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use milena_metadata::configs::{self, NamedAddress, security_protocols};

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
    let mut listeners = Vec::new();
    for listener in of_clients(file, listening)? {
        let shown = match &advertised {
            Some(advertised) => advertised.iter().find(|shown| shown.name == listener.name),
            None => Some(routable(&listener)?),
        };
        let host = |shown: &NamedAddress| match shown.host.is_empty() {
            true => own_host(),
            false => Ok(shown.host.clone()),
        };
        let advertised = shown.map(|shown| Ok((host(shown)?, shown.port))).transpose()?;
        listeners.push(ListenerSettings { bind: bind(&listener)?, advertised, name: Arc::from(listener.name) });
    }
    if !listeners.iter().any(|listener| listener.advertised.is_some()) {
        return Err(wrong("listeners", given, "names no listener for clients, or none that is advertised"));
    }
    match file.get("inter.broker.listener.name") {
        Some(name) if !listeners.iter().any(|it| it.advertised.is_some() && *it.name == name.trim().to_uppercase()) => {
            Err(wrong("inter.broker.listener.name", name, "names no listener that is advertised"))
        }
        _ => Ok(listeners),
    }
}

/// Listeners that are opened while the node runs: nobody is told of them (Kafka, too, registers once).
pub(super) fn unadvertised(values: &BTreeMap<String, String>) -> Result<Vec<ListenerSettings>, SettingsError> {
    let given = values.get("listeners").map_or(LISTENERS, String::as_str);
    let opened = |listener: NamedAddress| {
        Ok(ListenerSettings { bind: bind(&listener)?, advertised: None, name: Arc::from(listener.name) })
    };
    of_clients(values, named_addresses("listeners", given)?)?.into_iter().map(opened).collect()
}

/// Those that are not the controller's, all of them served.
fn of_clients(
    values: &BTreeMap<String, String>,
    listening: Vec<NamedAddress>,
) -> Result<Vec<NamedAddress>, SettingsError> {
    let controller: Vec<&str> =
        values.get("controller.listener.names").map_or(Vec::new(), |names| names.split(',').map(str::trim).collect());
    let key = "listener.security.protocol.map";
    let map = values.get(key).map_or("", String::as_str);
    let protocols = security_protocols(map).map_err(|reason| wrong(key, map, reason))?;
    let of_clients = listening.into_iter().filter(|listener| !controller.contains(&listener.name.as_str()));
    let served = |listener: NamedAddress| plaintext(&listener.name, &protocols).map(|()| listener);
    of_clients.map(served).collect()
}

fn bind(listener: &NamedAddress) -> Result<SocketAddr, SettingsError> {
    let host = if listener.host.is_empty() { WILDCARD } else { &listener.host };
    address("listeners", &join(host, listener.port))
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
fn plaintext(name: &str, protocols: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    match protocols.get(name).map_or(name, String::as_str) {
        "PLAINTEXT" => Ok(()),
        protocol @ ("SSL" | "SASL_PLAINTEXT" | "SASL_SSL") => {
            Err(SettingsError::Unsupported(format!("security protocol {protocol} (listener {name})")))
        }
        _ => Err(wrong("listeners", name, "has no protocol in listener.security.protocol.map")),
    }
}

fn named_addresses(key: &str, text: &str) -> Result<Vec<NamedAddress>, SettingsError> {
    configs::named_addresses(text).map_err(|reason| wrong(key, text, format!("{reason}; expected NAME://HOST:PORT,..")))
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
        assert!(refusal("IN://127.0.0.1:1,IN://127.0.0.1:2", None).contains("different name"));
        assert!(refusal("IN://127.0.0.1:1", Some("IN://a:1,in://b:2")).contains("different name"));
    }

    #[test]
    fn a_listener_that_is_not_advertised_is_not_told_to_anyone() {
        let found = read("IN://127.0.0.1:1,OUT://127.0.0.1:2", Some("OUT://b:2")).expect("valid");
        assert_eq!(found[0].advertised, None);
        assert_eq!(found[1].advertised, Some(("b".to_owned(), 2)));
    }
}
