//! How a broker is set up for scenarios. Most share one broker; those that wait for what a broker does by itself have
//! another one, so that nobody else's groups are forgotten meanwhile; some are about a cluster that was made when there
//! were fewer features, and others turn features up and down in such a cluster.

use std::net::SocketAddr;

use crate::oracle::BROKER_PROPERTIES;

/// Settings for a broker. Each scenario belongs to one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `broker.properties`.
    Usual,
    /// The same with `timed.properties`: offsets and groups are looked through three times a second.
    Timed,
    /// The same as the usual one, but formatted with [`FORMER_FEATURES`].
    Former,
    /// Made as the former one; its features are turned up and down.
    Raised,
    /// The usual one with `telemetry.properties`: it takes metrics of clients.
    Telemetry,
}

/// Features below their present levels: groups that the broker assigns are off, and producers keep their epochs.
/// Those that are not served yet are off in both brokers.
pub(crate) const FORMER_FEATURES: &[&str] =
    &["group.version=0", "transaction.version=1", "share.version=0", "streams.version=0"];
/// What Kafka's own `kafka-storage format` made of these: the first records of such a cluster.
pub const FORMER_CHECKPOINT: &[u8] = include_bytes!("../former.checkpoint");

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 5] =
        [Profile::Usual, Profile::Timed, Profile::Former, Profile::Raised, Profile::Telemetry];

    /// Whether its first records are [`FORMER_CHECKPOINT`].
    pub fn is_made_formerly(self) -> bool {
        matches!(self, Profile::Former | Profile::Raised)
    }

    /// Key and value of each setting; a key that comes twice means the later value.
    pub fn settings(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let more = match self {
            Profile::Usual | Profile::Former | Profile::Raised => "",
            Profile::Timed => include_str!("../timed.properties"),
            Profile::Telemetry => include_str!("../telemetry.properties"),
        };
        let lines = BROKER_PROPERTIES.lines().chain(more.lines());
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
    }
}

/// Where the brokers listen. A scenario whose broker is missing is not played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brokers {
    /// Of [`Profile::Usual`].
    pub usual: Option<SocketAddr>,
    /// Of [`Profile::Timed`].
    pub timed: Option<SocketAddr>,
    /// Of [`Profile::Former`].
    pub former: Option<SocketAddr>,
    /// Of [`Profile::Raised`].
    pub raised: Option<SocketAddr>,
    /// Of [`Profile::Telemetry`].
    pub telemetry: Option<SocketAddr>,
}

impl Brokers {
    /// The broker of that profile, if there is one.
    pub fn of(&self, profile: Profile) -> Option<SocketAddr> {
        match profile {
            Profile::Usual => self.usual,
            Profile::Timed => self.timed,
            Profile::Former => self.former,
            Profile::Raised => self.raised,
            Profile::Telemetry => self.telemetry,
        }
    }

    /// Adds one.
    pub fn with(mut self, profile: Profile, address: SocketAddr) -> Brokers {
        match profile {
            Profile::Usual => self.usual = Some(address),
            Profile::Timed => self.timed = Some(address),
            Profile::Former => self.former = Some(address),
            Profile::Raised => self.raised = Some(address),
            Profile::Telemetry => self.telemetry = Some(address),
        }
        self
    }

    /// All that are there.
    pub fn all(&self) -> impl Iterator<Item = SocketAddr> {
        [self.usual, self.timed, self.former, self.raised, self.telemetry].into_iter().flatten()
    }
}
