//! How many connections there are, and whether there may be one more (KIP-402, KIP-612).
//!
//! A connection that came in waits at its listener until it fits the rates and until there is a place for it; those behind
//! it wait in the kernel meanwhile. An address that has its share already is sent away at once.
//!
//! ```text
//!   accepted ──► rate of the broker, rate of the listener ──► a place at the listener, at the broker ──► served
//!                too fast: wait, one window at most           none: wait until somebody leaves
//! ```
//!
//! Connections between brokers never wait for a place that clients have: whoever was silent for the longest time has to go
//! for them, and does so when it is answered.
//!
//! Source: `ConnectionQuotas`, `Processor.closeExcessConnections`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milena_base::Millis;
use milena_metadata::quotas::{Rate, Window};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// What is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionLimits {
    /// Of the broker.
    pub broker: Limit,
    /// Of each listener.
    pub listeners: BTreeMap<Arc<str>, Limit>,
    /// `max.connections.per.ip`
    pub per_address_max: usize,
    /// `max.connections.per.ip.overrides`
    pub by_host: BTreeMap<String, usize>,
    /// The listener between brokers: clients of others do not keep it from anything.
    pub inter_broker: Arc<str>,
}

/// Bounds of the broker, or of one listener.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// `max.connections`
    pub connections_max: usize,
    /// `max.connection.creation.rate`, in connections a second.
    pub rate_max: f64,
}

/// Open connections.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
    /// Somebody left, or the limits are other ones.
    changed: Notify,
    window: Window,
    started: Instant,
    throttled: AtomicU64,
    throttled_ms: AtomicU64,
    /// One reference for each that is kept only to be ended later.
    pub(crate) waiting_to_end: Arc<()>,
}

#[derive(Debug)]
struct Open {
    limits: ConnectionLimits,
    /// Addresses of hosts that have bounds of their own, as far as they are known.
    hosts: HashMap<String, IpAddr>,
    by_address: HashMap<IpAddr, usize>,
    by_listener: HashMap<Arc<str>, usize>,
    rate: Rate,
    rates: HashMap<Arc<str>, Rate>,
    all: HashMap<u64, Entry>,
    /// So many of them are told to go.
    leaving: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    guest: Arc<Guest>,
    is_told_to_go: bool,
}

/// One connection, as the others see it.
#[derive(Debug)]
struct Guest {
    listener: Arc<str>,
    /// When it last asked for something, in milliseconds since the start.
    asked_ms: AtomicU64,
    go: Notify,
}

/// Why a connection has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Until somebody leaves.
    Full,
    /// Its address has as many as it may.
    TooMany,
}

impl Connections {
    /// None yet. Rates are measured over the windows of quotas.
    pub(crate) fn new(limits: ConnectionLimits, window: Window) -> Connections {
        let open = Open {
            hosts: addresses_of(&limits.by_host),
            limits,
            by_address: HashMap::new(),
            by_listener: HashMap::new(),
            rate: Rate::default(),
            rates: HashMap::new(),
            all: HashMap::new(),
            leaving: 0,
            next: 0,
        };
        Connections {
            open: Mutex::new(open),
            changed: Notify::new(),
            window,
            started: Instant::now(),
            throttled: AtomicU64::new(0),
            throttled_ms: AtomicU64::new(0),
            waiting_to_end: Arc::new(()),
        }
    }

    /// Other limits from now on. Where there are too many connections by these, some have to go.
    pub(crate) fn set_limits(&self, limits: ConnectionLimits) {
        let mut open = self.open.lock();
        open.hosts.retain(|host, _| limits.by_host.contains_key(host));
        open.hosts.extend(addresses_of(&limits.by_host));
        open.limits = limits;
        open.send_away_excess();
        drop(open);
        self.changed.notify_waiters();
    }

    /// Hosts with bounds of their own that have none as long as nobody says who they are.
    pub(crate) fn unknown_hosts(&self) -> Vec<String> {
        let open = self.open.lock();
        open.limits.by_host.keys().filter(|host| !open.hosts.contains_key(*host)).cloned().collect()
    }

    /// A host's address.
    pub(crate) fn found(&self, host: String, address: IpAddr) {
        self.open.lock().hosts.insert(host, address.to_canonical());
    }

    /// Everybody who came in by this listener has to go.
    pub(crate) fn send_away(&self, listener: &str) {
        let mut open = self.open.lock();
        let here = open.all.iter().filter(|(_, entry)| *entry.guest.listener == *listener);
        let ids: Vec<u64> = here.map(|(id, _)| *id).collect();
        open.send_away(ids.into_iter());
    }

    /// Counts a connection, and waits until it fits the rates.
    pub(crate) async fn arrived(&self, listener: &Arc<str>) {
        let delay = self.open.lock().count(self.window, self.now(), listener);
        if delay > Duration::ZERO {
            self.throttled.fetch_add(1, Ordering::Relaxed);
            self.throttled_ms.fetch_add(delay.as_millis() as u64, Ordering::Relaxed);
            sleep(delay).await;
        }
    }

    /// A connection that is not let in does not count against the rates.
    pub(crate) fn take_back(&self, listener: &Arc<str>) {
        self.open.lock().take_back(self.window, self.now(), listener);
    }

    /// Waits until a connection at this listener would have a place.
    pub(crate) async fn place_free(&self, listener: &Arc<str>) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.open.lock().has_place(listener) {
                return;
            }
            changed.await;
        }
    }

    /// Takes a place.
    pub(crate) fn enter(self: &Arc<Self>, listener: &Arc<str>, address: IpAddr) -> Result<Place, NoPlace> {
        let address = address.to_canonical();
        let guest = Arc::new(Guest { listener: Arc::clone(listener), asked_ms: AtomicU64::new(0), go: Notify::new() });
        guest.asked_ms.store(self.now().0 as u64, Ordering::Relaxed);
        let id = self.open.lock().enter(address, Arc::clone(&guest))?;
        Ok(Place { connections: Arc::clone(self), guest, id, address })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().all.len()
    }

    /// How often somebody waited for the rates, and how many seconds together.
    pub(crate) fn throttled(&self) -> (u64, f64) {
        (self.throttled.load(Ordering::Relaxed), self.throttled_ms.load(Ordering::Relaxed) as f64 / 1000.0)
    }

    fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as i64)
    }
}

impl Open {
    /// How long a connection waits for the rates. Those that wait count.
    fn count(&mut self, window: Window, now: Millis, listener: &Arc<str>) -> Duration {
        let mut throttle_ms = 0;
        let limits = &self.limits;
        let mut record = |rate: &mut Rate, limit: f64| {
            rate.record(window, now, 1.0);
            throttle_ms = throttle_ms.max(rate.throttle_ms(window, now, limit).min(window.size_ms));
        };
        if !self.is_protected(listener) {
            record(&mut self.rate, limits.broker.rate_max);
        }
        if let Some(limit) = limits.listeners.get(listener) {
            record(self.rates.entry(Arc::clone(listener)).or_default(), limit.rate_max);
        }
        Duration::from_millis(throttle_ms as u64)
    }

    fn take_back(&mut self, window: Window, now: Millis, listener: &Arc<str>) {
        if !self.is_protected(listener) {
            self.rate.record(window, now, -1.0);
        }
        if let Some(rate) = self.rates.get_mut(listener) {
            rate.record(window, now, -1.0);
        }
    }

    fn is_protected(&self, listener: &str) -> bool {
        *self.limits.inter_broker == *listener && self.limits.listeners.len() > 1
    }

    fn has_place(&self, listener: &str) -> bool {
        let here = self.by_listener.get(listener).copied().unwrap_or(0);
        // A listener that is gone takes nobody, but does not keep its last one waiting for ever either.
        let here_max = self.limits.listeners.get(listener).map_or(usize::MAX, |limit| limit.connections_max);
        here < here_max && (self.is_protected(listener) || self.all.len() < self.limits.broker.connections_max)
    }

    fn enter(&mut self, address: IpAddr, guest: Arc<Guest>) -> Result<u64, NoPlace> {
        if !self.has_place(&guest.listener) {
            return Err(NoPlace::Full);
        }
        let from_address = self.by_address.get(&address).copied().unwrap_or(0);
        if from_address >= self.address_max(address) {
            return Err(NoPlace::TooMany);
        }
        self.by_address.insert(address, from_address + 1);
        *self.by_listener.entry(Arc::clone(&guest.listener)).or_default() += 1;
        self.next += 1;
        self.all.insert(self.next, Entry { guest, is_told_to_go: false });
        self.send_away_excess();
        Ok(self.next)
    }

    fn address_max(&self, address: IpAddr) -> usize {
        let mut meant = self.hosts.iter().filter(|(_, known)| **known == address);
        let own = meant.find_map(|(host, _)| self.limits.by_host.get(host));
        own.copied().unwrap_or(self.limits.per_address_max)
    }

    fn leave(&mut self, id: u64, address: IpAddr, listener: &str) {
        let left = self.all.remove(&id);
        self.leaving -= usize::from(left.is_some_and(|entry| entry.is_told_to_go));
        one_less(&mut self.by_address, &address);
        one_less(&mut self.by_listener, listener);
    }

    /// Of clients, whoever was silent for the longest time.
    fn send_away_excess(&mut self) {
        let excess = (self.all.len() - self.leaving).saturating_sub(self.limits.broker.connections_max);
        if excess == 0 {
            return;
        }
        let protected = self.is_protected(&self.limits.inter_broker).then(|| Arc::clone(&self.limits.inter_broker));
        let is_meant =
            |(_, entry): &(&u64, &Entry)| !entry.is_told_to_go && Some(&entry.guest.listener) != protected.as_ref();
        let asked = |(id, entry): (&u64, &Entry)| (entry.guest.asked_ms.load(Ordering::Relaxed), *id);
        let mut clients: Vec<(u64, u64)> = self.all.iter().filter(is_meant).map(asked).collect();
        clients.sort_unstable();
        clients.truncate(excess);
        self.send_away(clients.into_iter().map(|(_, id)| id));
    }

    fn send_away(&mut self, ids: impl Iterator<Item = u64>) {
        for id in ids {
            if let Some(entry) = self.all.get_mut(&id).filter(|entry| !entry.is_told_to_go) {
                entry.is_told_to_go = true;
                entry.guest.go.notify_one();
                self.leaving += 1;
            }
        }
    }
}

/// Those that are written as addresses.
fn addresses_of(by_host: &BTreeMap<String, usize>) -> HashMap<String, IpAddr> {
    by_host.keys().filter_map(|host| Some((host.clone(), host.parse::<IpAddr>().ok()?.to_canonical()))).collect()
}

fn one_less<K: std::hash::Hash + Eq + std::borrow::Borrow<Q>, Q: std::hash::Hash + Eq + ?Sized>(
    counts: &mut HashMap<K, usize>,
    key: &Q,
) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(key);
        }
    }
}

/// The place of an open connection; free again on drop.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    guest: Arc<Guest>,
    id: u64,
    address: IpAddr,
}

impl Place {
    /// It asked for something just now.
    pub(crate) fn asked(&self) {
        self.guest.asked_ms.store(self.connections.now().0 as u64, Ordering::Relaxed);
    }

    /// Waits until it has to go.
    pub(crate) async fn told_to_go(&self) {
        self.guest.go.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.lock().leave(self.id, self.address, &self.guest.listener);
        self.connections.changed.notify_waiters();
    }
}
