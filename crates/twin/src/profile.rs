//! How a broker is set up for scenarios. Most share one broker; those that wait for what a broker does by itself have
//! another one, so that nobody else's groups are forgotten meanwhile.

use std::net::SocketAddr;

use crate::oracle::BROKER_PROPERTIES;

/// Settings for a broker. Each scenario belongs to one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `broker.properties`.
    Usual,
    /// The same with `timed.properties`: offsets and groups are looked through three times a second.
    Timed,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 2] = [Profile::Usual, Profile::Timed];

    /// Key and value of each setting; a key that comes twice means the later value.
    pub fn settings(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let more = match self {
            Profile::Usual => "",
            Profile::Timed => include_str!("../timed.properties"),
        };
        let lines = BROKER_PROPERTIES.lines().chain(more.lines());
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
    }
}

/// Where the brokers listen. A scenario whose broker is missing is not played.
#[derive(Debug, Clone, Copy)]
pub struct Brokers {
    /// Of [`Profile::Usual`].
    pub usual: Option<SocketAddr>,
    /// Of [`Profile::Timed`].
    pub timed: Option<SocketAddr>,
}

impl Brokers {
    /// The broker of that profile, if there is one.
    pub fn of(&self, profile: Profile) -> Option<SocketAddr> {
        match profile {
            Profile::Usual => self.usual,
            Profile::Timed => self.timed,
        }
    }
}
