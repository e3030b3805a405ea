//! Whether a broker can run with all of its settings together, as they would be after a change at run time.
//!
//! Source: `KafkaConfig.validateValues`, `GroupCoordinatorConfig`, and whoever Kafka reconfigures: `ListenerConnectionQuota`,
//! `DataPlaneAcceptor`, `DynamicThreadPool`, `LogCleaner`, `DynamicLogConfig`, `DynamicListenerConfig`,
//! `DynamicRemoteLogConfig`, `DynamicMetricsReporters`. The texts are those that clients see.

use std::collections::{BTreeMap, BTreeSet};

use super::check::words;
use super::limits::connections_by_host;
use super::listeners::{NamedAddress, named_addresses, security_protocols};
use super::{ConfigError, Kind, Layers, Values, effective, effective_of_listener};

/// What is in force before and after. An error is that of the change.
pub fn check_together(before: Layers, after: Layers) -> Result<(), ConfigError> {
    let none = Values::new();
    let (before, after) = (Broker(Layers { own: &none, ..before }), Broker(Layers { own: &none, ..after }));
    groups(after)?;
    times(after)?;
    sizes(after)?;
    connections(after)?;
    directories(after)?;
    let listeners = Listeners::read(after);
    if before.text("listeners") != after.text("listeners") || before.text(PROTOCOLS) != after.text(PROTOCOLS) {
        listeners.as_ref().map_err(|error| error.clone())?.check(after)?;
        listeners.as_ref().map_err(|error| error.clone())?.check_change(&Listeners::read(before)?)?;
    }
    // Whatever was let in at the start has listeners that can be read, or none of its own.
    let names: Vec<String> = listeners.map_or_else(|_| Vec::new(), |listeners| listeners.names().collect());
    names.iter().try_for_each(|name| listener(name, before, after))?;
    threads(before, after)?;
    local_retention(after)?;
    remote_storage(before, after)?;
    reporters(before, after)
}

/// Whether a broker can start with a server.properties, of whose values each is valid.
pub fn check_file_together(file: &Values) -> Result<(), ConfigError> {
    let none = Values::new();
    let layers = Layers { own: &none, broker: &none, all_brokers: &none, file };
    check_together(layers, layers)
}

const PROTOCOLS: &str = "listener.security.protocol.map";

/// All layers of a broker.
#[derive(Clone, Copy)]
struct Broker<'a>(Layers<'a>);

impl Broker<'_> {
    fn text(self, name: &str) -> Option<String> {
        effective(Kind::Broker, name, self.0)
    }

    fn words(self, name: &str) -> Vec<String> {
        words(&self.text(name).unwrap_or_default()).into_iter().map(str::to_owned).collect()
    }

    /// Every number has a default.
    fn number(self, name: &str) -> i64 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// What a topic without settings of its own has.
    fn of_topics(self, name: &str) -> i64 {
        effective(Kind::Topic, name, self.0).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn of_listener(self, listener: &str, name: &str) -> i64 {
        effective_of_listener(listener, name, self.0).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// What Kafka's own `require` says.
fn require(holds: bool, text: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::request(format!("requirement failed: {}", text()))) }
}

/// What somebody who is reconfigured says: an exception that stands where a value does.
fn unless(fails: bool, text: impl FnOnce() -> String) -> Result<(), ConfigError> {
    let told = |text| {
        format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: {text} for configuration Invalid dynamic configuration"
        )
    };
    if fails { Err(ConfigError::request(told(text()))) } else { Ok(()) }
}

fn groups(after: Broker<'_>) -> Result<(), ConfigError> {
    for kind in ["consumer", "share", "streams"] {
        let [name, min, max] = ["", "min.", "max."].map(|bound| format!("group.{kind}.{bound}assignment.interval.ms"));
        if after.number(&name) < after.number(&min) {
            return Err(ConfigError::request(format!("{name} must be greater than or equal to {min}")));
        }
        if after.number(&name) > after.number(&max) {
            return Err(ConfigError::request(format!("{name} must be less than or equal to {max}")));
        }
    }
    Ok(())
}

fn times(after: Broker<'_>) -> Result<(), ConfigError> {
    let (roll, jitter) = (after.of_topics("segment.ms"), after.of_topics("segment.jitter.ms"));
    require(roll >= 1, || "log.roll.ms must be greater than or equal to 1".to_owned())?;
    require(jitter >= 0, || "log.roll.jitter.ms must be greater than or equal to 0".to_owned())?;
    require(after.of_topics("retention.ms") != 0, || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
    })
}

fn sizes(after: Broker<'_>) -> Result<(), ConfigError> {
    let share = after.number("log.cleaner.dedupe.buffer.size") / after.number("log.cleaner.threads").max(1);
    require(share > 1 << 20, || "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned())
}

fn connections(after: Broker<'_>) -> Result<(), ConfigError> {
    let overrides = after.text("max.connections.per.ip.overrides").unwrap_or_default();
    let by_host = connections_by_host(&overrides).map_err(ConfigError::request)?;
    require(after.number("max.connections.per.ip") > 0 || !by_host.is_empty(), || {
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.".to_owned()
    })
}

fn directories(after: Broker<'_>) -> Result<(), ConfigError> {
    let newer = after.words("log.dirs");
    let dirs = if newer.is_empty() { after.words("log.dir") } else { newer };
    let missing: Vec<String> =
        after.words("cordoned.log.dirs").into_iter().filter(|dir| dir != "*" && !dirs.contains(dir)).collect();
    require(missing.is_empty(), || {
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            missing.join(", ")
        )
    })
}

/// Listeners and what is advertised of them, without the controller's.
struct Listeners {
    all: Vec<NamedAddress>,
    advertised: Vec<NamedAddress>,
    protocols: BTreeMap<String, String>,
    controller: BTreeSet<String>,
}

impl Listeners {
    fn read(of: Broker<'_>) -> Result<Listeners, ConfigError> {
        let read = |name: &str| of.text(name).map(|text| named_addresses(&text)).transpose();
        let all = read("listeners").map_err(ConfigError::request)?.unwrap_or_default();
        let advertised = read("advertised.listeners").map_err(ConfigError::request)?.unwrap_or_else(|| all.clone());
        let controller: BTreeSet<String> = of.words("controller.listener.names").into_iter().collect();
        let mut protocols =
            security_protocols(&of.text(PROTOCOLS).unwrap_or_default()).map_err(ConfigError::request)?;
        for name in &controller {
            protocols.entry(name.clone()).or_insert_with(|| PLAINTEXT.to_owned());
        }
        let advertised = advertised.into_iter().filter(|address| !controller.contains(&address.name)).collect();
        Ok(Listeners { all, advertised, protocols, controller })
    }

    /// Those of clients and brokers.
    fn names(&self) -> impl Iterator<Item = String> {
        self.all.iter().map(|address| address.name.clone()).filter(|name| !self.controller.contains(name))
    }

    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|address| address.name == name)
    }

    fn check(&self, after: Broker<'_>) -> Result<(), ConfigError> {
        let shown = |addresses: &[NamedAddress], between: &str| {
            addresses.iter().map(|address| address.name.as_str()).collect::<Vec<_>>().join(between)
        };
        if let Some(unknown) = self.all.iter().find(|address| !self.protocols.contains_key(&address.name)) {
            let listeners = after.words("listeners").join(", ");
            return Err(ConfigError::request(format!(
                "Error creating broker listeners from '[{listeners}]': No security protocol defined for listener {}",
                unknown.name
            )));
        }
        let inter_broker = after.text("inter.broker.listener.name").unwrap_or_else(|| PLAINTEXT.to_owned());
        require(self.advertised.iter().any(|address| address.name == inter_broker.to_uppercase()), || {
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
                 based on currently configured listeners are {}",
                shown(&self.advertised, ",")
            )
        })?;
        require(self.advertised.iter().all(|address| self.has(&address.name)), || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                 Found {}. The valid options based on the current configuration are {}",
                shown(&self.advertised, ","),
                shown(&self.all, ",")
            )
        })?;
        require(self.advertised.iter().all(|address| address.host != "0.0.0.0"), || {
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                .to_owned()
        })
    }

    fn check_change(&self, before: &Listeners) -> Result<(), ConfigError> {
        let set = |names: Vec<&String>| {
            let names: Vec<String> = names.into_iter().map(|name| format!("ListenerName({name})")).collect();
            format!("Set({})", names.join(", "))
        };
        let names = |addresses: &'_ [NamedAddress]| set(addresses.iter().map(|address| &address.name).collect());
        unless(before.advertised.iter().any(|address| !self.has(&address.name)), || {
            format!(
                "Advertised listeners '{}' must be a subset of listeners '{}'",
                names(&before.advertised),
                names(&self.all)
            )
        })?;
        for address in before.all.iter().filter(|address| self.has(&address.name)) {
            let name = &address.name;
            unless(before.protocols.get(name) != self.protocols.get(name), || {
                format!("Security protocol cannot be updated for existing listener ListenerName({name})")
            })?;
        }
        // Kafka takes these; here nobody could serve them.
        match self.names().find(|name| self.protocols.get(name).is_some_and(|protocol| protocol != PLAINTEXT)) {
            Some(name) => {
                let protocol = &self.protocols[&name];
                Err(ConfigError::request(format!(
                    "security protocol {protocol} (listener {name}) is not supported yet"
                )))
            }
            None => Ok(()),
        }
    }
}

const PLAINTEXT: &str = "PLAINTEXT";

fn listener(name: &str, before: Broker<'_>, after: Broker<'_>) -> Result<(), ConfigError> {
    let limits = ["max.connections", "max.connection.creation.rate"];
    let of = |of: Broker<'_>, setting| of.of_listener(name, setting);
    if limits.iter().any(|setting| of(before, setting) != of(after, setting)) {
        for setting in limits {
            let value = of(after, setting);
            unless(value <= 0, || format!("Invalid {setting} {value}"))?;
        }
    }
    let setting = "num.network.threads";
    thread_count(setting, of(before, setting), of(after, setting))
}

/// Pools grow and shrink by a factor of two at most.
fn thread_count(name: &str, before: i64, after: i64) -> Result<(), ConfigError> {
    let failed = format!("Dynamic thread count update validation failed for {name}={after}");
    unless(before != after && after <= 0, || format!("{failed}, value should be at least 1"))?;
    unless(after < before / 2, || format!("{failed}, value should be at least half the current value {before}"))?;
    unless(after > before * 2, || {
        format!("{failed}, value should not be greater than double the current value {before}")
    })
}

fn threads(before: Broker<'_>, after: Broker<'_>) -> Result<(), ConfigError> {
    for name in ["num.io.threads", "num.replica.fetchers", "num.recovery.threads.per.data.dir", "background.threads"] {
        thread_count(name, before.number(name), after.number(name))?;
    }
    let [had, has] = [before, after].map(|of| of.number("log.cleaner.threads"));
    unless(has < 1, || "Log cleaner threads should be at least 1".to_owned())?;
    unless(has < had / 2, || {
        format!("Log cleaner threads cannot be reduced to less than half the current value {had}")
    })?;
    unless(has > had * 2, || {
        format!("Log cleaner threads cannot be increased to more than double the current value {had}")
    })
}

fn local_retention(after: Broker<'_>) -> Result<(), ConfigError> {
    for (local, whole) in [("log.local.retention.ms", "retention.ms"), ("log.local.retention.bytes", "retention.bytes")]
    {
        let (value, bound) = (after.number(local), after.of_topics(whole));
        if bound < 0 || value == -2 {
            continue;
        }
        let invalid = format!("Invalid value {value} for configuration {local}: Value must not be");
        unless(value == -1, || format!("{invalid} -1 as log.{whole} value is set as {bound}."))?;
        unless(value > bound, || format!("{invalid} more than log.{whole} property value: {bound}"))?;
    }
    Ok(())
}

fn remote_storage(before: Broker<'_>, after: Broker<'_>) -> Result<(), ConfigError> {
    for name in [
        "remote.log.index.file.cache.total.size.bytes",
        "remote.log.manager.copy.max.bytes.per.second",
        "remote.log.manager.fetch.max.bytes.per.second",
    ] {
        let (had, has) = (before.number(name), after.number(name));
        unless(had != has && has <= 0, || {
            format!(
                "Dynamic remote log manager config update validation failed for {name}={has}, value should be at least 1"
            )
        })?;
    }
    for name in [
        "remote.log.reader.threads",
        "remote.log.manager.copier.thread.pool.size",
        "remote.log.manager.expiration.thread.pool.size",
    ] {
        thread_count(name, before.number(name), after.number(name))?;
    }
    Ok(())
}

/// Classes of others cannot be loaded here, and Kafka answers so where it finds none.
fn reporters(before: Broker<'_>, after: Broker<'_>) -> Result<(), ConfigError> {
    let name = "metric.reporters";
    let known = "org.apache.kafka.common.metrics.JmxReporter";
    let is_new = before.text(name) != after.text(name);
    unless(is_new && after.words(name).iter().any(|class| class != known), || {
        format!(
            "Validation of dynamic config update of Set({name}) failed with class class kafka.server.DynamicMetricsReporters"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENERS: &str = "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093";

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// What is said to a change of one broker with that file.
    fn refusal(pairs: &[(&str, &str)]) -> Option<String> {
        let file = values(&[
            ("listeners", LISTENERS),
            ("advertised.listeners", LISTENERS),
            ("controller.listener.names", "CONTROLLER"),
            (PROTOCOLS, "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL"),
            ("log.dirs", "/data"),
        ]);
        let (none, broker) = (Values::new(), values(pairs));
        let before = Layers { own: &none, broker: &none, all_brokers: &none, file: &file };
        check_together(before, Layers { broker: &broker, ..before }).err().map(|error| error.message)
    }

    /// The texts are those of a real Kafka 4.3.1, asked for the same change.
    #[test]
    fn refusals_are_kafkas() {
        let dynamic = |text: &str| {
            format!(
                "Invalid value org.apache.kafka.common.config.ConfigException: {text} for configuration Invalid dynamic \
                 configuration"
            )
        };
        let threads = |text: &str| dynamic(&format!("Dynamic thread count update validation failed for {text}"));
        let failed = |text: &str| format!("requirement failed: {text}");
        let no_protocol = format!(
            "Error creating broker listeners from '[{}, EXTRA://127.0.0.1:9094]': No security protocol defined for \
             listener EXTRA",
            LISTENERS.replace(',', ", ")
        );
        let with_extra = format!("{LISTENERS},EXTRA://127.0.0.1:9094");
        let cases: &[(&str, &str, String)] = &[
            ("max.connections", "0", dynamic("Invalid max.connections 0")),
            ("listener.name.plaintext.max.connections", "0", dynamic("Invalid max.connections 0")),
            ("max.connection.creation.rate", "0", dynamic("Invalid max.connection.creation.rate 0")),
            (
                "max.connections.per.ip",
                "0",
                failed(
                    "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
                ),
            ),
            ("max.connections.per.ip.overrides", "127.0.0.1:x", "For input string: \"x\"".to_owned()),
            (
                "log.retention.ms",
                "0",
                failed("log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
            ),
            ("log.roll.ms", "0", failed("log.roll.ms must be greater than or equal to 1")),
            ("log.roll.jitter.ms", "-1", failed("log.roll.jitter.ms must be greater than or equal to 0")),
            (
                "group.consumer.assignment.interval.ms",
                "20000",
                "group.consumer.assignment.interval.ms must be less than or equal to \
                 group.consumer.max.assignment.interval.ms"
                    .to_owned(),
            ),
            ("num.io.threads", "3", threads("num.io.threads=3, value should be at least half the current value 8")),
            (
                "listener.name.plaintext.num.network.threads",
                "7",
                threads("num.network.threads=7, value should not be greater than double the current value 3"),
            ),
            (
                "log.cleaner.threads",
                "3",
                dynamic("Log cleaner threads cannot be increased to more than double the current value 1"),
            ),
            (
                "log.cleaner.dedupe.buffer.size",
                "1000",
                failed("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."),
            ),
            ("listeners", &with_extra, no_protocol),
            (
                "listeners",
                "OTHER://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
                "Error creating broker listeners from '[OTHER://127.0.0.1:9092, CONTROLLER://127.0.0.1:9093]': No security \
                 protocol defined for listener OTHER"
                    .to_owned(),
            ),
            (
                "listeners",
                "SSL://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
                failed(
                    "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                     Found PLAINTEXT. The valid options based on the current configuration are SSL,CONTROLLER",
                ),
            ),
            (
                PROTOCOLS,
                "CONTROLLER:PLAINTEXT,PLAINTEXT:SSL",
                dynamic("Security protocol cannot be updated for existing listener ListenerName(PLAINTEXT)"),
            ),
            (
                "cordoned.log.dirs",
                "/x",
                failed("All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /x"),
            ),
            (
                "log.local.retention.ms",
                "-1",
                dynamic(
                    "Invalid value -1 for configuration log.local.retention.ms: Value must not be -1 as log.retention.ms \
                     value is set as 604800000.",
                ),
            ),
            (
                "remote.log.reader.threads",
                "100",
                threads("remote.log.reader.threads=100, value should not be greater than double the current value 10"),
            ),
            (
                "metric.reporters",
                "x",
                dynamic(
                    "Validation of dynamic config update of Set(metric.reporters) failed with class class \
                     kafka.server.DynamicMetricsReporters",
                ),
            ),
        ];
        for (name, value, message) in cases {
            assert_eq!(refusal(&[(name, value)]).as_ref(), Some(message), "{name}");
        }
    }

    #[test]
    fn what_kafka_takes_is_taken() {
        let with_extra = format!("{LISTENERS},EXTRA://127.0.0.1:9094");
        let moved = LISTENERS.replace("9092", "9095");
        let cases: &[&[(&str, &str)]] = &[
            &[("listener.name.other.max.connections", "0")],
            &[("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", "127.0.0.1:5")],
            &[("max.connections.per.ip.overrides", "no.such.host.invalid:5,::1:7")],
            &[("log.retention.ms", "-2")],
            &[("num.io.threads", "16"), ("num.network.threads", "1")],
            &[("listeners", &with_extra), (PROTOCOLS, "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT")],
            &[("listeners", &moved)],
        ];
        for pairs in cases {
            assert_eq!(refusal(pairs), None, "{pairs:?}");
        }
    }
}
