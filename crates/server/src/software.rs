//! What the program at the other end of a connection says that it is (KIP-511).

use std::sync::Arc;

use parking_lot::Mutex;

/// Said by nobody.
const UNKNOWN: &str = "unknown";
/// Longer names and versions are cut: one of each is kept for every connection.
const TEXT_BYTES_MAX: usize = 256;

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Software {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
}

/// The program at the other end, as its last sound ApiVersions request names it.
#[derive(Debug, Clone, Default)]
pub struct PeerSoftware(Arc<Mutex<Option<Software>>>);

impl PeerSoftware {
    /// ApiVersions was asked; before version 3 it names nothing.
    pub(crate) fn said(&self, name: &str, version: &str) {
        let kept = |text: &str| match text {
            "" => UNKNOWN.to_owned(),
            text => text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned(),
        };
        *self.0.lock() = Some(Software { name: kept(name), version: kept(version) });
    }

    /// What is known of it.
    pub(crate) fn known(&self) -> Software {
        let unknown = || Software { name: UNKNOWN.to_owned(), version: UNKNOWN.to_owned() };
        self.0.lock().clone().unwrap_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_silence_is_unknown() {
        let software = PeerSoftware::default();
        assert_eq!(software.known().name, "unknown");
        software.said("twin", &"1".repeat(1000));
        assert_eq!(software.known(), Software { name: "twin".to_owned(), version: "1".repeat(256) });
        software.said("", "");
        assert_eq!(software.known(), Software { name: "unknown".to_owned(), version: "unknown".to_owned() });
    }
}
