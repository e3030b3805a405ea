//! What clients are asked for: the subscriptions of the cluster, and what they come to for one client.
//!
//! Source: `ClientMetricsManager.createClientInstance`, `computeSubscriptionId`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::Uuid;
use milena_protocol::records::crc32c;

use super::{Client, Selectors};
use crate::configs::{Kind, Values, words};
use crate::image::Image;
use crate::java::{java_order, java_uuid_hash};

/// All metrics, instead of prefixes of names.
const ALL_METRICS: &str = "*";
/// The longest time between two reports, and that of clients for whom there is no subscription, in milliseconds. A
/// subscription that names a longer one is not obeyed, by Kafka neither.
const INTERVAL_MS_MAX: i32 = 300_000;

/// The subscriptions of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions(Arc<[Subscription]>);

#[derive(Debug)]
struct Subscription {
    metrics: Vec<String>,
    interval_ms: i32,
    selectors: Selectors,
}

/// What one client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Prefixes of names, in the order of Kafka's hash set.
    pub(super) metrics: Vec<String>,
    pub(super) interval_ms: i32,
}

impl Subscriptions {
    /// Those of an image. Compiles their expressions, which takes milliseconds for each.
    pub fn new(image: &Image) -> Subscriptions {
        let of_clients = image.configs().filter(|(resource, _)| resource.kind == Kind::ClientMetrics);
        let by_name: BTreeMap<&String, &Values> =
            of_clients.map(|(resource, settings)| (&resource.name, settings)).collect();
        let names = java_order(by_name.keys().copied());
        // One that was written by another version, and cannot be read here, is for nobody.
        names.into_iter().filter_map(|name| Subscription::read(by_name[name])).collect()
    }

    pub(super) fn wanted_of(&self, client: &Client) -> Wanted {
        // In the order in which they come into Kafka's set, since that decides where they stand in it.
        let (mut metrics, mut known) = (Vec::new(), BTreeSet::new());
        let mut interval_ms = INTERVAL_MS_MAX;
        for subscription in self.0.iter().filter(|subscription| subscription.selectors.fit(client)) {
            let of_this = java_order(subscription.metrics.iter()).into_iter();
            metrics.extend(of_this.filter(|prefix| known.insert(prefix.as_str())));
            interval_ms = interval_ms.min(subscription.interval_ms);
        }
        let metrics = match known.contains(ALL_METRICS) {
            true => vec![ALL_METRICS.to_owned()],
            false => java_order(metrics.iter().copied()).into_iter().cloned().collect(),
        };
        Wanted { metrics, interval_ms }
    }
}

impl FromIterator<Subscription> for Subscriptions {
    fn from_iter<T: IntoIterator<Item = Subscription>>(all: T) -> Subscriptions {
        Subscriptions(all.into_iter().collect())
    }
}

impl Subscription {
    fn read(settings: &Values) -> Option<Subscription> {
        let listed = |name: &str| settings.get(name).map_or_else(Vec::new, |value| words(value));
        let interval_ms = match settings.get("interval.ms") {
            Some(value) => value.trim().parse().ok()?,
            None => INTERVAL_MS_MAX,
        };
        Some(Subscription {
            metrics: listed("metrics").into_iter().map(str::to_owned).collect(),
            interval_ms,
            selectors: Selectors::parse(&listed("match")).ok()?,
        })
    }
}

impl Wanted {
    /// By this a client and a node find out whether they speak of the same subscriptions: the checksum of what Java prints of
    /// them, mixed with the client's id.
    pub(super) fn id_for(&self, instance: Uuid) -> i32 {
        let text = format!("[{}]{}", self.metrics.join(", "), self.interval_ms);
        crc32c(text.as_bytes()) as i32 ^ java_uuid_hash(instance)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Subscriptions of `metrics`, `interval.ms` and `match`; an empty text is not set.
    pub(in crate::telemetry) fn subscriptions(all: &[[&str; 3]]) -> Subscriptions {
        let read = |values: &[&str; 3]| {
            let pairs =
                ["metrics", "interval.ms", "match"].into_iter().zip(values).filter(|(_, value)| !value.is_empty());
            let settings = pairs.map(|(name, value)| (name.to_owned(), (*value).to_owned())).collect();
            Subscription::read(&settings).expect("it can be read")
        };
        all.iter().map(read).collect()
    }

    fn client(id: &str) -> Client {
        Client {
            instance: Uuid::ZERO,
            id: Some(id.to_owned()),
            software_name: "unknown".to_owned(),
            software_version: "unknown".to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
        }
    }

    fn wanted(all: &[[&str; 3]], id: &str) -> (Vec<String>, i32) {
        let Wanted { metrics, interval_ms } = subscriptions(all).wanted_of(&client(id));
        (metrics, interval_ms)
    }

    #[test]
    fn a_client_is_asked_for_all_that_fits_it_at_the_shortest_interval() {
        let all = [["a.,b.", "1000", "client_id=x"], ["b.,c.", "5000", ""], ["d.", "100", "client_id=y"]];
        let sorted = |(mut metrics, interval_ms): (Vec<String>, i32)| {
            metrics.sort();
            (metrics.join(" "), interval_ms)
        };
        assert_eq!(sorted(wanted(&all, "x")), ("a. b. c.".to_owned(), 1000));
        assert_eq!(sorted(wanted(&all, "z")), ("b. c.".to_owned(), 5000));
    }

    #[test]
    fn whoever_is_meant_by_nothing_is_asked_for_nothing_every_five_minutes() {
        assert_eq!(wanted(&[["a.", "100", "client_id=x"]], "y"), (vec![], 300_000));
        assert_eq!(wanted(&[["a.", "3600000", ""]], "y"), (vec!["a.".to_owned()], 300_000), "no longer than that");
    }

    #[test]
    fn all_metrics_stand_alone() {
        assert_eq!(wanted(&[["a.", "", ""], ["b.,*", "", ""]], "x").0, ["*"]);
    }

    #[test]
    fn the_id_is_the_checksum_of_javas_text_and_the_clients_hash() {
        let prefixes = "org.apache.kafka.producer.,org.apache.kafka.consumer.,a,b";
        let wanted = subscriptions(&[[prefixes, "1000", ""]]).wanted_of(&client("x"));
        assert_eq!(wanted.metrics, ["org.apache.kafka.producer.", "a", "org.apache.kafka.consumer.", "b"]);
        let text = b"[org.apache.kafka.producer., a, org.apache.kafka.consumer., b]1000";
        assert_eq!(wanted.id_for(Uuid::ZERO), crc32c(text) as i32);
        let other = Uuid::parse("AAAAAAAAAAEAAAAAAAAAAg").expect("22 characters");
        assert_eq!(wanted.id_for(other), crc32c(text) as i32 ^ 3);
    }
}
