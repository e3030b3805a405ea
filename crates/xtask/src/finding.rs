//! What a check found: a place that one can open, and what is wrong there.

use std::fmt;

/// One thing that a check does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A file relative to the repository, with `:line` where there is one; or the name of a crate.
    pub(crate) place: String,
    /// What is wrong, as a sentence without a full stop.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn at_line(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: format!("{path}:{line}"), what: what.into() }
    }

    pub(crate) fn of(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}
