//! `HOST:PORT` as people write it.

use std::fmt;
use std::str::FromStr;

/// Where a broker listens. The host is resolved when it is dialled, each time anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not HOST:PORT")]
pub struct AddressError {
    text: String,
}

impl Address {
    /// Port `port` of `host`.
    pub fn new(host: impl Into<String>, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    /// Several addresses with commas between them, as in `bootstrap.servers`.
    pub fn list(text: &str) -> Result<Vec<Address>, AddressError> {
        text.split(',').map(|part| part.trim().parse()).collect()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let wrong = || AddressError { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Address::new(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_printed() {
        for text in ["localhost:9092", "127.0.0.1:1", "[::1]:9092"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:9092".parse::<Address>().unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["localhost", ":9092", "localhost:", "localhost:99999", "::1:9092", "[::1:9092"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_has_commas() {
        let both = Address::list("one:1, two:2").unwrap();
        assert_eq!(both, [Address::new("one", 1), Address::new("two", 2)]);
    }
}
