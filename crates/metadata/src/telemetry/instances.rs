//! The clients that asked for their subscriptions, and whether what they send comes in time and in order.
//!
//! A client that nobody has heard of for three of its intervals, or a minute, is forgotten, and so is one whose
//! connection ends. Of more than [`INSTANCES_MAX`] clients, or of clients whose names take more than
//! [`NAMES_BYTES_MAX`] together, those are forgotten that were quiet for longest. Whoever was forgotten is known again with
//! its next request: with the same subscription id, and never too early.
//!
//! Source: `ClientMetricsManager`, `ClientMetricsInstance`.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use milena_base::Millis;
use milena_protocol::compression::Codec;
use milena_protocol::{ErrorCode, Uuid};

use super::{Client, Subscriptions};

/// Clients that are remembered (Kafka's `CACHE_MAX_SIZE`).
const INSTANCES_MAX: usize = 16_384;
/// What their client ids and software may take together, in bytes: Kafka has no bound.
const NAMES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A client is remembered for so long at least.
const REMEMBERED_MIN: Millis = Millis(60_000);
/// And for so many of its intervals.
const INTERVALS: i64 = 3;
/// An id that no client has, besides that of zeros; it stands for the metadata topic.
const RESERVED: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// Every client that is known, and the subscriptions that it is matched against.
#[derive(Debug)]
pub struct Instances {
    subscriptions: Subscriptions,
    /// Grows with each change of the subscriptions.
    version: u64,
    payload_bytes_max: usize,
    known: BTreeMap<Uuid, Instance>,
    /// By when each was last heard of: the first is forgotten first.
    quiet: BTreeMap<u64, Uuid>,
    heard: u64,
    /// Who is forgotten when a connection ends.
    connections: BTreeMap<SocketAddr, Uuid>,
    names_bytes: usize,
}

#[derive(Debug)]
struct Instance {
    client: Client,
    version: u64,
    subscription_id: i32,
    interval_ms: i32,
    last_subscribe: Option<Millis>,
    last_push: Option<Millis>,
    /// Its last push said that it will be the last one.
    is_terminating: bool,
    last_error: ErrorCode,
    /// Its place in `quiet`.
    heard: u64,
    forgotten_at: Millis,
}

/// What a client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// What the client has to name in each push.
    pub subscription_id: i32,
    /// Prefixes of names, or `*` alone for all.
    pub metrics: Vec<String>,
    /// Between two pushes.
    pub interval_ms: i32,
}

/// A push, but for its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    /// What the client believes that it is asked for.
    pub subscription_id: i32,
    /// It will send no other.
    pub is_terminating: bool,
    /// Number of the codec.
    pub codec: i8,
    /// Of the metrics as they were sent.
    pub size_bytes: usize,
}

/// A push whose metrics are to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How they are compressed.
    pub codec: Codec,
    /// When the client's next push is due, in milliseconds.
    pub interval_ms: i32,
}

impl Instances {
    /// Nobody yet, and no subscriptions. Metrics may take so many bytes, compressed or not.
    pub fn new(payload_bytes_max: usize) -> Instances {
        Instances {
            subscriptions: Subscriptions::default(),
            version: 0,
            payload_bytes_max,
            known: BTreeMap::new(),
            quiet: BTreeMap::new(),
            heard: 0,
            connections: BTreeMap::new(),
            names_bytes: 0,
        }
    }

    /// Takes over new subscriptions. Whoever is known is matched anew with its next request.
    pub fn set_subscriptions(&mut self, subscriptions: Subscriptions) {
        self.subscriptions = subscriptions;
        self.version += 1;
    }

    /// How many clients are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no client is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a client has that id.
    pub fn is_known(&self, instance: Uuid) -> bool {
        self.known.contains_key(&instance)
    }

    /// GetTelemetrySubscriptions, from a client that has an id by now.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED if it asks again before its next push is due, unless it was told to.
    pub fn subscribe(&mut self, now: Millis, client: Client) -> Result<Subscribed, ErrorCode> {
        let instance = self.hear(now, client);
        let was_told_to =
            matches!(instance.last_error, ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType);
        if instance.is_due(now, instance.last_subscribe.max(instance.last_push)) {
            instance.last_subscribe = Some(now);
        } else if !was_told_to {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        instance.last_error = ErrorCode::None;
        let (client, subscription_id) = (instance.client.clone(), instance.subscription_id);
        let wanted = self.subscriptions.wanted_of(&client);
        Ok(Subscribed { subscription_id, metrics: wanted.metrics, interval_ms: wanted.interval_ms })
    }

    /// PushTelemetry. What came of its metrics is to be told by [`Instances::received`].
    ///
    /// # Errors
    /// INVALID_REQUEST for an id that no client has, or after the last push; THROTTLING_QUOTA_EXCEEDED if it comes too
    /// early, unless it is the last one; UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE.
    pub fn push(&mut self, now: Millis, client: Client, push: Push) -> Result<Accepted, ErrorCode> {
        if [Uuid::ZERO, RESERVED].contains(&client.instance) {
            return Err(ErrorCode::InvalidRequest);
        }
        let payload_bytes_max = self.payload_bytes_max;
        let instance = self.hear(now, client);
        let checked = instance.check_push(now, push, payload_bytes_max);
        // Also where it is refused: a client that goes on after its last push is refused once.
        instance.is_terminating = push.is_terminating;
        instance.last_error = checked.err().unwrap_or(ErrorCode::None);
        checked.map(|codec| Accepted { codec, interval_ms: instance.interval_ms })
    }

    /// What came of the metrics of a push that was accepted: INVALID_RECORD if they could not be read.
    pub fn received(&mut self, instance: Uuid, error: ErrorCode) {
        if let Some(instance) = self.known.get_mut(&instance) {
            instance.last_error = error;
        }
    }

    /// A connection is gone, and with it the client that was last new on it.
    pub fn disconnected(&mut self, address: SocketAddr) {
        if let Some(instance) = self.connections.remove(&address) {
            self.forget(instance);
        }
    }

    /// Forgets whoever was quiet for too long.
    pub fn forget_quiet(&mut self, now: Millis) {
        let is_quiet = |(id, instance): (&Uuid, &Instance)| (instance.forgotten_at <= now).then_some(*id);
        let quiet: Vec<Uuid> = self.known.iter().filter_map(is_quiet).collect();
        quiet.into_iter().for_each(|instance| self.forget(instance));
    }

    /// The instance of a client that has just sent a request: matched anew if it is not known, or only by former subscriptions.
    fn hear(&mut self, now: Millis, client: Client) -> &mut Instance {
        let (id, address) = (client.instance, client.address);
        let known = self.known.get(&id);
        if known.is_none_or(|known| known.version < self.version) {
            let client = known.map_or(client, |known| known.client.clone());
            self.remember(client, address);
        }
        self.heard += 1;
        let heard = self.heard;
        let instance = self.known.get_mut(&id).expect("it was remembered just now");
        self.quiet.remove(&instance.heard);
        self.quiet.insert(heard, id);
        instance.heard = heard;
        instance.forgotten_at = now + REMEMBERED_MIN.max(Millis(INTERVALS * i64::from(instance.interval_ms)));
        instance
    }

    fn remember(&mut self, client: Client, address: SocketAddr) {
        self.forget(client.instance);
        let wanted = self.subscriptions.wanted_of(&client);
        self.names_bytes += client.names_bytes();
        self.connections.insert(address, client.instance);
        self.heard += 1;
        self.quiet.insert(self.heard, client.instance);
        let instance = Instance {
            version: self.version,
            subscription_id: wanted.id_for(client.instance),
            interval_ms: wanted.interval_ms,
            last_subscribe: None,
            last_push: None,
            is_terminating: false,
            last_error: ErrorCode::None,
            heard: self.heard,
            forgotten_at: Millis::MAX,
            client,
        };
        self.known.insert(instance.client.instance, instance);
        while self.known.len() > INSTANCES_MAX || self.names_bytes > NAMES_BYTES_MAX {
            let Some((_, quietest)) = self.quiet.first_key_value() else { break };
            self.forget(*quietest);
        }
    }

    fn forget(&mut self, instance: Uuid) {
        if let Some(forgotten) = self.known.remove(&instance) {
            self.quiet.remove(&forgotten.heard);
            self.names_bytes -= forgotten.client.names_bytes();
        }
    }

    /// What must hold after every call.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self) {
        assert!(self.known.len() <= INSTANCES_MAX, "{} clients", self.known.len());
        assert!(self.names_bytes <= NAMES_BYTES_MAX, "{} bytes", self.names_bytes);
        let names_bytes: usize = self.known.values().map(|instance| instance.client.names_bytes()).sum();
        assert_eq!(self.names_bytes, names_bytes);
        assert_eq!(self.quiet.len(), self.known.len());
        for (heard, id) in &self.quiet {
            assert_eq!(self.known.get(id).map(|instance| instance.heard), Some(*heard), "{id}");
        }
    }
}

impl Client {
    fn names_bytes(&self) -> usize {
        self.id.as_ref().map_or(0, String::len) + self.software_name.len() + self.software_version.len()
    }
}

impl Instance {
    fn is_due(&self, now: Millis, last: Option<Millis>) -> bool {
        last.is_none_or(|last| now - last >= Millis(i64::from(self.interval_ms)))
    }

    fn check_push(&mut self, now: Millis, push: Push, payload_bytes_max: usize) -> Result<Codec, ErrorCode> {
        if self.is_terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        // The first push after a new subscription may come at any time: clients spread theirs over the interval.
        if self.last_subscribe > self.last_push || self.is_due(now, self.last_push) {
            self.last_push = Some(now);
        } else if !push.is_terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        if push.subscription_id != self.subscription_id {
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        let codec = u8::try_from(push.codec).ok().and_then(Codec::from_id);
        let codec = codec.ok_or(ErrorCode::UnsupportedCompressionType)?;
        match push.size_bytes > payload_bytes_max {
            true => Err(ErrorCode::TelemetryTooLarge),
            false => Ok(codec),
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_base::Random;

    use super::super::subscriptions::tests::subscriptions;
    use super::*;

    const BYTES_MAX: usize = 1000;

    fn client(instance: u8) -> Client {
        Client {
            instance: Uuid((u128::from(instance) + 2).to_be_bytes()),
            id: Some("c".to_owned()),
            software_name: "unknown".to_owned(),
            software_version: "unknown".to_owned(),
            address: ([127, 0, 0, 1], 40_000 + u16::from(instance)).into(),
        }
    }

    fn asked_for(metrics: &str, interval_ms: &str) -> Subscriptions {
        subscriptions(&[[metrics, interval_ms, ""]])
    }

    /// Clients are asked for everything once a second.
    fn instances() -> Instances {
        let mut instances = Instances::new(BYTES_MAX);
        instances.set_subscriptions(asked_for("*", "1000"));
        instances
    }

    fn push(subscription_id: i32) -> Push {
        Push { subscription_id, is_terminating: false, codec: 0, size_bytes: 10 }
    }

    fn subscribed(instances: &mut Instances, now: i64, instance: u8) -> i32 {
        instances.subscribe(Millis(now), client(instance)).expect("in time").subscription_id
    }

    fn pushed(instances: &mut Instances, now: i64, instance: u8, push: Push) -> ErrorCode {
        let pushed = instances.push(Millis(now), client(instance), push);
        instances.check();
        pushed.err().unwrap_or(ErrorCode::None)
    }

    #[test]
    fn a_client_learns_what_it_is_asked_for() {
        let mut instances = instances();
        let subscribed = instances.subscribe(Millis(5), client(7)).expect("nobody asked before");
        assert_eq!((subscribed.metrics, subscribed.interval_ms), (vec!["*".to_owned()], 1000));
        let other = instances.subscribe(Millis(5), client(8)).expect("another client");
        assert_ne!(subscribed.subscription_id, other.subscription_id, "mixed with the client's id");
    }

    #[test]
    fn whoever_asks_again_before_its_interval_is_over_is_throttled() {
        let mut instances = instances();
        let id = subscribed(&mut instances, 0, 7);
        let again = |instances: &mut Instances, now| instances.subscribe(Millis(now), client(7)).err();
        assert_eq!(again(&mut instances, 999), Some(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(again(&mut instances, 1000), None);
        assert_eq!(pushed(&mut instances, 1500, 7, push(id)), ErrorCode::None);
        assert_eq!(again(&mut instances, 2000), Some(ErrorCode::ThrottlingQuotaExceeded), "a push counts as well");
        assert_eq!(again(&mut instances, 2500), None);
    }

    #[test]
    fn the_first_push_may_come_at_any_time_and_the_next_after_the_interval() {
        let mut instances = instances();
        let id = subscribed(&mut instances, 0, 7);
        assert_eq!(pushed(&mut instances, 400, 7, push(id)), ErrorCode::None);
        assert_eq!(pushed(&mut instances, 1399, 7, push(id)), ErrorCode::ThrottlingQuotaExceeded);
        assert_eq!(pushed(&mut instances, 1400, 7, push(id)), ErrorCode::None);
    }

    #[test]
    fn the_last_push_may_come_too_early_and_nothing_may_follow_it() {
        let mut instances = instances();
        let id = subscribed(&mut instances, 0, 7);
        let last = Push { is_terminating: true, ..push(id) };
        assert_eq!(pushed(&mut instances, 1, 7, push(id)), ErrorCode::None);
        assert_eq!(pushed(&mut instances, 2, 7, last), ErrorCode::None);
        assert_eq!(pushed(&mut instances, 2000, 7, last), ErrorCode::InvalidRequest);
        assert_eq!(pushed(&mut instances, 4000, 7, push(id)), ErrorCode::InvalidRequest);
        assert_eq!(pushed(&mut instances, 4001, 7, push(id)), ErrorCode::None, "that was not the last one after all");
    }

    #[test]
    fn a_push_is_refused_for_what_is_wrong_with_it() {
        for (wrong, error) in [
            (Push { subscription_id: 1, ..push(0) }, ErrorCode::UnknownSubscriptionId),
            (Push { codec: 5, ..push(0) }, ErrorCode::UnsupportedCompressionType),
            (Push { codec: -1, ..push(0) }, ErrorCode::UnsupportedCompressionType),
            (Push { size_bytes: BYTES_MAX + 1, ..push(0) }, ErrorCode::TelemetryTooLarge),
            (Push { size_bytes: BYTES_MAX, ..push(0) }, ErrorCode::None),
        ] {
            let mut instances = instances();
            let id = subscribed(&mut instances, 0, 7);
            let wrong = Push { subscription_id: id ^ wrong.subscription_id, ..wrong };
            assert_eq!(pushed(&mut instances, 5000, 7, wrong), error);
            let may_ask = instances.subscribe(Millis(5001), client(7)).is_ok();
            let was_told_to = matches!(error, ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType);
            assert_eq!(may_ask, was_told_to, "{error:?}");
        }
        for id in [Uuid::ZERO, RESERVED] {
            let nobody = Client { instance: id, ..client(7) };
            let refused = instances().push(Millis(0), nobody, push(0));
            assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{id}");
        }
    }

    #[test]
    fn metrics_that_could_not_be_read_are_no_reason_to_ask_for_subscriptions() {
        let mut instances = instances();
        let id = subscribed(&mut instances, 0, 7);
        assert_eq!(
            pushed(&mut instances, 5000, 7, Push { codec: 9, ..push(id) }),
            ErrorCode::UnsupportedCompressionType
        );
        assert_eq!(pushed(&mut instances, 6000, 7, push(id)), ErrorCode::None);
        instances.received(client(7).instance, ErrorCode::InvalidRecord);
        assert_eq!(instances.subscribe(Millis(6001), client(7)), Err(ErrorCode::ThrottlingQuotaExceeded));
    }

    #[test]
    fn changed_subscriptions_are_new_ids_and_may_be_asked_for_at_once() {
        let mut instances = instances();
        let id = subscribed(&mut instances, 0, 7);
        assert_eq!(pushed(&mut instances, 1, 7, push(id)), ErrorCode::None);
        instances.set_subscriptions(asked_for("a.", "1000"));
        assert_eq!(pushed(&mut instances, 2, 7, push(id)), ErrorCode::UnknownSubscriptionId, "and is not too early");
        let changed = subscribed(&mut instances, 3, 7);
        assert_ne!(id, changed);
        assert_eq!(pushed(&mut instances, 1001, 7, push(changed)), ErrorCode::ThrottlingQuotaExceeded);
        assert_eq!(pushed(&mut instances, 1002, 7, push(changed)), ErrorCode::None, "since its last push");
    }

    #[test]
    fn whoever_is_quiet_or_disconnected_is_forgotten_and_comes_back_as_the_same() {
        let mut instances = instances();
        let id = subscribed(&mut instances, 0, 7);
        instances.forget_quiet(Millis(59_999));
        assert!(instances.is_known(client(7).instance));
        instances.forget_quiet(Millis(60_000));
        assert!(instances.is_empty());
        assert_eq!(pushed(&mut instances, 60_001, 7, push(id)), ErrorCode::None);
        instances.disconnected(client(8).address);
        assert_eq!(instances.len(), 1);
        instances.disconnected(client(7).address);
        assert!(instances.is_empty());
        assert_eq!(pushed(&mut instances, 60_002, 7, push(id)), ErrorCode::None);
    }

    #[test]
    fn long_intervals_are_remembered_for_three_of_them() {
        let mut instances = Instances::new(BYTES_MAX);
        subscribed(&mut instances, 0, 7);
        instances.forget_quiet(Millis(3 * 300_000 - 1));
        assert_eq!(instances.len(), 1);
        instances.forget_quiet(Millis(3 * 300_000));
        assert_eq!(instances.len(), 0);
    }

    #[test]
    fn clients_without_number_take_bounded_memory() {
        let mut instances = instances();
        let mut client = client(1);
        for at in 0..INSTANCES_MAX + 10 {
            client.instance = Uuid(((at as u128 + 2) << 32).to_be_bytes());
            instances.subscribe(Millis(0), client.clone()).expect("everybody is new");
        }
        instances.check();
        assert_eq!(instances.len(), INSTANCES_MAX);
        assert!(!instances.is_known(Uuid((2u128 << 32).to_be_bytes())), "the quietest went first");
        client.id = Some("x".repeat(32_000));
        for at in 0..1000 {
            client.instance = Uuid(((at as u128 + 1) << 64).to_be_bytes());
            instances.subscribe(Millis(0), client.clone()).expect("everybody is new");
        }
        instances.check();
        assert!(instances.len() < 600, "{}", instances.len());
    }

    #[test]
    fn whatever_comes_in_whatever_order_it_keeps_its_promises() {
        for seed in 0..300 {
            let mut random = Random::from_seed(seed);
            let (mut instances, mut now) = (instances(), 0);
            for _ in 0..200 {
                now += random.below(700) as i64;
                let instance = random.below(5) as u8;
                let at = client(random.below(5) as u8).address;
                let client = Client { address: at, ..client(instance) };
                match random.below(10) {
                    0..4 => drop(instances.subscribe(Millis(now), client)),
                    4..8 => {
                        let id = instances.known.get(&client.instance).map_or(0, |known| known.subscription_id);
                        let (is_terminating, codec) = (random.below(8) == 0, random.below(6) as i8);
                        let push = Push { is_terminating, codec, ..push(id) };
                        let _ = instances.push(Millis(now), client, push);
                    }
                    8 => instances.disconnected(at),
                    _ if random.below(2) == 0 => instances.forget_quiet(Millis(now)),
                    _ => instances.set_subscriptions(asked_for("*", "200")),
                }
                instances.check();
            }
        }
    }
}
