//! One connection to one broker: requests go out in order, many at a time, and each answer finds its request by
//! its correlation id. Versions are negotiated once, when the connection opens.
//!
//! Nothing here knows topics or groups; for that see [`crate::Cluster`].

mod address;
mod connection;
mod dial;
mod error;
mod versions;

pub use address::{Address, AddressError};
pub use connection::{Connection, ConnectionSettings, Reply};
pub use dial::{Dial, Dialing, Stream, TcpDialer};
pub use error::TransportError;
pub use versions::{ApiVersions, VersionRange};
