//! What values take on the wire, for those who must know how large an answer will be before they make it.

/// The length of an array.
pub(crate) const ARRAY: usize = 5;

/// A text with its length.
pub(crate) fn text(text: &str) -> usize {
    text.len() + 3
}

/// A text that may be null.
pub(crate) fn optional(some: Option<&str>) -> usize {
    text(some.unwrap_or_default())
}

/// Bytes with their length.
pub(crate) fn bytes(bytes: &[u8]) -> usize {
    bytes.len() + 5
}
