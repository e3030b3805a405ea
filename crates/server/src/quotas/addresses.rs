//! How many connections a second an address may open (KIP-612).
//!
//! Source: `ConnectionQuotas.recordIpConnectionMaybeThrottle`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use milena_base::Millis;
use milena_metadata::image::Image;
use milena_metadata::quotas::{CONNECTION_CREATION_RATE, IP, Rate, Window};

/// Addresses that are measured at the same time; further ones are let in.
const ADDRESSES_MAX: usize = 100_000;

/// Quotas and rates by address.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// The bounds of hosts, as they are written in the metadata.
    hosts: HashMap<String, f64>,
    /// Who of them is known by now.
    found: HashMap<String, IpAddr>,
    /// The bounds of hosts that are known.
    named: HashMap<IpAddr, f64>,
    default: Option<f64>,
    rates: HashMap<IpAddr, Rate>,
}

impl Addresses {
    pub(super) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.default.is_none()
    }

    /// Takes over the bounds of an image. Answers which hosts' addresses are not known yet.
    pub(super) fn set(&mut self, image: &Image) -> Vec<String> {
        (self.hosts, self.default) = (HashMap::new(), None);
        for (entity, values) in image.quotas() {
            // A connection counts as one: Kafka cuts what is behind the point off, too.
            let Some(limit) = values.get(CONNECTION_CREATION_RATE).map(|value| value.trunc()) else { continue };
            match entity.get(IP) {
                Some(Some(host)) => drop(self.hosts.insert(host.clone(), limit)),
                Some(None) => self.default = Some(limit),
                None => {}
            }
        }
        if self.is_empty() {
            self.rates = HashMap::new();
        }
        self.found.retain(|host, _| self.hosts.contains_key(host));
        self.name();
        self.hosts.keys().filter(|host| !self.found.contains_key(*host)).cloned().collect()
    }

    /// A host's address. What was looked up for an older image counts for this one, too.
    pub(super) fn found(&mut self, host: String, address: IpAddr) {
        if self.hosts.contains_key(&host) {
            self.found.insert(host, address.to_canonical());
            self.name();
        }
    }

    fn name(&mut self) {
        let named = |(host, limit): (&String, &f64)| Some((*self.found.get(host)?, *limit));
        self.named = self.hosts.iter().filter_map(named).collect();
    }

    /// `Err` where it is one too many, which then does not count.
    pub(super) fn connected(&mut self, window: Window, now: Millis, address: IpAddr) -> Result<(), Duration> {
        let address = address.to_canonical();
        let Some(limit) = self.named.get(&address).copied().or(self.default) else { return Ok(()) };
        if self.rates.len() >= ADDRESSES_MAX && !self.rates.contains_key(&address) {
            return Ok(());
        }
        let rate = self.rates.entry(address).or_default();
        rate.record(window, now, 1.0);
        match rate.throttle_ms(window, now, limit).min(window.size_ms) {
            0 => Ok(()),
            throttle_ms => {
                rate.record(window, now, -1.0);
                Err(Duration::from_millis(throttle_ms as u64))
            }
        }
    }

    pub(super) fn forget_idle(&mut self, window: Window, now: Millis) {
        self.rates.retain(|_, rate| !rate.is_over(window, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples: 11, size_ms: 1000 };

    #[test]
    fn one_connection_too_many_waits_and_does_not_count() {
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        let mut addresses = Addresses { named: HashMap::from([(address, 1.0)]), ..Addresses::default() };
        for _ in 0..10 {
            assert_eq!(addresses.connected(WINDOW, Millis(0), address), Ok(()));
        }
        // 11 in 10 s are 10 % too many of one a second.
        for _ in 0..3 {
            assert_eq!(addresses.connected(WINDOW, Millis(0), address), Err(Duration::from_millis(1000)));
        }
        let other = "10.0.0.2".parse().expect("an address");
        assert_eq!(addresses.connected(WINDOW, Millis(0), other), Ok(()));
        assert_eq!(addresses.connected(WINDOW, Millis(11_000), address), Ok(()));
    }
}
