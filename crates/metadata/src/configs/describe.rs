//! What DescribeConfigs shows: each setting's value, where it comes from, and all its origins.
//!
//! Source: `ConfigHelper`; a real Kafka's answers are in the tests.

use super::check::normalize;
use super::effective::{Layers, effective};
use super::{Dynamic, Kind, Setting, Source, Type, Values, Visibility, find, synonyms, table};

/// One origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key there.
    pub name: String,
    /// The value as it was written; `None` if secret.
    pub value: Option<String>,
    /// Where.
    pub source: Source,
}

/// A setting as DescribeConfigs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// What is in force; `None` if null or secret.
    pub value: Option<String>,
    /// Where that comes from: the source of the first synonym.
    pub source: Source,
    /// All origins, strongest first.
    pub synonyms: Vec<Synonym>,
    /// Whether it cannot be changed at run time.
    pub read_only: bool,
    /// Whether its value is secret.
    pub sensitive: bool,
    /// How its value is read; `None` for a key that no table knows.
    pub kind: Option<Type>,
    /// One line for people.
    pub doc: String,
}

/// Every setting of the resource with its origins, sorted by name.
///
/// For a broker the unknown keys of its layers are shown too, as secrets (traps 163 to 165).
pub fn describe(kind: Kind, layers: Layers) -> Vec<Described> {
    let mut all: Vec<Described> = table(kind)
        .iter()
        .filter(|setting| setting.visibility == Visibility::Public || is_set(kind, setting.name, layers))
        .map(|setting| described(kind, setting, layers))
        .collect();
    if kind == Kind::Broker {
        all.extend(unknown_keys(layers));
        all.sort_by(|one, two| one.name.cmp(&two.name));
    }
    all
}

/// What is set on all brokers (DescribeConfigs of a broker without a name).
pub fn describe_all_brokers(all_brokers: &Values) -> Vec<Described> {
    let none = Values::new();
    let layers = Layers { own: &none, broker: &none, all_brokers, file: &none };
    let shown = |name: &String| {
        let mut shown = match find(Kind::Broker, name) {
            Some(setting) => described(Kind::Broker, setting, layers),
            None => unknown_key(name, layers),
        };
        shown.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        shown
    };
    all_brokers.keys().map(shown).collect()
}

fn is_set(kind: Kind, name: &str, layers: Layers) -> bool {
    match kind {
        Kind::Broker => layers.file.contains_key(name),
        _ => layers.own.contains_key(name),
    }
}

fn described(kind: Kind, setting: &Setting, layers: Layers) -> Described {
    let sensitive = setting.kind == Type::Password;
    let synonyms = origins(kind, setting, layers, sensitive);
    Described {
        name: setting.name.to_string(),
        value: effective(kind, setting.name, layers).filter(|_| !sensitive),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        synonyms,
        read_only: setting.dynamic == Dynamic::ReadOnly,
        sensitive,
        kind: Some(setting.kind),
        doc: setting.doc.to_string(),
    }
}

fn origins(kind: Kind, setting: &Setting, layers: Layers, sensitive: bool) -> Vec<Synonym> {
    let own_source = match kind {
        Kind::Topic => Source::Topic,
        Kind::Group => Source::Group,
        Kind::ClientMetrics => Source::ClientMetrics,
        Kind::Broker => return broker_origins(setting.name, layers, sensitive),
    };
    let own = layers.own.get(setting.name).map(|value| Synonym {
        name: setting.name.to_string(),
        value: normalize(setting, value).ok(),
        source: own_source,
    });
    let behind = match kind {
        Kind::Topic => synonyms::of_topic(setting.name)
            .first()
            .map_or_else(Vec::new, |fallback| broker_origins(fallback.name, layers, sensitive)),
        Kind::Group => match synonyms::of_group(setting.name) {
            Some(broker) => broker_origins(&broker, layers, sensitive),
            None => default_origin(setting.name, setting.default).into_iter().collect(),
        },
        _ => Vec::new(),
    };
    own.into_iter().chain(behind).collect()
}

/// All layers of a broker setting and its synonyms. What stands before the first origin under the setting's own name
/// is dropped, as Kafka does it: a topic whose hours come from the file alone shows no origin at all.
fn broker_origins(name: &str, layers: Layers, sensitive: bool) -> Vec<Synonym> {
    let names = synonyms::of_broker(name);
    let sources = [
        (layers.broker, Source::DynamicBroker),
        (layers.all_brokers, Source::DynamicDefaultBroker),
        (layers.file, Source::StaticBroker),
    ];
    let set = sources.into_iter().flat_map(|(layer, source)| {
        names.iter().filter_map(move |name| {
            let value = layer.get(*name)?.clone();
            Some(Synonym { name: name.to_string(), value: Some(value), source })
        })
    });
    let defaults = names.iter().filter_map(|name| default_origin(name, find(Kind::Broker, name)?.default));
    let all = set.chain(defaults).skip_while(|synonym| synonym.name != name);
    all.map(|synonym| Synonym { value: synonym.value.filter(|_| !sensitive), ..synonym }).collect()
}

fn default_origin(name: &str, default: Option<&str>) -> Option<Synonym> {
    Some(Synonym { name: name.to_string(), value: Some(default?.to_string()), source: Source::Default })
}

/// Keys of the broker's own layers that no table knows: listener settings and the users' own. They may hold secrets.
fn unknown_keys(layers: Layers) -> Vec<Described> {
    let keys: std::collections::BTreeSet<&String> = layers.broker.keys().chain(layers.file.keys()).collect();
    let unknown = keys.into_iter().filter(|name| find(Kind::Broker, name).is_none());
    unknown.map(|name| unknown_key(name, layers)).collect()
}

fn unknown_key(name: &str, layers: Layers) -> Described {
    let base = synonyms::listener_setting(name).and_then(|base| find(Kind::Broker, base));
    let synonyms = broker_origins(name, layers, true);
    Described {
        name: name.to_string(),
        value: None,
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        synonyms,
        read_only: base.is_none_or(|base| base.dynamic == Dynamic::ReadOnly),
        sensitive: true,
        kind: base.map(|base| base.kind),
        doc: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn shown(settings: &[Described], name: &str) -> String {
        let setting = settings.iter().find(|setting| setting.name == name).expect("shown");
        let synonyms: Vec<String> = setting
            .synonyms
            .iter()
            .map(|synonym| {
                format!("{:?}:{}={}", synonym.source, synonym.name, synonym.value.as_deref().unwrap_or("null"))
            })
            .collect();
        format!("{} [{}]", setting.value.as_deref().unwrap_or("null"), synonyms.join(", "))
    }

    /// What `kafka-configs --describe --all` printed for the same four layers.
    #[test]
    fn origins_are_those_that_kafka_shows() {
        let own = values(&[("cleanup.policy", "compact")]);
        let broker = values(&[("log.segment.delete.delay.ms", "50000")]);
        let all_brokers = values(&[("log.retention.ms", "777777"), ("min.insync.replicas", "1")]);
        let file = values(&[("log.retention.hours", "2"), ("log.segment.bytes", "3000000")]);
        let layers = Layers { own: &own, broker: &broker, all_brokers: &all_brokers, file: &file };
        let topic = describe(Kind::Topic, layers);
        assert_eq!(topic.len(), 33);
        for (name, expected) in [
            ("cleanup.policy", "compact [Topic:cleanup.policy=compact, Default:log.cleanup.policy=delete]"),
            (
                "file.delete.delay.ms",
                "50000 [DynamicBroker:log.segment.delete.delay.ms=50000, Default:log.segment.delete.delay.ms=60000]",
            ),
            ("flush.ms", "9223372036854775807 []"),
            (
                "retention.ms",
                "777777 [DynamicDefaultBroker:log.retention.ms=777777, StaticBroker:log.retention.hours=2, \
                 Default:log.retention.hours=168]",
            ),
            ("segment.bytes", "3000000 [StaticBroker:log.segment.bytes=3000000, Default:log.segment.bytes=1073741824]"),
            ("segment.ms", "604800000 []"),
            ("min.insync.replicas", "1 [DynamicDefaultBroker:min.insync.replicas=1, Default:min.insync.replicas=1]"),
        ] {
            assert_eq!(shown(&topic, name), expected, "{name}");
        }
        let broker = describe(Kind::Broker, Layers { own: &Values::new(), ..layers });
        assert_eq!(shown(&broker, "log.roll.ms"), "null []");
        assert_eq!(shown(&broker, "log.roll.hours"), "168 [Default:log.roll.hours=168]");
        let everywhere = describe_all_brokers(&all_brokers);
        assert_eq!(shown(&everywhere, "log.retention.ms"), "777777 [DynamicDefaultBroker:log.retention.ms=777777]");
        assert_eq!(everywhere.len(), 2);
    }

    #[test]
    fn a_group_shows_the_brokers_default_behind_its_own_value() {
        let none = Values::new();
        let own = values(&[("consumer.heartbeat.interval.ms", "6000")]);
        let group = describe(Kind::Group, Layers { own: &own, broker: &none, all_brokers: &none, file: &none });
        let expected = "6000 [Group:consumer.heartbeat.interval.ms=6000, \
                        Default:group.consumer.heartbeat.interval.ms=5000]";
        assert_eq!(shown(&group, "consumer.heartbeat.interval.ms"), expected);
        assert_eq!(
            shown(&group, "share.isolation.level"),
            "read_uncommitted [Default:share.isolation.level=read_uncommitted]"
        );
    }

    #[test]
    fn unknown_keys_of_the_file_are_shown_as_secrets() {
        let none = Values::new();
        let file = values(&[("my.own", "hidden"), ("node.id", "1")]);
        let broker = describe(Kind::Broker, Layers { own: &none, broker: &none, all_brokers: &none, file: &file });
        let own = broker.iter().find(|setting| setting.name == "my.own").expect("shown");
        assert!(own.sensitive && own.value.is_none() && own.synonyms[0].value.is_none());
    }
}
