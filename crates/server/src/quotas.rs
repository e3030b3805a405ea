//! What clients do is measured here against their quotas, and how long they are to be kept from more is found out. Without
//! quotas one load of a flag is all that a request pays.
//!
//! Who is measured as one, and against which bound, is decided by [`Limits`]; the rates are [`Rate`]s. A client that did
//! nothing for all windows is forgotten: its rate would be as that of a new one.
//!
//! Source: `ClientQuotaManager`, `ClientRequestQuotaManager`, `ConnectionQuotas`.

mod addresses;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_metadata::quotas::{
    CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, Limits, Owner, PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE, Rate, Window,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::addresses::Addresses;

/// Every connection's principal as long as nobody has to say who he is.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";
/// What the clients of one quota may take in memory, roughly; further ones share one measure.
const CLIENTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a client takes besides its name: its samples.
const CLIENT_BYTES: usize = 512;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes of Produce requests.
    Produced = 0,
    /// Bytes of Fetch answers.
    Fetched = 1,
    /// Percent of a core's time.
    Time = 2,
}

impl Measure {
    const ALL: [(Measure, &str); 3] = [
        (Measure::Produced, PRODUCER_BYTE_RATE),
        (Measure::Fetched, CONSUMER_BYTE_RATE),
        (Measure::Time, REQUEST_PERCENTAGE),
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What is throttled, as metrics call it: by [`Measure`], and connections.
const THROTTLED: [&str; 4] = [PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE, REQUEST_PERCENTAGE, CONNECTION_CREATION_RATE];
/// The place of connections there.
const CONNECTIONS: usize = 3;
/// The bit of quotas by address, beside those of [`Measure`].
const BY_ADDRESS: u8 = 1 << 7;

/// The measures of a node.
#[derive(Debug)]
pub struct Quotas {
    /// For which measures there are quotas.
    active: AtomicU8,
    window: Window,
    started: Instant,
    clients: [Mutex<Clients>; 3],
    addresses: Mutex<Addresses>,
    throttled: [Throttled; 4],
}

/// How often somebody was throttled, and for how long together.
#[derive(Debug, Default)]
struct Throttled {
    times: AtomicU64,
    delay_ms: AtomicU64,
}

impl Throttled {
    fn count(&self, delay_ms: u64) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.delay_ms.fetch_add(delay_ms, Ordering::Relaxed);
    }
}

/// The clients that one measure knows.
#[derive(Debug, Default)]
struct Clients {
    limits: Limits,
    /// By user and client id, as far as these count.
    known: HashMap<(String, String), Client>,
    known_bytes: usize,
    /// Whoever finds no room.
    others: Option<Client>,
}

#[derive(Debug, Default)]
struct Client {
    rate: Rate,
    limit: Option<f64>,
}

impl Quotas {
    /// No quotas yet.
    pub(crate) fn new(window: Window) -> Quotas {
        Quotas {
            active: AtomicU8::new(0),
            window,
            started: Instant::now(),
            clients: Default::default(),
            addresses: Mutex::default(),
            throttled: Default::default(),
        }
    }

    /// Whether anybody has a quota for this.
    pub(crate) fn is_active(&self, measure: Measure) -> bool {
        self.active.load(Ordering::Relaxed) & measure.bit() != 0
    }

    /// Takes over the quotas of an image. Those of the hosts that it answers act once they are [`Quotas::found`].
    pub(crate) fn set(&self, image: &Image) -> Vec<String> {
        let mut active = 0;
        for (measure, key) in Measure::ALL {
            let mut clients = self.clients[measure as usize].lock();
            clients.set(Limits::new(image, key));
            active |= if clients.limits.is_empty() { 0 } else { measure.bit() };
        }
        let mut by_address = self.addresses.lock();
        let unknown = by_address.set(image);
        active |= if by_address.is_empty() { 0 } else { BY_ADDRESS };
        self.active.store(active, Ordering::Relaxed);
        unknown
    }

    /// A host among the quotas has this address.
    pub(crate) fn found(&self, host: String, address: std::net::IpAddr) {
        self.addresses.lock().found(host, address);
    }

    /// Counts what a client did. Answers for how many milliseconds it is to be throttled.
    pub(crate) fn record(&self, measure: Measure, client_id: &str, value: f64) -> u32 {
        if !self.is_active(measure) {
            return 0;
        }
        let (window, now) = (self.window, self.now());
        let mut clients = self.clients[measure as usize].lock();
        let client = clients.of(client_id);
        client.rate.record(window, now, value);
        let Some(limit) = client.limit else { return 0 };
        let throttle_ms = client.rate.throttle_ms(window, now, limit);
        let throttle_ms = match measure {
            Measure::Time => throttle_ms.min(window.size_ms),
            Measure::Produced | Measure::Fetched => throttle_ms,
        };
        let throttle_ms = u32::try_from(throttle_ms).unwrap_or(u32::MAX).min(i32::MAX as u32);
        if throttle_ms > 0 {
            self.throttled[measure as usize].count(u64::from(throttle_ms));
        }
        throttle_ms
    }

    /// Counts what a client did, for its next request to be throttled; a negative value takes back.
    pub(crate) fn count(&self, measure: Measure, client_id: &str, value: f64) {
        if self.is_active(measure) {
            let (window, now) = (self.window, self.now());
            self.clients[measure as usize].lock().of(client_id).rate.record(window, now, value);
        }
    }

    /// [`Quotas::record`] for the time of a request.
    pub(crate) fn record_time(&self, client_id: &str, spent: Duration) -> u32 {
        self.record(Measure::Time, client_id, percent(spent))
    }

    /// [`Quotas::count`] for the time of a request.
    pub(crate) fn count_time(&self, client_id: &str, spent: Duration) {
        self.count(Measure::Time, client_id, percent(spent));
    }

    /// The most that a client may do at once without being throttled in any case; `None` is no bound.
    pub(crate) fn most(&self, measure: Measure, client_id: &str) -> Option<f64> {
        if !self.is_active(measure) {
            return None;
        }
        let clients = self.clients[measure as usize].lock();
        let limit = clients.limits.limit(clients.limits.owner(ANONYMOUS, client_id))?;
        Some(limit * ((self.window.samples as i64 - 1) * self.window.size_ms) as f64 / 1000.0)
    }

    /// Counts a connection from an address. `Err` says for how long it must wait, and then go.
    pub(crate) fn connected(&self, address: std::net::IpAddr) -> Result<(), Duration> {
        if self.active.load(Ordering::Relaxed) & BY_ADDRESS == 0 {
            return Ok(());
        }
        let connected = self.addresses.lock().connected(self.window, self.now(), address);
        connected.inspect_err(|delay| self.throttled[CONNECTIONS].count(delay.as_millis() as u64))
    }

    /// By quota, how often it was passed since the start, and for how many seconds that throttled somebody.
    pub(crate) fn throttled(&self) -> impl Iterator<Item = (&'static str, u64, f64)> + '_ {
        THROTTLED.into_iter().zip(&self.throttled).map(|(name, throttled)| {
            let delay_ms = throttled.delay_ms.load(Ordering::Relaxed);
            (name, throttled.times.load(Ordering::Relaxed), delay_ms as f64 / 1000.0)
        })
    }

    /// Forgets who did nothing for all windows.
    pub(crate) fn forget_idle(&self) {
        if self.active.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (window, now) = (self.window, self.now());
        for clients in &self.clients {
            clients.lock().forget_idle(window, now);
        }
        self.addresses.lock().forget_idle(window, now);
    }

    /// A clock that does not jump.
    fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as i64)
    }
}

/// Of one core's time in a second.
fn percent(spent: Duration) -> f64 {
    spent.as_secs_f64() * 100.0
}

impl Clients {
    /// Whoever is known already has the new limit from now on, and what it did counts on.
    fn set(&mut self, limits: Limits) {
        if limits.is_empty() {
            *self = Clients::default();
        }
        for ((user, client_id), client) in &mut self.known {
            client.limit = limits.limit(Owner { user, client_id });
        }
        self.others = None;
        self.limits = limits;
    }

    fn of(&mut self, client_id: &str) -> &mut Client {
        let owner = self.limits.owner(ANONYMOUS, client_id);
        let key = (owner.user.to_owned(), owner.client_id.to_owned());
        let limit = self.limits.limit(owner);
        let size_bytes = owner.client_id.len() + CLIENT_BYTES;
        if self.known_bytes + size_bytes > CLIENTS_BYTES_MAX && !self.known.contains_key(&key) {
            let others = self.others.get_or_insert_default();
            others.limit = limit;
            return others;
        }
        let known_bytes = &mut self.known_bytes;
        self.known.entry(key).or_insert_with(|| {
            *known_bytes += size_bytes;
            Client { rate: Rate::default(), limit }
        })
    }

    fn forget_idle(&mut self, window: Window, now: Millis) {
        let known_bytes = &mut self.known_bytes;
        self.known.retain(|(_, client_id), client| {
            let is_over = client.rate.is_over(window, now);
            *known_bytes -= if is_over { client_id.len() + CLIENT_BYTES } else { 0 };
            !is_over
        });
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::image::Image;
    use tokio::time::advance;

    use super::*;

    /// Kafka's default.
    const WINDOW: Window = Window { samples: 11, size_ms: 1000 };

    fn with(entity: &[(&str, Option<&str>)], key: &str, value: f64) -> Quotas {
        let quotas = Quotas::new(WINDOW);
        quotas.set(&image(entity, key, value));
        quotas
    }

    fn image(entity: &[(&str, Option<&str>)], key: &str, value: f64) -> Image {
        let part = |(kind, name): &(&str, Option<&str>)| EntityData {
            entity_type: (*kind).to_owned(),
            entity_name: name.map(ToOwned::to_owned),
        };
        let record =
            ClientQuotaRecord { entity: entity.iter().map(part).collect(), key: key.to_owned(), value, remove: false };
        let mut delta = Delta::new(&Image::default());
        delta.replay(milena_protocol::Offset(0), &record.into()).expect("it fits");
        delta.apply(Default::default()).0
    }

    use milena_metadata::delta::Delta;
    use milena_protocol::messages::ClientQuotaRecord;
    use milena_protocol::messages::client_quota_record::EntityData;

    const ANY_CLIENT: &[(&str, Option<&str>)] = &[("client-id", None)];

    #[tokio::test(start_paused = true)]
    async fn each_client_id_has_the_default_for_itself() {
        let quotas = with(ANY_CLIENT, PRODUCER_BYTE_RATE, 100.0);
        assert_eq!(quotas.record(Measure::Produced, "a", 2000.0), 10_000);
        assert_eq!(quotas.record(Measure::Produced, "b", 1000.0), 0);
        assert_eq!(quotas.record(Measure::Fetched, "a", 1e9), 0, "nobody has a quota for that");
        advance(Duration::from_secs(11)).await;
        assert_eq!(quotas.record(Measure::Produced, "a", 0.0), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_counts_for_what_was_done_before() {
        let quotas = with(ANY_CLIENT, PRODUCER_BYTE_RATE, 100.0);
        assert_eq!(quotas.record(Measure::Produced, "a", 1000.0), 0);
        quotas.set(&image(ANY_CLIENT, PRODUCER_BYTE_RATE, 50.0));
        assert_eq!(quotas.record(Measure::Produced, "a", 0.0), 10_000);
        quotas.set(&Image::default());
        assert!(!quotas.is_active(Measure::Produced));
        assert_eq!(quotas.record(Measure::Produced, "a", 1e9), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_a_quota_is_never_throttled() {
        let quotas = with(&[("client-id", Some("a"))], PRODUCER_BYTE_RATE, 100.0);
        assert_eq!(quotas.record(Measure::Produced, "b", 1e9), 0);
        assert_eq!(quotas.most(Measure::Produced, "b"), None);
        assert_eq!(quotas.most(Measure::Produced, "a"), Some(1000.0));
    }

    #[tokio::test(start_paused = true)]
    async fn time_throttles_for_one_window_at_most() {
        let quotas = with(ANY_CLIENT, REQUEST_PERCENTAGE, 1.0);
        assert_eq!(quotas.record_time("a", Duration::from_millis(100)), 0, "one percent of ten seconds");
        assert_eq!(quotas.record_time("a", Duration::from_secs(100)), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_without_number_take_bounded_memory_and_go_when_they_are_idle() {
        let quotas = with(ANY_CLIENT, PRODUCER_BYTE_RATE, 1.0);
        let mut throttled = 0;
        for at in 0..50_000 {
            throttled += u32::from(quotas.record(Measure::Produced, &at.to_string(), 1.0) > 0);
        }
        let known = || quotas.clients[0].lock().known.len();
        assert!((30_000..34_000).contains(&known()), "{}", known());
        assert!(throttled > 10_000, "those beyond share one measure");
        advance(Duration::from_secs(11)).await;
        quotas.forget_idle();
        assert_eq!((known(), quotas.clients[0].lock().known_bytes), (0, 0));
    }
}
