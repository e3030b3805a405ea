//! Points in time as plain values. Whoever decides gets the time as an argument; only shells read clocks.

use std::ops::{Add, Sub};

/// Milliseconds since the Unix epoch, or a span of milliseconds between two such points.
///
/// Kafka writes timestamps as signed 64-bit milliseconds; −1 means "none" on the wire and on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// The wire's "no timestamp".
    pub const NONE: Millis = Millis(-1);
    /// Later than every other point.
    pub const MAX: Millis = Millis(i64::MAX);
}

impl Add for Millis {
    type Output = Millis;

    /// Saturates: a deadline far in the future stays far in the future.
    fn add(self, span: Millis) -> Millis {
        Millis(self.0.saturating_add(span.0))
    }
}

impl Sub for Millis {
    type Output = Millis;

    fn sub(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}
