//! What every other crate stands on, without a word of Kafka: the [`Disk`] that logs are written to,
//! time and randomness as values, and nothing that touches the machine itself.
//!
//! **Invariant:** this crate opens no file, reads no clock and starts no thread.

pub mod disk;
pub mod random;
pub mod time;

pub use disk::{Disk, DiskFile};
pub use random::Random;
pub use time::Millis;
